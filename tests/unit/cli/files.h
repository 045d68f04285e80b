/* SPDX-License-Identifier: MIT */
/* A private directory for tests that need files with permissions. */
#ifndef TEST_CLI_FILES_H
#define TEST_CLI_FILES_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char files_directory[64];
static char files_path[128];

static inline int files_setup(void **state)
{
	(void)state;
	umask(022);
	strcpy(files_directory, "/tmp/mailfs-cli-XXXXXX");
	return mkdtemp(files_directory) ? 0 : -1;
}

/* The path of a file of the directory; valid until the next call. */
static inline const char *files_at(const char *name)
{
	snprintf(files_path, sizeof(files_path), "%s/%s", files_directory, name);
	return files_path;
}

static inline const char *files_make(const char *name, const char *text, size_t len, mode_t mode)
{
	remove(files_at(name)); /* it may belong to another user */
	int fd = open(files_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, len) != (ssize_t)len || fchmod(fd, mode) < 0)
		abort();
	close(fd);
	return files_path;
}

static inline int files_teardown(void **state)
{
	static const char *const names[] = {
		"config", "netrc", "secret", "link", "fifo", "sub/x", "sub"};
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		remove(files_at(names[i]));
	return rmdir(files_directory);
}

#endif
