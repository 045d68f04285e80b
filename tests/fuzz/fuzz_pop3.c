/* SPDX-License-Identifier: MIT */
/* A whole session of the POP3 maildrop against a server that says anything (session.h). What a call tells is held against maildrop.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/pop3.h"
#include "mailfs/util/clock.h"
#include "session.h"

#define ENTRIES_MAX 64 /* of a listing that are asked for */

static const char login[] = "+OK hi\r\n\x1e+OK\r\nUSER\r\nUIDL\r\nTOP\r\nPIPELINING\r\n.\r\n\x1e"
			    "+OK\r\n+OK in\r\n\x1e";

struct client {
	const struct maildrop_ops *ops;
	struct maildrop_session *session;
	struct source_error error;
	struct maildrop_listing listing;
	struct maildrop_want wants[ENTRIES_MAX];
	size_t wanted, asked, ended;
	uint64_t told; /* of the message that is coming */
	bool stop;     /* the sink has had enough */
};

/* --- list() --- */

static int call_list(struct client *c)
{
	maildrop_listing_finish(&c->listing);
	int r = c->ops->list(c->session, &c->listing, &c->error);
	FUZZ_CHECK(r == 0 || (c->listing.count == 0 && !c->listing.entries));
	uint32_t last = 0;
	for (size_t i = 0; i < c->listing.count; i++) {
		const struct maildrop_entry *entry = &c->listing.entries[i];
		FUZZ_CHECK(entry->number > last);
		last = entry->number;
		FUZZ_CHECK(entry->uidl <= c->listing.uidls.len);
		FUZZ_CHECK(entry->uidl_len <= c->listing.uidls.len - entry->uidl);
		FUZZ_CHECK(entry->uidl_len == 0 ||
			   !memchr(c->listing.uidls.data + entry->uidl, '\n', entry->uidl_len));
	}
	return r;
}

/* --- retrieve() --- */

static bool sink_next(void *arg, struct maildrop_want *ret)
{
	struct client *c = arg;
	if (c->asked == c->wanted)
		return false;
	*ret = c->wants[c->asked++];
	return true;
}

static int sink_data(void *arg, void *cookie, const void *data, size_t len)
{
	struct client *c = arg;
	_cleanup_str_ struct str copy = STR_INIT;
	FUZZ_CHECK(c->ended < c->asked && cookie == &c->wants[c->ended] && len > 0);
	str_append(&copy, data, len); /* it is there to be read */
	c->told += len;
	return c->stop && c->told > 5 ? -ENOSPC : 0;
}

static int sink_end(void *arg, void *cookie, const struct maildrop_result *result)
{
	struct client *c = arg;
	FUZZ_CHECK(c->ended < c->asked && cookie == &c->wants[c->ended]);
	FUZZ_CHECK(result->err == 0 || result->err == -ENOENT || result->err == -EAGAIN);
	FUZZ_CHECK(result->err != 0 || result->size_bytes == c->told);
	c->ended++;
	c->told = 0;
	return 0;
}

static int retrieve(struct client *c, bool header)
{
	const struct maildrop_sink sink = {c, sink_next, sink_data, sink_end};
	c->wanted = c->listing.count < ENTRIES_MAX ? c->listing.count : ENTRIES_MAX;
	for (size_t i = 0; i < c->wanted; i++)
		c->wants[i] = (struct maildrop_want){c->listing.entries[i].number,
			c->listing.entries[i].size_bytes, &c->wants[i], 0};
	if (c->listing.count == 0) /* also without a list */
		while (c->wanted < 3) {
			c->wants[c->wanted] = (struct maildrop_want){
				(uint32_t)c->wanted + 1, UINT64_MAX, &c->wants[c->wanted], 0};
			c->wanted++;
		}
	c->asked = c->ended = c->told = 0;
	int r = c->ops->retrieve(c->session, header, &sink, &c->error);
	FUZZ_CHECK(r < 0 || (c->asked == c->wanted && c->ended == c->asked));
	return r;
}

static int call_retrieve(struct client *c)
{
	return retrieve(c, false);
}

static int call_headers(struct client *c)
{
	return retrieve(c, true);
}

static int call_stop(struct client *c)
{
	c->stop = true;
	return retrieve(c, false);
}

/* --- remove(), quit() --- */

static void on_removed(void *arg, uint32_t number, int err, const char *text)
{
	struct client *c = arg;
	FUZZ_CHECK(number == ++c->ended);
	FUZZ_CHECK(err == 0 || err == -EIO || err == -EACCES);
	FUZZ_CHECK(err != -EACCES || text);
}

static int call_remove(struct client *c)
{
	static const uint32_t numbers[] = {1, 2, 3};
	c->ended = 0;
	int r = c->ops->remove(c->session, numbers, 3, on_removed, c, &c->error);
	FUZZ_CHECK(r < 0 || c->ended == 3);
	return r;
}

static int call_quit(struct client *c)
{
	int r = c->ops->quit(c->session, &c->error);
	if (r < 0)
		session_check_error(&c->error, r);
	return 1;
}

static const struct session_call calls[] = {
	{'L', call_list},
	{'R', call_retrieve},
	{'H', call_headers},
	{'S', call_stop},
	{'D', call_remove},
	{'Q', call_quit},
};

/* --- The session --- */

static void run_calls(struct client *client, const char *names)
{
	if (session_run(calls, sizeof(calls) / sizeof(calls[0]), names, client, &client->error))
		client->ops->leave(client->session);
	client->ops->disconnect(client->session);
	maildrop_listing_finish(&client->listing);
}

void session_target(const char *names, struct fuzz_input in)
{
	const struct pop3_params params = {.net = session_open(names, login, in, true),
		.user = "alice",
		.password = session_password(),
		.token = strchr(names, 'o')};
	struct maildrop *maildrop;
	struct client client = {.session = NULL};
	FUZZ_CHECK(pop3_maildrop_create(&params, &maildrop) == 0);
	client.ops = maildrop->ops;
	int r = client.ops->connect(maildrop, CLOCK_NEVER, &client.session, &client.error);
	if (r < 0)
		session_check_error(&client.error, r);
	else
		run_calls(&client, names);
	session_check_kept(names, r == 0);
	client.ops->destroy(maildrop);
}
