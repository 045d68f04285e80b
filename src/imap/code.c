/* SPDX-License-Identifier: MIT */
/*
 * The one place where a server's refusal gets its meaning: response codes first, and, for servers
 * that give none, a few words known from the field. A refusal without either may pass: -EIO, later.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine.h"
#include "mailfs/util/quirk.h"

struct meaning {
	const char *key;
	enum source_cause cause;
	enum source_retry retry;
	int err;
};

/* RFC 5530 unless said otherwise. */
static const struct meaning codes[] = {
	{"AUTHENTICATIONFAILED", SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER, -EACCES},
	{"AUTHORIZATIONFAILED", SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER, -EACCES},
	{"EXPIRED", SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER, -EACCES},
	{"CONTACTADMIN", SOURCE_CAUSE_OTHER, SOURCE_RETRY_NEVER, -EACCES},
	{"WEBALERT", SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER, -EACCES}, /* Gmail */
	{"PRIVACYREQUIRED", SOURCE_CAUSE_TLS, SOURCE_RETRY_NEVER, -EACCES},
	{"NOPERM", SOURCE_CAUSE_MAILBOX, SOURCE_RETRY_NEVER, -EACCES},
	{"ACL", SOURCE_CAUSE_MAILBOX, SOURCE_RETRY_NEVER, -EACCES},
	{"NONEXISTENT", SOURCE_CAUSE_MAILBOX, SOURCE_RETRY_NEVER, -ENOENT},
	{"TRYCREATE", SOURCE_CAUSE_MAILBOX, SOURCE_RETRY_NEVER, -ENOENT}, /* RFC 3501 */
	{"EXPUNGEISSUED", SOURCE_CAUSE_OTHER, SOURCE_RETRY_NOW, -ENOENT},
	{"UNAVAILABLE", SOURCE_CAUSE_OTHER, SOURCE_RETRY_LATER, -EIO},
	{"INUSE", SOURCE_CAUSE_OTHER, SOURCE_RETRY_LATER, -EIO},
	{"LIMIT", SOURCE_CAUSE_OTHER, SOURCE_RETRY_LATER, -EIO},
	{"THROTTLED", SOURCE_CAUSE_OTHER, SOURCE_RETRY_LATER, -EIO}, /* Gmail */
	{"SERVERBUG", SOURCE_CAUSE_OTHER, SOURCE_RETRY_LATER, -EIO},
	{"OVERQUOTA", SOURCE_CAUSE_OTHER, SOURCE_RETRY_NEVER, -EDQUOT},
	{"ALREADYEXISTS", SOURCE_CAUSE_MAILBOX, SOURCE_RETRY_NEVER, -EEXIST},
	{"CANNOT", SOURCE_CAUSE_OTHER, SOURCE_RETRY_NEVER, -EIO},
	{"CLIENTBUG", SOURCE_CAUSE_PROTOCOL, SOURCE_RETRY_NEVER, -EIO},
	{"CORRUPTION", SOURCE_CAUSE_OTHER, SOURCE_RETRY_NEVER, -EIO},
	{"UNKNOWN-CTE", SOURCE_CAUSE_OTHER, SOURCE_RETRY_NEVER, -EIO}, /* RFC 3516 */
	{"BADCHARSET", SOURCE_CAUSE_PROTOCOL, SOURCE_RETRY_NEVER, -EIO},
};

static const struct meaning words[] = {
	{"throttled", SOURCE_CAUSE_OTHER, SOURCE_RETRY_LATER,
		-EIO}, /* Office 365: BAD Request is throttled */
	{"permission denied", SOURCE_CAUSE_MAILBOX, SOURCE_RETRY_NEVER, -EACCES},
	{"access denied", SOURCE_CAUSE_MAILBOX, SOURCE_RETRY_NEVER, -EACCES},
	{"too many", SOURCE_CAUSE_OTHER, SOURCE_RETRY_LATER, -EIO}, /* connections */
	{"temporar", SOURCE_CAUSE_OTHER, SOURCE_RETRY_LATER, -EIO},
};

static const struct meaning meaning_no = {NULL, SOURCE_CAUSE_OTHER, SOURCE_RETRY_LATER, -EIO};
static const struct meaning meaning_bad = {NULL, SOURCE_CAUSE_PROTOCOL, SOURCE_RETRY_NEVER, -EIO};
static const struct meaning meaning_bye = {NULL, SOURCE_CAUSE_CONNECT, SOURCE_RETRY_NOW, -EIO};

static const struct meaning *meaning_find(const struct imap_response *response, const char *text)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (imap_slice_is(response->code, codes[i].key))
			return &codes[i];
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcasestr(text, words[i].key))
			return &words[i];
	if (response->status == IMAP_BYE)
		return &meaning_bye;
	return response->status == IMAP_BAD ? &meaning_bad : &meaning_no;
}

/* A wrong password must not look like an unknown mechanism, or it would be sent again by the next one. */
static bool is_unsupported(
	const struct imap_response *response, const struct meaning *meaning, const char *text)
{
	if (response->status == IMAP_BAD)
		return meaning == &meaning_bad; /* rather than, say, throttled */
	if (response->status != IMAP_NO ||
		(response->code.len > 0 && !imap_slice_is(response->code, "CANNOT")))
		return false;
	return strcasestr(text, "mechanism") || strcasestr(text, "not supported") ||
	       strcasestr(text, "unsupported");
}

void imap_answer_read(struct imap_answer *answer, const struct imap_response *response)
{
	size_t len = response->text.len < sizeof(answer->text) ? response->text.len
	                                                       : sizeof(answer->text) - 1;
	*answer = (struct imap_answer){.status = response->status};
	if (len > 0)
		memcpy(answer->text, response->text.data, len);
	if (response->status == IMAP_OK || response->status == IMAP_PREAUTH)
		return;
	const struct meaning *meaning = meaning_find(response, answer->text);
	if (meaning->key && strcasecmp(meaning->key, "throttled") == 0)
		quirk_seen(QUIRK_THROTTLED);
	answer->cause = meaning->cause;
	/* Whatever its words mean, there is no connection now. */
	if (response->status == IMAP_BYE && meaning->cause == SOURCE_CAUSE_OTHER)
		answer->cause = SOURCE_CAUSE_CONNECT;
	answer->retry = meaning->retry;
	answer->err = meaning->err;
	answer->known = meaning->key != NULL;
	answer->unsupported = is_unsupported(response, meaning, answer->text);
	if (net_tells_secret(answer->text))
		strcpy(answer->text, NET_SECRET_TOLD);
}

int imap_answer_fail(const struct imap_answer *answer, enum source_scope scope, const char *what,
	struct source_error *error)
{
	return source_fail(error, scope, answer->retry, answer->cause, answer->err,
		"%s: the server says: %s", what ? what : "the server refused",
		answer->text[0] ? answer->text : "(nothing)");
}
