/* SPDX-License-Identifier: MIT */
/*
 * The tree as a whole: made, ended, and what belongs to no single node. Its parts, from below:
 * folder_name, index, numbers and nodes are data structures that know nothing of each other;
 * folders, folder, message, parts and inside put them together; lookup, dir, file and xattr are the
 * operations; events and roster are the other way in, news a second way out.
 */
#include <errno.h>
#include <stdlib.h>

#include "mailfs/util/cleanup.h"

#include "private.h"

#define BLOCK_BYTES 4096
/* Shown where the server has no quota: enough for any client to go on. */
#define FREE_BYTES (UINT64_C(1) << 40)
#define FREE_FILES UINT64_C(100000000)

static void tree_free(struct tree *tree)
{
	parts_cache_finish(&tree->parts);
	nodes_finish(&tree->nodes);
	folders_destroy(tree);
	pages_finish(&tree->pages);
	pthread_rwlock_destroy(&tree->folders_lock);
	pthread_rwlock_destroy(&tree->listener_lock);
	free(tree);
}

static void tree_freep(struct tree **tree)
{
	if (*tree)
		tree_free(*tree);
}

static void set_modes(struct tree *tree, const struct tree_params *params)
{
	mode_t bits = params->umask < 0 ? 0700 : 0777 & ~(mode_t)params->umask;
	tree->directory_mode = bits;
	tree->file_mode = bits & (params->readonly ? 0444 : 0666);
	tree->uid = params->uid;
	tree->gid = params->gid;
}

static int open_scratch(void *arg)
{
	return store_scratch(arg);
}

int tree_create(const struct tree_params *params, struct tree **ret)
{
	_cleanup_(tree_freep) struct tree *tree = calloc(1, sizeof(*tree));
	if (!tree)
		return -ENOMEM;
	tree->account = params->account;
	tree->store = params->store;
	tree->names = params->names;
	tree->views_listed = params->views_listed;
	tree->drop = sync_account_is_drop(params->account);
	tree->readonly = params->readonly;
	set_modes(tree, params);
	pthread_rwlock_init(&tree->folders_lock, NULL);
	pthread_rwlock_init(&tree->listener_lock, NULL);
	pages_init(&tree->pages, open_scratch, tree->store);
	nodes_init(&tree->nodes);
	parts_cache_init(&tree->parts);
	int r = folders_build(tree, params);
	if (r < 0)
		return r;
	tree->events = events_of_tree(tree);
	sync_account_set_events(tree->account, &tree->events);
	*ret = steal_ptr(tree);
	return 0;
}

void tree_destroy(struct tree *tree)
{
	if (tree)
		tree_free(tree);
}

void tree_set_observer(struct tree *tree, const struct tree_observer *observer)
{
	atomic_store(&tree->observer, observer);
}

bool tree_is_readonly(const struct tree *tree)
{
	return tree->readonly;
}

struct sync_account *tree_account(const struct tree *tree)
{
	return tree->account;
}

void tree_call_init(
	struct tree_call *call, void (*wake)(struct sync_waiter *, ssize_t), int64_t deadline_ms)
{
	*call = (struct tree_call){.waiter = {.wake = wake, .deadline_ms = deadline_ms}};
}

void tree_call_woken(struct tree_call *call, ssize_t result)
{
	call->result = result;
}

void tree_call_finish(struct tree_call *call)
{
	tree_file_close(steal_ptr(call->file));
}

static uint64_t rest_of(uint64_t limit, uint64_t used)
{
	return used < limit ? limit - used : 0;
}

void tree_statfs(struct tree *tree, struct statvfs *ret)
{
	struct source_quota quota = {0};
	sync_account_quota(tree->account, &quota);
	bool bytes = quota.known && quota.limit_bytes,
	     messages = quota.known && quota.limit_messages;
	uint64_t free_bytes = bytes ? rest_of(quota.limit_bytes, quota.used_bytes) : FREE_BYTES;
	uint64_t free_files =
		messages ? rest_of(quota.limit_messages, quota.used_messages) : FREE_FILES;
	*ret = (struct statvfs){.f_bsize = BLOCK_BYTES, .f_frsize = BLOCK_BYTES, .f_namemax = 255};
	ret->f_blocks = (bytes ? quota.limit_bytes : free_bytes + quota.used_bytes) / BLOCK_BYTES;
	ret->f_bfree = ret->f_bavail = free_bytes / BLOCK_BYTES;
	ret->f_files = messages ? quota.limit_messages : free_files + quota.used_messages;
	ret->f_ffree = ret->f_favail = free_files;
}
