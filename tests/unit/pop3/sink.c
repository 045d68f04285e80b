/* SPDX-License-Identifier: MIT */
/* The sink checks what must hold of every message: order, size, digest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "sink.h"

static struct sink_message *message_of(struct sink *sink, void *cookie)
{
	size_t index = (size_t)(uintptr_t)cookie - 1;
	if (index != sink->ended)
		sink->mismatch = true;
	return &sink->messages[index % SINK_MAX];
}

static bool sink_next(void *arg, struct maildrop_want *ret)
{
	struct sink *sink = arg;
	if (sink->asked == sink->count)
		return false;
	if (sink->step > 0 && sink->asked >= sink->step * (sink->ended + 1))
		return false;
	if (sink->asked == sink->pause && sink->ended < sink->pause)
		return false;
	if (sink->wants)
		*ret = sink->wants[sink->asked];
	else
		*ret = (struct maildrop_want){
			.number = (uint32_t)sink->asked + 1, .size_bytes = sink->want_bytes};
	ret->cookie = (void *)(uintptr_t)++sink->asked;
	return true;
}

static int sink_data(void *arg, void *cookie, const void *data, size_t len)
{
	struct sink *sink = arg;
	struct sink_message *message = message_of(sink, cookie);
	if (len == 0)
		sink->mismatch = true;
	sink->bytes += len;
	if (!sink->discard)
		str_append(&message->data, data, len);
	if (sink->sleep_ms)
		usleep(sink->sleep_ms * 1000);
	return sink->data_err;
}

static bool is_digest(const struct sink_message *message, const unsigned char *digest)
{
	unsigned char own[32];
	struct net_sha256 *sha = net_sha256_create();
	net_sha256_update(sha, str_cstr(&message->data), message->data.len);
	net_sha256_final(sha, own);
	net_sha256_destroy(sha);
	return memcmp(own, digest, sizeof(own)) == 0;
}

static int sink_end(void *arg, void *cookie, const struct maildrop_result *result)
{
	struct sink *sink = arg;
	struct sink_message *message = message_of(sink, cookie);
	message->err = result->err;
	if (result->err < 0)
		snprintf(message->text, sizeof(message->text), "%.190s", result->error->text);
	else if (!sink->discard &&
		 (result->size_bytes != message->data.len || !is_digest(message, result->sha256)))
		sink->mismatch = true;
	memcpy(message->sha256, result->sha256, sizeof(message->sha256));
	sink->ended++;
	return 0;
}

void sink_init(struct sink *sink, size_t count)
{
	*sink = (struct sink){.count = count, .want_bytes = UINT64_MAX};
	sink->ops = (struct maildrop_sink){
		.arg = sink, .next = sink_next, .data = sink_data, .end = sink_end};
	for (size_t i = 0; i < SINK_MAX; i++)
		sink->messages[i].err = 1;
}

void sink_finish(struct sink *sink)
{
	for (size_t i = 0; i < SINK_MAX; i++)
		str_finish(&sink->messages[i].data);
	assert_false(sink->mismatch);
}

int sink_run(struct sink *sink, struct client *client, bool header)
{
	return client->maildrop->ops->retrieve(client->session, header, &sink->ops, &client->error);
}
