/* SPDX-License-Identifier: MIT */
/*
 * mailfsctl pin and unpin. To pin is done at once; what follows is a download in the mount's own background, which is looked at until it
 * is done, or goes no further, or nobody wants to look any more. It goes on in any case.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl_link.h"
#include "ctl_mount.h"
#include "ctl_text.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"
#include "progress.h"

#define LOOK_MS     200
#define LOOK_MAX_MS 5000  /* where a look takes long */
#define STUCK_MS    10000 /* without a connection, or with nothing that goes on */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

/* --- What the paths are --- */

struct target {
	struct ctl_mount mount;
	struct ctl_link *link;
	bool done;
	uint64_t messages, missing, unlisted;
};

struct targets {
	struct target *items;
	size_t count;
	struct ctl_link *
		links; /* one for each mount; as many as there are targets, fd -1 where not needed */
};

static void targets_finish(struct targets *targets)
{
	for (size_t i = 0; i < targets->count; i++)
		ctl_mount_finish(&targets->items[i].mount);
	for (size_t i = 0; i < targets->count; i++)
		ctl_link_close(&targets->links[i]);
	free(targets->items);
	free(targets->links);
}

static int targets_init(struct targets *targets, size_t count)
{
	targets->items = calloc(count, sizeof(*targets->items));
	targets->links = calloc(count, sizeof(*targets->links));
	if (!targets->items || !targets->links)
		return -ENOMEM;
	targets->count = count;
	for (size_t i = 0; i < count; i++)
		targets->links[i].fd = -1;
	return 0;
}

/* The connection to that mount: one that is there already, or a new one. */
static int target_connect(struct targets *targets, struct target *target, struct str *why)
{
	size_t at = (size_t)(target - targets->items);
	for (size_t i = 0; i < at; i++) {
		const struct target *other = &targets->items[i];
		if (other->link && strcmp(other->mount.socket, target->mount.socket) == 0) {
			target->link = other->link;
			return CTL_EXIT_OK;
		}
	}
	target->link = &targets->links[at];
	return ctl_link_open(target->link, target->mount.socket, target->mount.root, why);
}

static int refuse_view(const struct target *target, const char *path, struct str *why)
{
	str_printf(why, "%s lies in a hidden view; name the message or folder itself, in %s/%s",
		path, target->mount.root, target->mount.path);
	return CTL_EXIT_FAILED;
}

static int target_find(
	struct targets *targets, struct target *target, const char *path, struct str *why)
{
	int code = ctl_mount_find(path, &target->mount, why);
	if (code == CTL_EXIT_OK && ctl_mount_leave_view(&target->mount))
		code = refuse_view(target, path, why);
	return code == CTL_EXIT_OK ? target_connect(targets, target, why) : code;
}

/* Says what cannot be seen from the success of an unpin: that it stays pinned all the same. */
static void note_pinned(const char *path)
{
	_cleanup_str_ struct str note = STR_INIT;
	str_printf(
		&note, "%s stays pinned: by its folder, or by the mount's option offline=", path);
	ctl_complain(0, &note);
}

/* Pins or unpins all paths; those that fail are said, and the others go on. */
static int order_all(struct targets *targets, const struct ctl_args *args, const char *command)
{
	int worst = CTL_EXIT_OK;
	for (size_t i = 0; i < targets->count; i++) {
		_cleanup_str_ struct str why = STR_INIT;
		struct target *target = &targets->items[i];
		json_t *answer = NULL;
		int code = target_find(targets, target, args->paths[i], &why);
		if (code == CTL_EXIT_OK)
			code = ctl_link_ask(
				target->link, command, target->mount.path, &answer, &why);
		if (code != CTL_EXIT_OK) {
			target->done = true;
			worst = ctl_complain(code < 0 ? CTL_EXIT_FAILED : code, &why);
		} else if (strcmp(command, "unpin") == 0 &&
			   json_is_true(json_object_get(answer, "pinned"))) {
			note_pinned(args->paths[i]);
		}
		json_decref(answer);
	}
	return worst;
}

/* --- How far it is --- */

struct look {
	uint64_t messages, missing, unlisted, jobs, bytes;
	bool offline, full, done;
	char trouble[400];
};

static uint64_t number_of(const json_t *answer, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(answer, key));
	return value > 0 ? (uint64_t)value : 0;
}

static void take_answer(struct target *target, const json_t *answer, struct look *look)
{
	const char *state = json_string_value(json_object_get(answer, "state"));
	const char *trouble = json_string_value(json_object_get(answer, "trouble"));
	target->messages = number_of(answer, "messages");
	target->missing = number_of(answer, "missing");
	target->unlisted = number_of(answer, "unlisted");
	target->done = target->missing == 0 && target->unlisted == 0;
	look->offline |= state && strcmp(state, "offline") == 0;
	look->full |= json_is_true(json_object_get(answer, "full"));
	look->jobs += number_of(answer, "jobs");
	look->bytes = number_of(answer, "bytes");
	if (trouble)
		snprintf(look->trouble, sizeof(look->trouble), "%s", trouble);
}

/* The exit code, or -EINTR. */
static int look_at_all(struct targets *targets, struct look *look, struct str *why)
{
	*look = (struct look){.done = true};
	for (size_t i = 0; i < targets->count; i++) {
		struct target *target = &targets->items[i];
		json_t *answer = NULL;
		int code = target->done ? CTL_EXIT_OK
		                        : ctl_link_ask(target->link, "progress", target->mount.path,
						  &answer, why);
		if (answer)
			take_answer(target, answer, look);
		json_decref(answer);
		if (code != CTL_EXIT_OK)
			return code;
		look->messages += target->messages;
		look->missing += target->missing;
		look->unlisted += target->unlisted;
		look->done = look->done && target->done;
	}
	return CTL_EXIT_OK;
}

