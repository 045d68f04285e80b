/* SPDX-License-Identifier: MIT */
/*
 * The tree of directories and files that a mailbox is shown as: names, node numbers, attributes,
 * views. It knows neither FUSE nor the network: what needs the network is asked of sync, and the
 * call then returns -EINPROGRESS.
 *
 * How a call waits: a call that takes a struct tree_call either answers at once (0 or more, or a
 * negative errno) or returns -EINPROGRESS, and call->waiter is registered with sync. When wake()
 * comes with a negative result, the call has failed with it. When it comes with 0 or more, the
 * caller gives the result to tree_call_woken() and makes the same call again, with the same
 * arguments, until it answers. A call whose waiter was taken back (sync_waiter_cancel) is simply
 * not made again. tree_call_finish() is due in every case.
 *
 * Any thread may call anything, at any time between tree_create() and tree_destroy().
 * No call blocks on the network; those that say so may block on the disk.
 */
#ifndef MAILFS_TREE_H
#define MAILFS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include "mailfs/mime.h"
#include "mailfs/store.h"
#include "mailfs/sync.h"
#include "mailfs/util/str.h"

struct tree;
struct tree_dir;
struct tree_file;

#define TREE_NODE_ROOT 1
/* Set in the numbers of whatever lies in a view; see src/ARCHITECTURE.md for all of them. */
#define TREE_NODE_VIEW (UINT64_C(1) << 63)

/*
 * Who is told what the kernel must forget. Called with no lock held, also from within calls of the
 * tree; must not block.
 */
struct tree_observer {
	void *arg;
	/*
	 * The file has grown beyond the size that was shown: it is to be asked for before the next
	 * read returns.
	 */
	void (*attributes)(void *arg, uint64_t node);
	/* The entries or the times of the directory changed. */
	void (*directory)(void *arg, uint64_t node);
	/* What was read of the file is not what it holds: all that is kept of it is to be forgotten. NULL: not wanted. */
	void (*contents)(void *arg, uint64_t node);
	/* The entry is gone; name is valid during the call only. */
	void (*gone)(void *arg, uint64_t parent, const char *name);
	/*
	 * A message has come that was not there when the folder's listing was first whole. Its name in
	 * parent; valid during the call only. Told before whoever waits for it is woken. NULL: not
	 * wanted.
	 */
	void (*appeared)(void *arg, uint64_t parent, const char *name, bool directory);
	/*
	 * Likewise: a message or a folder that was there is gone. Told after gone(); also where the kernel never heard of it. node: what it
	 * was.
	 */
	void (*disappeared)(
		void *arg, uint64_t parent, const char *name, uint64_t node, bool directory);
};

enum tree_news_kind {
	TREE_NEWS_NEW,   /* a message came that was not there when the folder was first shown */
	TREE_NEWS_GONE,  /* a message is gone */
	TREE_NEWS_FLAGS, /* its flags are others */
	TREE_NEWS_FOLDER_NEW,
	TREE_NEWS_FOLDER_GONE,
	TREE_NEWS_FOLDER_RENAMED, /* from `former` */
	TREE_NEWS_FOLDER_CHANGED, /* its subscription, special use or the like */
	TREE_NEWS_LINK,           /* sync_account_status().link */
};
/* What happened, in the terms of who looks at the mount. Pointers are valid during the call only. */
struct tree_news {
	enum tree_news_kind kind;
	const char *path;   /* below the root, components joined by '/'; NULL: TREE_NEWS_LINK */
	const char *folder; /* of the folder it is about or in; "" for the root */
	const char *former; /* path before; NULL: not renamed */
	uint32_t uid;       /* 0: not about a message */
	const char *flags;  /* of NEW and FLAGS; NULL: not known */
};
/* Called on any thread, with no lock held; must not block. */
typedef void tree_news_fn(void *arg, const struct tree_news *news);

