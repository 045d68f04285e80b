/* SPDX-License-Identifier: MIT */
/*
 * The sandbox of a mount, rule by rule: what is refused works outside, so that a refusal is the sandbox's; what a mount does, works inside.
 * Each attempt is made in a child of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/capability.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"
#include "private.h"

static struct sandbox_parts parts;

static int try_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

/* --- Files --- */

static int store_is_used(void)
{
	int r = try_open(at(scene.store, "new"), O_RDWR | O_CREAT);
	if (r == 0)
		r = told(truncate(at(scene.store, "new"), 0));
	if (r == ENOSYS) /* by descriptor only */
		r = 0;
	if (r == 0)
		r = told(rename(at(scene.store, "new"), at(scene.store, "a/new")));
	if (r == 0)
		r = told(rename(at(scene.store, "a/new"), at(scene.store, "b/other")));
	if (r == 0)
		r = told(unlink(at(scene.store, "b/other")));
	if (r == 0)
		r = told(mkdir(at(scene.store, "c"), 0700));
	if (r == 0)
		r = told(rmdir(at(scene.store, "c")));
	return r;
}

/* A file without a name, as what does not stay in memory is put into. */
static int store_has_scratch(void)
{
	char c = 'x';
	int fd = open(scene.store, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	bool done = pwrite(fd, &c, 1, 4096) == 1 && pread(fd, &c, 1, 4096) == 1;
	return done ? 0 : errno;
}

static int store_is_synced(void)
{
	int fd = open(at(scene.store, "file"), O_RDWR | O_CLOEXEC);
	int r = fd < 0 ? errno : 0;
	if (r == 0)
		r = told(ftruncate(fd, 100));
	if (r == 0)
		r = told(fallocate(fd, 0, 0, 100));
	if (r == 0)
		r = told(fsync(fd));
	if (r == 0)
		r = told(fchmod(fd, 0600));
	if (r == 0)
		r = told(flock(fd, LOCK_EX | LOCK_NB));
	return r;
}

static int shown_is_read(void)
{
	return try_open(at(scene.shown, "file"), O_RDONLY);
}

static int null_is_used(void)
{
	return try_open("/dev/null", O_RDWR);
}

static int socket_is_removed(void)
{
	return told(unlink(at(scene.sockets, "file")));
}

static int outside_is_looked_at(void)
{
	struct stat st;
	return told(stat(at(scene.outside, "file"), &st));
}

static int outside_is_read(void)
{
	return try_open(at(scene.outside, "file"), O_RDONLY);
}

static int outside_is_listed(void)
{
	return try_open(scene.outside, O_RDONLY | O_DIRECTORY);
}

static int outside_is_written(void)
{
	return try_open(at(scene.outside, "file"), O_WRONLY);
}

static int outside_is_made(void)
{
	return try_open(at(scene.outside, "new"), O_WRONLY | O_CREAT);
}

static int outside_is_removed(void)
{
	return told(unlink(at(scene.outside, "file")));
}

static int outside_mode_is_changed(void)
{
	return told(chmod(at(scene.outside, "file"), 0666));
}

static int outside_time_is_changed(void)
{
	return told(utimensat(AT_FDCWD, at(scene.outside, "file"), NULL, 0));
}

static int outside_by_way_of_store(void)
{
	return try_open(at(scene.store, "../outside/file"), O_RDONLY);
}

static int moved_out(void)
{
	return told(rename(at(scene.store, "file"), at(scene.outside, "taken")));
}

static int linked_in(void)
{
	return told(link(at(scene.outside, "file"), at(scene.store, "linked")));
}

static int link_is_made(void)
{
	return told(symlink("/etc/passwd", at(scene.store, "symbolic")));
}

static int shown_is_written(void)
{
	return try_open(at(scene.shown, "file"), O_WRONLY);
}

static int sockets_is_read(void)
{
	return try_open(at(scene.sockets, "file"), O_RDONLY);
}

static int passwd_is_read(void)
{
	return try_open("/etc/passwd", O_RDONLY);
}

static int own_memory_is_opened(void)
{
	return try_open("/proc/self/mem", O_RDWR);
}

/* --- The network --- */

static int connect_to(int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	if (fd < 0)
		return errno;
	return told(connect(fd, (struct sockaddr *)&address, sizeof(address)));
}

static int account_is_reached(void)
{
	return connect_to(scene.port);
}

static int other_is_reached(void)
{
	return connect_to(scene.other);
}

static int other_is_reached_fast(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)scene.other)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	return told(sendto(fd, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, (struct sockaddr *)&address,
		sizeof(address)));
}

