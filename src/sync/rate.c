/* SPDX-License-Identifier: MIT */
/*
 * The meter applied to an account: which sessions are measured, which are deflated, and when. A session is deflated right after it was connected,
 * or between two calls; it can not be made plain again, so where deflate turns out to be the limit it is replaced, before a call
 * that may carry much. Nobody who waits for a small message pays for either.
 *
 * A server that fails at COMPRESS, or sends what can not be inflated, is not asked again in this mount.
 */
#include "private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"
#include "mailfs/util/quirk.h"

#define FACT "link.rate"
/* Bytes a second; what is more was not written by us. */
#define RATE_MAX UINT64_C(1000000000000)
/* A session unused for longer may be dead: what tries it has a time-out for that, and it is not this. */
#define FRESH_MS 60000
/* A call that brought so much is one of somebody who takes much. */
#define CARRIES_BYTES (1024 * 1024)
#define FAILURES_MAX  2
/* COMPRESS is not asked for in less time than this; when a short one has passed in vain, not for so long. */
#define ATTEMPT_MIN_MS 200
#define PUT_OFF_MS     60000

/* --- What is known --- */

void rate_load(struct sync_account *account)
{
	_cleanup_str_ struct str text = STR_INIT;
	if (store_fact_get(account->store, FACT, &text) < 0)
		return;
	uint64_t bytes_s = strtoull(str_cstr(&text), NULL, 10);
	if (bytes_s > RATE_MAX)
		return;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	account->rate.kept_bytes_s = bytes_s;
	rate_meter_begin(&account->rate.meter, bytes_s);
}

uint64_t rate_bytes_s(struct sync_account *account)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	return account->rate.meter.line_bytes_s;
}

void rate_forget(struct sync_account *account)
{
	rate_meter_forget(&account->rate.meter);
}

/* Whether it is so much another than what is stored that it is to be kept. Lock held. */
static bool is_news(const struct rate *rate)
{
	uint64_t now = rate->meter.line_bytes_s, kept = rate->kept_bytes_s;
	return now && (now > kept + kept / 4 || now < kept - kept / 4);
}

static void keep(struct sync_account *account)
{
	char text[24];
	pthread_mutex_lock(&account->lock);
	uint64_t bytes_s = account->rate.meter.line_bytes_s;
	bool news = is_news(&account->rate);
	if (news)
		account->rate.kept_bytes_s = bytes_s;
	pthread_mutex_unlock(&account->lock);
	if (!news)
		return;
	int len = snprintf(text, sizeof(text), "%llu", (unsigned long long)bytes_s);
	(void)store_fact_put(account->store, FACT, text, (size_t)len);
}

/* --- Measuring --- */

static void add_flow(const struct sync_account *account, const struct source_session *session,
	struct rate_totals *totals)
{
	struct source_flow flow;
	uint64_t in, out;
	link_traffic(account, session, &in, &out);
	account->source->ops->flow(session, &flow);
	totals->wire_bytes += in;
	totals->content_bytes += flow.content_bytes;
	totals->waited_us += flow.waited_us;
}

/* Sums over the workers; since when the longest call runs (CLOCK_NEVER: none does). Lock held. */
static int64_t total(const struct sync_account *account, struct rate_totals *ret)
{
	int64_t longest_ms = CLOCK_NEVER;
	*ret = (struct rate_totals){0};
	for (unsigned i = 0; i < account->connections; i++) {
		const struct worker *worker = &account->workers[i];
		if (worker->session)
			add_flow(account, worker->session, ret);
		if (worker->call_ms && worker->call_ms < longest_ms)
			longest_ms = worker->call_ms;
	}
	return longest_ms;
}

static void say(const struct sync_account *account, enum rate_verdict before)
{
	const struct rate_meter *meter = &account->rate.meter;
	if (meter->verdict != before)
		log_debug("%s: the line gives %llu kB/s: %s", account->name,
			(unsigned long long)meter->line_bytes_s / 1000,
			meter->verdict == RATE_DEFLATE ? "deflated" : "plain");
}

