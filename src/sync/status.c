/* SPDX-License-Identifier: MIT */
/* What is told of a folder to who asks how things stand. */
#include "private.h"

int sync_folder_status(struct sync_folder *folder, struct sync_folder_status *ret)
{
	struct sync_account *account = folder->account;
	struct sync_folder_status status = {0};

	pthread_mutex_lock(&account->lock);
	status.state = folder->state;
	status.listing = folder->listing;
	status.watched = folder->watched_ms >= 0;
	pthread_mutex_unlock(&account->lock);
	int err = store_folder_usage(
		account->store, folder->name, status.state.folder, &status.usage);
	if (err < 0)
		return err;
	*ret = status;
	return 0;
}
