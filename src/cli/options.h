/* SPDX-License-Identifier: MIT */
/* The options of a mount, from -o or from the config file; one table knows their names, kinds and help. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "mailfs/sync.h"
#include "mailfs/util/str.h"

enum option_tls { OPTION_TLS_SCHEME, OPTION_TLS_IMPLICIT, OPTION_TLS_STARTTLS, OPTION_TLS_NONE };

#define OPTION_FINGERPRINT_BYTES 32

/* What the options say; strings are owned, NULL: not given. */
struct options {
	bool readonly;
	char *names;
	bool views_listed;
	unsigned refresh_s, timeout_s, connections, watchdog_s;
	uint64_t cache_bytes; /* 0: no bodies are kept */
	enum sync_compress compress;
	bool offline_all;       /* offline=all */
	unsigned offline_days;  /* 0: none was given */
	char **offline_folders; /* as they were typed; offline_count of them */
	size_t offline_count, offline_cap;
	char *user;
	char *password_command, *password_file, *token_command;
	enum option_tls tls; /* OPTION_TLS_SCHEME: as the address says */
	char *tls_ca;
	bool has_fingerprint;
	unsigned char fingerprint[OPTION_FINGERPRINT_BYTES];
	uid_t uid;
	gid_t gid;
	mode_t umask;
	bool allow_other;
	char *cache_dir, *state_dir;
	bool after_delete;   /* POP3: what was downloaded is deleted on the server, */
	unsigned after_days; /* so many days later */
	bool background;     /* POP3 */
	unsigned poll_s;     /* POP3; 0: never */
	bool uidl_hash;      /* POP3 */
	/* The last of those that are for one protocol alone; point into the table, NULL: none was given. */
	const char *pop3_only, *imap_only;
	bool inotify;
	bool sandbox;
	char *fsname;
	bool debug;
};

/* Where an option stands: in a config file a path can not be relative, there is no directory it could be relative to. */
enum option_origin { OPTION_ORIGIN_COMMAND, OPTION_ORIGIN_CONFIG };

void options_init(struct options *options);
void options_finish(struct options *options);

/*
 * Sets one option; value NULL: given without =. -EINVAL: unknown, or a value it can not have; why says it in
 * one line. -ENOMEM. Blocks: never (uid= and gid= by name: the user database).
 */
int options_set(struct options *options, const char *name, const char *value,
	enum option_origin origin, struct str *why);
/*
 * Sets all options of a list as -o has it: commas between, a backslash before a comma or a backslash that
 * belongs to a value (as libfuse does). Empty members are skipped. Fails as options_set().
 */
int options_parse(struct options *options, const char *list, struct str *why);

/* Prints the table, for --help. */
void options_help(FILE *out);

/* Reads 64 hex digits, with or without colons, after "sha256:". false: they are something else. */
bool options_fingerprint(const char *text, unsigned char out[OPTION_FINGERPRINT_BYTES]);

#endif
