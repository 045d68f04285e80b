/* SPDX-License-Identifier: MIT */
/*
 * libfuse's own handlers only set a flag, and the loop sees it when its thread is interrupted: not
 * when the signal happened to be taken by another thread, and not when it came just before the loop
 * went to sleep. So the handler only posts a semaphore, and a thread does the rest: it lets the
 * notifications come to an end while requests are still served (one that waits in the kernel for a
 * request nobody reads any more would never return), ends the session, and interrupts the loop
 * until it has noticed.
 */
#include "signals.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <time.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/thread.h"

#include "private.h"

#define QUIESCE_MS 1000
#define KICK_MS    20

static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
#define ENDING (sizeof(ending) / sizeof(ending[0]))

static struct {
	struct fs *fs;
	sem_t arrived;
	struct sigaction old[ENDING];
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_t loop;
	bool looping, finish;
} signals = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void handler(int signal)
{
	int saved = errno;
	(void)signal;
	sem_post(&signals.arrived);
	errno = saved;
}

static bool finishing(void)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&signals.lock);
	return signals.finish;
}

/* Interrupts the loop's sleep; false: there is no loop (any more). */
static bool kick(void)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&signals.lock);
	if (signals.looping)
		pthread_kill(signals.loop, SIGTERM);
	return signals.looping;
}

static void *signals_main(void *arg)
{
	struct fs *fs = arg;
	const struct timespec pause = {.tv_nsec = KICK_MS * 1000000L};
	while (sem_wait(&signals.arrived) < 0)
		;
	if (finishing())
		return NULL;
	notify_quiesce(&fs->notify, QUIESCE_MS);
	fuse_session_exit(fs->session);
	while (kick())
		nanosleep(&pause, NULL);
	return NULL;
}

static void restore(size_t count)
{
	for (size_t i = 0; i < count; i++)
		sigaction(ending[i], &signals.old[i], NULL);
}

/* A signal that is ignored (nohup) stays so, but for SIGTERM, which interrupts the loop. */
static void set_handlers(void)
{
	struct sigaction action = {.sa_handler = handler};
	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < ENDING; i++) {
		sigaction(ending[i], NULL, &signals.old[i]);
		if (signals.old[i].sa_handler != SIG_IGN || ending[i] == SIGTERM)
			sigaction(ending[i], &action, NULL);
	}
}

int signals_init(struct fs *fs)
{
	signals.fs = fs;
	signals.looping = signals.finish = false;
	sem_init(&signals.arrived, 0, 0);
	int r = thread_start(&signals.thread, signals_main, fs);
	if (r == 0)
		set_handlers();
	return r;
}

void signals_loop_begin(void)
{
	sigset_t mine;
	sigemptyset(&mine);
	for (size_t i = 0; i < ENDING; i++)
		sigaddset(&mine, ending[i]);
	pthread_sigmask(SIG_UNBLOCK, &mine, NULL);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&signals.lock);
	signals.loop = pthread_self();
	signals.looping = true;
}

void signals_loop_end(void)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&signals.lock);
	signals.looping = false;
}

void signals_finish(void)
{
	pthread_mutex_lock(&signals.lock);
	signals.finish = true;
	pthread_mutex_unlock(&signals.lock);
	sem_post(&signals.arrived);
	pthread_join(signals.thread, NULL);
	restore(ENDING);
	sem_destroy(&signals.arrived);
}
