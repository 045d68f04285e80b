/* SPDX-License-Identifier: MIT */
/*
 * Memory in pages, of which only so many stay in memory: those that nobody has used for the longest time are written to a file that
 * has no name, and come back when they are asked for. So what a server lists takes disk, not memory. Nobody gets a pointer into a page:
 * its bytes are copied. Any thread may call.
 */
#ifndef MAILFS_TREE_PAGES_H
#define MAILFS_TREE_PAGES_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* With what malloc() adds these are 4096. */
#define PAGE_BYTES 4080
/* In memory, and where there is no room in the file: 48 MiB and 128 MiB. */
#define PAGES_RESIDENT 12288
#define PAGES_HELD     32768
/* In all: 4 GiB. */
#define PAGES_MAX 1048576

/* A descriptor for reading and writing, or a negative errno. */
typedef int pages_open_fn(void *arg);

struct page {
	unsigned char *bytes; /* NULL: it is in the file alone */
	uint64_t sum;         /* of what the file holds */
	uint32_t next_free;
	bool used;  /* since the hand was here */
	bool dirty; /* the file does not hold what it is now */
};

struct pages {
	pages_open_fn *open;
	void *open_arg;
	/* fixed, but for tests: */
	size_t resident_max, held_max;

	pthread_mutex_t lock; /* guards what follows; held while a page is read or written */
	int fd;               /* -1: not opened yet */
	bool told;            /* that the file takes nothing */
	struct page *items;
	size_t count, cap;
	size_t resident;
	size_t hand;         /* where the next to go is looked for */
	uint32_t first_free; /* and one more; 0: there is none */
};

/* open: makes the file, when it is needed first; NULL: there is none. */
void pages_init(struct pages *pages, pages_open_fn *open, void *arg);
void pages_finish(struct pages *pages);
/* A page of zeros. -ENOMEM; -ENOSPC: there are too many. May block: disk. */
int pages_take(struct pages *pages, uint32_t *ret);
/* It holds nothing any more. */
void pages_free(struct pages *pages, uint32_t page);
/* -ENOMEM; -EIO: it does not come back; -ENOSPC: nor does another go. May block: disk. */
int pages_read(struct pages *pages, uint32_t page, size_t offset, void *ret, size_t len);
int pages_write(struct pages *pages, uint32_t page, size_t offset, const void *data, size_t len);

/* What is longer than a page. Whose it is locks. */
struct page_list {
	uint32_t *numbers;
	size_t count, cap;
};

/* So that there are count of them. As pages_take(). */
int page_list_grow(struct pages *pages, struct page_list *list, size_t count);
void page_list_finish(struct pages *pages, struct page_list *list);

#endif
