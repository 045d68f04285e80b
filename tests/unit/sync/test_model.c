/* SPDX-License-Identifier: MIT */
/*
 * A mailbox that another client changes at random, while connections are cut, the server lies, and the mount ends and begins again: after each
 * step the store and the tree agree with it. On each rung of the ladder.
 *
 * A failure names its seed; MAILFS_TEST_SEED=… repeats it, MAILFS_TEST_STEPS=… goes on for longer.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "mailfs/store.h"

enum { UIDS = 40000, FLAGS_LEN = 40 };

/* What the tree shows. */
struct shown {
	pthread_mutex_t lock;
	uint32_t number;
	unsigned resets;
	struct {
		char flags[FLAGS_LEN];
		uint64_t size;
		bool there;
	} messages[UIDS];
	size_t count;
	unsigned faults; /* what no tree should be told */
};

struct model {
	struct fixture *f;
	struct sync_folder *folder;
	struct fake_mailbox *mailbox;
	uint64_t seed, state;
	unsigned step;
	char last[200]; /* what was done */
	char **headers;
	size_t header_count, header_cap;
};

static struct shown shown = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* --- The tree --- */

static void on_reset(void *arg, struct sync_folder *folder, uint32_t number)
{
	(void)arg, (void)folder;
	pthread_mutex_lock(&shown.lock);
	memset(shown.messages, 0, sizeof(shown.messages));
	shown.count = 0;
	shown.number = number;
	shown.resets++;
	pthread_mutex_unlock(&shown.lock);
}

static void on_rows(
	void *arg, struct sync_folder *folder, const struct source_row *rows, size_t count)
{
	(void)arg, (void)folder;
	pthread_mutex_lock(&shown.lock);
	for (size_t i = 0; i < count; i++) {
		uint32_t uid = rows[i].uid;
		shown.faults += uid == 0 || uid >= UIDS || shown.messages[uid].there;
		snprintf(shown.messages[uid].flags, FLAGS_LEN, "%s", rows[i].flags);
		shown.messages[uid].size = rows[i].size_bytes;
		shown.count += !shown.messages[uid].there;
		shown.messages[uid].there = true;
	}
	pthread_mutex_unlock(&shown.lock);
}

static void on_gone(void *arg, struct sync_folder *folder, const uint32_t *uids, size_t count)
{
	(void)arg, (void)folder;
	pthread_mutex_lock(&shown.lock);
	for (size_t i = 0; i < count; i++) {
		shown.count -= shown.messages[uids[i]].there;
		shown.messages[uids[i]].there = false;
	}
	pthread_mutex_unlock(&shown.lock);
}

static void on_flags(
	void *arg, struct sync_folder *folder, const struct store_flags *flags, size_t count)
{
	(void)arg, (void)folder;
	pthread_mutex_lock(&shown.lock);
	for (size_t i = 0; i < count; i++) {
		shown.faults += !shown.messages[flags[i].uid].there;
		snprintf(shown.messages[flags[i].uid].flags, FLAGS_LEN, "%s", flags[i].flags);
	}
	pthread_mutex_unlock(&shown.lock);
}

static void on_size(void *arg, struct sync_folder *folder, uint32_t uid, uint64_t size)
{
	(void)arg, (void)folder, (void)uid, (void)size;
}

static void on_section_size(
	void *arg, struct sync_folder *folder, uint32_t uid, const char *section, uint64_t size)
{
	(void)arg, (void)folder, (void)uid, (void)section, (void)size;
}

static void on_changed(void *arg, struct sync_folder *folder, int64_t changed_s)
{
	(void)arg, (void)folder, (void)changed_s;
}

static void mount(struct model *m)
{
	static const struct sync_events events = {.reset = on_reset,
		.rows = on_rows,
		.gone = on_gone,
		.flags = on_flags,
		.size = on_size,
		.section_size = on_section_size,
		.changed = on_changed};
	fixture_start(m->f);
	sync_account_set_events(m->f->account, &events);
	m->folder = fixture_folder(m->f, "INBOX");
	on_reset(NULL, NULL, 0);
}

/* --- Agreement --- */

#define fail_model(m, ...)                                                                         \
	do {                                                                                       \
		fprintf(stderr, "seed %llu, step %u, %s\n", (unsigned long long)(m)->seed,         \
			(m)->step, (m)->last);                                                     \
		fail_msg(__VA_ARGS__);                                                             \
	} while (0)

struct stored {
	struct model *m;
	size_t count;
};

static int on_stored(void *arg, const struct source_row *row)
{
	struct stored *stored = arg;
	struct fake_message *message = fake_message(stored->m->mailbox, row->uid);
	stored->count++;
	if (!message)
		fail_model(stored->m, "%u is stored, and not there", row->uid);
	if (strcmp(row->flags, message->flags) != 0)
		fail_model(stored->m, "%u: stored flags %s, not %s", row->uid, row->flags,
			message->flags);
	if (row->size_bytes != message->announced)
		fail_model(stored->m, "%u: stored size", row->uid);
	return 0;
}

