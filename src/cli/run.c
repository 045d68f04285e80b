/* SPDX-License-Identifier: MIT */
/*
 * The order of a run. Whatever can be wrong with the command line and the mount point is said before the
 * process forks, and before anybody is asked for a password.
 */
#include "run.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "args.h"
#include "daemon.h"
#include "exit.h"
#include "mailfs/fs.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/log.h"
#include "mountpoint.h"
#include "session.h"
#include "settings.h"

static int print_help(void)
{
	fputs("usage: mailfs SOURCE MOUNTPOINT [-o OPTION,...] [-f] [-d]\n"
	      "       fusermount3 -u MOUNTPOINT\n"
	      "\n"
	      "Mounts a remote mailbox: folders are directories, messages are files.\n"
	      "\n"
	      "SOURCE is imaps://[USER@]HOST[:PORT][/FOLDER], or imap://… (STARTTLS), or\n"
	      "pop3s://[USER@]HOST[:PORT], or pop3://… (STLS), or the name of an account in\n"
	      "the config file (~/.config/mailfs/config). POP3 mail is downloaded for good.\n"
	      "\n"
	      "  -o OPTION,...                options as below\n"
	      "  -f                           stay in the foreground\n"
	      "  -d                           stay in the foreground and tell what happens\n"
	      "  -h, --help                   this text\n"
	      "  -V, --version                versions\n"
	      "\n"
	      "options:\n",
		stdout);
	options_help(stdout);
	fputs("\nmailfs(1) tells more.\n", stdout);
	return fflush(stdout) == 0 ? EXIT_CODE_OK : EXIT_CODE_OTHER;
}

static int print_version(void)
{
	printf("mailfs %s\nFUSE library %s\n", MAILFS_VERSION, fs_fuse_version());
	return fflush(stdout) == 0 ? EXIT_CODE_OK : EXIT_CODE_OTHER;
}

/* Says what went wrong; code, for `return`. */
static int complain(int code, int err, const struct str *why)
{
	log_error("%s", why->len > 0 ? why->data : strerror(-err));
	return code;
}

static int mount_and_serve(
	const struct args *args, const struct settings *settings, struct str *why)
{
	_cleanup_free_ char *mountpoint = NULL;
	struct daemon daemon;

	int r = mountpoint_check(args->mountpoint, settings->options.allow_other, &mountpoint, why);
	if (r < 0)
		return complain(EXIT_CODE_MOUNT, r, why);
	r = daemon_start(&daemon, args->foreground || args->debug || settings->options.debug);
	if (r < 0)
		return complain(EXIT_CODE_OTHER, r, why);
	return session_run(settings, mountpoint, &daemon);
}

/*
 * No core file can hold a password, no file that is made can be read by others, and a cut connection is an error code. What the structure of a large mail
 * took is not kept by each of the threads that read one.
 */
static void prepare_process(void)
{
	struct rlimit no_core = {0, 0};

#ifdef __GLIBC__
	mallopt(M_ARENA_MAX, 2);
#endif
	setrlimit(RLIMIT_CORE, &no_core);
	umask(077);
	signal(SIGPIPE, SIG_IGN);
}

int run(int argc, char **argv)
{
	__attribute__((cleanup(args_finish))) struct args args = {0};
	__attribute__((cleanup(settings_finish))) struct settings settings = {0};
	_cleanup_str_ struct str why = STR_INIT;

	prepare_process();
	int r = args_parse(&args, argc, argv, &why);
	if (r < 0)
		return complain(EXIT_CODE_USAGE, r, &why);
	if (args.help)
		return print_help();
	if (args.version)
		return print_version();
	r = settings_load(&args, &settings, &why);
	if (r < 0)
		return complain(EXIT_CODE_USAGE, r, &why);
	if (args.debug || settings.options.debug) {
		settings.options.debug = true;
		log_set_level(LOG_LEVEL_DEBUG);
	}
	return mount_and_serve(&args, &settings, &why);
}
