/* SPDX-License-Identifier: MIT */
/*
 * AUTH (RFC 5034). The initial response goes with the command where the line is short enough; else it waits for the first
 * "+", which also servers that know AUTH as of RFC 1734 send.
 */
#include <errno.h>
#include <string.h>

#include "mailfs/util/log.h"
#include "private.h"

#define SASL_STEPS_MAX 16

struct exchange {
	struct pop3_session *session;
	struct sasl_client *client;
	const char *mechanism;
	struct str held; /* the initial response, in base64, as long as it has not been sent */
	bool is_held;
};

static int line_send(
	struct exchange *exchange, const struct str *base64, struct source_error *error)
{
	_cleanup_wipe_ struct str line = STR_INIT;
	str_reserve(&line, base64->len + 2); /* no copy is left behind by growing */
	str_append(&line, str_cstr(base64), base64->len);
	str_append(&line, "\r\n", 2);
	if (str_error(&line) < 0)
		return pop3_no_memory(exchange->session, error);
	return pop3_send(exchange->session, line.data, line.len, error);
}

/*
 * The challenge can not be answered: says so, so that the server ends the exchange. why: -EACCES when the challenge was
 * a refusal.
 */
static int sasl_abort(struct exchange *exchange, int why, struct source_error *error)
{
	struct pop3_reply reply;
	int r = pop3_send(exchange->session, "*\r\n", 3, error);
	if (r == 0)
		r = pop3_reply_read(exchange->session, &reply, error);
	if (r < 0)
		return r;
	if (why == -EACCES)
		return pop3_login_refused(&reply, error);
	return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_NEVER, SOURCE_CAUSE_LOGIN,
		-EACCES,
		"login failed: the server's part of it is wrong; it does not seem to know the password");
}

/* From the challenge to the answer, both in base64. */
static int sasl_reply(struct sasl_client *client, struct pop3_slice challenge, struct str *ret)
{
	_cleanup_wipe_ struct str raw = STR_INIT, reply = STR_INIT;
	int r = net_base64_decode(challenge.data, challenge.len, &raw);
	if (r == 0)
		r = sasl_client_step(client, str_cstr(&raw), raw.len, &reply);
	return r < 0 ? r : net_base64_encode(str_cstr(&reply), reply.len, ret);
}

static int sasl_continue(
	struct exchange *exchange, const struct pop3_reply *reply, struct source_error *error)
{
	_cleanup_wipe_ struct str line = STR_INIT;
	if (exchange->is_held) {
		/* Nothing can have been asked yet, whatever stands behind the "+". */
		exchange->is_held = false;
		return line_send(exchange, &exchange->held, error);
	}
	int r = sasl_reply(exchange->client, reply->text, &line);
	if (r == 0 && line.len == 0 && exchange->session->caps.pipelining &&
		sasl_client_done(exchange->client)) {
		exchange->session->login_pending = true;
		return 0;
	}
	return r < 0 ? sasl_abort(exchange, r, error) : line_send(exchange, &line, error);
}

static int sasl_dialogue(
	struct exchange *exchange, struct pop3_reply *ret, struct source_error *error)
{
	for (int step = 0; step < SASL_STEPS_MAX; step++) {
		int r = pop3_reply_read(exchange->session, ret, error);
		if (r < 0 || ret->status != POP3_CONTINUE)
			return r;
		r = sasl_continue(exchange, ret, error);
		if (r == 0 && exchange->session->login_pending)
			*ret = (struct pop3_reply){.status = POP3_OK};
		if (r < 0 || exchange->session->login_pending)
			return r;
	}
	return pop3_broken(exchange->session, "the login does not end", error);
}

static int sasl_initial(struct exchange *exchange, struct source_error *error)
{
	_cleanup_wipe_ struct str raw = STR_INIT;
	if (!sasl_client_sends_first(exchange->client))
		return 0;
	int r = sasl_client_step(exchange->client, NULL, 0, &raw);
	if (r == 0)
		r = net_base64_encode(str_cstr(&raw), raw.len, &exchange->held);
	if (r < 0)
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_NEVER,
			SOURCE_CAUSE_LOGIN, -EACCES,
			"the user name or the password can not be sent: %s", strerror(-r));
	exchange->is_held = true;
	return 0;
}

static int command_send(struct exchange *exchange, struct source_error *error)
{
	_cleanup_wipe_ struct str line = STR_INIT;
	str_reserve(&line, 2 * POP3_COMMAND_BYTES);
	str_printf(&line, "AUTH %s", exchange->mechanism);
	if (exchange->is_held && line.len + 1 + exchange->held.len + 2 <= POP3_COMMAND_BYTES) {
		str_putc(&line, ' ');
		str_append_cstr(&line, exchange->held.len > 0 ? exchange->held.data : "=");
		exchange->is_held = false;
	}
	log_debug("pop3: AUTH %s", exchange->mechanism);
	return line_send(exchange, &line, error);
}

static int exchange_run(
	struct exchange *exchange, struct pop3_reply *ret, struct source_error *error)
{
	int r = sasl_initial(exchange, error);
	if (r == 0)
		r = pop3_in_step(exchange->session, error);
	if (r == 0)
		r = command_send(exchange, error);
	if (r == 0)
		r = sasl_dialogue(exchange, ret, error);
	if (r == 0 && ret->status == POP3_OK && !sasl_client_done(exchange->client))
		r = source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_NEVER, SOURCE_CAUSE_LOGIN,
			-EACCES,
			"login failed: the server did not prove that it knows the password (%s)",
			exchange->mechanism);
	return r;
}

int pop3_login_answer(struct pop3_session *session, struct source_error *error)
{
	struct pop3_reply reply;
	session->login_pending = false;
	int r = pop3_answer(session, &reply, error);
	if (r == 0 && reply.status == POP3_ERR) {
		session->dead = true;
		return pop3_login_refused(&reply, error);
	}
	return r;
}

int pop3_login_settle(struct pop3_session *session, struct source_error *error)
{
	if (!session->login_pending)
		return 0;
	int r = pop3_send(session, "\r\n", 2, error);
	return r < 0 ? r : pop3_login_answer(session, error);
}

int pop3_sasl(struct pop3_session *session, const struct pop3_login *params, const char *mechanism,
	struct pop3_reply *ret, struct source_error *error)
{
	struct exchange exchange = {.session = session, .mechanism = mechanism};
	exchange.client = sasl_client_create(mechanism, params->user, params->password);
	if (!exchange.client)
		return pop3_no_memory(session, error);
	int r = exchange_run(&exchange, ret, error);
	pop3_str_wipe(&exchange.held);
	sasl_client_destroy(exchange.client);
	return r;
}