static void check_store(struct model *m)
{
	struct stored stored = {.m = m};
	struct store_mailbox state;
	assert_int_equal(store_mailbox_get(m->f->store, "INBOX", &state), 0);
	if (!state.complete || state.uidvalidity != m->mailbox->uidvalidity)
		fail_model(m, "the stored state is not the mailbox's");
	if (state.former)
		fail_model(m, "the former folder is still there");
	if (state.folder != shown.number)
		fail_model(m, "folder %u is stored, %u shown", state.folder, shown.number);
	assert_int_equal(store_rows_load(m->f->store, state.folder, 1, on_stored, &stored), 0);
	if (stored.count != m->mailbox->count)
		fail_model(m, "%zu are stored, there are %zu", stored.count, m->mailbox->count);
}

static void check_tree(struct model *m)
{
	if (shown.count != m->mailbox->count)
		fail_model(m, "%zu are shown, there are %zu", shown.count, m->mailbox->count);
	for (size_t i = 0; i < m->mailbox->count; i++) {
		const struct fake_message *message = &m->mailbox->messages[i];
		if (!shown.messages[message->uid].there)
			fail_model(m, "%u is not shown", message->uid);
		if (strcmp(shown.messages[message->uid].flags, message->flags) != 0)
			fail_model(m, "%u: flags %s are shown, not %s", message->uid,
				shown.messages[message->uid].flags, message->flags);
		if (shown.messages[message->uid].size != message->announced)
			fail_model(m, "%u: size", message->uid);
	}
	if (shown.faults)
		fail_model(m, "the tree was told what it should not be");
}

static void check_model(struct model *m)
{
	check_store(m);
	check_tree(m);
}

/* --- The other client --- */

static uint64_t pick(struct model *m, uint64_t below)
{
	m->state ^= m->state << 13;
	m->state ^= m->state >> 7;
	m->state ^= m->state << 17;
	return (m->state >> 11) % below;
}

static const char *const flag_texts[] = {"", "\\Seen", "\\Seen \\Flagged", "\\Answered $Later"};

static void append_one(struct model *m)
{
	char *header;
	/* A few have the same Message-ID, or none. */
	unsigned id = (unsigned)pick(m, 8) ? (unsigned)m->header_count : (unsigned)pick(m, 5);
	if (array_grow(&m->headers, &m->header_cap, m->header_count + 1, sizeof(*m->headers)) < 0 ||
		asprintf(&header, "Subject: %zu\r\n%s<%u@test>\r\n", m->header_count,
			pick(m, 10) ? "Message-ID: " : "To: ", id) < 0)
		abort();
	m->headers[m->header_count++] = header;
	uint32_t uid =
		fake_append(&m->f->fake, m->mailbox, "x", 1 + pick(m, 3), flag_texts[pick(m, 4)]);
	fake_message(m->mailbox, uid)->header = header;
	fake_message(m->mailbox, uid)->date_s = 1700000000 + id;
	/* Other messages come and go unseen. */
	if (pick(m, 10) == 0)
		m->mailbox->uidnext += (uint32_t)pick(m, 30);
}

static uint32_t any_uid(struct model *m)
{
	return m->mailbox->messages[pick(m, m->mailbox->count)].uid;
}

static void change_once(struct model *m)
{
	size_t count = m->mailbox->count;
	switch (pick(m, 8)) {
	case 0:
	case 1:
	case 2:
		append_one(m);
		break;
	case 3:
	case 4:
		if (count)
			fake_expunge(&m->f->fake, m->mailbox, any_uid(m));
		break;
	case 5:
		for (uint64_t n = count / 3; n > 0; n--)
			fake_expunge(&m->f->fake, m->mailbox, any_uid(m));
		break;
	default:
		if (count)
			fake_flag(&m->f->fake, m->mailbox, any_uid(m), flag_texts[pick(m, 4)]);
	}
}

static void renumber(struct model *m)
{
	/* Also back to what it was. */
	uint32_t next = 77 + (uint32_t)pick(m, 3);
	fake_renumber(&m->f->fake, m->mailbox, next, m->mailbox->uidnext + (uint32_t)pick(m, 100));
	snprintf(m->last, sizeof(m->last), "UIDVALIDITY %u", next);
}

static void change_world(struct model *m)
{
	uint64_t changes = pick(m, 6);
	snprintf(m->last, sizeof(m->last), "%llu changes", (unsigned long long)changes);
	/* UIDs grow; the space for them in this test does not. */
	if (m->mailbox->uidnext > UIDS - 2000)
		fake_renumber(&m->f->fake, m->mailbox, m->mailbox->uidvalidity + 1, 1);
	else if (pick(m, 25) == 0)
		renumber(m);
	for (; changes > 0; changes--)
		change_once(m);
	if (pick(m, 40) == 0)
		for (int i = 0; i < 200; i++)
			append_one(m);
}

