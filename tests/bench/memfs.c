/* SPDX-License-Identifier: MIT */
/*
 * A read-only file system that holds everything in memory: what FUSE itself costs, as a measure for mailfs.
 *
 *     memfs SOURCE MOUNTPOINT [noopen] [cached] [noplus]
 *
 * Everything below the directory SOURCE (files and directories) is read at the start; nothing expires, and pages are kept. It runs in the
 * foreground until it is unmounted. noopen: OPEN is answered with ENOSYS, so that the kernel sends neither OPEN nor RELEASE; cached:
 * the kernel keeps the contents of directories; noplus: names come without attributes.
 *
 * A node's number is its place in the table, from 1, the root, on; the children of a directory stand in one row, by name.
 */
#define FUSE_USE_VERSION 35

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEEP_SECONDS 86400.0
#define IDLE_THREADS 10
#define DEPTH_MAX    64

struct node {
	char *name;
	struct stat attr;
	char *data;
	size_t first, count; /* of a directory: its children in the table */
	size_t parent;
};

static struct node *nodes; /* nodes[0] is not used */
static size_t node_count, node_cap;
static bool noopen, cached, noplus;

static void die(const char *what)
{
	fprintf(stderr, "memfs: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *must(void *p)
{
	if (!p)
		die("memory");
	return p;
}

/* --- What is served --- */

static size_t add_node(size_t parent, const char *name)
{
	if (node_count == node_cap) {
		node_cap = node_cap ? node_cap * 2 : 1024;
		nodes = must(realloc(nodes, node_cap * sizeof(*nodes)));
	}
	nodes[node_count] = (struct node){.parent = parent, .name = must(strdup(name))};
	return node_count++;
}

static void load_file(struct node *node, int fd)
{
	size_t size = (size_t)node->attr.st_size, have = 0;
	node->data = must(malloc(size + 1));
	while (have < size) {
		ssize_t n = read(fd, node->data + have, size - have);
		if (n <= 0)
			break;
		have += (size_t)n;
	}
	node->attr.st_size = (off_t)have;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a directory, sorted; takes fd. */
static char **list_names(int fd, size_t *ret_count)
{
	DIR *dir = must(fdopendir(fd));
	const struct dirent *entry;
	char **names = NULL;
	size_t count = 0, cap = 0;
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (count == cap) {
			cap = cap ? cap * 2 : 64;
			names = must(realloc(names, cap * sizeof(*names)));
		}
		names[count++] = must(strdup(entry->d_name));
	}
	closedir(dir);
	if (count > 0)
		qsort(names, count, sizeof(*names), by_name);
	*ret_count = count;
	return names;
}

static void load_directory(size_t at, int fd, int depth);

static void load_node(size_t at, int parent_fd, int depth)
{
	int fd = openat(parent_fd, nodes[at].name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &nodes[at].attr) < 0)
		die(nodes[at].name);
	nodes[at].attr.st_ino = at;
	if (S_ISDIR(nodes[at].attr.st_mode) && depth < DEPTH_MAX) {
		load_directory(at, fd, depth + 1);
		return;
	}
	if (S_ISREG(nodes[at].attr.st_mode))
		load_file(&nodes[at], fd);
	close(fd);
}

/* Takes fd. */
static void load_directory(size_t at, int fd, int depth)
{
	size_t count, first = node_count;
	int self = dup(fd);
	char **names = list_names(fd, &count);
	for (size_t i = 0; i < count; i++) {
		add_node(at, names[i]);
		free(names[i]);
	}
	free(names);
	nodes[at].first = first;
	nodes[at].count = count;
	for (size_t i = first; i < first + count; i++)
		load_node(i, self, depth);
	close(self);
}

/* --- Requests --- */

static struct fuse_entry_param entry_of(size_t at)
{
	return (struct fuse_entry_param){.ino = at,
		.attr = nodes[at].attr,
		.attr_timeout = KEEP_SECONDS,
		.entry_timeout = KEEP_SECONDS};
}

static size_t find(const struct node *directory, const char *name)
{
	size_t low = directory->first, high = low + directory->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(nodes[middle].name, name);
		if (order == 0)
			return middle;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return 0;
}

static void want(struct fuse_conn_info *conn, unsigned capability, bool wanted)
{
	if (wanted && conn->capable & capability)
		conn->want |= capability;
	else
		conn->want &= ~capability;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	want(conn, FUSE_CAP_READDIRPLUS, !noplus);
	want(conn, FUSE_CAP_READDIRPLUS_AUTO, false);
	want(conn, FUSE_CAP_PARALLEL_DIROPS, true);
	want(conn, FUSE_CAP_AUTO_INVAL_DATA, false);
	want(conn, FUSE_CAP_EXPLICIT_INVAL_DATA, true);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	size_t at = find(&nodes[parent], name);
	struct fuse_entry_param entry = entry_of(at);
	if (at)
		fuse_reply_entry(req, &entry);
	else
		fuse_reply_err(req, ENOENT);
}

static void op_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	(void)fi;
	fuse_reply_attr(req, &nodes[node].attr, KEEP_SECONDS);
}

