/* SPDX-License-Identifier: MIT */
/*
 * libetpan as a speaker of commands, and the only place that knows it.
 *
 * It never sees the wire. Its reads are answered with: a greeting of our own making; of the untagged responses,
 * those that the running command asks for, if they pass the gate; and a tagged answer of our own making with the server's
 * status, so that neither the server's words nor its response codes reach libetpan's parser. It gets OK only if the data
 * came that it expects behind an OK (it follows NULL otherwise), and BAD for every refusal (it leaks the answer on some
 * NOs). What the server really said is in engine->answer. A libetpan session lives for one command, so that nothing it
 * left unread can get into the next one; if it wants more than the answer, the connection is given up.
 *
 * NAMESPACE is not among its commands: its parser reads before the start of an empty prefix, leaks on a
 * refusal, and stops at the extension data in RFC 2342's own example. Nor is what is said in a flight of several (opening.c).
 */
#include <errno.h>
#include <libetpan/mailimap.h>
#include <libetpan/mailstream.h>
#include <stdio.h>
#include <string.h>

#include "etpan.h"
#include "gate.h"
#include "limits.h"
#include "mailfs/util/log.h"

#define STREAM_BUFFER_BYTES 8192 /* each line is a memmove of it; larger is slower */

struct etpan {
	struct imap_engine *engine;
	struct source_error *error;
	const char *expects; /* the untagged response that the command brings; NULL: none */
	mailimap *imap;
	struct str pending; /* bytes for libetpan */
	size_t taken;       /* of them */
	unsigned responses; /* read so far */
	bool sent;          /* libetpan has written something */
	bool brought;       /* what it expects has come: the first is handed over, no other */
	bool answered;      /* the tagged answer was handed over */
	int err;            /* the connection failed, error is filled */
};

static void hand_over(struct etpan *etpan, const void *data, size_t len)
{
	str_reset(&etpan->pending);
	str_append(&etpan->pending, data, len);
	str_append(&etpan->pending, "\r\n", 2);
	etpan->taken = 0;
}

static void hand_answer(struct etpan *etpan)
{
	char line[40];
	bool ok = etpan->engine->answer.status == IMAP_OK && (!etpan->expects || etpan->brought);
	int len = snprintf(
		line, sizeof(line), "C%d %s", etpan->engine->tag, ok ? "OK done" : "BAD refused");
	hand_over(etpan, line, (size_t)len);
	etpan->answered = true;
}

static void hand_untagged(struct etpan *etpan)
{
	const struct str *line = &etpan->engine->line;
	if (!etpan->expects || etpan->brought ||
		!imap_gate_passes(line->data, line->len, etpan->expects))
		return;
	hand_over(etpan, line->data, line->len);
	etpan->brought = true;
}

static int no_memory(struct source_error *error)
{
	return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER, SOURCE_CAUSE_OTHER,
		-ENOMEM, "out of memory");
}

/* Reads responses until there is one that libetpan may see. */
static int etpan_fetch(struct etpan *etpan)
{
	static const struct imap_exchange exchange = {0};
	struct imap_response response;
	if (etpan->answered)
		return imap_engine_broken(etpan->engine, "libetpan is out of step", etpan->error);
	while (etpan->responses++ < IMAP_LIMIT_ETPAN_RESPONSES) {
		int r = imap_engine_read(etpan->engine, &exchange, &response, etpan->error);
		if (r < 0)
			return r;
		if (response.kind == IMAP_CONTINUE)
			break;
		if (response.kind == IMAP_TAGGED)
			hand_answer(etpan);
		else
			hand_untagged(etpan);
		/* What could not be handed over is not waited for: nothing more may come. */
		if (str_error(&etpan->pending) < 0)
			return no_memory(etpan->error);
		if (etpan->taken < etpan->pending.len)
			return 0;
	}
	return imap_engine_broken(etpan->engine, "not an answer to the command", etpan->error);
}

static ssize_t etpan_read(void *arg, void *buf, size_t cap)
{
	struct etpan *etpan = arg;
	if (etpan->err == 0 && etpan->taken == etpan->pending.len) {
		etpan->engine->tag = etpan->imap->imap_tag;
		etpan->err = etpan_fetch(etpan);
	}
	if (etpan->err < 0)
		return etpan->err;
	size_t left = etpan->pending.len - etpan->taken;
	size_t len = cap < left ? cap : left;
	memcpy(buf, etpan->pending.data + etpan->taken, len);
	etpan->taken += len;
	return (ssize_t)len;
}

