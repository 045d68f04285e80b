/* SPDX-License-Identifier: MIT */
/*
 * All mailboxes of an account: LIST "" "*", which gives what the server lists by default, and LIST "" "PREFIX*" for each
 * namespace, since servers leave those of others out of the first. What comes twice is given once; INBOX, in whatever
 * case it comes, too. (RFC 3501 §6.3.8, RFC 5258, RFC 6154.)
 *
 * The mailboxes are gathered first and handed out when all answers are there: a listing that breaks off in the middle
 * must not look like one with fewer folders. The limits are those of what is left when each is there once; until then twice as
 * much is held at the most.
 *
 * SOURCE_MAILBOX_SUBSCRIBED is set only where LIST itself tells it (LIST-EXTENDED); LSUB is not asked.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/log.h"
#include "mailfs/util/quirk.h"
#include "namespace.h"
#include "private.h"

#define MALFORMED_LOGGED 20

struct entry {
	size_t name;        /* offsets in listing.bytes */
	size_t special_use; /* 0: none */
	unsigned flags;
	char delimiter;
	bool again; /* an earlier entry has the same name */
};

struct listing {
	struct imap_namespaces *spaces; /* the engine's */
	struct source_quota *quota;     /* likewise; NULL: it is not asked for */
	struct entry *entries;
	size_t count, cap;
	struct str bytes; /* NUL-terminated names; offset 0 is never one */
	bool has_inbox;
	size_t tidied; /* so many entries are known to be different ones */
	bool full;     /* there are more than are taken */
	unsigned malformed;
	struct str puzzles; /* what of these is told, each with a NUL */
};

static void listing_finish(struct listing *listing)
{
	free(listing->entries);
	str_finish(&listing->bytes);
	str_finish(&listing->puzzles);
}

/* --- Each once --- */

static const char *entry_key(const struct listing *listing, const struct entry *entry)
{
	const char *name = listing->bytes.data + entry->name;
	return strcasecmp(name, "INBOX") == 0 ? "INBOX" : name;
}

static int compare_entries(const void *a, const void *b, void *arg)
{
	const struct entry *const *x = a, *const *y = b;
	int order = strcmp(entry_key(arg, *x), entry_key(arg, *y));
	if (order != 0)
		return order;
	return (*x > *y) - (*x < *y);
}

/* One that says that it can be selected is believed: SELECT shows whether it can. */
static unsigned join_flags(unsigned a, unsigned b)
{
	unsigned never = a & b & SOURCE_MAILBOX_NOSELECT;
	return ((a | b) & ~(unsigned)SOURCE_MAILBOX_NOSELECT) | never;
}

/* Marks all but the first of each name, which takes over what the others know. */
static int mark_repeated(struct listing *listing)
{
	_cleanup_free_ struct entry **sorted = calloc(listing->count + 1, sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < listing->count; i++)
		sorted[i] = &listing->entries[i];
	qsort_r(sorted, listing->count, sizeof(*sorted), compare_entries, listing);
	for (size_t i = 1, first = 0; i < listing->count; i++) {
		if (strcmp(entry_key(listing, sorted[first]), entry_key(listing, sorted[i])) != 0) {
			first = i;
			continue;
		}
		sorted[i]->again = true;
		sorted[first]->flags = join_flags(sorted[first]->flags, sorted[i]->flags);
		if (sorted[first]->special_use == 0)
			sorted[first]->special_use = sorted[i]->special_use;
	}
	return 0;
}

static size_t copy_text(struct str *out, const struct listing *listing, size_t text)
{
	size_t start = out->len;
	if (text == 0)
		return 0;
	str_append_cstr(out, listing->bytes.data + text);
	str_putc(out, 0);
	return start;
}

/* Takes those that are marked, and their texts, out. */
static int drop_repeated(struct listing *listing)
{
	_cleanup_str_ struct str bytes = STR_INIT;
	size_t left = 0;
	str_putc(&bytes, 0);
	for (size_t i = 0; i < listing->count; i++) {
		struct entry entry = listing->entries[i];
		if (entry.again)
			continue;
		entry.name = copy_text(&bytes, listing, entry.name);
		entry.special_use = copy_text(&bytes, listing, entry.special_use);
		listing->entries[left++] = entry;
	}
	const struct str old = listing->bytes;
	listing->bytes = bytes;
	bytes = old;
	listing->count = listing->tidied = left;
	return str_error(&listing->bytes);
}

static bool is_over(const struct listing *listing, size_t times)
{
	return listing->count > times * SOURCE_MAILBOXES_MAX ||
	       listing->bytes.len > times * SOURCE_MAILBOX_BYTES_MAX;
}

