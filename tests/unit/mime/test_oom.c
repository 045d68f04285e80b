/* SPDX-License-Identifier: MIT */
/* Memory that is refused at each allocation of the parsers: -ENOMEM, or the whole answer; nothing leaks, nothing is half there. */
#include "oom.h"
#include "walk.h"

#define MIXED(boundary) "Content-Type: multipart/mixed; boundary=\"" boundary "\"\n\n"
#define PART(type)      "Content-Type: " type "\n"

static const char message[] =
	"From: =?utf-8?Q?J=C3=B6rg?= <j@example.org>, \"x\" <x@example.org>\n"
	"Received: from a by b; Fri, 21 Nov 2025 08:55:00 +0000\n"
	"Subject: =?iso-2022-jp?B?GyRCRnxLXBsoQg==?= =?utf-8?B?w7ZvbW0=?=\n"
	"Date: Fri, 21 Nov 2025 08:55:00 +0000\nMIME-Version: 1.0\n" MIXED("b") "--b\n" PART(
		"text/plain; charset=utf-8; x*0=a; x*1*=b%20") "Content-Transfer-Encoding: base64\n\nSGFsbG8=\n"
							       "--b\n" MIXED("c") "--c\n\nx\n--c\n" PART(
								       "image/png; name=\"=?utf-8?Q?=C3=A9.png?=\"") "Content-Disposition: attachment; filename*0*=utf-8''r%C3%A9; filename*1=\"s.pdf\"\n\nP\n--c--\n"
														     "--b\n" PART(
															     "message/rfc822") "\nSubject: inner\n\n"
																	       "hi\n--b--\n";

static struct mime_part *whole; /* what it is without any failure */
static struct str whole_dump;

static int walk_once(struct mime_part **ret)
{
	struct mime_walker *walker = mime_walker_create();
	int r = walker ? 0 : -ENOMEM;
	for (size_t at = 0; r == 0 && at < strlen(message); at += 7)
		r = mime_walker_push(walker, message + at, strnlen(message + at, 7));
	if (r == 0)
		r = mime_walker_end(walker, ret);
	mime_walker_destroy(walker);
	return r;
}

static void assert_whole(const struct mime_part *part)
{
	struct str found = STR_INIT;
	dump(part, message, &found);
	assert_string_equal(str_cstr(&found), str_cstr(&whole_dump));
	str_finish(&found);
}

static int try_walk(void *arg, unsigned long nth, bool forever)
{
	struct mime_part *part = NULL;
	(void)arg;
	oom_arm(nth, forever);
	int r = walk_once(&part);
	oom_disarm();
	assert_true((r == 0) == (part != NULL));
	if (r == 0)
		assert_whole(part);
	mime_part_destroy(part);
	return r;
}

static int try_serialize(void *arg, unsigned long nth, bool forever)
{
	struct str bytes = STR_INIT;
	struct mime_part *part = NULL;
	(void)arg;
	oom_arm(nth, forever);
	int r = mime_part_serialize(whole, &bytes);
	if (r == 0)
		r = mime_part_parse(str_cstr(&bytes), bytes.len, &part);
	oom_disarm();
	assert_true((r == 0) == (part != NULL));
	if (r == 0)
		assert_whole(part);
	mime_part_destroy(part);
	str_finish(&bytes);
	return r;
}

static int try_leaves(void *arg, unsigned long nth, bool forever)
{
	struct mime_leaves leaves = {0};
	(void)arg;
	oom_arm(nth, forever);
	int r = mime_leaves(whole, NULL, &leaves);
	oom_disarm();
	if (r == 0) {
		static const char *const names[] = {
			"1-text.txt", "2.1-text.txt", "2.2-r\xc3\xa9s.pdf", "3-message"};
		assert_int_equal(leaves.count, COUNT(names));
		for (size_t i = 0; i < COUNT(names); i++)
			assert_string_equal(leaves.items[i].name, names[i]);
		mime_leaves_finish(&leaves);
	}
	return r;
}

static const struct text_try {
	text_fn *fn;
	const char *in, *want;
} texts[] = {
	{mime_words_decode, "=?utf-8?Q?J=C3=B6rg?= =?iso-2022-jp?B?GyRCRnxLXBsoQg==?= x",
		"J\xc3\xb6rg\xe6\x97\xa5\xe6\x9c\xac x"},
	{mime_author, "\"=?utf-8?Q?J=C3=B6rg?= Q\" <j@example.org>, x@example.org", NULL},
	{mime_addresses_decode, "=?utf-8?Q?J=C3=B6rg?= <j@example.org>, x@example.org (X)", NULL},
};

