/* SPDX-License-Identifier: MIT */
/*
 * When a maildrop is looked at, and what is said about it. The first look belongs to the start: in the caller's thread, or, in the
 * background, on the intake's own, and then the start waits for the list only. Later looks are poll's.
 *
 * A failure is said once, when it begins or its reason changes, with the age of what is here instead; a first mount that has
 * nothing to show fails.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "intake.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/hash.h"
#include "mailfs/util/log.h"
#include "mailfs/util/thread.h"

#define MINUTE_S 60
#define HOUR_S   3600
#define DAY_S    86400

/* --- What look.c asks for --- */

bool intake_use_session(struct intake *intake, struct maildrop_session *session)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&intake->drop->account->lock);
	intake->session = session;
	return !intake->stopping;
}

void intake_listed(struct intake *intake)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&intake->drop->account->lock);
	intake->listed = true;
	pthread_cond_broadcast(&intake->changed);
}

/* --- What is said --- */

/* What has been said already is not said again. */
static void complain(struct intake *intake, struct complaint *complaint, const struct str *text)
{
	if (strcmp(str_cstr(text), complaint->text) == 0)
		return;
	snprintf(complaint->text, sizeof(complaint->text), "%s", str_cstr(text));
	log_warning("%s: %s", intake->drop->account->name, complaint->text);
}

static void append_ago(struct str *out, int64_t seconds)
{
	static const struct {
		int64_t least, unit;
		const char *name;
	} units[] = {{2 * DAY_S, DAY_S, "days"}, {2 * HOUR_S, HOUR_S, "hours"},
		{2 * MINUTE_S, MINUTE_S, "minutes"}};
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (seconds >= units[i].least) {
			str_printf(out, ", %lld %s ago", (long long)(seconds / units[i].unit),
				units[i].name);
			return;
		}
}

/* How old it is what is here, and how much is missing. */
static void append_age(struct intake *intake, struct str *out)
{
	struct drop *drop = intake->drop;
	struct store_spool_state state = {0};
	struct tm tm;
	char when[32];
	store_spool_state_get(drop->account->store, drop->serve.number, &state);
	time_t complete = (time_t)state.complete_s;
	if (state.complete_s && localtime_r(&complete, &tm) &&
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M", &tm) > 0) {
		str_printf(out, "shown is what is here, as of %s", when);
		append_ago(out, clock_wall_s() - state.complete_s);
	} else {
		str_append_cstr(out, "shown is what is here, which was never all");
	}
	if (state.missing)
		str_printf(out, "; %llu message%s missing", (unsigned long long)state.missing,
			state.missing == 1 ? " is" : "s are");
}

/* How much of the account's name is said before a text that may begin with the server's already. */
static int name_shown(const char *name, const char *text)
{
	const char *at = strrchr(name, '@');
	size_t host_len = at ? strcspn(at + 1, ":") : 0;
	bool twice = host_len > 0 && strncasecmp(at + 1, text, host_len) == 0;
	return (int)(twice ? (size_t)(at - name) : strlen(name));
}

/* A look failed, and what is here is shown. */
static void say_failed(struct intake *intake, const struct source_error *error)
{
	_cleanup_str_ struct str age = STR_INIT;
	if (strcmp(intake->failed.text, error->text) == 0)
		return;
	snprintf(intake->failed.text, sizeof(intake->failed.text), "%s", error->text);
	append_age(intake, &age);
	/* A server's words may end in a full stop. */
	size_t len = strlen(error->text);
	while (len > 0 && error->text[len - 1] == '.')
		len--;
	log_warning("%.*s: %.*s; %s", name_shown(intake->drop->account->name, error->text),
		intake->drop->account->name, (int)len, error->text, str_cstr(&age));
}

static void say_unlisted(struct intake *intake, const struct look_report *report)
{
	_cleanup_str_ struct str text = STR_INIT;
	if (!report->unlisted) {
		intake->unlisted.text[0] = 0;
		return;
	}
	str_printf(&text,
		"the server's answers contradict each other: it says that it has %llu messages, and lists %llu; what it does not list can not be downloaded, and is asked for again at the next look",
		(unsigned long long)(report->total + report->unlisted),
		(unsigned long long)report->total);
	complain(intake, &intake->unlisted, &text);
}

