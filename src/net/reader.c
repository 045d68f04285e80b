/* SPDX-License-Identifier: MIT */
/*
 * The one reader of the wire: cuts what arrives into complete responses. It knows of IMAP only what
 * framing needs: that a line may end by announcing a literal, and that the text of a status response,
 * which is for people, may not. Memory grows with what was received, never with what was announced; a literal
 * that the caller takes as it comes is never held. It works on whole buffers: what is scanned is scanned once, by memchr().
 *
 * A response that was read in part leaves the stream out of step, and every later call says so: to go on
 * would be to take the inside of a message for the server's answers.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "mailfs/util/number.h"
#include "stream.h"

#define LITERAL_DIGITS_MAX  20
#define LITERAL_CHUNK_BYTES STREAM_BUFFER_BYTES

const struct net_limits net_limits_default = {
	.line_bytes = 1024 * 1024,
	.literal_bytes = 1024 * 1024,
	.response_bytes = 4 * 1024 * 1024,
	.literals = 64,
};

/* Appends what arrives to out, up to and with LF; at most limit bytes, *ret_taken of them. spills: NULL: to no one. */
static int take_line(struct net_stream *stream, uint64_t limit, const struct net_limits *spills,
	struct str *out, uint64_t *ret_taken)
{
	size_t spilled = out->len;
	for (*ret_taken = 0;;) {
		const char *data;
		size_t have;
		int r = net_stream_peek(stream, &data, &have);
		if (r < 0)
			return r;
		const char *lf = memchr(data, '\n', have);
		size_t take = lf ? (size_t)(lf - data) + 1 : have;
		if (take > limit)
			return -EMSGSIZE;
		limit -= take;
		*ret_taken += take;
		str_append(out, data, take);
		net_stream_consume(stream, take);
		if (lf || str_error(out) < 0)
			return str_error(out);
		if (spills && spills->spill && out->len - spilled >= spills->spill_bytes) {
			r = spills->spill(spills->spill_arg, out);
			if (r < 0)
				return r;
			spilled = out->len;
		}
	}
}

static int take_literal(struct net_stream *stream, uint64_t size, struct str *out)
{
	while (size > 0) {
		size_t chunk = size < LITERAL_CHUNK_BYTES ? (size_t)size : LITERAL_CHUNK_BYTES;
		int r = str_reserve(out, chunk);
		if (r < 0)
			return r;
		ssize_t n = net_read(stream, out->data + out->len, chunk);
		if (n < 0)
			return (int)n;
		out->len += (size_t)n;
		out->data[out->len] = 0;
		size -= (uint64_t)n;
	}
	return 0;
}

/* Hands a literal on from the buffer: nothing of it is copied. */
static int pass_literal(struct net_stream *stream, uint64_t size, const struct net_limits *limits)
{
	while (size > 0) {
		const char *data;
		size_t len;
		int r = net_stream_peek(stream, &data, &len);
		if (r < 0)
			return r;
		if (len > STREAM_BUFFER_BYTES)
			len = STREAM_BUFFER_BYTES;
		if (len > size)
			len = (size_t)size;
		limits->passed(limits->pass_arg, data, len);
		net_stream_consume(stream, len);
		size -= len;
	}
	return 0;
}

/* The length of a line without its line end. */
static size_t line_length(const char *line, size_t len)
{
	if (len > 0 && line[len - 1] == '\n')
		len--;
	if (len > 0 && line[len - 1] == '\r')
		len--;
	return len;
}

/*
 * Whether a line is a continuation request or a status response (RFC 3501 §7.1, §7.5): those end in text
 * for people, in which `{5}` means nothing.
 */
