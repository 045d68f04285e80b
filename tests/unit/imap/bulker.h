/* SPDX-License-Identifier: MIT */
/* Who asks for many messages and writes down what he is told: "[UID@OFFSET+SIZE BYTES]", "!" for "]" where it does not count, "=ERR;" for an answer. */
#ifndef MAILFS_TEST_IMAP_BULKER_H
#define MAILFS_TEST_IMAP_BULKER_H

#include "mailfs/source.h"
#include "mailfs/util/str.h"

struct bulker {
	const struct source_bulk_set *sets; /* handed out in turn; one with count 0: nothing now */
	size_t set_count, set_next;
	unsigned asked;
	uint32_t refuse; /* begin() of this UID is -EFBIG */
	bool quiet;      /* bytes are counted, not written down */
	bool open;       /* between begin() and end() */
	bool joins;      /* a thread was started that is waited for before the session ends */
	uint64_t told_bytes, want_bytes, messages;
	size_t largest; /* data() so far */
	struct str log;
	void (*at_data)(struct bulker *bulker);
	struct source_session *session;
	const struct source_ops *ops;
};

static inline bool bulker_next(void *arg, struct source_bulk_set *ret)
{
	struct bulker *bulker = arg;
	bulker->asked++;
	assert_false(bulker->open);
	if (bulker->set_next == bulker->set_count)
		return false;
	*ret = bulker->sets[bulker->set_next++];
	return ret->count > 0;
}

static inline int bulker_begin(void *arg, uint32_t uid, uint64_t offset, uint64_t size_bytes)
{
	struct bulker *bulker = arg;
	assert_false(bulker->open);
	if (uid == bulker->refuse)
		return -EFBIG;
	bulker->open = true;
	bulker->told_bytes = 0;
	bulker->want_bytes = size_bytes;
	bulker->messages++;
	if (!bulker->quiet)
		str_printf(&bulker->log, "[%u@%llu+%llu ", uid, (unsigned long long)offset,
			(unsigned long long)size_bytes);
	return 0;
}

static inline void bulker_data(void *arg, const char *data, size_t len)
{
	struct bulker *bulker = arg;
	assert_true(bulker->open && len > 0 && len <= 65536);
	bulker->told_bytes += len;
	assert_true(bulker->told_bytes <= bulker->want_bytes);
	if (len > bulker->largest)
		bulker->largest = len;
	if (!bulker->quiet)
		str_append(&bulker->log, data, len);
	if (bulker->at_data)
		bulker->at_data(bulker);
}

static inline void bulker_end(void *arg, bool whole)
{
	struct bulker *bulker = arg;
	assert_true(bulker->open);
	if (whole)
		assert_true(bulker->told_bytes == bulker->want_bytes);
	bulker->open = false;
	if (!bulker->quiet || !whole)
		str_putc(&bulker->log, whole ? ']' : '!');
}

static inline void bulker_answered(void *arg, int err)
{
	struct bulker *bulker = arg;
	assert_false(bulker->open);
	str_printf(&bulker->log, "=%s;", err == 0 ? "0" : strerrorname_np(-err));
}

static inline void bulker_again(void *arg, uint32_t uid, uint64_t offset)
{
	struct bulker *bulker = arg;
	assert_false(bulker->open);
	str_printf(&bulker->log, "(%u@%llu again)", uid, (unsigned long long)offset);
}

/* bulk() has returned r. Where the connection was lost in the middle of a message its end is not told. */
static inline void bulker_over(struct bulker *bulker, int r)
{
	assert_true(r < 0 || !bulker->open);
	if (bulker->open)
		str_putc(&bulker->log, '?');
	bulker->open = false;
}

static inline struct source_bulk bulker_calls(struct bulker *bulker)
{
	return (struct source_bulk){.arg = bulker,
		.next = bulker_next,
		.begin = bulker_begin,
		.data = bulker_data,
		.end = bulker_end,
		.answered = bulker_answered,
		.again = bulker_again};
}

#define UIDS(...) ((const uint32_t[]){__VA_ARGS__})
/* A set of whole messages; a piece. */
#define WHOLE(...)                                                                                 \
	{                                                                                          \
		.uids = UIDS(__VA_ARGS__), .count = sizeof(UIDS(__VA_ARGS__)) / sizeof(uint32_t),  \
		.limit_bytes = 1 << 20                                                             \
	}
#define PIECE(uid, from, size)                                                                     \
	{                                                                                          \
		.uids = UIDS(uid), .count = 1, .offset = (from), .length = (size),                 \
		.limit_bytes = 1 << 20                                                             \
	}
#define SETS(...) ((const struct source_bulk_set[]){__VA_ARGS__})

#endif
