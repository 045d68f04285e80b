/* SPDX-License-Identifier: MIT */
/*
 * What a response says of a message that bulk() asked for.
 *
 * A content that comes as a literal is handed on while it comes; whether it counts is known at the response's end, when all of
 * it was understood and its UID is the one that was believed. What comes in another form (a quoted string, a literal before the UID) is told
 * if it is small enough to be held, and else passed over: its message stays unanswered. It is not guessed whose it is, also where one only is lacking:
 * readers are given what is handed on before its end. Nothing that was not asked for is told.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "bulk.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"
#include "mailfs/util/number.h"
#include "mailfs/util/quirk.h"

#define CHUNK_BYTES ((size_t)64 << 10)
#define NOT_ASKED   SIZE_MAX

/* --- What was asked for --- */

/* The place of a UID in the set; NOT_ASKED: it is not in it, or was told. */
static size_t set_find(const struct bulk_set *set, uint32_t uid)
{
	size_t at = u32_lower_bound(set->uids, set->count, uid);
	return at < set->count && set->uids[at] == uid && !set->done[at] ? at : NOT_ASKED;
}

static bool size_fits(const struct bulk_set *set, uint64_t size)
{
	return size <= (set->length > 0 ? set->length : set->limit_bytes);
}

/*
 * Whether an item is the content: BODY[], and of a piece, BODY[]<offset>. A server that knows no pieces sends the whole
 * without an origin, however short it is: it is not taken for one.
 */
static bool is_content(const struct bulk_set *set, const struct imap_node *item)
{
	const char *p = item->data, *end = p + item->len;
	uint64_t origin;
	if (item->type != IMAP_NODE_ATOM || item->len < 6 || strncasecmp(p, "BODY[]", 6) != 0)
		return false;
	p += 6;
	if (set->length == 0)
		return p == end;
	return end - p > 2 && *p == '<' && end[-1] == '>' &&
	       imap_number_parse(p + 1, (size_t)(end - p) - 2, UINT64_MAX, &origin) &&
	       origin == set->offset;
}

/* --- Telling --- */

/* Which of the messages that were asked for. */
struct place {
	struct bulk_set *set; /* NULL: none of them */
	size_t index;
};

/* The time that the caller takes is not the server's. */
static int tell_begin(struct bulk *bulk, struct place place, uint64_t size)
{
	struct bulk_set *set = place.set;
	size_t index = place.index;
	int64_t begun_ms = clock_now_ms();
	set->done[index] = true;
	set->missing--;
	bulk->message.set = set;
	bulk->message.uid = set->uids[index];
	bulk->message.finished = true;
	imap_engine_useful(bulk->engine);
	int r = bulk->calls->begin(bulk->calls->arg, set->uids[index], set->offset, size);
	imap_engine_pause(bulk->engine, clock_now_ms() - begun_ms);
	bulk->message.told = r >= 0;
	return r;
}

static void tell_data(struct bulk *bulk, const char *data, size_t len)
{
	int64_t begun_ms = clock_now_ms();
	bulk->calls->data(bulk->calls->arg, data, len);
	imap_engine_pause(bulk->engine, clock_now_ms() - begun_ms);
}

static void tell_end(struct bulk *bulk, bool whole)
{
	bool told = bulk->message.told;
	bulk->message.told = false;
	if (!told)
		return;
	int64_t begun_ms = clock_now_ms();
	bulk->calls->end(bulk->calls->arg, whole);
	imap_engine_pause(bulk->engine, clock_now_ms() - begun_ms);
}

/* --- A literal, before it comes --- */

/* The item at the end of a response that goes on, whose value comes now; NULL: there is none. */
static const struct imap_node *item_open(
	const struct imap_tree *tree, const struct imap_fetch *fetch)
{
	const struct imap_node *item = fetch->item, *next;
	if (!item || imap_tree_top(tree)->closed)
		return NULL;
	while (imap_fetch_value(tree, item, &next)) {
		if (!next)
			return NULL;
		item = next;
	}
	return item;
}