/* --- The line on the terminal --- */

static const char erase[] = "\r\033[K";

static void put(const char *text, size_t len)
{
	ssize_t ignored = write(STDERR_FILENO, text, len);
	(void)ignored;
}

static void draw(const struct look *look, struct progress_rate *rate)
{
	struct winsize size;
	uint64_t per_second = progress_rate(rate, clock_now_ms(), look->bytes);
	_cleanup_str_ struct str line = STR_INIT;

	str_printf(&line, "%s%" PRIu64 " of %" PRIu64 " messages", erase,
		look->messages - look->missing, look->messages);
	if (per_second > 0) {
		str_append_cstr(&line, ", ");
		ctl_text_size(per_second, &line);
		str_append_cstr(&line, "/s");
	}
	if (look->unlisted > 0)
		str_printf(&line, ", %" PRIu64 " folders to be listed", look->unlisted);
	if (look->offline)
		str_append_cstr(&line, ", offline");
	/* The last column stays free: a terminal may go to the next line when it is written. */
	unsigned columns =
		ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
	str_truncate(&line, sizeof(erase) - 1 + columns - 1);
	put(str_cstr(&line), line.len);
}

/* --- Waiting --- */

struct wait {
	bool terminal;
	struct progress_rate rate;
	uint64_t left;     /* what was missing when it last became less, or more */
	int64_t moved_ms;  /* when that was, or a job was at work */
	int64_t online_ms; /* when there last was a connection */
};

/* Why it is no use to wait on; false: it may be. */
static bool is_stuck(struct wait *wait, const struct look *look, struct str *why)
{
	int64_t now_ms = clock_now_ms();
	if (look->missing + look->unlisted != wait->left || (look->jobs > 0 && !look->offline))
		wait->moved_ms = now_ms;
	wait->left = look->missing + look->unlisted;
	if (!look->offline)
		wait->online_ms = now_ms;
	if (now_ms - wait->online_ms >= STUCK_MS)
		str_printf(why,
			"pinned, but without a connection nothing is downloaded; it goes on when there is one (%s)",
			look->trouble);
	else if (now_ms - wait->moved_ms >= STUCK_MS)
		str_printf(why,
			"pinned, but %" PRIu64
			" messages could not be downloaded%s; `mailfsctl status' tells more",
			look->missing, look->full ? ", for the disk is full" : "");
	return why->len > 0;
}

static void pause_ms(int64_t took_ms)
{
	int64_t ms = took_ms * 5 > LOOK_MS ? took_ms * 5 : LOOK_MS;
	poll(NULL, 0, (int)(ms < LOOK_MAX_MS ? ms : LOOK_MAX_MS));
}

static int end_well(const struct look *look)
{
	printf("%" PRIu64 " message%s here\n", look->messages,
		look->messages == 1 ? " is" : "s are");
	return fflush(stdout) == 0 ? CTL_EXIT_OK : CTL_EXIT_FAILED;
}

/* As a program ends that does not know the signal, so that its caller knows. */
static int end_interrupted(void)
{
	_cleanup_str_ struct str note = STR_INIT;
	str_append_cstr(&note,
		"the download goes on; `mailfsctl status' shows how far it is, `mailfsctl unpin' ends it");
	ctl_complain(0, &note);
	signal(SIGINT, SIG_DFL);
	raise(SIGINT);
	return CTL_EXIT_FAILED;
}

/* Until all is here: CTL_EXIT_OK; -EINTR; else the exit code with its reason. */
static int wait_all(struct targets *targets, struct wait *wait, struct look *look, struct str *why)
{
	for (;;) {
		int64_t begin_ms = clock_now_ms();
		int code = look_at_all(targets, look, why);
		if (interrupted)
			return -EINTR;
		if (code != CTL_EXIT_OK || look->done)
			return code;
		if (is_stuck(wait, look, why))
			return CTL_EXIT_FAILED;
		if (wait->terminal)
			draw(look, &wait->rate);
		pause_ms(clock_now_ms() - begin_ms);
	}
}

static int watch_download(struct targets *targets)
{
	int64_t now_ms = clock_now_ms();
	struct wait wait = {
		.terminal = isatty(STDERR_FILENO), .moved_ms = now_ms, .online_ms = now_ms};
	struct sigaction action = {.sa_handler = on_interrupt};
	_cleanup_str_ struct str why = STR_INIT;
	struct look look;

	sigaction(SIGINT, &action, NULL);
	int code = wait_all(targets, &wait, &look, &why);
	if (wait.terminal)
		put(erase, sizeof(erase) - 1);
	if (code == -EINTR)
		return end_interrupted();
	return code == CTL_EXIT_OK ? end_well(&look) : ctl_complain(code, &why);
}

int ctl_pin(const struct ctl_args *args)
{
	__attribute__((cleanup(targets_finish))) struct targets targets = {0};
	bool any = false;

	if (targets_init(&targets, args->path_count) < 0)
		return CTL_EXIT_FAILED;
	int code = order_all(&targets, args, "pin");
	for (size_t i = 0; i < targets.count; i++)
		any |= !targets.items[i].done;
	if (args->no_wait || !any)
		return code;
	int waited = watch_download(&targets);
	return code == CTL_EXIT_OK ? waited : code;
}

int ctl_unpin(const struct ctl_args *args)
{
	__attribute__((cleanup(targets_finish))) struct targets targets = {0};

	if (targets_init(&targets, args->path_count) < 0)
		return CTL_EXIT_FAILED;
	return order_all(&targets, args, "unpin");
}
