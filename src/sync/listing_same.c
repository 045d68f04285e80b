/* SPDX-License-Identifier: MIT */
/*
 * UIDNEXT never goes back (RFC 9051 §2.3.1.1). Where it does under the same UIDVALIDITY, either it is not true, or the mailbox was deleted and made again and has
 * got the same UIDVALIDITY by chance (servers take the second in which it was made): then its UIDs are other messages, and what is stored under them would be
 * shown for them. A few of the messages that both have tell which it is. Nothing is dropped for a number alone.
 */
#include "listing.h"

#include <errno.h>
#include <stdlib.h>

#include "mailfs/util/log.h"
#include "sample.h"

#define SAMPLES_MAX 16

struct stored_uids {
	uint32_t *items;
	size_t count, cap;
	uint32_t end; /* of those that can be there */
};

static int on_stored(void *arg, const struct source_row *row)
{
	struct stored_uids *uids = arg;
	if (row->uid >= uids->end)
		return -ECANCELED;
	int err = array_grow(&uids->items, &uids->cap, uids->count + 1, sizeof(*uids->items));
	if (err == 0)
		uids->items[uids->count++] = row->uid;
	return err;
}

static bool went_back(const struct listing *listing)
{
	const struct store_mailbox *known = &listing->known;
	const struct source_state *state = &listing->state;
	return known->folder && known->uidvalidity == state->uidvalidity && state->uidnext &&
	       state->uidnext < known->uidnext && state->messages > 0;
}

/* Whether the server has another message under this UID than the store. */
static int is_other(struct listing *listing, uint32_t uid, bool *ret)
{
	struct sample sample = {.uid = uid};
	int err = sample_stored(listing->account->store, listing->known.folder, &sample);
	if (err == 0)
		err = session_call(listing->worker, listing->folder, listing->known.uidvalidity,
			sample_call, &sample, &listing->error);
	else if (err == -ENODATA || err == -ENOENT)
		err = 0;
	*ret = err == 0 && sample.stored && sample.listed && sample.listed != sample.stored;
	return err;
}

int listing_is_made_again(struct listing *listing, bool *ret)
{
	struct stored_uids uids = {.end = listing->state.uidnext};
	*ret = false;
	if (!went_back(listing))
		return 0;
	int err = store_rows_load(
		listing->account->store, listing->known.folder, 1, on_stored, &uids);
	err = err == -ECANCELED ? 0 : err;
	size_t count = uids.count < SAMPLES_MAX ? uids.count : SAMPLES_MAX;
	for (size_t i = 0; err == 0 && !*ret && i < count; i++) {
		size_t at = count > 1 ? i * (uids.count - 1) / (count - 1) : 0;
		err = is_other(listing, uids.items[at], ret);
	}
	free(uids.items);
	if (*ret)
		log_info(
			"%s: UIDNEXT has gone back from %u to %u, and the messages are others: it is listed anew",
			listing->folder->name, listing->known.uidnext, listing->state.uidnext);
	return err;
}
