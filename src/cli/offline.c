/* SPDX-License-Identifier: MIT */
/* Folders are named as a person sees them; the store knows mailboxes by the server's names. */
#include "offline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"

#define DAY_S 86400

struct mailboxes {
	const char **names; /* borrowed from the account; NULL-terminated */
	size_t count, cap;
	const char *wanted; /* only the mailbox of that name; NULL: all */
};

static void mailboxes_finish(struct mailboxes *mailboxes)
{
	free(mailboxes->names);
}

static int add(void *arg, const char *path, struct sync_folder *folder)
{
	struct mailboxes *mailboxes = arg;
	const char *name = folder ? sync_folder_mailbox(folder)->name : NULL;
	(void)path;
	if (!name || (mailboxes->wanted && strcmp(name, mailboxes->wanted) != 0))
		return 0;
	int r = array_grow(&mailboxes->names, &mailboxes->cap, mailboxes->count + 2,
		sizeof(*mailboxes->names));
	if (r < 0)
		return r;
	mailboxes->names[mailboxes->count++] = name;
	mailboxes->names[mailboxes->count] = NULL;
	return 0;
}

/* Text without the slashes at its ends; free() it. */
static char *trim(const char *text)
{
	text += strspn(text, "/");
	size_t len = strlen(text);
	while (len > 0 && text[len - 1] == '/')
		len--;
	return strndup(text, len);
}

/* Adds the folder as the tree shows it, and those below, else the mailbox that the server calls so. */
static int add_folder(struct tree *tree, const char *typed, struct mailboxes *mailboxes)
{
	_cleanup_free_ char *path = trim(typed);
	size_t before = mailboxes->count;
	if (!path)
		return -ENOMEM;
	mailboxes->wanted = NULL;
	int r = *path ? tree_each_folder(tree, path, add, mailboxes) : -ENOENT;
	if (r == -ENOMEM || mailboxes->count > before)
		return r;
	mailboxes->wanted = typed;
	r = tree_each_folder(tree, "", add, mailboxes);
	if (r == 0 && mailboxes->count == before)
		log_warning("offline=%s: there is no such folder; it is left out", typed);
	return r;
}

static int set_policy(const struct options *options, struct tree *tree, struct store *store)
{
	__attribute__((cleanup(mailboxes_finish))) struct mailboxes mailboxes = {0};
	int r = 0;
	for (size_t i = 0; i < options->offline_count && r != -ENOMEM; i++)
		r = add_folder(tree, options->offline_folders[i], &mailboxes);
	if (r == -ENOMEM)
		return r;
	struct store_policy policy = {
		.all = options->offline_all,
		.newer_than_s = options->offline_days > 0
	                                ? clock_wall_s() - (int64_t)options->offline_days * DAY_S
	                                : INT64_MAX,
		.mailboxes = mailboxes.names,
	};
	return store_set_policy(store, &policy);
}

void offline_begin(const struct options *options, struct tree *tree, struct store *store)
{
	int r = set_policy(options, tree, store);
	if (r < 0)
		log_warning("offline= has no effect: %s", strerror(-r));
	r = store_set_limit(store, options->cache_bytes);
	if (r < 0)
		log_warning("the cache can not be held to cache_size=: %s", strerror(-r));
	sync_pins_start(tree_account(tree));
}