static void say_refused(struct intake *intake, const struct look_report *report)
{
	_cleanup_str_ struct str text = STR_INIT;
	intake->refused.text[0] = report->refused ? intake->refused.text[0] : 0;
	intake->unswept.text[0] = report->unswept ? intake->unswept.text[0] : 0;
	str_printf(&text,
		"the server refuses %llu of %llu messages, which are tried again at the next look: %s",
		(unsigned long long)report->refused, (unsigned long long)report->total,
		report->refused_words);
	if (report->refused)
		complain(intake, &intake->refused, &text);
	str_reset(&text);
	str_printf(&text,
		"not all that was downloaded could be deleted on the server, which is tried again at the next look: %s",
		report->unswept_words);
	if (report->unswept)
		complain(intake, &intake->unswept, &text);
}

static void say_well(struct intake *intake, const struct look_report *report)
{
	const char *name = intake->drop->account->name;
	if (intake->failed.text[0])
		log_info("%s: the server can be looked at again", name);
	intake->failed.text[0] = 0;
	if (report->stored)
		log_info("%s: %llu new messages", name, (unsigned long long)report->stored);
	say_unlisted(intake, report);
	say_refused(intake, report);
}

/* --- The first look --- */

/* What the next mount will do better: for the one line of an error. */
static void append_resume(const struct look_report *report, struct source_error *error)
{
	size_t used = strlen(error->text);
	if (report->stored)
		snprintf(error->text + used, sizeof(error->text) - used,
			"; %llu of %llu messages were stored, and the next mount goes on from there",
			(unsigned long long)report->stored, (unsigned long long)report->total);
}

/* An empty directory would say that there is no mail. */
static int all_refused(const struct look_report *report, struct source_error *error)
{
	char all[40] = "";
	if (report->total > 1)
		snprintf(all, sizeof(all), "all %llu messages", (unsigned long long)report->total);
	return session_fail(error, SOURCE_SCOPE_ACCOUNT, -EIO, "the server refuses %s: %s",
		report->total > 1 ? all : "the only message", report->refused_words);
}

/* 0 also when it failed and there is something to show; that is said then. */
static int look_first(struct intake *intake, struct source_error *error)
{
	const struct drop *drop = intake->drop;
	bool alone = !intake->had_before && !drop->params.background;
	struct look_report report;
	int err = look_run(intake, true, &report, error);
	intake->login_delay_s = report.login_delay_s;
	if (err == 0 && alone && report.total > 0 && report.refused == report.total)
		return all_refused(&report, error);
	if (err == 0) {
		say_well(intake, &report);
		return 0;
	}
	if (error->scope == SOURCE_SCOPE_CANCELLED)
		return err;
	/* In the background the mount is there already once the list was. */
	if (!intake->had_before && !(drop->params.background && report.listed)) {
		append_resume(&report, error);
		return err;
	}
	say_failed(intake, error);
	return 0;
}

static void first_ended(struct intake *intake, int err, const struct source_error *error)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&intake->drop->account->lock);
	intake->ended = true;
	intake->first_err = err;
	intake->first_error = *error;
	pthread_cond_broadcast(&intake->changed);
}

/* --- Later looks --- */

/* The interval, ±5 %, so that a thousand of us do not come at once; never less than the server wants. */
static int64_t poll_ms(const struct intake *intake)
{
	int64_t ms = intake->drop->params.poll_s * INT64_C(1000);
	int64_t least_ms = intake->login_delay_s * INT64_C(1000);
	uint64_t seed = (uint64_t)clock_now_ms() ^ (uint64_t)(uintptr_t)intake;
	int64_t jitter = (int64_t)(hash64_finish(seed) % 1001) - 500;
	ms += ms * jitter / 10000;
	return ms > least_ms ? ms : least_ms;
}

