/* SPDX-License-Identifier: MIT */
/* The beginning and the end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/thread.h"

#include "private.h"

static struct control *control_new(const struct control_params *params)
{
	struct control *control = calloc(1, sizeof(*control));
	if (!control)
		return NULL;
	pthread_mutex_init(&control->lock, NULL);
	list_init(&control->queue);
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		control->clients[i].fd = -1;
	control->place.fd = control->wake_fd = -1;
	if (params->place)
		place_take(&control->place, params->place);
	control->tree = params->tree;
	control->account = tree_account(params->tree);
	control->store = params->store;
	control->account_name = strdup(params->account_name);
	control->source = strdup(params->source);
	control->mountpoint = strdup(params->mountpoint);
	return control;
}

static int prepare(struct control *control, struct str *why)
{
	struct sync_status status;
	if (!control->account_name || !control->source || !control->mountpoint)
		return -ENOMEM;
	sync_account_status(control->account, &status);
	control->link_told = status.link;
	control->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (control->wake_fd < 0)
		return -errno;
	int r = control->place.fd >= 0 ? 0 : place_open(&control->place, why);
	if (r == 0)
		r = thread_start(&control->thread, loop_main, control);
	control->running = r == 0;
	return r;
}

int control_create(const struct control_params *params, struct control **ret, struct str *why)
{
	struct control *control = control_new(params);
	if (!control) {
		control_place_close(params->place);
		return -ENOMEM;
	}
	int r = prepare(control, why);
	if (r == 0) {
		tree_set_listener(control->tree, news_listen, control);
		r = tree_set_control(control->tree, control->place.path);
	}
	if (r < 0) {
		if (why->len == 0)
			str_append_cstr(why, strerror(-r));
		control_destroy(control);
		return r;
	}
	*ret = control;
	return 0;
}

void control_destroy(struct control *control)
{
	if (!control)
		return;
	tree_set_listener(control->tree, NULL, NULL);
	atomic_store(&control->stopping, true);
	if (control->running) {
		loop_wake(control);
		pthread_join(control->thread, NULL);
	}
	/* First, so that a client whose connection ends finds out why: there is nobody any more. */
	place_close(&control->place);
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (control->clients[i].fd >= 0)
			client_finish(&control->clients[i]);
	cleanup_close(&control->wake_fd);
	news_drop_all(control);
	pthread_mutex_destroy(&control->lock);
	free(control->account_name);
	free(control->source);
	free(control->mountpoint);
	free(control);
}
