/* SPDX-License-Identifier: MIT */
/* See fake.h. */
#include "fake.h"

#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "mailfs/util/cleanup.h"

struct fake fake;

struct tree {
	char dummy;
};
static struct tree the_tree;

/* --- The world --- */

static struct sync_folder *add_folder(const char *path, unsigned flags)
{
	struct sync_folder *folder = &fake.folders[fake.folder_count++];
	folder->path = path;
	folder->mailbox = (struct source_mailbox){.name = path, .delimiter = '/', .flags = flags};
	folder->status.state.folder = 100 + (uint32_t)fake.folder_count;
	folder->status.state.complete = true;
	folder->status.listing = SYNC_LISTING_WHOLE;
	return folder;
}

int fake_create(struct str *why)
{
	struct control_params params = {.tree = &the_tree,
		.account_name = "alice@host:993",
		.source = "imaps://alice@host:993",
		.mountpoint = "/home/alice/Mail"};
	return control_create(&params, &fake.control, why);
}

int fake_setup(void **state)
{
	_cleanup_str_ struct str why = STR_INIT;
	(void)state;
	fake = (struct fake){.says = "", .quirks = "", .usage.limit_bytes = UINT64_MAX};
	pthread_mutex_init(&fake.lock, NULL);
	pthread_mutex_init(&fake.gate, NULL);
	snprintf(fake.home, sizeof(fake.home), "/tmp/mailfs-test-XXXXXX");
	if (!mkdtemp(fake.home))
		return -1;
	setenv("XDG_RUNTIME_DIR", fake.home, 1);
	add_folder("INBOX", 0);
	add_folder("Archive", 0);
	add_folder("Archive/2025", 0);
	add_folder("Shared", SOURCE_MAILBOX_NOSELECT);
	return fake_create(&why);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

int fake_teardown(void **state)
{
	(void)state;
	control_destroy(fake.control);
	free(fake.socket);
	str_finish(&fake.pins);
	nftw(fake.home, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return fake.listener ? -1 : 0;
}

void fake_news(const struct tree_news *news)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&fake.lock);
	if (fake.listener)
		fake.listener(fake.listener_arg, news);
}

void fake_new_message(const char *path)
{
	struct tree_news news = {.kind = TREE_NEWS_NEW,
		.path = path,
		.folder = "INBOX",
		.uid = 4711,
		.flags = "\\Seen"};
	fake_news(&news);
}

/* --- tree --- */

struct sync_account *tree_account(const struct tree *tree)
{
	(void)tree;
	return NULL;
}

void tree_set_listener(struct tree *tree, tree_news_fn *fn, void *arg)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&fake.lock);
	(void)tree;
	fake.listener = fn;
	fake.listener_arg = arg;
}

int tree_set_control(struct tree *tree, const char *path)
{
	(void)tree;
	if (fake.set_control_err)
		return fake.set_control_err;
	free(fake.socket);
	fake.socket = strdup(path);
	return fake.socket ? 0 : -ENOMEM;
}

static bool at_or_below(const char *path, const char *top)
{
	size_t len = strlen(top);
	return len == 0 || (strncmp(path, top, len) == 0 && (!path[len] || path[len] == '/'));
}

/* A message is what has UID.eml as its last component. */
int tree_resolve(struct tree *tree, const char *path, struct tree_place *ret)
{
	(void)tree;
	*ret = (struct tree_place){0};
	if (!*path)
		return 0;
	for (size_t i = 0; i < fake.folder_count; i++) {
		struct sync_folder *folder = &fake.folders[i];
		size_t len = strlen(folder->path);
		unsigned uid = 0;
		int used = 0;
		ret->folder = folder;
		if (strcmp(folder->path, path) == 0)
			return 0;
		if (strncmp(path, folder->path, len) == 0 && path[len] == '/' &&
			sscanf(path + len + 1, "%u.eml%n", &uid, &used) == 1 && used > 0) {
			ret->uid = uid;
			return 0;
		}
	}
	return -ENOENT;
}

int tree_each_folder(struct tree *tree, const char *path, tree_folder_fn *fn, void *arg)
{
	bool any = false;
	(void)tree;
	for (size_t i = 0; i < fake.folder_count; i++) {
		struct sync_folder *folder = &fake.folders[i];
		if (!at_or_below(folder->path, path))
			continue;
		any = true;
		int r = fn(arg, folder->path, folder);
		if (r < 0)
			return r;
	}
	return any ? 0 : -ENOENT;
}

/* --- sync --- */