static int try_socket(int family, int type, int protocol)
{
	int fd = socket(family, type | SOCK_CLOEXEC, protocol);
	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int datagrams(void)
{
	return try_socket(AF_INET, SOCK_DGRAM, 0);
}

static int local_sockets(void)
{
	return try_socket(AF_UNIX, SOCK_STREAM, 0);
}

static int local_datagrams(void)
{
	return try_socket(AF_UNIX, SOCK_DGRAM, 0);
}

static int local_pairs(void)
{
	int ends[2];
	return told(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends));
}

static int routing_messages(void)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (fd < 0)
		return errno;
	return told(bind(fd, (struct sockaddr *)&address, sizeof(address)));
}

static int other_netlink(void)
{
	return try_socket(AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT);
}

static int binds(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	return told(bind(fd, (struct sockaddr *)&address, sizeof(address)));
}

static int listens(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return fd < 0 ? errno : told(listen(fd, 1));
}

/* With a socket that was left open from before. */
static int abstract_is_reached(void)
{
	struct sockaddr_un address;
	socklen_t len = sizeof(address);
	if (getsockname(scene.abstract, (struct sockaddr *)&address, &len) < 0)
		return errno;
	return told(connect(scene.client, (struct sockaddr *)&address, len));
}

/* --- Processes --- */

static int starts_program(void)
{
	char name[] = "true", *args[] = {name, NULL};
	execv("/bin/true", args);
	return errno;
}

static int forks(void)
{
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0)
		_exit(0);
	return told(pid);
}

static int unshares(void)
{
	return told(unshare(CLONE_NEWUSER));
}

static int clones_into_namespace(void)
{
	/* Flags of a thread, and one more. Nothing is cloned: the stack is missing, which the kernel sees later. */
	long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
	             CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID |
	             CLONE_NEWNET;
	return told(syscall(SYS_clone, flags, NULL, NULL, NULL, NULL));
}

static int new_clone(void)
{
	return told(syscall(435, NULL, (size_t)0));
}

static int traces(void)
{
	return told(ptrace(PTRACE_SEIZE, scene.killable, NULL, NULL));
}

static int reads_others(void)
{
	char byte;
	struct iovec here = {&byte, 1}, there = {&scene, 1};
	return told(process_vm_readv(scene.killable, &here, 1, &there, 1, 0));
}

static int ends_herald(void)
{
	return told(kill(scene.killable, SIGCONT));
}

static int ends_bystander(void)
{
	return told(kill(scene.bystander, SIGCONT));
}

static int raises(void)
{
	signal(SIGUSR1, SIG_IGN);
	return raise(SIGUSR1) == 0 ? 0 : errno;
}

static int mounts(void)
{
	return told(mount("none", scene.outside, "tmpfs", 0, NULL));
}

static int takes_limit(void)
{
	struct rlimit limit;
	return told(getrlimit(RLIMIT_NOFILE, &limit));
}

static int sets_limit(void)
{
	struct rlimit limit = {10, 10};
	return told(setrlimit(RLIMIT_NOFILE, &limit));
}

static int gets_privileges(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	if (syscall(SYS_capget, &header, data) == 0)
		return data[0].permitted & ~31U || data[1].permitted ? 0 : EPERM;
	/* It can not even ask. */
	return errno;
}

/* --- What root gives up --- */

static int closed_is_read(void)
{
	return try_open(at(scene.shown, "closed/file"), O_RDONLY);
}

static int foreign_is_read(void)
{
	return try_open(at(scene.store, "foreign"), O_RDONLY);
}

static int foreign_is_written(void)
{
	return try_open(at(scene.store, "foreign"), O_WRONLY);
}

static int foreign_mode_is_changed(void)
{
	int fd = open(at(scene.store, "foreign"), O_RDONLY | O_CLOEXEC);
	return fd < 0 ? errno : told(fchmod(fd, 0666));
}

