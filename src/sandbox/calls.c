/* SPDX-License-Identifier: MIT */
/*
 * The system calls that are let through, as a list: whatever is not in it is refused.
 *
 * How. A call that nobody thought of gets ENOSYS, as from a kernel that does not know it: the C library then takes an older one, and if there is
 * none an operation fails, not the mount. What only an attacker wants gets EPERM, so that no library tries another way. Nothing is killed: who has conquered the process can end it
 * anyway, and a list like this is wrong one day. (Only calls by the numbers of another architecture kill; nobody makes them by mistake.)
 *
 * Why these arguments.
 *   clone     As the C library starts a thread, bit for bit: no process, no namespace. clone3, whose flags lie in memory where a filter can not
 *             look, does not exist.
 *   socket    TCP, and the routing messages of the kernel. No AF_UNIX: behind its names wait those who start programs for anyone (systemd,
 *             D-Bus), and Landlock knows only the abstract ones. TCP as a number, for Landlock does not know MPTCP and SCTP.
 *   send*     Not with MSG_FASTOPEN, which connects without asking Landlock.
 *   mmap      Nothing that can be executed, and nothing that becomes so.
 *   fcntl     Not F_SETOWN, by which the kernel sends signals for us.
 *   kill      The herald. tgkill: threads of this process.
 *   ioctl     Is it a terminal, and how wide is it. Not TIOCSTI, which types.
 *   prlimit64 Asking, not setting. prctl: names, and what daemon_ready() takes back.
 */
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mailfs/util/cleanup.h"
#include "private.h"

/* Newer than the headers of Debian 12. */
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

#define THREAD_FLAGS                                                                               \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |        \
		CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)
/* Which argument of clone() they are. */
#ifdef __s390__
#define CLONE_FLAGS 1
#else
#define CLONE_FLAGS 0
#endif
#define TYPE_MASK (~(uint64_t)(SOCK_CLOEXEC | SOCK_NONBLOCK))
#define INT_MASK  UINT64_C(0xffffffff)
#define IS(n, v)  SCMP_CMP(n, SCMP_CMP_MASKED_EQ, INT_MASK, (uint64_t)(v)&INT_MASK)
#define ALL(n, v)                                                                                  \
	SCMP_CMP(n, SCMP_CMP_MASKED_EQ, UINT64_MAX, (uint64_t)(v)) /* of a long, or a pointer */
#define NONE(n, v) SCMP_CMP(n, SCMP_CMP_MASKED_EQ, (v), 0)

/* --- What is let through whatever its arguments are --- */

/* Names, because not every architecture has all of them, nor every version of the library. */
static const char *const plain[] = {
	/* bytes */
	"read",
	"write",
	"readv",
	"writev",
	"pread64",
	"pwrite64",
	"preadv",
	"pwritev",
	"lseek",
	"close",
	"dup",
	"dup2",
	"dup3",
	"pipe",
	"pipe2",
	"splice",
	"vmsplice",
	"poll",
	"ppoll",
	"select",
	"pselect6",
	"epoll_create1",
	"epoll_ctl",
	"epoll_wait",
	"epoll_pwait",
	"eventfd2",
	"timerfd_create",
	"timerfd_settime",
	"timerfd_gettime",
	/* files */
	"open",
	"openat",
	"stat",
	"lstat",
	"fstat",
	"newfstatat",
	"statx",
	"statfs",
	"fstatfs",
	"access",
	"faccessat",
	"faccessat2",
	"readlink",
	"readlinkat",
	"getdents64",
	"getcwd",
	"chdir",
	"mkdir",
	"mkdirat",
	"rmdir",
	"unlink",
	"unlinkat",
	"rename",
	"renameat",
	"renameat2",
	"ftruncate",
	"fallocate",
	"fsync",
	"fdatasync",
	"sync_file_range",
	"flock",
	"fchmod",
	"fchown",
	"umask",
	"fadvise64",
	/* connections */
	"connect",
	"bind",
	"accept",
	"accept4",
	"getsockname",
	"getpeername",
	"getsockopt",
	"setsockopt",
	"recvfrom",
	"recvmsg",
	"shutdown",
	/* memory */
	"brk",
	"munmap",
	"mremap",
	"madvise",
	"mlock",
	"mlock2",
	"munlock",
	/* threads */
	"futex",
	"futex_wait",
	"futex_wake",
	"futex_requeue",
	"set_robust_list",
	"rseq",
	"sched_yield",
	"sched_getaffinity",
	"membarrier",
	"gettid",
	"exit",
	"exit_group",
	"restart_syscall",
	/* signals */
	"rt_sigaction",
	"rt_sigprocmask",
	"rt_sigreturn",
	"sigaltstack",
	/* time */
	"clock_gettime",
	"clock_getres",
	"clock_nanosleep",
	"nanosleep",
	"gettimeofday",
	"time",
	/* itself */
	"getpid",
	"getppid",
	"getuid",
	"geteuid",
	"getgid",
	"getegid",
	"getpgrp",
	"getpgid",
	"setsid",
	"wait4",
	"waitid",
	"uname",
	"sysinfo",
	"getrandom",
	"getrusage",
	"getrlimit",
};

