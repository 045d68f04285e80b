/* SPDX-License-Identifier: MIT */
/* What is looked at though nobody told of it, and how often. All of it with the lock held. */
#include "link.h"
#include "private.h"

#include "mailfs/util/clock.h"

/* refresh=0 means that nothing is ever taken for current; it can not mean that looking never ends. */
#define POLL_LEAST_MS 5000
/* Folders that are in use and not watched, where others are. */
#define POLL_BESIDE_MS (60 * 1000)
/* A listing that failed is made again after this. */
#define RETRY_MS 5000
/* IDLE tells of no folders, and NOTIFY not of all: Dovecot says nothing when one is deleted that a session has selected. */
#define SURVEY_MS (5 * 60 * 1000)

void poll_folders(struct sync_account *account, int64_t now, int64_t interval)
{
	for (size_t i = 0; i < account->folder_count; i++) {
		struct sync_folder *folder = account->folders[i];
		bool used = folder->used_ms && now - folder->used_ms < SYNC_RECENT_MS;
		if (!folder_is_shown(folder) || (!used && !folder_is_inbox(folder)))
			continue;
		bool due = folder->watched_ms < 0 && now - folder->checked_ms >= interval;
		/* A watched one whose listing failed is not told of again. */
		if ((due || folder->stale || folder->dirty) && watch_covers(folder))
			folder_poll(folder);
	}
}

int64_t poll_interval(const struct sync_account *account)
{
	int64_t refresh_ms = account->refresh_ms > 0 ? account->refresh_ms : POLL_LEAST_MS;
	if (account->watch.push == SYNC_PUSH_POLL || refresh_ms > POLL_BESIDE_MS)
		return refresh_ms;
	return POLL_BESIDE_MS;
}

int64_t survey_interval(const struct sync_account *account)
{
	return account->watch.push == SYNC_PUSH_POLL ? poll_interval(account) : SURVEY_MS;
}

void watch_retry(struct sync_account *account)
{
	account->watch.polled_ms = clock_now_ms() - poll_interval(account) + RETRY_MS;
	link_wake(account);
}
