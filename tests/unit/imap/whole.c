/* SPDX-License-Identifier: MIT */
/* The server answers line by line, from a table; what the client was told is written into memory that is there already. */
#include "whole.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "mailfs/mime.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/secret.h"

#define CAPS                                                                                       \
	"IMAP4rev1 NAMESPACE UIDPLUS SPECIAL-USE LIST-EXTENDED ENABLE CONDSTORE QRESYNC ESEARCH QUOTA ID"
#define MESSAGE                                                                                    \
	"Subject: x\r\n\r\nC9 OK )\r\n* 1 FETCH (UID 5)\r\nend\r\n" /* 47 bytes; looks like answers, and is none */
#define PLAIN "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"utf-8\") NIL NIL \"7BIT\" 5 1)"

/* The beginning of a command, and what is answered; '$' is its tag. */
static const struct {
	const char *command, *answer;
} table[] = {
	{"CAPABILITY", "* CAPABILITY " CAPS "\r\n$ OK\r\n"},
	{"LOGIN alice", "$ OK [CAPABILITY " CAPS "] in\r\n"},
	{"LOGIN \"alice", "$ OK [CAPABILITY " CAPS "] in\r\n"},
	{"ID", "* ID (\"name\" \"Whole\" \"version\" {3}\r\n1.0)\r\n$ OK\r\n"},
	{"ENABLE", "* ENABLED QRESYNC\r\n$ OK\r\n"},
	{"NAMESPACE", "* NAMESPACE ((\"\" \"/\")) NIL ((\"Shared/\" \"/\"))\r\n$ OK\r\n"},
	{"LIST \"\" \"Shared/*\"", "* LIST () \"/\" Shared/x\r\n$ OK\r\n"},
	{"LIST", "* LIST (\\HasNoChildren) \"/\" INBOX\r\n* LIST (\\Sent) \"/\" {4}\r\nSent\r\n"
		 "* LIST (\\Noselect) \"/\" \"a \\\"b\\\"\"\r\n$ OK\r\n"},
	{"GETQUOTAROOT", "* QUOTAROOT INBOX \"\"\r\n* QUOTA \"\" (STORAGE 10 512)\r\n$ OK\r\n"},
	{"STATUS",
		"* STATUS \"box\" (MESSAGES 3 UIDNEXT 10 UIDVALIDITY 7 HIGHESTMODSEQ 99)\r\n$ OK\r\n"},
	{"SELECT",
		"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 10] x\r\n* OK [HIGHESTMODSEQ 99] x\r\n"
		"$ OK [READ-WRITE] done\r\n"},
	{"EXAMINE",
		"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 10] x\r\n* OK [HIGHESTMODSEQ 99] x\r\n"
		"$ OK [READ-ONLY] done\r\n"},
	{"UID SEARCH", "* ESEARCH (TAG \"$\") UID ALL 5:6,9\r\n$ OK\r\n"},
	{"UID FETCH 5:* (UID FLAGS",
		"* 1 FETCH (UID 5 FLAGS (\\Seen $x) INTERNALDATE \" 1-Jan-1970 00:01:00 +0000\" RFC822.SIZE 47 "
		"BODY[HEADER.FIELDS (FROM TO SUBJECT MESSAGE-ID)] {14}\r\nSubject: x\r\n\r\n)\r\n"
		"* 2 FETCH (BODY[HEADER.FIELDS (\"FROM\")] \"a\\\"b\" RFC822.SIZE 0 INTERNALDATE \"01-Jan-1970 00:00:00 +0000\" "
		"FLAGS () UID 6)\r\n"
		"* 3 FETCH (UID 9 FLAGS (\\Flagged) RFC822.SIZE 5000000000 INTERNALDATE \"01-Jan-1970 00:00:01 +0000\" "
		"BODY[HEADER.FIELDS (FROM)] NIL)\r\n$ OK\r\n"},
	{"UID FETCH 5:6,9 (UID BODYSTRUCTURE)",
		"* 1 FETCH (UID 5 BODYSTRUCTURE (" PLAIN
		"(\"image\" \"png\" (\"name\" {5}\r\na.png) NIL NIL \"base64\" 99 NIL "
		"(\"attachment\" NIL) NIL) \"mixed\" (\"boundary\" \"b\") NIL NIL))\r\n"
		"* 2 FETCH (UID 6 BODYSTRUCTURE " PLAIN ")\r\n* 3 FETCH (BODYSTRUCTURE " PLAIN
		" UID 9)\r\n$ OK\r\n"},
	{"UID FETCH 5 (UID BODY.PEEK[])",
		"* 1 FETCH (UID 5 BODY[] {47}\r\n" MESSAGE ")\r\n$ OK\r\n"},
	{"UID FETCH 5:6,9 (UID BODY.PEEK[])", "* 1 FETCH (UID 5 BODY[] {47}\r\n" MESSAGE
					      ")\r\n* 2 FETCH (BODY[] \"q\\\"q\" UID 6)\r\n"
					      "* 3 FETCH (UID 9 BODY[] {0}\r\n)\r\n$ OK\r\n"},
	{"LOGOUT", "* BYE bye\r\n$ OK\r\n"},
};

