/* SPDX-License-Identifier: MIT */
/*
 * Bytes that were handed out, and that the server then takes back or contradicts: they go from the store and from the kernel's pages, and whoever has read some
 * of them reads no further (sync_body_refuted()).
 *
 * Where ranges turn out to be wrong, what is here may be right all the same: servers with that fault are common. Then it is held against what comes
 * instead, and until that is done nobody is given any of it.
 */
#include <errno.h>
#include <string.h>

#include "body.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"

#define COMPARED_BYTES ((size_t)4096)

/* What readers need not ask for is forgotten. The size that was settled; UINT64_MAX: none was. */
static uint64_t forget(struct sync_body *body)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->folder->account->lock);
	uint64_t settled = body->size_known ? body->bound : UINT64_MAX;
	body->bound = body->short_end = UINT64_MAX;
	body->size_known = false;
	body->forgotten = true;
	str_finish(&body->recent);
	atomic_fetch_add(&body->arrivals, 1);
	return settled;
}

/* The size was taken from the same answer. */
static void take_size_back(struct sync_body *body, uint64_t settled)
{
	struct sync_account *account = body->folder->account;
	uint64_t size = body->announced;
	if (body->section[0] || settled == UINT64_MAX || size == UINT64_MAX || settled == size ||
		!body_is_current(body))
		return;
	(void)store_size_put(account->store, body->number, body->uid, size);
	account->events.size(account->events.arg, body->folder, body->uid, size);
}

static void tell(struct sync_body *body)
{
	const struct sync_events *events = &body->folder->account->events;
	if (events->refuted && body_is_current(body))
		events->refuted(events->arg, body->folder, body->uid, body->section);
}

void body_refute(struct sync_body *body)
{
	log_warning(
		"%s: message %u: the server takes back bytes that it has given: they are dropped",
		body->folder->name, body->uid);
	atomic_store(&body->refuted_ms, clock_now_ms());
	atomic_fetch_add(&body->refuted, 1);
	atomic_store(&body->doubted, false);
	uint64_t settled = forget(body);
	if (body->store)
		(void)store_body_drop(body->store);
	take_size_back(body, settled);
	tell(body);
}

unsigned sync_body_refuted(const struct sync_body *body, int64_t *ret_ms)
{
	*ret_ms = atomic_load(&body->refuted_ms);
	return atomic_load(&body->refuted);
}

void body_doubt(struct sync_body *body)
{
	uint64_t held = body->store ? store_body_held(body->store, 0) : 0;
	body->doubt_pos = 0;
	body->doubt_end = held;
	atomic_store(&body->proven, false);
	atomic_store(&body->doubted, held > 0);
	(void)forget(body);
	tell(body);
}

void body_doubt_end(struct sync_body *body)
{
	if (!atomic_exchange(&body->doubted, false))
		return;
	(void)store_body_drop(body->store);
	tell(body);
}

/* Whether the store holds other bytes in [start, start + len), as far as it has them from start on. */
static bool differs(struct sync_body *body, const char *data, size_t len, uint64_t start)
{
	char held[COMPARED_BYTES];
	for (size_t pos = 0; pos < len;) {
		size_t want = len - pos < sizeof(held) ? len - pos : sizeof(held);
		ssize_t n = store_body_read(body->store, held, want, start + pos);
		if (n <= 0)
			return false;
		if (memcmp(held, data + pos, (size_t)n) != 0)
			return true;
		pos += (size_t)n;
	}
	return false;
}

int body_write_ahead(struct sync_body *body, const struct str *data, uint64_t start)
{
	if (differs(body, data->data, data->len, start))
		body_refute(body);
	return store_body_write(body->store, data->data, data->len, start);
}

int body_write(struct sync_body *body, const struct str *data, uint64_t start)
{
	int err = body_write_ahead(body, data, start);
	uint64_t end = start + data->len;
	if (err == 0 && start <= body->doubt_pos && end > body->doubt_pos)
		body->doubt_pos = end;
	if (err == 0 && body->doubt_pos >= body->doubt_end)
		atomic_store(&body->doubted, false);
	return err;
}

static int on_size(void *arg, const struct source_row *row)
{
	if (row->have & SOURCE_ROW_SIZE)
		*(uint64_t *)arg = row->size_bytes;
	return 0;
}

int body_open_message(
	struct sync_folder *folder, uint32_t number, uint32_t uid, struct sync_body **ret)
{
	uint64_t size = UINT64_MAX;
	struct sync_body *body;
	int err = store_row_get(folder->account->store, number, uid, on_size, &size);
	if (err == 0)
		err = sync_body_open(folder, uid, "", NULL, size, &body);
	if (err < 0)
		return err;
	if (body->number != number) {
		sync_body_close(body);
		return -ENOENT;
	}
	*ret = body;
	return 0;
}
