/* SPDX-License-Identifier: MIT */
/*
 * A whole session of the IMAP source against a server that says anything (session.h). What a call tells is held against source.h.
 *
 * Two modes more: m: a poor server; p: in packets.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/imap.h"
#include "mailfs/util/clock.h"
#include "part.h"
#include "session.h"

/* So far, unless the input is to say it itself. */
static const char login[] =
	"* PREAUTH [CAPABILITY IMAP4rev1 ID ENABLE NAMESPACE IDLE CONDSTORE QRESYNC ESEARCH LIST-EXTENDED SPECIAL-USE QUOTA "
	"OBJECTID NOTIFY UNSELECT COMPRESS=DEFLATE X-GM-EXT-1 LITERAL+] hi\r\n"
	"\x1f OK\r\n* ENABLED QRESYNC\r\n\x1f OK\r\n"
	"* NAMESPACE ((\"\" \"/\")) ((\"~\" \"/\")) ((\"#shared.\" \".\"))\r\n\x1f OK\r\n\x1e";

/* Of a server that can do nothing but what it must. */
static const char poor_login[] = "* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n\x1e";

struct client {
	const struct source_ops *ops;
	struct source_session *session;
	struct source_error error;
	unsigned events;
	const uint32_t *uids; /* of structures() */
	uint32_t first, last; /* of rows(), uids() */
};

static const uint32_t some_uids[] = {1, 2, 3, 5, 9};

/* --- What is told --- */

static int on_mailbox(void *arg, const struct source_mailbox *mailbox)
{
	(void)arg;
	FUZZ_CHECK(mailbox->name[0]);
	FUZZ_CHECK(!mailbox->special_use || mailbox->special_use[0] == '\\');
	FUZZ_CHECK(mailbox->flags < 2 * SOURCE_MAILBOX_SHARED);
	return 0;
}

static int on_row(void *arg, const struct source_row *row)
{
	const struct client *client = arg;
	FUZZ_CHECK(row->uid >= client->first && row->uid <= client->last && row->uid > 0);
	FUZZ_CHECK(row->flags && strlen(row->flags) <= 65536 + 1024);
	FUZZ_CHECK(!!row->labels == !!(row->have & SOURCE_ROW_LABELS));
	if (row->labels)
		FUZZ_CHECK(strcspn(row->labels, "\r\n") == strlen(row->labels));
	if (row->have & SOURCE_ROW_HEADER) {
		_cleanup_str_ struct str copy = STR_INIT;
		FUZZ_CHECK(row->header && row->header_len <= 256 << 10);
		str_append(&copy, row->header, row->header_len); /* it is there to be read */
	}
	return 0;
}

static int on_range(void *arg, uint32_t first, uint32_t last)
{
	const struct client *client = arg;
	FUZZ_CHECK(first > 0 && first <= last);
	FUZZ_CHECK(first >= client->first && last <= client->last);
	return 0;
}

static int on_structure(void *arg, uint32_t uid, const struct mime_part *structure)
{
	(void)arg;
	bool asked = false;
	for (size_t i = 0; i < sizeof(some_uids) / sizeof(some_uids[0]); i++)
		asked |= some_uids[i] == uid;
	FUZZ_CHECK(asked);
	if (structure)
		part_check(structure, 0);
	return 0;
}

static void on_event(void *arg, const struct source_event *event)
{
	struct client *client = arg;
	FUZZ_CHECK(client->events > 0 || event->kind == SOURCE_EVENT_READY);
	FUZZ_CHECK(!!event->mailbox == (event->kind == SOURCE_EVENT_MAILBOX));
	FUZZ_CHECK(!event->mailbox || event->mailbox[0]);
	if (++client->events % 4 == 0)
		client->ops->poke(client->session);
}

/* --- bulk() --- */

struct bulker {
	unsigned next, answered;
	bool open;
	uint32_t uid;
	uint64_t told, want;
};

