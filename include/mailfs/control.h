/* SPDX-License-Identifier: MIT */
/*
 * The way in for mailfsctl: a socket on which a mount tells its state and takes orders. Requests and answers are lines of
 * JSON; src/ARCHITECTURE.md names them. Only the user who mounted (and root) may connect.
 */
#ifndef MAILFS_CONTROL_H
#define MAILFS_CONTROL_H

#include "mailfs/store.h"
#include "mailfs/tree.h"
#include "mailfs/util/str.h"

struct control;

/* The socket alone, for who can not make one later. Nobody is answered there before control_create(). */
struct control_place;
/*
 * Makes the socket, in $XDG_RUNTIME_DIR/mailfs or, without that, in a directory of the user's own in /tmp. A negative errno with one line
 * in why. Blocks: disk.
 */
int control_place_open(struct control_place **ret, struct str *why);
/* The directory that it lies in, from which it is removed at the end. */
const char *control_place_directory(const struct control_place *place);
/* Removes it. NULL is allowed. */
void control_place_close(struct control_place *place);

struct control_params {
	struct tree *tree;        /* borrowed, as its account */
	struct store *store;      /* borrowed */
	const char *account_name; /* for people; copied, as those below */
	const char *source;       /* the address, without a password */
	const char *mountpoint;
	struct control_place *place; /* taken over, also on failure; NULL: one is made */
};

/*
 * Tells the tree the path of the socket (tree_set_control) and starts to serve. At most 32 clients at once; one that reads too slowly is cut off. A negative errno with one
 * line in why. Blocks: disk.
 */
int control_create(const struct control_params *params, struct control **ret, struct str *why);
/* Ends the clients, removes the socket. Before the tree and the account are destroyed. NULL is allowed. Blocks: until its threads have ended, 2 s at most. */
void control_destroy(struct control *control);

#endif