/* Leaves each name once. -EMSGSIZE: that is still more than is taken. */
static int listing_tidy(struct listing *listing)
{
	int r = listing->tidied < listing->count ? mark_repeated(listing) : 0;
	if (r == 0 && listing->tidied < listing->count)
		r = drop_repeated(listing);
	if (r < 0)
		return r;
	listing->full |= is_over(listing, 1);
	return listing->full ? -EMSGSIZE : 0;
}

/* --- One LIST response: (ATTRIBUTES) DELIMITER NAME [EXTENDED] --- */

static const struct {
	const char *word;
	unsigned flag; /* 0: a special use */
} attributes[] = {
	{"\\Noselect", SOURCE_MAILBOX_NOSELECT},
	{"\\NonExistent", SOURCE_MAILBOX_NOSELECT},
	{"\\Noinferiors", SOURCE_MAILBOX_NOINFERIORS},
	{"\\Subscribed", SOURCE_MAILBOX_SUBSCRIBED},
	{"\\All", 0},
	{"\\Archive", 0},
	{"\\Drafts", 0},
	{"\\Flagged", 0},
	{"\\Important", 0},
	{"\\Junk", 0},
	{"\\Sent", 0},
	{"\\Trash", 0},
};

/* Appends a C string to listing->bytes. Its offset, 0 when there is no room. */
static size_t keep_text(struct listing *listing, const struct imap_node *node)
{
	size_t start = listing->bytes.len;
	imap_node_append(node, &listing->bytes);
	str_putc(&listing->bytes, 0);
	return str_error(&listing->bytes) < 0 ? 0 : start;
}

static void read_attribute(
	struct listing *listing, const struct imap_node *node, struct entry *entry)
{
	for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
		if (!imap_node_is(node, attributes[i].word))
			continue;
		entry->flags |= attributes[i].flag;
		if (attributes[i].flag == 0 && entry->special_use == 0)
			entry->special_use = keep_text(listing, node);
	}
}

static bool read_delimiter(const struct imap_node *node, char *ret)
{
	if (imap_node_is_nil(node)) {
		*ret = 0;
		return true;
	}
	size_t len = node && node->escaped ? 2 : 1;
	if (!imap_node_is_string(node) || node->len > len)
		return false;
	*ret = node->len > 0 ? node->data[node->len - 1] : 0;
	return true;
}

static bool is_name(const struct imap_node *node)
{
	return node && node->type != IMAP_NODE_LIST && !memchr(node->data, 0, node->len);
}

static int entry_add(struct listing *listing, const struct imap_tree *tree)
{
	struct entry entry = {0};
	const struct imap_node *list = imap_tree_top(tree);
	const struct imap_node *delimiter = imap_node_next(tree, list),
			       *name = imap_node_next(tree, delimiter);
	if (!imap_node_is_list(list) || !read_delimiter(delimiter, &entry.delimiter) ||
		!is_name(name))
		return -EPROTO;
	if (name->len == 0) /* the root; no mailbox */
		return 0;
	if (array_grow(&listing->entries, &listing->cap, listing->count + 1, sizeof(entry)) < 0)
		return -ENOMEM;
	const struct imap_node *node = imap_node_child(tree, list);
	for (; node; node = imap_node_next(tree, node))
		read_attribute(listing, node, &entry);
	entry.name = keep_text(listing, name);
	if (entry.name == 0)
		return -ENOMEM;
	const char *text = listing->bytes.data + entry.name;
	listing->has_inbox |= strcasecmp(text, "INBOX") == 0;
	listing->entries[listing->count++] = entry;
	return is_over(listing, 2) ? listing_tidy(listing) : 0;
}

static void note_malformed(struct listing *listing, const struct imap_response *response)
{
	if (listing->malformed++ >= MALFORMED_LOGGED)
		return;
	size_t len = response->args.len;
	if (len > 0)
		len = strnlen(response->args.data, len);
	str_append(&listing->puzzles, response->args.data, len < 300 ? len : 300);
	str_putc(&listing->puzzles, 0);
}

static int list_untagged(
	struct imap_engine *engine, const struct imap_response *response, void *arg)
{
	struct listing *listing = arg;
	if (response->numbered || !imap_slice_is(response->name, "LIST"))
		return 0;
	int r = imap_tree_parse(&engine->tree, response->args.data, response->args.len);
	if (r == 0)
		r = entry_add(listing, &engine->tree);
	if (r == 0)
		imap_engine_row(engine);
	if (r == -EPROTO) {
		note_malformed(listing, response);
		return 0;
	}
	return r;
}

/* --- The commands --- */

static const char *return_options(const struct imap_engine *engine)
{
	if (!(engine->caps.set & IMAP_CAP_LIST_EXTENDED))
		return "";
	return engine->caps.set & IMAP_CAP_SPECIAL_USE ? " RETURN (SUBSCRIBED SPECIAL-USE)"
	                                               : " RETURN (SUBSCRIBED)";
}

