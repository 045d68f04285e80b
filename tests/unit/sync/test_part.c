/* SPDX-License-Identifier: MIT */
/* Decoded parts: streams, sizes that lie, what is left of an earlier mount, a store that fails. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "fixture.h"
#include "mailfs/store.h"

#define KIB 1024
#define MIB (1024 * 1024)

static char *base64_of(const char *data, size_t len, size_t *ret_len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *out = malloc(len / 3 * 4 + len / 57 * 2 + 16);
	size_t n = 0;
	for (size_t i = 0; i < len; i += 3) {
		unsigned have = len - i < 3 ? (unsigned)(len - i) : 3;
		uint32_t bits = (uint32_t)(unsigned char)data[i] << 16;
		bits |= have > 1 ? (uint32_t)(unsigned char)data[i + 1] << 8 : 0;
		bits |= have > 2 ? (uint32_t)(unsigned char)data[i + 2] : 0;
		for (unsigned k = 0; k < 4; k++)
			out[n++] = k <= have ? digits[bits >> (18 - 6 * k) & 63] : '=';
		if (i % 57 == 54) {
			out[n++] = '\r';
			out[n++] = '\n';
		}
	}
	*ret_len = n;
	return out;
}

struct part {
	struct mime_leaf leaf;
	char *plain, *encoded;
	size_t len, encoded_len;
};

static struct sync_folder *start_with_part(struct fixture *f, struct part *part, size_t len)
{
	*part = (struct part){.plain = pattern(len), .len = len};
	part->encoded = base64_of(part->plain, len, &part->encoded_len);
	part->leaf = (struct mime_leaf){
		.size_bytes = part->encoded_len, .encoding = MIME_ENCODING_BASE64};
	return fixture_start_with(f, part->encoded, part->encoded_len, part->encoded_len);
}

static struct sync_body *open_part(struct sync_folder *folder, struct part *part)
{
	struct sync_body *body;
	assert_int_equal(sync_body_open(folder, 5, "2", &part->leaf, UINT64_MAX, &body), 0);
	return body;
}

static void part_finish(struct part *part)
{
	free(part->encoded);
}

static void test_small_part(void **state)
{
	struct fixture *f = *state;
	struct part part;
	struct sync_folder *folder = start_with_part(f, &part, 10 * KIB);
	struct sync_body *body = open_part(folder, &part);
	char buf[16];
	assert_read(body, part.plain, 5000, 1000);
	assert_read(body, part.plain, 0, 10 * KIB);
	assert_int_equal(body_read(body, buf, sizeof(buf), 10 * KIB), 0);
	assert_int_equal(fake_counts(&f->fake).bodies, 1);
	assert_fetched(f, part.encoded_len, 0);
	assert_int_equal(f->told->section_sizes, 1);
	assert_int_equal(f->told->section_size, 10 * KIB);
	assert_string_equal(f->told->section, "2");
	sync_body_close(body);
	fixture_end(f);
	fixture_start(f);
	folder = fixture_inbox(f);
	body = open_part(folder, &part);
	assert_read(body, part.plain, 0, 10 * KIB);
	sync_body_close(body);
	assert_int_equal(fake_counts(&f->fake).bodies, 1);
	part_finish(&part);
}

static void test_large_part_streams(void **state)
{
	struct fixture *f = *state;
	struct part part;
	struct sync_folder *folder = start_with_part(f, &part, 5 * MIB + 1);
	struct sync_body *body = open_part(folder, &part);
	char *out = malloc(part.len + 1);
	assert_read(body, part.plain, 0, 1000);
	assert_fetched(f, 128 * KIB, 0);
	assert_int_equal(body_read_all(body, out, part.len + 1), part.len);
	assert_memory_equal(out, part.plain, part.len);
	assert_fetched(f, part.encoded_len, 0);
	assert_int_equal(f->told->section_size, part.len);
	sync_body_close(body);
	free(out);
	part_finish(&part);
}

static void test_shifted_ranges(void **state)
{
	struct fixture *f = *state;
	struct part part;
	struct sync_folder *folder = start_with_part(f, &part, MIB + 1);
	struct sync_body *body = open_part(folder, &part);
	char *out = malloc(part.len + 1);
	FAKE_SET(&f->fake, mailboxes[0].messages[0].shifted_from, 18000);
	assert_int_equal(body_read_all(body, out, part.len + 1), part.len);
	assert_memory_equal(out, part.plain, part.len);
	assert_int_equal(f->told->section_size, part.len);
	sync_body_close(body);
	free(out);
	part_finish(&part);
}

static void test_part_from_the_middle(void **state)
{
	struct fixture *f = *state;
	struct part part;
	struct sync_folder *folder = start_with_part(f, &part, 2 * MIB);
	struct sync_body *body = open_part(folder, &part);
	assert_read(body, part.plain, MIB, 1000);
	assert_read(body, part.plain, 1000, 1000);
	uint64_t size;
	assert_int_equal(body_size(body, &size), 0);
	assert_int_equal(size, part.len);
	assert_fetched(f, part.encoded_len, 0);
	sync_body_close(body);
	part_finish(&part);
}

static void test_part_cut_off_by_a_mount(void **state)
{
	struct fixture *f = *state;
	struct part part;
	struct sync_folder *folder = start_with_part(f, &part, 2 * MIB);
	struct sync_body *body = open_part(folder, &part);
	assert_read(body, part.plain, 0, 1000);
	sync_body_close(body);
	fixture_end(f);
	fixture_start(f);
	folder = fixture_inbox(f);
	unsigned bodies = fake_counts(&f->fake).bodies;
	body = open_part(folder, &part);
	/* Another version may have decoded it otherwise: the halves are not joined. */
	assert_read(body, part.plain, 0, 1000);
	assert_int_equal(fake_counts(&f->fake).bodies, bodies + 1);
	assert_read(body, part.plain, 0, 2 * MIB);
	sync_body_close(body);
	part_finish(&part);
}

