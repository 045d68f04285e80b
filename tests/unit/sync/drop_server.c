/* SPDX-License-Identifier: MIT */
/* The maildrop in memory. A letter's bytes are computed from its content's number, so that it may have any length. */
#include "drop_server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mailfs/util/hash.h"

#define PIECE 700

struct maildrop_session {
	struct server *server;
	uint32_t *view; /* letters, by number - 1 */
	bool *marked;
	size_t count;
	unsigned callbacks;
	bool dead, cancelled; /* server->lock */
};

/* --- Letters --- */

static size_t letter_header(const struct letter *letter, char out[256])
{
	return (size_t)snprintf(out, 256,
		"Received: from a by b; Tue, 1 Jul 2003 10:52:%02u +0000\r\n"
		"From: Writer %u <w%u@example.org>\r\nSubject: Letter %u\r\n"
		"To: alice@test\r\nMessage-ID: <%u@example.org>\r\nX-No: x\r\n\r\n",
		letter->content % 60, letter->content, letter->content, letter->content,
		letter->content);
}

static void letter_bytes(const struct letter *letter, uint64_t offset, char *out, size_t len)
{
	char header[256];
	size_t header_len = letter_header(letter, header);
	for (size_t i = 0; i < len; i++) {
		uint64_t at = offset + i;
		uint64_t column = (at - header_len) % 72;
		if (at < header_len)
			out[i] = header[at];
		else if (column >= 70)
			out[i] = "\r\n"[column - 70];
		else
			out[i] = (char)('a' + (at * 7 + at / 72 + letter->content) % 26);
	}
}

/* Not SHA-256, but 32 bytes that differ where contents do. */
struct digest {
	uint64_t lanes[4];
};

static struct digest digest_begin(void)
{
	return (struct digest){{HASH64_INIT, HASH64_INIT + 1, HASH64_INIT + 2, HASH64_INIT + 3}};
}

static void digest_add(struct digest *digest, const void *data, size_t len)
{
	for (size_t i = 0; i < 4; i++)
		digest->lanes[i] = hash64(digest->lanes[i], data, len);
}

void content_digest(const struct letter *letter, unsigned char out[MAILDROP_DIGEST_BYTES])
{
	struct digest digest = digest_begin();
	char piece[PIECE];
	for (uint64_t at = 0; at < letter->len; at += PIECE) {
		size_t len = letter->len - at < PIECE ? (size_t)(letter->len - at) : PIECE;
		letter_bytes(letter, at, piece, len);
		digest_add(&digest, piece, len);
	}
	memcpy(out, digest.lanes, sizeof(digest.lanes));
}

bool file_digest(int fd, uint64_t len, unsigned char out[MAILDROP_DIGEST_BYTES])
{
	struct digest digest = digest_begin();
	char buf[8192];
	while (len > 0) {
		ssize_t n = read(fd, buf, len < sizeof(buf) ? len : sizeof(buf));
		if (n <= 0)
			return false;
		digest_add(&digest, buf, (size_t)n);
		len -= (uint64_t)n;
	}
	memcpy(out, digest.lanes, sizeof(digest.lanes));
	return true;
}

uint64_t letter_lines(const struct letter *letter)
{
	uint64_t lines = 0;
	for (uint64_t at = 0; at < letter->len; at++) {
		char byte;
		letter_bytes(letter, at, &byte, 1);
		lines += byte == '\n';
	}
	return lines;
}

struct letter *letter_add(struct fixture *f, const char *uidl, unsigned content, uint64_t len)
{
	assert_true(*f->server.count < LETTERS_MAX);
	struct letter *letter = &f->server.letters[*f->server.count];
	*letter = (struct letter){.content = content, .len = len};
	snprintf(letter->uidl, sizeof(letter->uidl), "%s", uidl);
	++*f->server.count;
	return letter;
}

