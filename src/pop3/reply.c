/* SPDX-License-Identifier: MIT */
/*
 * Status lines, and the one place where a server's refusal gets its meaning: response codes first, and, for
 * servers that give none, a few words known from the field. The words matter most at the login: a maildrop
 * that another session has open is not a wrong password, and a mechanism that is not known was not tried.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "private.h"
#include "mailfs/util/quirk.h"

bool pop3_slice_is(struct pop3_slice slice, const char *word)
{
	return slice.len == strlen(word) && strncasecmp(slice.data, word, slice.len) == 0;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static void skip_blanks(struct pop3_slice *slice)
{
	while (slice->len > 0 && is_blank(*slice->data)) {
		slice->data++;
		slice->len--;
	}
}

struct pop3_slice pop3_slice_word(struct pop3_slice *rest)
{
	skip_blanks(rest);
	struct pop3_slice word = {rest->data, 0};
	while (word.len < rest->len && !is_blank(word.data[word.len]))
		word.len++;
	rest->data += word.len;
	rest->len -= word.len;
	return word;
}

bool pop3_slice_number(struct pop3_slice slice, uint64_t max, uint64_t *ret)
{
	uint64_t number = 0;
	for (size_t i = 0; i < slice.len; i++) {
		unsigned digit = (unsigned char)slice.data[i] - (unsigned)'0';
		if (digit > 9 || number > (max - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	*ret = number;
	return slice.len > 0;
}

/* --- The line --- */

/* "[CODE] " at the front of text is cut off. */
static enum pop3_code take_code(struct pop3_slice *text)
{
	static const struct {
		const char *name;
		enum pop3_code code;
	} codes[] = {
		{"IN-USE", POP3_CODE_IN_USE},
		{"LOGIN-DELAY", POP3_CODE_LOGIN_DELAY},
		{"AUTH", POP3_CODE_AUTH},
		{"SYS/TEMP", POP3_CODE_SYS_TEMP},
		{"SYS/PERM", POP3_CODE_SYS_PERM},
	};
	const char *close =
		text->len > 0 && *text->data == '[' ? memchr(text->data, ']', text->len) : NULL;
	if (!close)
		return POP3_CODE_NONE;
	struct pop3_slice name = {text->data + 1, (size_t)(close - text->data) - 1};
	text->len -= (size_t)(close + 1 - text->data);
	text->data = close + 1;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (pop3_slice_is(name, codes[i].name))
			return codes[i].code;
	return POP3_CODE_OTHER;
}

static bool take_status(struct pop3_slice *line, const char *word)
{
	size_t len = strlen(word);
	if (line->len < len || strncasecmp(line->data, word, len) != 0)
		return false;
	line->data += len;
	line->len -= len;
	return true;
}

int pop3_reply_parse(struct pop3_slice line, struct pop3_reply *ret)
{
	*ret = (struct pop3_reply){.status = POP3_OK};
	if (take_status(&line, "-ERR"))
		ret->status = POP3_ERR;
	else if (!take_status(&line, "+OK")) {
		/* "+" alone is what some servers send for an empty challenge. */
		if (!take_status(&line, "+") || (line.len > 0 && !is_blank(*line.data)))
			return -EPROTO;
		ret->status = POP3_CONTINUE;
		if (line.len == 0)
			quirk_seen(QUIRK_POP3_EMPTY_CHALLENGE);
	}
	skip_blanks(&line);
	ret->text = line;
	if (ret->status == POP3_ERR)
		ret->code = take_code(&line);
	skip_blanks(&line);
	size_t len = line.len < sizeof(ret->words) ? line.len : sizeof(ret->words) - 1;
	memcpy(ret->words, line.data, len);
	return 0;
}

int pop3_reply_read(
	struct pop3_session *session, struct pop3_reply *ret, struct source_error *error)
{
	struct pop3_slice line;
	bool bare;
	int r = pop3_line(session, POP3_SASL_BYTES, &line, &bare, error);
	if (r < 0)
		return r;
	if (pop3_reply_parse(line, ret) < 0)
		return pop3_broken(session, "neither +OK nor -ERR", error);
	ret->bare = bare;
	return 0;
}

/* --- What a refusal means --- */

const char *pop3_reply_words(const struct pop3_reply *reply)
{
	if (net_tells_secret(reply->words))
		return NET_SECRET_TOLD;
	return reply->words[0] ? reply->words : "(nothing)";
}

static bool has_word(const struct pop3_reply *reply, const char *const *words)
{
	for (; *words; words++)
		if (strcasestr(reply->words, *words))
			return true;
	return false;
}

int pop3_refused(const struct pop3_reply *reply, enum source_scope scope, int err, const char *what,
	struct source_error *error)
{
	enum source_retry retry =
		reply->code == POP3_CODE_SYS_PERM ? SOURCE_RETRY_NEVER : SOURCE_RETRY_LATER;
	return source_fail(error, scope, retry, SOURCE_CAUSE_OTHER, err, "%s: the server says: %s",
		what, pop3_reply_words(reply));
}

/* Another session has the maildrop. An account that is locked is another matter, so the word alone does not do. */
static bool is_busy(const struct pop3_reply *reply)
{
	static const char *const words[] = {"drop already locked", "box already locked",
		"drop is locked", "box is locked", "drop locked", "box locked", "lock busy",
		"get lock", "obtain lock", "lock maildrop", "lock mailbox", "lock the mail",
		"in use", "is busy", "box busy", "drop busy", "another session", "other session",
		"another pop", NULL};
	return reply->code == POP3_CODE_IN_USE ||
	       (reply->code == POP3_CODE_NONE && has_word(reply, words));
}

static bool is_passing(const struct pop3_reply *reply)
{
	static const char *const words[] = {"temporar", "too many", NULL};
	return reply->code == POP3_CODE_SYS_TEMP || reply->code == POP3_CODE_LOGIN_DELAY ||
	       (reply->code == POP3_CODE_NONE && has_word(reply, words));
}

int pop3_login_refused(const struct pop3_reply *reply, struct source_error *error)
{
	const char *words = pop3_reply_words(reply);
	if (is_busy(reply))
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_LOGIN, -EACCES,
			"another session has the maildrop open: try again when it has ended; the server says: %s",
			words);
	if (is_passing(reply))
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_LOGIN, -EACCES,
			"the server lets nobody in at this time: try again later; the server says: %s",
			words);
	if (reply->code == POP3_CODE_SYS_PERM)
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_LOGIN, -EACCES,
			"the server can not open the maildrop; the server says: %s", words);
	/* Sending a wrong password again locks accounts. */
	return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_NEVER, SOURCE_CAUSE_LOGIN,
		-EACCES, "login refused; the server says: %s", words);
}

/*
 * A wrong password must not look like an unknown mechanism, or it would be sent again by the next one. The words about arguments come
 * from servers that know AUTH as RFC 1734 had it, without an initial response.
 */
bool pop3_is_unsupported(const struct pop3_reply *reply)
{
	static const char *const words[] = {"mechanism", "not supported", "unsupported",
		"not implemented", "unimplemented", "unknown command", "invalid command",
		"unrecognized", "unrecognised", "argument", "parameter", "syntax", NULL};
	return reply->status == POP3_ERR && reply->code == POP3_CODE_NONE && has_word(reply, words);
}