static bool ends_in_text(const char *line, size_t len)
{
	static const char *const words[] = {"OK", "NO", "BAD", "BYE", "PREAUTH"};
	if (len > 0 && line[0] == '+')
		return true;
	const char *space = memchr(line, ' ', len);
	if (!space)
		return false;
	const char *word = space + 1;
	size_t left = len - (size_t)(word - line);
	const char *end = memchr(word, ' ', left);
	size_t word_len = end ? (size_t)(end - word) : left;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (word_len == strlen(words[i]) && strncasecmp(word, words[i], word_len) == 0)
			return true;
	return false;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* A number as large as it may be is given as it is, a larger one as UINT64_MAX, which is over any limit. */
static int parse_size(const char *digits, size_t len, uint64_t *ret)
{
	uint64_t size = 0;
	if (len == 0 || len > LITERAL_DIGITS_MAX)
		return -EPROTO;
	for (size_t i = 0; i < len; i++) {
		if (!is_digit(digits[i]))
			return -EPROTO;
		uint64_t digit = (uint64_t)(digits[i] - '0');
		size = size > (UINT64_MAX - digit) / 10 ? UINT64_MAX : size * 10 + digit;
	}
	*ret = size;
	return 0;
}

/*
 * Looks for `{n}` or `{n+}` at the end of a line of len bytes. 1: there is a literal of *ret_size bytes, and its "{" is at
 * *ret_brace; 0: none; -EPROTO: something that begins like one but has no size.
 */
static int find_literal(const char *line, size_t len, size_t *ret_brace, uint64_t *ret_size)
{
	if (len < 2 || line[len - 1] != '}')
		return 0;
	const char *brace = memrchr(line, '{', len);
	if (!brace)
		return 0;
	const char *digits = brace + 1;
	size_t count = (size_t)(line + len - 1 - digits);
	/* An atom of a careless server may end so; a number, a sign or nothing is meant as a size. */
	if (count > 0 && !is_digit(*digits) && *digits != '-' && *digits != '+')
		return 0;
	if (count > 1 && digits[count - 1] == '+')
		count--;
	int r = parse_size(digits, count, ret_size);
	*ret_brace = (size_t)(brace - line);
	return r < 0 ? r : 1;
}

static int check_literal(
	const struct net_limits *limits, uint64_t size, unsigned literals, uint64_t received)
{
	if (size > limits->literal_bytes || literals > limits->literals ||
		size > limits->response_bytes - received)
		return -EMSGSIZE;
	return 0;
}

/* The literal that is announced at the end of out, from its "{" at brace on. *passed: how many bytes were handed on in all. */
static int take_or_pass(struct net_stream *stream, const struct net_limits *limits, uint64_t size,
	size_t brace, struct str *out, uint64_t *passed)
{
	if (!limits->pass || !limits->pass(limits->pass_arg, out->data, brace, size))
		return take_literal(stream, size, out);
	bool crlf = out->data[out->len - 2] == '\r';
	str_truncate(out, brace);
	str_append_cstr(out, crlf ? "{0}\r\n" : "{0}\n"); /* never longer than what was there */
	*passed += size;
	int r = str_error(out);
	return r < 0 ? r : pass_literal(stream, size, limits);
}

/* How long a line behind a literal may be, where the first is spilled. */
static uint64_t rest_room(const struct net_limits *limits, const struct str *out)
{
	if (!limits->held_bytes)
		return limits->spill_bytes;
	return limits->held_bytes - u64_min(out->len, limits->held_bytes);
}

static int take_response(
	struct net_stream *stream, const struct net_limits *limits, struct str *out)
{
	uint64_t line_left = limits->line_bytes, passed = 0;
	for (unsigned literals = 0;; literals++) {
		size_t start = out->len;
		uint64_t taken,
			room = u64_min(line_left, limits->response_bytes - passed - out->len);
		if (literals > 0 && limits->spill)
			room = u64_min(room, rest_room(limits, out));
		int r = take_line(stream, room, literals == 0 ? limits : NULL, out, &taken);
		if (r < 0)
			return r;
		line_left -= taken;
		size_t len = line_length(out->data + start, out->len - start), brace = 0;
		uint64_t size = 0;
		if (literals > 0 || !ends_in_text(out->data, len))
			r = find_literal(out->data + start, len, &brace, &size);
		if (r == 0)
			str_truncate(out, start + len);
		if (r <= 0)
			return r;
		r = check_literal(limits, size, literals + 1, passed + out->len);
		if (r == 0)
			r = take_or_pass(stream, limits, size, start + brace, out, &passed);
		if (r < 0)
			return r;
	}
}

/* Runs after an attempt to read: whether what was received of it is lost. */
static int note_failure(struct net_stream *stream, int r, const struct str *out)
{
	if (r < 0 && (out->len > 0 || r == -EMSGSIZE || r == -EPROTO || r == -ENOMEM))
		stream->out_of_step = true;
	return r;
}

int net_read_response(struct net_stream *stream, const struct net_limits *limits, struct str *out)
{
	str_reset(out);
	if (stream->out_of_step)
		return -EPROTO;
	return note_failure(stream, take_response(stream, limits, out), out);
}
