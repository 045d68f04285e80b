/* SPDX-License-Identifier: MIT */
/*
 * The order in which a process gives up what it can do: first what could bring it back (privileges through exec), then capabilities, then
 * files, and system calls last, because the filter would not let the others through.
 */
#include "mailfs/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "private.h"

static void *leave(void *arg)
{
	pthread_exit(arg);
}

void sandbox_prepare(void)
{
	pthread_t thread;

	tzset();
	/* Whoever ends a thread before its time (libfuse does) needs a library, which the C library loads when it is first needed. */
	if (pthread_create(&thread, NULL, leave, NULL) == 0)
		pthread_join(thread, NULL);
}

void sandbox_hide_memory(void)
{
	prctl(PR_SET_DUMPABLE, 0);
}

/*
 * What a mount by root keeps of its capabilities: to pass and to read what is another user's, as the directories above a store, and the
 * authorities of tls_ca=. All that it changes lies in its store, which is root's own, so it needs none for writing.
 */
#define CAPABILITIES_MOUNT (1U << CAP_DAC_READ_SEARCH)

/* A cache may be another user's all the same: to write there, and to give files their modes (0600). */
#define CAPABILITIES_FOREIGN (1U << CAP_DAC_OVERRIDE | 1U << CAP_FOWNER)

/* The herald: names are made and removed in directories of the mount, which may be another user's (uid=) and closed to root. */
#define CAPABILITIES_HERALD (1U << CAP_DAC_OVERRIDE)

/* All others go: mounting, raw sockets, routes, other processes, owners and modes. Whoever is not root has none anyway. */
static int drop_capabilities(uint32_t kept)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= i == 0 ? kept : 0;
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int begin(uint32_t capabilities)
{
	sandbox_hide_memory();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return drop_capabilities(capabilities);
}

static void append_missing(struct str *missing, bool is_there, const char *name)
{
	if (is_there)
		return;
	if (missing->len > 0)
		str_append_cstr(missing, ", ");
	str_append_cstr(missing, name);
}

void sandbox_tell_missing(const struct sandbox_parts *parts, struct str *missing)
{
	append_missing(missing, parts->calls,
		SANDBOX_FILTERS_CALLS ? "seccomp (system calls)"
				      : "seccomp (system calls; only on 64-bit machines)");
	append_missing(missing, parts->files, "Landlock (files)");
	if (!parts->files)
		return;
	append_missing(missing, parts->truncate, "Landlock ABI 3 (truncation)");
	append_missing(missing, parts->ports, "Landlock ABI 4 (TCP ports)");
	/* Without a kind of socket that could reach one it does not matter. */
	append_missing(missing, parts->scopes || parts->calls, "Landlock ABI 6 (abstract sockets)");
}

int sandbox_enter_mount(
	const struct sandbox_mount *params, struct sandbox_parts *ret_parts, struct str *missing)
{
	struct sandbox_parts parts = {0};

	int r = begin(CAPABILITIES_MOUNT | (params->foreign ? CAPABILITIES_FOREIGN : 0));
	if (r == 0)
		r = landlock_enter(params, &parts);
	if (r == 0)
		r = calls_enter_mount(params, &parts);
	sandbox_tell_missing(&parts, missing);
	if (ret_parts)
		*ret_parts = parts;
	return r;
}

int sandbox_enter_herald(struct sandbox_parts *ret_parts)
{
	struct sandbox_parts parts = {0};

	int r = begin(CAPABILITIES_HERALD);
	if (r == 0)
		r = landlock_enter(NULL, &parts);
	if (r == 0)
		r = calls_enter_herald(&parts);
	if (ret_parts)
		*ret_parts = parts;
	return r;
}
