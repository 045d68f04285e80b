/* SPDX-License-Identifier: MIT */
/* What is to be mounted, and how: the address, the account's section and the options, made one. */
#ifndef CLI_SETTINGS_H
#define CLI_SETTINGS_H

#include "args.h"
#include "mailfs/mime.h"
#include "mailfs/net.h"
#include "options.h"
#include "url.h"

struct settings {
	struct options options;
	struct url url;
	enum net_tls tls;
	uint16_t port;
	char *fsname;                     /* what mount shows */
	struct mime_name_template *names; /* NULL: the default */
};

/*
 * Reads the config file if the source is an account's name, applies the options of the command line over it, and
 * settles what depends on both. A negative errno, and why says in one line what is wrong. Blocks: disk.
 */
int settings_load(const struct args *args, struct settings *ret, struct str *why);
void settings_finish(struct settings *settings);

/* Whether a host is this machine, by its name or address alone. Blocks: never. */
bool settings_is_loopback(const char *host);

#endif
