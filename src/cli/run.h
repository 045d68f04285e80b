/* SPDX-License-Identifier: MIT */
/* A whole run of mailfs. */
#ifndef CLI_RUN_H
#define CLI_RUN_H

/* Parses, mounts, serves, ends; prints one line for whatever goes wrong. The exit code (exit.h). Blocks: until unmounted. */
int run(int argc, char **argv);

#endif
