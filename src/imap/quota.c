/* SPDX-License-Identifier: MIT */
/*
 * The quota of the INBOX (RFC 9208 GETQUOTAROOT). Of several roots, the one with the least room counts, because it
 * is the one that fills first.
 */
#include "mailfs/util/log.h"
#include "private.h"

/* STORAGE is told in units of 1024 octets. */
static uint64_t storage_bytes(uint64_t units)
{
	return units > UINT64_MAX / 1024 ? UINT64_MAX : units * 1024;
}

static uint64_t room_bytes(const struct source_quota *quota)
{
	if (quota->limit_bytes == 0)
		return UINT64_MAX;
	return quota->used_bytes < quota->limit_bytes ? quota->limit_bytes - quota->used_bytes : 0;
}

static void read_resource(
	struct source_quota *quota, const struct imap_node *name, uint64_t used, uint64_t limit)
{
	if (imap_node_is(name, "STORAGE")) {
		quota->used_bytes = storage_bytes(used);
		quota->limit_bytes = storage_bytes(limit);
	} else if (imap_node_is(name, "MESSAGE")) {
		quota->used_messages = used;
		quota->limit_messages = limit;
	}
}

/* (NAME USED LIMIT NAME USED LIMIT …) */
static void read_resources(
	const struct imap_tree *tree, const struct imap_node *list, struct source_quota *quota)
{
	const struct imap_node *name = imap_node_child(tree, list);
	while (name) {
		uint64_t used, limit;
		const struct imap_node *used_node = imap_node_next(tree, name);
		const struct imap_node *limit_node = imap_node_next(tree, used_node);
		if (imap_node_number(used_node, UINT64_MAX, &used) &&
			imap_node_number(limit_node, UINT64_MAX, &limit))
			read_resource(quota, name, used, limit);
		name = imap_node_next(tree, limit_node);
	}
}

int imap_quota_untagged(struct imap_engine *engine, const struct imap_response *response, void *arg)
{
	struct source_quota *best = arg, quota = {.known = true};
	if (response->numbered || !imap_slice_is(response->name, "QUOTA"))
		return 0;
	if (imap_tree_parse(&engine->tree, response->args.data, response->args.len) < 0) {
		log_debug("imap: a QUOTA that can not be understood");
		return 0;
	}
	const struct imap_node *root = imap_tree_top(&engine->tree);
	read_resources(&engine->tree, imap_node_next(&engine->tree, root), &quota);
	if (!best->known || room_bytes(&quota) < room_bytes(best))
		*best = quota;
	return 0;
}

int imap_quota(struct imap_engine *engine, struct source_quota *ret, struct source_error *error)
{
	struct source_quota quota = {0};
	struct imap_exchange exchange = {.what = "the quota",
		.scope = SOURCE_SCOPE_MAILBOX,
		.untagged = imap_quota_untagged,
		.arg = &quota};
	_cleanup_command_ struct imap_command command = {0};
	if (engine->has_quota || !(engine->caps.set & IMAP_CAP_QUOTA)) {
		*ret = engine->quota;
		engine->has_quota = false;
		engine->quota = quota;
		return 0;
	}
	imap_engine_begin(engine);
	imap_command_init(&command, engine, IMAP_QUOTA_COMMAND);
	log_debug("imap: GETQUOTAROOT");
	int r = imap_engine_run(engine, &command, &exchange, error);
	if (r < 0 && (engine->dead || engine->answer.status == IMAP_NONE))
		return r;
	/* A refusal is the server's way to say that there is none. */
	*ret = r < 0 ? (struct source_quota){0} : quota;
	return 0;
}
