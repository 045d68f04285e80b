/* SPDX-License-Identifier: MIT */
/* See inherited.h. Nobody else closes them, so that their numbers stay theirs. */
#include "inherited.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

/* More than these are nobody's mistake. */
#define INHERITED_MAX 1024

static int noted[INHERITED_MAX];
static size_t noted_count;

void inherited_note(void)
{
	DIR *dir = opendir("/proc/self/fd");
	if (!dir)
		return;
	for (struct dirent *entry; noted_count < INHERITED_MAX && (entry = readdir(dir));) {
		int fd = atoi(entry->d_name); /* 0: of "." and "..", too */
		if (fd > STDERR_FILENO && fd != dirfd(dir))
			noted[noted_count++] = fd;
	}
	closedir(dir);
}

void inherited_close(void)
{
	for (size_t i = 0; i < noted_count; i++)
		close(noted[i]);
	noted_count = 0;
}