struct tree_params {
	struct sync_account *account; /* borrowed; started: its folders are known */
	struct store *store;          /* borrowed */
	const char *account_name;     /* as in sync_params.account: identity for store_number */
	int (*decode_name)(
		const char *wire, struct str *out); /* a mailbox name from the wire to UTF-8 */
	const struct mime_name_template *names;     /* borrowed; NULL: the default */
	/*
	 * The folder that is shown as the root: its path in the tree (components joined by '/'), or
	 * the server's own name; NULL: all.
	 */
	const char *root_folder;
	/*
	 * Files are 0400, and need not be opened by the kernel before it reads (tree_file_open_unsettled()): a size that nobody has told is shown
	 * as a bound, not as 0.
	 */
	bool readonly;
	bool views_listed; /* .parts appears in listings */
	uid_t uid;         /* owner of everything */
	gid_t gid;
	int umask; /* files are 0666 and directories 0777 without these bits; -1: 0600 and 0700 */
};

/*
 * Builds the folders and begins to listen to the account's events. -ENOENT: there is no folder
 * params->root_folder. Blocks: disk.
 */
int tree_create(const struct tree_params *params, struct tree **ret);
/* The account was stopped before, and whoever uses the tree has ended. NULL is allowed. */
void tree_destroy(struct tree *tree);
/* observer is borrowed until the account is stopped; NULL: nobody. */
void tree_set_observer(struct tree *tree, const struct tree_observer *observer);
struct sync_account *tree_account(const struct tree *tree);
/* fn NULL: nobody listens. Blocks: until a call of the one before has returned. */
void tree_set_listener(struct tree *tree, tree_news_fn *fn, void *arg);

/* What a path below the root (as tree_directory_path() gives it; "" is the root) stands for. */
struct tree_place {
	struct sync_folder *folder; /* NULL: a directory without a mailbox */
	uint32_t uid;               /* 0: the directory */
};
/* -ENOENT; -ENOTDIR. A message only where its folder was listed in this mount. Blocks: never. */
int tree_resolve(struct tree *tree, const char *path, struct tree_place *ret);
/* Calls fn for each folder of what is shown that is at, or below, path (""; all), in the order of paths. fn may not call the tree. */
typedef int tree_folder_fn(void *arg, const char *path, struct sync_folder *folder);
int tree_each_folder(struct tree *tree, const char *path, tree_folder_fn *fn, void *arg);
bool tree_is_readonly(const struct tree *tree);
/* The value of user.mailfs.control on the root, which no listing of attributes shows; copied. -ENOMEM. */
int tree_set_control(struct tree *tree, const char *path);

/* One call that may have to wait. */
struct tree_call {
	struct sync_waiter waiter;
	ssize_t result;         /* private, as are those below */
	unsigned waited;        /* what has been waited for already */
	ssize_t bytes;          /* that were read, while the true size is waited for */
	struct tree_file *file; /* being opened */
};
/* deadline_ms: monotonic. Blocks: never. */
void tree_call_init(
	struct tree_call *call, void (*wake)(struct sync_waiter *, ssize_t), int64_t deadline_ms);
/* To be called before the call is made again; result: what wake() was given, 0 or more. */
void tree_call_woken(struct tree_call *call, ssize_t result);
/* Frees what a call holds that was not made to its end. The waiter is not registered. */
void tree_call_finish(struct tree_call *call);

struct tree_entry {
	uint64_t node;
	uint64_t generation;
	struct stat attr; /* st_ino is the same on every mount */
	bool provisional; /* the size is not exact yet: the attributes must not be kept */
};

/*
 * Finds name in a directory. A message of a folder that was not listed yet waits for the listing,
 * and one that is on its way for its arrival: where it is kept away, that error, not -ENOENT.
 * Counts one reference to the node, for tree_forget(). -ENOENT; -ENOTDIR. Blocks: disk.
 */
int tree_lookup(struct tree *tree, uint64_t parent, const char *name, struct tree_entry *ret,
	struct tree_call *call);
void tree_forget(struct tree *tree, uint64_t node, uint64_t count);
/*
 * Appends the path of a folder below the root: components joined by '/', "" for the root itself.
 * -ENOENT: not a folder of what is shown. Blocks: never.
 */
