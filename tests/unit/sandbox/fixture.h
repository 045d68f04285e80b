/* SPDX-License-Identifier: MIT */
/* Things tried in a child that is in the sandbox: it can not be left again. */
#ifndef TEST_SANDBOX_FIXTURE_H
#define TEST_SANDBOX_FIXTURE_H

#include <sys/types.h>

#include "mailfs/sandbox.h"

/* Tries something: 0, or a positive errno. */
typedef int attempt_fn(void);

struct scene {
	char root[64]; /* everything lies below */
	char store
		[80]; /* SANDBOX_CHANGE; in it `foreign', another user's if root makes the scene */
	char shown[80];   /* SANDBOX_READ; in it `closed', likewise, with a file */
	char sockets[80]; /* SANDBOX_REMOVE */
	char outside[80]; /* nothing is allowed here */
	int port, other;  /* of two listeners on loopback; port is the one that is allowed */
	int listener[2];  /* their descriptors */
	int abstract;     /* listens on an abstract name */
	int client;       /* a local socket that is not connected, made before the sandbox */
	pid_t killable, bystander;
};
extern struct scene scene;

void scene_begin(void);
void scene_end(void);
/* A path below a directory of the scene; static memory, four at a time. */
const char *at(const char *directory, const char *name);

/* What the kernel of this machine has. */
struct sandbox_parts parts_here(void);
/* What attempt gives in the sandbox of a mount; of one whose store is another user's; of the herald; in none. */
int in_mount(attempt_fn *attempt);
int in_mount_foreign(attempt_fn *attempt);
int in_herald(attempt_fn *attempt);
int in_none(attempt_fn *attempt);

/* 0 or errno, of a call that returns -1 on failure. */
int told(long result);

#endif
