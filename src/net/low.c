/* SPDX-License-Identifier: MIT */
/*
 * The libetpan low stream over a pair of functions. libetpan never sees the socket: it has no descriptor
 * to select() on, and its idle and cancel calls do nothing here, because the owner of the pair has its own.
 */
#include <libetpan/mailstream_low.h>
#include <limits.h>
#include <stdlib.h>

#include "mailfs/net.h"

struct low {
	struct net_low_ops ops;
	void *arg;
};

/* libetpan takes 0 for "try again", for ever: the end is always -1. */
static ssize_t driver_read(mailstream_low *base, void *buf, size_t cap)
{
	struct low *low = base->data;
	ssize_t n = low->ops.read(low->arg, buf, cap);
	return n > 0 ? n : -1;
}

static ssize_t driver_write(mailstream_low *base, const void *data, size_t len)
{
	struct low *low = base->data;
	if (len > SSIZE_MAX)
		len = SSIZE_MAX;
	return low->ops.write(low->arg, data, len) < 0 ? -1 : (ssize_t)len;
}

static int driver_close(mailstream_low *base)
{
	(void)base;
	return 0;
}

static int driver_get_fd(mailstream_low *base)
{
	(void)base;
	return -1;
}

static void driver_free(mailstream_low *base)
{
	free(base->data);
	free(base);
}

static void driver_cancel(mailstream_low *base)
{
	(void)base;
}

static struct mailstream_cancel *driver_get_cancel(mailstream_low *base)
{
	(void)base;
	return NULL;
}

static carray *driver_get_certificate_chain(mailstream_low *base)
{
	(void)base;
	return NULL;
}

static int driver_no_idle(mailstream_low *base)
{
	(void)base;
	return -1;
}

/* Not const, because mailstream_low_new() does not take it so; nothing writes to it. */
static mailstream_low_driver driver = {
	.mailstream_read = driver_read,
	.mailstream_write = driver_write,
	.mailstream_close = driver_close,
	.mailstream_get_fd = driver_get_fd,
	.mailstream_free = driver_free,
	.mailstream_cancel = driver_cancel,
	.mailstream_get_cancel = driver_get_cancel,
	.mailstream_get_certificate_chain = driver_get_certificate_chain,
	.mailstream_setup_idle = driver_no_idle,
	.mailstream_unsetup_idle = driver_no_idle,
	.mailstream_interrupt_idle = driver_no_idle,
};

mailstream_low *net_low_create(const struct net_low_ops *ops, void *arg)
{
	struct low *low = malloc(sizeof(*low));
	if (!low)
		return NULL;
	*low = (struct low){*ops, arg};
	mailstream_low *base = mailstream_low_new(low, &driver);
	if (!base)
		free(low);
	return base;
}