static const struct source_bulk_set sets[] = {
	{.uids = some_uids, .count = 3, .limit_bytes = 4096},
	{.uids = some_uids, .count = 1, .offset = 3, .length = 5, .limit_bytes = 4096},
	{.uids = some_uids + 3, .count = 2, .limit_bytes = 4096},
};
#define SETS (sizeof(sets) / sizeof(sets[0]))

static bool bulk_next(void *arg, struct source_bulk_set *ret)
{
	struct bulker *bulker = arg;
	FUZZ_CHECK(!bulker->open);
	if (bulker->next == SETS)
		return false;
	*ret = sets[bulker->next++];
	return true;
}

static int bulk_begin(void *arg, uint32_t uid, uint64_t offset, uint64_t size_bytes)
{
	struct bulker *bulker = arg;
	FUZZ_CHECK(!bulker->open && size_bytes <= 4096);
	FUZZ_CHECK(offset == 0 || (offset == 3 && uid == 1 && size_bytes <= 5));
	if (uid == 2)
		return -EFBIG;
	*bulker = (struct bulker){bulker->next, bulker->answered, true, uid, 0, size_bytes};
	return 0;
}

static void bulk_data(void *arg, const char *data, size_t len)
{
	struct bulker *bulker = arg;
	FUZZ_CHECK(bulker->open && data && len > 0 && len <= 65536);
	bulker->told += len;
	FUZZ_CHECK(bulker->told <= bulker->want);
}

static void bulk_end(void *arg, bool whole)
{
	struct bulker *bulker = arg;
	FUZZ_CHECK(bulker->open && (!whole || bulker->told == bulker->want));
	bulker->open = false;
}

static void bulk_answered(void *arg, int err)
{
	struct bulker *bulker = arg;
	FUZZ_CHECK(!bulker->open && err <= 0 && ++bulker->answered <= bulker->next);
}

static int call_bulk(struct client *c)
{
	struct bulker bulker = {0};
	const struct source_bulk bulk = {
		&bulker, bulk_next, bulk_begin, bulk_data, bulk_end, bulk_answered, NULL};
	int r = c->ops->bulk(c->session, &bulk, &c->error);
	FUZZ_CHECK(r < 0 || !bulker.open);
	FUZZ_CHECK(r < 0 || (bulker.answered == bulker.next && bulker.next == SETS));
	return r;
}

/* --- The other calls --- */

static void want_all(struct client *c)
{
	c->first = 1;
	c->last = UINT32_MAX;
}

static int call_list(struct client *c)
{
	return c->ops->list(c->session, on_mailbox, c, &c->error);
}

static int call_quota(struct client *c)
{
	struct source_quota quota;
	return c->ops->quota(c->session, &quota, &c->error);
}

static int call_select(struct client *c)
{
	const struct source_resync resync = {7, 5, on_row, on_range, c};
	struct source_state state = {0};
	int r = c->ops->select(c->session, "box", true, &resync, &state, &c->error);
	FUZZ_CHECK(r < 0 || state.uidvalidity > 0);
	FUZZ_CHECK(!state.resynced || (state.uidvalidity == 7 && state.modseq >= 5));
	return r;
}

static int call_select_anew(struct client *c)
{
	struct source_state state = {0};
	int r = c->ops->select(c->session, "caf\xc3\xa9 \"&AOk-", false, NULL, &state, &c->error);
	FUZZ_CHECK(r < 0 || (state.uidvalidity > 0 && !state.resynced));
	return r;
}

static int call_status(struct client *c)
{
	struct source_state state;
	return c->ops->status(c->session, "box", &state, &c->error);
}

static int call_rows(struct client *c)
{
	unsigned skipped;
	return c->ops->rows(
		c->session, c->first, c->last, SOURCE_COLUMNS_ALL, on_row, c, &skipped, &c->error);
}

