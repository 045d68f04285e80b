/* SPDX-License-Identifier: MIT */
/*
 * IMAP as a source: sessions, and the calls of source.h handed to the files that do them. Where a caller passes no
 * source_error, one is put in its place, so that the files below need not ask.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/list.h"
#include "mailfs/util/log.h"
#include "private.h"

#define LOGOUT_MS 2000

struct imap_source {
	struct source base;
	struct net_context *net;
	char *user;
	const struct secret *password;
	bool token;
	atomic_bool opened;  /* there was a session */
	atomic_uint lacking; /* of imap_login_params; counts as long as logins succeed */
};

/* What a struct source_session is here. */
struct imap_session {
	struct imap_engine engine;
	struct source_error spare;
};

static struct imap_session *session_of(struct source_session *session)
{
	return (struct imap_session *)session;
}

static struct imap_engine *engine_of(struct source_session *session, struct source_error **error)
{
	struct imap_session *own = session_of(session);
	if (!*error)
		*error = &own->spare;
	return &own->engine;
}

static int source_login(
	struct imap_source *source, struct imap_engine *engine, struct source_error *error)
{
	const struct imap_login_params params = {.tls = net_context_params(source->net)->tls,
		.user = source->user,
		.password = source->password,
		.token = source->token,
		.lacking = atomic_load(&source->lacking)};
	int r = imap_login(engine, &params, error);
	if (r == 0)
		atomic_fetch_or(&source->lacking, engine->lacking);
	else if (error->cause == SOURCE_CAUSE_LOGIN)
		atomic_store(&source->lacking, 0);
	return r;
}

static int source_connect(struct source *base, int64_t deadline_ms, struct source_session **ret,
	struct source_error *error)
{
	struct imap_source *source = container_of(base, struct imap_source, base);
	struct source_error spare;
	struct net_stream *stream;
	if (!error)
		error = &spare;
	_cleanup_free_ struct imap_session *session = calloc(1, sizeof(*session));
	if (!session)
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_OTHER, -ENOMEM, "out of memory");
	if (net_connect(source->net, deadline_ms, &stream, error) < 0)
		return error->err;
	imap_engine_init(&session->engine, stream);
	net_set_deadline(stream, deadline_ms);
	session->engine.opening = !atomic_load(&source->opened);
	int r = source_login(source, &session->engine, error);
	if (r < 0) {
		imap_engine_finish(&session->engine);
		return r;
	}
	net_established(stream);
	atomic_store(&source->opened, true);
	*ret = (struct source_session *)steal_ptr(session);
	return 0;
}

static void say_logout(struct imap_engine *engine)
{
	static const struct imap_exchange exchange = {.responses_max = 100};
	struct source_error error;
	_cleanup_command_ struct imap_command command;
	net_set_deadline(engine->stream, clock_now_ms() + LOGOUT_MS);
	engine->leaving = true;
	imap_command_init(&command, engine, "LOGOUT");
	log_debug("imap: LOGOUT");
	imap_engine_run(engine, &command, &exchange, &error);
}

static void source_disconnect(struct source_session *session, bool polite)
{
	struct imap_session *own = session_of(session);
	if (polite && !own->engine.dead)
		say_logout(&own->engine);
	imap_engine_finish(&own->engine);
	free(own);
}

static void source_cancel(struct source_session *session)
{
	net_cancel(session_of(session)->engine.stream);
}

static void source_set_timeout(struct source_session *session, int timeout_ms)
{
	session_of(session)->engine.timeout_ms = timeout_ms;
}

static int source_list(struct source_session *session, source_mailbox_fn *fn, void *arg,
	struct source_error *error)
{
	struct imap_engine *engine = engine_of(session, &error);
	return imap_list(engine, fn, arg, error);
}

static int source_quota(
	struct source_session *session, struct source_quota *ret, struct source_error *error)
{
	struct imap_engine *engine = engine_of(session, &error);
	return imap_quota(engine, ret, error);
}

static int source_select(struct source_session *session, const char *mailbox, bool readonly,
	const struct source_resync *resync, struct source_state *ret, struct source_error *error)
{
	struct imap_engine *engine = engine_of(session, &error);
	return imap_select(engine, mailbox, readonly, resync, ret, error);
}

static int source_status(struct source_session *session, const char *mailbox,
	struct source_state *ret, struct source_error *error)
{
	struct imap_engine *engine = engine_of(session, &error);
	return imap_status(engine, mailbox, ret, error);
}

static int source_rows(struct source_session *session, uint32_t first, uint32_t last,
	enum source_columns columns, source_row_fn *fn, void *arg, unsigned *ret_skipped,
	struct source_error *error)
{
	struct imap_engine *engine = engine_of(session, &error);
	return imap_rows(engine, first, last, columns, fn, arg, ret_skipped, error);
}

