/* SPDX-License-Identifier: MIT */
/*
 * What the files of control share. One thread (loop.c) owns the clients and does all that they ask for; the only thing that others
 * touch is the queue of news, under control->lock, which is a leaf.
 */
#ifndef CONTROL_PRIVATE_H
#define CONTROL_PRIVATE_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "mailfs/control.h"
#include "mailfs/util/list.h"
#include "mailfs/util/str.h"

#define CLIENTS_MAX       32
#define REQUEST_MAX_BYTES (64 * 1024)
#define QUEUE_MAX_EVENTS  4096          /* that wait for the loop's thread */
#define QUEUE_MAX_BYTES   (1024 * 1024) /* of events that wait for one client: some thousands */
#define IDLE_MS           60000 /* in which a client that watches nothing asks for something */
#define LAST_WORDS_MS     30000 /* in which a client that is cut off may take what is left */

/* --- Where the socket is (place.c) --- */

struct place {
	char *path, *directory;
	int fd; /* listens; -1: not open */
};
/* Makes the directory and the socket in it. Fails as control_create(). Blocks: disk. */
int place_open(struct place *ret, struct str *why);
/* Takes over one that was made early. */
void place_take(struct place *ret, struct control_place *early);
/* Removes the socket. */
void place_close(struct place *place);

/* --- One client (client.c) --- */

struct client {
	int fd; /* -1: a free place */
	struct str in, out;
	size_t sent; /* of out */
	bool watching;
	char *filter; /* of a watching one: the path that it asked for; "" is all */
	bool silent;  /* has said all that it will say, and still listens */
	bool ending;  /* nothing more is done for it: what is in out, then the end */
	int64_t deadline_ms;
};

struct control;
void client_init(struct client *client, int fd);
/* Closes and frees; the place is free then. */
void client_finish(struct client *client);
/* What poll() shall wait for. */
short client_interest(const struct client *client);
/* Reads and writes what can be without waiting, and does what was asked for; finishes a client that has ended. Blocks: disk. */
void client_serve(struct control *control, struct client *client, short revents);
/* Appends an object and a line end; takes it. A client for which there is no memory ends. */
void client_send(struct client *client, json_t *object);
/* For a watching client. Too much waits for it already: one line says so, and it is cut off. */
void client_tell(struct client *client, const char *line, size_t len);
/* The line that ends a watch too slow, and the end. */
void client_overflow(struct client *client);
/* Once it has taken what is in out it is closed; also if it does not take it for long. */
void client_end(struct client *client);
/* Closes it now, if that was all. After what was said to it outside of client_serve(). */
void client_bury(struct client *client);

/* --- What is asked for (command.c) --- */

/* Does what a line asks for, and sends the answer. Blocks: disk. */
void command_run(struct control *control, struct client *client, const char *line, size_t len);

/* --- An answer while it is made (answer.c) --- */

struct answer {
	json_t *root;
	bool failed; /* no memory, once */
};
int answer_init(struct answer *answer);
/*
 * Appends an object, which it takes over, as a line; NULL: there was no memory for it. -ENOMEM: nothing was appended. Into a str, which remembers what it had no
 * memory for: json_dumps() leaves out the name of a member then, and says nothing.
 */
int answer_line(json_t *object, struct str *out);
/* Take value; NULL, or an object of NULL, is remembered as a failure. */
void answer_put(struct answer *answer, json_t *object, const char *key, json_t *value);
void answer_append(struct answer *answer, json_t *array, json_t *value);
void answer_number(struct answer *answer, json_t *object, const char *key, uint64_t number);
/* An object or array that belongs to object from the beginning. */
json_t *answer_object(struct answer *answer, json_t *object, const char *key);
json_t *answer_array(struct answer *answer, json_t *object, const char *key);
/* Text of any origin: what is not UTF-8 becomes U+FFFD. NULL: null. */
json_t *answer_text(const char *text, size_t len);
void answer_string(struct answer *answer, json_t *object, const char *key, const char *text);
/* Wall clock, as ISO 8601 in UTC; 0: null. */
void answer_time(struct answer *answer, json_t *object, const char *key, int64_t time_s);

/* --- The state of all (status.c) --- */

/* The folders at or below a path, collected first, because the tree may not be called meanwhile. */
struct folder_list {
	struct folder_item {
		char *path;
		struct sync_folder *folder;
	} * items;
	size_t count, cap;
};
/* Those that can be selected. -ENOENT: there is no such directory. Blocks: never. */
int folder_list_get(struct control *control, const char *path, struct folder_list *ret);
void folder_list_finish(struct folder_list *list);

const char *status_link_name(enum sync_link link);
/* The account's part of a status, then that of the folders. Blocks: disk. */
void status_account(struct control *control, struct answer *answer);
int status_folders(
	struct control *control, const struct folder_list *folders, struct answer *answer);

/* --- What happens (news.c) --- */

struct news {
	struct list_node node;
	char *line; /* JSON and its line end */
	size_t len;
	char *path, *former; /* for the filters; NULL: concerns all, or not renamed */
};
/* tree_news_fn; arg is the control. Only queues. */
void news_listen(void *arg, const struct tree_news *news);
/* Hands what is queued to the clients that watch it. On the loop's thread. */
void news_deliver(struct control *control);
void news_drop_all(struct control *control);

/* --- The whole (control.c, loop.c) --- */

struct control {
	struct tree *tree;
	struct sync_account *account;
	struct store *store;
	char *account_name, *source, *mountpoint;
	struct place place;
	int wake_fd; /* eventfd: something is queued, or it is the end */
	pthread_t thread;
	bool running;
	struct client clients[CLIENTS_MAX];

	atomic_uint watchers; /* 0: nothing needs to be queued */
	atomic_bool stopping;
	pthread_mutex_t lock;
	struct list_node queue;   /* lock */
	size_t queued;            /* lock */
	bool flooded;             /* lock: some did not fit */
	enum sync_link link_told; /* lock */
};

void *loop_main(void *arg);
/* Whether anybody watches, for those who queue. On the loop's thread, after each change. */
void loop_count_watchers(struct control *control);
/* Any thread. Blocks: never. */
void loop_wake(struct control *control);

#endif