void letters_add(struct fixture *f, unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++) {
		char uidl[24];
		snprintf(uidl, sizeof(uidl), "uidl-%u", i);
		letter_add(f, uidl, i, 300 + i * 37 % 3000);
	}
}

size_t letters_gone(struct fixture *f)
{
	size_t gone = 0;
	for (size_t i = 0; i < *f->server.count; i++)
		gone += f->server.letters[i].gone;
	return gone;
}

/* --- Sessions --- */

static int answer_fail(struct source_error *error, enum source_scope scope, enum source_retry retry,
	enum source_cause cause, int err, const char *text)
{
	session_fail(error, scope, err, "%s", text);
	error->retry = retry;
	error->cause = cause;
	return err;
}

static int lost(struct source_error *error, const char *text)
{
	return answer_fail(
		error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_NOW, SOURCE_CAUSE_CONNECT, -EIO, text);
}

static int session_dies(struct maildrop_session *session, struct source_error *error)
{
	session->dead = true;
	if (session->cancelled)
		return answer_fail(error, SOURCE_SCOPE_CANCELLED, SOURCE_RETRY_NEVER,
			SOURCE_CAUSE_OTHER, -ECANCELED, "cancelled");
	if (session->server->silent || session->server->times_out)
		return answer_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_CONNECT, -ETIMEDOUT, "test: timed out");
	return lost(error, "test: connection cut");
}

/* Every call begins here. Lock held on return. */
static struct server *session_enter(struct maildrop_session *session)
{
	struct server *server = session->server;
	pthread_mutex_lock(&server->lock);
	server->counts.misuse += session->dead;
	return server;
}

static void session_view(struct maildrop_session *session)
{
	struct server *server = session->server;
	session->view = calloc(*server->count + 1, sizeof(*session->view));
	session->marked = calloc(*server->count + 1, sizeof(*session->marked));
	for (uint32_t i = 0; i < *server->count; i++)
		if (!server->letters[i].gone)
			session->view[session->count++] = i;
}

static int drop_connect(struct maildrop *maildrop, int64_t deadline_ms,
	struct maildrop_session **ret, struct source_error *error)
{
	struct server *server = (struct server *)maildrop;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&server->lock);
	(void)deadline_ms;
	server->counts.connects++;
	if (server->away || server->sessions_left == 0)
		return answer_fail(error, SOURCE_SCOPE_ACCOUNT, server->away_retry,
			server->away_cause, -EIO, "test: can not connect");
	server->sessions_left -= server->sessions_left > 0;
	struct maildrop_session *session = calloc(1, sizeof(*session));
	session->server = server;
	session_view(session);
	*ret = session;
	return 0;
}

static void drop_disconnect(struct maildrop_session *session)
{
	free(session->view);
	free(session->marked);
	free(session);
}

static void drop_cancel(struct maildrop_session *session)
{
	pthread_mutex_lock(&session->server->lock);
	session->cancelled = true;
	pthread_cond_broadcast(&session->server->changed);
	pthread_mutex_unlock(&session->server->lock);
}

static void drop_set_timeout(struct maildrop_session *session, int timeout_ms)
{
	(void)session;
	(void)timeout_ms;
}

static void drop_abilities(struct maildrop_session *session, struct maildrop_abilities *ret)
{
	*ret = session->server->abilities;
}

static int drop_list(
	struct maildrop_session *session, struct maildrop_listing *ret, struct source_error *error)
{
	struct server *server = session_enter(session);
	_cleanup_unlock_ pthread_mutex_t *guard = &server->lock;
	uint64_t more = server->unlisted[server->counts.lists < 2 ? server->counts.lists : 2];
	size_t count = server->listless && more ? 0 : session->count;
	server->counts.lists++;
	if (session->cancelled || server->silent)
		return session_dies(session, error);
	*ret = (struct maildrop_listing){.count = count,
		.messages = session->count + more,
		.doubtful = server->doubtful,
		.entries = calloc(session->count + 1, sizeof(*ret->entries))};
	for (uint32_t i = 0; i < count; i++) {
		const struct letter *letter = &server->letters[session->view[i]];
		size_t len = server->abilities.uidl ? strlen(letter->uidl) : 0;
		ret->entries[i] = (struct maildrop_entry){.number = i + 1,
			.uidl = (uint32_t)ret->uidls.len,
			.uidl_len = (uint32_t)len,
			.size_bytes = letter->listed ? letter->listed : letter->len};
		str_append(&ret->uidls, letter->uidl, len);
	}
	return 0;
}

