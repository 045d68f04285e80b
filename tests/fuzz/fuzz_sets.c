/* SPDX-License-Identifier: MIT */
/*
 * Sets of UIDs (VANISHED, SEARCH, ESEARCH) that are taken out of a line while it arrives, in packets, and the same lines held whole: both must tell
 * the same ranges. The first byte chooses the kind of set and its bounds.
 */
#include <errno.h>
#include <string.h>

#include "private.h"
#include "wire.h"

#define SPILL_BYTES 48

struct told {
	struct str log;
	uint32_t first, last;
	bool malformed;
	int end; /* of the reading */
};

static int on_range(void *arg, uint32_t first, uint32_t last)
{
	struct told *told = arg;
	FUZZ_CHECK(first >= told->first && first <= last && last <= told->last);
	str_printf(&told->log, "%u:%u,", first, last);
	return 0;
}

static void read_sets(uint8_t flags, struct fuzz_input in, bool spills, struct told *told)
{
	struct imap_engine engine;
	struct imap_set set;
	struct net_limits limits;
	struct imap_response response;
	size_t whole = 0;
	told->first = flags & 2 ? 5 : 1;
	told->last = flags & 4 ? 900 : UINT32_MAX;
	wire_open("", in, spills);
	imap_engine_init(&engine, wire_stream());
	engine.tag = 1;
	imap_set_init(&set, flags & 1 ? IMAP_SET_SEARCH : IMAP_SET_VANISHED, told->first,
		told->last, on_range, told);
	imap_set_limits(&set, &engine, &limits);
	limits.spill_bytes = SPILL_BYTES;
	if (!spills)
		limits.spill = NULL;
	while ((told->end = net_read_response(engine.stream, &limits, &engine.line)) == 0) {
		if (imap_response_parse(str_cstr(&engine.line), engine.line.len, &response) == 0)
			imap_set_read(&set, &engine, &response);
		str_putc(&told->log, '\n');
		whole = told->log.len;
		told->malformed = set.malformed;
	}
	str_truncate(&told->log, whole); /* what of a line that was lost had been told by then */
	imap_engine_finish(&engine);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint8_t flags = fuzz_byte(&in);
	struct told cut = {.first = 0}, whole = {.first = 0};
	read_sets(flags, in, true, &cut);
	read_sets(flags, in, false, &whole);
	/* A line that is spilled may have limits that a whole one has not. */
	if (cut.end == -ECONNRESET && whole.end == -ECONNRESET) {
		FUZZ_CHECK(cut.malformed == whole.malformed);
		if (!whole.malformed) /* else it counts for nothing */
			FUZZ_CHECK(
				cut.log.len == whole.log.len &&
				memcmp(str_cstr(&cut.log), str_cstr(&whole.log), cut.log.len) == 0);
	}
	str_finish(&cut.log);
	str_finish(&whole.log);
	return 0;
}
