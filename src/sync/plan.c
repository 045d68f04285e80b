/* SPDX-License-Identifier: MIT */
/*
 * Entries and records meet twice. First by unique-id: both are sorted by it and walked side by side. What that leaves open is
 * claimed later, by content (plan_index.c), within classes:
 *
 *   an entry with a unique-id     may be a record with the same, or one without any
 *   an entry without one          may be a record without any, or one whose unique-id is not in this listing
 *
 * The number of a message is made of what is the same on every machine (its unique-id, else its content), so that two
 * machines give the same names. It is 32 bits wide: where it is taken, the next free ones are tried, then any.
 */
#include "plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/hash.h"
#include "mailfs/util/quirk.h"
#include "plan_index.h"

#define UID_TRIES 16
/* Copies of one content that get a number made of it. */
#define OCCURRENCES_MAX (UINT32_C(1) << 24)

void plan_init(struct plan *plan)
{
	*plan = (struct plan){0};
	if (getrandom(&plan->random, sizeof(plan->random), GRND_NONBLOCK) < 0)
		plan->random = (uintptr_t)plan;
}

void plan_finish(struct plan *plan)
{
	plan_index_destroy(plan->by_content);
	plan_index_destroy(plan->by_top);
	plan_index_destroy(plan->without_top);
	plan_index_destroy(plan->by_size);
	free(plan->tops);
	free(plan->entries);
	free(plan->records);
	str_finish(&plan->uidls);
	uid_set_finish(&plan->uids);
	*plan = (struct plan){0};
}

int plan_add_record(void *arg, const struct store_spool *record)
{
	struct plan *plan = arg;
	int err = array_grow(
		&plan->records, &plan->record_cap, plan->record_count + 1, sizeof(*plan->records));
	if (err < 0)
		return err;
	struct plan_record *copy = &plan->records[plan->record_count];
	*copy = (struct plan_record){.uid = record->uid,
		.uidl = (uint32_t)plan->uidls.len,
		.uidl_len = (uint32_t)record->uidl_len,
		.listed_bytes = record->listed_bytes,
		.size_bytes = record->size_bytes,
		.stored_s = record->stored_s,
		.has_top = record->has_top,
		.deleted = record->deleted_s != 0,
		.lost = record->lost};
	memcpy(copy->sha256, record->sha256, sizeof(copy->sha256));
	memcpy(copy->top, record->top, sizeof(copy->top));
	str_append(&plan->uidls, record->uidl, record->uidl_len);
	plan->nameless = plan->nameless || record->uidl_len == 0;
	if (str_error(&plan->uidls) < 0 || uid_set_add(&plan->uids, record->uid) < 0)
		return -ENOMEM;
	plan->record_count++;
	return 0;
}

/* --- Numbers --- */

static bool uid_free(const struct plan *plan, uint32_t uid)
{
	return uid != 0 && uid != UINT32_MAX && !uid_set_has(&plan->uids, uid);
}

static uint32_t uid_any(struct plan *plan)
{
	uint32_t uid;
	do
		uid = (uint32_t)hash64_finish(++plan->random);
	while (!uid_free(plan, uid));
	return uid;
}

static uint32_t uid_by_uidl(struct plan *plan, const char *uidl, size_t len)
{
	uint32_t first = (uint32_t)hash64_finish(hash64(HASH64_INIT, uidl, len));
	for (uint32_t i = 0; i < UID_TRIES; i++)
		if (uid_free(plan, first + i))
			return first + i;
	return uid_any(plan);
}

static uint32_t uid_of_occurrence(const unsigned char *sha256, uint32_t occurrence)
{
	unsigned char bytes[4] = {(unsigned char)occurrence, (unsigned char)(occurrence >> 8),
		(unsigned char)(occurrence >> 16), (unsigned char)(occurrence >> 24)};
	uint64_t hash = hash64(HASH64_INIT, sha256, STORE_DIGEST_BYTES);
	return (uint32_t)hash64_finish(hash64(hash, bytes, sizeof(bytes)));
}

