/* SPDX-License-Identifier: MIT */
/*
 * The columns of a listing, streamed: a response in, a row out. Nothing is kept from row to row, and no
 * memory is taken for a row that the one before did not need too.
 *
 * A row is only ever lost openly: what is damaged is given with what could be read of it, and what tells no UID is
 * counted. What was not asked for (other UIDs, changes of flags by other sessions) is passed over: `first:*` gives the last
 * message even when its UID is less than first.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "mailfs/util/log.h"
#include "private.h"

struct rows {
	uint32_t first, last;
	enum source_columns columns;
	uint64_t modseq; /* only what changed since; 0: all */
	source_row_fn *fn;
	void *arg;
	unsigned skipped, damaged;
	uint32_t highest; /* UID that has come; one that comes again is no progress */
	struct imap_row_reader reader;
};

/* \Recent is not kept: it tells of the session that looks, not of the message. */
static void read_flags(const struct imap_tree *tree, const struct imap_node *list,
	struct imap_row_reader *reader, struct source_row *row)
{
	if (!imap_node_is_list(list) || !list->closed)
		return;
	str_reset(&reader->flags);
	const struct imap_node *flag = imap_node_child(tree, list);
	for (; flag; flag = imap_node_next(tree, flag)) {
		if (flag->type == IMAP_NODE_LIST || imap_node_is(flag, "\\Recent"))
			continue;
		if (reader->flags.len + flag->len >= IMAP_LIMIT_FLAGS_BYTES)
			break;
		if (reader->flags.len > 0)
			str_putc(&reader->flags, ' ');
		imap_node_append(flag, &reader->flags);
	}
	row->flags = str_cstr(&reader->flags);
	row->have |= SOURCE_ROW_FLAGS;
}

/* A label as the server wrote it; one that came as a literal is written as a quoted string. */
static void append_label(struct str *out, const struct imap_node *label)
{
	if (label->type == IMAP_NODE_ATOM) {
		str_append(out, label->data, label->len);
		return;
	}
	str_putc(out, '"');
	for (size_t i = 0; i < label->len; i++) {
		char c = label->data[i];
		if (label->type == IMAP_NODE_LITERAL && (c == '"' || c == '\\'))
			str_putc(out, '\\');
		str_putc(out, c == 0 || c == '\r' || c == '\n' ? ' ' : c);
	}
	str_putc(out, '"');
}

static void read_labels(const struct imap_tree *tree, const struct imap_node *list,
	struct imap_row_reader *reader, struct source_row *row)
{
	if (!imap_node_is_list(list) || !list->closed)
		return;
	str_reset(&reader->labels);
	const struct imap_node *label = imap_node_child(tree, list);
	for (; label; label = imap_node_next(tree, label)) {
		if (label->type == IMAP_NODE_LIST)
			continue;
		if (reader->labels.len + 2 * label->len >= IMAP_LIMIT_LABELS_BYTES)
			break;
		if (reader->labels.len > 0)
			str_putc(&reader->labels, ' ');
		append_label(&reader->labels, label);
	}
	row->labels = str_cstr(&reader->labels);
	row->have |= SOURCE_ROW_LABELS;
}

static void read_date(const struct imap_node *value, struct source_row *row)
{
	if (imap_node_is_string(value) && imap_date_parse(value->data, value->len, &row->date_s))
		row->have |= SOURCE_ROW_DATE;
}

static void read_size(const struct imap_node *value, struct source_row *row)
{
	if (imap_node_number(value, SOURCE_SIZE_MAX, &row->size_bytes))
		row->have |= SOURCE_ROW_SIZE;
}

/* NIL: the message has none of the fields. */
static void read_header(
	const struct imap_node *value, struct imap_row_reader *reader, struct source_row *row)
{
	if (!imap_node_is_string(value) && !imap_node_is_nil(value))
		return;
	row->header = imap_node_is_nil(value) ? "" : value->data;
	row->header_len = imap_node_is_nil(value) ? 0 : value->len;
	if (value->escaped) {
		str_reset(&reader->header);
		imap_node_append(value, &reader->header);
		row->header = str_cstr(&reader->header);
		row->header_len = reader->header.len;
	}
	/* What was too long is empty in its place. */
	if (value->type == IMAP_NODE_LITERAL && value->len == 0) {
		(void)mime_fields_end(&reader->long_header);
		row->header = str_cstr(&reader->long_header.text);
		row->header_len = reader->long_header.text.len;
	}
	if (row->header_len > IMAP_LIMIT_HEADER_BYTES)
		row->header_len = IMAP_LIMIT_HEADER_BYTES;
	row->have |= SOURCE_ROW_HEADER;
}

