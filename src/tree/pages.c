/* SPDX-License-Identifier: MIT */
/*
 * A page has its place in the file, which is its number, from the beginning, and takes room there once it was written. Which one goes is
 * decided by a hand that goes round and takes the first that was not used since it came by last.
 *
 * While the disk takes nothing, pages stay in memory, up to a limit that is far higher: a full disk is rare, and a server that lists too
 * much, too.
 */
#include "pages.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/hash.h"
#include "mailfs/util/log.h"
#include "mailfs/util/str.h"

#define SLOT_BYTES 4096

void pages_init(struct pages *pages, pages_open_fn *open, void *arg)
{
	*pages = (struct pages){
		.open = open,
		.open_arg = arg,
		.resident_max = PAGES_RESIDENT,
		.held_max = PAGES_HELD,
		.fd = -1,
	};
	pthread_mutex_init(&pages->lock, NULL);
}

void pages_finish(struct pages *pages)
{
	for (size_t i = 0; i < pages->count; i++)
		free(pages->items[i].bytes);
	free(pages->items);
	if (pages->fd >= 0)
		close(pages->fd);
	pthread_mutex_destroy(&pages->lock);
}

/* --- The file --- */

static int open_file(struct pages *pages)
{
	if (pages->fd >= 0)
		return 0;
	int fd = pages->open ? pages->open(pages->open_arg) : -ENOSPC;
	if (fd < 0)
		return fd;
	pages->fd = fd;
	return 0;
}

static uint64_t sum_of(const unsigned char *bytes)
{
	return checksum64(0, bytes, PAGE_BYTES);
}

