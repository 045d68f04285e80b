/* SPDX-License-Identifier: MIT */
/* mailfsctl watch: a line for each event, as soon as it is known, until the mount ends or nobody reads on. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl_link.h"
#include "ctl_mount.h"
#include "ctl_text.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"

/* How often, and how long apart, it is looked whether the mount has ended. */
#define END_LOOKS    10
#define END_PAUSE_MS 50

/* 0, -EPIPE: nobody reads it, -ENOMEM: nothing was printed. Each line goes out at once, into pipes too. */
static int print(const struct ctl_args *args, const json_t *event, bool terminal)
{
	_cleanup_str_ struct str line = STR_INIT;
	/* On a terminal nothing but ASCII, for names can hold what a terminal acts upon. */
	size_t flags = terminal ? JSON_COMPACT | JSON_ENSURE_ASCII : JSON_COMPACT;
	if (args->json) {
		_cleanup_free_ char *text = json_dumps(event, flags);
		if (!text)
			return -ENOMEM;
		str_append_cstr(&line, text);
		str_putc(&line, '\n');
	} else {
		ctl_text_event(event, terminal, &line);
	}
	if (str_error(&line) < 0)
		return -ENOMEM;
	fwrite(str_cstr(&line), 1, line.len, stdout);
	return fflush(stdout) == 0 ? 0 : -EPIPE;
}

static int fail(const char *root, const char *what, int code)
{
	_cleanup_str_ struct str why = STR_INIT;
	str_printf(&why, "%s: %s", root, what);
	return ctl_complain(code, &why);
}

static int fail_lost(const char *root)
{
	return fail(root,
		"events came faster than they were read, and some are lost; look at the folders anew, and watch again",
		CTL_EXIT_FAILED);
}

/* The connection is over: with the mount, or because it could not wait any longer for us. */
static int end(const struct ctl_mount *mount)
{
	/* A process that is being killed still takes connections for a moment. */
	for (int i = 0; i < END_LOOKS; i++) {
		__attribute__((cleanup(ctl_link_close))) struct ctl_link again = CTL_LINK_INIT;
		_cleanup_str_ struct str why = STR_INIT;
		if (ctl_link_open(&again, mount->socket, mount->root, &why) != CTL_EXIT_OK)
			return fail(mount->root, "the mount has ended", CTL_EXIT_OK);
		usleep(END_PAUSE_MS * 1000);
	}
	return fail_lost(mount->root);
}

static int follow(const struct ctl_args *args, struct ctl_link *link, const struct ctl_mount *mount)
{
	bool terminal = isatty(STDOUT_FILENO);
	const char *line;
	int r;

	while ((r = ctl_link_line(link, CLOCK_NEVER, STDOUT_FILENO, &line)) == 0) {
		json_t *event = json_loads(line, 0, NULL);
		const char *kind = json_string_value(json_object_get(event, "event"));
		bool overflow = kind && strcmp(kind, "overflow") == 0;
		r = kind ? print(args, event, terminal) : 0;
		json_decref(event);
		if (r == -ENOMEM)
			return fail(mount->root, strerror(ENOMEM), CTL_EXIT_FAILED);
		if (overflow)
			return fail_lost(mount->root);
		if (r < 0)
			return CTL_EXIT_OK;
	}
	if (r == -EPIPE)
		return end(mount);
	return r == -ENOTCONN ? CTL_EXIT_OK : fail(mount->root, strerror(-r), CTL_EXIT_FAILED);
}

int ctl_watch(const struct ctl_args *args)
{
	__attribute__((cleanup(ctl_mount_finish))) struct ctl_mount mount = {0};
	__attribute__((cleanup(ctl_link_close))) struct ctl_link link = CTL_LINK_INIT;
	_cleanup_str_ struct str why = STR_INIT;

	int code = ctl_mount_find(args->paths[0], &mount, &why);
	if (code == CTL_EXIT_OK) {
		ctl_mount_leave_view(&mount);
		code = ctl_link_open(&link, mount.socket, mount.root, &why);
	}
	if (code == CTL_EXIT_OK)
		code = ctl_link_ask(&link, "watch", mount.path, NULL, &why);
	return code == CTL_EXIT_OK ? follow(args, &link, &mount) : ctl_complain(code, &why);
}
