/* SPDX-License-Identifier: MIT */
/*
 * The client's side of SASL, one function per mechanism that turns the server's challenge into the
 * answer. Every exchange is a fixed number of steps; one step more than that is an error, so that a
 * server can not make a client go on for ever.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <strings.h>

#include "bearer.h"
#include "mailfs/net.h"
#include "mailfs/util/cleanup.h"
#include "scram.h"

struct mechanism {
	const char *name;
	const char *digest; /* of SCRAM; else NULL */
	bool sends_first;
	unsigned steps;     /* at most */
	unsigned satisfied; /* after so many of them */
	int (*step)(struct sasl_client *client, const char *challenge, size_t len, struct str *out);
};

struct sasl_client {
	const struct mechanism *mechanism;
	char *user;
	const struct secret *password;
	unsigned steps_done;
	bool failed;
	struct sasl_scram scram;
};

/* RFC 4616: NUL divides the fields. */
static int step_plain(
	struct sasl_client *client, const char *challenge, size_t len, struct str *out)
{
	(void)challenge;
	size_t user_len = strlen(client->user), password_len = secret_len(client->password);
	if (len > 0 || memchr(secret_text(client->password), 0, password_len))
		return len > 0 ? -EPROTO : -EINVAL;
	/* At once, so that growing leaves no copy of the password behind. */
	if (str_reserve(out, user_len + password_len + 2) < 0)
		return -ENOMEM;
	str_putc(out, 0);
	str_append(out, client->user, user_len);
	str_putc(out, 0);
	str_append(out, secret_text(client->password), password_len);
	return str_error(out);
}

/* RFC 2195. */
static int step_cram_md5(
	struct sasl_client *client, const char *challenge, size_t len, struct str *out)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned digest_len = 0;
	size_t password_len = secret_len(client->password);
	if (len == 0)
		return -EPROTO;
	if (password_len > INT32_MAX ||
		!HMAC(EVP_md5(), secret_text(client->password), (int)password_len,
			(const unsigned char *)challenge, len, digest, &digest_len))
		return -EIO;
	str_printf(out, "%s ", client->user);
	for (unsigned i = 0; i < digest_len; i++)
		str_printf(out, "%02x", digest[i]);
	return str_error(out);
}

static int step_scram(
	struct sasl_client *client, const char *challenge, size_t len, struct str *out)
{
	switch (client->steps_done) {
	case 0:
		return len > 0 ? -EPROTO : sasl_scram_first(&client->scram, client->user, out);
	case 1:
		return sasl_scram_final(&client->scram, client->password, challenge, len, out);
	default:
		return sasl_scram_verify(&client->scram, challenge, len);
	}
}

/* The second step answers the server's refusal, which comes as a challenge (RFC 7628 §3.2.3). */
static int step_oauthbearer(
	struct sasl_client *client, const char *challenge, size_t len, struct str *out)
{
	(void)challenge;
	if (client->steps_done == 0)
		return len > 0 ? -EPROTO
		               : sasl_oauthbearer_first(client->user, client->password, out);
	str_putc(out, 0x01);
	return str_error(out);
}

/* Likewise, and the second answer is empty. */
static int step_xoauth2(
	struct sasl_client *client, const char *challenge, size_t len, struct str *out)
{
	(void)challenge;
	if (client->steps_done == 0)
		return len > 0 ? -EPROTO : sasl_xoauth2_first(client->user, client->password, out);
	return 0;
}

static const struct mechanism mechanisms[] = {
	{"SCRAM-SHA-256", "SHA256", true, 3, 3, step_scram},
	{"SCRAM-SHA-1", "SHA1", true, 3, 3, step_scram},
	{"CRAM-MD5", NULL, false, 1, 1, step_cram_md5},
	{"PLAIN", NULL, true, 1, 1, step_plain},
	{"OAUTHBEARER", NULL, true, 2, 1, step_oauthbearer},
	{"XOAUTH2", NULL, true, 2, 1, step_xoauth2},
};

const char *const sasl_mechanisms[] = {"SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", NULL};
const char *const sasl_token_mechanisms[] = {"OAUTHBEARER", "XOAUTH2", NULL};

static const struct mechanism *find_mechanism(const char *name)
{
	for (size_t i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++)
		if (strcasecmp(mechanisms[i].name, name) == 0)
			return &mechanisms[i];
	return NULL;
}

struct sasl_client *sasl_client_create(
	const char *mechanism, const char *user, const struct secret *password)
{
	const struct mechanism *found = find_mechanism(mechanism);
	struct sasl_client *client = found ? calloc(1, sizeof(*client)) : NULL;
	if (!client)
		return NULL;
	client->mechanism = found;
	client->password = password;
	client->user = strdup(user);
	int r = found->digest ? sasl_scram_init(&client->scram, found->digest, NULL) : 0;
	if (client->user && r == 0)
		return client;
	sasl_client_destroy(client);
	return NULL;
}

void sasl_client_destroy(struct sasl_client *client)
{
	if (!client)
		return;
	sasl_scram_finish(&client->scram);
	free(client->user);
	free(client);
}

bool sasl_client_sends_first(const struct sasl_client *client)
{
	return client->mechanism->sends_first;
}

int sasl_client_step(struct sasl_client *client, const void *challenge, size_t len, struct str *out)
{
	str_reset(out);
	if (client->failed || client->steps_done >= client->mechanism->steps)
		return -EPROTO;
	int r = client->mechanism->step(
		client, challenge ? challenge : "", challenge ? len : 0, out);
	if (r < 0) {
		client->failed = true;
		if (out->data)
			secret_wipe(out->data, out->len);
		str_reset(out);
		return r;
	}
	client->steps_done++;
	return 0;
}

bool sasl_client_done(const struct sasl_client *client)
{
	return !client->failed && client->steps_done >= client->mechanism->satisfied;
}
