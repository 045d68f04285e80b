/* SPDX-License-Identifier: MIT */
/*
 * Content: sections and ranges of messages (BODY.PEEK, which sets no flag).
 *
 * Invariant: bytes are given only when the server has said OK to all of it and they are of the message, the section
 * and the place that were asked for. Whatever else comes is an error, never a shorter answer.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "mailfs/util/log.h"
#include "mailfs/util/quirk.h"
#include "private.h"

struct body {
	uint32_t uid;
	const char *section;
	uint64_t offset;
	uint64_t want; /* bytes; 0: all there are */
	struct str *out;
	size_t start;   /* of the content in out */
	unsigned found; /* FETCHes with content that fits */
	bool nil, wrong;
};

/* --- Item names: BODY[section]<origin> --- */

/* Whether the item is the section that was asked for; *ret_origin is 0 where the server left it out, *ret_whole tells. */
static bool item_is_section(
	const struct imap_node *item, const char *section, uint64_t *ret_origin, bool *ret_whole)
{
	size_t len = strlen(section);
	const char *p = item->data, *end = p + item->len;
	if (item->type != IMAP_NODE_ATOM || item->len < len + 6 ||
		strncasecmp(p, "BODY[", 5) != 0 || strncasecmp(p + 5, section, len) != 0 ||
		p[5 + len] != ']')
		return false;
	p += len + 6;
	*ret_whole = p == end;
	*ret_origin = 0;
	if (*ret_whole)
		return true;
	return end - p > 2 && *p == '<' && end[-1] == '>' &&
	       imap_number_parse(p + 1, (size_t)(end - p) - 2, UINT64_MAX, ret_origin);
}

/* --- body --- */

/*
 * Takes the content. A server that does not know partial fetches sends the section from its start and tells no origin (whole):
 * that is cut to what was asked for. Without an origin, and no longer than the range, it could be either: it is not taken.
 */
static void take_content(struct body *body, const struct imap_node *value, bool whole)
{
	struct str text = STR_INIT;
	const char *data = value->data;
	size_t len = value->len;
	if (value->escaped) {
		imap_node_append(value, &text);
		data = str_cstr(&text);
		len = text.len;
	}
	if (whole && (body->offset > 0 || (body->want > 0 && len > body->want)))
		quirk_seen(QUIRK_RANGES_UNKNOWN);
	uint64_t skip = whole ? body->offset : 0;
	uint64_t left = skip < len ? len - skip : 0;
	if (whole && body->want > 0 && left > body->want)
		left = body->want;
	bool unclear = whole && body->offset > 0 && len <= body->want;
	if (unclear || (body->want > 0 && left > body->want))
		body->wrong = true;
	else
		str_append(body->out, data + (left > 0 ? skip : 0), (size_t)left);
	body->out->failed |= text.failed;
	str_finish(&text);
}

static void read_content(struct body *body, const struct imap_fetch *fetch,
	const struct imap_node *value, bool whole)
{
	/* One that tells no UID may be any message's; of two that differ nobody knows which is right. */
	if (fetch->uid == 0 || ++body->found > 1)
		body->wrong = true;
	else if (imap_node_is_string(value))
		take_content(body, value, whole);
	else if (imap_node_is_nil(value))
		body->nil = true;
	else
		body->wrong = true;
}

static int body_untagged(
	struct imap_engine *engine, const struct imap_response *response, void *arg)
{
	struct body *body = arg;
	struct imap_fetch fetch;
	const struct imap_tree *tree = &engine->tree;
	if (!imap_fetch_parse(engine, response, &fetch) ||
		(fetch.uid != 0 && fetch.uid != body->uid))
		return 0;
	body->wrong |= fetch.damaged;
	for (const struct imap_node *item = fetch.item, *next; item; item = next) {
		const struct imap_node *value = imap_fetch_value(tree, item, &next);
		uint64_t origin;
		bool whole;
		if (!item_is_section(item, body->section, &origin, &whole))
			continue;
		if (whole || origin == body->offset)
			read_content(body, &fetch, value, whole);
		else
			body->wrong = true;
	}
	return 0;
}

