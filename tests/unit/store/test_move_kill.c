/* SPDX-License-Identifier: MIT */
/* A process that is killed while messages get other numbers: none is lost, none is there twice, and no body is another's. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FROM   5
#define TO     9
#define COUNT  200
#define BODIES 20
#define LEN    3000
#define ROUNDS 25

static void put_rows(struct store *store, uint32_t folder)
{
	struct source_row rows[COUNT];
	for (uint32_t i = 0; i < COUNT; i++)
		rows[i] =
			(struct source_row){.uid = i + 1, .have = SOURCE_ROW_SIZE, .size_bytes = 1};
	assert_int_equal(store_rows_put(store, folder, rows, COUNT), 0);
}

/* Bodies that the last kill has cost. */
static void put_bodies(struct fixture *fixture, uint32_t folder, uint32_t (*was)(uint32_t uid))
{
	for (uint32_t uid = 1; uid <= BODIES; uid++) {
		struct store_body *body = fixture_body(fixture, folder, uid, "");
		if (store_body_held(body, 0) == 0)
			assert_int_equal(write_bytes(body, was(uid), LEN, 0), 0);
		store_body_set_size(body, LEN);
		store_body_close(body);
	}
}

/* Whatever is held is right; the number of bodies that are whole. */
static unsigned check_bodies(
	struct fixture *fixture, uint32_t folder, uint32_t (*was)(uint32_t uid))
{
	unsigned whole = 0;
	for (uint32_t uid = 1; uid <= COUNT; uid++) {
		struct store_body *body = fixture_body(fixture, folder, uid, "");
		uint64_t held = store_body_held(body, 0);
		assert_true(held == 0 || held == LEN);
		if (held)
			check_bytes(body, was(uid), LEN, 0);
		whole += held > 0;
		store_body_close(body);
	}
	return whole;
}

static void kill_after(struct fixture *fixture, void (*run)(struct store *), useconds_t us)
{
	int ready[2];
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct store *store = fixture_open_in_child(fixture);
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		run(store);
		_exit(1);
	}
	fixture_kill(pid, ready, us);
	fixture_reopen(fixture);
}

/* ---- a folder ---- */

static void move_for_ever(struct store *store)
{
	while (store_folder_move(store, FROM, TO) == 0 && store_folder_move(store, TO, FROM) == 0)
		;
	/* It began where it was left. */
	while (store_folder_move(store, TO, FROM) == 0 && store_folder_move(store, FROM, TO) == 0)
		;
}

static uint32_t same(uint32_t uid)
{
	return uid;
}

static void test_move(void **state)
{
	struct fixture *fixture = *state;
	uint64_t from, to, unseen;
	unsigned whole = 0;
	put_rows(fixture->store, FROM);
	put_bodies(fixture, FROM, same);
	for (unsigned round = 0; round < ROUNDS; round++) {
		fixture_close(fixture);
		kill_after(fixture, move_for_ever, 300 + 1777 * round % 20000);
		assert_int_equal(store_folder_count(fixture->store, FROM, &from, &unseen), 0);
		assert_int_equal(store_folder_count(fixture->store, TO, &to, &unseen), 0);
		assert_true((from == COUNT && to == 0) || (from == 0 && to == COUNT));
		uint32_t here = from ? FROM : TO;
		whole += check_bodies(fixture, here, same);
		assert_int_equal(check_bodies(fixture, from ? TO : FROM, same), 0);
		put_bodies(fixture, here, same);
	}
	assert_true(whole > 0);
}

/* ---- messages ---- */

static uint32_t turned(uint32_t uid)
{
	return COUNT + 1 - uid;
}

static void carry_for_ever(struct store *store)
{
	struct store_carry pairs[COUNT];
	for (uint32_t i = 0; i < COUNT; i++)
		pairs[i] = (struct store_carry){i + 1, turned(i + 1)};
	while (store_messages_carry(store, FROM, TO, pairs, COUNT) == 0 &&
		store_messages_carry(store, TO, FROM, pairs, COUNT) == 0)
		;
}

static bool has_structure(struct fixture *fixture, uint32_t folder, uint32_t uid, uint32_t was)
{
	char text[16];
	_cleanup_str_ struct str structure = STR_INIT;
	if (store_structure_get(fixture->store, folder, uid, &structure) < 0)
		return false;
	snprintf(text, sizeof(text), "%u", was);
	assert_string_equal(str_cstr(&structure), text);
	return true;
}

static void test_carry(void **state)
{
	struct fixture *fixture = *state;
	unsigned whole = 0;
	put_rows(fixture->store, FROM);
	put_rows(fixture->store, TO);
	for (uint32_t uid = 1; uid <= COUNT; uid++) {
		char text[16];
		int len = snprintf(text, sizeof(text), "%u", uid);
		assert_int_equal(
			store_structure_put(fixture->store, FROM, uid, text, (size_t)len), 0);
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		bool here = has_structure(fixture, FROM, 1, 1);
		if (here)
			put_bodies(fixture, FROM, same);
		fixture_close(fixture);
		kill_after(fixture, carry_for_ever, 300 + 2113 * round % 20000);
		here = has_structure(fixture, FROM, 1, 1);
		for (uint32_t uid = 1; uid <= COUNT; uid++) {
			assert_int_equal(has_structure(fixture, FROM, uid, uid), here);
			assert_int_equal(has_structure(fixture, TO, turned(uid), uid), !here);
		}
		whole += check_bodies(fixture, FROM, same);
		whole += check_bodies(fixture, TO, turned);
	}
	assert_true(whole > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_create_open, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_move),
		TEST(test_carry),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