static const char *const refused[] = {
	/* what Landlock does not know of: modes, owners and times of files by their path */
	"chmod",
	"fchmodat",
	"fchmodat2",
	"chown",
	"lchown",
	"fchownat",
	"utime",
	"utimes",
	"futimesat",
	"utimensat",
	"setxattr",
	"lsetxattr",
	"removexattr",
	"lremovexattr",
	/* other programs and processes */
	"execve",
	"execveat",
	"fork",
	"vfork",
	"ptrace",
	"process_vm_readv",
	"process_vm_writev",
	"process_madvise",
	"kcmp",
	"pidfd_open",
	"pidfd_getfd",
	"pidfd_send_signal",
	"tkill",
	"rt_sigqueueinfo",
	"rt_tgsigqueueinfo",
	/* the kernel's larger doors */
	"bpf",
	"perf_event_open",
	"userfaultfd",
	"io_uring_setup",
	"io_uring_enter",
	"io_uring_register",
	"add_key",
	"request_key",
	"keyctl",
	"memfd_create",
	"memfd_secret",
	/* the system */
	"mount",
	"umount2",
	"pivot_root",
	"chroot",
	"move_mount",
	"open_tree",
	"fsopen",
	"fsconfig",
	"fsmount",
	"fspick",
	"mount_setattr",
	"unshare",
	"setns",
	"init_module",
	"finit_module",
	"kexec_load",
	"kexec_file_load",
	"reboot",
	"swapon",
	"swapoff",
	"personality",
	"setuid",
	"setgid",
	"setresuid",
	"setresgid",
	"setgroups",
	"capset",
	"open_by_handle_at",
	"socketpair",
	"listen",
	"pkey_mprotect",
};

/* LeakSanitizer stops all threads, from a process that shares their memory. */
static const char *const of_sanitizers[] = {
	"clone",
	"ptrace",
	"prctl",
	"sched_getparam",
	"sched_getscheduler",
	"getdents",
	"set_tid_address",
	"tgkill",
};

/* What a mount does anyway, and a herald does not. */
static const char *const of_sanitizers_everywhere[] = {
	"mmap",
	"mprotect",
	"sigaltstack",
	"rt_sigaction",
	"rt_sigprocmask",
	"getpid",
	"gettid",
	"sched_yield",
	"readlink",
	"readlinkat",
	"exit",
	"clock_gettime",
	"nanosleep",
	"clock_nanosleep",
	"set_robust_list",
	"rseq",
};

/* --- What is let through with some arguments --- */

static int allow_each(
	scmp_filter_ctx ctx, int call, unsigned arg, const unsigned *values, size_t count)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < count; i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call, 1, IS(arg, values[i]));
	return r;
}

#define ALLOW_EACH(ctx, call, arg, values)                                                         \
	allow_each(ctx, call, arg, values, sizeof(values) / sizeof(*(values)))

static int allow_sockets(scmp_filter_ctx ctx)
{
	static const int families[] = {AF_INET, AF_INET6}, protocols[] = {0, IPPROTO_TCP};
	int r = 0;
	for (int i = 0; r == 0 && i < 4; i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 3,
			IS(0, families[i / 2]),
			SCMP_CMP(1, SCMP_CMP_MASKED_EQ, TYPE_MASK & INT_MASK, SOCK_STREAM),
			IS(2, protocols[i % 2]));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 3, IS(0, AF_NETLINK),
			SCMP_CMP(1, SCMP_CMP_MASKED_EQ, TYPE_MASK & INT_MASK, SOCK_RAW),
			IS(2, NETLINK_ROUTE));
	if (r == 0)
		r = seccomp_rule_add(
			ctx, SCMP_ACT_ALLOW, SCMP_SYS(sendto), 1, NONE(3, MSG_FASTOPEN));
	if (r == 0)
		r = seccomp_rule_add(
			ctx, SCMP_ACT_ALLOW, SCMP_SYS(sendmsg), 1, NONE(2, MSG_FASTOPEN));
	return r;
}

static int allow_memory(scmp_filter_ctx ctx)
{
	static const char *const names[] = {"mmap", "mmap2", "mprotect"};
	int r = 0;
	for (size_t i = 0; r == 0 && i < sizeof(names) / sizeof(*names); i++) {
		int call = seccomp_syscall_resolve_name(names[i]);
		if (call >= 0)
			r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call, 1, NONE(2, PROT_EXEC));
	}
	return r;
}

static int allow_signals(scmp_filter_ctx ctx, pid_t killable)
{
	int r = seccomp_rule_add(
		ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, IS(0, (uint32_t)getpid()));
	if (r == 0 && killable > 0)
		r = seccomp_rule_add(
			ctx, SCMP_ACT_ALLOW, SCMP_SYS(kill), 1, IS(0, (uint32_t)killable));
	return r;
}