static int own_is_given_away(void)
{
	int fd = open(at(scene.store, "file"), O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? errno : told(fchown(fd, 65534, (gid_t)-1));
	/* As it was, for those that come after. */
	return r == 0 ? told(fchown(fd, geteuid(), (gid_t)-1)) : r;
}

/* --- Memory --- */

static int runs_memory(void)
{
	void *page = mmap(
		NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return page == MAP_FAILED ? errno : 0;
}

static int makes_memory_run(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return page == MAP_FAILED ? 0 : told(mprotect(page, 4096, PROT_READ | PROT_EXEC));
}

static int uses_memory(void)
{
	char *page =
		mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return errno;
	page[0] = 1;
	return told(mprotect(page, 4096, PROT_NONE));
}

static int types_at_terminal(void)
{
	/* What is no terminal says ENOTTY where the call is let through. */
	return told(ioctl(scene.listener[0], TIOCSTI, "x"));
}

/* As the C library's isatty() does, the older and the newer one; and how wide it is, and whose. */
static int asks_terminal(void)
{
	static const unsigned long questions[] = {TIOCGWINSZ, TIOCGPGRP, TCGETS,
#ifdef TCGETS2
		TCGETS2
#endif
	};
	char answer[64];
	for (size_t i = 0; i < sizeof(questions) / sizeof(*questions); i++) {
		int r = told(ioctl(scene.listener[0], questions[i], answer));
		if (r != ENOTTY)
			return r ? r : EINVAL;
	}
	return 0;
}

/* --- Threads --- */

static void *sees_sandbox(void *arg)
{
	bool free =
		(parts.files && outside_is_written() == 0) || (parts.calls && local_sockets() == 0);
	*(int *)arg = free ? 0 : EACCES;
	return NULL;
}

static void *waits(void *arg)
{
	while (pause() < 0)
		;
	return arg;
}

/* One that begins afterwards is in it; one can be ended, as libfuse ends its own. */
static int threads(void)
{
	pthread_t thread;
	int seen = 0, r = pthread_create(&thread, NULL, sees_sandbox, &seen);
	if (r == 0)
		r = pthread_join(thread, NULL);
	if (r != 0 || seen != EACCES)
		return r ? r : EPERM;
	r = pthread_create(&thread, NULL, waits, NULL);
	if (r == 0)
		r = pthread_cancel(thread);
	return r ? r : pthread_join(thread, NULL);
}

static int waits_for_events(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	int epoll = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(1, EFD_CLOEXEC);
	int timer = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC);
	if (epoll < 0 || fd < 0 || timer < 0)
		return errno;
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		return errno;
	return epoll_wait(epoll, &event, 1, 1000) == 1 ? 0 : errno;
}

static int tells_time(void)
{
	time_t now = time(NULL);
	struct tm tm;
	return localtime_r(&now, &tm) ? 0 : EINVAL;
}

/* --- All of it --- */

struct attempt {
	const char *name;
	attempt_fn *fn;
};
#define ATTEMPT(fn)                                                                                \
	{                                                                                          \
#fn, fn                                                                            \
	}

static void assert_allowed(const struct attempt *attempts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int r = in_mount(attempts[i].fn);
		if (r != 0)
			fail_msg("%s: %s", attempts[i].name, strerror(r));
	}
}

/* Which errno it is, is of no account, but that there is one. */
static void assert_refused(const struct attempt *attempts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int r = in_mount(attempts[i].fn);
		if (r == 0 || r >= 250)
			fail_msg("%s: %d", attempts[i].name, r);
	}
}
#define ASSERT(what, attempts) assert_##what(attempts, sizeof(attempts) / sizeof(*(attempts)))

/* Those that would work without a sandbox: the test can fail. */
static void assert_possible(const struct attempt *attempts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int r = in_none(attempts[i].fn);
		if (r != 0)
			fail_msg("%s: %s, without a sandbox", attempts[i].name, strerror(r));
	}
}

static void test_parts(void **state)
{
	(void)state;
	/* All kernels that tests run on have it. */
	assert_int_equal(parts.calls, SANDBOX_FILTERS_CALLS);
	if (!parts.files)
		print_message("# no Landlock\n");
}

static void test_work_goes_on(void **state)
{
	static const struct attempt attempts[] = {ATTEMPT(store_is_used),
		ATTEMPT(store_has_scratch), ATTEMPT(store_is_synced), ATTEMPT(shown_is_read),
		ATTEMPT(null_is_used), ATTEMPT(outside_is_looked_at), ATTEMPT(account_is_reached),
		ATTEMPT(routing_messages), ATTEMPT(ends_herald), ATTEMPT(raises),
		ATTEMPT(takes_limit), ATTEMPT(uses_memory), ATTEMPT(asks_terminal),
		ATTEMPT(threads), ATTEMPT(waits_for_events), ATTEMPT(tells_time)};
	(void)state;
	ASSERT(allowed, attempts);
}

