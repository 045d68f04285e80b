/* SPDX-License-Identifier: MIT */
/*
 * Secrets lie on pages of their own, so that locking and MADV_DONTDUMP touch nothing else. Where the
 * lock limit is too small the secret is kept unlocked: refusing to mount would help nobody.
 */
#include "mailfs/util/secret.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct secret {
	size_t mapped; /* bytes of the mapping that begins here */
	size_t len;
	char text[];
};

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
	return secret;
}

void secret_destroy(struct secret *secret)
{
	if (!secret)
		return;
	size_t mapped = secret->mapped;
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

void secret_wipe(void *data, size_t len)
{
	explicit_bzero(data, len);
}