/* Whether nothing but blanks is between an item and the end of what has come. */
static bool is_at_end(const struct imap_node *item, const char *end)
{
	const char *p = item->data + item->len;
	while (p < end && *p == ' ')
		p++;
	return p == end;
}

/*
 * The message of this UID, in the oldest set that lacks it, whose content an item of this name and size can be. Where no UID was told yet it may be any
 * message's, also where only one was asked for: what is handed on can not be taken back.
 */
static struct place place_find(
	struct bulk *bulk, uint32_t uid, const struct imap_node *item, uint64_t size)
{
	struct place place;
	for (unsigned i = 0; uid != 0 && (place.set = bulk_set_at(bulk, i)); i++) {
		const struct bulk_set *set = place.set;
		bool fits = is_content(set, item) && size_fits(set, size);
		place.index = fits ? set_find(set, uid) : NOT_ASKED;
		if (place.index != NOT_ASKED)
			return place;
	}
	return (struct place){0};
}

/* Whose content comes now. */
static struct place content_of(struct bulk *bulk, const char *head, size_t len, uint64_t size)
{
	struct imap_response response;
	struct imap_fetch fetch;
	if (imap_response_parse(head, len, &response) < 0 || response.kind != IMAP_UNTAGGED ||
		!imap_fetch_parse(bulk->engine, &response, &fetch))
		return (struct place){0};
	const struct imap_node *item = item_open(&bulk->engine->tree, &fetch);
	if (!item || !is_at_end(item, head + len))
		return (struct place){0};
	return place_find(bulk, fetch.uid, item, size);
}

static bool may_tell(const struct bulk *bulk)
{
	return bulk->stop == 0 && !bulk->engine->uidvalidity_changed;
}

bool bulk_pass(void *arg, const char *head, size_t len, uint64_t size)
{
	struct bulk *bulk = arg;
	struct bulk_message *message = &bulk->message;
	message->receiving = false;
	if (message->uid == 0 && may_tell(bulk)) {
		struct place place = content_of(bulk, head, len, size);
		if (place.set) {
			message->receiving = tell_begin(bulk, place, size) >= 0;
			return true;
		}
	}
	if (size <= IMAP_LIMIT_BULK_HELD_BYTES - message->held) {
		message->held += (size_t)size;
		return false;
	}
	message->dropped = true;
	return true;
}

void bulk_passed(void *arg, const char *data, size_t len)
{
	struct bulk *bulk = arg;
	if (!bulk->message.receiving)
		return;
	imap_engine_progress(bulk->engine, len);
	tell_data(bulk, data, len);
}

/* --- A response, when it is complete --- */

/* The UID that a response is about; 0: it tells none, or several. */
static uint32_t only_uid(const struct imap_tree *tree, const struct imap_fetch *fetch)
{
	for (const struct imap_node *item = fetch->item, *next; item; item = next) {
		const struct imap_node *value = imap_fetch_value(tree, item, &next);
		uint64_t uid;
		if (imap_node_is(item, "UID") &&
			(!imap_node_number(value, UINT32_MAX, &uid) || uid != fetch->uid))
			return 0;
	}
	return fetch->uid;
}

static bool is_uid_behind(const struct imap_tree *tree, const struct imap_node *value)
{
	const struct imap_node *item = imap_node_next(tree, value), *next;
	for (; item; item = next) {
		imap_fetch_value(tree, item, &next);
		if (imap_node_is(item, "UID"))
			return true;
	}
	return false;
}

static bool is_body(const struct imap_node *item)
{
	return item->type == IMAP_NODE_ATOM && item->len >= 6 &&
	       strncasecmp(item->data, "BODY[]", 6) == 0;
}