/* --- The server --- */

/* Sends what may pass, then ends the connection. false: it has ended. */
static bool give(struct whole *whole, int fd, const char *data, size_t len)
{
	size_t done = atomic_load(&whole->to_client), most = atomic_load(&whole->to_client_max);
	size_t pass = len < most - done ? len : most - done;
	while (pass > 0) {
		ssize_t n = send(fd, data, pass, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
		atomic_fetch_add(&whole->to_client, (size_t)n);
		data += n;
		pass -= (size_t)n;
		len -= (size_t)n;
	}
	return len == 0;
}

static bool answer(struct whole *whole, int fd, char *line)
{
	char *command = strchr(line, ' '), data[4096];
	size_t len = 0;
	const char *text = "$ BAD what?\r\n";
	if (!command)
		return false;
	*command++ = 0;
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		if (strncasecmp(command, table[i].command, strlen(table[i].command)) == 0) {
			text = table[i].answer;
			break;
		}
	for (; *text; text++) {
		if (*text == '$' && text[1] != 'x')
			len += (size_t)sprintf(data + len, "%s", line);
		else
			data[len++] = *text;
		assert_true(len < sizeof(data) - 100);
	}
	return give(whole, fd, data, len);
}

/* false: no line comes any more, or no more bytes may. */
static bool take_line(struct whole *whole, int fd, char *line, size_t cap)
{
	for (size_t len = 0; len < cap; len++) {
		if (atomic_load(&whole->to_server) == atomic_load(&whole->to_server_max))
			return false;
		if (recv(fd, line + len, 1, 0) != 1)
			return false;
		atomic_fetch_add(&whole->to_server, 1);
		if (len > 0 && line[len - 1] == '\r' && line[len] == '\n') {
			line[len - 1] = 0;
			return true;
		}
	}
	return false;
}

static void serve(struct whole *whole, int fd)
{
	static const char greeting[] = "* OK [CAPABILITY " CAPS "] hi\r\n";
	char line[2000];
	atomic_store(&whole->fd, fd);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	atomic_store(&whole->to_client, 0);
	atomic_store(&whole->to_server, 0);
	if (give(whole, fd, greeting, strlen(greeting)))
		while (take_line(whole, fd, line, sizeof(line)) && answer(whole, fd, line))
			;
	atomic_store(&whole->fd, -1);
	atomic_fetch_add(&whole->served, 1);
	close(fd);
}

static void *serve_all(void *arg)
{
	struct whole *whole = arg;
	while (!atomic_load(&whole->stopping)) {
		int fd = accept(whole->listener, NULL, NULL);
		if (fd >= 0)
			serve(whole, fd);
	}
	return NULL;
}

struct whole world;

static void listen_anywhere(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	world.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(world.listener, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(world.listener, 8), 0);
	assert_int_equal(getsockname(world.listener, (struct sockaddr *)&address, &len), 0);
	world.port = ntohs(address.sin_port);
}

int whole_set_up(void **state)
{
	struct source_error error;
	(void)state;
	world = (struct whole){.fd = -1, .to_client_max = WHOLE_ALL, .to_server_max = WHOLE_ALL};
	listen_anywhere();
	assert_int_equal(pthread_create(&world.thread, NULL, serve_all, &world), 0);
	struct net_params net = {.host = "127.0.0.1", .port = world.port, .tls = NET_TLS_NONE};
	assert_int_equal(net_context_create(&net, &world.net, &error), 0);
	world.password = secret_create("s3cret", 6);
	struct imap_params params = {.net = world.net, .user = "alice", .password = world.password};
	assert_int_equal(imap_source_create(&params, &world.source), 0);
	return 0;
}

int whole_tear_down(void **state)
{
	(void)state;
	atomic_store(&world.stopping, true);
	shutdown(world.listener, SHUT_RDWR);
	shutdown(atomic_load(&world.fd), SHUT_RDWR);
	pthread_join(world.thread, NULL);
	close(world.listener);
	world.source->ops->destroy(world.source);
	secret_destroy(world.password);
	net_context_destroy(world.net);
	return 0;
}

/* --- What the client is told --- */

struct log {
	char text[2000];
	size_t len;
};

__attribute__((format(printf, 2, 3))) static void note(struct log *log, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	log->len +=
		(size_t)vsnprintf(log->text + log->len, sizeof(log->text) - log->len, format, args);
	va_end(args);
	assert_true(log->len < sizeof(log->text));
}

static int on_mailbox(void *arg, const struct source_mailbox *mailbox)
{
	note(arg, "%s|%c|%s;", mailbox->name, mailbox->delimiter,
		mailbox->special_use ? mailbox->special_use : "");
	return 0;
}

static int on_row(void *arg, const struct source_row *row)
{
	note(arg, "%u %x [%s] @%lld #%llu <%.*s>;", row->uid, row->have, row->flags,
		(long long)row->date_s, (unsigned long long)row->size_bytes, (int)row->header_len,
		row->header_len ? row->header : "");
	return 0;
}

static int on_range(void *arg, uint32_t first, uint32_t last)
{
	note(arg, "%u-%u;", first, last);
	return 0;
}

static void note_part(struct log *log, const struct mime_part *part)
{
	note(log, "%s/%s:%llu", part->type, part->subtype, (unsigned long long)part->size_bytes);
	for (size_t i = 0; i < part->params.count; i++)
		note(log, ",%s=%s", part->params.items[i].name, part->params.items[i].value);
	for (size_t i = 0; i < part->child_count; i++) {
		note(log, "(");
		note_part(log, part->children[i]);
		note(log, ")");
	}
}

static int on_structure(void *arg, uint32_t uid, const struct mime_part *structure)
{
	note(arg, "%u ", uid);
	if (structure)
		note_part(arg, structure);
	note(arg, ";");
	return 0;
}

struct bulk {
	struct log log;
	bool asked, open, part;
};

static bool bulk_next(void *arg, struct source_bulk_set *ret)
{
	static const uint32_t uids[] = {5, 6, 9};
	struct bulk *bulk = arg;
	*ret = (struct source_bulk_set){.uids = uids, .count = 3, .limit_bytes = 1 << 20};
	bool first = !bulk->asked;
	bulk->asked = true;
	return first;
}

static int bulk_begin(void *arg, uint32_t uid, uint64_t offset, uint64_t size_bytes)
{
	struct bulk *bulk = arg;
	assert_false(bulk->open);
	bulk->open = true;
	note(&bulk->log, "%u@%llu+%llu ", uid, (unsigned long long)offset,
		(unsigned long long)size_bytes);
	return 0;
}

static void bulk_data(void *arg, const char *data, size_t len)
{
	struct bulk *bulk = arg;
	assert_true(bulk->open);
	note(&bulk->log, "%.*s", (int)len, data);
}

static void bulk_end(void *arg, bool whole)
{
	struct bulk *bulk = arg;
	assert_true(bulk->open);
	bulk->open = false;
	bulk->part |= !whole;
	note(&bulk->log, whole ? ";" : "!");
}

static void bulk_answered(void *arg, int err)
{
	struct bulk *bulk = arg;
	if (err == 0)
		note(&bulk->log, "=0;");
}

/* --- The steps --- */

#define WANT_LIST "INBOX|/|;Sent|/|\\Sent;a \"b\"|/|;Shared/x|/|;"
#define WANT_ROWS                                                                                  \
	"5 f [\\Seen $x] @60 #47 <Subject: x\r\n\r\n>;6 f [] @0 #0 <a\"b>;9 f [\\Flagged] @1 #5000000000 <>;"
#define WANT_STRUCTURES                                                                            \
	"5 multipart/mixed:0,boundary=b(text/plain:5,charset=utf-8)(image/png:99,name=a.png);"     \
	"6 text/plain:5,charset=utf-8;9 text/plain:5,charset=utf-8;"
#define WANT_BULK "5@0+47 " MESSAGE ";6@0+3 q\"q;9@0+0 ;"

static void is(const struct log *log, const char *want)
{
	assert_string_equal(log->text, want);
}

static int step_list(const struct source_ops *ops, struct whole_session *session)
{
	struct log log = {.len = 0};
	int r = ops->list(session->session, on_mailbox, &log, &session->error);
	if (r == 0)
		is(&log, WANT_LIST);
	return r;
}

static int step_quota(const struct source_ops *ops, struct whole_session *session)
{
	struct source_quota quota = {0};
	int r = ops->quota(session->session, &quota, &session->error);
	if (r == 0) {
		assert_true(quota.known);
		assert_int_equal(quota.used_bytes, 10 << 10);
		assert_int_equal(quota.limit_bytes, 512 << 10);
	}
	return r;
}

static void is_state(const struct source_state *state)
{
	assert_int_equal(state->uidvalidity, 7);
	assert_int_equal(state->uidnext, 10);
	assert_int_equal(state->messages, 3);
	assert_int_equal(state->modseq, 99);
}

static int step_state(
	const struct source_ops *ops, struct whole_session *session, enum whole_step step)
{
	struct source_state state = {0};
	int r = step == WHOLE_STATUS
	                ? ops->status(session->session, "box", &state, &session->error)
	                : ops->select(session->session, "box", true, NULL, &state, &session->error);
	if (r == 0)
		is_state(&state);
	return r;
}

static int step_rows(const struct source_ops *ops, struct whole_session *session)
{
	struct log log = {.len = 0};
	unsigned skipped = 0;
	int r = ops->rows(session->session, 5, UINT32_MAX, SOURCE_COLUMNS_ALL, on_row, &log,
		&skipped, &session->error);
	if (r == 0) {
		assert_int_equal(skipped, 0);
		is(&log, WANT_ROWS);
	}
	/* What is told before it fails is true. */
	assert_memory_equal(log.text, WANT_ROWS, log.len);
	return r;
}

static int step_uids(const struct source_ops *ops, struct whole_session *session)
{
	struct log log = {.len = 0};
	int r = ops->uids(session->session, 5, UINT32_MAX, on_range, &log, &session->error);
	if (r == 0)
		is(&log, "5-6;9-9;");
	return r;
}

static int step_structures(const struct source_ops *ops, struct whole_session *session)
{
	static const uint32_t uids[] = {5, 6, 9};
	struct log log = {.len = 0};
	int r = ops->structures(session->session, uids, 3, on_structure, &log, &session->error);
	if (r == 0)
		is(&log, WANT_STRUCTURES);
	assert_memory_equal(log.text, WANT_STRUCTURES, log.len);
	return r;
}

static int step_body(const struct source_ops *ops, struct whole_session *session)
{
	_cleanup_str_ struct str out = STR_INIT;
	int r = ops->body(session->session, 5, "", 0, 0, 0, &out, &session->error);
	if (r == 0)
		assert_string_equal(str_cstr(&out), MESSAGE);
	return r;
}

static int step_bulk(const struct source_ops *ops, struct whole_session *session)
{
	struct bulk bulk = {.asked = false};
	const struct source_bulk calls = {.arg = &bulk,
		.next = bulk_next,
		.begin = bulk_begin,
		.data = bulk_data,
		.end = bulk_end,
		.answered = bulk_answered};
	int r = ops->bulk(session->session, &calls, &session->error);
	assert_true(r < 0 || !bulk.open);
	if (r == 0)
		is(&bulk.log, WANT_BULK "=0;");
	else if (bulk.part)
		bulk.log.len--;
	assert_memory_equal(bulk.log.text, WANT_BULK "=0;", bulk.log.len);
	return r;
}

static int step_describe(const struct source_ops *ops, struct whole_session *session)
{
	_cleanup_str_ struct str out = STR_INIT;
	ops->describe(session->session, &out);
	/* For a person, and as much as there was memory for. */
	session->named =
		strncmp(str_cstr(&out), "Whole 1.0\n" CAPS, strlen("Whole 1.0\n" CAPS)) == 0;
	return str_error(&out);
}

int whole_step(struct whole *whole, struct whole_session *session, enum whole_step step)
{
	const struct source_ops *ops = whole->source->ops;
	int r;
	switch (step) {
	case WHOLE_CONNECT:
		r = ops->connect(
			whole->source, clock_now_ms() + 20000, &session->session, &session->error);
		if (r == 0)
			ops->set_timeout(session->session, 20000);
		return r;
	case WHOLE_LIST:
		return step_list(ops, session);
	case WHOLE_QUOTA:
		return step_quota(ops, session);
	case WHOLE_STATUS:
	case WHOLE_SELECT:
		return step_state(ops, session, step);
	case WHOLE_ROWS:
		return step_rows(ops, session);
	case WHOLE_UIDS:
		return step_uids(ops, session);
	case WHOLE_STRUCTURES:
		return step_structures(ops, session);
	case WHOLE_BODY:
		return step_body(ops, session);
	case WHOLE_BULK:
		return step_bulk(ops, session);
	case WHOLE_DESCRIBE:
		return step_describe(ops, session);
	default:
		return -EINVAL;
	}
}

void whole_end(struct whole *whole, struct whole_session *session, bool polite)
{
	if (session->session)
		whole->source->ops->disconnect(session->session, polite);
	*session = (struct whole_session){0};
}
