/* SPDX-License-Identifier: MIT */
/* The structures of messages, in as few commands as their UIDs fit into. */
#include <errno.h>
#include <stdlib.h>

#include "mailfs/util/log.h"
#include "private.h"

struct structures {
	const uint32_t *uids; /* that were asked for, ascending */
	size_t count;
	source_structure_fn *fn;
	void *arg;
	struct imap_long own;
};

static int compare_uids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static bool is_asked(const struct structures *structures, uint32_t uid)
{
	return bsearch(&uid, structures->uids, structures->count, sizeof(uid), compare_uids) !=
	       NULL;
}

/* The BODYSTRUCTURE of a FETCH; NULL: it has none, and is about something else. */
static const struct imap_node *structure_find(
	const struct imap_tree *tree, const struct imap_node *item)
{
	while (item) {
		const struct imap_node *next, *value = imap_fetch_value(tree, item, &next);
		if (imap_node_is(item, "BODYSTRUCTURE"))
			return value;
		item = next;
	}
	return NULL;
}

static int structures_untagged(
	struct imap_engine *engine, const struct imap_response *response, void *arg)
{
	struct structures *structures = arg;
	struct imap_fetch fetch;
	struct mime_part *part = NULL;
	bool left_out = structures->own.left_out;
	structures->own.left_out = false;
	if (!imap_fetch_parse(engine, response, &fetch) || !is_asked(structures, fetch.uid))
		return 0;
	const struct imap_node *list = structure_find(&engine->tree, fetch.item);
	if (!list && !fetch.damaged)
		return 0;
	imap_engine_row(engine);
	bool damaged = !list || (fetch.damaged && !engine->tree.cut);
	int r = damaged ? -EPROTO : imap_bodystructure_parse(&engine->tree, list, &part);
	if (r < 0 && r != -EPROTO)
		return r;
	if (r < 0)
		log_info("message %u: the server's BODYSTRUCTURE can not be understood", fetch.uid);
	else if (left_out)
		part->cut |= MIME_CUT_HEADER;
	r = structures->fn(structures->arg, fetch.uid, part);
	mime_part_destroy(part);
	return r;
}

/*
 * The one structure that was asked for is longer than anybody reads: that it can not be had is what is told, so that no second connection is lost
 * over it.
 */
static void structure_too_long(
	const struct imap_engine *engine, const struct structures *structures)
{
	if (!engine->dead || engine->dead_err != -EMSGSIZE)
		return;
	log_info("message %u: the server's BODYSTRUCTURE is too long", *structures->uids);
	(void)structures->fn(structures->arg, *structures->uids, NULL);
}

/* As many of the UIDs as one command takes; *ret_taken: how many. */
static int structures_run(struct imap_engine *engine, struct structures *structures,
	size_t *ret_taken, struct source_error *error)
{
	struct net_limits limits;
	struct imap_exchange exchange = {.what = "the structure of messages can not be had",
		.scope = SOURCE_SCOPE_MAILBOX,
		.untagged = structures_untagged,
		.arg = structures,
		.limits = &limits,
		.bytes_max = IMAP_LIMIT_STRUCTURES_BYTES,
		.streaming = true};
	_cleanup_command_ struct imap_command command;
	structures->own = (struct imap_long){.engine = engine};
	imap_long_limits(&structures->own, IMAP_LIMIT_STRUCTURE_LINE_BYTES, &limits);
	imap_command_init(&command, engine, "UID FETCH ");
	*ret_taken = imap_uid_set_append(&command.text, structures->uids, structures->count);
	str_append_cstr(&command.text, " (UID BODYSTRUCTURE)");
	exchange.responses_max = 2 * (uint64_t)*ret_taken + IMAP_LIMIT_ROWS_EXTRA;
	log_debug("imap: UID FETCH BODYSTRUCTURE of %zu", *ret_taken);
	return imap_engine_run(engine, &command, &exchange, error);
}

int imap_structures(struct imap_engine *engine, const uint32_t *uids, size_t count,
	source_structure_fn *fn, void *arg, struct source_error *error)
{
	struct structures structures = {.uids = uids, .count = count, .fn = fn, .arg = arg};
	int r = imap_fetch_begin(engine, error);
	while (r == 0 && structures.count > 0) {
		size_t taken;
		r = structures_run(engine, &structures, &taken, error);
		if (r < 0 && count == 1)
			structure_too_long(engine, &structures);
		structures.uids += taken;
		structures.count -= taken;
	}
	return r;
}
