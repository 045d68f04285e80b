/* SPDX-License-Identifier: MIT */
/*
 * The herald, at work in a directory that is no mount of ours: what it makes and where, whose
 * requests pass for its own, and what becomes of it when it is stopped or killed, or when the one
 * that started it is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "herald.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"
#include "oom.h"

/* The directories' inode numbers, as in a mount. */
static uint64_t node_root, node_sub;

int tree_directory_path(struct tree *tree, uint64_t node, struct str *out)
{
	(void)tree;
	if (node == node_sub)
		str_append_cstr(out, "sub dir/100%25");
	return node == node_root || node == node_sub ? str_error(out) : -ENOENT;
}

static int announce(
	struct fs_herald *herald, enum herald_kind kind, uint64_t parent, const char *name)
{
	return herald_announce(herald, &(struct herald_event){kind, parent, 77, name});
}

static int announce_new(struct fs_herald *herald, uint64_t parent, const char *name)
{
	return announce(herald, HERALD_FILE_NEW, parent, name);
}

struct scene {
	struct fs_herald *herald;
	char root[64];
};

static uint64_t device_of(const char *path)
{
	struct statx stx;
	assert_int_equal(statx(AT_FDCWD, path, 0, 0, &stx), 0);
	return herald_device(stx.stx_dev_major, stx.stx_dev_minor);
}

static uint64_t inode_of(const char *path)
{
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	return st.st_ino;
}

static void in_root(const struct scene *scene, const char *name, char *ret)
{
	snprintf(ret, PATH_MAX, "%s/%s", scene->root, name);
}

/* A herald that takes the directory for the mount. */
static void begin(struct scene *scene)
{
	char path[PATH_MAX];
	snprintf(scene->root, sizeof(scene->root), "/tmp/mailfs-herald-XXXXXX");
	assert_non_null(mkdtemp(scene->root));
	in_root(scene, "sub dir", path);
	assert_int_equal(mkdir(path, 0700), 0);
	in_root(scene, "sub dir/100%25", path);
	assert_int_equal(mkdir(path, 0700), 0);
	node_root = inode_of(scene->root);
	node_sub = inode_of(path);
	assert_int_equal(fs_herald_start(scene->root, true, &scene->herald), 0);
	scene->herald->device = device_of(scene->root);
	scene->herald->patience_ms = 60000;
	atomic_store(&scene->herald->there, true);
}

static void end(struct scene *scene)
{
	char command[100];
	pid_t pid = scene->herald->pid;
	fs_herald_stop(scene->herald);
	assert_int_equal(kill(pid, 0), -1); /* not even a zombie */
	snprintf(command, sizeof(command), "rm -r %s", scene->root);
	assert_int_equal(system(command), 0);
}

static bool exists(const struct scene *scene, const char *name)
{
	struct stat st;
	char path[PATH_MAX];
	in_root(scene, name, path);
	return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0;
}

/* The herald's state as in /proc/PID/stat; 0: there is no such process. */
static char state_of(pid_t pid)
{
	char path[64], state = 0;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *file = fopen(path, "r");
	if (!file)
		return 0;
	if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		state = 0;
	fclose(file);
	return state;
}

static void await_state(pid_t pid, const char *states)
{
	int64_t until = clock_now_ms() + 10000;
	for (char state = state_of(pid); !strchr(states, state); state = state_of(pid)) {
		assert_true(clock_now_ms() < until);
		usleep(1000);
	}
}

static void stop(const struct scene *scene)
{
	kill(scene->herald->pid, SIGSTOP);
	await_state(scene->herald->pid, "T");
}

/* --- What it makes --- */

static void makes_names(void **state)
{
	struct scene scene;
	(void)state;
	begin(&scene);
	for (int i = 0; i < 100; i++) {
		char name[20];
		snprintf(name, sizeof(name), "%d.eml", i);
		assert_true(herald_ready(scene.herald));
		announce_new(scene.herald, node_root, name);
		assert_true(exists(&scene, name));
	}
	announce_new(scene.herald, node_sub, "x y\xc3\xbc.eml");
	assert_true(exists(&scene, "sub dir/100%25/x y\xc3\xbc.eml"));
	assert_false(herald_is_late(scene.herald));
	end(&scene);
}