static void op_opendir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	(void)node;
	fi->cache_readdir = fi->keep_cache = cached;
	fuse_reply_open(req, fi);
}

static size_t add_entry(
	fuse_req_t req, char *buf, size_t room, const char *name, size_t at, off_t next, bool plus)
{
	struct fuse_entry_param entry = entry_of(at);
	if (!plus)
		return fuse_add_direntry(req, buf, room, name, &entry.attr, next);
	if (next <= 2)
		entry.ino = 0;
	return fuse_add_direntry_plus(req, buf, room, name, &entry, next);
}

static void list(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, bool plus)
{
	const struct node *directory = &nodes[node];
	char *buf = must(malloc(size));
	size_t used = 0, end = directory->count + 2;
	for (size_t i = (size_t)offset; i < end; i++) {
		size_t at = i == 0 ? node : i == 1 ? directory->parent : directory->first + i - 2;
		const char *name = i == 0 ? "." : i == 1 ? ".." : nodes[at].name;
		size_t n = add_entry(req, buf + used, size - used, name, at, (off_t)i + 1, plus);
		if (n > size - used)
			break;
		used += n;
	}
	fuse_reply_buf(req, buf, used);
	free(buf);
}

static void op_readdir(
	fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	list(req, node, size, offset, false);
}

static void op_readdirplus(
	fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	list(req, node, size, offset, true);
}

static void op_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	(void)node;
	if (noopen) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

static void op_read(
	fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *fi)
{
	const struct node *file = &nodes[node];
	size_t end = (size_t)file->attr.st_size, start = (size_t)offset;
	(void)fi;
	if (start >= end)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_buf(req, file->data + start, size < end - start ? size : end - start);
}

static void op_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
	(void)node;
	(void)fi;
	fuse_reply_err(req, 0);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t node, const char *name, size_t size)
{
	(void)node;
	(void)name;
	(void)size;
	fuse_reply_err(req, EOPNOTSUPP);
}

static int serve(const char *mountpoint)
{
	static const struct fuse_lowlevel_ops ops = {.init = op_init,
		.lookup = op_lookup,
		.getattr = op_getattr,
		.opendir = op_opendir,
		.readdir = op_readdir,
		.readdirplus = op_readdirplus,
		.open = op_open,
		.read = op_read,
		.release = op_release,
		.getxattr = op_getxattr};
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_loop_config config = {.max_idle_threads = IDLE_THREADS};
	if (fuse_opt_add_arg(&args, "memfs") != 0 ||
		fuse_opt_add_arg(&args, "-oro,subtype=memfs,fsname=memfs") != 0)
		return 1;
	struct fuse_session *session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	fuse_opt_free_args(&args);
	if (!session || fuse_set_signal_handlers(session) != 0 ||
		fuse_session_mount(session, mountpoint) != 0)
		return 1;
	int r = fuse_session_loop_mt(session, &config);
	fuse_session_unmount(session);
	fuse_remove_signal_handlers(session);
	fuse_session_destroy(session);
	return r < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
	for (int i = 3; i < argc; i++) {
		noopen |= strcmp(argv[i], "noopen") == 0;
		cached |= strcmp(argv[i], "cached") == 0;
		noplus |= strcmp(argv[i], "noplus") == 0;
	}
	if (argc < 3) {
		fprintf(stderr, "usage: memfs SOURCE MOUNTPOINT [noopen] [cached] [noplus]\n");
		return 2;
	}
	add_node(0, "");
	load_node(add_node(1, argv[1]), AT_FDCWD, 0);
	return serve(argv[2]);
}
