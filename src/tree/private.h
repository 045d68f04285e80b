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
#include "pages.h"
#include "parts.h"

/* No part can have one of these names: those of parts begin with a number or with "deep". */
#define VIEW_PARTS     ".parts"
#define HEADERS_NAME   "headers.txt"
#define TRUNCATED_NAME "truncated.txt"

/* A part that is no larger than this is fetched when it is opened, to know its size. */
#define SETTLE_BYTES (4 * 1024 * 1024)
/* … and a message: what sync fetches whole. */
#define SETTLE_MESSAGE_BYTES (128 * 1024)
/* What headers.txt is said to hold before it was fetched. */
#define HEADERS_BYTES (64 * 1024)
/* … and a message whose size nobody has told, where its readers are to begin without knowing it. */
#define MESSAGE_BYTES_BOUND (64 * 1024 * 1024)

/* Where the messages begin among the offsets of a directory; what comes before has offsets of its own. */
#define DIR_FIRST_MESSAGE (UINT64_C(1) << 20)
#define DIR_CHILDREN_MAX  (DIR_FIRST_MESSAGE - 3)

/*
 * A place in the mail tree: one name in one parent. It lives as long as the tree, also while there is no such directory; so
 * node numbers, handles and the account's folders may point to it.
 */
struct folder {
	/* fixed: */
	struct folder *parent; /* NULL: the top */
	char *name;            /* as shown; "" for the top */

	/* changed under tree->folders_lock alone, read by anybody: */
	atomic_bool shown;   /* it is there */
	atomic_bool mailbox; /* … and has a mailbox of its own */
	_Atomic(struct sync_folder *)
		sync;                /* that mailbox, or the last one; NULL: it never had one */
	_Atomic uint32_t directory;  /* the number */
	_Atomic uint32_t generation; /* of the node: another one each time that it is shown anew */

	/* guarded by tree->folders_lock: */
	char *wire;               /* the mailbox, or what is common to the mailboxes below */
	struct folder **children; /* that are shown, by name */
	size_t child_count, child_cap;
	struct folder **places; /* all that were ever shown here, in an order that stays */
	size_t place_count, place_cap;

	pthread_mutex_t
		lock; /* guards what follows; never held across the network, nor across disk but for a page of the index */
	int64_t moved_s; /* when children came or went; where there is no mailbox, the mtime */
	uint32_t number; /* of the folder; 0: not announced yet */
	struct index index;
	bool incomplete;            /* a message found no room: listings fail */
	uint64_t epoch;             /* counts what made positions invalid */
	uint64_t version;           /* counts changes of the set of messages and children */
	uint64_t cached_version[2]; /* which the kernel was allowed to keep; [1]: of the view */
	int64_t told_s;             /* the mtime that was given out last */
	size_t open_dirs;
};

struct tree {
	struct sync_account *account;
	struct store *store;
	char *account_name;
	int (*decode_name)(const char *wire, struct str *out);
	const struct mime_name_template *names;
	bool views_listed;
	bool drop;     /* the account is a maildrop */
	bool readonly; /* sizes that are not known are shown as bounds, as tree_params says */
	uid_t uid;
	gid_t gid;
	mode_t file_mode, directory_mode;

	struct folder *top;            /* of the account */
	struct folder *root;           /* what is shown as node 1 */
	pthread_rwlock_t folders_lock; /* guards what follows, and what struct folder says */
	struct folder **all;
	size_t count, cap;
	uint32_t generations;       /* that were given out */
	struct numbers directories; /* directory number → struct folder, shown or not */
	struct numbers folders;     /* folder number → struct folder */
	char *control;              /* the value of the root's attribute; NULL: none */

	struct pages pages; /* of all indexes of messages */
	struct nodes nodes;
	struct parts_cache parts;
	struct sync_events events;
	_Atomic(const struct tree_observer *) observer;

	pthread_rwlock_t listener_lock; /* held for reading while the listener runs */
	_Atomic(tree_news_fn *) listener;
	void *listener_arg;
};