static int source_changed(struct source_session *session, uint32_t first, uint32_t last,
	uint64_t modseq, source_row_fn *fn, void *arg, unsigned *ret_skipped,
	struct source_error *error)
{
	struct imap_engine *engine = engine_of(session, &error);
	return imap_changed(engine, first, last, modseq, fn, arg, ret_skipped, error);
}

static int source_uids(struct source_session *session, uint32_t first, uint32_t last,
	source_range_fn *fn, void *arg, struct source_error *error)
{
	struct imap_engine *engine = engine_of(session, &error);
	return imap_uids(engine, first, last, fn, arg, error);
}

static int source_structures(struct source_session *session, const uint32_t *uids, size_t count,
	source_structure_fn *fn, void *arg, struct source_error *error)
{
	struct imap_engine *engine = engine_of(session, &error);
	return imap_structures(engine, uids, count, fn, arg, error);
}

static int source_body(struct source_session *session, uint32_t uid, const char *section,
	uint64_t offset, uint64_t length, uint64_t limit_bytes, struct str *out,
	struct source_error *error)
{
	struct imap_engine *engine = engine_of(session, &error);
	return imap_body(engine, uid, section, offset, length, limit_bytes, out, error);
}

static int source_bulk(
	struct source_session *session, const struct source_bulk *bulk, struct source_error *error)
{
	struct imap_engine *engine = engine_of(session, &error);
	return imap_bulk(engine, bulk, error);
}

static int source_watch(struct source_session *session, const char *mailbox, int64_t until_ms,
	source_event_fn *fn, void *arg, struct source_error *error)
{
	struct imap_engine *engine = engine_of(session, &error);
	return imap_watch(engine, mailbox, until_ms, fn, arg, error);
}

static void source_poke(struct source_session *session)
{
	net_poke(session_of(session)->engine.stream);
}

static unsigned source_abilities(const struct source_session *session)
{
	const struct imap_engine *engine = &((const struct imap_session *)session)->engine;
	unsigned set = engine->caps.set;
	return (set & IMAP_CAP_CONDSTORE ? SOURCE_CAN_CONDSTORE : 0U) |
	       (set & IMAP_CAP_QRESYNC && engine->qresync ? SOURCE_CAN_QRESYNC : 0U) |
	       (set & IMAP_CAP_IDLE ? SOURCE_CAN_IDLE : 0U) |
	       (set & IMAP_CAP_NOTIFY ? SOURCE_CAN_NOTIFY : 0U) |
	       (set & IMAP_CAP_COMPRESS && !engine->compressed ? SOURCE_CAN_COMPRESS : 0U);
}

static void source_describe(const struct source_session *session, struct str *out)
{
	const struct imap_engine *engine = &((const struct imap_session *)session)->engine;
	if (engine->name.len > 0)
		str_printf(out, "%s\n", str_cstr(&engine->name));
	str_printf(out, "%s\n", str_cstr(&engine->words));
}

static void source_traffic(
	const struct source_session *session, uint64_t *ret_in, uint64_t *ret_out)
{
	net_traffic(((const struct imap_session *)session)->engine.stream, ret_in, ret_out);
}

static int source_compress(struct source_session *session, struct source_error *error)
{
	struct imap_engine *engine = engine_of(session, &error);
	return imap_compress(engine, error);
}

static void source_flow(const struct source_session *session, struct source_flow *ret)
{
	net_flow(((const struct imap_session *)session)->engine.stream, ret);
}

static void source_destroy(struct source *base)
{
	struct imap_source *source = container_of(base, struct imap_source, base);
	free(source->user);
	free(source);
}

static const struct source_ops imap_ops = {
	.connect = source_connect,
	.disconnect = source_disconnect,
	.cancel = source_cancel,
	.set_timeout = source_set_timeout,
	.list = source_list,
	.quota = source_quota,
	.select = source_select,
	.status = source_status,
	.rows = source_rows,
	.changed = source_changed,
	.uids = source_uids,
	.structures = source_structures,
	.body = source_body,
	.bulk = source_bulk,
	.compress = source_compress,
	.watch = source_watch,
	.poke = source_poke,
	.abilities = source_abilities,
	.describe = source_describe,
	.traffic = source_traffic,
	.flow = source_flow,
	.destroy = source_destroy,
};

int imap_source_create(const struct imap_params *params, struct source **ret)
{
	_cleanup_free_ struct imap_source *source = calloc(1, sizeof(*source));
	if (!source)
		return -ENOMEM;
	source->base.ops = &imap_ops;
	source->net = params->net;
	source->password = params->password;
	source->token = params->token;
	source->user = strdup(params->user);
	if (!source->user)
		return -ENOMEM;
	*ret = &steal_ptr(source)->base;
	return 0;
}
