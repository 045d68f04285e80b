/* SPDX-License-Identifier: MIT */
/*
 * Landlock by its system calls, as of ABI 1 to 7 (Documentation/userspace-api/landlock.rst). The C library has no wrappers, and the headers of
 * a distribution may be older than its kernel, so what is needed of them stands here.
 *
 * ABI 1 is not used: under it no file can be renamed into another directory, which the store does.
 *
 * A rule holds for what lies below a path, not for a name: a file that is replaced is another file. Hence directories are named where
 * something in them may be replaced.
 */
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mailfs/util/cleanup.h"

/* The numbers are the same on every architecture. */
#define CALL_CREATE_RULESET 444
#define CALL_ADD_RULE       445
#define CALL_RESTRICT_SELF  446

#define CREATE_RULESET_VERSION 1U
#define RULE_PATH_BENEATH      1
#define RULE_NET_PORT          2

#define FS_EXECUTE     (UINT64_C(1) << 0)
#define FS_WRITE_FILE  (UINT64_C(1) << 1)
#define FS_READ_FILE   (UINT64_C(1) << 2)
#define FS_READ_DIR    (UINT64_C(1) << 3)
#define FS_REMOVE_DIR  (UINT64_C(1) << 4)
#define FS_REMOVE_FILE (UINT64_C(1) << 5)
#define FS_MAKE_DIR    (UINT64_C(1) << 7)
#define FS_MAKE_REG    (UINT64_C(1) << 8)
#define FS_REFER       (UINT64_C(1) << 13) /* ABI 2 */
#define FS_TRUNCATE    (UINT64_C(1) << 14) /* ABI 3 */
#define FS_IOCTL_DEV   (UINT64_C(1) << 15) /* ABI 5 */
#define FS_ABI_2       ((FS_REFER << 1) - 1)

#define NET_BIND_TCP    (UINT64_C(1) << 0) /* ABI 4 */
#define NET_CONNECT_TCP (UINT64_C(1) << 1)

#define SCOPE_ABSTRACT_SOCKET (UINT64_C(1) << 0) /* ABI 6 */
#define SCOPE_SIGNAL          (UINT64_C(1) << 1)

/* What can be allowed for a file that is no directory. */
#define FS_OF_FILES (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)

struct ruleset_attr {
	uint64_t fs, net, scoped;
};

struct path_attr {
	uint64_t allowed;
	int32_t parent_fd;
} __attribute__((packed));

struct port_attr {
	uint64_t allowed;
	uint64_t port;
};

/* Up to which member the kernel knows it. */
static size_t attr_size(long abi)
{
	if (abi < 4)
		return offsetof(struct ruleset_attr, net);
	return abi < 6 ? offsetof(struct ruleset_attr, scoped) : sizeof(struct ruleset_attr);
}

static struct ruleset_attr handled(long abi, const struct sandbox_mount *params)
{
	struct ruleset_attr attr = {.fs = FS_ABI_2};
	if (abi >= 3)
		attr.fs |= FS_TRUNCATE;
	if (abi >= 4)
		attr.net = NET_BIND_TCP | NET_CONNECT_TCP;
	if (abi >= 5)
		attr.fs |= FS_IOCTL_DEV;
	if (abi >= 6)
		attr.scoped = SCOPE_ABSTRACT_SOCKET;
	/* The process that may be killed is not one of the sandbox. Whom kill() reaches then, seccomp says. */
	if (abi >= 6 && (!params || params->killable == 0) && !SANDBOX_SANITIZED)
		attr.scoped |= SCOPE_SIGNAL;
	/* The herald makes and removes names in a file system that is not mounted yet. */
	if (!params)
		attr.fs &= ~(FS_MAKE_REG | FS_MAKE_DIR | FS_REMOVE_FILE | FS_REMOVE_DIR);
	return attr;
}

static uint64_t rights(enum sandbox_access access)
{
	switch (access) {
	case SANDBOX_READ:
		return FS_READ_FILE | FS_READ_DIR;
	case SANDBOX_CHANGE:
		return FS_READ_FILE | FS_READ_DIR | FS_WRITE_FILE | FS_TRUNCATE | FS_MAKE_REG |
		       FS_MAKE_DIR | FS_REMOVE_FILE | FS_REMOVE_DIR | FS_REFER;
	case SANDBOX_REMOVE:
		return FS_REMOVE_FILE;
	case SANDBOX_DEVICE:
		return FS_READ_FILE | FS_WRITE_FILE | FS_TRUNCATE;
	}
	return 0;
}

static int add_path(int ruleset, const struct ruleset_attr *attr, const struct sandbox_path *path)
{
	_cleanup_close_ int fd = open(path->path, O_PATH | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return 0;
	struct path_attr rule = {.allowed = rights(path->access) & attr->fs, .parent_fd = fd};
	if (!S_ISDIR(st.st_mode))
		rule.allowed &= FS_OF_FILES;
	if (rule.allowed == 0)
		return 0;
	return syscall(CALL_ADD_RULE, ruleset, RULE_PATH_BENEATH, &rule, 0) < 0 ? -errno : 0;
}

/* So that reports can name functions and lines. */
static int add_sanitizers(int ruleset, const struct ruleset_attr *attr)
{
	static const struct sandbox_path path = {"/", SANDBOX_READ};
	return SANDBOX_SANITIZED ? add_path(ruleset, attr, &path) : 0;
}

static int add_port(int ruleset, const struct ruleset_attr *attr, uint16_t port)
{
	struct port_attr rule = {.allowed = NET_CONNECT_TCP, .port = port};
	if (!(attr->net & NET_CONNECT_TCP))
		return 0;
	return syscall(CALL_ADD_RULE, ruleset, RULE_NET_PORT, &rule, 0) < 0 ? -errno : 0;
}

static int add_rules(
	int ruleset, const struct ruleset_attr *attr, const struct sandbox_mount *params)
{
	int r = add_port(ruleset, attr, params->port);
	for (size_t i = 0; r == 0 && i < params->path_count; i++)
		r = add_path(ruleset, attr, &params->paths[i]);
	return r < 0 ? r : add_sanitizers(ruleset, attr);
}

void landlock_parts(long abi, struct sandbox_parts *ret)
{
	ret->files = abi >= 2;
	ret->truncate = abi >= 3;
	ret->ports = abi >= 4;
	ret->scopes = abi >= 6;
}

int landlock_enter(const struct sandbox_mount *params, struct sandbox_parts *ret)
{
	long abi = syscall(CALL_CREATE_RULESET, NULL, 0, CREATE_RULESET_VERSION);
	if (abi < 2)
		return 0;
	struct ruleset_attr attr = handled(abi, params);
	_cleanup_close_ int ruleset = (int)syscall(CALL_CREATE_RULESET, &attr, attr_size(abi), 0);
	if (ruleset < 0)
		return -errno;
	int r = params ? add_rules(ruleset, &attr, params) : 0;
	if (r < 0)
		return r;
	if (syscall(CALL_RESTRICT_SELF, ruleset, 0) < 0)
		return -errno;
	landlock_parts(abi, ret);
	return 0;
}
