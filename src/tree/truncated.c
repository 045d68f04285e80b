/* SPDX-License-Identifier: MIT */
/*
 * truncated.txt: what a directory inside a message does not show, and why. It is there where something is missing and only there, so that
 * nobody takes the parts that are shown for all of the message. A pure function of what was cut and of the message's name.
 */
#include "private.h"

#define STRING(x)  STRING_(x)
#define STRING_(x) #x
#define PARTS      STRING(MIME_PARTS_MAX)
#define LEVELS     STRING(MIME_DEPTH_MAX)

static const struct {
	unsigned cut;
	const char *text;
} reasons[] = {
	{MIME_CUT_UNKNOWN,
		"The server's description of the message's structure can not be understood, or is too long. No\n"
		"part of it is shown.\n"},
	{MIME_CUT_COUNT, "The message has " PARTS
			 " parts or more, which is the limit. What comes behind the last one is\n"
			 "not shown by itself.\n"},
	{MIME_CUT_LENGTH,
		"The server's description of the message's structure is longer than 4 MiB or 250,000 words, which is\n"
		"the limit. What comes behind the last part is not shown by itself.\n"},
	{MIME_CUT_DEPTH, "Parts lie in one another more than " LEVELS
			 " levels deep, which is the limit. What lies deeper is\n"
			 "not shown by itself.\n"},
	{MIME_CUT_BOUNDARY,
		"A part of several parts separates them by a line of more than 250 bytes, which is the limit. It is\n"
		"shown as one.\n"},
	{MIME_CUT_HEADER,
		"The fields that describe a part are longer than 256 KiB, or of all parts than 4 MiB, or have\n"
		"more than 1000 parameters, which is the limit. What is beyond it is not looked at: a part may have\n"
		"another name than its sender gave it, or be shown as another type.\n"},
};

int truncated_text(
	struct folder *folder, uint32_t number, uint32_t uid, unsigned cut, struct str *out)
{
	str_append_cstr(out, "Not all of this message is shown here.\n\n");
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (cut & reasons[i].cut)
			str_printf(out, "%s\n", reasons[i].text);
	str_append_cstr(out, "Nothing of the message itself is missing: it is whole, as\n");
	int r = message_name(folder, number, uid, out);
	str_putc(out, '\n');
	return r < 0 ? r : str_error(out);
}
