/* SPDX-License-Identifier: MIT */
/*
 * The outer form of a response: continuation, tagged or untagged, its name and number, and of a status
 * response its code and words. Pure. What is behind a name is left to those who asked for it.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "engine.h"

bool imap_slice_is(struct imap_slice slice, const char *word)
{
	return strlen(word) == slice.len && strncasecmp(slice.data, word, slice.len) == 0;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct imap_slice imap_slice_trim(struct imap_slice slice)
{
	while (slice.len > 0 && is_blank(slice.data[0])) {
		slice.data++;
		slice.len--;
	}
	while (slice.len > 0 && is_blank(slice.data[slice.len - 1]))
		slice.len--;
	return slice;
}

struct imap_slice imap_slice_word(struct imap_slice *rest)
{
	struct imap_slice word;
	*rest = imap_slice_trim(*rest);
	word.data = rest->data;
	for (word.len = 0; word.len < rest->len && !is_blank(rest->data[word.len]);)
		word.len++;
	rest->data += word.len;
	rest->len -= word.len;
	return word;
}

static const struct {
	const char *word;
	enum imap_status status;
} statuses[] = {
	{"OK", IMAP_OK},
	{"NO", IMAP_NO},
	{"BAD", IMAP_BAD},
	{"BYE", IMAP_BYE},
	{"PREAUTH", IMAP_PREAUTH},
};

static enum imap_status status_find(struct imap_slice word)
{
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
		if (imap_slice_is(word, statuses[i].word))
			return statuses[i].status;
	return IMAP_NONE;
}

/* The length of "[…]" at the start: up to the first bracket that is not inside quotes. 0: none. */
static size_t code_len(struct imap_slice text)
{
	bool quoted = false;
	if (text.len == 0 || text.data[0] != '[')
		return 0;
	for (size_t i = 1; i < text.len; i++) {
		if (text.data[i] == '\\' && quoted)
			i++;
		else if (text.data[i] == '"')
			quoted = !quoted;
		else if (text.data[i] == ']' && !quoted)
			return i + 1;
	}
	return 0;
}

static void parse_status(struct imap_response *response)
{
	struct imap_slice text = imap_slice_trim(response->args);
	size_t len = code_len(text);
	if (len > 0) {
		struct imap_slice inside = {text.data + 1, len - 2};
		response->code = imap_slice_word(&inside);
		response->code_args = imap_slice_trim(inside);
		text.data += len;
		text.len -= len;
	}
	response->text = imap_slice_trim(text);
}

static int parse_untagged(struct imap_response *response, struct imap_slice rest)
{
	uint64_t number;
	response->kind = IMAP_UNTAGGED;
	response->name = imap_slice_word(&rest);
	if (imap_number_parse(response->name.data, response->name.len, UINT32_MAX, &number)) {
		response->numbered = true;
		response->number = (uint32_t)number;
		response->name = imap_slice_word(&rest);
	} else {
		response->status = status_find(response->name);
	}
	response->args = imap_slice_trim(rest);
	return response->name.len > 0 ? 0 : -EPROTO;
}

static int parse_tagged(struct imap_response *response, struct imap_slice rest)
{
	response->kind = IMAP_TAGGED;
	response->tag = imap_slice_word(&rest);
	response->name = imap_slice_word(&rest);
	response->args = imap_slice_trim(rest);
	response->status = status_find(response->name);
	bool ends = response->status == IMAP_OK || response->status == IMAP_NO ||
	            response->status == IMAP_BAD;
	return ends ? 0 : -EPROTO;
}

int imap_response_parse(const char *data, size_t len, struct imap_response *ret)
{
	struct imap_slice rest = {data, len};
	int r = 0;
	*ret = (struct imap_response){0};
	if (len == 0)
		return -EPROTO;
	if (data[0] == '+') {
		ret->kind = IMAP_CONTINUE;
		ret->args = imap_slice_trim((struct imap_slice){data + 1, len - 1});
	} else if (data[0] == '*' && len > 1 && is_blank(data[1])) {
		r = parse_untagged(ret, (struct imap_slice){data + 1, len - 1});
	} else {
		r = parse_tagged(ret, rest);
	}
	if (r == 0 && ret->status != IMAP_NONE)
		parse_status(ret);
	return r;
}
