/* SPDX-License-Identifier: MIT */
/*
 * What the store costs for each message that is read from it, written to it, or listed: store_bodies DIRECTORY [READS [LARGE [ROWS]]].
 * Where the directory is there already, from an earlier run, it is only read. Each line has seconds, microseconds of wall and of CPU time for each message, and the same for plain
 * files, where that says something. No test: it is run by hand.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mailfs/store.h"

#define FOLDER      7
#define SMALL_BYTES 2048
#define LARGE_BYTES 61440
#define BATCH       1000

static struct store *store;
static char directory[400];

static double seconds(clockid_t clock)
{
	struct timespec ts;
	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

struct meter {
	double wall, cpu;
};

static struct meter meter(void)
{
	return (struct meter){seconds(CLOCK_MONOTONIC), seconds(CLOCK_PROCESS_CPUTIME_ID)};
}

static void tell(const char *what, struct meter from, uint32_t count)
{
	struct meter to = meter();
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	printf("%-34s %7.3f s  %7.2f us each, CPU %7.2f us  (peak RSS %ld KiB)\n", what,
		to.wall - from.wall, (to.wall - from.wall) / count * 1e6,
		(to.cpu - from.cpu) / count * 1e6, usage.ru_maxrss);
	fflush(stdout);
}

static void must(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-rc));
	exit(1);
}

static void open_store(void)
{
	struct str why = STR_INIT;
	struct meter start = meter();
	if (store_open(directory, STORE_CACHE, &store, &why) < 0) {
		fprintf(stderr, "%s\n", str_cstr(&why));
		exit(1);
	}
	tell("store_open", start, 1);
}

static void close_store(void)
{
	struct meter start = meter();
	store_close(store);
	tell("store_close", start, 1);
}

/* ---- writing ---- */

static const unsigned char bytes[LARGE_BYTES] = {"From: somebody\r\n"};

struct job {
	uint32_t folder, count, size;
	atomic_uint next;
	double longest; /* of one message, of a reader beside */
	atomic_bool done;
};

static void *write_some(void *arg)
{
	struct job *job = arg;
	for (uint32_t uid; (uid = atomic_fetch_add(&job->next, 1) + 1) <= job->count;) {
		struct store_body *body = NULL;
		must(store_body_open(store, job->folder, uid, "", &body), "open");
		must(store_body_write(body, bytes, job->size, 0), "write");
		must(store_body_set_size(body, job->size), "set_size");
		store_body_close(body);
	}
	return NULL;
}

static void *write_files(void *arg)
{
	struct job *job = arg;
	for (uint32_t uid; (uid = atomic_fetch_add(&job->next, 1) + 1) <= job->count;) {
		char path[512];
		snprintf(path, sizeof(path), "%s/plain/%u", directory, uid);
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		must(fd < 0 ? -errno : 0, path);
		must(pwrite(fd, bytes, job->size, 0) < 0 ? -errno : 0, path);
		close(fd);
	}
	return NULL;
}

static void write_with(
	const char *what, uint32_t folder, uint32_t count, uint32_t size, void *(*fn)(void *))
{
	struct job job = {.folder = folder, .count = count, .size = size};
	pthread_t threads[2];
	struct meter start = meter();
	for (int i = 0; i < 2; i++)
		must(-pthread_create(&threads[i], NULL, fn, &job), "thread");
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	tell(what, start, count);
}

/* ---- reading ---- */

static void read_one(uint32_t folder, uint32_t uid)
{
	static _Thread_local unsigned char buf[LARGE_BYTES];
	struct store_body *body = NULL;
	must(store_body_open(store, folder, uid, "", &body), "open");
	ssize_t n = store_body_read(body, buf, sizeof(buf), 0);
	must(n <= 0 ? -EIO : 0, "read");
	store_body_close(body);
}

static void read_all(const char *what, uint32_t folder, uint32_t count)
{
	struct meter start = meter();
	for (uint32_t uid = 1; uid <= count; uid++)
		read_one(folder, uid);
	tell(what, start, count);
}

static void read_files(uint32_t count)
{
	static unsigned char buf[LARGE_BYTES];
	struct meter start = meter();
	for (uint32_t uid = 1; uid <= count; uid++) {
		char path[512];
		snprintf(path, sizeof(path), "%s/plain/%u", directory, uid);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		must(fd < 0 ? -errno : 0, path);
		must(pread(fd, buf, sizeof(buf), 0) < 0 ? -errno : 0, path);
		close(fd);
	}
	tell("plain files: open, pread, close", start, count);
}

/* Reads the same small messages again and again while others write. */
static void *read_beside(void *arg)
{
	struct job *job = arg;
	for (uint32_t uid = 1; !atomic_load(&job->done); uid = uid % 1000 + 1) {
		double start = seconds(CLOCK_MONOTONIC);
		read_one(job->folder, uid);
		double took = seconds(CLOCK_MONOTONIC) - start;
		atomic_fetch_add(&job->next, 1);
		job->longest = took > job->longest ? took : job->longest;
	}
	return NULL;
}

