/* SPDX-License-Identifier: MIT */
/* The exit codes of mailfs, as mailfs(1) documents them: scripts rely on the numbers. */
#ifndef CLI_EXIT_H
#define CLI_EXIT_H

enum exit_code {
	EXIT_CODE_OK = 0,
	EXIT_CODE_USAGE = 1,   /* command line, option or config file */
	EXIT_CODE_MOUNT = 2,   /* mount point or FUSE */
	EXIT_CODE_NETWORK = 3, /* host unknown, connection refused, cut or timed out */
	EXIT_CODE_TLS = 4,     /* certificate not trusted, no TLS to be had */
	EXIT_CODE_LOGIN = 5,   /* login refused, or no password to be had */
	EXIT_CODE_FOLDER = 6,  /* no such folder, or no access to it */
	EXIT_CODE_STORE = 7, /* the store can not be opened or written, or another process has it */
	EXIT_CODE_OTHER = 8, /* the server's answer can not be understood; no memory; a bug */
};

#endif
