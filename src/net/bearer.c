/* SPDX-License-Identifier: MIT */
/*
 * OAUTHBEARER (RFC 7628) and XOAUTH2. Fields are divided by the byte 1, so none may be inside a field. Left
 * out: host and port of OAUTHBEARER, which are of use only to tokens that sign the request.
 */
#include "bearer.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "scram.h"

#define DIVIDER 0x01

static bool user_fits(const char *user)
{
	for (; *user; user++)
		if ((unsigned char)*user < 0x20 || *user == 0x7f)
			return false;
	return true;
}

/* RFC 6750 §2.1: a token is printable ASCII without blanks. */
static bool token_fits(const struct secret *token)
{
	const char *text = secret_text(token);
	size_t len = secret_len(token);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] <= 0x20 || (unsigned char)text[i] >= 0x7f)
			return false;
	return len > 0;
}

/* Makes room for all of it at once, so that growing leaves no copy of the token behind. */
static int begin(const char *user, const struct secret *token, struct str *out)
{
	if (!user_fits(user) || !token_fits(token))
		return -EINVAL;
	return str_reserve(out, 3 * strlen(user) + secret_len(token) + 64);
}

static int append_token(const struct secret *token, struct str *out)
{
	str_putc(out, DIVIDER);
	str_append_cstr(out, "auth=Bearer ");
	str_append(out, secret_text(token), secret_len(token));
	str_putc(out, DIVIDER);
	str_putc(out, DIVIDER);
	return str_error(out);
}

int sasl_oauthbearer_first(const char *user, const struct secret *token, struct str *out)
{
	int r = begin(user, token, out);
	if (r < 0)
		return r;
	str_append_cstr(out, "n,a=");
	sasl_append_saslname(out, user);
	str_putc(out, ',');
	return append_token(token, out);
}

int sasl_xoauth2_first(const char *user, const struct secret *token, struct str *out)
{
	int r = begin(user, token, out);
	if (r < 0)
		return r;
	str_append_cstr(out, "user=");
	str_append_cstr(out, user);
	return append_token(token, out);
}