static void read_while_writing(uint32_t count)
{
	struct job reads = {.folder = FOLDER};
	struct job writes = {.folder = FOLDER + 2, .count = count, .size = SMALL_BYTES};
	pthread_t thread;
	must(-pthread_create(&thread, NULL, read_beside, &reads), "thread");
	struct meter start = meter();
	write_some(&writes);
	atomic_store(&reads.done, true);
	pthread_join(thread, NULL);
	double took = seconds(CLOCK_MONOTONIC) - start.wall;
	tell("write small, a reader beside", start, count);
	printf("%-34s %7.2f us each, the longest %.2f ms\n", "the reader", took / reads.next * 1e6,
		reads.longest * 1e3);
}

/* ---- rows ---- */

static void put_rows(uint32_t count)
{
	static char headers[BATCH][400];
	static struct source_row rows[BATCH];
	double inside = 0;
	struct meter start = meter();
	for (uint32_t first = 1; first <= count; first += BATCH) {
		for (uint32_t i = 0; i < BATCH; i++) {
			uint32_t uid = first + i;
			int len = snprintf(headers[i], sizeof(headers[i]),
				"From: Somebody Number %u <somebody.%u@example.org>\r\nTo: me@example.net\r\n"
				"Subject: Re: About the matter of %u, and what to do\r\nMessage-ID: <%08x.%u@mail.example.org>\r\n\r\n",
				uid % 977, uid % 977, uid * 7919, uid * 2654435761u, uid);
			rows[i] = (struct source_row){.uid = uid,
				.have = SOURCE_ROW_SIZE | SOURCE_ROW_DATE | SOURCE_ROW_FLAGS |
			                SOURCE_ROW_HEADER,
				.size_bytes = 1000 + uid % 50000,
				.date_s = 1500000000 + uid,
				.flags = uid % 10 ? "\\Seen" : "",
				.header = headers[i],
				.header_len = (size_t)len};
		}
		double before = seconds(CLOCK_MONOTONIC);
		must(store_rows_put(store, FOLDER, rows, BATCH), "rows_put");
		inside += seconds(CLOCK_MONOTONIC) - before;
	}
	struct store_mailbox state = {.folder = FOLDER, .uidvalidity = 1, .complete = true};
	double before = seconds(CLOCK_MONOTONIC);
	must(store_mailbox_put(store, "INBOX", &state), "mailbox_put");
	inside += seconds(CLOCK_MONOTONIC) - before;
	tell("rows, in batches of 1000", start, count);
	printf("%-34s %7.3f s\n", "of that in the store's calls", inside);
}

static void missing_pages(void)
{
	static struct store_missing found[256];
	size_t n = 0;
	uint32_t first = 1, seen = 0;
	struct meter start = meter();
	do {
		must(store_bodies_missing(store, FOLDER, first, true, found, 256, &n), "missing");
		seen += (uint32_t)n;
		first = n ? found[n - 1].uid + 1 : first;
	} while (n == 256);
	tell("bodies_missing, pages of 256", start, seen ? seen : 1);
}

static void make(uint32_t small, uint32_t large, uint32_t rows)
{
	char plain[512];
	snprintf(plain, sizeof(plain), "%s/plain", directory);
	must(mkdir(plain, 0700) < 0 ? -errno : 0, plain);
	open_store();
	put_rows(rows);
	missing_pages();
	write_with("plain files, 60 KiB, 2 threads", 0, large, LARGE_BYTES, write_files);
	write_with("write 60 KiB, 2 threads", FOLDER + 1, large, LARGE_BYTES, write_some);
	write_with("plain files, 2 KiB, 2 threads", 0, small, SMALL_BYTES, write_files);
	write_with("write 2 KiB, 2 threads", FOLDER, small, SMALL_BYTES, write_some);
	close_store();
}

int main(int argc, char **argv)
{
	uint32_t small = argc > 2 ? (uint32_t)atoi(argv[2]) : 100000;
	uint32_t large = argc > 3 ? (uint32_t)atoi(argv[3]) : 5000;
	uint32_t rows = argc > 4 ? (uint32_t)atoi(argv[4]) : 100000;
	if (argc < 2 || strlen(argv[1]) >= sizeof(directory))
		return 2;
	strcpy(directory, argv[1]);
	bool new = mkdir(directory, 0700) == 0;
	if (new)
		make(small, large, rows);
	open_store();
	read_files(small);
	read_all("read 2 KiB, store just opened", FOLDER, small);
	read_all("read 2 KiB again", FOLDER, small);
	read_files(small);
	if (new)
		read_while_writing(small / 5);
	close_store();
	return 0;
}