static bool is_header_item(const struct imap_node *item)
{
	static const char prefix[] = "BODY[HEADER.FIELDS ";
	return item->type == IMAP_NODE_ATOM && item->len > strlen(prefix) &&
	       strncasecmp(item->data, prefix, strlen(prefix)) == 0;
}

static void read_item(const struct imap_tree *tree, const struct imap_node *item,
	const struct imap_node *value, struct imap_row_reader *reader, struct source_row *row)
{
	if (imap_node_is(item, "FLAGS"))
		read_flags(tree, value, reader, row);
	else if (imap_node_is(item, "INTERNALDATE"))
		read_date(value, row);
	else if (imap_node_is(item, "RFC822.SIZE"))
		read_size(value, row);
	else if (imap_node_is(item, "X-GM-LABELS"))
		read_labels(tree, value, reader, row);
	else if (is_header_item(item))
		read_header(value, reader, row);
}

int imap_row_error(const struct imap_row_reader *reader)
{
	return str_error(&reader->flags) < 0 || str_error(&reader->labels) < 0 ||
	                       str_error(&reader->header) < 0 ||
	                       str_error(&reader->long_header.text) < 0
	               ? -ENOMEM
	               : 0;
}

void imap_row_finish(struct imap_row_reader *reader)
{
	str_finish(&reader->flags);
	str_finish(&reader->labels);
	str_finish(&reader->header);
	mime_fields_finish(&reader->long_header);
}

bool imap_row_read(struct imap_engine *engine, const struct imap_response *response,
	struct imap_row_reader *reader, struct imap_fetch *ret_fetch, struct source_row *ret)
{
	const struct imap_tree *tree = &engine->tree;
	if (!imap_fetch_parse(engine, response, ret_fetch))
		return false;
	*ret = (struct source_row){.uid = ret_fetch->uid, .flags = ""};
	const struct imap_node *item = ret_fetch->item;
	while (item) {
		const struct imap_node *next, *value = imap_fetch_value(tree, item, &next);
		if (value)
			read_item(tree, item, value, reader, ret);
		item = next;
	}
	return true;
}

/*
 * Whether a FETCH that tells no UID is a row that lost it, rather than another session's change of flags: those hold
 * flags (and MODSEQ) alone.
 */
static bool is_row_without_uid(
	const struct rows *rows, const struct imap_fetch *fetch, const struct source_row *row)
{
	if (fetch->damaged)
		return true;
	return rows->columns == SOURCE_COLUMNS_ALL &&
	       (row->have & (SOURCE_ROW_DATE | SOURCE_ROW_SIZE | SOURCE_ROW_HEADER));
}

static int row_found(
	struct rows *rows, const struct imap_fetch *fetch, const struct source_row *row)
{
	if (row->uid == 0) {
		rows->skipped += is_row_without_uid(rows, fetch, row);
		return 0;
	}
	if (row->uid < rows->first || row->uid > rows->last)
		return 0;
	if (fetch->damaged) {
		rows->damaged++;
		log_info("message %u: the server's listing of it can not be understood", row->uid);
	}
	int r = imap_row_error(&rows->reader);
	return r < 0 ? r : rows->fn(rows->arg, row);
}

static int rows_untagged(
	struct imap_engine *engine, const struct imap_response *response, void *arg)
{
	struct rows *rows = arg;
	struct imap_fetch fetch;
	struct source_row row;
	bool is_row = imap_row_read(engine, response, &rows->reader, &fetch, &row);
	int r = is_row ? row_found(rows, &fetch, &row) : 0;
	if (is_row && row.uid > rows->highest && row.uid >= rows->first && row.uid <= rows->last) {
		rows->highest = row.uid;
		imap_engine_row(engine);
	}
	mime_fields_reset(&rows->reader.long_header); /* it was of this response */
	return r;
}

