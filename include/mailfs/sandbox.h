/* SPDX-License-Identifier: MIT */
/*
 * What a process that reads strangers' bytes gives up before it reads the first: files (Landlock), system calls (seccomp),
 * capabilities, core files and debuggers. Nothing of it can be taken back. The only user of libseccomp and of Landlock.
 *
 * Landlock holds for the thread that enters and for those it starts afterwards, so a process enters before it has threads. What is open
 * stays usable: files and sockets that are needed are opened first, the more powerful ones not at all.
 */
#ifndef MAILFS_SANDBOX_H
#define MAILFS_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "mailfs/util/str.h"

enum sandbox_access {
	SANDBOX_READ,   /* files, and those below a directory */
	SANDBOX_CHANGE, /* all below a directory: made, read, written, renamed, removed */
	SANDBOX_REMOVE, /* files below a directory can be removed, and nothing else */
	SANDBOX_DEVICE, /* one file, read and written */
};

struct sandbox_path {
	const char *path; /* one that is not there is passed over; symbolic links are followed */
	enum sandbox_access access;
};

struct sandbox_mount {
	const struct sandbox_path *paths;
	size_t path_count;
	uint16_t port; /* the one TCP port that can be connected to */
	bool foreign; /* what is changed may be another user's: root keeps what it needs for that */
	pid_t killable; /* a process that may be killed, beside threads of this one; 0: none */
};

/* Which parts hold; for tests, and for who wants to say it. */
struct sandbox_parts {
	bool files; /* Landlock, with all that is said above */
	bool truncate; /* files that are open for writing only can not be cut where writing is not allowed */
	bool ports;  /* TCP connections to one port only */
	bool scopes; /* no abstract sockets of others */
	bool calls;  /* seccomp */
};

/*
 * Makes this process ready to enter: what libraries load or look up late, they do now. Threads may be started and are joined. Before
 * sandbox_enter_mount(); of use without it, too, because later there may be no descriptor to load with. Blocks: disk.
 */
void sandbox_prepare(void);
/*
 * The sandbox of a mount. missing gets the names of the parts that this kernel lacks, with commas between; what there is holds all the
 * same. ret_parts may be NULL. -ENOMEM, or what the kernel says: the sandbox is not entered, or not wholly. Blocks: disk.
 */
int sandbox_enter_mount(
	const struct sandbox_mount *params, struct sandbox_parts *ret_parts, struct str *missing);
/* That of the herald: it makes and removes names below a directory that it has opened. As above. */
int sandbox_enter_herald(struct sandbox_parts *ret_parts);
/* No debugger of the same user, nobody's look into /proc/PID/mem, no core file. Blocks: never. */
void sandbox_hide_memory(void);

#endif
