/* SPDX-License-Identifier: MIT */
/* SIGINT, SIGTERM and SIGHUP end the loop of the one session of this process. */
#ifndef MAILFS_FS_SIGNALS_H
#define MAILFS_FS_SIGNALS_H

struct fs;

/* From now on a signal ends the loop, or keeps it from beginning. -EAGAIN, -ENOMEM. */
int signals_init(struct fs *fs);
/* The calling thread begins, or has ended, the loop. */
void signals_loop_begin(void);
void signals_loop_end(void);
/* Restores what was before. */
void signals_finish(void);

#endif