static const char *column_names(const struct imap_engine *engine, enum source_columns columns)
{
	switch (columns) {
	case SOURCE_COLUMNS_UID:
		return "UID";
	case SOURCE_COLUMNS_FLAGS:
		return "UID FLAGS";
	case SOURCE_COLUMNS_ALL:
		break;
	}
	return engine->caps.set & IMAP_CAP_GMAIL
	               ? "UID FLAGS INTERNALDATE RFC822.SIZE X-GM-LABELS BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT MESSAGE-ID)]"
	               : "UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT MESSAGE-ID)]";
}

static const char *const header_fields[] = {"From", "To", "Subject", "Message-ID"};

static int rows_run(struct imap_engine *engine, struct rows *rows, struct source_error *error)
{
	struct net_limits limits;
	struct imap_long own = {.engine = engine, .header = &rows->reader.long_header};
	struct imap_exchange exchange = {.what = "the folder can not be listed",
		.scope = SOURCE_SCOPE_MAILBOX,
		.untagged = rows_untagged,
		.arg = rows,
		.limits = &limits,
		/* each message once, some twice when its flags change meanwhile, and what else goes on */
		.responses_max = UINT64_C(4) * engine->messages + IMAP_LIMIT_ROWS_EXTRA,
		.bytes_max = IMAP_LIMIT_ROWS_BYTES + IMAP_LIMIT_ROW_BYTES * engine->messages,
		.streaming = true};
	_cleanup_command_ struct imap_command command;
	char last[12] = "*";
	mime_fields_init(&rows->reader.long_header, header_fields,
		sizeof(header_fields) / sizeof(*header_fields), IMAP_LIMIT_FIELD_BYTES);
	imap_long_limits(&own, IMAP_LIMIT_ROW_LINE_BYTES, &limits);
	if (rows->last != UINT32_MAX)
		snprintf(last, sizeof(last), "%u", rows->last);
	imap_command_init(&command, engine, "UID FETCH %u:%s (%s)", rows->first, last,
		column_names(engine, rows->columns));
	if (rows->modseq > 0)
		str_printf(&command.text, " (CHANGEDSINCE %llu)", (unsigned long long)rows->modseq);
	log_debug("imap: UID FETCH %u:%s, %s", rows->first, last,
		rows->modseq > 0 ? "changes" : "listing");
	return imap_engine_run(engine, &command, &exchange, error);
}

static int rows_all(struct imap_engine *engine, struct rows *rows, unsigned *ret_skipped,
	struct source_error *error)
{
	int r = imap_fetch_begin(engine, error);
	if (r == 0)
		r = rows_run(engine, rows, error);
	if (rows->damaged + rows->skipped > 0)
		log_warning(
			"%u messages: the server's listing of them can not be understood; %u of them tell no UID",
			rows->damaged + rows->skipped, rows->skipped);
	imap_row_finish(&rows->reader);
	if (r == 0)
		*ret_skipped = rows->skipped;
	return r;
}

int imap_rows(struct imap_engine *engine, uint32_t first, uint32_t last,
	enum source_columns columns, source_row_fn *fn, void *arg, unsigned *ret_skipped,
	struct source_error *error)
{
	struct rows rows = {
		.first = first ? first : 1, .last = last, .columns = columns, .fn = fn, .arg = arg};
	return rows_all(engine, &rows, ret_skipped, error);
}

int imap_changed(struct imap_engine *engine, uint32_t first, uint32_t last, uint64_t modseq,
	source_row_fn *fn, void *arg, unsigned *ret_skipped, struct source_error *error)
{
	struct rows rows = {.first = first ? first : 1,
		.last = last,
		.columns = SOURCE_COLUMNS_FLAGS,
		.modseq = modseq,
		.fn = fn,
		.arg = arg};
	if (!(engine->caps.set & IMAP_CAP_CONDSTORE) || modseq == 0 || modseq > SOURCE_MODSEQ_MAX)
		return source_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_RETRY_NEVER,
			SOURCE_CAUSE_OTHER, -EOPNOTSUPP, "the server can not tell what changed");
	int r = rows_all(engine, &rows, ret_skipped, error);
	if (r < 0 && imap_engine_not_understood(engine))
		imap_engine_refuse(engine, IMAP_CAP_CONDSTORE | IMAP_CAP_QRESYNC, "CONDSTORE");
	return r;
}