static int call_some_rows(struct client *c)
{
	unsigned skipped;
	c->first = 3;
	c->last = 9;
	int r = c->ops->rows(c->session, c->first, c->last, SOURCE_COLUMNS_FLAGS, on_row, c,
		&skipped, &c->error);
	want_all(c);
	return r;
}

static int call_changed(struct client *c)
{
	unsigned skipped;
	return c->ops->changed(c->session, c->first, c->last, 4, on_row, c, &skipped, &c->error);
}

static int call_uids(struct client *c)
{
	return c->ops->uids(c->session, c->first, c->last, on_range, c, &c->error);
}

static int call_some_uids(struct client *c)
{
	c->first = 3;
	c->last = 9;
	int r = c->ops->uids(c->session, c->first, c->last, on_range, c, &c->error);
	want_all(c);
	return r;
}

static int call_structures(struct client *c)
{
	return c->ops->structures(c->session, some_uids, sizeof(some_uids) / sizeof(some_uids[0]),
		on_structure, c, &c->error);
}

static int fetch(struct client *c, const char *section, uint64_t offset, uint64_t length)
{
	_cleanup_str_ struct str out = STR_INIT;
	str_append_cstr(&out, "before");
	int r = c->ops->body(c->session, 5, section, offset, length, 4096, &out, &c->error);
	FUZZ_CHECK(out.len >= 6 && memcmp(out.data, "before", 6) == 0);
	FUZZ_CHECK(r == 0 || out.len == 6);
	FUZZ_CHECK(out.len - 6 <= (length > 0 ? length : 4096));
	return r;
}

static int call_body(struct client *c)
{
	return fetch(c, "", 0, 0);
}

static int call_range(struct client *c)
{
	return fetch(c, "2.1", 4, 10);
}

static int watch(struct client *c, const char *mailbox)
{
	c->events = 0;
	return c->ops->watch(c->session, mailbox, clock_now_ms() + 2000, on_event, c, &c->error);
}

static int call_watch(struct client *c)
{
	return watch(c, "INBOX");
}

static int call_watch_all(struct client *c)
{
	return watch(c, NULL);
}

static int call_compress(struct client *c)
{
	return c->ops->compress(c->session, &c->error);
}

static const struct session_call calls[] = {
	{'L', call_list},
	{'Q', call_quota},
	{'S', call_select},
	{'s', call_select_anew},
	{'T', call_status},
	{'R', call_rows},
	{'r', call_some_rows},
	{'C', call_changed},
	{'U', call_uids},
	{'u', call_some_uids},
	{'P', call_structures},
	{'B', call_body},
	{'b', call_range},
	{'K', call_bulk},
	{'w', call_watch},
	{'W', call_watch_all},
	{'Z', call_compress},
};

/* --- The session --- */

static void check_describe(const struct client *client)
{
	_cleanup_str_ struct str text = STR_INIT;
	client->ops->describe(client->session, &text);
	for (size_t i = 0; i < text.len; i++)
		FUZZ_CHECK(text.data[i] == '\n' || (text.data[i] >= 0x20 && text.data[i] <= 0x7e));
}

void session_target(const char *names, struct fuzz_input in)
{
	const char *first = strchr(names, 'm') ? poor_login : login;
	const struct imap_params params = {
		.net = session_open(names, first, in, strchr(names, 'p')),
		.user = "alice",
		.password = session_password(),
		.token = strchr(names, 'o')};
	struct source *source;
	struct client client = {.session = NULL};
	FUZZ_CHECK(imap_source_create(&params, &source) == 0);
	client.ops = source->ops;
	want_all(&client);
	int r = source->ops->connect(source, CLOCK_NEVER, &client.session, &client.error);
	if (r < 0)
		session_check_error(&client.error, r);
	bool alive = r == 0 && session_run(calls, sizeof(calls) / sizeof(calls[0]), names, &client,
				       &client.error);
	session_check_kept(names, client.session);
	if (client.session) {
		check_describe(&client);
		source->ops->disconnect(client.session, alive);
	}
	source->ops->destroy(source);
}
