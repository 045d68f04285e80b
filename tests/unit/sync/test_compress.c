/* SPDX-License-Identifier: MIT */
/* Which sessions are deflated, and when; servers that refuse, or fail at it; what is measured, kept and forgotten. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake_private.h"
#include "fixture.h"
#include "mailfs/store.h"
#include "mailfs/util/quirk.h"
#include "private.h"

#define LEN 5000

/* The source in memory, which can also compress, and whose bodies take time and bytes as a line's would. */
static struct source_ops ops;
static int (*plain_body)(struct source_session *, uint32_t, const char *, uint64_t, uint64_t,
	uint64_t, struct str *, struct source_error *);
static struct script {
	int refuse;     /* refused, the session goes on */
	int delay_ms;   /* until compress() is answered */
	int lose;       /* so many calls of compress() lose the connection; -1: all */
	int damage;     /* so many calls of body() on deflated sessions find damage */
	unsigned asked; /* calls of compress() */
	unsigned deflated_bodies, bodies;
	int body_ms;         /* each body() takes so long, waiting, … */
	uint64_t body_bytes; /* … and so much comes over the wire */
} script;

static int lose(struct source_session *session, enum source_cause cause, struct source_error *error)
{
	fake_die(session, error);
	error->cause = cause;
	return fake_leave(session, -EIO);
}

static int compress_session(struct source_session *session, struct source_error *error)
{
	int err = fake_enter(session, false, error);
	if (err < 0)
		return err;
	script.asked++;
	if (session->timeout_ms < script.delay_ms) {
		fake_die(session, error);
		return fake_leave(session, error->err = -ETIMEDOUT);
	}
	if (script.lose != 0) {
		script.lose -= script.lose > 0;
		return lose(session, SOURCE_CAUSE_CONNECT, error);
	}
	if (script.refuse) {
		session->unable |= SOURCE_CAN_COMPRESS;
		return fake_leave(session, fake_fail(error, SOURCE_SCOPE_MESSAGE,
						   SOURCE_CAUSE_OTHER, -EOPNOTSUPP, "no"));
	}
	session->deflated = true;
	session->unable |= SOURCE_CAN_COMPRESS;
	return fake_leave(session, 0);
}

static void flow(const struct source_session *session, struct source_flow *ret)
{
	pthread_mutex_lock(&session->fake->lock);
	*ret = (struct source_flow){
		.content_bytes = session->received * (session->deflated ? 3 : 1),
		.waited_us = session->waited_us,
		.deflated = session->deflated};
	pthread_mutex_unlock(&session->fake->lock);
}

static int body(struct source_session *session, uint32_t uid, const char *section, uint64_t offset,
	uint64_t length, uint64_t limit_bytes, struct str *out, struct source_error *error)
{
	sleep_ms(script.body_ms);
	pthread_mutex_lock(&session->fake->lock);
	session->received += script.body_bytes;
	session->waited_us += (uint64_t)script.body_ms * 1000;
	script.bodies++;
	script.deflated_bodies += session->deflated;
	bool damaged = session->deflated && script.damage > 0;
	script.damage -= damaged;
	pthread_mutex_unlock(&session->fake->lock);
	if (damaged && fake_enter(session, true, error) == 0)
		return lose(session, SOURCE_CAUSE_PROTOCOL, error);
	return plain_body(session, uid, section, offset, length, limit_bytes, out, error);
}

static int setup(void **state)
{
	script = (struct script){0};
	quirk_forget();
	int r = fixture_setup(state);
	struct fixture *f = *state;
	ops = *f->fake.base.ops;
	plain_body = ops.body;
	ops.compress = compress_session;
	ops.flow = flow;
	ops.body = body;
	f->fake.base.ops = &ops;
	f->fake.abilities = SOURCE_CAN_COMPRESS;
	return r;
}

static struct sync_folder *start(struct fixture *f, const char *data)
{
	if (f->fake.mailbox_count == 0) {
		struct fake_mailbox *inbox = fake_mailbox_add(&f->fake, "INBOX", 77);
		for (uint32_t uid = 1; uid <= 20; uid++)
			fake_message_add(inbox, uid, data, LEN);
	}
	fixture_start(f);
	return fixture_inbox(f);
}

static void read_message(struct sync_folder *folder, uint32_t uid, const char *data)
{
	struct sync_body *found;
	char out[LEN + 1];
	assert_int_equal(sync_body_open(folder, uid, "", NULL, LEN, &found), 0);
	assert_int_equal(body_read_all(found, out, sizeof(out)), LEN);
	assert_memory_equal(out, data, LEN);
	sync_body_close(found);
}

static unsigned compressed(struct fixture *f)
{
	struct sync_status status;
	sync_account_status(f->account, &status);
	assert_true(status.compressed <= status.connections);
	return status.compressed;
}

static void assert_quirk(struct fixture *f, bool has)
{
	_cleanup_str_ struct str says = STR_INIT, quirks = STR_INIT;
	sync_account_describe(f->account, &says, &quirks);
	assert_int_equal(strstr(str_cstr(&quirks), "compress-refused") != NULL, has);
}

