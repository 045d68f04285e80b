/* SPDX-License-Identifier: MIT */
/*
 * Names: of messages, of fields in them, of folders. The first line is a template, the second the date and the UID, the rest a header, and
 * the name of a folder as well.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "folder_name.h"
#include "mailfs/imap.h"
#include "mailfs/mime.h"
#include "mailfs/util/utf8.h"
#include "part.h"

static void check_message(const struct mime_name_template *form, struct mime_name_facts facts)
{
	static const char *const fields[] = {"From", "Subject"};
	char name[MIME_NAME_MAX + 1], again[MIME_NAME_MAX + 1];
	struct mime_span found[2];
	size_t len = mime_name_message(form, &facts, name);
	part_check_name(name, len);
	FUZZ_CHECK(len > 4 && strcmp(name + len - 4, ".eml") == 0);
	FUZZ_CHECK(mime_name_uid(form, name) == facts.uid);
	mime_header_find(facts.header, facts.header_len, fields, 2, found);
	facts.found = true;
	facts.from = found[0];
	facts.subject = found[1];
	FUZZ_CHECK(mime_name_message(form, &facts, again) == len && strcmp(name, again) == 0);
}

static void check_template(const char *text, const char *numbers, struct fuzz_input header)
{
	struct mime_name_facts facts = {
		.uid = 1, .header = (const char *)header.data, .header_len = header.len};
	struct mime_name_template *form = NULL;
	const char *why = NULL;
	sscanf(numbers, "%" SCNd64 " %" SCNu32, &facts.date_s, &facts.uid);
	facts.uid += facts.uid == 0;
	check_message(NULL, facts);
	int r = mime_name_template_parse(text, &form, &why);
	FUZZ_CHECK(r == 0 ? form != NULL : r == -EINVAL && why && !form);
	if (form)
		check_message(form, facts);
	/* No name that anybody may write has a UID that can not be. */
	(void)mime_name_uid(form, text);
	mime_name_template_destroy(form);
}

static void check_field(struct fuzz_input in)
{
	static const size_t limits[] = {0, 1, 3, 40, 240};
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		_cleanup_str_ struct str field = STR_INIT, again = STR_INIT;
		FUZZ_CHECK(mime_name_field((const char *)in.data, in.len, limits[i], &field) == 0);
		FUZZ_CHECK(field.len <= limits[i]);
		fuzz_check_text(str_cstr(&field), field.len);
		FUZZ_CHECK(!strpbrk(str_cstr(&field), "/ _%"));
		FUZZ_CHECK(mime_name_field(str_cstr(&field), field.len, limits[i], &again) == 0);
		FUZZ_CHECK(strcmp(str_cstr(&field), str_cstr(&again)) == 0);
	}
}

static void check_component(const char *name)
{
	size_t len = strlen(name);
	FUZZ_CHECK(len > 0 && len <= FOLDER_NAME_MAX);
	FUZZ_CHECK(name[0] != '.' && !strchr(name, '/'));
	FUZZ_CHECK(len < 4 || strcasecmp(name + len - 4, ".eml") != 0);
	for (size_t i = 0; i < len; i++)
		FUZZ_CHECK((unsigned char)name[i] >= 0x20 && name[i] != 0x7f);
	FUZZ_CHECK(utf8_valid(name, len));
}

static void check_folder(const char *raw)
{
	_cleanup_str_ struct str name = STR_INIT, back = STR_INIT;
	size_t len = strlen(raw);
	FUZZ_CHECK(folder_name_escape(raw, len, &name) == 0);
	check_component(str_cstr(&name));
	FUZZ_CHECK(folder_name_unescape(name.data, &back) == 0);
	if (len <= FOLDER_NAME_MAX / 3)
		FUZZ_CHECK(strcmp(str_cstr(&back), raw) == 0 && back.len == len);
}

static void check_path(const char *wire, char delimiter)
{
	struct folder_path path;
	size_t last = 0;
	FUZZ_CHECK(folder_path_split(wire, delimiter, imap_mailbox_decode, &path) == 0);
	FUZZ_CHECK(path.count > 0 && path.count <= FOLDER_DEPTH_MAX);
	for (size_t i = 0; i < path.count; i++) {
		check_component(path.items[i].name);
		FUZZ_CHECK(path.items[i].wire_len >= last + (i > 0));
		last = path.items[i].wire_len;
	}
	FUZZ_CHECK(last == strlen(wire));
	folder_path_finish(&path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	char *text = fuzz_copy(fuzz_until(&in, '\n'));
	char *numbers = fuzz_copy(fuzz_until(&in, '\n'));
	char *rest = fuzz_copy(in);
	struct fuzz_input copy = {(const uint8_t *)rest, in.len};
	check_template(text, numbers, copy);
	check_field(copy);
	check_folder(rest);
	check_folder(text);
	check_path(rest, '/');
	check_path(text, '.');
	free(rest);
	free(numbers);
	free(text);
	return 0;
}
