/* SPDX-License-Identifier: MIT */
/*
 * Sets of UIDs, as VANISHED, ESEARCH and SEARCH tell them: read in pieces, handed on as ranges, never held. A server with
 * a million holes sends megabytes in one line; imap_set_spill() takes them out of the line while it arrives.
 *
 * What is no set (`*`, 0, a number of more than 32 bits, words) is passed over and noted: the caller decides what the rest is worth.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "private.h"

void imap_set_init(struct imap_set *set, enum imap_set_kind kind, uint32_t first, uint32_t last,
	source_range_fn *fn, void *arg)
{
	*set = (struct imap_set){
		.kind = kind, .first = first ? first : 1, .last = last, .fn = fn, .arg = arg};
}

/* --- Elements and ranges --- */

static void tell(struct imap_set *set)
{
	if (set->run_first != 0 && set->fn && set->err == 0) {
		int r = set->fn(set->arg, set->run_first, set->run_last);
		set->err = r < 0 ? r : 0;
	}
	set->run_first = 0;
}

/* Numbers that follow on each other become one range. */
static void add_range(struct imap_set *set, uint32_t first, uint32_t last)
{
	if (first < set->first)
		first = set->first;
	if (last > set->last)
		last = set->last;
	if (first > last)
		return;
	if (set->run_first != 0 && set->run_last < UINT32_MAX && first == set->run_last + 1) {
		set->run_last = last;
		return;
	}
	tell(set);
	set->run_first = first;
	set->run_last = last;
}

static void read_element(struct imap_set *set, struct imap_slice element)
{
	uint64_t first, last;
	const char *colon = memchr(element.data, ':', element.len);
	size_t len = colon ? (size_t)(colon - element.data) : element.len;
	bool good = imap_number_parse(element.data, len, UINT32_MAX, &first);
	last = first;
	if (good && colon)
		good = imap_number_parse(colon + 1, element.len - len - 1, UINT32_MAX, &last);
	if (!good || first == 0 || last == 0)
		set->malformed = true;
	else if (first <= last)
		add_range(set, (uint32_t)first, (uint32_t)last);
	else /* 5:3 is 3:5 (RFC 3501 §9, seq-range) */
		add_range(set, (uint32_t)last, (uint32_t)first);
}

static bool separates(char c)
{
	return c == ',' || c == ' ' || c == '\t';
}

static void read_list(struct imap_set *set, struct imap_slice list)
{
	for (size_t pos = 0; pos < list.len;) {
		size_t start = pos;
		while (pos < list.len && !separates(list.data[pos]))
			pos++;
		if (pos > start)
			read_element(set, (struct imap_slice){list.data + start, pos - start});
		else
			pos++;
	}
}

/* --- Where in a response the list is --- */

/* VANISHED [(EARLIER)] SET (RFC 7162 §3.2.10) */
static bool find_vanished(const struct imap_response *response, struct imap_slice *ret)
{
	static const char earlier[] = "(EARLIER)";
	struct imap_slice args = response->args;
	struct imap_slice head = {args.data, strlen(earlier)};
	if (response->numbered || !imap_slice_is(response->name, "VANISHED"))
		return false;
	if (args.len >= head.len && imap_slice_is(head, earlier))
		args = imap_slice_trim(
			(struct imap_slice){args.data + head.len, args.len - head.len});
	*ret = args;
	return true;
}

/* SEARCH N N N; behind them there may be (MODSEQ N) (RFC 7162 §3.1.5) */
static bool find_search(const struct imap_response *response, struct imap_slice *ret)
{
	if (response->numbered || !imap_slice_is(response->name, "SEARCH"))
		return false;
	*ret = response->args;
	const char *more = ret->len > 0 ? memchr(ret->data, '(', ret->len) : NULL;
	if (more)
		ret->len = (size_t)(more - ret->data);
	return true;
}

/* (TAG "C7"): whether it is the answer to the running command. */
static bool is_ours(const struct imap_engine *engine, const struct imap_node *correlator)
{
	char tag[16];
	const struct imap_node *name = imap_node_child(&engine->tree, correlator);
	const struct imap_node *value = imap_node_next(&engine->tree, name);
	int len = snprintf(tag, sizeof(tag), "C%d", engine->tag);
	return imap_node_is(name, "TAG") && imap_node_is_string(value) &&
	       value->len == (size_t)len && memcmp(value->data, tag, value->len) == 0;
}