static int file_write(const struct pages *pages, size_t page)
{
	const unsigned char *bytes = pages->items[page].bytes;
	for (size_t done = 0; done < PAGE_BYTES;) {
		ssize_t n = pwrite(pages->fd, bytes + done, PAGE_BYTES - done,
			(off_t)page * SLOT_BYTES + (off_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

static int file_read(const struct pages *pages, size_t page, unsigned char *bytes)
{
	for (size_t done = 0; done < PAGE_BYTES;) {
		ssize_t n = pread(pages->fd, bytes + done, PAGE_BYTES - done,
			(off_t)page * SLOT_BYTES + (off_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EIO;
		done += (size_t)n;
	}
	return 0;
}

/* --- Memory --- */

/* The next to go. There is one: pages are resident. */
static size_t find_idle(struct pages *pages)
{
	for (;;) {
		pages->hand = pages->hand + 1 < pages->count ? pages->hand + 1 : 0;
		struct page *page = &pages->items[pages->hand];
		if (page->bytes && !page->used)
			return pages->hand;
		page->used = false;
	}
}

/* Takes the memory of a page that goes. */
static int evict(struct pages *pages, unsigned char **ret)
{
	size_t at = find_idle(pages);
	struct page *page = &pages->items[at];
	int r = page->dirty ? open_file(pages) : 0;
	if (r == 0 && page->dirty)
		r = file_write(pages, at);
	if (r < 0)
		return r;
	if (page->dirty)
		page->sum = sum_of(page->bytes);
	page->dirty = false;
	*ret = steal_ptr(page->bytes);
	pages->resident--;
	return 0;
}

/* Takes the memory of one that the file holds already: looked for one by one, where nothing can be written. */
static int evict_clean(struct pages *pages, unsigned char **ret)
{
	for (size_t i = 0; i < pages->count; i++) {
		struct page *page = &pages->items[i];
		if (!page->bytes || page->dirty)
			continue;
		*ret = steal_ptr(page->bytes);
		pages->resident--;
		return 0;
	}
	return -ENOSPC;
}

static void tell_refused(struct pages *pages, int err)
{
	if (pages->told)
		return;
	pages->told = true;
	log_warning(
		"the names of messages that are not in use can not be kept on disk, and stay in memory: %s",
		strerror(-err));
}

/* Memory for one page. */
static int find_memory(struct pages *pages, unsigned char **ret)
{
	int r = -ENOMEM;
	if (pages->resident >= pages->resident_max) {
		r = evict(pages, ret);
		if (r == 0)
			return 0;
		tell_refused(pages, r);
		if (pages->resident >= pages->held_max)
			return evict_clean(pages, ret);
	}
	*ret = malloc(PAGE_BYTES);
	if (*ret)
		return 0;
	return r == -ENOMEM && pages->resident > 0 ? evict(pages, ret) : -ENOMEM;
}

/* Sees to it that the page is in memory. */
static int bring(struct pages *pages, uint32_t number, struct page **ret)
{
	assert(number < pages->count);
	struct page *page = &pages->items[number];
	*ret = page;
	page->used = true;
	if (page->bytes)
		return 0;
	_cleanup_free_ unsigned char *bytes = NULL;
	int r = find_memory(pages, &bytes);
	if (r == 0)
		r = file_read(pages, number, bytes);
	if (r == 0 && sum_of(bytes) != page->sum)
		r = -EIO;
	if (r < 0)
		return r;
	page->bytes = steal_ptr(bytes);
	pages->resident++;
	return 0;
}

/* --- Pages --- */

/* A number that is nobody's. */
static int find_number(struct pages *pages, uint32_t *ret)
{
	if (pages->first_free) {
		*ret = pages->first_free - 1;
		return 0;
	}
	if (pages->count == PAGES_MAX)
		return -ENOSPC;
	int r = array_grow(&pages->items, &pages->cap, pages->count + 1, sizeof(*pages->items));
	*ret = (uint32_t)pages->count;
	return r;
}

int pages_take(struct pages *pages, uint32_t *ret)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&pages->lock);
	uint32_t number;
	unsigned char *bytes;
	int r = find_number(pages, &number);
	if (r == 0)
		r = find_memory(pages, &bytes);
	if (r < 0)
		return r;
	memset(bytes, 0, PAGE_BYTES);
	if (number == pages->count)
		pages->count++;
	else
		pages->first_free = pages->items[number].next_free;
	pages->items[number] = (struct page){.bytes = bytes, .used = true, .dirty = true};
	pages->resident++;
	*ret = number;
	return 0;
}

void pages_free(struct pages *pages, uint32_t number)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&pages->lock);
	assert(number < pages->count);
	struct page *page = &pages->items[number];
	pages->resident -= page->bytes ? 1 : 0;
	free(page->bytes);
	*page = (struct page){.next_free = pages->first_free};
	pages->first_free = number + 1;
}

int pages_read(struct pages *pages, uint32_t number, size_t offset, void *ret, size_t len)
{
	assert(offset <= PAGE_BYTES && len <= PAGE_BYTES - offset);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&pages->lock);
	struct page *page;
	int r = bring(pages, number, &page);
	if (r == 0)
		memcpy(ret, page->bytes + offset, len);
	return r;
}

int pages_write(struct pages *pages, uint32_t number, size_t offset, const void *data, size_t len)
{
	assert(offset <= PAGE_BYTES && len <= PAGE_BYTES - offset);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&pages->lock);
	struct page *page;
	int r = bring(pages, number, &page);
	if (r < 0)
		return r;
	memcpy(page->bytes + offset, data, len);
	page->dirty = true;
	return 0;
}

/* --- Lists of them --- */

int page_list_grow(struct pages *pages, struct page_list *list, size_t count)
{
	int r = array_grow(&list->numbers, &list->cap, count, sizeof(*list->numbers));
	while (r == 0 && list->count < count) {
		r = pages_take(pages, &list->numbers[list->count]);
		list->count += r == 0 ? 1 : 0;
	}
	return r;
}

void page_list_finish(struct pages *pages, struct page_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		pages_free(pages, list->numbers[i]);
	free(list->numbers);
	*list = (struct page_list){0};
}
