/* SPDX-License-Identifier: MIT */
/*
 * Which UIDs exist. What is missing from the answer counts as deleted, so an answer that is missing, or damaged, is an
 * error and never an answer: a server that says OK and nothing else is asked in another way.
 */
#include <errno.h>
#include <stdio.h>

#include "mailfs/util/log.h"
#include "private.h"

struct searching {
	struct imap_set set;
	unsigned answers;
};

static int search_untagged(
	struct imap_engine *engine, const struct imap_response *response, void *arg)
{
	struct searching *searching = arg;
	if (!imap_set_read(&searching->set, engine, response))
		return 0;
	searching->answers++;
	return searching->set.err;
}

static int search_run(
	struct imap_engine *engine, struct searching *searching, struct source_error *error)
{
	struct net_limits limits;
	struct imap_exchange exchange = {.what = "the folder can not be searched",
		.scope = SOURCE_SCOPE_MAILBOX,
		.untagged = search_untagged,
		.arg = searching,
		.limits = &limits,
		.per_message = true,
		.streaming = true};
	_cleanup_command_ struct imap_command command;
	char last[12] = "*";
	if (searching->set.last != UINT32_MAX)
		snprintf(last, sizeof(last), "%u", searching->set.last);
	imap_set_limits(&searching->set, engine, &limits);
	imap_command_init(&command, engine, "UID SEARCH %sUID %u:%s",
		engine->caps.set & IMAP_CAP_ESEARCH ? "RETURN (ALL) " : "", searching->set.first,
		last);
	log_debug("imap: UID SEARCH %u:%s", searching->set.first, last);
	return imap_engine_run(engine, &command, &exchange, error);
}

static int search_fail(struct source_error *error)
{
	return source_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_RETRY_LATER, SOURCE_CAUSE_PROTOCOL,
		-EIO, "the folder can not be searched: the server's answer can not be understood");
}

static int row_found(void *arg, const struct source_row *row)
{
	const struct imap_set *set = arg;
	return set->fn(set->arg, row->uid, row->uid);
}

static int by_rows(
	struct imap_engine *engine, const struct imap_set *set, struct source_error *error)
{
	unsigned skipped = 0;
	int r = imap_rows(engine, set->first, set->last, SOURCE_COLUMNS_UID, row_found, (void *)set,
		&skipped, error);
	return r == 0 && skipped > 0 ? search_fail(error) : r;
}

int imap_uids(struct imap_engine *engine, uint32_t first, uint32_t last, source_range_fn *fn,
	void *arg, struct source_error *error)
{
	struct searching searching = {0};
	imap_set_init(&searching.set, IMAP_SET_SEARCH, first, last, fn, arg);
	int r = imap_fetch_begin(engine, error);
	if (r == 0)
		r = search_run(engine, &searching, error);
	if (r < 0 && imap_engine_not_understood(engine) && engine->caps.set & IMAP_CAP_ESEARCH) {
		imap_engine_refuse(engine, IMAP_CAP_ESEARCH, "ESEARCH");
		r = search_run(engine, &searching, error);
	}
	if (r < 0)
		return r;
	if (searching.set.malformed)
		return search_fail(error);
	return searching.answers > 0 ? 0 : by_rows(engine, &searching.set, error);
}
