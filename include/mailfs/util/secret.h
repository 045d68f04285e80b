/* SPDX-License-Identifier: MIT */
/* A password: in memory that is locked (where the limit allows), left out of core files, and wiped when freed. */
#ifndef MAILFS_UTIL_SECRET_H
#define MAILFS_UTIL_SECRET_H

#include <stdbool.h>
#include <stddef.h>

struct secret;

/* Copies len bytes; the caller wipes its own copy. NULL when there is no memory. */
struct secret *secret_create(const char *data, size_t len);
/* Wipes and frees; NULL is allowed. */
void secret_destroy(struct secret *secret);
/* The bytes, NUL-terminated; valid as long as the secret. */
const char *secret_text(const struct secret *secret);
size_t secret_len(const struct secret *secret);
/*
 * Whether one of the secrets that there are now, if it is not too short to tell (SECRET_TOLD_MIN), is among these bytes. By any thread.
 */
#define SECRET_TOLD_MIN 4
bool secret_is_in(const void *data, size_t len);
/* Overwrites memory that held a copy; not optimised away. */
void secret_wipe(void *data, size_t len);

#endif
