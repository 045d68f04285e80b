/* SPDX-License-Identifier: MIT */
/* The line's rate: what windows of transfer make of it, and when sessions are deflated. Figures and time only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rate.h"

#define MB UINT64_C(1000000)

/* One call, and what its sessions have moved. */
struct line {
	struct rate_meter meter;
	struct rate_totals totals;
	int64_t now_ms, began_ms;
};

/* How much of the time went into waiting for bytes. */
enum { BUSY = 10, WAITING = 90 };

static void begin(struct line *line)
{
	line->now_ms += 1000;
	line->began_ms = line->now_ms;
	rate_meter_open(&line->meter, line->now_ms, &line->totals);
}

/* true: what is known is another then. */
static bool look(struct line *line, bool last)
{
	uint64_t bytes_s = line->meter.line_bytes_s;
	enum rate_verdict verdict = line->meter.verdict;
	rate_meter_look(&line->meter, line->now_ms, &line->totals, line->began_ms, last);
	return line->meter.line_bytes_s != bytes_s || line->meter.verdict != verdict;
}

/* So many milliseconds pass in which wire and content come at these rates; then somebody looks. */
static bool run(
	struct line *line, int ms, uint64_t wire_s, uint64_t content_s, unsigned waiting, bool last)
{
	line->now_ms += ms;
	line->totals.wire_bytes += wire_s * (unsigned)ms / 1000;
	line->totals.content_bytes += content_s * (unsigned)ms / 1000;
	line->totals.waited_us += (uint64_t)ms * 10 * waiting;
	return look(line, last);
}

/* A plain call of so many seconds, looked at every 100 ms. */
static void plain(struct line *line, int seconds, uint64_t wire_s, unsigned waiting)
{
	begin(line);
	for (int i = 0; i < seconds * 10; i++)
		run(line, 100, wire_s, wire_s - wire_s / 100, waiting, i == seconds * 10 - 1);
}

static void deflated(struct line *line, int seconds, uint64_t wire_s, uint64_t content_s)
{
	begin(line);
	for (int i = 0; i < seconds * 10; i++)
		run(line, 100, wire_s, content_s, WAITING, i == seconds * 10 - 1);
}

static void assert_about(uint64_t got, uint64_t want)
{
	assert_in_range(got, want - want / 10, want + want / 10);
}

static void what_a_long_call_says(void **state)
{
	static const struct {
		uint64_t wire_s;
		enum rate_verdict verdict;
	} lines[] = {{64000, RATE_DEFLATE}, {MB, RATE_DEFLATE}, {6 * MB, RATE_DEFLATE},
		{11 * MB, RATE_DEFLATE}, {13 * MB, RATE_PLAIN}, {25 * MB, RATE_PLAIN},
		{140 * MB, RATE_PLAIN}, {1200 * MB, RATE_PLAIN}};
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct line line = {0};
		plain(&line, 5, lines[i].wire_s, WAITING);
		assert_about(line.meter.line_bytes_s, lines[i].wire_s);
		assert_int_equal(line.meter.verdict, lines[i].verdict);
	}
}

/* A round trip and a slow start, or nothing much, say nothing against the line. */
static void what_says_nothing(void **state)
{
	struct line line = {0};
	(void)state;
	for (int i = 0; i < 20; i++) { /* 300 KB in 60 ms, as a whole call */
		begin(&line);
		assert_false(run(&line, 60, 5 * MB, 5 * MB, WAITING, true));
	}
	begin(&line); /* the first second of a longer one */
	assert_false(run(&line, 900, 3 * MB, 3 * MB, WAITING, true));
	begin(&line); /* a trickle */
	assert_false(run(&line, 60000, 1000, 1000, WAITING, true));
	/* we are the slow ones */
	plain(&line, 5, 5 * MB, BUSY);
	assert_int_equal(line.meter.line_bytes_s, 0);
	assert_int_equal(line.meter.verdict, RATE_UNKNOWN);
	/* but it was as fast as that, at least */
	begin(&line);
	assert_true(run(&line, 60, 100 * MB, 100 * MB, BUSY, true));
	assert_int_equal(line.meter.verdict, RATE_PLAIN);
	assert_about(line.meter.line_bytes_s, 100 * MB);
}

/* Where the way is short a call is settled soon; where it is long, later. */
static void the_way_counts(void **state)
{
	static const struct {
		int trip_ms, call_ms;
		enum rate_verdict verdict;
	} calls[] = {{0, 250, RATE_UNKNOWN}, {0, 350, RATE_DEFLATE}, {5, 350, RATE_DEFLATE},
		{50, 350, RATE_UNKNOWN}, {50, 450, RATE_DEFLATE}, {200, 1500, RATE_UNKNOWN},
		{200, 1700, RATE_DEFLATE}};
	(void)state;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		struct line line = {0};
		rate_meter_trip(&line.meter, 1000);
		rate_meter_trip(&line.meter, calls[i].trip_ms);
		rate_meter_trip(&line.meter, 700);
		begin(&line);
		run(&line, calls[i].call_ms, 2 * MB, 2 * MB, WAITING, true);
		assert_int_equal(line.meter.verdict, calls[i].verdict);
	}
	/* a line so slow that a call brings little */
	struct line line = {0};
	begin(&line);
	run(&line, 1500, 60000, 60000, WAITING, true);
	assert_int_equal(line.meter.verdict, RATE_DEFLATE);
}