static bool is_directory(const struct scene *scene, const char *name)
{
	struct stat st;
	char path[PATH_MAX];
	in_root(scene, name, path);
	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void makes_and_takes_away(void **state)
{
	struct scene scene;
	(void)state;
	begin(&scene);
	struct fs_herald *herald = scene.herald;
	assert_int_equal(announce(herald, HERALD_DIRECTORY_NEW, node_sub, "dir"), 0);
	assert_true(is_directory(&scene, "sub dir/100%25/dir"));
	assert_int_equal(announce_new(herald, node_root, "1.eml"), 0);
	/* each kind takes away its own alone */
	assert_int_equal(announce(herald, HERALD_FILE_GONE, node_sub, "dir"), -EISDIR);
	assert_int_equal(announce(herald, HERALD_DIRECTORY_GONE, node_root, "1.eml"), -ENOTDIR);
	assert_true(exists(&scene, "1.eml") && is_directory(&scene, "sub dir/100%25/dir"));
	assert_int_equal(announce(herald, HERALD_FILE_GONE, node_root, "1.eml"), 0);
	assert_int_equal(announce(herald, HERALD_DIRECTORY_GONE, node_sub, "dir"), 0);
	assert_false(exists(&scene, "1.eml") || is_directory(&scene, "sub dir/100%25/dir"));
	assert_int_equal(announce(herald, HERALD_FILE_GONE, node_root, "1.eml"), -ENOENT);
	assert_int_equal(announce(herald, 17, node_root, "1.eml"), -EPROTO);
	end(&scene);
}

/* It was there, or the folder is gone: no harm. */
static void fails_without_harm(void **state)
{
	struct scene scene;
	char name[NAME_MAX + 2];
	(void)state;
	begin(&scene);
	announce_new(scene.herald, node_root, "1.eml");
	announce_new(scene.herald, node_root, "1.eml");
	announce_new(scene.herald, 3, "2.eml");
	memset(name, 'x', sizeof(name));
	name[NAME_MAX + 1] = 0;
	announce_new(scene.herald, node_root, name);
	name[NAME_MAX] = 0;
	announce_new(scene.herald, node_root, name);
	assert_true(exists(&scene, name));
	assert_true(herald_ready(scene.herald));
	end(&scene);
}

/* The mount has ended, and something else is in its place: no file is made there. */
static void stays_on_its_device(void **state)
{
	struct scene scene;
	(void)state;
	begin(&scene);
	assert_int_equal(announce_new(scene.herald, node_root, "1.eml"), 0);
	scene.herald->device++;
	assert_int_equal(announce_new(scene.herald, node_root, "2.eml"), -ENODEV);
	assert_int_equal(announce(scene.herald, HERALD_FILE_GONE, node_root, "1.eml"), -ENODEV);
	assert_false(exists(&scene, "2.eml"));
	/* the device's number is another's by now, and the directory is not the same */
	scene.herald->device--;
	char path[PATH_MAX], other[PATH_MAX];
	in_root(&scene, "sub dir/100%25", path);
	in_root(&scene, "sub dir/other", other);
	assert_int_equal(rename(path, other), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(announce_new(scene.herald, node_sub, "1.eml"), -ENODEV);
	assert_true(exists(&scene, "1.eml"));
	assert_true(herald_ready(scene.herald));
	end(&scene);
}

/* An order as no mount of ours sends it; what the herald says. */
static int32_t order_raw(
	struct scene *scene, const char *path, const char *node_of, const char *name, uint64_t kind)
{
	char buf[HERALD_ORDER_MAX];
	int32_t answer = 0;
	struct herald_order order = {
		.device = device_of(node_of), .directory = inode_of(node_of), .kind = kind};
	memcpy(buf, &order, sizeof(order));
	size_t len = sizeof(order);
	memcpy(buf + len, path, strlen(path) + 1);
	len += strlen(path) + 1;
	memcpy(buf + len, name, strlen(name) + 1);
	len += strlen(name) + 1;
	assert_int_equal(send(scene->herald->fd, buf, len, 0), (ssize_t)len);
	assert_int_equal(recv(scene->herald->fd, &answer, sizeof(answer), 0), sizeof(answer));
	return answer;
}

/* Who sends orders may be conquered: nothing is done that does not lie below the mount point. */
static void never_leaves_its_mount(void **state)
{
	struct scene scene;
	char other[] = "/tmp/mailfs-elsewhere-XXXXXX", path[PATH_MAX], link[PATH_MAX], up[PATH_MAX];
	(void)state;
	begin(&scene);
	assert_non_null(mkdtemp(other));
	in_root(&scene, "link", link);
	assert_int_equal(symlink(other, link), 0);
	snprintf(up, sizeof(up), "../%s", strrchr(other, '/') + 1);
	snprintf(path, sizeof(path), "%s/kept", other);
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));

	const char *const ways[] = {other, up, "link", "link/.", "sub dir/../link"};
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		assert_true(order_raw(&scene, ways[i], other, "made", HERALD_FILE_NEW) < 0);
		assert_true(order_raw(&scene, ways[i], other, "kept", HERALD_FILE_GONE) < 0);
	}
	snprintf(up, sizeof(up), "../%s/kept", strrchr(other, '/') + 1);
	assert_true(order_raw(&scene, ".", scene.root, up, HERALD_FILE_GONE) < 0);
	assert_true(order_raw(&scene, ".", scene.root, path, HERALD_FILE_GONE) < 0);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(order_raw(&scene, ".", scene.root, "made", HERALD_FILE_NEW), 0);

	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(other), 0);
	end(&scene);
}

