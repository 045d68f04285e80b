/* SPDX-License-Identifier: MIT */
/*
 * The table of what lies inside messages. It holds only what the kernel knows at the moment: keys
 * and sizes, no structure, so that a walk through a large folder's .parts costs little for each
 * file. Slots are reused, each time with a new generation, as FUSE asks for.
 */
#include "nodes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/tree.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/hash.h"
#include "mailfs/util/str.h"

struct node {
	struct node *next; /* in its bucket */
	uint64_t hash;
	uint64_t generation;
	uint64_t references;
	uint64_t size_bytes;
	uint32_t folder, uid;
	uint32_t slot;
	uint16_t parent_len;
	uint8_t kind;
	bool exact;
	char section[];
};

struct node_number node_parse(uint64_t node)
{
	bool view = node & TREE_NODE_VIEW;
	struct node_number n = {
		.number = (uint32_t)(node >> 32) & 0x7fffffff, .uid = (uint32_t)node};
	if (node == TREE_NODE_ROOT)
		n.kind = NODE_ROOT;
	else if (view && n.number == 0)
		n.kind = NODE_INSIDE;
	else if (n.uid == 0)
		n.kind = view ? NODE_VIEW : NODE_DIRECTORY;
	else
		n.kind = view ? NODE_VIEW_MESSAGE : NODE_MESSAGE;
	return n;
}

uint64_t node_directory(uint32_t directory, bool view)
{
	return (view ? TREE_NODE_VIEW : 0) | (uint64_t)directory << 32;
}

uint64_t node_message(uint32_t folder, uint32_t uid, bool view)
{
	return node_directory(folder, view) | uid;
}

static uint64_t key_hash(uint32_t folder, uint32_t uid, const char *section)
{
	/* Byte by byte: the same on machines of either byte order. */
	unsigned char numbers[8];
	for (unsigned i = 0; i < 4; i++) {
		numbers[i] = (unsigned char)(folder >> (24 - 8 * i));
		numbers[4 + i] = (unsigned char)(uid >> (24 - 8 * i));
	}
	uint64_t hash = hash64(HASH64_INIT, numbers, sizeof(numbers));
	return hash64_finish(hash64(hash, section, strlen(section)));
}

uint64_t node_inside_ino(uint32_t folder, uint32_t uid, const char *section)
{
	return TREE_NODE_VIEW | key_hash(folder, uid, section) >> 1;
}

int nodes_init(struct nodes *nodes)
{
	*nodes = (struct nodes){.slot_count = 1};
	return -pthread_mutex_init(&nodes->lock, NULL);
}

void nodes_finish(struct nodes *nodes)
{
	for (size_t i = 1; i < nodes->slot_count; i++)
		free(nodes->slots[i]);
	free(nodes->slots);
	free(nodes->free_slots);
	free(nodes->buckets);
	pthread_mutex_destroy(&nodes->lock);
}

static struct node **bucket_of(const struct nodes *nodes, uint64_t hash)
{
	return &nodes->buckets[hash & (nodes->bucket_count - 1)];
}

static int buckets_grow(struct nodes *nodes)
{
	size_t count = nodes->bucket_count ? nodes->bucket_count * 2 : 64;
	struct node **buckets = calloc(count, sizeof(struct node *));
	if (!buckets)
		return -ENOMEM;
	free(nodes->buckets);
	nodes->buckets = buckets;
	nodes->bucket_count = count;
	for (size_t i = 1; i < nodes->slot_count; i++) {
		struct node *node = nodes->slots[i];
		if (!node)
			continue;
		struct node **bucket = bucket_of(nodes, node->hash);
		node->next = *bucket;
		*bucket = node;
	}
	return 0;
}

static struct node *find_key(const struct nodes *nodes, uint64_t hash, uint32_t folder,
	uint32_t uid, const char *section)
{
	if (nodes->bucket_count == 0)
		return NULL;
	for (struct node *node = *bucket_of(nodes, hash); node; node = node->next)
		if (node->hash == hash && node->folder == folder && node->uid == uid &&
			strcmp(node->section, section) == 0)
			return node;
	return NULL;
}

/* A free slot; the list of free ones always has room for all, so that freeing can not fail. */
static int slot_take(struct nodes *nodes, uint32_t *ret)
{
	if (nodes->free_count > 0) {
		*ret = nodes->free_slots[--nodes->free_count];
		return 0;
	}
	if (nodes->slot_count == UINT32_MAX)
		return -ENOMEM;
	size_t need = nodes->slot_count + 1;
	int r = array_grow(&nodes->slots, &nodes->slot_cap, need, sizeof(struct node *));
	if (r == 0)
		r = array_grow(
			&nodes->free_slots, &nodes->free_cap, need, sizeof(*nodes->free_slots));
	if (r < 0)
		return r;
	nodes->slots[0] = NULL;
	*ret = (uint32_t)nodes->slot_count++;
	nodes->slots[*ret] = NULL;
	return 0;
}

