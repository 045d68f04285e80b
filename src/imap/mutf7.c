/* SPDX-License-Identifier: MIT */
/*
 * Modified UTF-7 (RFC 3501 §5.1.3) to UTF-8, and back. Strict: only the one form that an encoder may write is
 * decoded, so that two names of a server never become one; every other name stays as it is.
 */
#include <errno.h>
#include <string.h>

#include "mailfs/util/quirk.h"
#include "mailfs/util/utf8.h"
#include "private.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int digit_value(char c)
{
	const char *at = c ? strchr(digits, c) : NULL;
	return at ? (int)(at - digits) : -1;
}

/* What may stand only encoded, in a shifted run: anything but printable ASCII. */
static bool needs_shift(uint32_t c)
{
	return c != 0 && (c < 0x20 || c > 0x7e);
}

/* UTF-16 units, one at a time, into UTF-8. */
struct unit_sink {
	struct str *out;
	uint32_t high; /* a surrogate that waits for its second half; 0: none */
};

static bool sink_character(struct unit_sink *sink, uint32_t c)
{
	char bytes[4];
	size_t len = utf8_encode(c, bytes);
	str_append(sink->out, bytes, len);
	return len > 0;
}

static bool sink_unit(struct unit_sink *sink, uint32_t unit)
{
	if (sink->high) {
		uint32_t c = 0x10000 + ((sink->high - 0xd800) << 10) + (unit - 0xdc00);
		sink->high = 0;
		return unit >= 0xdc00 && unit <= 0xdfff && sink_character(sink, c);
	}
	if (unit >= 0xd800 && unit <= 0xdbff) {
		sink->high = unit;
		return true;
	}
	return needs_shift(unit) && sink_character(sink, unit);
}

/* The run between "&" and "-" at *pos; *pos is behind the "-" afterwards. */
static bool decode_run(const char **pos, struct str *out)
{
	struct unit_sink sink = {.out = out};
	uint32_t bits = 0;
	unsigned count = 0, units = 0;
	const char *p = *pos;
	for (; *p != '-'; p++) {
		int value = digit_value(*p);
		if (value < 0)
			return false;
		bits = bits << 6 | (uint32_t)value;
		count += 6;
		if (count >= 16) {
			count -= 16;
			units++;
			if (!sink_unit(&sink, bits >> count & 0xffff))
				return false;
			bits &= (1U << count) - 1;
		}
	}
	*pos = p + 1;
	return units > 0 && sink.high == 0 && count < 6 && bits == 0;
}

static bool decode(const char *wire, struct str *out)
{
	bool after_run = false;
	for (const char *p = wire; *p;) {
		bool is_run = p[0] == '&' && p[1] != '-';
		if (*p < 0x20 || *p > 0x7e || (is_run && after_run))
			return false;
		if (is_run) {
			p++;
			if (!decode_run(&p, out))
				return false;
		} else {
			str_putc(out, *p);
			p += p[0] == '&' ? 2 : 1;
		}
		after_run = is_run;
	}
	return true;
}

int imap_mailbox_decode(const char *wire, struct str *out)
{
	size_t start = out->len;
	if (!decode(wire, out)) {
		str_truncate(out, start);
		str_append_cstr(out, wire);
	}
	return str_error(out);
}

/* --- The other way --- */

/* Bits that become digits, six at a time. */
struct run {
	struct str *out;
	uint32_t bits;
	unsigned count;
	bool open;
};

static void run_unit(struct run *run, uint32_t unit)
{
	if (!run->open)
		str_putc(run->out, '&');
	run->open = true;
	run->bits = run->bits << 16 | unit;
	for (run->count += 16; run->count >= 6;) {
		run->count -= 6;
		str_putc(run->out, digits[run->bits >> run->count & 63]);
	}
	run->bits &= (1U << run->count) - 1;
}

static void run_end(struct run *run)
{
	if (!run->open)
		return;
	if (run->count > 0)
		str_putc(run->out, digits[run->bits << (6 - run->count) & 63]);
	str_putc(run->out, '-');
	*run = (struct run){.out = run->out};
}

static void encode_character(struct run *run, uint32_t c)
{
	if (!needs_shift(c)) {
		run_end(run);
		str_putc(run->out, (char)c);
		if (c == '&')
			str_putc(run->out, '-');
	} else if (c < 0x10000) {
		run_unit(run, c);
	} else {
		run_unit(run, 0xd800 + ((c - 0x10000) >> 10));
		run_unit(run, 0xdc00 + ((c - 0x10000) & 0x3ff));
	}
}

int imap_mailbox_to_wire(const char *name, struct str *out)
{
	_cleanup_str_ struct str decoded = STR_INIT;
	struct run run = {.out = out};
	size_t len = strlen(name);
	if (decode(name, &decoded) || !utf8_valid(name, len)) {
		str_append(out, name, len);
		return str_error(out);
	}
	quirk_seen(QUIRK_NAME_IN_UTF8);
	for (size_t pos = 0; pos < len;)
		encode_character(&run, utf8_next(name, len, &pos));
	run_end(&run);
	return str_error(out);
}