/* What has been waited for, in tree_call.waited. */
enum tree_waited {
	WAITED_LISTING = 1 << 0,
	WAITED_STRUCTURE = 1 << 1,
	WAITED_READ = 1 << 2,
	WAITED_END = 1 << 3,
	WAITED_EXPECTED = 1 << 4,
	WAITED_SURVEY = 1 << 5,
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

/* --- folders.c: places, and how they are made. Those that say so with folders_lock held for writing --- */

struct folder_path;
/* What a directory that has no mailbox needs of the store. */
struct made_up {
	uint32_t number;
	int64_t time_s;
};
int folders_build(struct tree *tree, const struct tree_params *params);
void folders_destroy(struct tree *tree);
/* The path of a mailbox. -ENOMEM. */
int folders_split(
	const struct tree *tree, const struct source_mailbox *mailbox, struct folder_path *ret);
/* The directory that a path of made-up components would have. Blocks: disk. */
int folders_made_up(const struct tree *tree, const char *wire, struct made_up *ret);
/*
 * Gives the mailbox its place, with all parents; made_up[i] is for the path's component i, NULL while the tree is built. Locked.
 * -ENOMEM: as far as it came; then the place and parents that nobody needs are to be taken away (folder_prune).
 */
int folders_place(struct tree *tree, struct sync_folder *sync, const struct folder_path *path,
	const struct made_up *made_up, struct folder **ret);
/*
 * Takes a folder that has neither mailbox nor children out of its parent, then likewise the parent. What is taken out, the innermost
 * first, at most max; their number. Locked.
 */
size_t folder_prune(struct folder *folder, struct folder **ret, size_t max);
/* The child of that name that is shown, NULL when there is none. Locked, for reading at least. */
struct folder *folder_child(const struct folder *folder, const char *name);
/* That is, or was, there. Likewise. */
struct folder *folder_former_child(const struct folder *folder, const char *name);

/* --- folder.c: one of them --- */

/* As folder_child(); takes the lock. */
struct folder *folder_find(struct tree *tree, const struct folder *folder, const char *name);
/* The subfolder at a place, NULL where none is; false: there is none from there on. */
bool folder_place_at(
	struct tree *tree, const struct folder *folder, size_t place, struct folder **ret);
size_t folder_children(struct tree *tree, const struct folder *folder);
/* Its mailbox; NULL: it has none. */
struct sync_folder *folder_sync(const struct folder *folder);
/* The mailbox that its messages are in; NULL: it can hold none. */
struct sync_folder *folder_messages(const struct folder *folder);
uint64_t folder_node(const struct tree *tree, const struct folder *folder, bool view);
/* Whether a message of it found no room: it can not be listed, and nobody can say that a message is not there. */
bool folder_is_incomplete(struct folder *folder);
/* The folder that has that number now. NULL. */
struct folder *folder_of_number(struct tree *tree, uint32_t number);
/* folder NULL: it is no number of any more. -ENOMEM. */
int folder_set_number(struct tree *tree, uint32_t number, struct folder *folder);
/* Of an event of sync; NULL: it is not shown (any more). */
struct folder *folder_of_sync(struct sync_folder *sync);
/* Of a NODE_ROOT, NODE_DIRECTORY or NODE_VIEW. -ENOENT: it is not there; -EIO: nor is the root. */
int folder_of_node(struct tree *tree, struct node_number n, struct folder **ret);
/* Appends the path below the root. -ENOENT: it does not lie there. */
int folder_path(const struct tree *tree, const struct folder *folder, struct str *out);
/* The mtime. */
int64_t folder_time(struct folder *folder);
/* Whether its identity is known in this mount. */
bool folder_announced(struct folder *folder);
uint32_t folder_number(struct folder *folder);
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
void attr_size(uint64_t size_bytes, struct stat *ret);
void attr_file(const struct tree *tree, uint64_t ino, uint64_t size_bytes, int64_t time_s,
	struct stat *ret);
void attr_directory(
	const struct tree *tree, uint64_t ino, unsigned links, int64_t time_s, struct stat *ret);
/* The entry of a folder, or of its view. */
void entry_folder(struct tree *tree, struct folder *folder, bool view, struct tree_entry *ret);
/* What a message is shown with. */
uint64_t message_shown_bytes(const struct tree *tree, const struct index_entry *message);
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
/* Appends a message's name. -ENOENT; or, as all that look at a message: what index.h says. */
int message_name(struct folder *folder, uint32_t number, uint32_t uid, struct str *out);
/* What the index knows of a message; -ENOENT: there is no such message (any more). */
int message_get(struct tree *tree, uint32_t number, uint32_t uid, struct folder **ret_folder,
	struct index_entry *ret);
/*
 * Finds a message of the folder by name, marks it as shown, and fills its entry. -ENOENT.
 */
int message_lookup(const struct tree *tree, struct folder *folder, const char *name, bool view,
	struct tree_entry *ret);
/* Likewise, without marking it. */
int message_find(
	const struct tree *tree, struct folder *folder, const char *name, struct tree_entry *ret);
/* As message_get(), also of a message that is gone, as far as it is remembered. */
int message_get_former(struct tree *tree, uint32_t number, uint32_t uid, struct folder **ret_folder,
	struct index_entry *ret);
/* Remembers flags (enum index_flag) of a message. */
void message_set_flags(struct tree *tree, uint32_t number, uint32_t uid, unsigned flags);
/* The true size was learned. */
void message_set_size(struct tree *tree, uint32_t number, uint32_t uid, uint64_t size_bytes);

/* --- events.c --- */
struct sync_events events_of_tree(struct tree *tree);
void tell_attributes(struct tree *tree, uint64_t node);
void tell_directory(struct tree *tree, const struct folder *folder);
void tell_gone(struct tree *tree, const struct folder *folder, const char *name, unsigned shown);
/* Messages of an index that is not the folder's any more. */
void tell_all_gone(struct tree *tree, const struct folder *folder, struct index *old);

/* --- roster.c: folders that come and go --- */
void roster_added(void *arg, struct sync_folder *sync, struct sync_folder *former);
void roster_removed(void *arg, struct sync_folder *sync);
void roster_attributes(void *arg, struct sync_folder *sync);

/* --- news.c --- */
bool news_wanted(struct tree *tree);
void news_message(struct tree *tree, enum tree_news_kind kind, const struct folder *folder,
	const char *name, uint32_t uid, const char *flags);
/* path: as it is, or was; NULL: nothing is told. */
void news_folder(struct tree *tree, enum tree_news_kind kind, const char *path, const char *former);
void news_link(struct tree *tree);

/* --- truncated.c --- */
/* Appends what truncated.txt says of a message of the folder. -ENOENT: it is gone. */
int truncated_text(
	struct folder *folder, uint32_t number, uint32_t uid, unsigned cut, struct str *out);

/* --- inside.c --- */
/* headers.txt of a directory inside a message. */
int inside_header(
	struct tree *tree, const struct parts *parts, uint64_t message_bytes, struct inside *ret);
/* truncated.txt, where something was cut. */
int inside_truncated(struct folder *folder, const struct parts *parts, struct inside *ret);
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
