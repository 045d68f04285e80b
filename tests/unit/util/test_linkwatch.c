/* SPDX-License-Identifier: MIT */
/*
 * Changes of the network, made in a network namespace of the test's own, whose loopback interface goes up and down. Without the right to make one
 * there is nothing to be seen.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/linkwatch.h"

/* How much longer the machine was up than it was awake. */
static int slept_s;

int __real_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
	int err = __real_clock_gettime(clock, ret);
	if (clock == CLOCK_BOOTTIME)
		ret->tv_sec += slept_s;
	return err;
}

static void request(const char *name, unsigned long what, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_true(fd >= 0);
	snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", name);
	assert_int_equal(ioctl(fd, what, ifr), 0);
	close(fd);
}

static void set_up(bool up)
{
	struct ifreq ifr = {.ifr_flags = (short)(up ? IFF_UP | IFF_RUNNING : 0)};
	request("lo", SIOCSIFFLAGS, &ifr);
}

static void add_address(int number)
{
	char name[IFNAMSIZ];
	struct ifreq ifr = {0};
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a010200u + (uint32_t)number)};
	memcpy(&ifr.ifr_addr, &address, sizeof(address));
	snprintf(name, sizeof(name), "lo:%d", number);
	request(name, SIOCSIFADDR, &ifr);
}

static bool is_readable(const struct linkwatch *watch, int ms)
{
	struct pollfd fd = {.fd = linkwatch_fd(watch), .events = POLLIN};
	return poll(&fd, 1, ms) == 1;
}

/* What comes, and that it is not the time for it yet. */
static unsigned wait_event(struct linkwatch *watch)
{
	int64_t again_ms, until = clock_now_ms() + 5000;
	unsigned events = 0;
	while (!events && clock_now_ms() < until) {
		(void)is_readable(watch, 20);
		events = linkwatch_read(watch, &again_ms);
	}
	return events;
}

/* Lets the second pass in which nothing is told, and takes what there is. */
static void settle(struct linkwatch *watch)
{
	int64_t again_ms;
	usleep(1050000);
	do
		(void)linkwatch_read(watch, &again_ms);
	while (is_readable(watch, 20));
}

static void test_quiet(void **state)
{
	struct linkwatch *watch = *state;
	int64_t again_ms = 0;
	assert_false(is_readable(watch, 50));
	assert_int_equal(linkwatch_read(watch, &again_ms), 0);
	assert_int_equal(again_ms, CLOCK_NEVER);
}

static void test_up_and_down(void **state)
{
	struct linkwatch *watch = *state;
	set_up(true);
	assert_true(is_readable(watch, 5000));
	assert_true(wait_event(watch) & LINKWATCH_GAINED);
	settle(watch);
	/* It is up already. */
	set_up(true);
	assert_false(is_readable(watch, 100));
	set_up(false);
	unsigned events = wait_event(watch);
	assert_true(events & LINKWATCH_LOST);
	assert_false(events & LINKWATCH_GAINED);
	settle(watch);
}

static void test_burst(void **state)
{
	struct linkwatch *watch = *state;
	int64_t again_ms, since;
	set_up(true);
	assert_true(wait_event(watch) & LINKWATCH_GAINED);
	since = clock_now_ms();
	for (int i = 1; i <= 20; i++)
		add_address(i);
	unsigned told = 0;
	while (clock_now_ms() < since + 900) {
		told += linkwatch_read(watch, &again_ms) != 0;
		usleep(20000);
	}
	assert_int_equal(told, 0);
	assert_in_range(again_ms, since, since + 1100);
	assert_true(wait_event(watch) & LINKWATCH_GAINED);
	assert_true(clock_now_ms() >= again_ms);
	settle(watch);
	set_up(false);
	settle(watch);
}

static void test_sleep(void **state)
{
	struct linkwatch *watch = *state;
	int64_t again_ms;
	assert_int_equal(linkwatch_read(watch, &again_ms), 0);
	slept_s += 1;
	assert_int_equal(linkwatch_read(watch, &again_ms), 0);
	slept_s += 60;
	assert_int_equal(wait_event(watch), LINKWATCH_RESUMED);
	assert_int_equal(linkwatch_read(watch, &again_ms), 0);
}

static int setup(void **state)
{
	return linkwatch_create((struct linkwatch **)state);
}

static int teardown(void **state)
{
	linkwatch_destroy(*state);
	linkwatch_destroy(NULL);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quiet),
		cmocka_unit_test(test_up_and_down),
		cmocka_unit_test(test_burst),
		cmocka_unit_test(test_sleep),
	};
	if (unshare(CLONE_NEWNET) < 0) {
		printf("1..0 # SKIP no network namespace of its own: %s\n", strerror(errno));
		return 0;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
