/* SPDX-License-Identifier: MIT */
/* See session.h. */
#include "session.h"

#include <stdlib.h>
#include <string.h>

#include "wire.h"

#define CALLS_MAX 16

struct net_context *session_open(
	const char *names, const char *first, struct fuzz_input in, bool packets)
{
	bool starttls = strchr(names, 't');
	wire_open(starttls || strchr(names, 'g') ? "" : first, in, packets);
	return wire_context(starttls ? NET_TLS_STARTTLS : NET_TLS_NONE);
}

struct secret *session_password(void)
{
	static struct secret *password;
	if (!password)
		password = secret_create("s3cret", 6);
	return password;
}

bool session_check_error(const struct source_error *error, int r)
{
	FUZZ_CHECK(r < 0 && error->err == r && strlen(error->text) < sizeof(error->text));
	fuzz_check_text(error->text, strlen(error->text));
	return error->scope == SOURCE_SCOPE_MAILBOX || error->scope == SOURCE_SCOPE_MESSAGE;
}

static bool call(const struct session_call *what, struct client *client, struct source_error *error)
{
	*error = (struct source_error){0};
	int r = what->fn(client);
	FUZZ_CHECK(r <= 1);
	return r == 0 || (r < 0 && session_check_error(error, r));
}

bool session_run(const struct session_call *calls, size_t count, const char *names,
	struct client *client, struct source_error *error)
{
	bool alive = true;
	for (unsigned i = 0; alive && names[i] && i < CALLS_MAX; i++)
		for (size_t j = 0; j < count; j++)
			if (calls[j].letter == names[i])
				alive = call(&calls[j], client, error);
	return alive;
}

void session_check_kept(const char *names, bool connected)
{
	static const char *const secrets[] = {"s3cret", "USER", "AUTH", "APOP", "LOGIN"};
	if (!strchr(names, 't'))
		return;
	FUZZ_CHECK(!connected);
	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
		FUZZ_CHECK(!wire_has_sent(secrets[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	char *names = fuzz_copy(fuzz_until(&in, '\n'));
	session_target(names, in);
	free(names);
	return 0;
}