/*
 * ESEARCH (TAG "C7") UID ALL SET (RFC 4731 §3.1). Without UID its numbers are no UIDs. ret is empty where there is no ALL: no message
 * fits.
 */
static bool find_esearch(struct imap_engine *engine, const struct imap_response *response,
	struct imap_set *set, struct imap_slice *ret)
{
	if (response->numbered || !imap_slice_is(response->name, "ESEARCH"))
		return false;
	const struct imap_tree *tree = &engine->tree;
	int r = imap_tree_parse(&engine->tree, response->args.data, response->args.len);
	const struct imap_node *node = imap_tree_top(tree);
	if (!is_ours(engine, node))
		return false;
	node = imap_node_next(tree, node);
	set->malformed |= r < 0 || (node && !imap_node_is(node, "UID"));
	*ret = (struct imap_slice){"", 0};
	bool has_all = false;
	for (node = imap_node_next(tree, node); node; node = imap_node_next(tree, node)) {
		const struct imap_node *value = imap_node_next(tree, node);
		bool is_all = imap_node_is(node, "ALL");
		if (is_all && value && value->type == IMAP_NODE_ATOM)
			*ret = (struct imap_slice){value->data, value->len};
		else if (is_all)
			set->malformed = true;
		set->malformed |= is_all && has_all; /* which of them would depend on the packets */
		has_all |= is_all;
		node = value;
	}
	return true;
}

static bool find_list(struct imap_engine *engine, const struct imap_response *response,
	struct imap_set *set, struct imap_slice *ret)
{
	if (set->kind == IMAP_SET_VANISHED)
		return find_vanished(response, ret);
	return find_search(response, ret) || find_esearch(engine, response, set, ret);
}

/* --- Whole responses, and lines that are too long to wait for their end --- */

bool imap_set_read(
	struct imap_set *set, struct imap_engine *engine, const struct imap_response *response)
{
	struct imap_slice list;
	if (!find_list(engine, response, set, &list))
		return false;
	read_list(set, list);
	tell(set);
	/* What should follow was cut off, or stands behind a blank. */
	set->malformed |= list.len > 0 && list.data[list.len - 1] == ',';
	return true;
}

/* The length of what can be read of a list that goes on: up to its last separator, which stays, so that it is seen what follows it. */
static size_t complete_len(struct imap_slice list)
{
	while (list.len > 0 && !separates(list.data[list.len - 1]))
		list.len--;
	return list.len > 0 ? list.len - 1 : 0;
}

/* Takes the elements that are complete out of the line's middle; what remains is a response of the same kind. */
static int spill(void *arg, struct str *line)
{
	struct imap_set *set = arg;
	struct imap_response response;
	struct imap_slice list;
	const bool malformed = set->malformed;
	imap_engine_received(set->engine, IMAP_LIMIT_SET_SPILL);
	if (imap_response_parse(line->data, line->len, &response) < 0 ||
		response.kind != IMAP_UNTAGGED || !find_list(set->engine, &response, set, &list))
		return line->len > IMAP_LIMIT_HELD_BYTES ? -EMSGSIZE : 0;
	set->malformed = malformed; /* of what is no element the end of the line decides */
	size_t len = complete_len(list), start = (size_t)(list.data - line->data);
	if (len == 0) /* no number is that long */
		return -EMSGSIZE;
	read_list(set, (struct imap_slice){list.data, len});
	memmove(line->data + start, line->data + start + len, line->len - start - len);
	str_truncate(line, line->len - len);
	return 0;
}

void imap_set_limits(struct imap_set *set, struct imap_engine *engine, struct net_limits *ret)
{
	set->engine = engine;
	*ret = (struct net_limits){.line_bytes = IMAP_LIMIT_SET_LINE_BYTES,
		.literal_bytes = IMAP_LIMIT_SET_LITERAL_BYTES,
		.response_bytes = IMAP_LIMIT_SET_LINE_BYTES,
		.literals = IMAP_LIMIT_SET_LITERALS,
		.spill = spill,
		.spill_arg = set,
		.spill_bytes = IMAP_LIMIT_SET_SPILL};
}
