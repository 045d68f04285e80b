/* SPDX-License-Identifier: MIT */
/*
 * inotify hears of what is made and taken away through the mount, and of nothing that a file system
 * does by itself; FUSE's protocol has no notification for it. So a process, the herald, does again
 * what has happened elsewhere: for a new message mknod() in the folder's directory, for a new
 * folder mkdir(), for one that is gone unlink() or rmdir(). That is a LOOKUP and a request for us.
 * If they are the herald's and about the name that it was asked to announce, they are answered so
 * that the kernel finds nothing wrong (announce.c), and it tells whoever waits: IN_CREATE,
 * IN_DELETE. It forgets its copy of the directory, too, so that who looks finds the change in it.
 * Everybody else's requests are refused as ever. What is announced lies in the mail tree, not in
 * the view.
 *
 * What is new. The LOOKUP is answered "no such name" (also where the kernel knows the name: who is to
 * make one asks anew, since Linux 5.14; before that, a name that was looked at already is not
 * announced), the other with what is there.
 *
 * What is gone. The kernel has forgotten the entry by then (notify.c), and asks. The LOOKUP is answered
 * with what was there: its number, generation and attributes, for that request alone (no time-out).
 * The kernel finds the inode that it had, if it still has it: a file that is open stays what it is,
 * and its reader reads on; a directory that somebody is in becomes a dead one. Nobody else finds the
 * name meanwhile: a dentry without a time-out is asked for again by whoever comes upon it, and that
 * one is told that there is no such name. UNLINK and RMDIR are answered with success, and nothing is
 * done. If the name is there again, both are refused: they would be about the new one. A directory
 * that comes back has another generation, so that it is never taken for the dead one. What lies in a
 * directory that is gone, too, is not announced.
 *
 * The kernel refuses before we are asked where the mount is read-only (ro), and where it checks
 * permissions itself (allow_other) and the directories have no w for who started mailfs (umask=);
 * and to remove a directory on which something is mounted. And we do not know the herald where the
 * kernel names it by the pid of another namespace. Then nothing is told.
 *
 * Why a process. Whoever makes a name waits inside the kernel for our answer, and can not be
 * killed as long as we have the request. If it were a thread of ours, or had our descriptor of
 * /dev/fuse, a mailfs that is killed could not end: only the closing of that descriptor fails the
 * request, it is closed when the last one that has it has ended, and that one waits for the
 * request. So the herald is forked before there is a descriptor, and has nothing of us but a
 * socket. Nor does it trust us, who read what strangers send: it knows the mount point from before, does
 * nothing that is not below, and can do nothing else (mailfs/sandbox.h).
 *
 * Who waits for whom. The herald waits for FUSE threads, and for locks: of the directory, and for
 * what is gone also of that itself (the kernel takes both, the outer first, as everybody does). FUSE
 * threads wait for nothing here: all answers are given at once (a lookup for MKNOD or MKDIR never
 * waits for the network), under locks that are held for a few instructions. Who has one of those
 * locks while he waits for the network: a lookup, or a reading of that very directory. Each counts
 * while it waits, and nothing is announced that takes the same lock (notify_hold); a lookup that
 * comes while the herald may be waiting for that lock lets go of it. Only a reading that begins to
 * wait in the 0.1 ms of an announcement keeps the herald waiting, for no longer than its own
 * time-out. Of a folder that is gone nobody waits for long: sync fails whoever did. To remove a
 * directory the kernel also drops what it knows below it (d_invalidate, shrink_dcache_parent), which
 * sends us FORGETs that nobody waits for, and may wait for pages that are being read: these reads
 * wait for sync, never for the herald. That was done once before, when the entry was forgotten.
 *
 * The notifier waits for the herald, for nobody else while it does, and not for longer than
 * HERALD_ANSWER_MS; then it lets the name be, goes on with what the kernel is to forget, and looks at
 * times whether the herald has answered. Nobody waits for the notifier. It asks the kernel to forget
 * a name, which takes the lock of the directory, when the herald has answered, and so does not hold
 * that lock. (Only behind a herald that is late do the two meet; what makes it late is that somebody
 * else has the lock, or that it is stopped.) So, whatever ends:
 *
 *   herald killed     Its request is answered into the void. The socket says that it is gone: no
 *                     more events.
 *   herald stopped    It never stops inside the kernel, so it has no lock. The notifier goes on
 *                     after HERALD_ANSWER_MS, and kills it when its patience is over, because it
 *                     may have the directory open, and then nobody can unmount.
 *   mailfs killed     No thread of ours waits inside the kernel for the herald: all end, /dev/fuse
 *                     is closed, the herald's request fails, and it dies with us
 *                     (PR_SET_PDEATHSIG; else by the end of the socket).
 *   unmounted         The mount is busy while the herald is in it, which is for some 0.1 ms. A
 *                     herald that comes later finds another device or directory there, and changes
 *                     nothing (herald_main.c).
 *   mailfs ends       The notifier is made quiet while requests are still served. What the herald
 *                     asks after that is read by nobody; so it is killed before anybody is waited
 *                     for, and the kernel takes back a request that was not read.
 */
#include "herald.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"
#include "mailfs/util/process.h"

/* --- Life --- */

struct start {
	const char *mountpoint;
	bool sandbox;
};

static void run(void *arg, int fd, pid_t starter)
{
	const struct start *start = arg;
	herald_main(fd, starter, start->mountpoint, start->sandbox);
}

