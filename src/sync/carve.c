/* SPDX-License-Identifier: MIT */
/*
 * A section is cut out of its message where that is here whole: .parts of what was downloaded needs no server. Where the parts lie
 * follows from the message's bytes (mime_walker); what they are and are called stays as the server told it.
 *
 * Invariant: a section is cut out only where both agree on every part of the message, down to the length of each. Where they do not, the
 * section is the server's to give, as if the message was not here. The header alone is never in doubt.
 */
#include "body.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WALK_BYTES 65536

/* --- The message --- */

static int on_size(void *arg, const struct source_row *row)
{
	if (row->have & SOURCE_ROW_SIZE)
		*(uint64_t *)arg = row->size_bytes;
	return 0;
}

static bool is_whole(struct sync_body *message, uint64_t *ret_size)
{
	return message->store && store_body_size(message->store, ret_size) &&
	       store_body_held(message->store, 0) >= *ret_size;
}

/* The message and its true size, if all of it is here; else NULL. */
static struct sync_body *open_message(
	struct sync_folder *folder, uint32_t number, uint32_t uid, uint64_t *ret_size)
{
	uint64_t size = UINT64_MAX;
	struct sync_body *message;
	if (store_row_get(folder->account->store, number, uid, on_size, &size) < 0 ||
		sync_body_open(folder, uid, "", NULL, size, &message) < 0)
		return NULL;
	if (message->number == number && is_whole(message, ret_size))
		return message;
	sync_body_close(message);
	return NULL;
}

static int walk_chunks(
	struct sync_body *message, uint64_t size, struct mime_walker *walker, char *buffer)
{
	for (uint64_t pos = 0; pos < size;) {
		uint64_t left = size - pos;
		size_t len = left < WALK_BYTES ? (size_t)left : WALK_BYTES;
		if (body_held_read(message, buffer, len, pos) != len)
			return -ENODATA;
		int err = mime_walker_push(walker, buffer, len);
		if (err < 0)
			return err;
		pos += len;
	}
	return 0;
}

/* Finds the structure from the bytes. */
static int walk(struct sync_body *message, uint64_t size, struct mime_part **ret)
{
	_cleanup_free_ char *buffer = malloc(WALK_BYTES);
	struct mime_walker *walker = mime_walker_create();
	int err = buffer && walker ? walk_chunks(message, size, walker, buffer) : -ENOMEM;
	if (err == 0)
		err = mime_walker_end(walker, ret);
	mime_walker_destroy(walker);
	return err;
}

int carve_structure(struct sync_folder *folder, uint32_t uid, struct mime_part **ret)
{
	uint32_t number, uidvalidity;
	folder_identity(folder, &number, &uidvalidity);
	if (folder->account->drop)
		return -ENODATA;
	uint64_t size;
	struct sync_body *message = open_message(folder, number, uid, &size);
	if (!message)
		return -ENODATA;
	int err = walk(message, size, ret);
	sync_body_close(message);
	return err;
}

/* --- Where the sections lie --- */

static bool same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

/* The server gives no size for a multipart. */
static bool same_part(const struct mime_part *told, const struct mime_part *found)
{
	return same_text(told->type, found->type) && same_text(told->subtype, found->subtype) &&
	       told->child_count == found->child_count &&
	       (mime_part_is_multipart(told) ||
		       (told->size_bytes == found->size_bytes &&
			       mime_encoding_parse(told->encoding ? told->encoding : "") ==
				       mime_encoding_parse(
					       found->encoding ? found->encoding : "")));
}

/* Takes the places over from what was found; false: it is another structure. Both are no deeper than MIME_DEPTH_MAX. */
static bool graft(struct mime_part *told, const struct mime_part *found)
{
	if (!same_part(told, found))
		return false;
	for (size_t i = 0; i < told->child_count; i++)
		if (!graft(told->children[i], found->children[i]))
			return false;
	told->located = true;
	told->header_offset = found->header_offset;
	told->header_bytes = found->header_bytes;
	told->offset = found->offset;
	told->size_bytes = found->size_bytes;
	return true;
}