static int body_fail(const struct body *body, int err, const char *why, struct source_error *error)
{
	return source_fail(error, SOURCE_SCOPE_MESSAGE,
		err == -ENOENT ? SOURCE_RETRY_NEVER : SOURCE_RETRY_LATER,
		err == -ENOENT ? SOURCE_CAUSE_OTHER : SOURCE_CAUSE_PROTOCOL, err, "message %u: %s",
		body->uid, why);
}

/* The server has said OK: whether what came is the answer. */
static int body_check(const struct body *body, uint64_t limit_bytes, struct source_error *error)
{
	if (str_error(body->out) < 0)
		return body_fail(body, -ENOMEM, "out of memory", error);
	if (body->wrong)
		return body_fail(
			body, -EIO, "the server's answer does not fit what was asked for", error);
	if (body->found == 0)
		return body_fail(body, -ENOENT, "it is not there any more", error);
	if (body->nil)
		return body_fail(body, -EIO, "the server has nothing for this part of it", error);
	if (limit_bytes > 0 && body->out->len - body->start > limit_bytes)
		return body_fail(body, -EFBIG, "it is longer than it may be", error);
	return 0;
}

static int body_run(struct imap_engine *engine, struct body *body, struct source_error *error)
{
	uint64_t room = body->want > 0 ? body->want : UINT32_MAX;
	struct net_limits limits = {
		.line_bytes = IMAP_LIMIT_BODY_LINE_BYTES, .literals = IMAP_LIMIT_BODY_LITERALS};
	struct imap_exchange exchange = {.what = "the message can not be read",
		.scope = SOURCE_SCOPE_MESSAGE,
		.untagged = body_untagged,
		.arg = body,
		.limits = &limits,
		.bytes_max = room + IMAP_LIMIT_BYTES,
		.streaming = true};
	_cleanup_command_ struct imap_command command;
	limits.literal_bytes = room + IMAP_LIMIT_BODY_SLACK;
	limits.response_bytes = room + limits.line_bytes + IMAP_LIMIT_BODY_SLACK;
	imap_command_init(
		&command, engine, "UID FETCH %u (UID BODY.PEEK[%s]", body->uid, body->section);
	if (body->want > 0)
		str_printf(&command.text, "<%llu.%llu>", (unsigned long long)body->offset,
			(unsigned long long)body->want);
	str_putc(&command.text, ')');
	log_debug("imap: UID FETCH %u [%s] %llu+%llu", body->uid, body->section,
		(unsigned long long)body->offset, (unsigned long long)body->want);
	return imap_engine_run(engine, &command, &exchange, error);
}

/* Digits, dots and the words of RFC 3501's sections; nothing that could end a command. */
static bool is_section(const char *section)
{
	return strlen(section) < 400 &&
	       section[strspn(section, "0123456789.ABCDEFGHIJKLMNOPQRSTUVWXYZ")] == 0;
}

int imap_body(struct imap_engine *engine, uint32_t uid, const char *section, uint64_t offset,
	uint64_t length, uint64_t limit_bytes, struct str *out, struct source_error *error)
{
	struct body body = {.uid = uid,
		.section = section,
		.offset = offset,
		.want = length,
		.out = out,
		.start = out->len};
	uint64_t limit = length > 0 ? 0 : limit_bytes;
	/* One byte more than the limit tells a message that is too long from one that is not, without the server sending it
	 * all, which would cost the connection. */
	if (length == 0 && limit_bytes > 0 && limit_bytes < UINT32_MAX)
		body.want = limit_bytes + 1;
	if (uid == 0 || !is_section(section) || (length == 0 && offset > 0) || length > UINT32_MAX)
		return body_fail(&body, -EINVAL, "no such part", error);
	int r = imap_fetch_begin(engine, error);
	if (r == 0)
		r = body_run(engine, &body, error);
	if (r == 0)
		r = body_check(&body, limit, error);
	if (r < 0)
		str_truncate(out, body.start);
	return r;
}