/* At most the INBOX or all, each namespace, and two questions that go with them. */
#define ERRANDS_MAX (IMAP_NAMESPACES_MAX + 3)

struct flight {
	struct imap_errand errands[ERRANDS_MAX];
	const char *prefixes
		[ERRANDS_MAX]; /* of a namespace of others that may be closed; NULL: it must be listed */
	bool lists[ERRANDS_MAX];
	size_t count;
};

static int flight_untagged(
	struct imap_engine *engine, const struct imap_response *response, void *arg)
{
	struct listing *listing = arg;
	int r = list_untagged(engine, response, arg);
	if (r == 0 && !engine->has_spaces)
		r = imap_namespaces_untagged(engine, response, listing->spaces);
	if (r == 0 && listing->quota)
		r = imap_quota_untagged(engine, response, listing->quota);
	return r;
}

static int flight_run(struct imap_engine *engine, struct listing *listing, struct flight *flight,
	struct source_error *error)
{
	/* A server may list all it has with any of them. */
	uint64_t lists = 2 + listing->spaces->count;
	struct imap_exchange exchange = {.what = "the folders can not be listed",
		.scope = SOURCE_SCOPE_ACCOUNT,
		.untagged = flight_untagged,
		.arg = listing,
		.responses_max = lists * SOURCE_MAILBOXES_MAX + IMAP_LIMIT_LISTS_EXTRA,
		.bytes_max = lists * IMAP_LIMIT_LIST_BYTES + IMAP_LIMIT_BYTES,
		.streaming = true};
	return imap_engine_run_all(engine, flight->errands, flight->count, &exchange, error);
}

static void list_command(struct imap_engine *engine, const char *prefix, const char *pattern,
	const char *options, struct imap_command *command)
{
	struct str text = STR_INIT;
	str_printf(&text, "%s%s", prefix, pattern);
	imap_command_init(command, engine, "LIST \"\" ");
	imap_command_string(command, engine, str_cstr(&text));
	str_append_cstr(&command->text, options);
	command->text.failed |= text.failed;
	log_debug("imap: LIST \"\" \"%s\"%s", str_cstr(&text), options);
	str_finish(&text);
}

static void flight_list(
	struct flight *flight, struct imap_engine *engine, const char *prefix, const char *pattern)
{
	bool all = prefix[0] == 0;
	flight->prefixes[flight->count] = all ? NULL : prefix;
	flight->lists[flight->count] = true;
	list_command(engine, prefix, pattern, return_options(engine),
		&flight->errands[flight->count++].command);
}

static void flight_spaces(
	struct flight *flight, struct imap_engine *engine, const struct imap_namespaces *spaces)
{
	for (size_t i = 0; i < spaces->count; i++)
		if (spaces->items[i].prefix[0])
			flight_list(flight, engine, spaces->items[i].prefix, "*");
}

/* The quota goes with the first list, because both are asked for before anything is shown. */
static void flight_quota(struct flight *flight, struct imap_engine *engine, struct listing *listing)
{
	if (!engine->opening || engine->has_quota || !(engine->caps.set & IMAP_CAP_QUOTA))
		return;
	engine->quota = (struct source_quota){0};
	listing->quota = &engine->quota;
	imap_command_init(&flight->errands[flight->count++].command, engine, IMAP_QUOTA_COMMAND);
	log_debug("imap: GETQUOTAROOT");
}

/* Whether the server will never list a namespace of others; a passing refusal must fail, not leave folders out. */
static bool is_closed(const struct imap_answer *answer)
{
	return answer->err == -EINVAL || answer->err == -EACCES || answer->err == -ENOENT ||
	       answer->status == IMAP_BAD;
}

/* A server that announces extended LIST and does not know it is asked the plain way. */
static int list_plainly(struct imap_engine *engine, struct listing *listing, const char *prefix,
	struct imap_answer *answer, struct source_error *error)
{
	struct flight flight = {.count = 1};
	quirk_seen(QUIRK_LIST_PARAMETERS);
	engine->caps.set &= ~(unsigned)IMAP_CAP_LIST_EXTENDED;
	list_command(engine, prefix, "*", "", &flight.errands[0].command);
	int r = flight_run(engine, listing, &flight, error);
	*answer = flight.errands[0].answer;
	imap_errands_finish(flight.errands, flight.count);
	return r;
}

static int list_answered(struct imap_engine *engine, struct listing *listing,
	const struct flight *flight, size_t at, bool extended, struct source_error *error)
{
	const char *prefix = flight->prefixes[at];
	struct imap_answer answer = flight->errands[at].answer;
	int r = 0;
	if (answer.status == IMAP_BAD && extended)
		r = list_plainly(engine, listing, prefix ? prefix : "", &answer, error);
	if (r < 0 || answer.status == IMAP_OK)
		return r;
	r = imap_answer_fail(&answer, SOURCE_SCOPE_ACCOUNT, "the folders can not be listed", error);
	if (!prefix || !is_closed(&answer))
		return r;
	log_warning("namespace %s: %s", prefix, error->text);
	return 0;
}