static void look_later(struct intake *intake)
{
	struct look_report report;
	struct source_error error;
	int err = look_run(intake, false, &report, &error);
	/* What an attempt that never reached the server did not hear still holds. */
	if (report.login_delay_s)
		intake->login_delay_s = report.login_delay_s;
	if (err == 0)
		say_well(intake, &report);
	else if (error.scope != SOURCE_SCOPE_CANCELLED)
		say_failed(intake, &error);
}

static void *intake_main(void *arg)
{
	struct intake *intake = arg;
	const struct sync_drop_params *params = &intake->drop->params;
	if (params->background) {
		struct source_error error;
		int err = look_first(intake, &error);
		first_ended(intake, err, &error);
		if (err < 0)
			return NULL;
	}
	while (params->poll_s && !intake_pause(intake, poll_ms(intake)))
		look_later(intake);
	return NULL;
}

/* --- For account.c --- */

int intake_create(struct drop *drop)
{
	struct intake *intake = calloc(1, sizeof(*intake));
	if (!intake)
		return -ENOMEM;
	intake->drop = drop;
	cond_init_monotonic(&intake->changed);
	drop->intake = intake;
	return 0;
}

void intake_destroy(struct drop *drop)
{
	if (!drop->intake)
		return;
	intake_stop(drop);
	pthread_cond_destroy(&drop->intake->changed);
	free(steal_ptr(drop->intake));
}

static int start_thread(struct intake *intake, struct source_error *error)
{
	int err = thread_start(&intake->thread, intake_main, intake);
	intake->thread_started = err == 0;
	return err ? session_fail(error, SOURCE_SCOPE_ACCOUNT, -EIO,
			     "threads can not be started: %s", strerror(-err))
	           : 0;
}

/* Whether an earlier run has left something to show. */
static int look_back(struct intake *intake, struct source_error *error)
{
	struct drop *drop = intake->drop;
	struct store *store = drop->account->store;
	struct store_spool_state state = {0};
	uint64_t messages = 0, unseen;
	/* What a crash has left takes room, no more; on a full disk it stays. */
	(void)store_spool_clean(store, drop->serve.number);
	int err = store_spool_state_get(store, drop->serve.number, &state);
	if (err == 0)
		err = store_folder_count(store, drop->serve.number, &messages, &unseen);
	intake->had_before = messages > 0 || state.complete_s != 0;
	return err < 0 ? session_fail(error, SOURCE_SCOPE_ACCOUNT, -EIO,
				 "the store can not be used: %s", strerror(-err))
	               : 0;
}

/* Waits for the list, or for the end of a look that came to none. */
static int wait_listed(struct intake *intake, struct source_error *error)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&intake->drop->account->lock);
	while (!intake->listed && !intake->ended)
		pthread_cond_wait(&intake->changed, &intake->drop->account->lock);
	if (intake->listed)
		return 0;
	*error = intake->first_error;
	return intake->first_err;
}

int intake_start(struct drop *drop, struct source_error *error)
{
	struct intake *intake = drop->intake;
	int err = look_back(intake, error);
	if (err < 0)
		return err;
	if (!drop->params.background) {
		err = look_first(intake, error);
		return err == 0 && drop->params.poll_s ? start_thread(intake, error) : err;
	}
	err = start_thread(intake, error);
	return err < 0 ? err : wait_listed(intake, error);
}

void intake_stop(struct drop *drop)
{
	struct intake *intake = drop->intake;
	pthread_mutex_lock(&drop->account->lock);
	intake->stopping = true;
	if (intake->session)
		drop->params.maildrop->ops->cancel(intake->session);
	pthread_cond_broadcast(&intake->changed);
	pthread_mutex_unlock(&drop->account->lock);
	if (intake->thread_started)
		pthread_join(intake->thread, NULL);
	intake->thread_started = false;
	/* Nothing was ever expected of one that was not started. */
	if (drop->serve.folder)
		drop_expect_nothing(drop, -EIO);
}