static void put_rate(struct fixture *f, const char *text)
{
	struct str why = STR_INIT;
	assert_int_equal(store_open(f->directory, STORE_CACHE, &f->store, &why), 0);
	assert_int_equal(store_fact_put(f->store, "link.rate", text, strlen(text)), 0);
}

static uint64_t kept_rate(struct fixture *f)
{
	_cleanup_str_ struct str text = STR_INIT;
	return store_fact_get(f->store, "link.rate", &text) < 0
	               ? 0
	               : strtoull(str_cstr(&text), NULL, 10);
}

/* --- Who is deflated --- */

static void test_unknown(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	struct sync_folder *folder = start(f, data);
	read_message(folder, 1, data);
	assert_int_equal(script.asked, 0);
	assert_true(rate_bytes_s(f->account) == 0);
	assert_int_equal(kept_rate(f), 0);
}

static void test_on(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	f->params.compress = SYNC_COMPRESS_ON;
	struct sync_folder *folder = start(f, data);
	read_message(folder, 1, data);
	assert_int_equal(script.asked, fake_counts(&f->fake).connects);
	assert_int_equal(script.deflated_bodies, script.bodies);
	assert_true(compressed(f) >= 1);
	assert_int_equal(fake_counts(&f->fake).misuse, 0);
	assert_quirk(f, false);
}

static void test_off(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	put_rate(f, "1000000");
	f->params.compress = SYNC_COMPRESS_OFF;
	struct sync_folder *folder = start(f, data);
	read_message(folder, 1, data);
	assert_int_equal(script.asked, 0);
}

/* Not announced: not asked. */
static void test_unable(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	f->fake.abilities = 0;
	f->params.compress = SYNC_COMPRESS_ON;
	read_message(start(f, data), 1, data);
	assert_int_equal(script.asked, 0);
	assert_quirk(f, false);
}

static void test_what_was_kept(void **state)
{
	static const struct {
		const char *text;
		bool deflated;
	} facts[] = {{"6000000", true}, {"125000000", false}, {"", false}, {"nonsense", false},
		{"-1", false}, {"99999999999999999999999", false}};
	struct fixture *f = *state;
	char *data = pattern(LEN);
	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
		script.asked = 0;
		put_rate(f, facts[i].text);
		struct sync_folder *folder = start(f, data);
		read_message(folder, (uint32_t)i + 1, data);
		assert_int_equal(script.asked > 0, facts[i].deflated);
		fixture_end(f);
	}
}

/* --- Servers that fail at it --- */

static void test_refused(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	script.refuse = true;
	f->params.compress = SYNC_COMPRESS_ON;
	struct sync_folder *folder = start(f, data);
	read_message(folder, 1, data);
	f->fake.generation++;
	f->fake.drop_sessions = true;
	read_message(folder, 2, data);
	/* once in this mount */
	assert_int_equal(script.asked, 1);
	assert_quirk(f, true);
	assert_int_equal(fake_counts(&f->fake).misuse, 0);
}

static void test_lost_over_it(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	script.lose = -1;
	f->params.compress = SYNC_COMPRESS_ON;
	read_message(start(f, data), 1, data);
	assert_int_equal(script.asked, 2);
	assert_int_equal(compressed(f), 0);
	assert_quirk(f, true);
	assert_int_equal(fake_counts(&f->fake).misuse, 0);
}

/* One connection may be lost by chance. */
static void test_lost_once(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	script.lose = 1;
	f->params.compress = SYNC_COMPRESS_ON;
	read_message(start(f, data), 1, data);
	assert_true(compressed(f) >= 1);
	assert_quirk(f, false);
}

/* A time-out that was short by the connection's deadline says nothing of the server. */
static void test_short_of_time(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	struct source_session *session;
	struct source_error error;
	f->params.compress = SYNC_COMPRESS_ON;
	read_message(start(f, data), 1, data);
	script.asked = 0;
	script.delay_ms = f->account->link.sign_ms - 100;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(
			rate_connect(f->account, clock_now_ms() + 3000, &session, &error), 0);
		assert_false(session->deflated);
		ops.disconnect(session, false);
	}
	/* once, and not again soon */
	assert_int_equal(script.asked, 1);
	assert_quirk(f, false);
	assert_int_equal(rate_connect(f->account, clock_now_ms() + 60000, &session, &error), 0);
	assert_true(session->deflated);
	ops.disconnect(session, false);
	/* nor with next to no time */
	script.asked = 0;
	f->account->rate.put_off_ms = 0;
	assert_int_equal(rate_connect(f->account, clock_now_ms() + 100, &session, &error), 0);
	assert_false(session->deflated);
	ops.disconnect(session, false);
	assert_int_equal(script.asked, 0);
	assert_int_equal(fake_counts(&f->fake).misuse, 0);
}

