/* SPDX-License-Identifier: MIT */
/* The first words of a session that is logged in. None depends on the answer to another, so they go together. */
#include <string.h>

#include "mailfs/util/log.h"
#include "mailfs/util/quirk.h"
#include "namespace.h"
#include "private.h"

#define ERRANDS_MAX 3

struct opening {
	struct imap_errand errands[ERRANDS_MAX];
	size_t count;
	const struct imap_errand *id, *enable, *spaces; /* NULL: not among them */
};

static struct imap_command *next_command(struct opening *opening)
{
	return &opening->errands[opening->count].command;
}

static void add_id(struct opening *opening, struct imap_engine *engine)
{
	/* Some servers let nobody in who has not introduced himself. Others refuse it: no harm. */
	if (!(engine->caps.set & IMAP_CAP_ID))
		return;
	imap_command_init(next_command(opening), engine,
		"ID (\"name\" \"mailfs\" \"version\" \"%s\")", MAILFS_VERSION);
	log_debug("imap: ID");
	opening->id = &opening->errands[opening->count++];
}

static void add_enable(struct opening *opening, struct imap_engine *engine)
{
	if (!imap_enable_command(engine, next_command(opening)))
		return;
	opening->enable = &opening->errands[opening->count++];
}

static void add_spaces(struct opening *opening, struct imap_engine *engine)
{
	if (!engine->opening || !(engine->caps.set & IMAP_CAP_NAMESPACE))
		return;
	imap_command_init(next_command(opening), engine, "NAMESPACE");
	log_debug("imap: NAMESPACE");
	opening->spaces = &opening->errands[opening->count++];
}

static int opening_untagged(
	struct imap_engine *engine, const struct imap_response *response, void *arg)
{
	(void)arg;
	imap_enable_untagged(engine, response, NULL);
	return engine->opening ? imap_namespaces_untagged(engine, response, &engine->spaces) : 0;
}

int imap_open(struct imap_engine *engine, struct source_error *error)
{
	static const struct imap_exchange exchange = {
		.scope = SOURCE_SCOPE_ACCOUNT, .untagged = opening_untagged};
	struct opening opening = {.count = 0};
	add_id(&opening, engine);
	add_enable(&opening, engine);
	add_spaces(&opening, engine);
	int r = imap_engine_run_all(engine, opening.errands, opening.count, &exchange, error);
	if (r == 0 && opening.id && opening.id->answer.status != IMAP_OK)
		quirk_seen(QUIRK_ID_REFUSED);
	if (r == 0 && opening.enable)
		imap_enable_answered(engine, &opening.enable->answer);
	engine->has_spaces = r == 0 && opening.spaces;
	imap_errands_finish(opening.errands, opening.count);
	return r;
}
