/* SPDX-License-Identifier: MIT */
/* What the tests of refreshes share. */
#include <errno.h>

#include "delta.h"

atomic_uint loads, gets, pin_looks, flag_calls;
atomic_int puts_left = -1;
atomic_bool offline;
struct str told_flags;

int __real_store_rows_load(struct store *, uint32_t, uint32_t, source_row_fn *, void *);
int __wrap_store_rows_load(
	struct store *store, uint32_t folder, uint32_t first, source_row_fn *fn, void *arg);
int __wrap_store_rows_load(
	struct store *store, uint32_t folder, uint32_t first, source_row_fn *fn, void *arg)
{
	loads++;
	return __real_store_rows_load(store, folder, first, fn, arg);
}

int __real_store_row_get(struct store *, uint32_t, uint32_t, source_row_fn *, void *);
int __wrap_store_row_get(
	struct store *store, uint32_t folder, uint32_t uid, source_row_fn *fn, void *arg);
int __wrap_store_row_get(
	struct store *store, uint32_t folder, uint32_t uid, source_row_fn *fn, void *arg)
{
	gets++;
	return __real_store_row_get(store, folder, uid, fn, arg);
}

int __real_store_mailbox_put(struct store *, const char *, const struct store_mailbox *);
int __wrap_store_mailbox_put(
	struct store *store, const char *mailbox, const struct store_mailbox *state);
int __wrap_store_mailbox_put(
	struct store *store, const char *mailbox, const struct store_mailbox *state)
{
	if (puts_left == 0)
		return -EIO;
	puts_left -= puts_left > 0;
	return __real_store_mailbox_put(store, mailbox, state);
}

bool __wrap_link_is_offline(struct sync_account *account);
bool __wrap_link_is_offline(struct sync_account *account)
{
	(void)account;
	return offline;
}

void __wrap_pins_folder_listed(struct sync_folder *folder);
void __wrap_pins_folder_listed(struct sync_folder *folder)
{
	(void)folder;
	pin_looks++;
}

int delta_setup(void **state)
{
	puts_left = -1;
	offline = false;
	pin_looks = 0;
	return fixture_setup(state);
}

struct fake_mailbox *inbox_with(struct fixture *f, unsigned abilities, uint32_t count)
{
	struct fake_mailbox *inbox = fake_mailbox_add(&f->fake, "INBOX", 77);
	f->fake.abilities = abilities;
	inbox->modseq = abilities ? 100 : 0;
	for (uint32_t i = 0; i < count; i++)
		fake_append(&f->fake, inbox, "x", 1, "");
	if (!abilities)
		inbox->modseq = 0;
	return inbox;
}

static void on_flags(
	void *arg, struct sync_folder *folder, const struct store_flags *flags, size_t count)
{
	(void)arg, (void)folder;
	flag_calls++;
	for (size_t i = 0; i < count; i++)
		str_printf(&told_flags, "%u %s;", flags[i].uid, flags[i].flags);
}

struct sync_folder *mount(struct fixture *f)
{
	fixture_start(f);
	struct sync_events events = fixture_events(f);
	events.flags = on_flags;
	sync_account_set_events(f->account, &events);
	str_finish(&told_flags);
	flag_calls = 0;
	return fixture_folder(f, "INBOX");
}

struct sync_folder *listed(struct fixture *f)
{
	struct sync_folder *folder = mount(f);
	assert_int_equal(refresh(folder), 0);
	loads = gets = 0;
	return folder;
}

struct fake_counts since(struct fixture *f, const struct fake_counts *before)
{
	struct fake_counts now = fake_counts(&f->fake);
	for (int i = 0; i < 3; i++) {
		now.rows[i] -= before->rows[i];
		now.sent[i] -= before->sent[i];
	}
	now.selects -= before->selects;
	now.changed -= before->changed;
	now.uids -= before->uids;
	now.told -= before->told;
	now.resyncs -= before->resyncs;
	return now;
}

void assert_in_step(struct fixture *f)
{
	struct fake_mailbox *inbox = &f->fake.mailboxes[0];
	uint64_t count, unseen;
	assert_int_equal(store_folder_count(f->store, f->told->number, &count, &unseen), 0);
	assert_int_equal(count, inbox->count);
	assert_int_equal(told_shown(f->told), inbox->count);
	for (size_t i = 0; i < inbox->count; i++)
		assert_true(told_has(f->told, inbox->messages[i].uid, NULL));
}

static int on_row_flags(void *arg, const struct source_row *row)
{
	str_append_cstr(arg, row->flags);
	return 0;
}

void assert_flags(struct fixture *f, uint32_t uid, const char *expect)
{
	struct str flags = STR_INIT;
	assert_int_equal(
		__real_store_row_get(f->store, f->told->number, uid, on_row_flags, &flags), 0);
	assert_string_equal(str_cstr(&flags), expect);
	str_finish(&flags);
}

int delta_teardown(void **state)
{
	str_finish(&told_flags);
	return fixture_teardown(state);
}
