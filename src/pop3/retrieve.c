/* SPDX-License-Identifier: MIT */
/*
 * RETR and TOP through a sliding window: commands go out in batches while answers come in, in their order. Without
 * PIPELINING the window is one command wide, and the rest is the same.
 *
 * The window counts commands and the announced bytes that have not come yet, so that the next command is on its way before the
 * end of a large message. It is refilled when half of it is free: a write carries many commands. What is in flight is far less than
 * what a peer's socket takes, and net_write() reads while it waits, so the two can not block each other.
 *
 * Answers are known by their order alone. A refusal may be one that nobody asked for, from a broken server: then every answer after it
 * is taken for that to the next question, and a message gets another's name. So after a refusal what is in flight counts only if its size is the
 * listed one, and no other's; and before anything else is asked for, LIST with a number has to be answered with that number. That is sound where sizes
 * are wrong, or not known. Where it is refused, messages are asked for one by one, and sizes have to fit.
 *
 * An answer that is missing, or came twice, is not seen as such: a message of another size than the listed one is doubted in the same way, and believed
 * when it comes again, asked for alone, with the same bytes. When some are confirmed so, and few fit, it is the sizes that are wrong: from then on they say
 * nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"
#include "private.h"

#define SIZE_UNKNOWN_BYTES ((uint64_t)1 << 20) /* what a message of unknown size counts */
/* How long a header may be, how much longer than listed a message, and how long one of which nobody knows: a server must not fill the disk. */
#define HEADER_BYTES_MAX  ((uint64_t)16 << 20)
#define SLACK_BYTES       ((uint64_t)64 << 20)
#define MESSAGE_BYTES_MAX ((uint64_t)4 << 30)
/* So many that came twice with a size that is not the listed one, and more than fit: sizes mean nothing. */
#define CONFIRMED_MIN 4

struct flight {
	void *cookie;
	uint64_t size_bytes;    /* as listed */
	uint64_t counted_bytes; /* what it still takes of the window */
	uint64_t before;        /* as in maildrop_want */
	bool alone;             /* asked for when nothing else was in flight */
};

struct window {
	struct pop3_session *session;
	const struct maildrop_sink *sink;
	bool header;
	struct flight flights[POP3_WINDOW_COUNT]; /* a ring, oldest at first */
	size_t first, count, count_max;
	uint64_t bytes;
	struct maildrop_want held; /* asked for by the sink, does not fit yet */
	bool is_held;
	struct str commands;
	size_t answered; /* since commands went out last */
	bool doubt; /* there was a refusal, or a size that does not fit: answers may be out of step */
	size_t fits,
		confirmed; /* messages by their size: the listed one; another one, which was confirmed */
};

/* --- The sink: its time is not the server's --- */

static bool sink_next(struct window *window, struct maildrop_want *ret)
{
	int64_t since = clock_now_ms();
	bool more = window->sink->next(window->sink->arg, ret);
	pop3_excuse(window->session, since);
	return more;
}

static int sink_data(
	struct window *window, void *cookie, struct pop3_slice run, struct source_error *error)
{
	int64_t since = clock_now_ms();
	int r = window->sink->data(window->sink->arg, cookie, run.data, run.len);
	pop3_excuse(window->session, since);
	return r < 0 ? pop3_stopped(window->session, r, error) : 0;
}

static int sink_end(struct window *window, void *cookie, const struct maildrop_result *result,
	struct source_error *error)
{
	int r = window->sink->end(window->sink->arg, cookie, result);
	pop3_renew(window->session);
	return r < 0 ? pop3_stopped(window->session, r, error) : 0;
}

/* --- Asking --- */

static uint64_t want_bytes(const struct window *window, const struct maildrop_want *want)
{
	/* A header's size is not known, but hardly ever large. */
	if (window->header)
		return 4096;
	return want->size_bytes == UINT64_MAX ? SIZE_UNKNOWN_BYTES : want->size_bytes;
}

static bool is_due(const struct window *window)
{
	return window->count == 0 ||
	       (window->count <= window->count_max / 2 && window->bytes <= POP3_WINDOW_BYTES / 2);
}

