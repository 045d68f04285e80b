/* SPDX-License-Identifier: MIT */
/*
 * COMPRESS=DEFLATE (RFC 4978). A session is logged in before anybody else can use it, so the login is never deflated. What a server has
 * buffered behind its OK is deflated already: the framing leaves it where it is, net takes it over from there.
 *
 * A refusal ends nothing: [COMPRESSIONACTIVE] says that something below does it already, other servers announce what they were
 * built without.
 */
#include <errno.h>

#include "mailfs/util/log.h"
#include "private.h"

static int unable(struct imap_engine *engine, struct source_error *error)
{
	bool refused = imap_engine_refused(engine);
	return source_fail(error, SOURCE_SCOPE_MESSAGE, SOURCE_RETRY_NEVER, SOURCE_CAUSE_OTHER,
		-EOPNOTSUPP, "the server does not compress%s%s", refused ? ": " : "",
		refused ? engine->answer.text : "");
}

int imap_compress(struct imap_engine *engine, struct source_error *error)
{
	static const struct imap_exchange exchange = {
		.what = "COMPRESS", .scope = SOURCE_SCOPE_MESSAGE};
	_cleanup_command_ struct imap_command command = {0};
	engine->answer = (struct imap_answer){0};
	if (!(engine->caps.set & IMAP_CAP_COMPRESS) || engine->compressed)
		return unable(engine, error);
	imap_engine_begin(engine);
	imap_command_init(&command, engine, "COMPRESS DEFLATE");
	log_debug("imap: COMPRESS DEFLATE");
	int r = imap_engine_run(engine, &command, &exchange, error);
	if (imap_engine_refused(engine)) {
		imap_engine_refuse(engine, IMAP_CAP_COMPRESS, "COMPRESS=DEFLATE");
		return unable(engine, error);
	}
	/* With an OK the server deflates from here on, whatever else this call came to. */
	if (!engine->dead && engine->answer.status == IMAP_OK) {
		engine->compressed = true;
		int err = net_start_deflate(engine->stream);
		if (err < 0)
			return imap_engine_lost(engine, err, error);
	}
	return r;
}
