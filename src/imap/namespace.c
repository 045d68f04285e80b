/* SPDX-License-Identifier: MIT */
/*
 * NAMESPACE with our own parser, because libetpan's reads before the start of an empty prefix whose delimiter is
 * malformed, leaks its answer on a refusal, and does not take extension data. A mailbox's own delimiter is what LIST
 * tells; that of its namespace only serves to know where a prefix ends.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "limits.h"
#include "mailfs/util/log.h"
#include "mailfs/util/quirk.h"
#include "namespace.h"

void imap_namespaces_finish(struct imap_namespaces *spaces)
{
	for (size_t i = 0; i < spaces->count; i++)
		free(spaces->items[i].prefix);
	spaces->count = 0;
}

static char delimiter_of(const struct imap_node *node)
{
	bool one = imap_node_is_string(node) && node->len == (node->escaped ? 2U : 1U);
	return one ? node->data[node->len - 1] : 0;
}

/* A prefix that can not be sent back, in LIST, is none. */
static bool is_sendable(const struct str *prefix)
{
	return prefix->len <= IMAP_LIMIT_PREFIX_BYTES &&
	       !memchr(str_cstr(prefix), 0, prefix->len) && !strpbrk(str_cstr(prefix), "\r\n");
}

static int space_add(struct imap_namespaces *spaces, const struct imap_node *prefix,
	const struct imap_node *delimiter, unsigned flag)
{
	struct str text = STR_INIT;
	if (!imap_node_is_string(prefix) || spaces->count == IMAP_NAMESPACES_MAX)
		return 0;
	imap_node_append(prefix, &text);
	if (flag == SOURCE_MAILBOX_PERSONAL && text.len > 5 &&
		strncasecmp(str_cstr(&text), "INBOX", 5) == 0)
		quirk_seen(QUIRK_BELOW_INBOX);
	bool fits = is_sendable(&text);
	char *own = fits ? str_steal(&text) : NULL;
	str_finish(&text);
	if (!own)
		return fits ? -ENOMEM : 0;
	spaces->items[spaces->count++] =
		(struct imap_namespace){own, delimiter_of(delimiter), flag};
	return 0;
}

/* ((prefix delimiter …)(prefix delimiter …)) or NIL */
static int spaces_add(struct imap_namespaces *spaces, const struct imap_tree *tree,
	const struct imap_node *list, unsigned flag)
{
	const struct imap_node *space = imap_node_child(tree, list);
	int r = 0;
	for (; space && r == 0; space = imap_node_next(tree, space)) {
		const struct imap_node *prefix = imap_node_child(tree, space);
		r = space_add(spaces, prefix, imap_node_next(tree, prefix), flag);
	}
	return r;
}

int imap_namespaces_untagged(
	struct imap_engine *engine, const struct imap_response *response, void *arg)
{
	struct imap_namespaces *spaces = arg;
	const struct imap_tree *tree = &engine->tree;
	if (response->numbered || !imap_slice_is(response->name, "NAMESPACE") || spaces->count > 0)
		return 0;
	int r = imap_tree_parse(&engine->tree, response->args.data, response->args.len);
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		log_warning(
			"the server's NAMESPACE can not be understood: folders of others may be missing");
		return 0;
	}
	const struct imap_node *personal = imap_tree_top(tree);
	const struct imap_node *other = imap_node_next(tree, personal);
	r = spaces_add(spaces, tree, personal, SOURCE_MAILBOX_PERSONAL);
	if (r == 0)
		r = spaces_add(spaces, tree, other, SOURCE_MAILBOX_OTHER);
	if (r == 0)
		r = spaces_add(spaces, tree, imap_node_next(tree, other), SOURCE_MAILBOX_SHARED);
	/* With some of them, folders would be missing. */
	if (r < 0)
		imap_namespaces_finish(spaces);
	return r;
}

int imap_namespaces_ask(
	struct imap_engine *engine, struct imap_namespaces *ret, struct source_error *error)
{
	struct imap_exchange exchange = {.what = "NAMESPACE",
		.scope = SOURCE_SCOPE_ACCOUNT,
		.untagged = imap_namespaces_untagged,
		.arg = ret};
	_cleanup_command_ struct imap_command command = {0};
	if (engine->has_spaces) {
		*ret = engine->spaces;
		engine->spaces.count = 0;
		engine->has_spaces = false;
		return 0;
	}
	if (!(engine->caps.set & IMAP_CAP_NAMESPACE))
		return 0;
	imap_command_init(&command, engine, "NAMESPACE");
	log_debug("imap: NAMESPACE");
	int r = imap_engine_run(engine, &command, &exchange, error);
	return r < 0 && engine->answer.status != IMAP_NONE && !engine->dead ? 0 : r;
}

unsigned imap_namespaces_flag(const struct imap_namespaces *spaces, const char *name)
{
	size_t longest = 0;
	unsigned flag = SOURCE_MAILBOX_PERSONAL;
	for (size_t i = 0; i < spaces->count; i++) {
		size_t len = strlen(spaces->items[i].prefix);
		if (len > longest && strncmp(name, spaces->items[i].prefix, len) == 0) {
			longest = len;
			flag = spaces->items[i].flag;
		}
	}
	return flag;
}