void rate_call_begin(struct worker *worker)
{
	struct sync_account *account = worker->account;
	struct rate_totals totals;
	if (!account->source->ops->flow)
		return;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	bool first = total(account, &totals) == CLOCK_NEVER;
	uint64_t out;
	link_traffic(account, worker->session, &worker->call_bytes, &out);
	worker->call_ms = clock_now_ms();
	if (first)
		rate_meter_open(&account->rate.meter, worker->call_ms, &totals);
}

/* ends: the worker's call has. Lock held. */
static void look(struct worker *worker, bool ends)
{
	struct sync_account *account = worker->account;
	struct rate_meter *meter = &account->rate.meter;
	enum rate_verdict before = meter->verdict;
	struct rate_totals totals;
	if (!worker->call_ms)
		return;
	int64_t longest_ms = total(account, &totals);
	bool last = false;
	if (ends) {
		struct rate_totals ignored;
		worker->call_ms = 0;
		last = total(account, &ignored) == CLOCK_NEVER;
	}
	rate_meter_look(meter, clock_now_ms(), &totals, longest_ms, last);
	say(account, before);
}

/* Lock held. */
static void note_call(struct worker *worker)
{
	uint64_t in, out;
	link_traffic(worker->account, worker->session, &in, &out);
	worker->carries = in - worker->call_bytes >= CARRIES_BYTES;
	if (worker->call_ms && in != worker->call_bytes)
		rate_meter_trip(&worker->account->rate.meter, clock_now_ms() - worker->call_ms);
}

void rate_call_end(struct worker *worker)
{
	struct sync_account *account = worker->account;
	pthread_mutex_lock(&account->lock);
	note_call(worker);
	look(worker, true);
	bool news = is_news(&account->rate);
	pthread_mutex_unlock(&account->lock);
	if (news)
		keep(account);
}

/* --- Deflating --- */

/* Lock held. */
static bool is_wanted(const struct sync_account *account)
{
	const struct rate *rate = &account->rate;
	if (rate->refused || !account->source->ops->compress)
		return false;
	return rate->mode == SYNC_COMPRESS_ON ||
	       (rate->mode == SYNC_COMPRESS_AUTO && rate->meter.verdict == RATE_DEFLATE);
}

static bool is_possible(const struct sync_account *account, const struct source_session *session)
{
	const struct source_ops *ops = account->source->ops;
	return ops->abilities && ops->abilities(session) & SOURCE_CAN_COMPRESS;
}

static bool is_deflated(const struct sync_account *account, const struct source_session *session)
{
	struct source_flow flow = {0};
	if (account->source->ops->flow)
		account->source->ops->flow(session, &flow);
	return flow.deflated;
}

/*
 * One lost connection may be the network's fault. That it took longer than a connection had time for, as one with a short timeout= has, says
 * nothing of the server: the line may be slow, which is what deflate is for.
 */
static void note_attempt(
	struct sync_account *account, int limit_ms, int err, const struct source_error *error)
{
	struct rate *rate = &account->rate;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	if (err == 0)
		rate->failures = 0;
	else if (err == -ETIMEDOUT && limit_ms < account->link.sign_ms)
		rate->put_off_ms = clock_now_ms() + PUT_OFF_MS;
	else if (error->scope < SOURCE_SCOPE_ACCOUNT)
		rate->refused = true;
	else if (error->scope != SOURCE_SCOPE_CANCELLED && ++rate->failures == FAILURES_MAX)
		rate->refused = true;
	if (err < 0 && rate->refused)
		quirk_seen(QUIRK_COMPRESS_REFUSED);
}

