/* SPDX-License-Identifier: MIT */
/*
 * What the files of the tree share: the tree, its folders, and the way from a node number to them.
 */
#ifndef MAILFS_TREE_PRIVATE_H
#define MAILFS_TREE_PRIVATE_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mailfs/tree.h"

#include "index.h"
#include "nodes.h"
#include "numbers.h"
#include "parts.h"

#define VIEW_PARTS   ".parts"
#define HEADERS_NAME "headers.txt"

/* A part that is no larger than this is fetched when it is opened, to know its size. */
#define SETTLE_BYTES (4 * 1024 * 1024)
/* … and a message: what sync fetches whole. */
#define SETTLE_MESSAGE_BYTES (128 * 1024)
/* What headers.txt is said to hold before it was fetched. */
#define HEADERS_BYTES (64 * 1024)

/* A directory of the mail tree. All but what lock guards is fixed once the tree is built. */
struct folder {
	struct folder *parent;    /* NULL: the top */
	char *name;               /* as shown; "" for the top */
	char *wire;               /* the mailbox, or what is common to the mailboxes below */
	struct sync_folder *sync; /* NULL: a parent that has no mailbox of its own */
	uint32_t directory;
	int64_t made_s;           /* mtime where there is no mailbox */
	struct folder **children; /* by name */
	size_t child_count, child_cap;

	pthread_mutex_t lock; /* never held across disk or network */
	uint32_t number;      /* of the folder; 0: not announced yet */
	struct index index;
	bool incomplete;            /* a message found no memory: listings fail */
	uint64_t epoch;             /* counts what made positions invalid */
	uint64_t version;           /* counts changes of the set of messages */
	uint64_t cached_version[2]; /* which the kernel was allowed to keep; [1]: of the view */
	int64_t told_s;             /* the mtime that was given out last */
	size_t open_dirs;
};

struct tree {
	struct sync_account *account;
	struct store *store;
	const struct mime_name_template *names;
	bool views_listed;
	bool drop; /* the account is a maildrop */
	uid_t uid;
	gid_t gid;
	mode_t file_mode, directory_mode;

	struct folder *top;  /* of the account */
	struct folder *root; /* what is shown as node 1 */
	struct folder **all;
	size_t count, cap;
	struct numbers directories; /* directory number → struct folder; fixed */
	pthread_rwlock_t folders_lock;
	struct numbers folders; /* folder number → struct folder; guarded by folders_lock */

	struct nodes nodes;
	struct parts_cache parts;
	struct sync_events events;
	_Atomic(const struct tree_observer *) observer;
};

/* What has been waited for, in tree_call.waited. */
enum tree_waited {
	WAITED_LISTING = 1 << 0,
	WAITED_STRUCTURE = 1 << 1,
	WAITED_READ = 1 << 2,
	WAITED_END = 1 << 3,
	WAITED_EXPECTED = 1 << 4,
};

/*
 * What is waited for is set before sync is asked: once it has answered -EINPROGRESS, the call may
 * already run again on another thread. This takes it back where there was no need to wait.
 */
static inline ssize_t call_waits(struct tree_call *call, unsigned waited, ssize_t result)
{
	if (result != -EINPROGRESS)
		call->waited &= ~waited;
	return result;
}

/* --- folders.c --- */
int folders_build(struct tree *tree, const struct tree_params *params);
void folders_destroy(struct tree *tree);
/* The child of that name, NULL when there is none. */
struct folder *folder_child(const struct folder *folder, const char *name);
/* Whether it can hold messages. */
bool folder_selectable(const struct folder *folder);
uint64_t folder_node(const struct tree *tree, const struct folder *folder, bool view);
/* The folder that has, or had in this mount, that number. NULL. */
struct folder *folder_of_number(struct tree *tree, uint32_t number);
/* Of a NODE_ROOT, NODE_DIRECTORY or NODE_VIEW; NULL. */
struct folder *folder_of_node(const struct tree *tree, struct node_number n);
/* Whether its identity is known in this mount. */
bool folder_announced(struct folder *folder);
/*
 * Counts the identities it has had; sync says that a listing is not whole before it begins a new
 * one.
 */
uint64_t folder_epoch(struct folder *folder);
/*
 * Waits for the listing where none has been completed in this mount: 0, -EINPROGRESS or an error.
 */
int folder_listed(struct folder *folder, struct tree_call *call);

/* --- attr.c --- */
void attr_file(const struct tree *tree, uint64_t ino, uint64_t size_bytes, int64_t time_s,
	struct stat *ret);
void attr_directory(
	const struct tree *tree, uint64_t ino, unsigned links, int64_t time_s, struct stat *ret);
/* The entry of a folder, or of its view. */
void entry_folder(struct tree *tree, struct folder *folder, bool view, struct tree_entry *ret);
/* The entry of a message, or of its directory in the view. */
void entry_message(const struct tree *tree, uint32_t number, const struct index_entry *message,
	bool view, struct tree_entry *ret);
/*
 * The entry of what lies inside a message with that date; node and generation are left to the
 * caller.
 */
void entry_inside(const struct tree *tree, const struct inside *inside, int64_t date_s,
	struct tree_entry *ret);

/* --- message.c --- */
/* The message's name in a directory of the view: without .eml. */
size_t message_view_len(const char *name);
/* The UID that a message of that name must have; 0: no message could have it. */
uint32_t message_name_uid(const struct tree *tree, const char *name, bool view);
/* What the index knows of a message; -ENOENT: there is no such message (any more). */
int message_get(struct tree *tree, uint32_t number, uint32_t uid, struct folder **ret_folder,
	struct index_entry *ret);
/*
 * Finds a message of the folder by name, marks it as shown, and fills its entry. -ENOENT. Blocks:
 * never.
 */
int message_lookup(const struct tree *tree, struct folder *folder, const char *name, bool view,
	struct tree_entry *ret);
/* Remembers flags (enum index_flag) of a message. */
void message_set_flags(struct tree *tree, uint32_t number, uint32_t uid, unsigned flags);
/* The true size was learned. */
void message_set_size(struct tree *tree, uint32_t number, uint32_t uid, uint64_t size_bytes);

/* --- events.c --- */
struct sync_events events_of_tree(struct tree *tree);
void tell_attributes(struct tree *tree, uint64_t node);
void tell_directory(struct tree *tree, const struct folder *folder);
void tell_gone(struct tree *tree, const struct folder *folder, const char *name, unsigned shown);

/* --- inside.c --- */
/* headers.txt of a directory inside a message. */
int inside_header(
	struct tree *tree, const struct parts *parts, uint64_t message_bytes, struct inside *ret);
int inside_leaf(struct tree *tree, const struct parts *parts, const struct mime_leaf *leaf,
	struct inside *ret);
/* The attached message whose directory inside is; "" for a message's own directory. -ENOTDIR. */
int inside_directory(struct tree *tree, uint64_t node, uint32_t *ret_number, uint32_t *ret_uid,
	struct str *ret_section);
/* Refers to inside and fills the entry. */
int inside_entry(struct tree *tree, struct inside *inside, int64_t date_s, struct tree_entry *ret);
/* The true size was learned. */
void inside_set_size(
	struct tree *tree, uint32_t number, uint32_t uid, const char *section, uint64_t size_bytes);

#endif