static int try_text(void *arg, unsigned long nth, bool forever)
{
	const struct text_try *text = arg;
	struct str want = STR_INIT, out = STR_INIT;
	assert_int_equal(text->fn(text->in, strlen(text->in), &want), 0);
	if (text->want)
		assert_string_equal(str_cstr(&want), text->want);
	oom_arm(nth, forever);
	int r = text->fn(text->in, strlen(text->in), &out);
	oom_disarm();
	if (r == 0)
		assert_string_equal(str_cstr(&out), str_cstr(&want));
	str_finish(&want);
	str_finish(&out);
	return r;
}

static int try_charset(void *arg, unsigned long nth, bool forever)
{
	static const char text[] = "\x1b$B\x46\x7c\x4b\x5c\x1b(B";
	struct str out = STR_INIT;
	(void)arg;
	oom_arm(nth, forever);
	int r = mime_charset_decode("iso-2022-jp", text, strlen(text), &out);
	oom_disarm();
	if (r == 0)
		assert_string_equal(str_cstr(&out), "\xe6\x97\xa5\xe6\x9c\xac");
	str_finish(&out);
	return r;
}

static int try_params(void *arg, unsigned long nth, bool forever)
{
	static const char text[] =
		"charset=utf-8; name*0*=utf-8''r%C3%A9; name*1=\"s.pdf\"; x=\"=?utf-8?Q?=C3=A9?=\"";
	struct mime_params params = {0};
	(void)arg;
	oom_arm(nth, forever);
	int r = mime_params_parse(text, strlen(text), &params);
	if (r == 0)
		r = mime_params_join(&params);
	oom_disarm();
	if (r == 0) {
		assert_string_equal(mime_params_get(&params, "name"), "r\xc3\xa9s.pdf");
		assert_string_equal(mime_params_get(&params, "x"), "\xc3\xa9");
	}
	mime_params_finish(&params);
	return r;
}

static int try_decode(void *arg, unsigned long nth, bool forever)
{
	static const char text[] = "R3L8c3NlIGF1cyBL9mxuLCBub2NoIG1laHIgZGF2b24=\r\n";
	struct str out = STR_INIT;
	(void)arg;
	oom_arm(nth, forever);
	struct mime_decoder *decoder =
		mime_decoder_create(MIME_ENCODING_BASE64, true, "iso-8859-1");
	int r = decoder ? 0 : -ENOMEM;
	for (size_t at = 0; r == 0 && at < strlen(text); at += 5)
		r = mime_decoder_push(decoder, text + at, strnlen(text + at, 5), &out);
	if (r == 0)
		r = mime_decoder_end(decoder, &out);
	mime_decoder_destroy(decoder);
	oom_disarm();
	if (r == 0)
		assert_string_equal(
			str_cstr(&out), "Gr\xc3\xbcsse aus K\xc3\xb6ln, noch mehr davon");
	str_finish(&out);
	return r;
}

/* A name is never another one because memory was short: it would be another file. */
static int try_name(void *arg, unsigned long nth, bool forever)
{
	const struct mime_name_facts facts = {
		.date_s = 1763715300, .uid = 7, .header = message, .header_len = strlen(message)};
	struct mime_name_template *form = NULL;
	char name[MIME_NAME_MAX + 1];
	const char *why = NULL;
	(void)arg;
	oom_arm(nth, forever);
	int r = mime_name_template_parse("%Y-%m-%d_%f_%s.%u", &form, &why);
	size_t len = r == 0 ? mime_name_message(form, &facts, name) : 0;
	oom_disarm();
	if (len > 0)
		assert_string_equal(
			name, "2025-11-21_J\xc3\xb6rg_\xe6\x97\xa5\xe6\x9c\xac\xc3\xb6omm.7.eml");
	else if (r == 0)
		r = -ENOMEM;
	mime_name_template_destroy(form);
	return r;
}

static void test_each(void **state)
{
	(void)state;
	oom_each("walker", try_walk, NULL);
	oom_each("part", try_serialize, NULL);
	oom_each("leaves", try_leaves, NULL);
	for (size_t i = 0; i < COUNT(texts); i++)
		oom_each(texts[i].in, try_text, (void *)(uintptr_t)&texts[i]);
	oom_each("charset", try_charset, NULL);
	oom_each("params", try_params, NULL);
	oom_each("decoder", try_decode, NULL);
	oom_each("name", try_name, NULL);
}

static int set_up(void **state)
{
	(void)state;
	if (walk_once(&whole) < 0)
		return -1;
	dump(whole, message, &whole_dump);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	mime_part_destroy(whole);
	str_finish(&whole_dump);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