/* The first occurrence that is free. They are taken from 0 on, so it lies where a search by halves finds it. */
static uint32_t uid_by_content(struct plan *plan, const unsigned char *sha256)
{
	uint32_t taken = 0, end = 1;
	if (uid_free(plan, uid_of_occurrence(sha256, 0)))
		return uid_of_occurrence(sha256, 0);
	while (!uid_free(plan, uid_of_occurrence(sha256, end))) {
		if (end > OCCURRENCES_MAX)
			return uid_any(plan);
		taken = end;
		end *= 2;
	}
	while (end - taken > 1) {
		uint32_t middle = taken + (end - taken) / 2;
		if (uid_free(plan, uid_of_occurrence(sha256, middle)))
			end = middle;
		else
			taken = middle;
	}
	return uid_of_occurrence(sha256, end);
}

/* Gives the entry a number. sha256 is needed where there is no unique-id. */
static int entry_number(struct plan *plan, size_t index, const unsigned char *sha256)
{
	const struct maildrop_entry *listed = &plan->listing->entries[index];
	uint32_t uid = listed->uidl_len
	                       ? uid_by_uidl(plan, plan->listing->uidls.data + listed->uidl,
					 listed->uidl_len)
	                       : uid_by_content(plan, sha256);
	if (uid_set_add(&plan->uids, uid) < 0)
		return -ENOMEM;
	plan->entries[index].uid = uid;
	return 0;
}

/* --- By unique-id --- */

/* A unique-id of an entry or of a record. */
struct name {
	const char *uidl;
	uint32_t len;
	uint32_t index;
};

static int name_compare(const struct name *a, const struct name *b)
{
	int order = memcmp(a->uidl, b->uidl, a->len < b->len ? a->len : b->len);
	return order ? order : (a->len > b->len) - (a->len < b->len);
}

static int name_order(const void *left, const void *right)
{
	const struct name *a = left, *b = right;
	int order = name_compare(a, b);
	return order ? order : (a->index > b->index) - (a->index < b->index);
}

/* How many names from the first on are the same. */
static size_t names_same(const struct name *names, size_t count)
{
	size_t same = 1;
	while (same < count && name_compare(&names[0], &names[same]) == 0)
		same++;
	return same;
}

static struct name *entry_names(const struct plan *plan, size_t *ret_count)
{
	const struct maildrop_listing *listing = plan->listing;
	struct name *names = calloc(listing->count + 1, sizeof(*names));
	size_t count = 0;
	for (size_t i = 0; names && i < listing->count; i++)
		if (listing->entries[i].uidl_len)
			names[count++] =
				(struct name){listing->uidls.data + listing->entries[i].uidl,
					listing->entries[i].uidl_len, (uint32_t)i};
	if (names)
		qsort(names, count, sizeof(*names), name_order);
	*ret_count = count;
	return names;
}

static struct name *record_names(const struct plan *plan, size_t *ret_count)
{
	struct name *names = calloc(plan->record_count + 1, sizeof(*names));
	size_t count = 0;
	for (size_t i = 0; names && i < plan->record_count; i++)
		if (plan->records[i].uidl_len)
			names[count++] = (struct name){plan->uidls.data + plan->records[i].uidl,
				plan->records[i].uidl_len, (uint32_t)i};
	if (names)
		qsort(names, count, sizeof(*names), name_order);
	*ret_count = count;
	return names;
}

static bool sizes_differ(uint64_t a, uint64_t b)
{
	return a != UINT64_MAX && b != UINT64_MAX && a != b;
}

/* One entry, and at most one record, have this unique-id. record NULL: none. */
static enum plan_state decide(const struct plan *plan, const struct maildrop_entry *listed,
	const struct plan_record *record)
{
	if (!record)
		return plan->nameless ? PLAN_PROBE : PLAN_FETCH;
	if (record->deleted || sizes_differ(record->listed_bytes, listed->size_bytes))
		return PLAN_PROBE;
	return record->lost ? PLAN_FETCH : PLAN_HERE;
}

static void settle(struct plan *plan, uint32_t index, uint32_t record)
{
	struct plan_entry *entry = &plan->entries[index];
	entry->state = (unsigned char)decide(plan, &plan->listing->entries[index],
		record == PLAN_NO_RECORD ? NULL : &plan->records[record]);
	if (entry->state == PLAN_PROBE || record == PLAN_NO_RECORD)
		return;
	entry->record = record;
	entry->uid = plan->records[record].uid;
	entry->size_bytes = plan->records[record].size_bytes;
	plan->records[record].claimed = true;
}

