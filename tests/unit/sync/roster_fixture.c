/* SPDX-License-Identifier: MIT */
#include "roster_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mailfs/store.h"
#include "private.h"

static pthread_mutex_t said_lock = PTHREAD_MUTEX_INITIALIZER;
char said[1000];

static void say(const char *format, const char *a, const char *b)
{
	pthread_mutex_lock(&said_lock);
	size_t len = strlen(said);
	snprintf(said + len, sizeof(said) - len, "%s%s%s ", a, format, b);
	pthread_mutex_unlock(&said_lock);
}

bool has_said(const char *text)
{
	pthread_mutex_lock(&said_lock);
	bool is = strcmp(said, text) == 0;
	pthread_mutex_unlock(&said_lock);
	return is;
}

static const char *name_of(const struct sync_folder *folder)
{
	return sync_folder_mailbox(folder)->name;
}

static void on_added(void *arg, struct sync_folder *folder, struct sync_folder *former)
{
	(void)arg;
	if (former && !sync_folder_is_gone(former))
		say("!", name_of(former), "still there");
	say(former ? ">" : "+", former ? name_of(former) : "", name_of(folder));
}

static void on_removed(void *arg, struct sync_folder *folder)
{
	(void)arg;
	say("-", "", name_of(folder));
}

static void on_attributes(void *arg, struct sync_folder *folder)
{
	(void)arg;
	say("~", "", name_of(folder));
}

int roster_setup(void **state)
{
	int err = fixture_setup(state);
	struct fixture *f = *state;
	f->more = (struct sync_events){
		.added = on_added, .removed = on_removed, .attributes = on_attributes};
	said[0] = 0;
	return err;
}

static void quick(struct fixture *f)
{
	f->account->link.pace_ms = 20;
	f->account->link.sign_ms = 200;
}

struct fake_mailbox *add(
	struct fixture *f, const char *name, uint32_t first, uint32_t count, const char *data)
{
	static char headers[400][64];
	static size_t used;
	struct fake_mailbox *mailbox = fake_mailbox_add(&f->fake, name, 77);
	for (uint32_t uid = first; uid < first + count; uid++) {
		struct fake_message *message = fake_message_add(mailbox, uid, data, LEN);
		used = (used + 1) % 400;
		snprintf(headers[used], sizeof(headers[used]), "Message-ID: <%s.%u@x>\r\n", name,
			uid);
		message->header = headers[used];
	}
	return mailbox;
}

int survey(struct fixture *f)
{
	struct reader reader;
	reader_init(&reader, 20000);
	int err = sync_account_survey(f->account, &reader.waiter);
	if (err == -EINPROGRESS)
		err = (int)reader_wait(&reader);
	reader_finish(&reader);
	return err;
}

uint64_t stored(struct fixture *f, const char *name)
{
	struct store_mailbox state;
	uint64_t count = 0, unseen;
	sync_folder_state(fixture_folder(f, name), &state);
	if (state.folder)
		assert_int_equal(store_folder_count(f->store, state.folder, &count, &unseen), 0);
	return count;
}

int read_uid(struct sync_folder *folder, uint32_t uid)
{
	struct sync_body *body;
	char buf[10];
	assert_int_equal(sync_body_open(folder, uid, "", NULL, LEN, &body), 0);
	int n = (int)body_read(body, buf, sizeof(buf), 0);
	sync_body_close(body);
	return n;
}

struct sync_folder *living(struct fixture *f, const char *name)
{
	for (size_t i = sync_account_folder_count(f->account); i > 0; i--) {
		struct sync_folder *folder = sync_account_folder(f->account, i - 1);
		if (strcmp(name_of(folder), name) == 0 && !sync_folder_is_gone(folder))
			return folder;
	}
	return NULL;
}

void start(struct fixture *f)
{
	f->prepare = quick;
	fixture_start(f);
}
