/* SPDX-License-Identifier: MIT */
#include "wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "mailfs/net.h"
#include "mailfs/util/clock.h"
#include "stream.h"

#define TAGS_MAX 64
#define TAG_MAX  16
#define SENT_MAX 65536

static struct {
	const char *first;
	struct fuzz_input in;
	bool packets;
	char tags[TAGS_MAX][TAG_MAX];
	unsigned tag_count, tag_next;
	const char *tag; /* what is left of the one that is being sent */
	bool in_line;    /* of the client's */
	struct str sent;
} wire;

void wire_open(const char *first, struct fuzz_input in, bool packets)
{
	str_reset(&wire.sent);
	wire.tag_count = wire.tag_next = 0;
	wire.in_line = false;
	wire.first = first;
	wire.in = in;
	wire.packets = packets;
	wire.tag = "";
}

const struct str *wire_sent(void)
{
	return &wire.sent;
}

bool wire_has_sent(const char *text)
{
	return memmem(str_cstr(&wire.sent), wire.sent.len, text, strlen(text)) != NULL;
}

/* --- What the client says --- */

/* The first word of a line is its tag. */
static void note_line(const char *line, size_t len)
{
	size_t word = 0;
	while (word < len && line[word] != ' ' && line[word] != '\r')
		word++;
	if (wire.tag_count == TAGS_MAX) {
		memmove(wire.tags[0], wire.tags[1], sizeof(wire.tags) - TAG_MAX);
		wire.tag_count--;
		wire.tag_next -= wire.tag_next > 0;
	}
	char *tag = wire.tags[wire.tag_count++];
	if (word >= TAG_MAX)
		word = TAG_MAX - 1;
	memcpy(tag, line, word);
	tag[word] = 0;
}

static void note_sent(const char *data, size_t len)
{
	for (size_t at = 0; at < len;) {
		const char *lf = memchr(data + at, '\n', len - at);
		size_t line = lf ? (size_t)(lf - data) + 1 - at : len - at;
		/* Not what goes on behind a literal, an answer to a challenge, or DONE. */
		if (!wire.in_line && data[at] == 'C')
			note_line(data + at, line);
		wire.in_line = !lf;
		at += line;
	}
}

ssize_t __wrap_send(int fd, const void *data, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t len, int flags)
{
	(void)fd;
	(void)flags;
	if (wire.sent.len < SENT_MAX)
		str_append(&wire.sent, data, len);
	note_sent(data, len);
	return (ssize_t)len;
}

/* --- What the server says --- */

static const char *next_tag(void)
{
	if (wire.tag_next < wire.tag_count)
		return wire.tags[wire.tag_next++];
	return wire.tag_count > 0 ? wire.tags[wire.tag_count - 1] : "";
}

/* The answer to a command comes when that was sent; begun: there is something else to come before. */
static bool is_early(uint8_t c, bool begun)
{
	return c == WIRE_TAG && begun && wire.tag_next == wire.tag_count;
}

static uint8_t take_byte(void)
{
	return *wire.first ? (uint8_t)*wire.first++ : fuzz_byte(&wire.in);
}

/* The next byte of the server's, or -1: the packet has ended. */
static int next_byte(bool begun)
{
	while (*wire.tag || *wire.first || wire.in.len > 0) {
		if (*wire.tag)
			return (unsigned char)*wire.tag++;
		bool packets = wire.packets || *wire.first;
		if (is_early(*wire.first ? (uint8_t)*wire.first : *wire.in.data, begun))
			return -1;
		uint8_t c = take_byte();
		if (c == WIRE_PACKET && packets)
			return -1;
		if (c == WIRE_TAG)
			wire.tag = next_tag();
		else if (c != WIRE_PACKET)
			return c;
	}
	return -1;
}

static bool at_end(void)
{
	return !*wire.tag && !*wire.first && wire.in.len == 0;
}

ssize_t __wrap_recv(int fd, void *buf, size_t cap, int flags);
ssize_t __wrap_recv(int fd, void *buf, size_t cap, int flags)
{
	unsigned char *out = buf;
	size_t len = 0;
	(void)fd;
	(void)flags;
	/* An empty packet is no end. */
	while (len == 0 && !at_end())
		for (int c; len < cap && (c = next_byte(len > 0)) >= 0;)
			out[len++] = (unsigned char)c;
	return (ssize_t)len;
}

/* --- The stream --- */

struct net_context *wire_context(enum net_tls tls)
{
	static struct net_context *contexts[NET_TLS_NONE + 1];
	const struct net_params params = {.host = "test", .port = 143, .tls = tls};
	struct source_error error;
	if (!contexts[tls])
		FUZZ_CHECK(net_context_create(&params, &contexts[tls], &error) == 0);
	return contexts[tls];
}

static struct net_stream *stream_create(struct net_context *context)
{
	struct net_stream *stream = net_stream_create(context, -1, CLOCK_NEVER);
	FUZZ_CHECK(stream);
	return stream;
}

struct net_stream *wire_stream(void)
{
	return stream_create(wire_context(NET_TLS_NONE));
}

int __wrap_net_connect(struct net_context *context, int64_t deadline_ms, struct net_stream **ret,
	struct source_error *error);
int __wrap_net_connect(struct net_context *context, int64_t deadline_ms, struct net_stream **ret,
	struct source_error *error)
{
	(void)deadline_ms;
	(void)error;
	*ret = stream_create(context);
	return 0;
}