static int allow_some(scmp_filter_ctx ctx)
{
	static const unsigned fcntls[] = {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL,
		F_SETFL, F_GETLK, F_SETLK, F_SETLKW, F_OFD_GETLK, F_OFD_SETLK, F_GETPIPE_SZ,
		F_SETPIPE_SZ};
	static const unsigned ioctls[] = {TCGETS, TIOCGWINSZ, TIOCGPGRP,
#ifdef TCGETS2 /* of newer C libraries; some architectures have one only */
		TCGETS2
#endif
	};
	static const unsigned prctls[] = {
		PR_SET_NAME, PR_SET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_VMA};
	int fcntl64_call = seccomp_syscall_resolve_name("fcntl64");
	int r = ALLOW_EACH(ctx, SCMP_SYS(fcntl), 1, fcntls);
	if (r == 0 && fcntl64_call >= 0)
		r = ALLOW_EACH(ctx, fcntl64_call, 1, fcntls);
	if (r == 0)
		r = ALLOW_EACH(ctx, SCMP_SYS(ioctl), 1, ioctls);
	if (r == 0)
		r = ALLOW_EACH(ctx, SCMP_SYS(prctl), 0, prctls);
	/* The member that sets is a pointer. */
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, ALL(2, 0));
	if (r == 0)
		r = seccomp_rule_add(
			ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, ALL(CLONE_FLAGS, THREAD_FLAGS));
	return r;
}

/* --- The filter --- */

static int add_names(scmp_filter_ctx ctx, const char *const *names, size_t count, uint32_t action)
{
	for (size_t i = 0; i < count; i++) {
		int call = seccomp_syscall_resolve_name(names[i]);
		if (call == __NR_SCMP_ERROR || call < 0)
			continue; /* neither does this architecture have it */
		int r = seccomp_rule_add(ctx, action, call, 0);
		if (r < 0)
			return r;
	}
	return 0;
}

#define ADD_NAMES(ctx, names, action)                                                              \
	add_names(ctx, names, sizeof(names) / sizeof(*(names)), action)

/*
 * -EINVAL from the loading: a kernel without filters. All threads, in case that there are some. No penalty for speculation, which is for
 * processes that run strangers' programs.
 */
static int load(scmp_filter_ctx ctx, struct sandbox_parts *ret)
{
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_SSB, 1);
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	seccomp_attr_set(ctx, SCMP_FLTATR_API_SYSRAWRC, 1);
	int r = seccomp_load(ctx);
	if (r == 0)
		ret->calls = true;
	return r == -EINVAL || r == -ENOSYS || r == -EOPNOTSUPP ? 0 : r;
}

static void release(scmp_filter_ctx *ctx)
{
	seccomp_release(*ctx);
}

int calls_enter_mount(const struct sandbox_mount *params, struct sandbox_parts *ret)
{
	if (!SANDBOX_FILTERS_CALLS)
		return 0;
	_cleanup_(release) scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	if (!ctx)
		return -ENOMEM;
	int r = ADD_NAMES(ctx, plain, SCMP_ACT_ALLOW);
	if (r == 0 && SANDBOX_SANITIZED)
		r = ADD_NAMES(ctx, of_sanitizers, SCMP_ACT_ALLOW);
	if (r == 0)
		r = allow_sockets(ctx);
	if (r == 0)
		r = allow_memory(ctx);
	if (r == 0)
		r = allow_signals(ctx, params->killable);
	if (r == 0)
		r = allow_some(ctx);
	if (r == 0)
		r = ADD_NAMES(ctx, refused, SCMP_ACT_ERRNO(EPERM));
	return r < 0 ? r : load(ctx, ret);
}

int calls_enter_herald(struct sandbox_parts *ret)
{
	static const char *const names[] = {"read", "write", "close", "openat", "openat2", "open",
		"statx", "fstatfs", "fstat", "newfstatat", "mknodat", "mknod", "mkdirat",
		"unlinkat", "recvfrom", "sendto", "exit_group", "rt_sigreturn", "restart_syscall",
		"brk", "munmap", "madvise", "futex"};
	if (!SANDBOX_FILTERS_CALLS)
		return 0;
	_cleanup_(release) scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	if (!ctx)
		return -ENOMEM;
	int r = ADD_NAMES(ctx, names, SCMP_ACT_ALLOW);
	if (r == 0 && SANDBOX_SANITIZED)
		r = ADD_NAMES(ctx, of_sanitizers, SCMP_ACT_ALLOW);
	if (r == 0 && SANDBOX_SANITIZED)
		r = ADD_NAMES(ctx, of_sanitizers_everywhere, SCMP_ACT_ALLOW);
	return r < 0 ? r : load(ctx, ret);
}
