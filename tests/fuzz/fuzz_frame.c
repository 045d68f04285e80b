/* SPDX-License-Identifier: MIT */
/*
 * The reader of the wire, the gate, and libetpan's parser behind it. The first byte chooses limits, the rest is what comes, in packets and once more in one
 * piece: both must give the same responses.
 */
#include <errno.h>
#include <libetpan/mailimap.h>
#include <libetpan/mailstream.h>
#include <string.h>

#include "gate.h"
#include "wire.h"

#define SPILL_KEEP 8

/* All that a reading gave, written down. */
struct record {
	struct str log;
	size_t passed;
	const struct net_limits *limits;
};

static int record_spill(void *arg, struct str *line)
{
	struct record *record = arg;
	FUZZ_CHECK(line->len >= SPILL_KEEP);
	str_append(&record->log, line->data + SPILL_KEEP, line->len - SPILL_KEEP);
	str_truncate(line, SPILL_KEEP);
	return 0;
}

static bool record_pass(void *arg, const char *head, size_t len, uint64_t size)
{
	struct record *record = arg;
	FUZZ_CHECK(size <= record->limits->literal_bytes);
	FUZZ_CHECK(len <= record->limits->response_bytes && (len == 0 || head));
	return size > 2;
}

static void record_passed(void *arg, const char *data, size_t len)
{
	struct record *record = arg;
	FUZZ_CHECK(len > 0 && len <= 65536);
	str_append(&record->log, data, len);
	record->passed += len;
}

/* --- libetpan --- */

struct replies {
	const char *parts[3];
	size_t lens[3];
	unsigned next;
};

static ssize_t reply_read(void *arg, void *buf, size_t cap)
{
	struct replies *replies = arg;
	while (replies->next < 3 && replies->lens[replies->next] == 0)
		replies->next++;
	if (replies->next == 3)
		return -EIO;
	size_t *left = &replies->lens[replies->next];
	size_t len = cap < *left ? cap : *left;
	memcpy(buf, replies->parts[replies->next], len);
	replies->parts[replies->next] += len;
	*left -= len;
	return (ssize_t)len;
}

static int reply_write(void *arg, const void *data, size_t len)
{
	(void)arg;
	(void)data;
	(void)len;
	return 0;
}

static const struct net_low_ops low_ops = {.read = reply_read, .write = reply_write};

static void run_command(mailimap *imap, bool capability)
{
	struct mailimap_capability_data *data = NULL;
	if (!capability)
		mailimap_noop(imap);
	else if (mailimap_capability(imap, &data) == MAILIMAP_NO_ERROR)
		mailimap_capability_data_free(data);
}

/* A session that hears a greeting and then this response and an OK, as src/imap/etpan.c has it. */
static void parse_by_libetpan(const struct str *line, bool capability)
{
	struct str told = STR_INIT;
	str_append(&told, line->data, line->len);
	str_append(&told, "\r\n", 2);
	struct replies replies = {{"* OK x\r\n", told.data, "C1 OK x\r\n"}, {8, told.len, 9}, 0};
	mailimap *imap = mailimap_new(0, NULL);
	mailstream_low *low = net_low_create(&low_ops, &replies);
	mailstream *stream = mailstream_new(low, 8192);
	FUZZ_CHECK(imap && low && stream && told.data);
	mailimap_set_163_workaround_enabled(imap, 1);
	FUZZ_CHECK(mailimap_connect(imap, stream) == MAILIMAP_NO_ERROR_NON_AUTHENTICATED);
	run_command(imap, capability);
	mailstream_close(stream);
	imap->imap_stream = NULL;
	mailimap_free(imap);
	str_finish(&told);
}

/* Of the leak sanitizer; not there without it. */
__attribute__((weak)) void __lsan_disable(void);
__attribute__((weak)) void __lsan_enable(void);

/* What mailfs does not ask libetpan for may leak there, but do no other harm. */
static void parse_leaking(const struct str *line)
{
	if (__lsan_disable)
		__lsan_disable();
	parse_by_libetpan(line, false);
	if (__lsan_enable)
		__lsan_enable();
}

static void parse_if_passed(const struct str *line)
{
	if (imap_gate_passes(line->data, line->len, "CAPABILITY"))
		parse_by_libetpan(line, true);
	if (imap_gate_passes(line->data, line->len, NULL))
		parse_leaking(line);
}

/* --- Both readings --- */

static void limits_choose(uint8_t flags, struct record *record, struct net_limits *ret)
{
	*ret = net_limits_default;
	if (flags & 1) {
		ret->spill = record_spill;
		ret->spill_bytes = 64;
		ret->spill_arg = record;
	}
	if (flags & 2) {
		ret->pass = record_pass;
		ret->passed = record_passed;
		ret->pass_arg = record;
	}
	if (flags & 4) {
		ret->line_bytes = 200;
		ret->literal_bytes = 100;
		ret->response_bytes = 400;
		ret->literals = 4;
	}
}

static void read_all(uint8_t flags, struct fuzz_input in, bool packets, struct record *record)
{
	struct net_limits limits;
	struct str line = STR_INIT;
	limits_choose(flags, record, &limits);
	record->limits = &limits;
	wire_open("", in, packets);
	struct net_stream *stream = wire_stream();
	int r;
	while ((r = net_read_response(stream, &limits, &line)) == 0) {
		FUZZ_CHECK(line.len <= limits.response_bytes);
		if (packets && line.len > 0)
			parse_if_passed(&line);
		str_append(&record->log, str_cstr(&line), line.len);
		str_putc(&record->log, '\n');
	}
	FUZZ_CHECK(r == -EMSGSIZE || r == -EPROTO || r == -ECONNRESET);
	if (r != -ECONNRESET) /* out of step, for ever */
		FUZZ_CHECK(net_read_response(stream, &limits, &line) == -EPROTO);
	str_printf(&record->log, "%d", r);
	str_finish(&line);
	net_close(stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint8_t flags = fuzz_byte(&in);
	struct record cut = {.limits = NULL}, whole = {.limits = NULL};
	read_all(flags, in, true, &cut);
	read_all(flags, in, false, &whole);
	/* What is spilled depends on the packets, and so does where a limit strikes. */
	if (!(flags & 1))
		FUZZ_CHECK(cut.log.len == whole.log.len &&
			   memcmp(cut.log.data, whole.log.data, cut.log.len) == 0);
	str_finish(&cut.log);
	str_finish(&whole.log);
	return 0;
}