static bool is_fitting(const struct window *window, uint64_t bytes)
{
	if (window->count == 0)
		return true;
	return window->count < window->count_max && window->bytes <= POP3_WINDOW_BYTES &&
	       bytes <= POP3_WINDOW_BYTES - window->bytes;
}

static void window_push(struct window *window, const struct maildrop_want *want)
{
	size_t at = (window->first + window->count) % POP3_WINDOW_COUNT;
	uint64_t bytes = want_bytes(window, want);
	window->flights[at] = (struct flight){
		want->cookie, want->size_bytes, bytes, want->before, window->count_max == 1};
	window->count++;
	window->bytes += bytes;
	str_printf(
		&window->commands, window->header ? "TOP %u 0\r\n" : "RETR %u\r\n", want->number);
}

/* "5 120": no answer but that to "LIST 5". */
static bool is_row_of(const struct pop3_reply *reply, uint32_t number)
{
	struct pop3_slice rest = reply->text;
	uint64_t first, size_bytes;
	return pop3_slice_number(pop3_slice_word(&rest), UINT32_MAX, &first) && first == number &&
	       pop3_slice_number(pop3_slice_word(&rest), UINT64_MAX, &size_bytes);
}

static void window_believe(struct window *window)
{
	window->doubt = false;
	window->count_max = pop3_window_count(window->session);
}

/* Nothing is in flight: finds out whether the next answer is that to the next question. A refusal says nothing. */
static int window_settle(struct window *window, uint32_t number, struct source_error *error)
{
	struct pop3_reply reply;
	char command[24];
	snprintf(command, sizeof(command), "LIST %u", number);
	int r = pop3_command(window->session, command, &reply, error);
	if (r < 0 || reply.status != POP3_OK)
		return r;
	if (!is_row_of(&reply, number))
		return pop3_broken(window->session,
			"behind a refusal the answers do not fit the questions", error);
	window_believe(window);
	return 0;
}

static int window_send(struct window *window, size_t before, struct source_error *error)
{
	if (str_error(&window->commands) < 0)
		return pop3_no_memory(window->session, error);
	int r = before == 0 ? pop3_in_step(window->session, error) : 0;
	log_debug(
		"pop3: %s, %zu messages", window->header ? "TOP" : "RETR", window->count - before);
	if (r == 0)
		r = pop3_send(window->session, window->commands.data, window->commands.len, error);
	str_reset(&window->commands);
	window->answered = 0;
	return r;
}

static void window_doubt(struct window *window)
{
	window->doubt = true;
	window->count_max = 1;
}

static bool sizes_mean_nothing(const struct window *window)
{
	return window->confirmed >= CONFIRMED_MIN && window->confirmed > window->fits;
}

/* What was doubted goes out when nothing is in flight, with a LIST before it and one behind it. */
static bool is_for_alone(const struct window *window, const struct maildrop_want *want)
{
	return want->before && !sizes_mean_nothing(window);
}

/* Fills the window, if it is time to. */
static int window_fill(struct window *window, struct source_error *error)
{
	size_t before = window->count;
	if (!is_due(window))
		return 0;
	if (!window->is_held)
		window->is_held = sink_next(window, &window->held);
	if (before == 0 && window->is_held &&
		(window->doubt || is_for_alone(window, &window->held))) {
		int r = window_settle(window, window->held.number, error);
		if (r < 0)
			return r;
	}
	while (window->count < window->count_max) {
		if (!window->is_held)
			window->is_held = sink_next(window, &window->held);
		if (!window->is_held || !is_fitting(window, want_bytes(window, &window->held)))
			break;
		bool alone = is_for_alone(window, &window->held);
		if (alone && window->count > 0)
			break;
		if (alone)
			window_doubt(window);
		window_push(window, &window->held);
		window->is_held = false;
	}
	return window->count > before ? window_send(window, before, error) : 0;
}

/* --- Taking --- */

/* So much less is to come of a flight. */
static void window_received(struct window *window, struct flight *flight, uint64_t bytes)
{
	if (bytes > flight->counted_bytes)
		bytes = flight->counted_bytes;
	flight->counted_bytes -= bytes;
	window->bytes -= bytes;
}

