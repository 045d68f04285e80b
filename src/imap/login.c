/* SPDX-License-Identifier: MIT */
/*
 * From the greeting to a session that is logged in.
 *
 * Invariants: no credential goes over a stream that is not secured, unless plain text was asked for by name; what
 * was heard before TLS counts for nothing after it; a password is tried once: the next mechanism is tried only where the
 * server says that it does not know the one before; an access token goes nowhere but into a mechanism for tokens.
 */
#include <errno.h>
#include <string.h>

#include "etpan.h"
#include "mailfs/util/log.h"
#include "mailfs/util/quirk.h"
#include "private.h"

static int tls_refuse(struct source_error *error, const char *why)
{
	return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_NEVER, SOURCE_CAUSE_TLS,
		-EACCES,
		"%s; nothing was sent to it (STARTTLS is required; imaps:// is TLS from the start, tls=none does without)",
		why);
}

static int login_fail(struct imap_engine *engine, struct source_error *error)
{
	const struct imap_answer *answer = &engine->answer;
	bool later = answer->known &&
	             answer->retry ==
	                     SOURCE_RETRY_LATER; /* sending a wrong password again locks accounts */
	return source_fail(error, SOURCE_SCOPE_ACCOUNT,
		later ? SOURCE_RETRY_LATER : SOURCE_RETRY_NEVER, SOURCE_CAUSE_LOGIN, -EACCES,
		"login refused; the server says: %s", answer->text[0] ? answer->text : "(nothing)");
}

/* --- The greeting (RFC 3501 §7.1) --- */

static int greeting_read(
	struct imap_engine *engine, enum imap_status *ret, struct source_error *error)
{
	static const struct imap_exchange exchange = {0};
	struct imap_response response;
	int r = imap_engine_read(engine, &exchange, &response, error);
	if (r < 0)
		return r;
	if (response.kind != IMAP_UNTAGGED ||
		(response.status != IMAP_OK && response.status != IMAP_PREAUTH))
		return imap_engine_broken(engine, "the greeting is not one of IMAP", error);
	*ret = response.status;
	return 0;
}

static int capabilities_ask(struct imap_engine *engine, struct source_error *error)
{
	return engine->caps.known ? 0 : imap_etpan_capability(engine, error);
}

/* --- STARTTLS (RFC 3501 §6.2.1, RFC 9051 §11.1) --- */

static int starttls_run(struct imap_engine *engine, struct source_error *error)
{
	static const struct imap_exchange exchange = {.what = "STARTTLS"};
	_cleanup_command_ struct imap_command command;
	imap_command_init(&command, engine, "STARTTLS");
	log_debug("imap: STARTTLS");
	int r = imap_engine_run(engine, &command, &exchange, error);
	if (r < 0 && !engine->dead && engine->answer.status != IMAP_NONE)
		return tls_refuse(error, "the server refused STARTTLS");
	return r;
}

static int secure(struct imap_engine *engine, enum imap_status greeting, struct source_error *error)
{
	if (greeting == IMAP_PREAUTH)
		return tls_refuse(
			error, "the server says that we are logged in before TLS (PREAUTH)");
	int r = capabilities_ask(engine, error);
	if (r < 0)
		return r;
	if (!(engine->caps.set & IMAP_CAP_STARTTLS))
		return tls_refuse(error, "the server does not offer STARTTLS");
	r = starttls_run(engine, error);
	if (r < 0)
		return r;
	if (net_buffered(engine->stream) > 0)
		return tls_refuse(
			error, "the server sent data in plain text behind its answer to STARTTLS");
	if (net_start_tls(engine->stream, error) < 0) {
		engine->dead = true;
		return error->err;
	}
	imap_engine_secured(engine);
	return 0;
}

/* --- AUTHENTICATE (RFC 3501 §6.2.2, RFC 4959) --- */

static void str_wipe(struct str *s)
{
	if (s->data)
		secret_wipe(s->data, s->cap);
	str_finish(s);
}

/* One line of base64; empty is "" on a line of its own, "=" on the command's. */
static int sasl_send(struct imap_engine *engine, const struct str *raw, struct source_error *error)
{
	struct str line = STR_INIT;
	int r = net_base64_encode(str_cstr(raw), raw->len, &line);
	str_append(&line, "\r\n", 2);
	if (r < 0 || str_error(&line) < 0)
		r = imap_engine_broken(engine, "out of memory", error);
	else
		r = imap_engine_send(engine, line.data, line.len, error);
	str_wipe(&line);
	return r;
}

/*
 * The challenge can not be answered: says so (RFC 3501 §6.2.2), so that the server ends the exchange. why: -EACCES when
 * the challenge was a refusal.
 */
static int sasl_abort(struct imap_engine *engine, int why, struct source_error *error)
{
	static const struct imap_exchange exchange = {0};
	struct imap_response response;
	int r = imap_engine_send(engine, "*\r\n", 3, error);
	if (r == 0)
		r = imap_engine_next(engine, &exchange, &response, error);
	if (r < 0)
		return r;
	if (why == -EACCES)
		return login_fail(engine, error);
	return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_NEVER, SOURCE_CAUSE_LOGIN,
		-EACCES,
		"login failed: the server's part of it is wrong; it does not seem to know the password");
}

