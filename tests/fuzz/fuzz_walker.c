/* SPDX-License-Identifier: MIT */
/* A message, from its bytes: the same structure however they are cut; each part lies within it; its leaves decode to no more than was announced. */
#include <stdlib.h>
#include <string.h>

#include "part.h"

#define PIECE_MAX 97

static struct mime_part *walk(struct fuzz_input in, uint32_t *random)
{
	struct mime_walker *walker = mime_walker_create();
	struct mime_part *root = NULL;
	FUZZ_CHECK(walker);
	while (in.len > 0) {
		size_t len = random ? 1 + fuzz_random(random) % PIECE_MAX : in.len;
		struct fuzz_input piece = {in.data, len < in.len ? len : in.len};
		char *copy = fuzz_copy(piece);
		FUZZ_CHECK(mime_walker_push(walker, copy, piece.len) == 0);
		free(copy);
		in.data += piece.len;
		in.len -= piece.len;
	}
	FUZZ_CHECK(mime_walker_end(walker, &root) == 0 && root && root->located);
	mime_walker_destroy(walker);
	return root;
}

static void check_same(const struct mime_part *a, const struct mime_part *b)
{
	_cleanup_str_ struct str first = STR_INIT, second = STR_INIT;
	FUZZ_CHECK(mime_part_serialize(a, &first) == 0 && mime_part_serialize(b, &second) == 0);
	FUZZ_CHECK(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
}

static void decode_leaf(const struct mime_leaf *leaf, const uint8_t *data)
{
	_cleanup_str_ struct str out = STR_INIT;
	struct mime_decoder *decoder =
		mime_decoder_create(leaf->encoding, leaf->to_utf8, leaf->charset);
	FUZZ_CHECK(decoder);
	FUZZ_CHECK(mime_decoder_push(decoder, data + leaf->part->offset,
			   (size_t)leaf->part->size_bytes, &out) == 0);
	FUZZ_CHECK(mime_decoder_end(decoder, &out) == 0);
	FUZZ_CHECK(out.len <= leaf->size_bound);
	mime_decoder_destroy(decoder);
}

static void decode_leaves(const struct mime_part *message, const char *section, const uint8_t *data)
{
	struct mime_leaves leaves;
	FUZZ_CHECK(mime_leaves(message, section, &leaves) == 0);
	for (size_t i = 0; i < leaves.count; i++)
		if (leaves.items[i].is_message)
			decode_leaves(leaves.items[i].part, leaves.items[i].section, data);
		else
			decode_leaf(&leaves.items[i], data);
	mime_leaves_finish(&leaves);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint32_t random = (uint32_t)size;
	struct mime_part *whole = walk(in, NULL), *cut = walk(in, &random);
	check_same(whole, cut);
	part_check(whole, size);
	decode_leaves(whole, NULL, data);
	mime_part_destroy(whole);
	mime_part_destroy(cut);
	return 0;
}
