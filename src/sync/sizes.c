/* SPDX-License-Identifier: MIT */
/*
 * Whether the sizes that the server announces are to be believed. One that is wrong may be an accident of one message; with the
 * second message the account is taken for one of a server that always does so (Exchange, hMailServer), which is kept in the
 * store as a fact of the account: one line "FOLDER UID" for each, at most two.
 */
#include "private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "mailfs/util/log.h"
#include "mailfs/util/quirk.h"

#define FACT      "sizes.wrong"
#define WRONG_MAX 2

/* Notes the message; how many there are now, 0: it was noted before, or enough are. */
static unsigned note(struct sync_account *account, uint64_t id)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	unsigned count = account->sizes_wrong_count;
	if (count >= WRONG_MAX || (count > 0 && account->sizes_wrong[0] == id))
		return 0;
	account->sizes_wrong[count] = id;
	account->sizes_wrong_count = count + 1;
	if (count + 1 == WRONG_MAX) {
		atomic_store(&account->sizes_distrusted, true);
		quirk_seen(QUIRK_SIZES_WRONG);
	}
	return count + 1;
}

static unsigned format(struct sync_account *account, struct str *out)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	for (unsigned i = 0; i < account->sizes_wrong_count; i++)
		str_printf(out, "%" PRIu32 " %" PRIu32 "\n",
			(uint32_t)(account->sizes_wrong[i] >> 32),
			(uint32_t)account->sizes_wrong[i]);
	return account->sizes_wrong_count;
}

/* Two threads may be here at once: who has written less than there is by now writes again. */
static void save(struct sync_account *account)
{
	unsigned written, count;
	do {
		_cleanup_str_ struct str text = STR_INIT;
		written = format(account, &text);
		if (str_error(&text) < 0 ||
			store_fact_put(account->store, FACT, text.data, text.len) < 0)
			return;
		pthread_mutex_lock(&account->lock);
		count = account->sizes_wrong_count;
		pthread_mutex_unlock(&account->lock);
	} while (written < count);
}

void sizes_wrong(struct sync_account *account, uint32_t folder, uint32_t uid)
{
	unsigned count = note(account, message_id(folder, uid));
	if (count == WRONG_MAX)
		log_warning(
			"%s: the server announces wrong sizes (RFC822.SIZE); from now on the size of a message is found out before it is opened",
			account->name);
	if (count > 0)
		save(account);
}

void sizes_load(struct sync_account *account)
{
	_cleanup_str_ struct str text = STR_INIT;
	if (store_fact_get(account->store, FACT, &text) < 0)
		return;
	const char *pos = str_cstr(&text);
	uint32_t folder, uid;
	int len;
	while (sscanf(pos, "%" SCNu32 " %" SCNu32 "\n%n", &folder, &uid, &len) == 2) {
		(void)note(account, message_id(folder, uid));
		pos += len;
	}
}

bool sync_account_sizes_distrusted(const struct sync_account *account)
{
	return atomic_load(&account->sizes_distrusted);
}
