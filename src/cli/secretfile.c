/* SPDX-License-Identifier: MIT */
/* The permissions are those of the open file, not of the path: nothing can be swapped in between. */
#include "secretfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/secret.h"

void secretfile_finish(struct secretfile *file)
{
	if (file->text)
		secret_wipe(file->text, file->cap);
	free(file->text);
	*file = (struct secretfile){0};
}

static int fail(struct str *why, const char *path, int err, const char *reason)
{
	str_printf(why, "%s: %s", path, reason);
	return err;
}

static int check(int fd, const char *path, struct secretfile *file, struct str *why)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fail(why, path, -errno, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return fail(why, path, -EACCES,
			"not a regular file; passwords are read from those only");
	if (st.st_size > SECRETFILE_MAX_BYTES)
		return fail(why, path, -EFBIG, "too large for a file of passwords");
	file->mode = st.st_mode & 07777;
	file->foreign = st.st_uid != geteuid();
	file->exposed = file->foreign || (st.st_mode & (S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH));
	return 0;
}

static int read_all(int fd, const char *path, struct secretfile *file, struct str *why)
{
	file->cap = SECRETFILE_MAX_BYTES + 1;
	file->text = calloc(1, file->cap);
	if (!file->text)
		return fail(why, path, -ENOMEM, strerror(ENOMEM));
	while (file->len + 1 < file->cap) {
		ssize_t n = read(fd, file->text + file->len, file->cap - 1 - file->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(why, path, -errno, strerror(errno));
		if (n == 0)
			return 0;
		file->len += (size_t)n;
	}
	return 0;
}

int secretfile_read(const char *path, struct secretfile *ret, struct str *why)
{
	__attribute__((cleanup(secretfile_finish))) struct secretfile file = {0};
	/* O_NONBLOCK: opening a fifo must not wait for a writer. */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return fail(why, path, -errno, strerror(errno));
	int r = check(fd, path, &file, why);
	if (r == 0)
		r = read_all(fd, path, &file, why);
	if (r < 0)
		return r;
	*ret = file;
	file = (struct secretfile){0};
	return 0;
}

int secretfile_refuse(const char *path, const struct secretfile *file, struct str *why)
{
	if (file->foreign) {
		str_printf(why, "%s: refused, because it belongs to another user", path);
		return -EACCES;
	}
	str_printf(why,
		"%s: refused, because others can read or change it (mode %04o); chmod 600 %s", path,
		file->mode, path);
	return -EACCES;
}
