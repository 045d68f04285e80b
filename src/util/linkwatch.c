/* SPDX-License-Identifier: MIT */
/*
 * Changes of the network come as rtnetlink messages; that the machine slept is seen by the two clocks of which only one goes
 * on meanwhile, and is heard of at once through a timer that the kernel cancels when it sets the time, which it does on a resume.
 *
 * Routers repeat what they announced, and drivers report much that changes nothing: an interface or an address that was known before
 * is no news. What is remembered for that is bounded; what was forgotten is news once more, which does no harm.
 */
#include "mailfs/util/linkwatch.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/hash.h"

#define BURST_MS  1000
#define SLEPT_MS  1000
#define KNOWN_MAX 256
/* Messages that are taken at once; more wait for the next call. */
#define READS_MAX 256

struct linkwatch {
	int epoll_fd, netlink_fd, timer_fd;
	int64_t asleep_ms; /* how long the machine has slept since it was booted, as last seen */
	int64_t quiet_until_ms;
	unsigned pending;          /* told when it is quiet no more */
	uint64_t known[KNOWN_MAX]; /* hashes of running interfaces and of addresses; 0: free */
	size_t oldest;
};

static int64_t clock_ms(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t asleep_ms(void)
{
	return clock_ms(CLOCK_BOOTTIME) - clock_ms(CLOCK_MONOTONIC);
}

/* --- What is known --- */

/* Remembers it; false: it was known. */
static bool known_add(struct linkwatch *watch, uint64_t hash)
{
	size_t slot = watch->oldest;
	for (size_t i = 0; i < KNOWN_MAX; i++) {
		if (watch->known[i] == hash)
			return false;
		if (watch->known[i] == 0)
			slot = i;
	}
	if (watch->known[slot])
		watch->oldest = (slot + 1) % KNOWN_MAX;
	watch->known[slot] = hash;
	return true;
}

static bool known_remove(struct linkwatch *watch, uint64_t hash)
{
	for (size_t i = 0; i < KNOWN_MAX; i++)
		if (watch->known[i] == hash) {
			watch->known[i] = 0;
			return true;
		}
	return false;
}

static uint64_t hash_of(char kind, uint32_t index, const void *data, size_t len)
{
	uint64_t hash = hash64(HASH64_INIT, &kind, 1);
	hash = hash64(hash, &index, sizeof(index));
	hash = hash64_finish(hash64(hash, data, len));
	return hash ? hash : 1;
}

/* --- rtnetlink --- */

static unsigned link_event(struct linkwatch *watch, const struct nlmsghdr *message)
{
	const struct ifinfomsg *info = NLMSG_DATA(message);
	if (message->nlmsg_len < NLMSG_LENGTH(sizeof(*info)))
		return 0;
	uint64_t hash = hash_of('l', (uint32_t)info->ifi_index, NULL, 0);
	bool runs = message->nlmsg_type == RTM_NEWLINK && info->ifi_flags & IFF_UP &&
	            info->ifi_flags & IFF_RUNNING;
	if (runs)
		return known_add(watch, hash) ? LINKWATCH_GAINED : 0;
	return known_remove(watch, hash) ? LINKWATCH_LOST : 0;
}

static unsigned address_event(struct linkwatch *watch, const struct nlmsghdr *message)
{
	const struct ifaddrmsg *info = NLMSG_DATA(message);
	if (message->nlmsg_len < NLMSG_LENGTH(sizeof(*info)))
		return 0;
	size_t left = IFA_PAYLOAD(message);
	uint64_t hash = 0;
	for (const struct rtattr *at = IFA_RTA(info); RTA_OK(at, left); at = RTA_NEXT(at, left))
		if (at->rta_type == IFA_ADDRESS)
			hash = hash_of('a', info->ifa_index, RTA_DATA(at), RTA_PAYLOAD(at));
	/* Not usable before it is known to be nobody else's; said again then. */
	if (hash == 0 || info->ifa_flags & IFA_F_TENTATIVE)
		return 0;
	if (message->nlmsg_type == RTM_NEWADDR)
		return known_add(watch, hash) ? LINKWATCH_GAINED : 0;
	known_remove(watch, hash);
	return LINKWATCH_LOST;
}

/* Those of the machine's own addresses come with the addresses. */
static unsigned route_event(const struct nlmsghdr *message)
{
	const struct rtmsg *info = NLMSG_DATA(message);
	if (message->nlmsg_len < NLMSG_LENGTH(sizeof(*info)) || info->rtm_type != RTN_UNICAST ||
		info->rtm_table == RT_TABLE_LOCAL || info->rtm_flags & RTM_F_CLONED)
		return 0;
	return message->nlmsg_type == RTM_NEWROUTE ? LINKWATCH_GAINED : LINKWATCH_LOST;
}

static unsigned message_event(struct linkwatch *watch, const struct nlmsghdr *message)
{
	switch (message->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return link_event(watch, message);
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return address_event(watch, message);
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return route_event(message);
	default:
		return 0;
	}
}

/* One datagram; what some other process sends is none of the kernel's. false: there are no more. */
static bool read_netlink(struct linkwatch *watch, unsigned *events)
{
	_Alignas(struct nlmsghdr) char buf[16384];
	struct sockaddr_nl from = {0};
	socklen_t from_len = sizeof(from);
	ssize_t n = recvfrom(watch->netlink_fd, buf, sizeof(buf), MSG_DONTWAIT,
		(struct sockaddr *)&from, &from_len);
	if (n < 0 && errno == ENOBUFS) {
		/* Messages were lost. */
		*events |= LINKWATCH_GAINED | LINKWATCH_LOST;
		return true;
	}
	if (n < 0)
		return errno == EINTR;
	if (from.nl_pid != 0)
		return true;
	size_t left = (size_t)n;
	for (const struct nlmsghdr *at = (struct nlmsghdr *)buf; NLMSG_OK(at, left);
		at = NLMSG_NEXT(at, left))
		*events |= message_event(watch, at);
	return true;
}

/* --- Sleep --- */

static int arm_timer(struct linkwatch *watch)
{
	/* Far away: it is there to be cancelled. */
	struct itimerspec never = {.it_value.tv_sec = clock_wall_s() + INT64_C(315360000)};
	int flags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
	return timerfd_settime(watch->timer_fd, flags, &never, NULL) < 0 ? -errno : 0;
}

static unsigned read_sleep(struct linkwatch *watch)
{
	uint64_t expirations;
	if (read(watch->timer_fd, &expirations, sizeof(expirations)) >= 0 || errno == ECANCELED)
		(void)arm_timer(watch);
	int64_t before = watch->asleep_ms;
	watch->asleep_ms = asleep_ms();
	return watch->asleep_ms - before > SLEPT_MS ? LINKWATCH_RESUMED : 0;
}

/* --- All of it --- */

unsigned linkwatch_read(struct linkwatch *watch, int64_t *ret_again_ms)
{
	unsigned events = read_sleep(watch);
	for (int reads = 0; reads < READS_MAX && read_netlink(watch, &events); reads++)
		;
	int64_t now = clock_now_ms();
	watch->pending |= events;
	*ret_again_ms = CLOCK_NEVER;
	if (watch->pending && now < watch->quiet_until_ms) {
		*ret_again_ms = watch->quiet_until_ms;
		return 0;
	}
	events = watch->pending;
	watch->pending = 0;
	if (events)
		watch->quiet_until_ms = now + BURST_MS;
	return events;
}

static int open_netlink(struct linkwatch *watch)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE |
	                     RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE};
	watch->netlink_fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (watch->netlink_fd < 0)
		return -errno;
	return bind(watch->netlink_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno
	                                                                                 : 0;
}

