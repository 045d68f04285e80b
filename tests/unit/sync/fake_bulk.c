/* SPDX-License-Identifier: MIT */
/* bulk() of the source in memory: two sets under way, answered in order, with failures where the script says so. */
#include "fake_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { UNDER_WAY = 2, DATA_BYTES = 50000 };

struct set {
	uint32_t uids[SOURCE_BULK_UIDS];
	size_t count;
	uint64_t offset, length;
	bool sent;
};

struct bulk {
	struct source_session *session;
	const struct source_bulk *calls;
	struct set sets[UNDER_WAY];
	unsigned first, count;
};

/* Lock held; it is not while the caller is called. */
static void ask(struct bulk *bulk)
{
	struct fake_source *fake = bulk->session->fake;
	struct source_bulk_set wanted;
	bool more = true;
	while (more && bulk->count < UNDER_WAY) {
		pthread_mutex_unlock(&fake->lock);
		more = bulk->calls->next(bulk->calls->arg, &wanted);
		pthread_mutex_lock(&fake->lock);
		if (!more)
			return;
		struct set *set = &bulk->sets[(bulk->first + bulk->count++) % UNDER_WAY];
		set->count = wanted.count;
		set->offset = wanted.offset;
		set->length = wanted.length;
		set->sent = false;
		memcpy(set->uids, wanted.uids, wanted.count * sizeof(set->uids[0]));
		for (size_t i = 1; i < wanted.count; i++)
			fake->counts.misuse += set->uids[i] <= set->uids[i - 1];
		fake->counts.misuse += wanted.count == 0 || wanted.count > SOURCE_BULK_UIDS ||
		                       (wanted.length && wanted.count > 1);
		fake->counts.bulk_sets++;
		fake->counts.bulk_pieces += wanted.length > 0;
	}
}

static void hold(struct source_session *session, uint32_t uid)
{
	struct fake_source *fake = session->fake;
	while (fake->hold_bulk && (fake->hold_bulk_at == 0 || fake->hold_bulk_at == uid) &&
		!session->cancelled) {
		fake->bulk_held = true;
		pthread_cond_broadcast(&fake->changed);
		pthread_cond_wait(&fake->changed, &fake->lock);
	}
	fake->bulk_held = false;
}

/* Sends [from, end) of the message; a negative errno: the connection is lost in the middle. Lock held. */
static int send_bytes(struct bulk *bulk, const struct fake_message *message, uint64_t from,
	uint64_t end, bool cut)
{
	struct fake_source *fake = bulk->session->fake;
	uint64_t shift = message->shifted_from && from >= message->shifted_from;
	for (uint64_t pos = from; pos < end;) {
		size_t len = end - pos < DATA_BYTES ? (size_t)(end - pos) : DATA_BYTES;
		const char *data = message->data + pos - shift;
		pthread_mutex_unlock(&fake->lock);
		bulk->calls->data(bulk->calls->arg, data, len);
		pthread_mutex_lock(&fake->lock);
		fake->counts.bytes += len;
		pos += len;
		if (cut || bulk->session->cancelled)
			return -EIO;
		hold(bulk->session, 0x80000000 | message->uid);
	}
	return 0;
}

/* One message of the set. Lock held. */
static int send_one(struct bulk *bulk, const struct set *set, uint32_t uid)
{
	struct source_session *session = bulk->session;
	struct fake_source *fake = session->fake;
	hold(session, uid);
	if (session->cancelled)
		return -EIO;
	struct fake_message *message = fake_message(session->selected, uid);
	if (!message || message->gone || fake->bulk_omit == uid)
		return 0;
	bool cut = fake->drop_bulk > 0 && fake->drop_bulk_at == uid &&
	           (!fake->bulk_swaps || set->offset == 0);
	fake->drop_bulk -= cut;
	uint64_t end = set->length && set->offset + set->length < message->len
	                       ? set->offset + set->length
	                       : message->len;
	uint64_t from = set->offset < end ? set->offset : end;
	if (message->short_at && message->short_at > from && message->short_at < end) {
		end = message->short_at;
		message->short_at = 0;
	}
	message->sent++;
	fake->counts.bulk_messages++;
	pthread_mutex_unlock(&fake->lock);
	int err = bulk->calls->begin(bulk->calls->arg, uid, set->offset, end - from);
	pthread_mutex_lock(&fake->lock);
	if (err < 0) {
		fake->counts.bytes += end - from;
		return 0;
	}
	err = send_bytes(bulk, message, from, end, cut);
	bool whole = err == 0 && fake->bulk_broken != uid;
	pthread_mutex_unlock(&fake->lock);
	if (err == 0)
		bulk->calls->end(bulk->calls->arg, whole);
	if (err == 0 && fake->bulk_again == uid)
		bulk->calls->again(bulk->calls->arg, uid, set->offset);
	pthread_mutex_lock(&fake->lock);
	return err;
}

/* The piece behind one of the same message, before it. Lock held. */
static int swap(struct bulk *bulk, const struct set *set)
{
	struct fake_source *fake = bulk->session->fake;
	struct set *behind = &bulk->sets[(bulk->first + 1) % UNDER_WAY];
	if (!fake->bulk_swaps || bulk->count < 2 || set->sent || behind->sent || !set->length ||
		!behind->length || behind->uids[0] != set->uids[0])
		return 0;
	behind->sent = true;
	fake->counts.bulk_swapped++;
	return send_one(bulk, behind, behind->uids[0]);
}

/* Answers the oldest set. Lock held. */
static int answer(struct bulk *bulk)
{
	struct fake_source *fake = bulk->session->fake;
	const struct set *set = &bulk->sets[bulk->first];
	unsigned swapped = fake->counts.bulk_swapped;
	int err = swap(bulk, set), refused = 0;
	swapped = fake->counts.bulk_swapped - swapped;
	if (fake->bulk_refusals > 0 && (!fake->bulk_swaps || swapped)) {
		fake->bulk_refusals--;
		refused = -EIO;
	}
	for (size_t i = 0; err == 0 && !refused && !set->sent && i < set->count; i++) {
		err = send_one(bulk, set, set->uids[i]);
		if (err == 0 && i + 1 < set->count)
			ask(bulk);
	}
	for (size_t i = 0; fake->bulk_takes_back && i < set->count; i++)
		refused = fake->bulk_takes_back == set->uids[i] ? -EIO : refused;
	if (err < 0)
		return err;
	bulk->first = (bulk->first + 1) % UNDER_WAY;
	bulk->count--;
	pthread_mutex_unlock(&fake->lock);
	bulk->calls->answered(bulk->calls->arg, refused);
	pthread_mutex_lock(&fake->lock);
	return 0;
}

int fake_bulk(
	struct source_session *session, const struct source_bulk *calls, struct source_error *error)
{
	struct fake_source *fake = session->fake;
	int err = fake_enter(session, true, error);
	if (err < 0)
		return err;
	struct bulk *bulk = calloc(1, sizeof(*bulk));
	*bulk = (struct bulk){.session = session, .calls = calls};
	fake->counts.bulks++;
	if (++fake->counts.bulks_now > fake->counts.bulks_max)
		fake->counts.bulks_max = fake->counts.bulks_now;
	ask(bulk);
	while (err == 0 && bulk->count > 0) {
		err = answer(bulk);
		if (err == 0)
			ask(bulk);
	}
	fake->counts.bulks_now--;
	pthread_cond_broadcast(&fake->changed);
	free(bulk);
	if (err < 0)
		err = fake_die(session, error);
	return fake_leave(session, err);
}