/* All that have one unique-id. */
static void meet(struct plan *plan, uint32_t class, const struct name *entries, size_t entry_count,
	const struct name *records, size_t record_count)
{
	for (size_t i = 0; i < entry_count; i++)
		plan->entries[entries[i].index].class = class;
	for (size_t i = 0; i < record_count; i++)
		plan->records[records[i].index].class = class;
	if (entry_count > 1)
		quirk_seen(QUIRK_POP3_UIDL_TWICE);
	if (entry_count == 1 && record_count <= 1)
		settle(plan, entries[0].index, record_count ? records[0].index : PLAN_NO_RECORD);
}

static void meet_all(struct plan *plan, const struct name *entries, size_t entry_count,
	const struct name *records, size_t record_count)
{
	uint32_t class = PLAN_CLASS_FIRST;
	size_t r = 0;
	for (size_t e = 0; e < entry_count;) {
		size_t same = names_same(&entries[e], entry_count - e), same_records = 0;
		while (r < record_count && name_compare(&records[r], &entries[e]) < 0)
			r++;
		if (r < record_count && name_compare(&records[r], &entries[e]) == 0)
			same_records = names_same(&records[r], record_count - r);
		meet(plan, class ++, &entries[e], same, &records[r], same_records);
		e += same;
		r += same_records;
	}
}

/* Before they meet: everything is open. */
static void reset(struct plan *plan)
{
	for (size_t i = 0; i < plan->listing->count; i++)
		plan->entries[i] = (struct plan_entry){.state = PLAN_PROBE,
			.class = PLAN_CLASS_NAMELESS,
			.record = PLAN_NO_RECORD};
	for (size_t i = 0; i < plan->record_count; i++) {
		plan->records[i].claimed = false;
		plan->records[i].class =
			plan->records[i].uidl_len ? PLAN_CLASS_ABSENT : PLAN_CLASS_NAMELESS;
	}
}