static void window_pop(struct window *window)
{
	struct flight *flight = &window->flights[window->first];
	window_received(window, flight, flight->counted_bytes);
	window->first = (window->first + 1) % POP3_WINDOW_COUNT;
	window->count--;
}

static int run_take(struct window *window, struct flight *flight, struct pop3_slice run,
	struct source_error *error)
{
	struct pop3_session *session = window->session;
	if (run.len == 0)
		return 0;
	int r = net_sha256_update(session->digest, run.data, run.len);
	if (r < 0)
		return pop3_stopped(session, r, error);
	window_received(window, flight, run.len);
	return sink_data(window, flight->cookie, run, error);
}

/* No message is empty: there are servers that list 0 for what they have not counted. */
static bool is_unknown(uint64_t size_bytes)
{
	return size_bytes == 0 || size_bytes == UINT64_MAX;
}

/*
 * What a message may have at most. Sizes are wrong, some by far: what is longer than listed is right if it ends. Only one that never ends is longer than
 * this.
 */
static uint64_t limit_bytes(const struct window *window, const struct flight *flight)
{
	if (window->header)
		return HEADER_BYTES_MAX;
	uint64_t size = flight->size_bytes;
	if (is_unknown(size) || size > MESSAGE_BYTES_MAX / 2)
		return MESSAGE_BYTES_MAX;
	return size + (size > SLACK_BYTES ? size : SLACK_BYTES);
}

/* Takes what lies in the buffer. 1: the message has ended; 0: more must come. */
static int buffer_take(struct window *window, struct flight *flight,
	struct pop3_multiline *multiline, struct source_error *error)
{
	struct pop3_session *session = window->session;
	for (;;) {
		struct pop3_slice run;
		size_t taken = pop3_multiline_take(multiline, session->buffer + session->begin,
			session->end - session->begin, &run);
		session->begin += taken;
		int r = run_take(window, flight, run, error);
		if (r == 0 && multiline->given > limit_bytes(window, flight))
			r = pop3_broken(session,
				"a message does not end, or is far longer than listed", error);
		if (r < 0)
			return r;
		if (multiline->ended || taken == 0)
			return multiline->ended;
	}
}

static int body_read(struct window *window, struct flight *flight, bool bare, uint64_t *ret_bytes,
	struct source_error *error)
{
	struct pop3_multiline multiline;
	pop3_multiline_init(&multiline, bare, window->header ? UINT64_MAX : flight->size_bytes);
	for (;;) {
		int r = buffer_take(window, flight, &multiline, error);
		if (r != 0) {
			*ret_bytes = multiline.given;
			return r < 0 ? r : 0;
		}
		r = window_fill(window, error);
		if (r == 0)
			r = pop3_fill(window->session, error);
		if (r < 0)
			return r;
	}
}

static int message_refused(struct window *window, struct flight *flight,
	const struct pop3_reply *reply, struct source_error *error)
{
	struct source_error own;
	struct maildrop_result result = {.error = &own};
	result.err =
		pop3_refused(reply, SOURCE_SCOPE_MESSAGE, -ENOENT, "a message is not given", &own);
	window_doubt(window);
	return sink_end(window, flight->cookie, &result, error);
}

/* +OK, and then nothing: a refusal in disguise. A message that is listed as empty may be. */
static int message_missing(struct window *window, struct flight *flight, struct source_error *error)
{
	struct source_error own;
	struct maildrop_result result = {.error = &own};
	result.err =
		source_fail(&own, SOURCE_SCOPE_MESSAGE, SOURCE_RETRY_LATER, SOURCE_CAUSE_PROTOCOL,
			-ENOENT, "a message is not given: it is listed, and comes without a byte");
	window_doubt(window);
	return sink_end(window, flight->cookie, &result, error);
}

/* Whether another of those that are, or were, in flight has the same size. */
static bool is_shared(const struct window *window, const struct flight *flight)
{
	for (size_t i = 0; i < POP3_WINDOW_COUNT; i++) {
		const struct flight *other = &window->flights[i];
		if (other != flight && other->size_bytes == flight->size_bytes)
			return true;
	}
	return false;
}