/* What can not be inflated: read again on a plain connection, and no other is deflated after that. */
static void test_damaged(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	script.damage = 1;
	f->params.compress = SYNC_COMPRESS_ON;
	struct sync_folder *folder = start(f, data);
	read_message(folder, 1, data);
	read_message(folder, 2, data);
	assert_int_equal(script.deflated_bodies, 1);
	assert_quirk(f, true);
	assert_int_equal(fake_counts(&f->fake).misuse, 0);
}

/* --- What is measured --- */

static void test_slow_line(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	script.body_ms = 400;
	script.body_bytes = 2000000;
	struct sync_folder *folder = start(f, data);
	read_message(folder, 1, data);
	assert_in_range(rate_bytes_s(f->account), 2500000, 5500000);
	assert_in_range(kept_rate(f), 2500000, 5500000);
	read_message(folder, 2, data);
	assert_true(script.asked >= 1);
	assert_true(script.deflated_bodies >= 1);
	fixture_end(f);
	/* and the next mount begins so */
	script.asked = 0;
	start(f, data);
	assert_true(script.asked >= 1);
	assert_true(compressed(f) >= 1);
}

/* Nobody who waits for a few bytes pays for it. */
static void test_not_for_a_small_one(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	script.body_ms = 400;
	script.body_bytes = 500000; /* a slow line, but not much of it */
	struct sync_folder *folder = start(f, data);
	read_message(folder, 1, data);
	assert_true(rate_bytes_s(f->account) > 0);
	script.body_ms = 0;
	script.body_bytes = 0;
	read_message(folder, 2, data);
	assert_int_equal(script.asked, 0);
}

static void test_fast_line(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	script.body_ms = 100;
	script.body_bytes = 10000000;
	struct sync_folder *folder = start(f, data);
	read_message(folder, 1, data);
	read_message(folder, 2, data);
	assert_true(rate_bytes_s(f->account) > 20000000);
	assert_int_equal(script.asked, 0);
}

/* It was believed to be slow, and is not: what carries much gets a plain connection. */
static void test_no_longer_slow(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	put_rate(f, "3000000");
	struct sync_folder *folder = start(f, data);
	assert_true(script.asked >= 1);
	script.body_ms = 350;
	script.body_bytes = 5000000;
	read_message(folder, 1, data);
	unsigned deflated = script.deflated_bodies;
	assert_true(deflated >= 1);
	read_message(folder, 2, data);
	assert_int_equal(script.deflated_bodies, deflated);
	assert_int_equal(fake_counts(&f->fake).misuse, 0);
	assert_true(fake_counts(&f->fake).polite >= 1);
}

/* What a network was like says nothing of the next one; sessions that are there stay. */
static void test_forgotten(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	put_rate(f, "3000000");
	struct sync_folder *folder = start(f, data);
	pthread_mutex_lock(&f->account->lock);
	rate_forget(f->account);
	pthread_mutex_unlock(&f->account->lock);
	script.asked = 0;
	read_message(folder, 1, data);
	assert_true(compressed(f) >= 1);
	f->fake.generation++;
	f->fake.drop_sessions = true;
	read_message(folder, 2, data);
	assert_int_equal(script.asked, 0);
}

/* A call that goes on for long hears that it had better end. */
struct probe {
	bool before, after;
	uint64_t rate;
};

static int long_call(struct worker *worker, void *arg, struct source_error *error)
{
	struct probe *probe = arg;
	(void)error;
	probe->before = rate_due(worker);
	for (int i = 0; i < 14; i++) {
		sleep_ms(100);
		pthread_mutex_lock(&worker->session->fake->lock);
		worker->session->received += 400000;
		worker->session->waited_us += 90000;
		pthread_mutex_unlock(&worker->session->fake->lock);
		probe->after = rate_due(worker);
		probe->rate = rate_bytes_s(worker->account);
	}
	return 0;
}

struct probe_job {
	struct job job;
	struct probe probe;
	atomic_bool done;
};

static int run_probe(struct job *job, struct worker *worker)
{
	struct probe_job *own = (struct probe_job *)job;
	struct source_error error;
	session_ask(worker, long_call, &own->probe, &error);
	own->done = true;
	return 0;
}

static void test_long_call(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	start(f, data);
	struct probe_job own = {.job = {.class = JOB_AHEAD, .run = run_probe}};
	pthread_mutex_lock(&f->account->lock);
	job_queue(f->account, &own.job);
	pthread_mutex_unlock(&f->account->lock);
	wait_for(own.done);
	assert_false(own.probe.before);
	assert_true(own.probe.after);
	assert_in_range(own.probe.rate, 2000000, 6000000);
	assert_int_equal(script.asked, 0);
}

int main(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		test(test_unknown),
		test(test_on),
		test(test_off),
		test(test_unable),
		test(test_what_was_kept),
		test(test_refused),
		test(test_lost_over_it),
		test(test_lost_once),
		test(test_short_of_time),
		test(test_damaged),
		test(test_slow_line),
		test(test_not_for_a_small_one),
		test(test_fast_line),
		test(test_no_longer_slow),
		test(test_forgotten),
		test(test_long_call),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
