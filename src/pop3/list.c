/* SPDX-License-Identifier: MIT */
/*
 * STAT, UIDL and LIST into one listing.
 *
 * Nothing that a server writes there is believed further than it goes: each answer becomes rows of its own, ordered by number, and
 * only where the two say the same of a number is it known. A line that means nothing is left out and makes the listing
 * doubtful, and so does every contradiction: by such a listing nothing is deleted.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/log.h"
#include "mailfs/util/quirk.h"
#include "private.h"

/*
 * What a maildrop may have. Each message takes some 300 bytes of memory while it is looked at, with its unique-id: more than these the process can not
 * have by a server's word alone.
 */
#define LIST_LINES_MAX  250000
#define LIST_BYTES_MAX  ((uint64_t)32 << 20) /* of one answer */
#define LIST_UIDLS_MAX  (((size_t)16 << 20) - 1)
#define LIST_SIZE_NONE  UINT64_MAX
#define LIST_COUNT_NONE UINT64_MAX

/* One answer: its rows as maildrop_entry, of which UIDL fills the unique-id, LIST the size. */
struct column {
	struct maildrop_entry *rows;
	size_t count, cap;
	bool sorted;
	struct str *uidls; /* of UIDL */
	bool too_many;     /* bytes of unique-ids */
	bool doubtful;
};

struct tables {
	struct column uidl, list;
	struct str uidls;
	uint64_t messages; /* LIST_COUNT_NONE: STAT can not be understood */
	bool has_uidl, has_list;
};

static void tables_init(struct tables *tables)
{
	*tables = (struct tables){.messages = LIST_COUNT_NONE};
	tables->uidl.sorted = tables->list.sorted = true;
	tables->uidl.uidls = &tables->uidls;
}

static void tables_finish(struct tables *tables)
{
	free(tables->uidl.rows);
	free(tables->list.rows);
	str_finish(&tables->uidls);
}

/* --- Rows --- */

static int column_add(struct column *column, struct maildrop_entry row)
{
	if (array_grow(&column->rows, &column->cap, column->count + 1, sizeof(*column->rows)) < 0)
		return -ENOMEM;
	if (column->count > 0 && column->rows[column->count - 1].number >= row.number)
		column->sorted = false;
	column->rows[column->count++] = row;
	return 0;
}

/* The number at the front of a line. 0: it has none that counts. */
static uint32_t take_number(struct pop3_slice *line)
{
	uint64_t number;
	if (!pop3_slice_number(pop3_slice_word(line), UINT32_MAX, &number))
		return 0;
	return (uint32_t)number;
}

/* The unique-id is all behind the number and the blanks: 1 to 70 printable characters, says RFC 1939 §7; what it is, is taken. */
static int uidl_row(void *arg, struct pop3_slice line)
{
	struct column *column = arg;
	struct maildrop_entry row = {.number = take_number(&line), .size_bytes = LIST_SIZE_NONE};
	while (line.len > 0 && (*line.data == ' ' || *line.data == '\t')) {
		line.data++;
		line.len--;
	}
	if (row.number == 0 || line.len == 0)
		column->doubtful = true;
	if (row.number == 0)
		return 0;
	if (line.len > LIST_UIDLS_MAX - column->uidls->len) {
		column->too_many = true;
		return -ENOMEM;
	}
	row.uidl = (uint32_t)column->uidls->len;
	row.uidl_len = (uint32_t)line.len;
	str_append(column->uidls, line.data, line.len);
	return str_error(column->uidls) < 0 ? -ENOMEM : column_add(column, row);
}

static int list_row(void *arg, struct pop3_slice line)
{
	struct column *column = arg;
	struct maildrop_entry row = {.number = take_number(&line)};
	if (!pop3_slice_number(pop3_slice_word(&line), UINT64_MAX - 1, &row.size_bytes)) {
		row.size_bytes = LIST_SIZE_NONE;
		column->doubtful = true;
	}
	if (row.number > 0)
		return column_add(column, row);
	column->doubtful = true;
	return 0;
}

/* --- Order --- */

static int row_compare(const void *a, const void *b)
{
	uint32_t left = ((const struct maildrop_entry *)a)->number;
	uint32_t right = ((const struct maildrop_entry *)b)->number;
	return (left > right) - (left < right);
}

static bool same_uidl(
	const struct column *column, const struct maildrop_entry *a, const struct maildrop_entry *b)
{
	return a->uidl_len == b->uidl_len &&
	       (a->uidl_len == 0 || memcmp(column->uidls->data + a->uidl,
					    column->uidls->data + b->uidl, a->uidl_len) == 0);
}

