/* SPDX-License-Identifier: MIT */
/*
 * Secrets lie on pages of their own, so that locking and MADV_DONTDUMP touch nothing else. Where the
 * lock limit is too small the secret is kept unlocked: refusing to mount would help nobody.
 */
#include "mailfs/util/secret.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/list.h"

struct secret {
	struct list_node node;
	size_t mapped; /* bytes of the mapping that begins here */
	size_t len;
	char text[];
};

/* All that there are. */
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list_node all = {&all, &all};

struct secret *secret_create(const char *data, size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t need = sizeof(struct secret) + len + 1;
	size_t mapped = (need + page - 1) / page * page;
	struct secret *secret =
		mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (secret == MAP_FAILED)
		return NULL;
	(void)mlock(secret, mapped);
	(void)madvise(secret, mapped, MADV_DONTDUMP);
	secret->mapped = mapped;
	secret->len = len;
	memcpy(secret->text, data, len);
	secret->text[len] = 0;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&all_lock);
	list_push(&all, &secret->node);
	return secret;
}

void secret_destroy(struct secret *secret)
{
	if (!secret)
		return;
	size_t mapped = secret->mapped;
	pthread_mutex_lock(&all_lock);
	list_remove(&secret->node);
	pthread_mutex_unlock(&all_lock);
	secret_wipe(secret, mapped);
	munmap(secret, mapped);
}

const char *secret_text(const struct secret *secret)
{
	return secret->text;
}

size_t secret_len(const struct secret *secret)
{
	return secret->len;
}

bool secret_is_in(const void *data, size_t len)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&all_lock);
	struct list_node *pos, *tmp;
	list_for_each(pos, tmp, &all)
	{
		const struct secret *secret = container_of(pos, struct secret, node);
		if (secret->len >= SECRET_TOLD_MIN && secret->len <= len &&
			memmem(data, len, secret->text, secret->len))
			return true;
	}
	return false;
}

void secret_wipe(void *data, size_t len)
{
	explicit_bzero(data, len);
}