/* An error: the session is lost. */
static int compress_session(struct sync_account *account, struct source_session *session,
	int limit_ms, struct source_error *error)
{
	const struct source_ops *ops = account->source->ops;
	*error = (struct source_error){.err = -EIO};
	ops->set_timeout(session, limit_ms);
	int err = ops->compress(session, error);
	note_attempt(account, limit_ms, err, error);
	if (err < 0 && error->scope >= SOURCE_SCOPE_ACCOUNT)
		return err;
	ops->set_timeout(session, account->timeout_ms);
	if (err == 0)
		log_debug("%s: a connection is deflated", account->name);
	return 0;
}

/* Half of the time that is left at most: so there is some for another connection, without it. */
static int attempt_ms(const struct sync_account *account, int64_t deadline_ms)
{
	int64_t half_ms = (deadline_ms - clock_now_ms()) / 2;
	if (half_ms < 0)
		half_ms = 0;
	return half_ms < account->link.sign_ms ? (int)half_ms : account->link.sign_ms;
}

static bool wants(struct sync_account *account, const struct source_session *session, int limit_ms)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	bool hasty = limit_ms < account->link.sign_ms;
	if (limit_ms < ATTEMPT_MIN_MS || (hasty && clock_now_ms() < account->rate.put_off_ms))
		return false;
	return is_wanted(account) && is_possible(account, session);
}

int rate_connect(struct sync_account *account, int64_t deadline_ms, struct source_session **ret,
	struct source_error *error)
{
	const struct source_ops *ops = account->source->ops;
	for (;;) {
		int err = ops->connect(account->source, deadline_ms, ret, error);
		if (err < 0)
			return err;
		ops->set_timeout(*ret, account->timeout_ms);
		/* When it has failed twice, or once for want of time, it is not wanted any more. */
		int limit_ms = attempt_ms(account, deadline_ms);
		if (!wants(account, *ret, limit_ms) ||
			compress_session(account, *ret, limit_ms, error) == 0)
			return 0;
		ops->disconnect(*ret, false);
		if (error->scope == SOURCE_SCOPE_CANCELLED)
			return error->err;
	}
}

/* Whether what comes next may carry much: it is no answer to somebody who waits for a few bytes, or the last one was no such. Lock held. */
static bool is_bulky(const struct worker *worker)
{
	return worker->class != JOB_DEMAND || worker->carries;
}

/* Lock held. */
static bool is_due(const struct worker *worker)
{
	const struct sync_account *account = worker->account;
	return worker->session && is_bulky(worker) && is_wanted(account) &&
	       is_possible(account, worker->session);
}

/* Lock held. */
static bool is_outdated(const struct worker *worker)
{
	const struct rate *rate = &worker->account->rate;
	return worker->session && is_bulky(worker) && rate->mode == SYNC_COMPRESS_AUTO &&
	       rate->meter.verdict == RATE_PLAIN && is_deflated(worker->account, worker->session);
}

bool rate_due(struct worker *worker)
{
	struct sync_account *account = worker->account;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	look(worker, false);
	return is_due(worker) || is_outdated(worker);
}

bool rate_renews(struct worker *worker)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&worker->account->lock);
	return is_outdated(worker);
}

int rate_tune(struct worker *worker, struct source_error *error)
{
	struct sync_account *account = worker->account;
	pthread_mutex_lock(&account->lock);
	bool due = is_due(worker) && clock_now_ms() - worker->used_ms < FRESH_MS;
	pthread_mutex_unlock(&account->lock);
	/* Who waits for the call that comes next has timeout_ms. */
	int limit_ms = attempt_ms(account, clock_now_ms() + account->timeout_ms);
	return due && wants(account, worker->session, limit_ms)
	               ? compress_session(account, worker->session, limit_ms, error)
	               : 0;
}

void rate_lost(struct worker *worker, const struct source_error *error)
{
	struct sync_account *account = worker->account;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	if (!worker->session || error->cause != SOURCE_CAUSE_PROTOCOL ||
		!is_deflated(account, worker->session) || account->rate.refused)
		return;
	account->rate.refused = true;
	quirk_seen(QUIRK_COMPRESS_REFUSED);
	log_info("%s: COMPRESS=DEFLATE is not used any more: %s", account->name, error->text);
}