int fs_herald_start(const char *mountpoint, bool sandbox, struct fs_herald **ret)
{
	_cleanup_free_ struct fs_herald *herald = calloc(1, sizeof(*herald));
	if (!herald)
		return -ENOMEM;
	struct start start = {mountpoint, sandbox};
	int r = process_start(run, &start, &herald->pid, &herald->fd);
	if (r < 0)
		return r;
	pthread_mutex_init(&herald->lock, NULL);
	*ret = steal_ptr(herald);
	return 0;
}

pid_t fs_herald_pid(const struct fs_herald *herald)
{
	return herald ? herald->pid : 0;
}

void fs_herald_stop(struct fs_herald *herald)
{
	if (!herald)
		return;
	herald_kill(herald);
	close(herald->fd);
	process_reap(herald->pid);
	pthread_mutex_destroy(&herald->lock);
	free(herald);
}

/* As seen from the directory above; the mount itself is not asked, which serves nobody yet. */
static int mount_device(const char *mountpoint, uint64_t *ret)
{
	struct statx stx;
	if (statx(AT_FDCWD, mountpoint, AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, 0, &stx) < 0)
		return -errno;
	if (!(stx.stx_attributes & STATX_ATTR_MOUNT_ROOT))
		return -ENODEV;
	*ret = herald_device(stx.stx_dev_major, stx.stx_dev_minor);
	return 0;
}

int herald_attach(
	struct fs_herald *herald, struct tree *tree, const char *mountpoint, int patience_ms)
{
	if (!herald)
		return 0;
	int r = mount_device(mountpoint, &herald->device);
	if (r < 0)
		return r;
	herald->patience_ms = patience_ms;
	herald->tree = tree;
	atomic_store(&herald->there, true);
	return 0;
}

void herald_kill(struct fs_herald *herald)
{
	if (!herald)
		return;
	atomic_store(&herald->there, false);
	kill(herald->pid, SIGKILL); /* not waited for yet, so the pid is its own */
}

bool herald_is_there(struct fs_herald *herald)
{
	return herald && atomic_load(&herald->there);
}

bool herald_is_late(struct fs_herald *herald)
{
	return herald_is_there(herald) && herald->asked;
}

static void give_up(struct fs_herald *herald, const char *why)
{
	bool unexpected = atomic_load(&herald->there);
	herald_kill(herald);
	if (unexpected)
		log_info("the herald %s: inotify is not told of changes any more", why);
}

/* --- What is being announced --- */

static void set_event(struct fs_herald *herald, const struct herald_event *event)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&herald->lock);
	herald->announcing = true;
	herald->looked = false;
	herald->kind = event->kind;
	herald->parent = event->parent;
	herald->node = event->node;
	memcpy(herald->name, event->name, strlen(event->name) + 1);
}

static void clear_event(struct fs_herald *herald)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&herald->lock);
	herald->announcing = false;
}

bool herald_announces(struct fs_herald *herald, pid_t pid, uint64_t parent, const char *name,
	struct herald_event *ret)
{
	if (!herald || pid != herald->pid)
		return false;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&herald->lock);
	if (!herald->announcing || herald->parent != parent || strcmp(herald->name, name) != 0)
		return false;
	*ret = (struct herald_event){herald->kind, parent, herald->node, name};
	return true;
}

void herald_show(struct fs_herald *herald)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&herald->lock);
	herald->looked = true;
}

bool herald_was_shown(struct fs_herald *herald)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&herald->lock);
	return herald->looked;
}

/* --- Order and answer --- */

static void heard(struct fs_herald *herald, int32_t answer)
{
	herald->asked = false;
	clear_event(herald);
	herald->answer = answer;
	if (answer < 0)
		log_debug("inotify: %s: %s", herald->name, strerror(-answer));
}

/* Looks for the answer for so long. */
static void hear(struct fs_herald *herald, int timeout_ms)
{
	struct pollfd poll_fd = {.fd = herald->fd, .events = POLLIN};
	int32_t answer;
	if (poll(&poll_fd, 1, timeout_ms) <= 0) {
		if (clock_now_ms() - herald->asked_ms > herald->patience_ms)
			give_up(herald, "does not answer");
		return;
	}
	ssize_t n = recv(herald->fd, &answer, sizeof(answer), MSG_DONTWAIT);
	if (n == sizeof(answer))
		heard(herald, answer);
	else
		give_up(herald, "has ended");
}

bool herald_ready(struct fs_herald *herald)
{
	if (!herald_is_there(herald))
		return false;
	if (herald->asked)
		hear(herald, 0);
	return !herald->asked && herald_is_there(herald);
}

static int compose(struct fs_herald *herald, const struct herald_event *event, struct str *ret)
{
	_cleanup_str_ struct str path = STR_INIT;
	struct herald_order order = {
		.device = herald->device, .directory = event->parent, .kind = event->kind};
	int r = tree_directory_path(herald->tree, event->parent, &path);
	if (r < 0)
		return r;
	str_append(ret, &order, sizeof(order));
	str_append_cstr(ret, path.len ? path.data : ".");
	str_putc(ret, 0);
	str_append(ret, event->name, strlen(event->name) + 1);
	r = str_error(ret);
	return r == 0 && ret->len > HERALD_ORDER_MAX ? -ENAMETOOLONG : r;
}

int herald_announce(struct fs_herald *herald, const struct herald_event *event)
{
	_cleanup_str_ struct str order = STR_INIT;
	int r = strlen(event->name) > NAME_MAX ? -ENAMETOOLONG : compose(herald, event, &order);
	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	set_event(herald, event);
	if (send(herald->fd, order.data, order.len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		give_up(herald, "has ended");
		return -EPIPE;
	}
	herald->asked = true;
	herald->asked_ms = clock_now_ms();
	hear(herald, HERALD_ANSWER_MS);
	return herald->asked ? -EINPROGRESS : herald->answer;
}
