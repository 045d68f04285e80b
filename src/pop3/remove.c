/* SPDX-License-Identifier: MIT */
/* DELE, each answered for itself, and QUIT, which makes it true (RFC 1939 §6). */
#include <errno.h>

#include "mailfs/util/log.h"
#include "private.h"

struct removal {
	struct pop3_session *session;
	const uint32_t *numbers;
	size_t count, asked, answered, width;
	maildrop_removed_fn *fn;
	void *arg;
	struct str commands;
};

/* As many as the window takes, once half of it is free. */
static int removal_ask(struct removal *removal, struct source_error *error)
{
	size_t flying = removal->asked - removal->answered, before = removal->asked;
	if (removal->asked == removal->count || flying > removal->width / 2)
		return 0;
	int r = flying == 0 ? pop3_in_step(removal->session, error) : 0;
	if (r < 0)
		return r;
	str_reset(&removal->commands);
	for (; flying < removal->width && removal->asked < removal->count; flying++)
		str_printf(&removal->commands, "DELE %u\r\n", removal->numbers[removal->asked++]);
	if (str_error(&removal->commands) < 0)
		return pop3_no_memory(removal->session, error);
	log_debug("pop3: DELE, %zu messages", removal->asked - before);
	return pop3_send(removal->session, removal->commands.data, removal->commands.len, error);
}

static int reply_errno(const struct pop3_reply *reply)
{
	if (reply->status == POP3_OK)
		return 0;
	bool passing = reply->code == POP3_CODE_SYS_TEMP || reply->code == POP3_CODE_IN_USE;
	return passing ? -EIO : -EACCES;
}

static int removal_run(struct removal *removal, struct source_error *error)
{
	while (removal->answered < removal->count) {
		struct pop3_reply reply;
		int r = removal_ask(removal, error);
		if (r == 0)
			r = pop3_answer(removal->session, &reply, error);
		if (r < 0)
			return r;
		removal->fn(removal->arg, removal->numbers[removal->answered++],
			reply_errno(&reply), pop3_reply_words(&reply));
		pop3_renew(removal->session);
	}
	return 0;
}

int pop3_remove(struct pop3_session *session, const uint32_t *numbers, size_t count,
	maildrop_removed_fn *fn, void *arg, struct source_error *error)
{
	struct removal removal = {
		.session = session, .numbers = numbers, .count = count, .fn = fn, .arg = arg};
	int r = pop3_begin(session, error);
	if (r == 0)
		r = pop3_capa_settle(session, error);
	if (r < 0)
		return r;
	removal.width = pop3_window_count(session);
	r = removal_run(&removal, error);
	str_finish(&removal.commands);
	return r;
}

void pop3_leave(struct pop3_session *session)
{
	struct source_error *error = &session->spare;
	int r = pop3_begin(session, error);
	if (r == 0)
		r = pop3_login_settle(session, error);
	if (r < 0)
		return;
	log_debug("pop3: QUIT, not waiting for the answer");
	pop3_send(session, "QUIT\r\n", 6, error);
	session->dead = true;
}

int pop3_quit(struct pop3_session *session, struct source_error *error)
{
	struct pop3_reply reply;
	int r = pop3_begin(session, error);
	if (r == 0)
		r = pop3_login_settle(session, error);
	if (r == 0)
		r = pop3_command(session, "QUIT", &reply, error);
	session->dead = true;
	if (r == 0 && reply.status != POP3_OK)
		r = pop3_refused(
			&reply, SOURCE_SCOPE_ACCOUNT, -EIO, "the session ended badly", error);
	return r;
}
