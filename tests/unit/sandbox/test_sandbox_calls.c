/* SPDX-License-Identifier: MIT */
/*
 * System calls by their numbers, with arguments that no call takes (all bits set), but where the arguments are what is refused: who is let through
 * is told EFAULT, EINVAL or EBADF, who is not EPERM or ENOSYS. And what is told of a kernel that lacks a part of all this.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fixture.h"
#include "mailfs/util/cleanup.h"
#include "private.h"

struct call {
	const char *name;
	long number;
	long args[5];
	bool sanitizers; /* which need it */
};

/* clang-format off */
#define ANY  {-1, -1, -1, -1, -1}
#define CALL(name) {#name, SYS_##name, ANY, false}
#define WITH(name, ...) {#name "(" #__VA_ARGS__ ")", SYS_##name, {__VA_ARGS__}, false}

static const struct call calls[] = {
	/* its own memory */
	{"prctl(PR_SET_DUMPABLE, 1)", SYS_prctl, {PR_SET_DUMPABLE, 1}, true},
	{"prctl(PR_SET_PTRACER, -1)", SYS_prctl, {PR_SET_PTRACER, -1}, true},
	{"prctl(PR_CAP_AMBIENT)", SYS_prctl, {PR_CAP_AMBIENT, -1, -1, -1, -1}, true},
	{"prctl(PR_SET_MM)", SYS_prctl, {PR_SET_MM, -1, -1, -1, -1}, true},
	CALL(memfd_create), CALL(userfaultfd), CALL(pkey_mprotect), CALL(personality),
	CALL(process_madvise), CALL(remap_file_pages), CALL(mbind), CALL(shmget), CALL(mlockall),
	/* other processes */
	{"ptrace", SYS_ptrace, ANY, true},
	CALL(process_vm_readv), CALL(process_vm_writev), CALL(kcmp), CALL(pidfd_open),
	CALL(pidfd_getfd), CALL(pidfd_send_signal), CALL(tkill), CALL(rt_sigqueueinfo),
	CALL(rt_tgsigqueueinfo), CALL(setpriority), CALL(sched_setscheduler), CALL(migrate_pages),
	WITH(kill, -1, 0), WITH(kill, 1, 0), WITH(kill, 0, 0),
	/* other programs */
	CALL(execve), CALL(execveat), {"clone", SYS_clone, ANY, true}, CALL(clone3), CALL(unshare), CALL(setns),
	/* the kernel's larger doors */
	CALL(bpf), CALL(perf_event_open), CALL(io_uring_setup), CALL(io_uring_enter),
	CALL(io_uring_register), CALL(add_key), CALL(request_key), CALL(keyctl), CALL(seccomp),
	CALL(fanotify_init), CALL(mq_open), CALL(msgget), CALL(semget), CALL(io_setup),
	/* files that Landlock does not ask about */
	CALL(open_by_handle_at), CALL(name_to_handle_at), CALL(fchmodat), CALL(fchownat),
	CALL(utimensat), CALL(setxattr), CALL(removexattr), CALL(mknodat), CALL(linkat),
	CALL(symlinkat), CALL(truncate), CALL(copy_file_range), CALL(inotify_add_watch),
	WITH(fcntl, 0, F_SETOWN, 1), WITH(fcntl, 0, F_SETLEASE, F_RDLCK),
	WITH(ioctl, 0, TIOCSTI, -1), WITH(ioctl, 0, TIOCSCTTY, 0), WITH(ioctl, 0, FIONREAD, -1),
	/* the system */
	CALL(mount), CALL(umount2), CALL(move_mount), CALL(open_tree), CALL(fsopen), CALL(fsconfig),
	CALL(fsmount), CALL(fspick), CALL(mount_setattr), CALL(pivot_root), CALL(chroot),
	CALL(init_module), CALL(finit_module), CALL(delete_module), CALL(kexec_load), CALL(reboot),
	CALL(swapon), CALL(acct), CALL(quotactl), CALL(sethostname), CALL(settimeofday),
	CALL(clock_settime), CALL(syslog),
	/* what it may */
	CALL(setuid), CALL(setresuid), CALL(setgid), CALL(setgroups), CALL(capset),
	WITH(prlimit64, 0, RLIMIT_NOFILE, -1, 0),
	/* the network */
	CALL(listen), CALL(socketpair), WITH(socket, AF_UNIX, SOCK_STREAM, 0),
	WITH(socket, AF_INET, SOCK_DGRAM, 0), WITH(socket, AF_INET, SOCK_STREAM, 262 /* MPTCP */),
	WITH(socket, AF_PACKET, SOCK_RAW, 0), WITH(socket, 40 /* AF_VSOCK */, SOCK_STREAM, 0),
	WITH(socket, 38 /* AF_ALG */, SOCK_SEQPACKET, 0), WITH(sendto, -1, 0, 0, MSG_FASTOPEN),
	WITH(sendmsg, -1, -1, MSG_FASTOPEN), CALL(sendmmsg),
};
/* clang-format on */
#define COUNT (sizeof(calls) / sizeof(*calls))

