/* SPDX-License-Identifier: MIT */
/*
 * What the server can do (RFC 2449). Asked for twice, because the answer may differ before and after the login (§5). The second
 * time is put off until the listing, with which it travels.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "private.h"
#include "mailfs/util/quirk.h"

#define CAPA_LINES_MAX  1000
#define CAPA_DELAY_MAX  (24 * 3600) /* a server that says more does not mean it */
#define CAPA_EXPIRE_MAX INT_MAX

static unsigned mechanism_bit(struct pop3_slice word, const char *const *names)
{
	for (unsigned i = 0; names[i] && i < POP3_MECHANISMS_MAX; i++)
		if (pop3_slice_is(word, names[i]))
			return 1U << i;
	return 0;
}

static void parse_sasl(struct pop3_capabilities *caps, struct pop3_slice rest)
{
	for (struct pop3_slice word = pop3_slice_word(&rest); word.len > 0;
		word = pop3_slice_word(&rest)) {
		caps->mechanisms |= mechanism_bit(word, sasl_mechanisms);
		caps->token_mechanisms |= mechanism_bit(word, sasl_token_mechanisms);
	}
}

static void parse_delay(struct pop3_capabilities *caps, struct pop3_slice rest)
{
	uint64_t seconds;
	if (pop3_slice_number(pop3_slice_word(&rest), UINT64_MAX, &seconds))
		caps->login_delay_s = seconds < CAPA_DELAY_MAX ? (unsigned)seconds : CAPA_DELAY_MAX;
}

static void parse_expire(struct pop3_capabilities *caps, struct pop3_slice rest)
{
	uint64_t days;
	if (pop3_slice_number(pop3_slice_word(&rest), CAPA_EXPIRE_MAX, &days))
		caps->expire_days = (int)days;
}

void pop3_capa_parse(struct pop3_capabilities *caps, struct pop3_slice line)
{
	struct pop3_slice word = pop3_slice_word(&line);
	if (pop3_slice_is(word, "USER"))
		caps->user = true;
	else if (pop3_slice_is(word, "UIDL"))
		caps->uidl = true;
	else if (pop3_slice_is(word, "TOP"))
		caps->top = true;
	else if (pop3_slice_is(word, "PIPELINING"))
		caps->pipelining = true;
	else if (pop3_slice_is(word, "SASL"))
		parse_sasl(caps, line);
	else if (pop3_slice_is(word, "LOGIN-DELAY"))
		parse_delay(caps, line);
	else if (pop3_slice_is(word, "EXPIRE"))
		parse_expire(caps, line);
}

static int capa_row(void *arg, struct pop3_slice line)
{
	pop3_capa_parse(arg, line);
	return 0;
}

static int capa_take(
	struct pop3_session *session, const struct pop3_reply *reply, struct source_error *error)
{
	struct pop3_capabilities caps = {.known = true, .expire_days = -1};
	const struct pop3_rows rows = {.fn = capa_row,
		.arg = &caps,
		.lines_max = CAPA_LINES_MAX,
		.bytes_max = CAPA_LINES_MAX * POP3_LINE_BYTES};
	if (reply->status != POP3_OK) {
		quirk_seen(QUIRK_POP3_NO_CAPA);
		return 0;
	}
	int r = pop3_rows_read(session, &rows, error);
	if (r == 0)
		session->caps = caps;
	return r;
}

int pop3_capa_answer(struct pop3_session *session, struct source_error *error)
{
	struct pop3_reply reply;
	session->capa_pending = false;
	int r = pop3_answer(session, &reply, error);
	return r < 0 ? r : capa_take(session, &reply, error);
}

int pop3_capa(struct pop3_session *session, struct source_error *error)
{
	struct pop3_reply reply;
	int r = pop3_command(session, "CAPA", &reply, error);
	return r < 0 ? r : capa_take(session, &reply, error);
}

int pop3_capa_settle(struct pop3_session *session, struct source_error *error)
{
	int r = pop3_login_settle(session, error);
	if (r < 0 || !session->capa_pending)
		return r;
	session->capa_pending = false;
	return pop3_capa(session, error);
}