/* The one content, or piece of one, in a response that was understood to its end; NULL: there is none, or several, or something is amiss. */
static const struct imap_node *only_content(
	const struct imap_tree *tree, const struct imap_fetch *fetch)
{
	const struct imap_node *found = NULL;
	if (fetch->damaged || imap_node_next(tree, imap_tree_top(tree)))
		return NULL;
	for (const struct imap_node *item = fetch->item, *next; item; item = next) {
		const struct imap_node *value = imap_fetch_value(tree, item, &next);
		if (!value)
			return NULL;
		if (!is_body(item))
			continue;
		if (found || !imap_node_is_string(value))
			return NULL;
		found = item;
	}
	return found;
}

/* The bytes of a content that lies in the response. false: no memory. */
static bool held_bytes(struct bulk *bulk, const struct imap_node *value, struct imap_slice *ret)
{
	struct str *text = &bulk->engine->scratch;
	*ret = (struct imap_slice){value->data, value->len};
	if (!value->escaped)
		return true;
	str_reset(text);
	imap_node_append(value, text);
	*ret = (struct imap_slice){str_cstr(text), text->len};
	return str_error(text) == 0;
}

static void tell_held(struct bulk *bulk, uint32_t uid, const struct imap_node *item)
{
	const struct imap_tree *tree = &bulk->engine->tree;
	const struct imap_node *value = imap_node_next(tree, item);
	struct imap_slice text;
	if (uid == 0 || !held_bytes(bulk, value, &text))
		return;
	struct place place = place_find(bulk, uid, item, text.len);
	if (!place.set || tell_begin(bulk, place, text.len) < 0)
		return;
	if (value->type == IMAP_NODE_LITERAL && is_uid_behind(tree, value))
		quirk_seen(QUIRK_UID_LAST);
	imap_engine_progress(bulk->engine, text.len);
	for (size_t at = 0, n; at < text.len; at += n) {
		n = text.len - at < CHUNK_BYTES ? text.len - at : CHUNK_BYTES;
		tell_data(bulk, text.data + at, n);
	}
	tell_end(bulk, true);
}

/* The set that is under way in which it was told already; NULL: there is none, or another one lacks it. */
static const struct bulk_set *set_told(
	struct bulk *bulk, uint32_t uid, const struct imap_node *item)
{
	const struct bulk_set *found = NULL, *set;
	for (unsigned i = 0; (set = bulk_set_at(bulk, i)); i++) {
		size_t at = u32_lower_bound(set->uids, set->count, uid);
		if (at == set->count || set->uids[at] != uid || !is_content(set, item))
			continue;
		if (!set->done[at])
			return NULL;
		found = set;
	}
	return found;
}

/* What comes again may be right, and what came before not. */
static void tell_again(struct bulk *bulk, const struct imap_fetch *fetch)
{
	const struct imap_tree *tree = &bulk->engine->tree;
	if (!bulk->calls->again || !may_tell(bulk))
		return;
	for (const struct imap_node *item = fetch->item, *next; item; item = next) {
		imap_fetch_value(tree, item, &next);
		const struct bulk_set *set = set_told(bulk, fetch->uid, item);
		if (!set)
			continue;
		log_info("message %u: the server gives it twice", fetch->uid);
		bulk->calls->again(bulk->calls->arg, fetch->uid, set->offset);
		return;
	}
}

void bulk_message_read(struct bulk *bulk, const struct imap_response *response)
{
	struct imap_fetch fetch;
	const struct imap_tree *tree = &bulk->engine->tree;
	struct bulk_message *message = &bulk->message;
	if (!imap_fetch_parse(bulk->engine, response, &fetch))
		return;
	const struct imap_node *content = only_content(tree, &fetch);
	uint32_t uid = only_uid(tree, &fetch);
	if (message->uid == 0)
		tell_again(bulk, &fetch);
	if (message->uid != 0)
		tell_end(bulk, content && is_content(message->set, content) && uid == message->uid);
	else if (content && !message->dropped && may_tell(bulk))
		tell_held(bulk, uid, content);
	if (fetch.damaged)
		log_info("message %u: the server's answer can not be understood", fetch.uid);
}

void bulk_message_abandon(struct bulk *bulk, const struct source_error *error)
{
	if (error->cause == SOURCE_CAUSE_PROTOCOL)
		tell_end(bulk, false);
}
