/* SPDX-License-Identifier: MIT */
/* What all FETCH responses have in common (RFC 3501 §7.4.2), and the sets of UIDs that are asked for. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "private.h"

#define SET_BYTES_MAX 7900 /* a command line has 8,000 bytes at most (RFC 9051 §4) */

/* --- Responses that are too long to be held --- */

#define SPILL_BYTES ((size_t)256 << 10)
/* Behind what is cut, or held, there must still be room for the rest. */
#define REST_BYTES ((size_t)1 << 20)
/* A literal that is announced at the end of a line that was cut must still be seen. */
#define TAIL_BYTES 64

static int cut(void *arg, struct str *line)
{
	struct imap_long *own = arg;
	imap_engine_received(own->engine, SPILL_BYTES);
	if (line->len <= IMAP_LIMIT_HELD_BYTES)
		return 0;
	size_t keep = IMAP_LIMIT_HELD_BYTES - SPILL_BYTES - TAIL_BYTES;
	line->data[keep++] =
		0; /* nothing that is sound goes on behind this: what is left can not pass for whole */
	memmove(line->data + keep, line->data + line->len - TAIL_BYTES, TAIL_BYTES);
	str_truncate(line, keep + TAIL_BYTES);
	return 0;
}

/* Whether a response that goes on with a literal has got to the header fields. */
static bool is_before_header(const char *head, size_t len)
{
	static const char item[] = "BODY[HEADER.FIELDS";
	const char *open = len > 0 ? memrchr(head, '[', len) : NULL;
	size_t at = open ? (size_t)(open - head) : 0;
	return at >= 4 && len - at > strlen(item) - 4 &&
	       strncasecmp(open - 4, item, strlen(item)) == 0;
}

static bool pass(void *arg, const char *head, size_t len, uint64_t size)
{
	struct imap_long *own = arg;
	own->receiving = false;
	if (size <= IMAP_LIMIT_HEADER_BYTES && size + len <= IMAP_LIMIT_HELD_BYTES)
		return false;
	own->left_out = true;
	own->receiving = own->header && is_before_header(head, len);
	if (own->receiving)
		mime_fields_reset(own->header);
	return true;
}

static void passed(void *arg, const char *data, size_t len)
{
	struct imap_long *own = arg;
	imap_engine_received(own->engine, len);
	if (own->receiving)
		(void)mime_fields_push(own->header, data, len); /* imap_row_error() asks */
}

void imap_long_limits(struct imap_long *own, uint64_t line_bytes, struct net_limits *ret)
{
	*ret = (struct net_limits){.line_bytes = (size_t)line_bytes,
		.literal_bytes = IMAP_LIMIT_LITERAL_BYTES,
		.response_bytes = line_bytes + IMAP_LIMIT_LITERAL_BYTES,
		.literals = IMAP_LIMIT_LITERALS,
		.spill = cut,
		.spill_arg = own,
		.spill_bytes = SPILL_BYTES,
		.held_bytes = IMAP_LIMIT_HELD_BYTES + REST_BYTES,
		.pass = pass,
		.passed = passed,
		.pass_arg = own};
}

/* --- FETCH responses --- */

const struct imap_node *imap_fetch_value(const struct imap_tree *tree, const struct imap_node *item,
	const struct imap_node **ret_next)
{
	const struct imap_node *value = imap_node_next(tree, item);
	*ret_next = imap_node_next(tree, value);
	return value;
}

/* 0: none is told, or two: then nobody knows whose the other items are, and *damaged. */
static uint32_t fetch_uid(const struct imap_tree *tree, const struct imap_node *item, bool *damaged)
{
	uint32_t found = 0;
	while (item) {
		const struct imap_node *next, *value = imap_fetch_value(tree, item, &next);
		uint64_t uid;
		if (imap_node_is(item, "UID") && imap_node_number(value, UINT32_MAX, &uid)) {
			if (found != 0 && found != uid) {
				*damaged = true;
				return 0;
			}
			found = (uint32_t)uid;
		}
		item = next;
	}
	return found;
}

/* Moves behind the string or literal at pos; 0: it has no end. */
static size_t skip_string(struct imap_slice text, size_t pos)
{
	uint64_t size;
	if (text.data[pos] == '"') {
		for (pos++; pos < text.len && text.data[pos] != '"'; pos++)
			if (text.data[pos] == '\\')
				pos++;
		return pos < text.len ? pos + 1 : 0;
	}
	size_t prefix = imap_literal_prefix(text.data + pos, text.len - pos, &size);
	if (prefix == 0 || size > text.len - pos - prefix)
		return 0;
	return pos + prefix + (size_t)size;
}

static uint32_t uid_at(struct imap_slice text, size_t pos)
{
	uint64_t uid;
	size_t end = pos;
	while (end < text.len && text.data[end] >= '0' && text.data[end] <= '9')
		end++;
	return imap_number_parse(text.data + pos, end - pos, UINT32_MAX, &uid) ? (uint32_t)uid : 0;
}

/*
 * Looks for "UID n" in a response that is no s-expression, outside strings, whose content is a sender's. Gives up at a
 * string that does not end: what follows might be one's inside.
 */
static uint32_t scan_uid(struct imap_slice text)
{
	for (size_t pos = 0; pos < text.len;) {
		char c = text.data[pos];
		bool starts = pos == 0 || text.data[pos - 1] == ' ' || text.data[pos - 1] == '(';
		if (c == '"' || c == '{') {
			pos = skip_string(text, pos);
			if (pos == 0)
				return 0;
		} else if (starts && text.len - pos > 4 &&
			   imap_slice_is((struct imap_slice){text.data + pos, 4}, "UID ")) {
			return uid_at(text, pos + 4);
		} else {
			pos++;
		}
	}
	return 0;
}

bool imap_fetch_parse(
	struct imap_engine *engine, const struct imap_response *response, struct imap_fetch *ret)
{
	if (!response->numbered || !imap_slice_is(response->name, "FETCH"))
		return false;
	struct imap_tree *tree = &engine->tree;
	int r = imap_tree_parse(tree, response->args.data, response->args.len);
	/* Not half of a row: imap_engine_tell() sees to the error. */
	if (r == -ENOMEM)
		return false;
	const struct imap_node *list = imap_tree_top(tree);
	*ret = (struct imap_fetch){
		.damaged = r < 0 || !imap_node_is_list(list), .item = imap_node_child(tree, list)};
	bool unsound = ret->damaged;
	ret->uid = fetch_uid(tree, ret->item, &ret->damaged);
	if (ret->uid == 0 && unsound)
		ret->uid = scan_uid(response->args);
	return true;
}

size_t imap_uid_set_append(struct str *out, const uint32_t *uids, size_t count)
{
	size_t taken = 0, start = out->len;
	while (taken < count && out->len - start < SET_BYTES_MAX - 24) {
		size_t last = taken;
		while (last + 1 < count && uids[last + 1] == uids[last] + 1)
			last++;
		str_printf(out, last > taken ? "%s%u:%u" : "%s%u", taken > 0 ? "," : "",
			uids[taken], uids[last]);
		taken = last + 1;
	}
	return taken;
}

int imap_fetch_begin(struct imap_engine *engine, struct source_error *error)
{
	if (!engine->selected)
		return source_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_RETRY_NOW,
			SOURCE_CAUSE_MAILBOX, -EIO, "no folder is open");
	imap_engine_begin(engine);
	return 0;
}