static void attaches_to_mounts_alone(void **state)
{
	struct scene scene;
	(void)state;
	begin(&scene);
	atomic_store(&scene.herald->there, false);
	assert_int_equal(herald_attach(scene.herald, NULL, scene.root, 1), -ENODEV);
	assert_int_equal(herald_attach(scene.herald, NULL, "/nowhere", 1), -ENOENT);
	assert_false(herald_is_there(scene.herald));
	assert_int_equal(herald_attach(scene.herald, NULL, "/proc", 1), 0);
	assert_true(herald_is_there(scene.herald));
	assert_true(scene.herald->device == device_of("/proc"));
	end(&scene);
}

static void none_is_none(void **state)
{
	(void)state;
	assert_false(herald_is_there(NULL));
	assert_false(herald_is_late(NULL));
	assert_false(herald_ready(NULL));
	assert_false(herald_announces(NULL, 1, 1, "x", NULL));
	assert_int_equal(herald_attach(NULL, NULL, "/proc", 1), 0);
	herald_kill(NULL);
	fs_herald_stop(NULL);
}

/* --- Who it is --- */

static void only_its_own_requests(void **state)
{
	struct scene scene;
	(void)state;
	begin(&scene);
	struct herald_event event = {.name = NULL};
	pid_t pid = scene.herald->pid;
	assert_false(herald_announces(scene.herald, pid, node_root, "1.eml", &event));
	stop(&scene);
	announce_new(scene.herald, node_root, "1.eml");
	assert_true(herald_announces(scene.herald, pid, node_root, "1.eml", &event));
	assert_int_equal(event.kind, HERALD_FILE_NEW);
	assert_int_equal(event.node, 77);
	assert_string_equal(event.name, "1.eml");
	assert_false(herald_was_shown(scene.herald));
	herald_show(scene.herald);
	assert_true(herald_was_shown(scene.herald));
	assert_false(herald_announces(scene.herald, pid + 1, node_root, "1.eml", &event));
	assert_false(herald_announces(scene.herald, pid, node_sub, "1.eml", &event));
	assert_false(herald_announces(scene.herald, pid, node_root, "2.eml", &event));
	kill(pid, SIGCONT);
	while (!herald_ready(scene.herald))
		usleep(1000);
	assert_false(herald_announces(scene.herald, pid, node_root, "1.eml", &event));
	assert_true(exists(&scene, "1.eml"));
	stop(&scene);
	announce_new(scene.herald, node_root, "2.eml");
	assert_false(herald_was_shown(scene.herald)); /* that was another */
	end(&scene);
}

/* Not a descriptor of ours, not our terminal, not our directory. */
static void holds_nothing(void **state)
{
	struct scene scene;
	char path[64], cwd[2] = "";
	int kept[2], count = 0;
	(void)state;
	assert_int_equal(pipe(kept), 0);
	begin(&scene);
	announce_new(scene.herald, node_root, "1.eml"); /* it has settled */
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)scene.herald->pid);
	DIR *fds = opendir(path);
	assert_non_null(fds);
	while (readdir(fds))
		count++;
	closedir(fds);
	assert_int_equal(count, 2 + 4); /* . and .., three times /dev/null, and the socket */
	assert_int_equal(getsid(scene.herald->pid), scene.herald->pid);
	snprintf(path, sizeof(path), "/proc/%d/cwd", (int)scene.herald->pid);
	assert_int_equal(readlink(path, cwd, sizeof(cwd)), 1);
	assert_int_equal(cwd[0], '/');
	close(kept[0]);
	close(kept[1]);
	end(&scene);
}

/* --- Stopped, killed --- */

static void is_late_when_stopped(void **state)
{
	struct scene scene;
	(void)state;
	begin(&scene);
	stop(&scene);
	int64_t start = clock_now_ms();
	announce_new(scene.herald, node_root, "1.eml");
	int64_t took = clock_now_ms() - start;
	assert_true(took >= HERALD_ANSWER_MS - 10 && took < 5 * HERALD_ANSWER_MS);
	assert_true(herald_is_late(scene.herald));
	assert_false(herald_ready(scene.herald));
	kill(scene.herald->pid, SIGCONT);
	while (!herald_ready(scene.herald))
		usleep(1000);
	assert_false(herald_is_late(scene.herald));
	announce_new(scene.herald, node_root, "2.eml");
	assert_true(exists(&scene, "1.eml") && exists(&scene, "2.eml"));
	end(&scene);
}