static int join(struct linkwatch *watch, int fd)
{
	struct epoll_event event = {.events = EPOLLIN};
	return epoll_ctl(watch->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* What there is already is no news: the kernel is asked for all interfaces, and then for all addresses. */
static void learn(struct linkwatch *watch, uint16_t type)
{
	struct {
		struct nlmsghdr header;
		struct rtgenmsg body;
	} request = {.header = {.nlmsg_len = sizeof(request),
			     .nlmsg_type = type,
			     .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
	unsigned ignored = 0;
	/* The kernel answers within send(), but for what does not fit, which comes as it is read. */
	if (send(watch->netlink_fd, &request, sizeof(request), 0) < 0)
		return;
	for (int reads = 0; reads < READS_MAX && read_netlink(watch, &ignored); reads++)
		;
}

static int init(struct linkwatch *watch)
{
	int err = open_netlink(watch);
	if (err < 0)
		return err;
	watch->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	watch->timer_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (watch->epoll_fd < 0 || watch->timer_fd < 0)
		return -errno;
	err = arm_timer(watch);
	if (err == 0)
		err = join(watch, watch->timer_fd);
	return err == 0 ? join(watch, watch->netlink_fd) : err;
}

int linkwatch_create(struct linkwatch **ret)
{
	struct linkwatch *watch = calloc(1, sizeof(*watch));
	if (!watch)
		return -ENOMEM;
	watch->epoll_fd = watch->netlink_fd = watch->timer_fd = -1;
	int err = init(watch);
	if (err < 0) {
		linkwatch_destroy(watch);
		return err;
	}
	watch->asleep_ms = asleep_ms();
	learn(watch, RTM_GETLINK);
	learn(watch, RTM_GETADDR);
	*ret = watch;
	return 0;
}

void linkwatch_destroy(struct linkwatch *watch)
{
	if (!watch)
		return;
	cleanup_close(&watch->epoll_fd);
	cleanup_close(&watch->netlink_fd);
	cleanup_close(&watch->timer_fd);
	free(watch);
}

int linkwatch_fd(const struct linkwatch *watch)
{
	return watch->epoll_fd;
}