void sync_account_status(struct sync_account *account, struct sync_status *ret)
{
	(void)account;
	*ret = fake.status;
}

void sync_account_describe(struct sync_account *account, struct str *out, struct str *quirks)
{
	(void)account;
	str_append_cstr(out, fake.says);
	str_append_cstr(quirks, fake.quirks);
}

void sync_account_refresh(struct sync_account *account)
{
	(void)account;
	fake.refreshes++;
}

bool sync_account_is_drop(const struct sync_account *account)
{
	(void)account;
	return fake.drop;
}

int sync_pin(struct sync_folder *folder, uint32_t uid, bool pin)
{
	if (fake.pin_err)
		return fake.pin_err;
	str_printf(&fake.pins, "%s%s/%u ", pin ? "+" : "-", folder->path, uid);
	return 0;
}

int sync_folder_status(struct sync_folder *folder, struct sync_folder_status *ret)
{
	*ret = folder->status;
	return folder->status_err;
}

const struct source_mailbox *sync_folder_mailbox(const struct sync_folder *folder)
{
	return &folder->mailbox;
}

bool sync_folder_is_gone(const struct sync_folder *folder)
{
	return folder->gone;
}

void sync_folder_state(struct sync_folder *folder, struct store_mailbox *ret)
{
	*ret = folder->status.state;
}

/* --- store --- */

void store_usage(struct store *store, struct store_usage *ret)
{
	(void)store;
	*ret = fake.usage;
}

int store_cache_clear(struct store *store, uint64_t *ret_bytes)
{
	(void)store;
	pthread_mutex_lock(&fake.gate);
	pthread_mutex_unlock(&fake.gate);
	*ret_bytes = fake.clear_err ? 0 : 123456789;
	return fake.clear_err;
}

bool store_is_pinned(struct store *store, const char *mailbox, uint32_t folder, uint32_t uid)
{
	(void)store;
	(void)mailbox;
	(void)folder;
	return uid > 0 && fake.message_pinned;
}

int store_pinned_missing(struct store *store, const char *mailbox, uint32_t folder, uint32_t first,
	uint32_t *uids, size_t max, size_t *count)
{
	(void)store;
	(void)mailbox;
	(void)folder;
	*count = fake.missing_uid >= first && max > 0 ? 1 : 0;
	if (*count)
		uids[0] = fake.missing_uid;
	return 0;
}

/* --- A client --- */

int fake_connect(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", fake.socket);
	assert_return_code(connect(fd, (struct sockaddr *)&address, sizeof(address)), errno);
	return fd;
}

void fake_send(int fd, const char *text)
{
	size_t len = strlen(text);
	assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), len);
}

/* Looks first, so that what is behind the line stays in the socket. */
char *fake_line(int fd)
{
	_cleanup_str_ struct str line = STR_INIT;
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	char chunk[4096];
	for (;;) {
		assert_int_equal(poll(&wait, 1, 5000), 1);
		ssize_t n = recv(fd, chunk, sizeof(chunk), MSG_PEEK);
		if (n <= 0)
			return NULL;
		const char *end = memchr(chunk, '\n', (size_t)n);
		size_t len = end ? (size_t)(end - chunk) : (size_t)n;
		str_append(&line, chunk, len);
		assert_int_equal(recv(fd, chunk, len + (end ? 1 : 0), 0), len + (end ? 1 : 0));
		if (end)
			return strdup(str_cstr(&line));
	}
}

json_t *fake_ask(int fd, const char *request)
{
	fake_send(fd, request);
	fake_send(fd, "\n");
	_cleanup_free_ char *line = fake_line(fd);
	assert_non_null(line);
	json_t *answer = json_loads(line, 0, NULL);
	assert_non_null(answer);
	return answer;
}

json_t *fake_ok(const char *request)
{
	_cleanup_close_ int fd = fake_connect();
	json_t *answer = fake_ask(fd, request);
	if (!json_is_true(json_object_get(answer, "ok")))
		fail_msg("%s: %s", request, json_string_value(json_object_get(answer, "error")));
	return answer;
}

void fake_refused(const char *request, const char *code, const char *says)
{
	_cleanup_close_ int fd = fake_connect();
	json_t *answer = fake_ask(fd, request);
	assert_true(json_is_false(json_object_get(answer, "ok")));
	assert_string_equal(json_string_value(json_object_get(answer, "code")), code);
	const char *error = json_string_value(json_object_get(answer, "error"));
	if (!error || !strstr(error, says))
		fail_msg("%s: `%s' lacks `%s'", request, error ? error : "", says);
	json_decref(answer);
}
