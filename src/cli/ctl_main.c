/* SPDX-License-Identifier: MIT */
/*
 * mailfsctl asks a mounted mailbox for its state, and tells it what to do. ctl_args.c reads the command line, ctl_mount.c finds the mount
 * of a path, ctl_link.c speaks with it, ctl_text.c makes text of what it says; ctl_watch.c and ctl_pin.c are the commands that last.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl_link.h"
#include "ctl_mount.h"
#include "ctl_text.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"

int ctl_complain(int code, const struct str *why)
{
	_cleanup_str_ struct str safe = STR_INIT;
	ctl_text_safe(str_cstr(why), &safe);
	fprintf(stderr, "mailfsctl: %s\n", str_cstr(&safe));
	return code;
}

static int print_help(void)
{
	fputs("usage: mailfsctl status PATH [-v] [--json]\n"
	      "       mailfsctl watch PATH [--json]\n"
	      "       mailfsctl pin PATH... [--no-wait]\n"
	      "       mailfsctl unpin PATH...\n"
	      "       mailfsctl refresh PATH\n"
	      "       mailfsctl cache clear PATH\n"
	      "\n"
	      "PATH is the root of a mailbox that mailfs has mounted, or anything in it.\n"
	      "\n"
	      "  status         connection, server, cache and folders; -v: all folders\n"
	      "  watch          a line for each thing that happens, until the mount ends\n"
	      "  pin            download messages or folders for offline use, and keep them\n"
	      "  unpin          undo that\n"
	      "  refresh        look at the server again, now\n"
	      "  cache clear    remove what is cached and not pinned\n"
	      "\n"
	      "      --json     for programs\n"
	      "      --no-wait  return at once; the download goes on\n"
	      "  -v, --verbose  folders that were never opened, too\n"
	      "  -h, --help     this text\n"
	      "  -V, --version  the version\n"
	      "\n"
	      "mailfsctl(1) tells more.\n",
		stdout);
	return fflush(stdout) == 0 ? CTL_EXIT_OK : CTL_EXIT_FAILED;
}

static int print_version(void)
{
	printf("mailfsctl %s\n", MAILFS_VERSION);
	return fflush(stdout) == 0 ? CTL_EXIT_OK : CTL_EXIT_FAILED;
}

/* Asks the mount of the one path. Errors were said. */
static int ask(const struct ctl_args *args, const char *command, json_t **ret)
{
	__attribute__((cleanup(ctl_mount_finish))) struct ctl_mount mount = {0};
	__attribute__((cleanup(ctl_link_close))) struct ctl_link link = CTL_LINK_INIT;
	_cleanup_str_ struct str why = STR_INIT;

	int code = ctl_mount_find(args->paths[0], &mount, &why);
	if (code == CTL_EXIT_OK) {
		ctl_mount_leave_view(&mount);
		code = ctl_link_open(&link, mount.socket, mount.root, &why);
	}
	if (code == CTL_EXIT_OK)
		code = ctl_link_ask(&link, command, mount.path, ret, &why);
	return code == CTL_EXIT_OK ? code : ctl_complain(code, &why);
}

static int print(const struct str *text)
{
	fwrite(str_cstr(text), 1, text->len, stdout);
	return fflush(stdout) == 0 && str_error(text) == 0 ? CTL_EXIT_OK : CTL_EXIT_FAILED;
}

/*
 * What was answered, but for the word that it was; on a terminal nothing but ASCII, for names can hold what a terminal acts upon. Not by json_dumps(), which
 * leaves out names for which it has no memory.
 */
static int print_json(json_t *answer, bool terminal)
{
	size_t flags = JSON_INDENT(2) | (terminal ? JSON_ENSURE_ASCII : 0);

	json_object_del(answer, "ok");
	bool printed = json_dumpf(answer, stdout, flags) == 0 && putchar('\n') != EOF;
	return printed && fflush(stdout) == 0 ? CTL_EXIT_OK : CTL_EXIT_FAILED;
}

static int status(const struct ctl_args *args)
{
	bool terminal = isatty(STDOUT_FILENO);
	_cleanup_str_ struct str text = STR_INIT;
	json_t *answer = NULL;

	int code = ask(args, "status", &answer);
	if (code != CTL_EXIT_OK)
		return code;
	if (args->json) {
		code = print_json(answer, terminal);
	} else {
		ctl_text_status(answer, args->verbose, clock_wall_s(), terminal, &text);
		code = print(&text);
	}
	json_decref(answer);
	return code;
}

static int refresh(const struct ctl_args *args)
{
	return ask(args, "refresh", NULL);
}

static int cache_clear(const struct ctl_args *args)
{
	_cleanup_str_ struct str text = STR_INIT;
	json_t *answer = NULL;

	int code = ask(args, "clear", &answer);
	if (code != CTL_EXIT_OK)
		return code;
	json_int_t freed = json_integer_value(json_object_get(answer, "freed_bytes"));
	json_decref(answer);
	ctl_text_size(freed > 0 ? (uint64_t)freed : 0, &text);
	str_append_cstr(&text, " freed\n");
	return print(&text);
}

static int run(const struct ctl_args *args)
{
	static const struct {
		const char *name;
		int (*fn)(const struct ctl_args *args);
	} commands[] = {{"status", status}, {"watch", ctl_watch}, {"pin", ctl_pin},
		{"unpin", ctl_unpin}, {"refresh", refresh}, {"cache clear", cache_clear}};

	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (strcmp(commands[i].name, args->command) == 0)
			return commands[i].fn(args);
	return CTL_EXIT_USAGE;
}

int main(int argc, char **argv)
{
	_cleanup_str_ struct str why = STR_INIT;
	struct ctl_args args;

	int code = ctl_args_parse(&args, argc, argv, &why);
	if (code != CTL_EXIT_OK)
		return ctl_complain(code, &why);
	if (args.help)
		return print_help();
	return args.version ? print_version() : run(&args);
}