static int sasl_answer(struct imap_engine *engine, struct sasl_client *client,
	const struct imap_response *response, bool first, struct source_error *error)
{
	struct str challenge = STR_INIT, reply = STR_INIT;
	int r = net_base64_decode(response->args.data, response->args.len, &challenge);
	if (r == 0 && first && sasl_client_sends_first(client))
		r = sasl_client_step(client, NULL, 0, &reply);
	else if (r == 0)
		r = sasl_client_step(client, str_cstr(&challenge), challenge.len, &reply);
	r = r < 0 ? sasl_abort(engine, r, error) : sasl_send(engine, &reply, error);
	str_wipe(&reply);
	str_wipe(&challenge);
	return r;
}

/* Challenges and replies until the tagged answer. initial: the first reply went with the command. */
static int sasl_dialogue(struct imap_engine *engine, struct sasl_client *client, bool initial,
	struct source_error *error)
{
	static const struct imap_exchange exchange = {0};
	struct imap_response response;
	for (int step = 0; step < IMAP_LIMIT_SASL_STEPS; step++) {
		int r = imap_engine_next(engine, &exchange, &response, error);
		if (r < 0 || response.kind == IMAP_TAGGED)
			return r;
		r = sasl_answer(engine, client, &response, step == 0 && !initial, error);
		if (r < 0)
			return r;
	}
	return imap_engine_broken(engine, "the login does not end", error);
}

/* The initial response behind the command. */
static int sasl_initial(struct sasl_client *client, struct imap_command *command)
{
	struct str raw = STR_INIT, line = STR_INIT;
	int r = sasl_client_step(client, NULL, 0, &raw);
	if (r == 0)
		r = net_base64_encode(str_cstr(&raw), raw.len, &line);
	if (r == 0) {
		str_reserve(&command->text, line.len + 10); /* no copy is left behind by growing */
		str_putc(&command->text, ' ');
		str_append_cstr(&command->text, line.len > 0 ? line.data : "=");
	}
	str_wipe(&raw);
	str_wipe(&line);
	return r;
}

static int sasl_begin(struct imap_engine *engine, struct sasl_client *client,
	struct imap_command *command, bool initial, struct source_error *error)
{
	int r = initial ? sasl_initial(client, command) : 0;
	str_append(&command->text, "\r\n", 2);
	if (r == 0)
		r = str_error(&command->text);
	if (r < 0)
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_NEVER,
			SOURCE_CAUSE_LOGIN, -EACCES,
			"the user name or the password (or token) can not be sent: %s",
			strerror(-r));
	return imap_engine_send(engine, command->text.data, command->text.len, error);
}

/* 0: answered, see engine->answer. */
static int authenticate_client(struct imap_engine *engine, struct sasl_client *client,
	const char *mechanism, struct source_error *error)
{
	bool initial = (engine->caps.set & IMAP_CAP_SASL_IR) && sasl_client_sends_first(client);
	_cleanup_command_ struct imap_command command;
	imap_command_init(&command, engine, "AUTHENTICATE %s", mechanism);
	log_debug("imap: AUTHENTICATE %s", mechanism);
	engine->answer = (struct imap_answer){0};
	engine->caps.known = false; /* what holds after the login is told anew */
	int r = sasl_begin(engine, client, &command, initial, error);
	if (r == 0)
		r = sasl_dialogue(engine, client, initial, error);
	if (r == 0 && engine->answer.status == IMAP_OK && !sasl_client_done(client))
		r = source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_NEVER, SOURCE_CAUSE_LOGIN,
			-EACCES,
			"login failed: the server did not prove that it knows the password (%s)",
			mechanism);
	return r;
}

static int authenticate(struct imap_engine *engine, const struct imap_login_params *params,
	const char *mechanism, struct source_error *error)
{
	struct sasl_client *client = sasl_client_create(mechanism, params->user, params->password);
	if (!client)
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_OTHER, -ENOMEM, "%s: out of memory", mechanism);
	int r = authenticate_client(engine, client, mechanism, error);
	sasl_client_destroy(client);
	return r;
}

/* --- LOGIN (RFC 3501 §6.2.3) --- */

static int login_literal(struct imap_engine *engine, const struct imap_login_params *params,
	struct source_error *error)
{
	static const struct imap_exchange exchange = {
		.what = "LOGIN", .scope = SOURCE_SCOPE_ACCOUNT};
	_cleanup_command_ struct imap_command command;
	imap_command_init(&command, engine, "LOGIN ");
	/* Room for all of it, so that no copy of the password is left behind by growing. */
	str_reserve(&command.text, 2 * (strlen(params->user) + secret_len(params->password)) + 100);
	imap_command_string(&command, engine, params->user);
	str_putc(&command.text, ' ');
	imap_command_string(&command, engine, secret_text(params->password));
	log_debug("imap: LOGIN");
	int r = imap_engine_run(engine, &command, &exchange, error);
	return r < 0 && !engine->dead && engine->answer.status != IMAP_NONE ? 0 : r;
}