/* Sends what has been put together, and sees what was answered. */
static int flight_go(struct imap_engine *engine, struct listing *listing, struct flight *flight,
	struct source_error *error)
{
	bool extended = return_options(engine)[0];
	int r = flight_run(engine, listing, flight, error);
	for (size_t i = 0; r == 0 && i < flight->count; i++)
		if (flight->lists[i])
			r = list_answered(engine, listing, flight, i, extended, error);
	engine->has_quota |= r == 0 && listing->quota;
	listing->quota = NULL;
	imap_errands_finish(flight->errands, flight->count);
	*flight = (struct flight){.count = 0};
	return r;
}

/* Where the namespaces are known already, all goes at once; they are asked for anew the next time. */
static int list_all(struct imap_engine *engine, struct listing *listing, struct source_error *error)
{
	struct flight flight = {.count = 0};
	bool known = engine->has_spaces || !(engine->caps.set & IMAP_CAP_NAMESPACE);
	str_putc(&listing->bytes, 0);
	if (!known) {
		imap_namespaces_finish(&engine->spaces);
		imap_command_init(&flight.errands[flight.count++].command, engine, "NAMESPACE");
		log_debug("imap: NAMESPACE");
	}
	flight_list(&flight, engine, "", "*");
	if (known)
		flight_spaces(&flight, engine, &engine->spaces);
	flight_quota(&flight, engine, listing);
	int r = flight_go(engine, listing, &flight, error);
	if (r == 0 && !known)
		flight_spaces(&flight, engine, &engine->spaces);
	if (r == 0 && !listing->has_inbox)
		flight_list(&flight, engine, "", "INBOX");
	if (r == 0 && flight.count > 0)
		r = flight_go(engine, listing, &flight, error);
	engine->has_spaces = engine->opening = false;
	return r;
}

/* --- All of it --- */

static int hand_out(const struct listing *listing, source_mailbox_fn *fn, void *arg)
{
	int r = 0;
	for (size_t i = 0; r >= 0 && i < listing->count; i++) {
		const struct entry *entry = &listing->entries[i];
		const char *bytes = listing->bytes.data;
		struct source_mailbox mailbox = {.name = bytes + entry->name,
			.delimiter = entry->delimiter,
			.flags = entry->flags |
		                 imap_namespaces_flag(listing->spaces, bytes + entry->name),
			.special_use = entry->special_use ? bytes + entry->special_use : NULL};
		r = fn(arg, &mailbox);
	}
	return r < 0 ? r : 0;
}

/* A list without end costs the connection, too. */
static int listing_fail(const struct imap_engine *engine, struct source_error *error)
{
	return source_fail(error, engine->dead ? SOURCE_SCOPE_ACCOUNT : SOURCE_SCOPE_MAILBOX,
		SOURCE_RETRY_LATER, SOURCE_CAUSE_PROTOCOL, -EMSGSIZE,
		"the server lists more than %d folders, or their names are too long",
		SOURCE_MAILBOXES_MAX);
}

static void warn_of_malformed(const struct listing *listing)
{
	const struct str *puzzles = &listing->puzzles;
	if (puzzles->len == 0 || str_error(puzzles) < 0)
		return;
	for (const char *at = puzzles->data; at < puzzles->data + puzzles->len;
		at += strlen(at) + 1)
		log_warning(
			"a folder is missing, because the server's LIST can not be understood: %s",
			at);
}

/* An account must not look as if it had no folders. */
static int not_understood(const struct listing *listing, struct source_error *error)
{
	return source_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_RETRY_LATER, SOURCE_CAUSE_PROTOCOL,
		-EIO, "the folders can not be listed: the server's LIST can not be understood: %s",
		str_error(&listing->puzzles) < 0 ? "" : str_cstr(&listing->puzzles));
}

int imap_list(
	struct imap_engine *engine, source_mailbox_fn *fn, void *arg, struct source_error *error)
{
	struct listing listing = {.spaces = &engine->spaces};
	imap_engine_begin(engine);
	int r = list_all(engine, &listing, error);
	if (r == 0 && listing.count == 0 && listing.malformed > 0) {
		r = not_understood(&listing, error);
	} else if (r == 0) {
		warn_of_malformed(&listing);
		r = listing_tidy(&listing);
		if (r == 0)
			r = hand_out(&listing, fn, arg);
		if (r < 0)
			source_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_RETRY_LATER,
				SOURCE_CAUSE_OTHER, r, "the list of folders was not taken: %s",
				strerror(-r));
	}
	if (listing.full)
		r = listing_fail(engine, error);
	listing_finish(&listing);
	return r;
}