static void is_given_up(void **state)
{
	struct scene scene;
	(void)state;
	begin(&scene);
	scene.herald->patience_ms = HERALD_ANSWER_MS + 50;
	stop(&scene);
	announce_new(scene.herald, node_root, "1.eml");
	assert_true(herald_is_late(scene.herald));
	usleep(100000);
	assert_false(herald_ready(scene.herald));
	assert_false(herald_is_there(scene.herald));
	await_state(scene.herald->pid, "Z");
	end(&scene);
}

static void its_end_is_noticed(void **state)
{
	struct scene scene;
	(void)state;
	begin(&scene);
	kill(scene.herald->pid, SIGKILL);
	await_state(scene.herald->pid, "Z");
	assert_true(herald_ready(scene.herald)); /* nobody knows yet */
	announce_new(scene.herald, node_root, "1.eml");
	assert_false(herald_is_there(scene.herald));
	assert_false(herald_ready(scene.herald));
	end(&scene);
	begin(&scene);
	stop(&scene);
	herald_kill(scene.herald);
	herald_kill(scene.herald);
	await_state(scene.herald->pid, "Z");
	end(&scene);
}

/* Killed, so that it can say goodbye to nobody. */
static void ends_with_its_starter(void **state)
{
	struct scene scene;
	int ends[2], status;
	pid_t pid;
	(void)state;
	prctl(PR_SET_CHILD_SUBREAPER, 1); /* the orphan is ours */
	assert_int_equal(pipe(ends), 0);
	pid_t starter = fork();
	if (starter == 0) {
		begin(&scene);
		announce_new(scene.herald, node_root, "1.eml");
		if (write(ends[1], &scene, sizeof(scene)) < 0 ||
			write(ends[1], &scene.herald->pid, sizeof(pid)) < 0)
			_exit(1);
		pause();
	}
	assert_int_equal(read(ends[0], &scene, sizeof(scene)), sizeof(scene));
	assert_int_equal(read(ends[0], &pid, sizeof(pid)), sizeof(pid));
	kill(starter, SIGKILL);
	assert_int_equal(waitpid(starter, &status, 0), starter);
	await_state(pid, "Z");
	assert_int_equal(waitpid(pid, &status, 0), pid);
	char command[100];
	snprintf(command, sizeof(command), "rm -r %s", scene.root);
	assert_int_equal(system(command), 0);
	close(ends[0]);
	close(ends[1]);
}

/* It is asked for nothing, or makes what it was asked for; and is not taken for late. */
static int try_announce(void *arg, unsigned long nth, bool forever)
{
	static unsigned count;
	const struct scene *scene = arg;
	char name[40];
	snprintf(name, sizeof(name), "sub dir/100%%25/%u.eml", count++);
	oom_arm(nth, forever);
	int r = announce_new(scene->herald, node_sub, strrchr(name, '/') + 1);
	oom_disarm();
	assert_int_equal(exists(scene, name), r == 0);
	assert_true(herald_is_there(scene->herald) && !herald_is_late(scene->herald));
	return r;
}

static int try_start(void *arg, unsigned long nth, bool forever)
{
	struct fs_herald *herald = NULL;
	oom_arm(nth, forever);
	int r = fs_herald_start(arg, false, &herald);
	oom_disarm();
	assert_int_equal(herald != NULL, r == 0);
	fs_herald_stop(herald);
	return r;
}

static void without_memory(void **state)
{
	struct scene scene;
	(void)state;
	begin(&scene);
	oom_each("an announcement", try_announce, &scene);
	oom_each("a herald's start", try_start, scene.root);
	end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_names),
		cmocka_unit_test(makes_and_takes_away),
		cmocka_unit_test(fails_without_harm),
		cmocka_unit_test(stays_on_its_device),
		cmocka_unit_test(never_leaves_its_mount),
		cmocka_unit_test(attaches_to_mounts_alone),
		cmocka_unit_test(none_is_none),
		cmocka_unit_test(only_its_own_requests),
		cmocka_unit_test(holds_nothing),
		cmocka_unit_test(is_late_when_stopped),
		cmocka_unit_test(is_given_up),
		cmocka_unit_test(its_end_is_noticed),
		cmocka_unit_test(ends_with_its_starter),
		cmocka_unit_test(without_memory),
	};
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