/* A lie, or an accident. Those that only numbers can show are left out. */
static void choose_trouble(struct model *m)
{
	static const unsigned lies[] = {FAKE_LIE_VANISHED, FAKE_LIE_VANISHED_ALL,
		FAKE_LIE_GONE_UNTOLD, FAKE_LIE_STRAY_FLAGS, FAKE_LIE_UIDS, FAKE_LIE_UIDS_ALL,
		FAKE_LIE_TWICE};
	pthread_mutex_lock(&m->f->fake.lock);
	m->mailbox->lies = pick(m, 4) ? 0 : lies[pick(m, sizeof(lies) / sizeof(*lies))];
	m->mailbox->stray = m->mailbox->uidnext + (uint32_t)pick(m, 3);
	m->mailbox->reversed = pick(m, 10) == 0;
	m->mailbox->changed_err = pick(m, 20) ? 0 : -EIO;
	m->mailbox->changed_skips = pick(m, 20) == 0;
	if (pick(m, 5) == 0) {
		m->f->fake.cut_in[0] = 1 + (int)pick(m, 30);
		m->f->fake.cut_in[1] = pick(m, 2) ? 1 + (int)pick(m, 60) : 0;
	}
	if (m->mailbox->lies || m->f->fake.cut_in[0])
		snprintf(m->last + strlen(m->last), sizeof(m->last) - strlen(m->last),
			", lies 0x%x, cut in %d and %d", m->mailbox->lies, m->f->fake.cut_in[0],
			m->f->fake.cut_in[1]);
	pthread_mutex_unlock(&m->f->fake.lock);
}

static void end_trouble(struct model *m)
{
	pthread_mutex_lock(&m->f->fake.lock);
	m->f->fake.cut_in[0] = m->f->fake.cut_in[1] = 0;
	pthread_mutex_unlock(&m->f->fake.lock);
}

static unsigned selects(struct model *m)
{
	return fake_counts(&m->f->fake).selects;
}

/* What a cut leaves is stale and says so by the next one; then it agrees. So does a list of UIDs that contradicts a great loss. */
static void refresh_model(struct model *m)
{
	bool cut = m->f->fake.cut_in[0] != 0, all = m->mailbox->lies & FAKE_LIE_UIDS_ALL;
	int err = refresh(m->folder);
	if (err < 0 && !cut && !all)
		fail_model(m, "refresh: %d", err);
	if (!cut && err == 0)
		return;
	end_trouble(m);
	if (all)
		FAKE_SET(&m->f->fake, mailboxes[0].lies, 0);
	err = refresh(m->folder);
	if (err < 0)
		fail_model(m, "refresh after a cut: %d", err);
}

static void step(struct model *m)
{
	change_world(m);
	/* A server without modification sequences has none. */
	if (!m->f->fake.abilities)
		m->mailbox->modseq = 0;
	choose_trouble(m);
	if (pick(m, 15) == 0) {
		end_trouble(m);
		fixture_end(m->f);
		mount(m);
		snprintf(m->last + strlen(m->last), sizeof(m->last) - strlen(m->last), ", remount");
	}
	refresh_model(m);
	check_model(m);
}

static void run_model(struct fixture *f, unsigned abilities, uint64_t seed)
{
	const char *chosen = getenv("MAILFS_TEST_SEED"), *steps = getenv("MAILFS_TEST_STEPS");
	struct model m = {.f = f, .seed = chosen ? strtoull(chosen, NULL, 10) : seed};
	unsigned count = steps ? (unsigned)strtoul(steps, NULL, 10) : 120;
	m.state = m.seed;
	m.mailbox = fake_mailbox_add(&f->fake, "INBOX", 77);
	m.mailbox->modseq = abilities ? 5 : 0;
	f->fake.abilities = abilities;
	for (int i = 0; i < 20; i++)
		append_one(&m);
	mount(&m);
	unsigned before = selects(&m);
	for (m.step = 0; m.step < count; m.step++)
		step(&m);
	assert_true(selects(&m) - before >= count);
	fixture_end(f);
	for (size_t i = 0; i < m.header_count; i++)
		free(m.headers[i]);
	free(m.headers);
}

static void test_qresync(void **state)
{
	struct fixture *f = *state;
	run_model(f, SOURCE_CAN_CONDSTORE | SOURCE_CAN_QRESYNC, 1009);
	struct fake_counts counts = fake_counts(&f->fake);
	assert_true(counts.resyncs > 50);
}

static void test_condstore(void **state)
{
	struct fixture *f = *state;
	run_model(f, SOURCE_CAN_CONDSTORE, 2003);
	struct fake_counts counts = fake_counts(&f->fake);
	assert_true(counts.changed > 50);
	assert_int_equal(counts.resyncs, 0);
}

static void test_scan(void **state)
{
	struct fixture *f = *state;
	run_model(f, 0, 3001);
	struct fake_counts counts = fake_counts(&f->fake);
	assert_true(counts.rows[SOURCE_COLUMNS_FLAGS] > 50);
	assert_int_equal(counts.resyncs + counts.changed, 0);
	assert_true(counts.uids < 20); /* where most was said to be gone */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_qresync),
		TEST(test_condstore),
		TEST(test_scan),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
