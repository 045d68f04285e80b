/* SPDX-License-Identifier: MIT */
/*
 * The line's rate, from windows of time in which something is transferred, and what follows from it. Pure.
 *
 * A window tells at most how fast the line was, at least, because other things take time too: the way there and back, a slow start, the server, our
 * disk. So it can always raise what is known, and lower it only if it is firm: a call has gone on for a while, and most of the
 * time went into waiting for bytes. Deflated, the line tells of itself only while it is full; while it has room, the server's deflate is
 * the limit, and how much content comes then is what the line has to beat.
 */
#include "rate.h"

#define WINDOW_MS     500
#define WINDOW_MAX_MS 10000 /* one in which less than WINDOW_BYTES came says nothing */
#define WINDOW_BYTES  (256 * 1024)
#define LONG_MS       1000 /* of a window that is longer less is enough */
#define LONG_BYTES    (64 * 1024)
/* A call that runs for so many round trips, and not for less than that, has its slow start behind it. */
#define SETTLED_TRIPS  8
#define SETTLED_MIN_MS 300
#define DOUBT_MS       60000
/* What is above the limit by half is plain; in between things stay as they are. */
#define ABOVE(bytes_s) ((bytes_s) + (bytes_s) / 2)

struct sample {
	uint64_t wire_bytes_s, content_bytes_s;
	bool firm, deflated;
};

static uint64_t mean(uint64_t known, uint64_t sample)
{
	return known ? known / 2 + sample / 2 : sample;
}

static uint64_t limit_of(const struct rate_meter *meter)
{
	uint64_t known = meter->deflate_bytes_s;
	return known && known < RATE_DEFLATE_BYTES_S ? known : RATE_DEFLATE_BYTES_S;
}

static void decide(struct rate_meter *meter)
{
	uint64_t limit = limit_of(meter), line = meter->line_bytes_s;
	if (line == 0)
		meter->verdict = RATE_UNKNOWN;
	else if (line < limit)
		meter->verdict = RATE_DEFLATE;
	else if (line > ABOVE(limit) || meter->verdict == RATE_UNKNOWN)
		meter->verdict = RATE_PLAIN;
}

static void take_plain(struct rate_meter *meter, const struct sample *sample)
{
	uint64_t least = meter->line_bytes_s ? meter->line_bytes_s : ABOVE(limit_of(meter));
	if (!sample->firm && sample->wire_bytes_s < least)
		return;
	meter->line_bytes_s = mean(meter->line_bytes_s, sample->wire_bytes_s);
	meter->doubted = false;
	decide(meter);
}

/* The line gives much more than was believed: so it was something else that was slow. How fast it really is, only plain sessions can show. */
static bool doubt(struct rate_meter *meter, const struct sample *sample, int64_t now_ms)
{
	if (meter->line_bytes_s == 0 || sample->wire_bytes_s <= ABOVE(meter->line_bytes_s))
		return false;
	if (meter->doubted_ms && now_ms - meter->doubted_ms < DOUBT_MS)
		return false;
	meter->line_bytes_s = sample->wire_bytes_s;
	meter->doubted = true;
	meter->doubted_ms = now_ms;
	meter->verdict = RATE_PLAIN;
	return true;
}

static void take_deflated(struct rate_meter *meter, const struct sample *sample, int64_t now_ms)
{
	uint64_t line = meter->line_bytes_s;
	if (!sample->firm || meter->doubted || doubt(meter, sample, now_ms))
		return;
	if (line && sample->wire_bytes_s < line - line / 5)
		meter->deflate_bytes_s = mean(meter->deflate_bytes_s, sample->content_bytes_s);
	else
		meter->line_bytes_s = mean(line, sample->wire_bytes_s);
	decide(meter);
}

void rate_meter_open(struct rate_meter *meter, int64_t now_ms, const struct rate_totals *totals)
{
	meter->from_ms = now_ms;
	meter->from = *totals;
}

/* How long a call must run before its window is the line's. */
static int64_t settled_ms(const struct rate_meter *meter)
{
	int64_t ms = meter->trip_ms ? meter->trip_ms * SETTLED_TRIPS : LONG_MS;
	return ms < SETTLED_MIN_MS ? SETTLED_MIN_MS : ms;
}

static uint64_t per_second(uint64_t bytes, int64_t elapsed_ms)
{
	return bytes * 1000 / (uint64_t)elapsed_ms;
}

/* false: the window says nothing. */
static bool measure(const struct rate_meter *meter, int64_t now_ms,
	const struct rate_totals *totals, int64_t longest_ms, struct sample *ret)
{
	const struct rate_totals *from = &meter->from;
	int64_t elapsed_ms = now_ms - meter->from_ms;
	/* A session has ended, and its figures are gone. */
	if (totals->wire_bytes < from->wire_bytes || totals->content_bytes < from->content_bytes ||
		totals->waited_us < from->waited_us)
		return false;
	uint64_t wire = totals->wire_bytes - from->wire_bytes;
	if (wire < (elapsed_ms >= LONG_MS ? LONG_BYTES : WINDOW_BYTES) || elapsed_ms <= 0)
		return false;
	uint64_t waited_ms = (totals->waited_us - from->waited_us) / 1000;
	*ret = (struct sample){.wire_bytes_s = per_second(wire, elapsed_ms),
		.content_bytes_s =
			per_second(totals->content_bytes - from->content_bytes, elapsed_ms),
		.firm = now_ms - longest_ms >= settled_ms(meter) &&
	                waited_ms * 2 >= (uint64_t)elapsed_ms,
		/* TLS alone makes the wire's bytes more than the content's. */
		.deflated = totals->content_bytes - from->content_bytes > wire + wire / 16};
	return true;
}

void rate_meter_look(struct rate_meter *meter, int64_t now_ms, const struct rate_totals *totals,
	int64_t longest_ms, bool last)
{
	struct sample sample;
	if (meter->from_ms == 0)
		return;
	int64_t elapsed_ms = now_ms - meter->from_ms;
	uint64_t wire = totals->wire_bytes - meter->from.wire_bytes;
	if (!last &&
		(elapsed_ms < WINDOW_MS || (elapsed_ms < WINDOW_MAX_MS && wire < WINDOW_BYTES)))
		return;
	if (measure(meter, now_ms, totals, longest_ms, &sample)) {
		if (sample.deflated)
			take_deflated(meter, &sample, now_ms);
		else
			take_plain(meter, &sample);
	}
	rate_meter_open(meter, last ? 0 : now_ms, totals);
}

void rate_meter_trip(struct rate_meter *meter, int64_t took_ms)
{
	if (took_ms < 1)
		took_ms = 1;
	if (meter->trip_ms == 0 || took_ms < meter->trip_ms)
		meter->trip_ms = took_ms;
}

void rate_meter_forget(struct rate_meter *meter)
{
	*meter = (struct rate_meter){.from_ms = meter->from_ms, .from = meter->from};
}

void rate_meter_begin(struct rate_meter *meter, uint64_t line_bytes_s)
{
	meter->line_bytes_s = line_bytes_s;
	decide(meter);
}