int tree_directory_path(struct tree *tree, uint64_t node, struct str *out);
/* -ENOENT: the message or folder is gone; -EIO: the folder that is the root. Blocks: never. */
int tree_attributes(struct tree *tree, uint64_t node, struct tree_entry *ret);
/*
 * The attributes of what disappeared() told of, as they were. -EEXIST: it is there again; -ENOENT: its parent is gone, too,
 * or it is elsewhere. Blocks: never.
 */
int tree_former(struct tree *tree, uint64_t parent, const char *name, uint64_t node, bool directory,
	struct tree_entry *ret);
/* The server's quota, or figures that keep clients content. */
void tree_statfs(struct tree *tree, struct statvfs *ret);

/*
 * Opens a directory: makes its listing current (see sync_folder_refresh). A folder that was never
 * listed opens as soon as the first entries are there. A folder that can not be selected: -EACCES,
 * -ENOENT, -EIO. Blocks: disk.
 */
int tree_dir_open(struct tree *tree, uint64_t node, struct tree_dir **ret, struct tree_call *call);
void tree_dir_close(struct tree_dir *dir);
/*
 * Whether the kernel may keep the entries it reads from this dir; *ret_unchanged: what it kept
 * before is still right.
 */
bool tree_dir_cacheable(const struct tree_dir *dir, bool *ret_unchanged);
/*
 * Takes one entry; next is the offset behind it. entry->node is 0 for those that are no reference
 * ("." and "..", and all of them when none was asked for). false: no room; the entry was not taken.
 * Called with a lock held: only copies.
 */
typedef bool tree_fill_fn(
	void *arg, const char *name, const struct tree_entry *entry, uint64_t next);
/*
 * Hands out entries from offset on (0: the first), until fill has no room or no more are there. 0
 * with nothing filled: the end. Errors and -EINPROGRESS come with nothing filled. references: each
 * entry counts as by tree_lookup(), unless its node is 0: a message of very many parts gives none. -EIO: the listing failed half way, or the folder was listed
 * anew meanwhile. -ENOENT: the folder is gone, also where it has come back since. Offsets stay what they
 * are, whatever comes and goes. Blocks: disk.
 */
int tree_dir_read(struct tree_dir *dir, uint64_t offset, bool references, tree_fill_fn *fill,
	void *arg, struct tree_call *call);

/*
 * Opens a message or a part for reading; settles its size where it is not known and that is cheap.
 * Blocks: disk.
 */
int tree_file_open(
	struct tree *tree, uint64_t node, struct tree_file **ret, struct tree_call *call);
/*
 * As above, for a tree that is read-only: settles nothing. What is read comes from its true bytes, and ends with them; the observer is told
 * (attributes()) when there are more than were shown, before the read that finds it returns.
 */
int tree_file_open_unsettled(
	struct tree *tree, uint64_t node, struct tree_file **ret, struct tree_call *call);
void tree_file_close(struct tree_file *file);
/* As tree_attributes() of its node, also when the message is gone. Blocks: never. */
void tree_file_attributes(struct tree *tree, struct tree_file *file, struct tree_entry *ret);
/* The size that is shown may be too large: reads must reach tree_file_read() as they are made. */
bool tree_file_size_is_bound(const struct tree_file *file);
/*
 * As sync_body_read(): fewer than len only at the true end. buf stays until the call is finished.
 * Blocks: disk.
 */
ssize_t tree_file_read(
	struct tree_file *file, void *buf, size_t len, uint64_t offset, struct tree_call *call);

/*
 * The value of an extended attribute. -ENODATA: there is none of that name here. What depends on a
 * folder's listing waits for it when there is none yet. Blocks: disk.
 */
int tree_xattr_get(struct tree *tree, uint64_t node, const char *name, struct str *out,
	struct tree_call *call);
/* The names, each ended by NUL. Blocks: never; of a maildrop's message the first time: disk. */
int tree_xattr_list(struct tree *tree, uint64_t node, struct str *out);

#endif