static void test_part_size_lies(void **state)
{
	struct fixture *f = *state;
	static const double factors[] = {0, 0.01, 0.5, 1.5, 100};
	struct part part;
	struct sync_folder *folder = start_with_part(f, &part, 300 * KIB);
	char *out = malloc(part.len + 1);
	for (size_t i = 0; i < sizeof(factors) / sizeof(*factors); i++) {
		struct sync_body *body;
		char section[8] = {(char)('3' + i), 0};
		part.leaf.size_bytes = (uint64_t)((double)part.encoded_len * factors[i]);
		assert_int_equal(
			sync_body_open(folder, 5, section, &part.leaf, UINT64_MAX, &body), 0);
		assert_int_equal(body_read_all(body, out, part.len + 1), part.len);
		assert_memory_equal(out, part.plain, part.len);
		sync_body_close(body);
	}
	free(out);
	part_finish(&part);
}

static void test_wrong_stored_size_is_corrected(void **state)
{
	struct fixture *f = *state;
	struct part part;
	struct sync_folder *folder = start_with_part(f, &part, 5000);
	assert_int_equal(store_section_size_put(f->store, f->told->number, 5, "2", 4999), 0);
	struct sync_body *body = open_part(folder, &part);
	assert_read(body, part.plain, 0, 5000);
	assert_int_equal(f->told->section_size, 5000);
	uint64_t size;
	assert_int_equal(store_section_size_get(f->store, f->told->number, 5, "2", &size), 0);
	assert_int_equal(size, 5000);
	sync_body_close(body);
	part_finish(&part);
}

static void test_part_without_a_store(void **state)
{
	struct fixture *f = *state;
	struct part part;
	struct rlimit before, none;
	struct sync_folder *folder = start_with_part(f, &part, 3 * MIB);
	char *out = malloc(part.len + 1);
	getrlimit(RLIMIT_FSIZE, &before);
	none = before;
	none.rlim_cur = 1;
	struct sync_body *body = open_part(folder, &part);
	setrlimit(RLIMIT_FSIZE, &none);
	size_t len = body_read_all(body, out, part.len + 1),
	       again = body_read_all(body, out, part.len + 1);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_int_equal(len, part.len);
	assert_int_equal(again, part.len);
	assert_memory_equal(out, part.plain, part.len);
	assert_fetched(f, part.encoded_len, part.encoded_len);
	sync_body_close(body);
	free(out);
	part_finish(&part);
}

static void test_raw_header(void **state)
{
	struct fixture *f = *state;
	static const char header[] = "From: a@b\r\nSubject: hello\r\n\r\n";
	struct sync_folder *folder =
		fixture_start_with(f, header, sizeof(header) - 1, sizeof(header) - 1);
	struct sync_body *body;
	assert_int_equal(sync_body_open(folder, 5, "HEADER", NULL, UINT64_MAX, &body), 0);
	assert_read(body, header, 0, (int)sizeof(header) - 1);
	assert_int_equal(f->fake.lengths[0], 0);
	assert_int_equal(f->told->section_size, sizeof(header) - 1);
	assert_string_equal(f->told->section, "HEADER");
	uint64_t size;
	assert_int_equal(store_section_size_get(f->store, f->told->number, 5, "HEADER", &size), 0);
	assert_int_equal(size, sizeof(header) - 1);
	sync_body_close(body);
}

static void test_raw_header_larger_than_one_fetch(void **state)
{
	struct fixture *f = *state;
	size_t len = 3 << 20;
	char *data = pattern(len), *out = malloc(len + 1);
	struct sync_folder *folder = fixture_start_with(f, data, len, len);
	struct sync_body *body;
	assert_int_equal(sync_body_open(folder, 5, "HEADER", NULL, UINT64_MAX, &body), 0);
	assert_int_equal(body_read_all(body, out, len + 1), len);
	assert_memory_equal(out, data, len);
	assert_int_equal(f->told->section_size, len);
	assert_fetched(f, len, 0);
	sync_body_close(body);
	free(out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_raw_header),
		TEST(test_raw_header_larger_than_one_fetch),
		TEST(test_small_part),
		TEST(test_large_part_streams),
		TEST(test_shifted_ranges),
		TEST(test_part_from_the_middle),
		TEST(test_part_cut_off_by_a_mount),
		TEST(test_part_size_lies),
		TEST(test_wrong_stored_size_is_corrected),
		TEST(test_part_without_a_store),
	};
	signal(SIGXFSZ, SIG_IGN); /* a file limit shows as EFBIG */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