/* In the order of the listing. */
static int number_fetches(struct plan *plan)
{
	for (size_t i = 0; i < plan->listing->count; i++) {
		const struct plan_entry *entry = &plan->entries[i];
		plan->probes += entry->state == PLAN_PROBE;
		plan->fetches += entry->state == PLAN_FETCH;
		if (entry->state == PLAN_FETCH && !entry->uid && entry_number(plan, i, NULL) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* --- By content --- */

/* The class of which only entries like this one may claim records. */
static uint32_t own_class(const struct plan_entry *entry)
{
	return entry->class == PLAN_CLASS_NAMELESS ? PLAN_CLASS_ABSENT : entry->class;
}

static uint32_t find_in(const struct plan *plan, struct plan_index *index, uint32_t class,
	uint64_t listed_bytes, const unsigned char *digest)
{
	struct plan_key key = {class, listed_bytes, digest};
	return plan_index_find(index, plan, &key);
}

/* A record that is free and alike. Those that others may claim as well come last, so that none is kept from them in vain. */
static uint32_t find(const struct plan *plan, struct plan_index *index,
	const struct plan_entry *entry, uint64_t listed_bytes, const unsigned char *digest)
{
	uint32_t record = find_in(plan, index, own_class(entry), listed_bytes, digest);
	if (record != PLAN_NO_RECORD)
		return record;
	return find_in(plan, index, PLAN_CLASS_NAMELESS, listed_bytes, digest);
}

/* The same by TOP. Where its own class holds one that TOP can not tell, only the content says which it is. */
static uint32_t find_by_top(const struct plan *plan, const struct plan_entry *entry,
	uint64_t listed_bytes, const unsigned char *digest)
{
	uint32_t own = own_class(entry);
	uint32_t record = find_in(plan, plan->by_top, own, listed_bytes, digest);
	if (record != PLAN_NO_RECORD ||
		find_in(plan, plan->without_top, own, listed_bytes, NULL) != PLAN_NO_RECORD)
		return record;
	return find_in(plan, plan->by_top, PLAN_CLASS_NAMELESS, listed_bytes, digest);
}

/*
 * Those that are probably here, as far as sizes tell, are fetched after the others: where a connection that breaks early is all there is,
 * each one still brings something new.
 */
static int order_probes(struct plan *plan)
{
	plan->by_size = plan_index_create(plan, PLAN_BY_SIZE);
	if (!plan->by_size)
		return -ENOMEM;
	for (size_t i = 0; i < plan->listing->count; i++) {
		struct plan_entry *entry = &plan->entries[i];
		uint64_t size = plan->listing->entries[i].size_bytes;
		if (entry->state == PLAN_PROBE)
			entry->turn =
				find(plan, plan->by_size, entry, size, NULL) != PLAN_NO_RECORD;
	}
	return 0;
}

static int open_probes(struct plan *plan)
{
	plan->by_content = plan_index_create(plan, PLAN_BY_CONTENT);
	plan->by_top = plan_index_create(plan, PLAN_BY_TOP);
	plan->without_top = plan_index_create(plan, PLAN_WITHOUT_TOP);
	plan->tops = calloc(plan->listing->count, sizeof(*plan->tops));
	if (!plan->by_content || !plan->by_top || !plan->without_top || !plan->tops)
		return -ENOMEM;
	return order_probes(plan);
}

int plan_make(struct plan *plan, const struct maildrop_listing *listing)
{
	size_t entry_count, record_count;
	plan->listing = listing;
	plan->entries = calloc(listing->count + 1, sizeof(*plan->entries));
	if (!plan->entries)
		return -ENOMEM;
	_cleanup_free_ struct name *entries = entry_names(plan, &entry_count);
	_cleanup_free_ struct name *records = record_names(plan, &record_count);
	if (!entries || !records)
		return -ENOMEM;
	reset(plan);
	meet_all(plan, entries, entry_count, records, record_count);
	int err = number_fetches(plan);
	return err == 0 && plan->probes ? open_probes(plan) : err;
}

int plan_top(struct plan *plan, size_t index, const unsigned char *digest, int64_t prove_until_s)
{
	struct plan_entry *entry = &plan->entries[index];
	uint64_t size = plan->listing->entries[index].size_bytes;
	memcpy(plan->tops[index], digest, STORE_DIGEST_BYTES);
	entry->has_top = true;
	/* A header alone does not tell one message from another of the same sender. */
	if (size == UINT64_MAX)
		return 0;
	uint32_t record = find_by_top(plan, entry, size, digest);
	if (record == PLAN_NO_RECORD || plan->records[record].stored_s <= prove_until_s)
		return 0;
	plan->records[record].claimed = true;
	entry->record = record;
	entry->uid = plan->records[record].uid;
	entry->state = PLAN_HERE_BY_TOP;
	return 1;
}

/* A message whose file was lost, or that is new by its unique-id. */
static int fetched(struct plan *plan, size_t index, const unsigned char *sha256)
{
	struct plan_entry *entry = &plan->entries[index];
	entry->state = PLAN_ON_ITS_WAY;
	if (entry->record == PLAN_NO_RECORD)
		return 0;
	if (memcmp(plan->records[entry->record].sha256, sha256, STORE_DIGEST_BYTES) == 0)
		return 0;
	/* Another message under the unique-id of the lost one: a number never changes its content. */
	entry->record = PLAN_NO_RECORD;
	return entry_number(plan, index, sha256);
}

int plan_content(struct plan *plan, size_t index, const unsigned char *sha256)
{
	struct plan_entry *entry = &plan->entries[index];
	if (entry->state == PLAN_FETCH)
		return fetched(plan, index, sha256);
	entry->state = PLAN_ON_ITS_WAY;
	entry->record = find(plan, plan->by_content, entry, 0, sha256);
	if (entry->record == PLAN_NO_RECORD)
		return entry_number(plan, index, sha256);
	struct plan_record *record = &plan->records[entry->record];
	record->claimed = true;
	entry->uid = record->uid;
	if (!record->lost)
		entry->state = PLAN_HERE_BY_CONTENT;
	return !record->lost;
}

bool plan_entry_here(const struct plan_entry *entry)
{
	return entry->state == PLAN_HERE || entry->state == PLAN_HERE_BY_TOP ||
	       entry->state == PLAN_HERE_BY_CONTENT || entry->state == PLAN_STORED;
}