static void test_socket_is_removed(void **state)
{
	(void)state;
	assert_int_equal(in_mount(socket_is_removed), 0);
}

static void test_files(void **state)
{
	static const struct attempt refused[] = {ATTEMPT(outside_is_written),
		ATTEMPT(outside_is_made), ATTEMPT(moved_out), ATTEMPT(linked_in),
		ATTEMPT(link_is_made), ATTEMPT(shown_is_written), ATTEMPT(own_memory_is_opened)};
	static const struct attempt marked[] = {
		ATTEMPT(outside_mode_is_changed), ATTEMPT(outside_time_is_changed)};
	static const struct attempt read[] = {ATTEMPT(outside_is_read), ATTEMPT(outside_is_listed),
		ATTEMPT(outside_by_way_of_store), ATTEMPT(sockets_is_read),
		ATTEMPT(passwd_is_read)};
	(void)state;
	if (parts.calls)
		ASSERT(refused, marked);
	ASSERT(possible, marked);
	if (!parts.files)
		return;
	ASSERT(refused, refused);
	/* Reports of sanitizers name functions and lines. */
	if (!SANDBOX_SANITIZED)
		ASSERT(refused, read);
	ASSERT(possible, read);
	const struct attempt removed = ATTEMPT(outside_is_removed);
	assert_refused(&removed, 1);
	assert_possible(&removed, 1);
}

static void test_network(void **state)
{
	static const struct attempt calls[] = {ATTEMPT(other_is_reached_fast), ATTEMPT(datagrams),
		ATTEMPT(local_sockets), ATTEMPT(local_datagrams), ATTEMPT(local_pairs),
		ATTEMPT(other_netlink), ATTEMPT(listens)};
	static const struct attempt ports[] = {ATTEMPT(other_is_reached), ATTEMPT(binds)};
	const struct attempt abstract = ATTEMPT(abstract_is_reached);
	(void)state;
	if (parts.calls)
		ASSERT(refused, calls);
	ASSERT(possible, calls);
	ASSERT(possible, ports);
	if (parts.ports)
		ASSERT(refused, ports);
	if (parts.scopes)
		assert_refused(&abstract, 1);
	assert_possible(&abstract, 1);
}

static void test_processes(void **state)
{
	static const struct attempt always[] = {ATTEMPT(starts_program), ATTEMPT(unshares),
		ATTEMPT(new_clone), ATTEMPT(reads_others), ATTEMPT(ends_bystander), ATTEMPT(mounts),
		ATTEMPT(sets_limit), ATTEMPT(gets_privileges)};
	static const struct attempt plainly[] = {
		ATTEMPT(forks), ATTEMPT(clones_into_namespace), ATTEMPT(traces)};
	(void)state;
	if (parts.calls)
		ASSERT(refused, always);
	if (parts.calls && !SANDBOX_SANITIZED)
		ASSERT(refused, plainly);
	assert_int_equal(in_none(forks), 0);
	assert_int_equal(in_none(ends_bystander), 0);
	assert_int_equal(in_none(sets_limit), 0);
}

/* It reads what another user has closed, and neither writes nor changes it. */
static void test_root(void **state)
{
	static const struct attempt read[] = {ATTEMPT(closed_is_read), ATTEMPT(foreign_is_read)};
	static const struct attempt changed[] = {ATTEMPT(foreign_is_written),
		ATTEMPT(foreign_mode_is_changed), ATTEMPT(own_is_given_away)};
	(void)state;
	if (geteuid() != 0)
		return;
	ASSERT(allowed, read);
	ASSERT(refused, changed);
	ASSERT(possible, changed);
	/* But where all of the store is that user's. */
	assert_int_equal(in_mount_foreign(foreign_is_written), 0);
	assert_int_equal(in_mount_foreign(foreign_mode_is_changed), 0);
	assert_int_equal(in_mount_foreign(own_is_given_away), EPERM);
}

static void test_memory(void **state)
{
	static const struct attempt attempts[] = {ATTEMPT(runs_memory), ATTEMPT(makes_memory_run)};
	(void)state;
	ASSERT(possible, attempts);
	if (!parts.calls)
		return;
	ASSERT(refused, attempts);
	assert_int_not_equal(in_mount(types_at_terminal), ENOTTY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_work_goes_on),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_socket_is_removed),
		cmocka_unit_test(test_network),
		cmocka_unit_test(test_processes),
		cmocka_unit_test(test_root),
		cmocka_unit_test(test_memory),
	};
	scene_begin();
	parts = parts_here();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	scene_end();
	return failed;
}