/* The same number again: what was said of it differently is not known. */
static void row_merge(const struct column *column, struct maildrop_entry *kept,
	const struct maildrop_entry *again)
{
	if (column->uidls && !same_uidl(column, kept, again))
		kept->uidl_len = 0;
	if (kept->size_bytes != again->size_bytes)
		kept->size_bytes = LIST_SIZE_NONE;
}

/* By ascending number, each once. */
static void column_order(struct column *column)
{
	if (column->sorted)
		return;
	size_t kept = 0;
	qsort(column->rows, column->count, sizeof(*column->rows), row_compare);
	for (size_t i = 1; i < column->count; i++) {
		if (column->rows[i].number != column->rows[kept].number) {
			column->rows[++kept] = column->rows[i];
			continue;
		}
		row_merge(column, &column->rows[kept], &column->rows[i]);
		column->doubtful = true;
	}
	column->count = kept + 1;
	column->sorted = true;
}

static struct maildrop_entry *column_at(const struct column *column, size_t i)
{
	return i < column->count ? &column->rows[i] : NULL;
}

/* Both columns into ret->entries, which has room. */
static void merge(const struct tables *tables, struct maildrop_listing *ret)
{
	for (size_t u = 0, l = 0;;) {
		const struct maildrop_entry *uidl = column_at(&tables->uidl, u);
		const struct maildrop_entry *list = column_at(&tables->list, l);
		if (!uidl && !list)
			return;
		bool is_uidl = uidl && (!list || uidl->number <= list->number);
		bool is_list = list && (!uidl || list->number <= uidl->number);
		struct maildrop_entry *entry = &ret->entries[ret->count++];
		*entry = is_uidl ? *uidl : *list;
		if (is_list)
			entry->size_bytes = list->size_bytes;
		if (is_uidl != is_list && tables->has_uidl)
			ret->doubtful = true;
		u += is_uidl;
		l += is_list;
	}
}

static int tables_join(struct tables *tables, struct maildrop_listing *ret)
{
	struct maildrop_listing listing = {0};
	column_order(&tables->uidl);
	column_order(&tables->list);
	size_t most = tables->uidl.count + tables->list.count;
	listing.entries = most > 0 ? malloc(most * sizeof(*listing.entries)) : NULL;
	if (most > 0 && !listing.entries)
		return -ENOMEM;
	listing.doubtful = tables->uidl.doubtful || tables->list.doubtful;
	merge(tables, &listing);
	/* Twice as much as is needed, as a rule. */
	struct maildrop_entry *fitting =
		realloc(listing.entries, (listing.count + 1) * sizeof(*listing.entries));
	listing.entries = fitting ? fitting : listing.entries;
	listing.messages = tables->messages;
	if (tables->messages != listing.count)
		listing.doubtful = true;
	if (tables->messages == LIST_COUNT_NONE)
		listing.messages = listing.count;
	listing.uidls = tables->uidls;
	tables->uidls = (struct str)STR_INIT;
	*ret = listing;
	return 0;
}

/* Whether nobody can say if there are messages: neither does STAT, nor a line that lists any, and lines there are. */
static bool is_nonsense(const struct tables *tables)
{
	return tables->messages == LIST_COUNT_NONE &&
	       tables->uidl.count + tables->list.count == 0 &&
	       (tables->uidl.doubtful || tables->list.doubtful);
}

/* --- The commands --- */

static void stat_parse(struct tables *tables, struct pop3_slice text)
{
	if (!pop3_slice_number(pop3_slice_word(&text), UINT64_MAX - 1, &tables->messages))
		tables->messages = LIST_COUNT_NONE;
}

static int column_read(struct pop3_session *session, struct column *column, pop3_row_fn *fn,
	struct source_error *error)
{
	const struct pop3_rows rows = {
		.fn = fn, .arg = column, .lines_max = LIST_LINES_MAX, .bytes_max = LIST_BYTES_MAX};
	int r = pop3_rows_read(session, &rows, error);
	return r < 0 && column->too_many
	               ? pop3_broken(session, "the unique-ids are too long", error)
	               : r;
}

/*
 * A server that can not say at this time is not one that never can: the unique-ids are what tells old from new. One that
 * refuses UIDL for other reasons has none.
 */
static bool is_passing(const struct pop3_reply *reply)
{
	return reply->code == POP3_CODE_SYS_TEMP || reply->code == POP3_CODE_IN_USE;
}

struct question {
	const char *command;
	/* Reads what is behind the status line. */
	int (*take)(struct pop3_session *session, struct tables *tables,
		const struct pop3_reply *reply, struct source_error *error);
};