static int *told_of; /* each call; shared with the child */

static int make_all(void)
{
	for (size_t i = 0; i < COUNT; i++) {
		const long *args = calls[i].args;
		told_of[i] =
			syscall(calls[i].number, args[0], args[1], args[2], args[3], args[4]) < 0
				? errno
				: 0;
	}
	return 0;
}

static bool is_refused(int err)
{
	return err == EPERM || err == ENOSYS;
}

static void test_calls(void **state)
{
	(void)state;
	if (!SANDBOX_FILTERS_CALLS)
		return;
	assert_int_equal(in_mount(make_all), 0);
	for (size_t i = 0; i < COUNT; i++)
		if (!is_refused(told_of[i]) && !(SANDBOX_SANITIZED && calls[i].sanitizers))
			fail_msg("%s: %s", calls[i].name, strerror(told_of[i]));
}

/* Otherwise the test above could not fail. A container may refuse some by itself, and an older kernel may not know some. */
static void test_calls_outside(void **state)
{
	size_t possible = 0;
	(void)state;
	assert_int_equal(in_none(make_all), 0);
	for (size_t i = 0; i < COUNT; i++)
		possible += !is_refused(told_of[i]);
	print_message("# %zu of %zu are possible without a sandbox\n", possible, COUNT);
	assert_true(possible >= COUNT / 2);
}

static int is_dumpable(void)
{
	return prctl(PR_GET_DUMPABLE);
}

static void test_memory_is_hidden(void **state)
{
	(void)state;
	assert_int_equal(in_mount(is_dumpable), 0);
	assert_int_equal(in_none(is_dumpable), 1);
}

/* --- Kernels that lack a part --- */

static void test_missing(void **state)
{
	static const char *const lines[8] = {
		"Landlock (files)",
		"Landlock (files)", /* not used: no renaming between directories */
		"Landlock ABI 3 (truncation), Landlock ABI 4 (TCP ports)",
		"Landlock ABI 4 (TCP ports)",
		"",
		"",
		"",
		"",
	};
	(void)state;
	for (int abi = 0; abi < 8; abi++) {
		_cleanup_str_ struct str missing = STR_INIT;
		struct sandbox_parts parts = {.calls = true};
		landlock_parts(abi, &parts);
		sandbox_tell_missing(&parts, &missing);
		assert_string_equal(str_cstr(&missing), lines[abi]);
	}
}

static void test_missing_without_filter(void **state)
{
	static const char *const lines[8] = {
		", Landlock (files)",
		", Landlock (files)",
		", Landlock ABI 3 (truncation), Landlock ABI 4 (TCP ports), Landlock ABI 6 (abstract sockets)",
		", Landlock ABI 4 (TCP ports), Landlock ABI 6 (abstract sockets)",
		", Landlock ABI 6 (abstract sockets)",
		", Landlock ABI 6 (abstract sockets)",
		"",
		"",
	};
	(void)state;
	for (int abi = 0; abi < 8; abi++) {
		_cleanup_str_ struct str missing = STR_INIT;
		struct sandbox_parts parts = {.calls = false};
		landlock_parts(abi, &parts);
		sandbox_tell_missing(&parts, &missing);
		assert_memory_equal(str_cstr(&missing), "seccomp (system calls", 21);
		assert_string_equal(strchr(str_cstr(&missing), ')') + 1, lines[abi]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_calls_outside),
		cmocka_unit_test(test_memory_is_hidden),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_missing_without_filter),
	};
	told_of = mmap(NULL, sizeof(int[COUNT]), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		-1, 0);
	if (told_of == MAP_FAILED)
		return 1;
	scene_begin();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	scene_end();
	return failed;
}