/* Nothing of what was moved between two calls, or by a session that has ended, is taken for the line's. */
static void what_is_no_window(void **state)
{
	struct line line = {0};
	(void)state;
	assert_false(run(&line, 2000, 5 * MB, 5 * MB, WAITING, false));
	begin(&line);
	line.now_ms += 2000;
	line.totals = (struct rate_totals){.wire_bytes = 0};
	line.totals.wire_bytes = 0;
	struct rate_totals before = {50 * MB, 50 * MB, 1900000};
	line.meter.from = before;
	assert_false(run(&line, 100, MB, MB, WAITING, false));
	assert_int_equal(line.meter.verdict, RATE_UNKNOWN);
	/* and the next one counts again */
	for (int i = 0; i < 20; i++)
		run(&line, 100, 5 * MB, 5 * MB, WAITING, false);
	assert_int_equal(line.meter.verdict, RATE_DEFLATE);
	/* a clock that stands still */
	begin(&line);
	line.totals.wire_bytes += 10 * MB;
	assert_false(look(&line, true));
}

/* Around the limit it does not go to and fro. */
static void it_stays_as_it_is(void **state)
{
	struct line line = {0};
	(void)state;
	plain(&line, 5, 13 * MB, WAITING);
	assert_int_equal(line.meter.verdict, RATE_PLAIN);
	plain(&line, 5, 11 * MB, WAITING);
	assert_int_equal(line.meter.verdict, RATE_DEFLATE);
	deflated(&line, 5, 15 * MB, 25 * MB);
	assert_int_equal(line.meter.verdict, RATE_DEFLATE);
	plain(&line, 5, 17 * MB, WAITING);
	assert_int_equal(line.meter.verdict, RATE_DEFLATE);
	plain(&line, 5, 40 * MB, WAITING);
	assert_int_equal(line.meter.verdict, RATE_PLAIN);
}

/* The line is full, and the content is more: that is what it is for. */
static void deflate_that_pays_stays(void **state)
{
	static const uint64_t contents[] = {7 * MB, 12 * MB, 30 * MB};
	(void)state;
	for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++) {
		struct line line = {0};
		plain(&line, 3, 6 * MB, WAITING);
		deflated(&line, 60, 6 * MB, contents[i]);
		assert_int_equal(line.meter.verdict, RATE_DEFLATE);
		assert_about(line.meter.line_bytes_s, 6 * MB);
		/* the server's processor is the limit, and more comes than would plain */
		deflated(&line, 60, 3 * MB, 36 * MB);
		assert_int_equal(line.meter.verdict, RATE_DEFLATE);
		assert_about(line.meter.line_bytes_s, 6 * MB);
	}
}

/* A small server: less comes deflated than the line gives. */
static void deflate_that_costs_ends(void **state)
{
	struct line line = {0};
	(void)state;
	plain(&line, 3, 11 * MB, WAITING);
	assert_int_equal(line.meter.verdict, RATE_DEFLATE);
	deflated(&line, 5, 3 * MB, 5 * MB);
	assert_int_equal(line.meter.verdict, RATE_PLAIN);
	assert_about(line.meter.line_bytes_s, 11 * MB);
	/* and is not tried again */
	plain(&line, 5, 11 * MB, WAITING);
	assert_int_equal(line.meter.verdict, RATE_PLAIN);
	plain(&line, 10, 3 * MB, WAITING); /* unless the line is slower than even that */
	assert_int_equal(line.meter.verdict, RATE_DEFLATE);
}

/* It was the server's disk, not the line. */
static void a_low_figure_is_found_out(void **state)
{
	struct line line = {0};
	(void)state;
	plain(&line, 10, 3 * MB, WAITING);
	assert_int_equal(line.meter.verdict, RATE_DEFLATE);
	deflated(&line, 2, 11 * MB, 36 * MB);
	assert_int_equal(line.meter.verdict, RATE_PLAIN);
	plain(&line, 2, 140 * MB, WAITING);
	assert_int_equal(line.meter.verdict, RATE_PLAIN);
	/* or the line is no better: then once a minute at most */
	plain(&line, 10, 3 * MB, WAITING);
	assert_int_equal(line.meter.verdict, RATE_DEFLATE);
	deflated(&line, 2, 8 * MB, 20 * MB);
	assert_int_equal(line.meter.verdict, RATE_DEFLATE);
	plain(&line, 60, 3 * MB, WAITING);
	deflated(&line, 2, 8 * MB, 20 * MB);
	assert_int_equal(line.meter.verdict, RATE_PLAIN);
}

static void what_is_known_can_be_given_and_forgotten(void **state)
{
	struct line line = {0};
	(void)state;
	rate_meter_begin(&line.meter, 6 * MB);
	assert_int_equal(line.meter.verdict, RATE_DEFLATE);
	begin(&line);
	rate_meter_forget(&line.meter); /* in the middle of a window, which goes on */
	assert_int_equal(line.meter.verdict, RATE_UNKNOWN);
	assert_int_equal(line.meter.line_bytes_s, 0);
	assert_true(run(&line, 2000, 6 * MB, 6 * MB, WAITING, true));
	assert_int_equal(line.meter.verdict, RATE_DEFLATE);
	rate_meter_forget(&line.meter);
	rate_meter_begin(&line.meter, 0);
	assert_int_equal(line.meter.verdict, RATE_UNKNOWN);
	rate_meter_begin(&line.meter, UINT64_MAX / 4);
	assert_int_equal(line.meter.verdict, RATE_PLAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_long_call_says),
		cmocka_unit_test(what_says_nothing),
		cmocka_unit_test(the_way_counts),
		cmocka_unit_test(what_is_no_window),
		cmocka_unit_test(it_stays_as_it_is),
		cmocka_unit_test(deflate_that_pays_stays),
		cmocka_unit_test(deflate_that_costs_ends),
		cmocka_unit_test(a_low_figure_is_found_out),
		cmocka_unit_test(what_is_known_can_be_given_and_forgotten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
