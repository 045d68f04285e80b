/* SPDX-License-Identifier: MIT */
/* A client of the control socket that says anything, over a tree, a sync and a store that are not there. All that it hears are lines of JSON. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/control/fake.h"
#include "private.h"
#include "wire.h"

#define FD         1000000 /* none of the process's */
#define ROUNDS_MAX 100000

static void make_world(void)
{
	static const char *const paths[] = {"INBOX", "Archive", "Archive/2025"};
	str_finish(&fake.pins);
	fake = (struct fake){.says = "", .quirks = "", .usage.limit_bytes = UINT64_MAX};
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct sync_folder *folder = &fake.folders[fake.folder_count++];
		folder->path = paths[i];
		folder->mailbox = (struct source_mailbox){.name = paths[i], .delimiter = '/'};
		folder->status.state.folder = 101 + (uint32_t)i;
	}
}

static void check_answer(const char *line, size_t len)
{
	json_error_t error;
	json_t *json = json_loadb(line, len, 0, &error);
	FUZZ_CHECK(json_is_object(json));
	const json_t *ok = json_object_get(json, "ok");
	FUZZ_CHECK(json_is_boolean(ok) || json_is_string(json_object_get(json, "event")));
	if (json_is_false(ok))
		FUZZ_CHECK(json_is_string(json_object_get(json, "code")) &&
			   json_is_string(json_object_get(json, "error")));
	json_decref(json);
}

static void check_answers(const struct str *out)
{
	for (size_t at = 0; at < out->len;) {
		const char *end = memchr(out->data + at, '\n', out->len - at);
		if (!end) /* more than is kept */
			break;
		check_answer(out->data + at, (size_t)(end - out->data) - at);
		at = (size_t)(end - out->data) + 1;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char account[] = "alice@host", source[] = "imaps://alice@host", mount[] = "/mnt";
	struct fuzz_input in = {data, size};
	struct control control = {.tree = NULL,
		.account_name = account,
		.source = source,
		.mountpoint = mount,
		.wake_fd = -1};
	struct client *client = &control.clients[0];
	make_world();
	for (size_t i = 1; i < CLIENTS_MAX; i++)
		control.clients[i].fd = -1;
	pthread_mutex_init(&control.lock, NULL);
	wire_open("", in, true);
	client_init(client, FD);
	for (unsigned round = 0; client->fd >= 0; round++) {
		FUZZ_CHECK(round < ROUNDS_MAX);
		client_serve(&control, client, POLLIN | POLLOUT);
	}
	check_answers(wire_sent());
	pthread_mutex_destroy(&control.lock);
	return 0;
}