/* Behind a refusal: whether an answer is that to its question, as far as can be seen. */
static bool is_in_step(struct window *window, const struct flight *flight, bool fits)
{
	if (!window->doubt)
		return true;
	if (window->header || !fits || is_unknown(flight->size_bytes) || is_shared(window, flight))
		return false;
	if (flight->alone)
		window_believe(window);
	return true;
}

/* Whether what came is believed to be the message that was asked for, and all of it. */
static bool is_believed(
	struct window *window, const struct flight *flight, const struct maildrop_result *result)
{
	bool fits = maildrop_fits(flight->size_bytes, result->size_bytes);
	bool known = !window->header && !is_unknown(flight->size_bytes);
	if (known && fits) {
		window->fits++;
		return flight->before || is_in_step(window, flight, fits);
	}
	if (known && flight->before) {
		bool same = maildrop_mark(result->sha256) == flight->before;
		window->confirmed += same;
		return same;
	}
	if (known && !sizes_mean_nothing(window)) {
		window_doubt(window);
		return false;
	}
	return is_in_step(window, flight, fits);
}

static const char *doubt_words(const struct flight *flight, uint64_t size_bytes)
{
	return is_unknown(flight->size_bytes) || maildrop_fits(flight->size_bytes, size_bytes)
	               ? "behind a refusal the answers do not fit the questions"
	               : "a message has not the size that is listed, and is another each time";
}

static int message_take(
	struct window *window, struct flight *flight, bool bare, struct source_error *error)
{
	struct source_error own;
	struct maildrop_result result = {0};
	int r = body_read(window, flight, bare, &result.size_bytes, error);
	if (r < 0)
		return r;
	r = net_sha256_final(window->session->digest, result.sha256);
	if (r < 0)
		return pop3_stopped(window->session, r, error);
	if (!window->header && result.size_bytes == 0 && !is_unknown(flight->size_bytes))
		return message_missing(window, flight, error);
	if (!is_believed(window, flight, &result)) {
		result.err = source_fail(&own, SOURCE_SCOPE_MESSAGE, SOURCE_RETRY_NOW,
			SOURCE_CAUSE_PROTOCOL, -EAGAIN, "%s",
			doubt_words(flight, result.size_bytes));
		result.error = &own;
	}
	return sink_end(window, flight->cookie, &result, error);
}

/* The oldest command's answer. */
static int answer_take(struct window *window, struct source_error *error)
{
	struct flight *flight = &window->flights[window->first];
	struct pop3_reply reply;
	int r = pop3_answer(window->session, &reply, error);
	if (r == 0 && reply.status == POP3_OK)
		r = message_take(window, flight, reply.bare, error);
	else if (r == 0)
		r = message_refused(window, flight, &reply, error);
	window_pop(window);
	window->answered++;
	return r;
}

static int window_run(struct window *window, struct source_error *error)
{
	int r = window_fill(window, error);
	while (r == 0 && window->count > 0) {
		r = answer_take(window, error);
		if (r == 0)
			r = window_fill(window, error);
	}
	return r;
}

/*
 * Silence, or the end where commands had come together: there are servers that say PIPELINING and drop what comes with the first command. The
 * next connections do without, or each would bring as little.
 */
static void learn_of_end(const struct window *window)
{
	const struct pop3_session *session = window->session;
	bool dropped =
		session->dead_err == -ETIMEDOUT || (window->count > 0 && window->answered <= 1);
	if (session->one_by_one && session->dead_err < 0 && session->dead_err != -ECANCELED &&
		pop3_window_count(session) > 1 && dropped)
		*session->one_by_one = true;
}

int pop3_retrieve(struct pop3_session *session, bool header, const struct maildrop_sink *sink,
	struct source_error *error)
{
	int r = pop3_begin(session, error);
	if (r == 0)
		r = pop3_capa_settle(session, error);
	if (r < 0)
		return r;
	_cleanup_free_ struct window *window = calloc(1, sizeof(*window));
	if (!window)
		return pop3_no_memory(session, error);
	window->session = session;
	window->sink = sink;
	window->header = header;
	window->count_max = pop3_window_count(session);
	r = window_run(window, error);
	str_finish(&window->commands);
	if (r < 0)
		learn_of_end(window);
	/* What lies there unread may be the answer to the last question, and what was taken for that, another's. */
	return r == 0 ? pop3_in_step(session, error) : r;
}