static int etpan_write(void *arg, const void *data, size_t len)
{
	struct etpan *etpan = arg;
	etpan->sent = true;
	if (etpan->err == 0)
		etpan->err = imap_engine_send(etpan->engine, data, len, etpan->error);
	return etpan->err;
}

static const struct net_low_ops low_ops = {.read = etpan_read, .write = etpan_write};

/* Ends the session without LOGOUT, which mailimap_free() would send; the stream's buffer may hold a password. */
static void etpan_close(struct etpan *etpan)
{
	mailstream *stream = etpan->imap ? etpan->imap->imap_stream : NULL;
	if (stream) {
		secret_wipe(stream->write_buffer, stream->buffer_max_size);
		mailstream_close(stream);
		etpan->imap->imap_stream = NULL;
	}
	if (etpan->imap)
		mailimap_free(etpan->imap);
	str_finish(&etpan->pending);
}

static mailstream *stream_create(struct etpan *etpan)
{
	mailstream_low *low = net_low_create(&low_ops, etpan);
	mailstream *stream = low ? mailstream_new(low, STREAM_BUFFER_BYTES) : NULL;
	if (low && !stream) {
		mailstream_low_close(low);
		mailstream_low_free(low);
	}
	return stream;
}

/* Makes a session and replays a greeting for it; it goes on with the engine's tags. */
static int etpan_open(struct etpan *etpan)
{
	static const char greeting[] = "* OK mailfs";
	etpan->imap = mailimap_new(0, NULL);
	mailstream *stream = etpan->imap ? stream_create(etpan) : NULL;
	if (!stream)
		return no_memory(etpan->error);
	mailimap_set_163_workaround_enabled(etpan->imap, 1); /* tags begin with a letter */
	etpan->imap->imap_tag = etpan->engine->tag;
	hand_over(etpan, greeting, strlen(greeting));
	int r = str_error(&etpan->pending) < 0 ? MAILIMAP_ERROR_MEMORY
	                                       : mailimap_connect(etpan->imap, stream);
	if (!etpan->imap->imap_stream)
		mailstream_close(stream);
	if (r != MAILIMAP_NO_ERROR_NON_AUTHENTICATED)
		return no_memory(etpan->error);
	return 0;
}

/*
 * The command has returned. A line that libetpan could not parse leaves the tagged answer unread: it is read here. 0: the
 * answer is in engine->answer, whatever it is.
 */
static int etpan_settle(struct etpan *etpan)
{
	if (!etpan->sent)
		return no_memory(etpan->error);
	while (etpan->err == 0 && !etpan->answered)
		etpan->err = etpan_fetch(etpan);
	etpan->engine->tag = etpan->imap->imap_tag;
	return etpan->err;
}

int imap_etpan_capability(struct imap_engine *engine, struct source_error *error)
{
	struct etpan etpan = {.engine = engine, .error = error, .expects = "CAPABILITY"};
	struct mailimap_capability_data *data = NULL;
	log_debug("imap: CAPABILITY");
	engine->answer = (struct imap_answer){0};
	engine->caps = (struct imap_capabilities){0};
	int r = etpan_open(&etpan);
	if (r == 0) {
		/* What it could parse is not asked for: a doubled blank is enough for it to give up on the list,
		 * which imap_engine_read() has noted when it came by. */
		mailimap_capability(etpan.imap, &data);
		r = etpan_settle(&etpan);
	}
	if (data)
		mailimap_capability_data_free(data);
	etpan_close(&etpan);
	if (r == 0 && engine->answer.status != IMAP_OK)
		r = imap_answer_fail(&engine->answer, SOURCE_SCOPE_ACCOUNT, "CAPABILITY", error);
	if (r == 0 && !engine->caps.known)
		r = imap_engine_broken(engine, "no capabilities", error);
	return r;
}

static bool is_printable(const char *text)
{
	const char *p = text;
	while (*p >= 0x20 && *p < 0x7f)
		p++;
	return *p == 0 && p > text && p - text < STREAM_BUFFER_BYTES / 4;
}

int imap_etpan_login(struct imap_engine *engine, const char *user, const char *password,
	struct source_error *error)
{
	struct etpan etpan = {.engine = engine, .error = error};
	if (!is_printable(user) || !is_printable(password))
		return -EINVAL;
	log_debug("imap: LOGIN");
	engine->answer = (struct imap_answer){0};
	int r = etpan_open(&etpan);
	if (r == 0) {
		mailimap_login(etpan.imap, user, password);
		r = etpan_settle(&etpan);
	}
	etpan_close(&etpan);
	return r;
}
