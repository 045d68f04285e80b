/* SPDX-License-Identifier: MIT */
/*
 * How long a store of many messages takes to open, to count and to load: store_open DIRECTORY [MESSAGES [FOLDERS]]. Makes the store where there
 * is none; prints seconds. No test: it is run by hand.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "mailfs/store.h"

#define BATCH 2000

static double now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void must(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-rc));
	exit(1);
}

/* Header fields as they are in mail. */
static int make_header(char *header, size_t size, uint32_t uid)
{
	return snprintf(header, size,
		"From: Somebody Number %u <somebody.%u@example.org>\r\nTo: me@example.net\r\n"
		"Subject: Re: About the matter of %u, and what to do\r\nMessage-ID: <%08x.%u@mail.example.org>\r\n\r\n",
		uid % 977, uid % 977, uid * 7919, uid * 2654435761u, uid);
}

static void fill_folder(struct store *store, uint32_t folder, uint32_t count)
{
	static char headers[BATCH][400];
	static struct source_row rows[BATCH];
	for (uint32_t first = 1; first <= count; first += BATCH) {
		uint32_t n = count - first + 1 < BATCH ? count - first + 1 : BATCH;
		for (uint32_t i = 0; i < n; i++)
			rows[i] = (struct source_row){.uid = first + i,
				.have = SOURCE_ROW_SIZE | SOURCE_ROW_DATE | SOURCE_ROW_FLAGS |
			                SOURCE_ROW_HEADER,
				.size_bytes = 1000 + (first + i) % 50000,
				.date_s = 1500000000 + first + i,
				.flags = (first + i) % 10 ? "\\Seen" : "",
				.header = headers[i],
				.header_len = (size_t)make_header(
					headers[i], sizeof(headers[i]), first + i)};
		must(store_rows_put(store, folder, rows, n), "rows_put");
	}
}

static int count_row(void *arg, const struct source_row *row)
{
	*(uint64_t *)arg += row->header_len;
	return 0;
}

static void load_folder(struct store *store, uint32_t folder)
{
	uint64_t messages, unseen, bytes = 0;
	double start = now();
	must(store_folder_count(store, folder, &messages, &unseen), "count");
	printf("count  %.4f s  (%llu messages, %llu unseen)\n", now() - start,
		(unsigned long long)messages, (unsigned long long)unseen);
	start = now();
	must(store_rows_load(store, folder, 1, count_row, &bytes), "load");
	printf("load   %.4f s  (%llu bytes of headers)\n", now() - start,
		(unsigned long long)bytes);
}

int main(int argc, char **argv)
{
	uint32_t messages = argc > 2 ? (uint32_t)atoi(argv[2]) : 1000000;
	uint32_t folders = argc > 3 ? (uint32_t)atoi(argv[3]) : 10;
	struct str why = STR_INIT;
	struct store *store;
	if (argc < 2)
		return 2;
	double start = now();
	if (store_open(argv[1], STORE_CACHE, &store, &why) < 0) {
		fprintf(stderr, "%s\n", str_cstr(&why));
		return 1;
	}
	printf("open   %.4f s\n", now() - start);
	uint64_t there, unseen;
	must(store_folder_count(store, 1, &there, &unseen), "count");
	start = now();
	for (uint32_t folder = 1; there == 0 && folder <= folders; folder++)
		fill_folder(store, folder, messages / folders);
	if (there == 0)
		printf("fill   %.4f s\n", now() - start);
	load_folder(store, 1);
	load_folder(store, folders);
	start = now();
	must(store_folder_move(store, 1, 1000), "move");
	printf("move   %.4f s\n", now() - start);
	must(store_folder_move(store, 1000, 1), "move back");
	start = now();
	store_close(store);
	printf("close  %.4f s\n", now() - start);
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	printf("memory %ld KiB\n", usage.ru_maxrss);
	return 0;
}