/* Before each callback: waits, or cuts. Lock not held. */
static int step(struct maildrop_session *session, const struct letter *letter, bool begin,
	uint64_t at, struct source_error *error)
{
	struct server *server = session->server;
	if (server->delay_us)
		usleep(server->delay_us);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&server->lock);
	while (begin && server->hold && !session->cancelled)
		pthread_cond_wait(&server->changed, &server->lock);
	unsigned all = ++server->counts.callbacks, own = ++session->callbacks;
	bool cut = all == server->cut_at || (server->cut_each && own >= server->cut_each) ||
	           (letter->breaks && at >= letter->len / 2);
	return session->cancelled || cut ? session_dies(session, error) : 0;
}

static int send_refusal(const struct maildrop_sink *sink, void *cookie)
{
	struct source_error error;
	answer_fail(&error, SOURCE_SCOPE_MESSAGE, SOURCE_RETRY_LATER, SOURCE_CAUSE_OTHER, -ENOENT,
		"-ERR it is locked");
	struct maildrop_result result = {.err = -ENOENT, .error = &error};
	return sink->end(sink->arg, cookie, &result);
}

static int send_letter(struct maildrop_session *session, const struct letter *letter, uint64_t len,
	const struct maildrop_sink *sink, void *cookie, struct source_error *error)
{
	struct digest digest = digest_begin();
	struct maildrop_result result = {.size_bytes = len};
	char piece[PIECE * 64];
	size_t size = len > 100000 ? sizeof(piece) : PIECE;
	int err = 0;
	for (uint64_t at = 0; at < len && err == 0; at += size) {
		size_t now = len - at < size ? (size_t)(len - at) : size;
		letter_bytes(letter, at, piece, now);
		digest_add(&digest, piece, now);
		err = step(session, letter, at == 0, at, error);
		if (err == 0)
			err = sink->data(sink->arg, cookie, piece, now);
	}
	if (err == 0)
		err = step(session, letter, len == 0, len, error);
	memcpy(result.sha256, digest.lanes, sizeof(digest.lanes));
	if (err == 0)
		err = sink->end(sink->arg, cookie, &result);
	session->dead = session->dead || err < 0;
	return err;
}

static struct letter *letter_at(struct maildrop_session *session, uint32_t number)
{
	struct server *server = session->server;
	if (number >= 1 && number <= session->count)
		return &server->letters[session->view[number - 1]];
	server->counts.misuse++;
	return &server->letters[0];
}

static int drop_retrieve(struct maildrop_session *session, bool header,
	const struct maildrop_sink *sink, struct source_error *error)
{
	struct server *server = session_enter(session);
	pthread_mutex_unlock(&server->lock);
	struct maildrop_want want;
	char text[256];
	int err = 0;
	while (err == 0 && sink->next(sink->arg, &want)) {
		pthread_mutex_lock(&server->lock);
		struct letter *letter = letter_at(session, want.number);
		if (!header && server->counts.retrs < 16)
			server->order[server->counts.retrs] = letter->content;
		server->counts.tops += header;
		server->counts.retrs += !header;
		pthread_mutex_unlock(&server->lock);
		uint64_t len = header ? letter_header(letter, text) : letter->len;
		if (header && letter->breaks_top)
			return session_dies(session, error);
		err = letter->refused ? send_refusal(sink, want.cookie)
		                      : send_letter(session, letter, len, sink, want.cookie, error);
		if (err == 0 && !header && !letter->refused)
			letter->came_out++;
	}
	return err;
}

