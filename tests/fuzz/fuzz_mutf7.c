/* SPDX-License-Identifier: MIT */
/* Mailbox names: modified UTF-7 to UTF-8 and back. Two names of a server must never become one. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "mailfs/util/utf8.h"
#include "private.h"

/* What is decoded, and not left as it was, is valid, and its wire form is the one that it came from. */
static void check_decoded(const char *wire)
{
	_cleanup_str_ struct str decoded = STR_INIT, again = STR_INIT;
	FUZZ_CHECK(imap_mailbox_decode(wire, &decoded) == 0);
	const char *text = str_cstr(&decoded);
	FUZZ_CHECK(strlen(text) == decoded.len);
	if (strcmp(text, wire) == 0)
		return;
	FUZZ_CHECK(utf8_valid(text, decoded.len));
	/* It may look like an encoded name itself, and then to_wire() leaves it. */
	_cleanup_str_ struct str twice = STR_INIT;
	FUZZ_CHECK(imap_mailbox_decode(text, &twice) == 0);
	if (strcmp(str_cstr(&twice), text) != 0)
		return;
	FUZZ_CHECK(imap_mailbox_to_wire(text, &again) == 0);
	FUZZ_CHECK(strcmp(str_cstr(&again), wire) == 0);
}

/* The wire form of a name is a fixed point, and of printable ASCII where the name was UTF-8. */
static void check_wire(const char *name)
{
	_cleanup_str_ struct str wire = STR_INIT, again = STR_INIT, decoded = STR_INIT;
	FUZZ_CHECK(imap_mailbox_to_wire(name, &wire) == 0);
	FUZZ_CHECK(wire.len <= 4 * strlen(name) + 8);
	FUZZ_CHECK(imap_mailbox_to_wire(str_cstr(&wire), &again) == 0);
	FUZZ_CHECK(strcmp(str_cstr(&again), str_cstr(&wire)) == 0);
	if (strcmp(str_cstr(&wire), name) == 0)
		return;
	for (size_t i = 0; i < wire.len; i++)
		FUZZ_CHECK(wire.data[i] >= 0x20 && wire.data[i] <= 0x7e);
	FUZZ_CHECK(imap_mailbox_decode(str_cstr(&wire), &decoded) == 0);
	FUZZ_CHECK(strcmp(str_cstr(&decoded), name) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	char *name = fuzz_copy(in);
	check_decoded(name);
	check_wire(name);
	free(name);
	return 0;
}
