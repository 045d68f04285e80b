/* SPDX-License-Identifier: MIT */
/*
 * What a directory of the .parts view holds: the leaves of a message, or of a message attached to
 * it, parsed from the stored structure, and what is missing. The few used last are kept.
 */
#ifndef MAILFS_TREE_PARTS_H
#define MAILFS_TREE_PARTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "mailfs/mime.h"
#include "mailfs/tree.h"
#include "mailfs/util/list.h"

#define PARTS_KEPT  32
#define LEAVES_KEPT 20000 /* in all of them, but for the last */

struct folder;

struct parts {
	unsigned references; /* guarded by the cache's lock */
	struct list_node node;
	uint32_t folder, uid;
	char *section; /* of the attached message; "": the message itself */
	struct mime_leaves
		leaves; /* detached; none where the server's structure can not be understood */
	const struct mime_leaf **by_name, **by_section; /* the same, sorted */
	unsigned cut; /* enum mime_cut: why there are not more of them */
	bool located; /* the structure tells how long the header is */
	uint64_t header_bytes;
	bool heavy; /* what was read for it took megabytes */
};

struct parts_cache {
	pthread_mutex_t lock;
	struct list_node used; /* oldest first */
	size_t count, leaf_count;
	bool loading; /* one structure is in memory at a time */
	struct mime_kept structure;
	pthread_cond_t loaded;
};

int parts_cache_init(struct parts_cache *cache);
void parts_cache_finish(struct parts_cache *cache);

/*
 * The leaves of a message of folder, whose number was number. section: of an attached message, or
 * "". *ret is given back with parts_unref(). -EINPROGRESS; -ENOENT: no such message, or no message
 * at section; -EIO. Blocks: disk.
 */
int parts_get(struct tree *tree, struct folder *folder, uint32_t number, uint32_t uid,
	const char *section, struct parts **ret, struct tree_call *call);
void parts_unref(struct tree *tree, struct parts *parts);
/* The leaf of that name, NULL when there is none. Owned by parts. */
const struct mime_leaf *parts_named(const struct parts *parts, const char *name);
/* The leaf of that section, NULL when there is none. Owned by parts. */
const struct mime_leaf *parts_leaf(const struct parts *parts, const char *section);

#endif