/* Whether its content is recorded, and the bytes of that record are here. */
static bool is_durable(struct fixture *f, const struct letter *letter)
{
	struct store_spool record;
	return record_find(f, letter->content, &record) && !record.lost &&
	       record.size_bytes == letter->len && record_sound(f, &record);
}

static int drop_remove(struct maildrop_session *session, const uint32_t *numbers, size_t count,
	maildrop_removed_fn *fn, void *arg, struct source_error *error)
{
	struct server *server = session_enter(session);
	pthread_mutex_unlock(&server->lock);
	for (size_t i = 0; i < count; i++) {
		struct letter *letter = letter_at(session, numbers[i]);
		bool durable = is_durable(server->fixture, letter);
		pthread_mutex_lock(&server->lock);
		server->counts.deles++;
		server->counts.not_durable += !durable;
		pthread_mutex_unlock(&server->lock);
		if (server->cut_remove)
			return session_dies(session, error);
		session->marked[numbers[i] - 1] = !letter->kept;
		fn(arg, numbers[i], letter->kept ? -EACCES : 0, letter->kept ? "-ERR no" : NULL);
	}
	return 0;
}

static int drop_quit(struct maildrop_session *session, struct source_error *error)
{
	struct server *server = session_enter(session);
	_cleanup_unlock_ pthread_mutex_t *guard = &server->lock;
	server->counts.quits++;
	session->dead = true;
	for (size_t i = 0; i < session->count; i++)
		if (session->marked[i] && (!server->cut_quit || server->cut_quit_deletes))
			server->letters[session->view[i]].gone = true;
	return server->cut_quit ? lost(error, "test: QUIT was not answered") : 0;
}

static void drop_leave(struct maildrop_session *session)
{
	struct server *server = session_enter(session);
	_cleanup_unlock_ pthread_mutex_t *guard = &server->lock;
	server->counts.quits++;
	for (size_t i = 0; i < session->count; i++)
		assert_false(session->marked[i]);
	session->dead = true;
}

static void drop_destroy(struct maildrop *maildrop)
{
	(void)maildrop;
}

static const struct maildrop_ops server_ops = {
	.connect = drop_connect,
	.disconnect = drop_disconnect,
	.cancel = drop_cancel,
	.set_timeout = drop_set_timeout,
	.abilities = drop_abilities,
	.list = drop_list,
	.retrieve = drop_retrieve,
	.remove = drop_remove,
	.quit = drop_quit,
	.leave = drop_leave,
	.destroy = drop_destroy,
};

/* --- The server --- */

static void *shared(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_true(memory != MAP_FAILED);
	return memory;
}

void server_init(struct server *server, struct fixture *fixture)
{
	*server = (struct server){.base = {&server_ops},
		.fixture = fixture,
		.abilities = {.uidl = true, .pipelining = true, .expire_days = -1},
		.away_cause = SOURCE_CAUSE_CONNECT,
		.away_retry = SOURCE_RETRY_LATER,
		.sessions_left = -1};
	server->letters = shared(LETTERS_MAX * sizeof(*server->letters));
	server->count = shared(sizeof(*server->count));
	pthread_mutex_init(&server->lock, NULL);
	pthread_cond_init(&server->changed, NULL);
}

void server_finish(struct server *server)
{
	munmap(server->letters, LETTERS_MAX * sizeof(*server->letters));
	munmap(server->count, sizeof(*server->count));
	pthread_cond_destroy(&server->changed);
	pthread_mutex_destroy(&server->lock);
}

struct server_counts server_counts(struct server *server)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&server->lock);
	return server->counts;
}

void server_reset_counts(struct server *server)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&server->lock);
	server->counts = (struct server_counts){
		.misuse = server->counts.misuse, .not_durable = server->counts.not_durable};
}