/* What is stored of the structure; NULL: nothing that helps. */
static struct mime_part *stored_structure(struct sync_body *message)
{
	_cleanup_str_ struct str data = STR_INIT;
	struct mime_part *part = NULL;
	int err = store_structure_get(
		message->folder->account->store, message->number, message->uid, &data);
	if (err < 0 || mime_part_parse(str_cstr(&data), data.len, &part) < 0)
		return NULL;
	return part;
}

/* So that the message is walked once. What can not be stored is found again. */
static void store_places(struct sync_body *message, const struct mime_part *structure)
{
	_cleanup_str_ struct str data = STR_INIT;
	if (mime_part_serialize(structure, &data) == 0)
		(void)store_structure_put(message->folder->account->store, message->number,
			message->uid, data.data, data.len);
}

/* What the server told, located; else what was found in *ret_found. */
static struct mime_part *told_structure(
	struct sync_body *message, uint64_t size, struct mime_part **ret_found)
{
	struct mime_part *told = stored_structure(message);
	if (told && told->located)
		return told;
	if (walk(message, size, ret_found) == 0 && told && graft(told, *ret_found)) {
		store_places(message, told);
		return told;
	}
	mime_part_destroy(told);
	return NULL;
}

static bool find_place(
	struct sync_body *body, struct sync_body *message, uint64_t size, struct carve *carve)
{
	struct mime_kept *kept = &message->folder->account->structure;
	uint64_t id = message_id(message->number, message->uid);
	struct mime_part *found = NULL, *told = mime_kept_take(kept, id);
	if (!told)
		told = told_structure(message, size, &found);
	/* A header is one by the message's bytes, whatever the server tells. */
	const struct mime_part *in = told                                   ? told
	                             : strcmp(body->section, "HEADER") == 0 ? found
	                                                                    : NULL;
	int err = in ? mime_part_locate(in, body->section, &carve->start, &carve->len) : -ENODATA;
	mime_part_destroy(found);
	if (told)
		mime_kept_put(kept, id, told);
	return err == 0 && carve->start <= size && carve->len <= size - carve->start &&
	       (!body->decoded || carve->len == body->announced);
}

/* --- The section --- */

/* What the server has given of it already is not mixed with what is cut out. */
static bool is_untouched(const struct sync_body *body)
{
	return !body->size_known && body->raw_pos == 0 &&
	       (!body->store || store_body_held(body->store, 0) == 0);
}

void carve_begin(struct sync_body *body)
{
	struct carve carve = {0};
	if (!body->section[0] || body->folder->account->drop || body->carve.message ||
		!is_untouched(body))
		return;
	uint64_t size;
	struct sync_body *message = open_message(body->folder, body->number, body->uid, &size);
	if (message && find_place(body, message, size, &carve)) {
		carve.message = message;
		body->carve = carve;
	} else if (message) {
		sync_body_close(message);
	}
}

int carve_fetch(struct sync_body *body, uint64_t offset, uint64_t length, uint64_t limit)
{
	const struct carve *carve = &body->carve;
	uint64_t left = offset < carve->len ? carve->len - offset : 0;
	bool all = length == 0 && offset == 0;

	str_reset(&body->chunk);
	if (all && left > limit)
		return -EFBIG;
	if (!all && left > length)
		left = length;
	if (left > SIZE_MAX / 2 || str_reserve(&body->chunk, (size_t)left) < 0)
		return -ENOMEM;
	size_t len = (size_t)left;
	if (body_held_read(carve->message, body->chunk.data, len, carve->start + offset) != len) {
		/* Damaged: the server has it. */
		carve_end(body);
		return -ENODATA;
	}
	body->chunk.len = len;
	return 0;
}

void carve_end(struct sync_body *body)
{
	struct sync_body *message = steal_ptr(body->carve.message);
	if (message)
		sync_body_close(message);
}
