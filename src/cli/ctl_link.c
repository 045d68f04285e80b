/* SPDX-License-Identifier: MIT */
/* What is read is bounded, for the other end is a process that may be somebody else's (root asks, or allow_other). */
#include "ctl_link.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"

#define CHUNK_BYTES    65536
#define LINE_MAX_BYTES (256 * 1024 * 1024) /* the state of a million folders */
#define ANSWER_MS      120000              /* a full cache that is cleared takes its time */

void ctl_link_close(struct ctl_link *link)
{
	cleanup_close(&link->fd);
	link->fd = -1;
	str_finish(&link->in);
	link->used = 0;
}

static int fail_connect(struct str *why, const char *root, int err)
{
	bool gone = err == ECONNREFUSED || err == ENOENT;
	str_printf(why, "%s: can not reach its mailfs: %s%s", root, strerror(err),
		gone ? "; it is gone, or is just ending"
		: err == EACCES || err == EPERM
			? "; only the user who mounted it, and root, may ask"
			: "");
	return gone ? CTL_EXIT_MOUNT : CTL_EXIT_FAILED;
}

int ctl_link_open(struct ctl_link *link, const char *socket_path, const char *root, struct str *why)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return fail_connect(why, root, errno);
	if (strlen(socket_path) >= sizeof(address.sun_path))
		return fail_connect(why, root, ENAMETOOLONG);
	memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return fail_connect(why, root, errno);
	link->fd = steal_fd(&fd);
	return CTL_EXIT_OK;
}

/* --- Lines --- */

static void forget_used(struct ctl_link *link)
{
	if (link->used == 0)
		return;
	memmove(link->in.data, link->in.data + link->used, link->in.len - link->used);
	str_truncate(&link->in, link->in.len - link->used);
	link->used = 0;
}

/* Waits until something can be read. */
static int wait_readable(const struct ctl_link *link, int64_t deadline_ms, int stdout_fd)
{
	/* No events: an error only, which is that nobody reads the other end of a pipe. */
	struct pollfd fds[] = {{.fd = link->fd, .events = POLLIN}, {.fd = stdout_fd}};
	int n = poll(fds, 2, clock_left_ms(deadline_ms));
	if (n < 0)
		return -errno;
	if (n == 0)
		return -ETIMEDOUT;
	return fds[1].revents & POLLERR ? -ENOTCONN : 0;
}

static int read_some(struct ctl_link *link)
{
	if (str_reserve(&link->in, CHUNK_BYTES) < 0)
		return -ENOMEM;
	ssize_t n = recv(link->fd, link->in.data + link->in.len, CHUNK_BYTES, 0);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	if (n == 0)
		return -EPIPE;
	link->in.len += (size_t)n;
	link->in.data[link->in.len] = 0;
	return 0;
}

int ctl_link_line(struct ctl_link *link, int64_t deadline_ms, int stdout_fd, const char **ret)
{
	size_t looked = 0;
	forget_used(link);
	for (;;) {
		struct str *in = &link->in;
		char *end =
			in->len > looked ? memchr(in->data + looked, '\n', in->len - looked) : NULL;
		if (end) {
			*end = 0;
			link->used = (size_t)(end - in->data) + 1;
			*ret = in->data;
			return 0;
		}
		if (in->len > LINE_MAX_BYTES)
			return -EMSGSIZE;
		looked = in->len;
		int r = wait_readable(link, deadline_ms, stdout_fd);
		if (r == 0)
			r = read_some(link);
		if (r < 0)
			return r;
	}
}

/* --- Question and answer --- */

static int send_line(struct ctl_link *link, const char *command, const char *path)
{
	_cleanup_str_ struct str line = STR_INIT;
	json_t *request = json_pack("{s:s, s:s}", "command", command, "path", path);
	char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;

	json_decref(request);
	if (!text)
		return -EILSEQ; /* path is no UTF-8, and so none of a mount's */
	str_append_cstr(&line, text);
	str_putc(&line, '\n');
	free(text);
	for (size_t sent = 0; sent < line.len;) {
		ssize_t n = send(link->fd, line.data + sent, line.len - sent, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			return errno == ECONNRESET ? -EPIPE : -errno;
		sent += n > 0 ? (size_t)n : 0;
	}
	return str_error(&line);
}

static int fail_talk(struct str *why, const char *command, int err)
{
	if (err == -EINTR)
		return err;
	if (err == -EPIPE) {
		str_printf(why, "%s: the mount has ended", command);
		return CTL_EXIT_MOUNT;
	}
	str_printf(why, "%s: no answer from mailfs: %s", command, strerror(-err));
	return CTL_EXIT_FAILED;
}

static int judge(struct str *why, const char *command, const char *path, const json_t *answer)
{
	const char *error = json_string_value(json_object_get(answer, "error"));
	if (json_is_true(json_object_get(answer, "ok")))
		return CTL_EXIT_OK;
	str_printf(
		why, "%s %s: %s", command, *path ? path : "/", error ? error : "no reason given");
	return CTL_EXIT_FAILED;
}

int ctl_link_ask(
	struct ctl_link *link, const char *command, const char *path, json_t **ret, struct str *why)
{
	const char *line;
	int r = send_line(link, command, path);
	/* Also when it could not be sent: who is turned away is told so. */
	if (r == 0 || r == -EPIPE)
		r = ctl_link_line(link, clock_now_ms() + ANSWER_MS, -1, &line);
	if (r < 0)
		return fail_talk(why, command, r);
	json_t *answer = json_loads(line, 0, NULL);
	int code = judge(why, command, path, answer);
	if (code == CTL_EXIT_OK && ret)
		*ret = answer;
	else
		json_decref(answer);
	return code;
}
