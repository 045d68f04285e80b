/* SPDX-License-Identifier: MIT */
/*
 * What was fetched of a mailbox before the server renumbered it. A message is taken for the same where Message-ID, INTERNALDATE and size
 * agree, and where it is the only one of which that is true, under the old numbers and under the new. Of two that agree in all three
 * nothing is carried: they may well be different (a copy that came by a list, with other trace fields of the same length), and a wrong
 * body is worse than one that is fetched again. A message without a Message-ID, or with two, is not carried.
 *
 * Once that is done the old number is removed. Whoever is killed in between does it again: what was carried is not there a second time.
 *
 * The old messages are held as hashes: 128 bits, which no sender can aim at because they begin with random ones.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "listing.h"
#include "mailfs/mime.h"
#include "mailfs/util/hash.h"
#include "mailfs/util/log.h"
#include "mailfs/util/quirk.h"

#define NEEDED (SOURCE_ROW_DATE | SOURCE_ROW_SIZE | SOURCE_ROW_HEADER)

struct identity {
	uint64_t hash[2];
	uint32_t from_uid;
	uint32_t to_uid; /* 0: none yet */
	bool ambiguous;
};

struct carry {
	struct identity *items; /* of the old messages; sorted before the new ones are looked at */
	size_t count, cap;
	uint64_t seed[2];
	struct str id;
};

static void carry_finish(struct carry *carry)
{
	free(carry->items);
	str_finish(&carry->id);
}

/* Behind the field that begins at header: where a second one of that name would be looked for. */
static bool has_two(const struct source_row *row, struct carry *carry)
{
	_cleanup_str_ struct str first = STR_INIT;
	if (mime_header_copy(row->header, row->header_len, "Message-ID", &first) < 0)
		return true;
	const char *at = memmem(row->header, row->header_len, first.data, first.len);
	if (!at)
		return true;
	at += first.len;
	size_t left = row->header_len - (size_t)(at - row->header);
	struct str *second = &carry->id;
	size_t len = second->len;
	bool two = mime_header_get(at, left, "Message-ID", second) != -ENOENT;
	str_truncate(second, len);
	return two;
}

/* 1: *ret is what the message is known by; 0: it is not known well enough. */
static int identify(struct carry *carry, const struct source_row *row, struct identity *ret)
{
	if ((row->have & NEEDED) != NEEDED || row->header_len == 0)
		return 0;
	str_reset(&carry->id);
	int err = mime_header_get(row->header, row->header_len, "Message-ID", &carry->id);
	if (err < 0 || carry->id.len == 0)
		return err == -ENOMEM ? err : 0;
	if (has_two(row, carry))
		return 0;
	for (int i = 0; i < 2; i++) {
		uint64_t hash = HASH64_INIT ^ carry->seed[i];
		hash = hash64(hash, &row->date_s, sizeof(row->date_s));
		hash = hash64(hash, &row->size_bytes, sizeof(row->size_bytes));
		hash = hash64(hash, carry->id.data, carry->id.len);
		ret->hash[i] = hash64_finish(hash);
	}
	return 1;
}

static int on_old_row(void *arg, const struct source_row *row)
{
	struct carry *carry = arg;
	struct identity identity = {.from_uid = row->uid};
	int known = identify(carry, row, &identity);
	if (known <= 0)
		return known;
	int err = array_grow(&carry->items, &carry->cap, carry->count + 1, sizeof(*carry->items));
	if (err == 0)
		carry->items[carry->count++] = identity;
	return err;
}

static int compare(const void *a, const void *b)
{
	return memcmp(((const struct identity *)a)->hash, ((const struct identity *)b)->hash,
		sizeof(((const struct identity *)a)->hash));
}

static void sort_old(struct carry *carry)
{
	if (carry->count > 1)
		qsort(carry->items, carry->count, sizeof(*carry->items), compare);
	for (size_t i = 1; i < carry->count; i++)
		if (compare(&carry->items[i - 1], &carry->items[i]) == 0)
			carry->items[i - 1].ambiguous = carry->items[i].ambiguous = true;
}

static int on_new_row(void *arg, const struct source_row *row)
{
	struct carry *carry = arg;
	struct identity identity;
	int known = identify(carry, row, &identity);
	if (known <= 0 || carry->count == 0)
		return known < 0 ? known : 0;
	struct identity *old =
		bsearch(&identity, carry->items, carry->count, sizeof(*carry->items), compare);
	if (!old)
		return 0;
	old->ambiguous |= old->to_uid != 0;
	old->to_uid = row->uid;
	return 0;
}

static int carry_pairs(struct listing *listing, const struct carry *carry)
{
	_cleanup_free_ struct store_carry *pairs = calloc(carry->count + 1, sizeof(*pairs));
	size_t count = 0;
	if (!pairs)
		return -ENOMEM;
	for (size_t i = 0; i < carry->count; i++)
		if (carry->items[i].to_uid && !carry->items[i].ambiguous)
			pairs[count++] = (struct store_carry){
				carry->items[i].from_uid, carry->items[i].to_uid};
	quirk_seen(QUIRK_RENUMBERED);
	log_info("%s: the server renumbered the messages; %zu of %zu are known again",
		listing->folder->name, count, carry->count);
	if (count == 0)
		return 0;
	return store_messages_carry(listing->account->store, listing->known.former,
		listing->known.folder, pairs, count);
}

static int carry_over(struct listing *listing)
{
	_cleanup_(carry_finish) struct carry carry = {0};
	struct store *store = listing->account->store;
	if (getrandom(carry.seed, sizeof(carry.seed), GRND_NONBLOCK) < 0)
		return 0; /* early boot: nothing is carried that could be aimed at */
	int err = store_rows_load(store, listing->known.former, 1, on_old_row, &carry);
	if (err < 0)
		return err;
	sort_old(&carry);
	if (carry.count > 0)
		err = store_rows_load(store, listing->known.folder, 1, on_new_row, &carry);
	return err < 0 ? err : carry_pairs(listing, &carry);
}

void listing_carry(struct listing *listing)
{
	uint32_t former = listing->known.former;
	int err = former == listing->known.folder ? 0 : carry_over(listing);
	if (err == 0 && former != listing->known.folder)
		err = store_folder_remove(listing->account->store, former);
	if (err == 0) {
		listing->known.former = 0;
		err = listing_save_state(listing);
	}
	if (err < 0)
		log_warning("%s: what was fetched before the server renumbered the messages can "
			    "not be taken over yet: %s",
			listing->folder->name, strerror(-err));
}
