/* SPDX-License-Identifier: MIT */
/*
 * A whole session of the POP3 maildrop against a server that says anything. The first line of the input names the calls to be made, one
 * letter each; the rest is all that the server ever says. What a call tells is held against maildrop.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/pop3.h"
#include "mailfs/util/clock.h"
#include "wire.h"

#define CALLS_MAX   16
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
			c->listing.entries[i].size_bytes, &c->wants[i]};
	if (c->listing.count == 0) /* also without a list */
		while (c->wanted < 3) {
			c->wants[c->wanted] = (struct maildrop_want){
				(uint32_t)c->wanted + 1, UINT64_MAX, &c->wants[c->wanted]};
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
	return r < 0 ? r : 1;
}

static const struct {
	char letter;
	int (*fn)(struct client *client); /* 1: the session is over */
} calls[] = {
	{'L', call_list},
	{'R', call_retrieve},
	{'H', call_headers},
	{'S', call_stop},
	{'D', call_remove},
	{'Q', call_quit},
};

/* --- The session --- */

static bool check_error(const struct client *client, int r)
{
	const struct source_error *error = &client->error;
	FUZZ_CHECK(r < 0 && error->err == r && strlen(error->text) < sizeof(error->text));
	fuzz_check_text(error->text, strlen(error->text));
	return error->scope == SOURCE_SCOPE_MAILBOX || error->scope == SOURCE_SCOPE_MESSAGE;
}

static bool call(struct client *client, char letter)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (calls[i].letter != letter)
			continue;
		client->error = (struct source_error){0};
		int r = calls[i].fn(client);
		return r == 0 || (r < 0 && letter != 'Q' && check_error(client, r));
	}
	return true;
}

static void run_calls(struct client *client, const char *names)
{
	bool alive = true;
	for (unsigned i = 0; alive && names[i] && i < CALLS_MAX; i++)
		alive = call(client, names[i]);
	if (alive)
		client->ops->leave(client->session);
	client->ops->disconnect(client->session);
	maildrop_listing_finish(&client->listing);
}

/* Modes: g: the greeting and the login are the input's; t: likewise, and STARTTLS is demanded; o: with a token. */
static void run(const char *names, struct fuzz_input in)
{
	static struct secret *password;
	bool starttls = strchr(names, 't'), greeting = starttls || strchr(names, 'g');
	if (!password)
		password = secret_create("s3cret", 6);
	const struct pop3_params params = {
		.net = wire_context(starttls ? NET_TLS_STARTTLS : NET_TLS_NONE),
		.user = "alice",
		.password = password,
		.token = strchr(names, 'o')};
	struct maildrop *maildrop;
	struct client client = {.session = NULL};
	wire_open(greeting ? "" : login, in, true);
	FUZZ_CHECK(pop3_maildrop_create(&params, &maildrop) == 0);
	client.ops = maildrop->ops;
	int r = client.ops->connect(maildrop, CLOCK_NEVER, &client.session, &client.error);
	if (r < 0)
		check_error(&client, r);
	else
		run_calls(&client, names);
	/* There is no handshake that this server could do. */
	if (starttls)
		FUZZ_CHECK(r < 0 && !wire_has_sent("s3cret") && !wire_has_sent("USER") &&
			   !wire_has_sent("AUTH") && !wire_has_sent("APOP"));
	client.ops->destroy(maildrop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	char *names = fuzz_copy(fuzz_until(&in, '\n'));
	run(names, in);
	free(names);
	return 0;
}
