/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAILED   250
#define SOMEBODY 65534

struct scene scene;

int told(long result)
{
	return result < 0 ? errno : 0;
}

const char *at(const char *directory, const char *name)
{
	static char paths[4][160];
	static unsigned next;
	char *path = paths[next++ % 4];
	snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
	return path;
}

static void make(char *path, size_t size, const char *name)
{
	snprintf(path, size, "%s/%s", scene.root, name);
	mkdir(path, 0700);
	int fd = open(at(path, "file"), O_WRONLY | O_CREAT, 0600);
	if (write(fd, "text\n", 5) < 0)
		perror("write");
	close(fd);
}

static int listen_on(struct sockaddr *address, socklen_t len)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, address, len) < 0 || listen(fd, 10) < 0)
		perror("listen");
	return fd;
}

static int listen_tcp(int *ret_port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = listen_on((struct sockaddr *)&address, len);
	getsockname(fd, (struct sockaddr *)&address, &len);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static int listen_abstract(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int len = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "mailfs-test-%d",
		(int)getpid());
	return listen_on((struct sockaddr *)&address,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len));
}

static pid_t start_sleeper(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		alarm(60);
		for (;;)
			pause();
	}
	return pid;
}

void scene_begin(void)
{
	snprintf(scene.root, sizeof(scene.root), "/tmp/mailfs-sandbox-XXXXXX");
	if (!mkdtemp(scene.root))
		perror("mkdtemp");
	make(scene.store, sizeof(scene.store), "store");
	make(scene.shown, sizeof(scene.shown), "shown");
	make(scene.sockets, sizeof(scene.sockets), "sockets");
	make(scene.outside, sizeof(scene.outside), "outside");
	mkdir(at(scene.store, "a"), 0700);
	mkdir(at(scene.store, "b"), 0700);
	mkdir(at(scene.shown, "closed"), 0700);
	close(open(at(scene.shown, "closed/file"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	close(open(at(scene.store, "foreign"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	if (geteuid() == 0 && (chown(at(scene.shown, "closed"), SOMEBODY, SOMEBODY) < 0 ||
				      chown(at(scene.store, "foreign"), SOMEBODY, SOMEBODY) < 0))
		perror("chown");
	scene.listener[0] = listen_tcp(&scene.port);
	scene.listener[1] = listen_tcp(&scene.other);
	scene.abstract = listen_abstract();
	scene.killable = start_sleeper();
	scene.bystander = start_sleeper();
}

static void end_sleeper(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

void scene_end(void)
{
	char command[128];
	end_sleeper(scene.killable);
	end_sleeper(scene.bystander);
	close(scene.listener[0]);
	close(scene.listener[1]);
	close(scene.abstract);
	snprintf(command, sizeof(command), "rm -rf %s", scene.root);
	if (system(command) != 0)
		fprintf(stderr, "%s: not removed\n", scene.root);
}

static int enter_none(struct sandbox_parts *parts)
{
	*parts = (struct sandbox_parts){0};
	return 0;
}

static int enter(struct sandbox_parts *parts, bool foreign)
{
	const struct sandbox_path paths[] = {
		{scene.store, SANDBOX_CHANGE},
		{scene.shown, SANDBOX_READ},
		{scene.sockets, SANDBOX_REMOVE},
		{"/dev/null", SANDBOX_DEVICE},
		{"/there/is/no/such/path", SANDBOX_CHANGE},
	};
	const struct sandbox_mount params = {.paths = paths,
		.path_count = sizeof(paths) / sizeof(*paths),
		.port = (uint16_t)scene.port,
		.foreign = foreign,
		.killable = scene.killable};
	struct str missing = STR_INIT;
	sandbox_prepare();
	int r = sandbox_enter_mount(&params, parts, &missing);
	if (missing.len > 0)
		fprintf(stderr, "# this kernel lacks: %s\n", missing.data);
	str_finish(&missing);
	return r;
}

static int enter_mount(struct sandbox_parts *parts)
{
	return enter(parts, false);
}

static int enter_mount_foreign(struct sandbox_parts *parts)
{
	return enter(parts, true);
}

/* The child's answer: parts, then what attempt gave, on a pipe, because the exit code is too small and a sanitizer's. */
struct outcome {
	struct sandbox_parts parts;
	int result;
};

static int run(
	int (*begin)(struct sandbox_parts *), attempt_fn *attempt, struct sandbox_parts *ret_parts)
{
	struct outcome outcome = {.result = FAILED};
	int ends[2], status;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return FAILED;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		alarm(30);
		scene.client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		outcome.result = begin(&outcome.parts) < 0 ? FAILED : attempt();
		_exit(write(ends[1], &outcome, sizeof(outcome)) < 0);
	}
	close(ends[1]);
	if (read(ends[0], &outcome, sizeof(outcome)) != sizeof(outcome))
		outcome.result = FAILED + 1;
	close(ends[0]);
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		fprintf(stderr, "# the child was killed by signal %d\n", WTERMSIG(status));
	if (ret_parts)
		*ret_parts = outcome.parts;
	return outcome.result;
}

static int nothing(void)
{
	return 0;
}

struct sandbox_parts parts_here(void)
{
	struct sandbox_parts parts;
	run(enter_mount, nothing, &parts);
	return parts;
}

int in_mount(attempt_fn *attempt)
{
	return run(enter_mount, attempt, NULL);
}

int in_mount_foreign(attempt_fn *attempt)
{
	return run(enter_mount_foreign, attempt, NULL);
}

int in_herald(attempt_fn *attempt)
{
	return run(sandbox_enter_herald, attempt, NULL);
}

int in_none(attempt_fn *attempt)
{
	return run(enter_none, attempt, NULL);
}
