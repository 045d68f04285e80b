/* SPDX-License-Identifier: MIT */
/*
 * What the fuzz targets share. A target is one file, fuzz_NAME.c, with LLVMFuzzerTestOneInput(); it takes any bytes, leaves nothing behind, and
 * asserts what must hold for all of them by FUZZ_CHECK(). README says how they are run.
 */
#ifndef MAILFS_FUZZ_H
#define MAILFS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mailfs/util/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

_Noreturn void fuzz_fail(const char *file, int line, const char *what);
/* Ends the process, so that the input is kept as a finding. */
#define FUZZ_CHECK(condition)                                                                      \
	do {                                                                                       \
		if (!(condition))                                                                  \
			fuzz_fail(__FILE__, __LINE__, #condition);                                 \
	} while (0)

/* The input that is not used up yet. */
struct fuzz_input {
	const uint8_t *data;
	size_t len;
};
/* 0 when nothing is left. */
uint8_t fuzz_byte(struct fuzz_input *in);
/* Up to and without the first byte `end`, which is used up too; all of it where there is none. */
struct fuzz_input fuzz_until(struct fuzz_input *in, uint8_t end);
/* A copy, NUL-terminated and exactly as large, so that the address sanitizer sees each byte too many. free() it. */
char *fuzz_copy(struct fuzz_input in);

/* Pseudo-random numbers that depend on the seed alone. */
uint32_t fuzz_random(uint32_t *state);

/* Valid UTF-8 that can do a terminal no harm: no control character of C0 or C1, and no DEL. */
void fuzz_check_text(const char *data, size_t len);

#endif