static int login_plain(struct imap_engine *engine, const struct imap_login_params *params,
	struct source_error *error)
{
	engine->caps.known = false;
	int r = imap_etpan_login(engine, params->user, secret_text(params->password), error);
	return r == -EINVAL ? login_literal(engine, params, error) : r;
}

/* --- All of it --- */

/*
 * Whether the server refused a challenge and response without a code that says why (RFC 5530): there are servers that have no secret for it, since they hold a
 * hash of the password. One attempt more, with the password itself, tells. Only where nobody between can have refused, to get at it.
 */
static bool may_lack_secret(const struct imap_engine *engine, const char *mechanism)
{
	return engine->answer.status == IMAP_NO && !engine->answer.known &&
	       net_secured(engine->stream) && strcmp(mechanism, "PLAIN") != 0;
}

static unsigned plain_only(const char *const *names, unsigned offered)
{
	unsigned left = 0;
	for (unsigned i = 0; names[i]; i++)
		if (strcmp(names[i], "PLAIN") == 0)
			left |= offered & 1U << i;
	return left;
}

/*
 * Tries those of names that the server offers (bits of offered), best first, until it says yes, or no for another reason than
 * that it does not know the mechanism. *ret_in false, with 0: none is left.
 */
static int try_mechanisms(struct imap_engine *engine, const struct imap_login_params *params,
	const char *const *names, unsigned offered, bool *ret_in, struct source_error *error)
{
	const struct imap_capabilities caps = engine->caps;
	*ret_in = false;
	for (unsigned i = 0; names[i]; i++) {
		if (!(offered & 1U << i))
			continue;
		int r = authenticate(engine, params, names[i], error);
		*ret_in = r == 0 && engine->answer.status == IMAP_OK;
		if (r < 0 || *ret_in)
			return r;
		if (!engine->answer.unsupported) {
			if (params->token || !may_lack_secret(engine, names[i]))
				return login_fail(engine, error);
			quirk_seen(QUIRK_MECHANISM_WITHOUT_SECRET);
			engine->lacking |= 1U << i;
			offered = plain_only(names, offered);
		}
		engine->caps = caps;
	}
	return 0;
}

static int log_in_by_token(struct imap_engine *engine, const struct imap_login_params *params,
	struct source_error *error)
{
	bool in;
	int r = try_mechanisms(
		engine, params, sasl_token_mechanisms, engine->caps.token_mechanisms, &in, error);
	if (r < 0 || in)
		return r;
	return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_NEVER, SOURCE_CAUSE_LOGIN,
		-EACCES, "the server takes access tokens neither by OAUTHBEARER nor by XOAUTH2");
}

/*
 * The mechanisms to try. What a login has shown is not asked for again by each connection, since servers count refusals, and lock out who has too many. That
 * is no weaker than that login: what it gave the password to is the same server, over a line that was no better secured, and another mechanism than those
 * that were refused then is tried before.
 */
static unsigned mechanisms_left(
	const struct imap_engine *engine, const struct imap_login_params *params)
{
	unsigned offered = engine->caps.mechanisms, best = offered & -offered;
	unsigned plain = plain_only(sasl_mechanisms, offered);
	bool possible = plain || !(engine->caps.set & IMAP_CAP_LOGINDISABLED);
	return best & params->lacking && possible && net_secured(engine->stream) ? plain : offered;
}

static int log_in(struct imap_engine *engine, const struct imap_login_params *params,
	struct source_error *error)
{
	bool in;
	unsigned set = engine->caps.set;
	int r = try_mechanisms(
		engine, params, sasl_mechanisms, mechanisms_left(engine, params), &in, error);
	if (r < 0 || in)
		return r;
	if (set & IMAP_CAP_LOGINDISABLED)
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_NEVER,
			SOURCE_CAUSE_LOGIN, -EACCES,
			"the server offers no way to log in that mailfs knows (LOGINDISABLED)");
	r = login_plain(engine, params, error);
	return r < 0 || engine->answer.status == IMAP_OK ? r : login_fail(engine, error);
}

int imap_login(struct imap_engine *engine, const struct imap_login_params *params,
	struct source_error *error)
{
	enum imap_status greeting = IMAP_NONE;
	engine->in_clear = params->tls == NET_TLS_STARTTLS;
	int r = greeting_read(engine, &greeting, error);
	if (r == 0 && params->tls == NET_TLS_STARTTLS)
		r = secure(engine, greeting, error);
	if (r < 0)
		return r;
	if (params->tls != NET_TLS_NONE && !net_secured(engine->stream))
		return tls_refuse(error, "the connection is not secured");
	if (greeting != IMAP_PREAUTH) {
		r = capabilities_ask(engine, error);
		if (r == 0)
			r = params->token ? log_in_by_token(engine, params, error)
			                  : log_in(engine, params, error);
	}
	if (r == 0)
		r = capabilities_ask(engine, error);
	return r < 0 ? r : imap_open(engine, error);
}
