/* SPDX-License-Identifier: MIT */
/*
 * What a mount can still reach when it reads the first byte of its server: its store, the authorities that certificates are
 * verified with, one TCP port, and the place from which it removes its socket at the end. Config file, password file and tls_ca=FILE have been read by
 * then and are never read again, so they are not among it. All else the helper does (helper.h).
 */
#include "shelter.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "helper.h"
#include "mailfs/control.h"
#include "mailfs/mime.h"
#include "mailfs/net.h"
#include "mailfs/sandbox.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/log.h"

/* --- The helper's jobs, in a process of its own each --- */

static void job_resolve(void *arg, int fd)
{
	const struct session *session = arg;
	struct net_answer answer;

	net_look_up(session->settings->url.host, session->settings->port, &answer);
	ssize_t ignored = write(fd, &answer, sizeof(answer));
	(void)ignored;
}

static int job_mount(void *arg, struct str *why)
{
	const struct session *session = arg;
	struct fs_params params = shelter_mount_params(session);

	return fs_mount_apart(&params, session->mountpoint, why);
}

static void job_unmount(void *arg)
{
	const struct session *session = arg;

	fs_unmount_apart(session->mountpoint);
}

int shelter_start_helper(struct session *session)
{
	static struct helper_jobs jobs = {
		.resolve = job_resolve, .mount = job_mount, .unmount = job_unmount};

	jobs.arg = session;
	jobs.token_command = session->settings->options.token_command;
	return helper_start(&jobs, &session->helper);
}

/* --- Mounting --- */

static int order_mount(void *helper, struct str *why)
{
	return helper_mount(helper, why);
}

static void order_unmount(void *helper)
{
	helper_unmount(helper);
}

struct fs_params shelter_mount_params(const struct session *session)
{
	const struct settings *settings = session->settings;
	struct fs_params params = {
		.fsname = settings->fsname,
		.allow_other = settings->options.allow_other,
		.readonly = settings->options.readonly,
		.debug = settings->options.debug,
	};

	if (session->helper) {
		params.mount = order_mount;
		params.unmount = order_unmount;
		params.mount_arg = session->helper;
	}
	return params;
}

/* --- The sandbox --- */

#define PATHS_MAX 256

struct paths {
	struct sandbox_path list[PATHS_MAX];
	size_t count, left_out;
};

static void paths_finish(struct paths *paths)
{
	for (size_t i = 0; i < paths->count; i++)
		free((char *)paths->list[i].path);
}

/* Each once. What is too much is left out, and can not be read then, which is said. */
static void add_path(struct paths *paths, const char *path, enum sandbox_access access)
{
	for (size_t i = 0; i < paths->count; i++)
		if (strcmp(paths->list[i].path, path) == 0 && paths->list[i].access == access)
			return;
	char *copy = paths->count < PATHS_MAX ? strdup(path) : NULL;
	if (copy)
		paths->list[paths->count++] = (struct sandbox_path){copy, access};
	else
		paths->left_out++;
}

static void add_trusted(void *arg, const char *path)
{
	add_path(arg, path, SANDBOX_READ);
}

/* A cache may be (store.h). */
static bool is_foreign(const char *directory)
{
	struct stat st;

	return stat(directory, &st) == 0 && st.st_uid != geteuid();
}

int shelter_enter(struct session *session, struct str *why)
{
	_cleanup_(paths_finish) struct paths paths = {.count = 0};
	_cleanup_str_ struct str missing = STR_INIT;
	struct sandbox_mount params = {.paths = paths.list,
		.port = session->settings->port,
		.foreign = is_foreign(session->store_directory),
		.killable = fs_herald_pid(session->herald)};

	add_path(&paths, session->store_directory, SANDBOX_CHANGE);
	add_path(&paths, "/dev/null", SANDBOX_DEVICE);
	add_path(&paths, "/dev/urandom", SANDBOX_READ); /* SQLite asks there */
	if (session->place)
		add_path(&paths, control_place_directory(session->place), SANDBOX_REMOVE);
	net_context_trust_paths(session->net, add_trusted, &paths);
	params.path_count = paths.count;
	if (paths.left_out > 0)
		log_warning(
			"the sandbox: %zu certificates of authorities, to which links lead, can not be read; a single file of all of them can (tls_ca=FILE)",
			paths.left_out);
	mime_charsets_load();
	int r = sandbox_enter_mount(&params, NULL, &missing);
	if (r < 0) {
		str_printf(why, "the sandbox can not be entered (-o sandbox=off does without): %s",
			strerror(-r));
		return r;
	}
	if (missing.len > 0)
		log_warning("the sandbox has holes, because this system lacks: %s", missing.data);
	return 0;
}