static struct node *node_create(const struct inside *inside, uint64_t hash)
{
	size_t len = strlen(inside->section) + 1;
	struct node *node = calloc(1, sizeof(*node) + len);
	if (!node)
		return NULL;
	node->hash = hash;
	node->folder = inside->folder;
	node->uid = inside->uid;
	node->kind = (uint8_t)inside->kind;
	node->parent_len = (uint16_t)inside->parent_len;
	node->size_bytes = inside->size_bytes;
	node->exact = inside->exact;
	memcpy(node->section, inside->section, len);
	return node;
}

static int node_add(
	struct nodes *nodes, const struct inside *inside, uint64_t hash, struct node **ret)
{
	if (nodes->used >= nodes->bucket_count) {
		int r = buckets_grow(nodes);
		if (r < 0)
			return r;
	}
	_cleanup_free_ struct node *node = node_create(inside, hash);
	int r = node ? slot_take(nodes, &node->slot) : -ENOMEM;
	if (r < 0)
		return r;
	struct node **bucket = bucket_of(nodes, hash);
	node->generation = ++nodes->generation;
	node->next = *bucket;
	*bucket = nodes->slots[node->slot] = node;
	nodes->used++;
	*ret = steal_ptr(node);
	return 0;
}

static void node_settle(struct node *node, uint64_t size_bytes)
{
	node->size_bytes = size_bytes;
	node->exact = true;
}

int nodes_ref(
	struct nodes *nodes, struct inside *inside, uint64_t *ret_node, uint64_t *ret_generation)
{
	uint64_t hash = key_hash(inside->folder, inside->uid, inside->section);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&nodes->lock);
	struct node *node = find_key(nodes, hash, inside->folder, inside->uid, inside->section);
	if (!node) {
		int r = node_add(nodes, inside, hash, &node);
		if (r < 0)
			return r;
	}
	if (inside->exact && !node->exact)
		node_settle(node, inside->size_bytes);
	inside->size_bytes = node->size_bytes;
	inside->exact = node->exact;
	node->references++;
	*ret_node = TREE_NODE_VIEW | node->slot;
	*ret_generation = node->generation;
	return 0;
}

static struct node *node_at(const struct nodes *nodes, uint64_t number)
{
	struct node_number n = node_parse(number);
	if (n.kind != NODE_INSIDE || n.uid == 0 || n.uid >= nodes->slot_count)
		return NULL;
	return nodes->slots[n.uid];
}

static void node_drop(struct nodes *nodes, struct node *node)
{
	struct node **link = bucket_of(nodes, node->hash);
	while (*link != node)
		link = &(*link)->next;
	*link = node->next;
	nodes->slots[node->slot] = NULL;
	nodes->free_slots[nodes->free_count++] = node->slot;
	nodes->used--;
	free(node);
}

void nodes_forget(struct nodes *nodes, uint64_t number, uint64_t count)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&nodes->lock);
	struct node *node = node_at(nodes, number);
	if (!node)
		return;
	node->references -= count < node->references ? count : node->references;
	if (node->references == 0)
		node_drop(nodes, node);
}

int nodes_get(struct nodes *nodes, uint64_t number, struct inside *ret)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&nodes->lock);
	const struct node *node = node_at(nodes, number);
	if (!node)
		return -ENOENT;
	ret->kind = node->kind;
	ret->folder = node->folder;
	ret->uid = node->uid;
	ret->parent_len = node->parent_len;
	ret->size_bytes = node->size_bytes;
	ret->exact = node->exact;
	memcpy(ret->section, node->section, strlen(node->section) + 1);
	return 0;
}

uint64_t nodes_set_size(struct nodes *nodes, uint32_t folder, uint32_t uid, const char *section,
	uint64_t size_bytes)
{
	uint64_t hash = key_hash(folder, uid, section);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&nodes->lock);
	struct node *node = find_key(nodes, hash, folder, uid, section);
	if (!node)
		return 0;
	bool grown = size_bytes > node->size_bytes;
	node_settle(node, size_bytes);
	return grown ? TREE_NODE_VIEW | node->slot : 0;
}

uint64_t nodes_next(
	struct nodes *nodes, uint32_t folder, uint32_t uid, const char *section, uint64_t after)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&nodes->lock);
	for (size_t i = (uint32_t)after + UINT64_C(1); i < nodes->slot_count; i++) {
		const struct node *node = nodes->slots[i];
		if (node && node->folder == folder && node->uid == uid &&
			(!section[0] || strcmp(node->section, section) == 0))
			return TREE_NODE_VIEW | node->slot;
	}
	return 0;
}