static int take_stat(struct pop3_session *session, struct tables *tables,
	const struct pop3_reply *reply, struct source_error *error)
{
	(void)session;
	if (reply->status == POP3_ERR)
		return pop3_refused(reply, SOURCE_SCOPE_MAILBOX, -EIO, "STAT failed", error);
	stat_parse(tables, reply->text);
	return 0;
}

static int take_uidl(struct pop3_session *session, struct tables *tables,
	const struct pop3_reply *reply, struct source_error *error)
{
	tables->has_uidl = reply->status == POP3_OK;
	if (tables->has_uidl)
		return column_read(session, &tables->uidl, uidl_row, error);
	if (is_passing(reply))
		return pop3_refused(reply, SOURCE_SCOPE_MAILBOX, -EIO, "UIDL failed", error);
	return 0;
}

static int take_list(struct pop3_session *session, struct tables *tables,
	const struct pop3_reply *reply, struct source_error *error)
{
	tables->has_list = reply->status == POP3_OK;
	if (tables->has_list)
		return column_read(session, &tables->list, list_row, error);
	/* An empty maildrop has been seen to be refused. */
	if (tables->messages == 0 && tables->uidl.count == 0)
		return 0;
	return pop3_refused(reply, SOURCE_SCOPE_MAILBOX, -EIO, "LIST failed", error);
}

static const struct question questions[] = {
	{"STAT", take_stat}, {"UIDL", take_uidl}, {"LIST", take_list}};
#define QUESTIONS (sizeof(questions) / sizeof(questions[0]))

/* A refusal (*refused, in *ret_error) leaves the session in step: what else was asked is still to be read. */
static int question_answer(struct pop3_session *session, const struct question *question,
	struct tables *tables, struct source_error *error, bool *refused)
{
	struct source_error own = {0};
	struct pop3_reply reply;
	int r = pop3_answer(session, &reply, &own);
	if (r == 0)
		r = question->take(session, tables, &reply, &own);
	pop3_renew(session);
	if (r == 0)
		return 0;
	if (!*refused || session->dead)
		*error = own;
	*refused = true;
	return session->dead ? r : 0;
}

static int ask_one_by_one(
	struct pop3_session *session, struct tables *tables, struct source_error *error)
{
	bool refused = false;
	int r = pop3_capa_settle(session, error);
	for (size_t i = 0; r == 0 && !refused && i < QUESTIONS; i++) {
		char line[16];
		r = pop3_in_step(session, error);
		log_debug("pop3: %s", questions[i].command);
		snprintf(line, sizeof(line), "%s\r\n", questions[i].command);
		if (r == 0)
			r = pop3_send(session, line, strlen(line), error);
		if (r == 0)
			r = question_answer(session, &questions[i], tables, error, &refused);
	}
	return r == 0 && refused ? error->err : r;
}

/* All in one write, and with them what is still to come of the login, and the CAPA: one round trip. */
static int ask_at_once(
	struct pop3_session *session, struct tables *tables, struct source_error *error)
{
	bool refused = false, login = session->login_pending, capa = session->capa_pending;
	char lines[64];
	int r = pop3_in_step(session, error);
	log_debug("pop3: %sSTAT, UIDL, LIST", capa ? "CAPA, " : "");
	snprintf(lines, sizeof(lines), "%s%sSTAT\r\nUIDL\r\nLIST\r\n", login ? "\r\n" : "",
		capa ? "CAPA\r\n" : "");
	if (r == 0)
		r = pop3_send(session, lines, strlen(lines), error);
	if (r == 0 && login)
		r = pop3_login_answer(session, error);
	if (r == 0 && capa)
		r = pop3_capa_answer(session, error);
	for (size_t i = 0; r == 0 && i < QUESTIONS; i++)
		r = question_answer(session, &questions[i], tables, error, &refused);
	return r == 0 && refused ? error->err : r;
}

int pop3_list(
	struct pop3_session *session, struct maildrop_listing *ret, struct source_error *error)
{
	struct tables tables;
	int r = pop3_begin(session, error);
	if (r < 0)
		return r;
	tables_init(&tables);
	r = session->caps.pipelining ? ask_at_once(session, &tables, error)
	                             : ask_one_by_one(session, &tables, error);
	/* UIDL of an empty maildrop may be refused by a server that has it. */
	if (r == 0 && (tables.has_uidl || tables.messages != 0)) {
		session->caps.uidl = tables.has_uidl;
		if (!tables.has_uidl)
			quirk_seen(QUIRK_POP3_NO_UIDL);
	}
	if (r == 0 && is_nonsense(&tables))
		r = source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_PROTOCOL, -EIO,
			"the server's answers to STAT and LIST can not be understood");
	if (r == 0 && tables_join(&tables, ret) < 0)
		r = pop3_no_memory(session, error);
	tables_finish(&tables);
	return r;
}
