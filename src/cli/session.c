/* SPDX-License-Identifier: MIT */
/*
 * The modules, joined. A mount is built in steps, each standing on those before; when one fails, what there
 * is by then is taken down in the opposite order, which is also how a mount ends. Processes are forked first; then all is
 * read and opened that the sandbox will not let through; threads and connections come after it. The mailbox counts as there
 * once it is logged in, listed and mounted: then the starter's shell gets its prompt back.
 */
#include "session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "helper.h"
#include "home.h"
#include "inherited.h"
#include "mailfs/control.h"
#include "mailfs/fs.h"
#include "mailfs/maildrop.h"
#include "mailfs/sandbox.h"
#include "mailfs/sync.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"
#include "offline.h"
#include "progress.h"
#include "protocol.h"
#include "shelter.h"

#define STORE_BUSY_MS  3500
#define STORE_RETRY_MS 100

/* Takes down what there is. Requests that still wait are failed by the account's end, so that FUSE can answer them. */
static void session_finish(struct session *session)
{
	control_destroy(session->control);
	control_place_close(session->place);
	if (session->net)
		net_context_cancel(session->net);
	if (session->started)
		sync_account_stop(session->sync);
	fs_destroy(session->fs);
	fs_herald_stop(session->herald);
	tree_destroy(session->tree);
	if (session->sync)
		sync_account_destroy(session->sync);
	if (session->source)
		session->source->ops->destroy(session->source);
	if (session->maildrop)
		session->maildrop->ops->destroy(session->maildrop);
	store_close(session->store);
	if (session->net)
		net_context_destroy(session->net);
	free(session->account);
	free(session->store_directory);
	password_finish(&session->password);
	log_set_sink(NULL, NULL);
	helper_stop(session->helper);
}

static int fail(enum exit_code code, int err, const struct str *why)
{
	log_error("%s", why && why->len > 0 ? why->data : strerror(-err));
	return code;
}

/* Whether what was downloaded can not be kept here. */
static bool is_storing(int err)
{
	return err == -ENOSPC || err == -EDQUOT || err == -EFBIG || err == -EROFS;
}

/* A source knows what went wrong; which server and which user, a person with several mounts must be told too. */
static int fail_source(const struct session *session, int err, const struct source_error *error)
{
	static const enum exit_code codes[] = {
		[SOURCE_CAUSE_OTHER] = EXIT_CODE_OTHER,
		[SOURCE_CAUSE_HOST] = EXIT_CODE_NETWORK,
		[SOURCE_CAUSE_CONNECT] = EXIT_CODE_NETWORK,
		[SOURCE_CAUSE_TLS] = EXIT_CODE_TLS,
		[SOURCE_CAUSE_LOGIN] = EXIT_CODE_LOGIN,
		[SOURCE_CAUSE_MAILBOX] = EXIT_CODE_FOLDER,
		[SOURCE_CAUSE_PROTOCOL] = EXIT_CODE_OTHER,
	};
	const char *text =
		*error->text ? error->text : strerror(error->err < 0 ? -error->err : EIO);
	const char *host = session->settings->url.host;
	_cleanup_str_ struct str line = STR_INIT;

	if (!strstr(text, host))
		str_printf(&line, "%s:%u: ", host, (unsigned)session->settings->port);
	str_append_cstr(&line, text);
	if (error->cause == SOURCE_CAUSE_LOGIN && error->retry == SOURCE_RETRY_NEVER)
		str_printf(&line, "%s Check the user name (%s) and %s.",
			line.len > 0 && line.data[line.len - 1] == '.' ? "" : ".",
			session->password.user,
			session->password.token ? "what token_command= prints" : "the password");
	return fail(is_storing(err) ? EXIT_CODE_STORE : codes[error->cause], -ENOMEM, &line);
}

/* Before there is anything that a child must not have. Mail can be read without it. */
static int step_herald(struct session *session)
{
	const struct options *options = &session->settings->options;

	if (!options->inotify || options->readonly)
		return 0;
	int r = fs_herald_start(session->mountpoint, options->sandbox, &session->herald);
	if (r < 0)
		log_warning("programs that watch the mount will not be told of new mail: %s",
			strerror(-r));
	return 0;
}

static int step_helper(struct session *session)
{
	int r = session->settings->options.sandbox ? shelter_start_helper(session) : 0;

	return r < 0 ? fail(EXIT_CODE_OTHER, r, NULL) : 0;
}

static int step_password(struct session *session)
{
	const struct options *options = &session->settings->options;
	const char *home = home_directory();
	_cleanup_free_ char *netrc = home ? home_expand("~/.netrc") : NULL;
	_cleanup_str_ struct str why = STR_INIT;
	struct password_request request = {
		.host = session->settings->url.host,
		.user = options->user ? options->user : session->settings->url.user,
		.command = options->password_command,
		.file = options->password_file,
		.token_command = options->token_command,
		.token_later = session->protocol->token_at_connect,
		.netrc = netrc,
	};

	if (options->sandbox)
		sandbox_hide_memory(); /* from now on there is something to be hidden */
	int r = password_get(&request, &session->password, &why);
	return r < 0 ? fail(EXIT_CODE_LOGIN, r, &why) : 0;
}

static int step_net(struct session *session)
{
	const struct settings *settings = session->settings;
	struct source_error error = {0};
	struct net_params params = {
		.host = settings->url.host,
		.port = settings->port,
		.tls = settings->tls,
		.ca_file = settings->options.tls_ca,
		.fingerprint =
			settings->options.has_fingerprint ? settings->options.fingerprint : NULL,
		.resolve = session->helper ? helper_resolve : NULL,
		.resolve_arg = session->helper,
	};

	if (params.tls == NET_TLS_NONE && !settings_is_loopback(params.host))
		log_warning(
			"tls=none: the password and all mail go to %s in clear text, for everybody on the way to read",
			params.host);
	int r = net_context_create(&params, &session->net, &error);
	return r < 0 ? fail_source(session, r, &error) : 0;
}

/* Opens it, and waits a moment for a mailfs that was unmounted just now and still says goodbye to its server. */
static int open_store(
	const char *directory, enum store_kind kind, struct store **ret, struct str *why)
{
	int64_t give_up_ms = clock_now_ms() + STORE_BUSY_MS;
	int r = store_open(directory, kind, ret, why);
	while (r == -EBUSY && clock_now_ms() < give_up_ms) {
		usleep(STORE_RETRY_MS * 1000);
		str_reset(why);
		r = store_open(directory, kind, ret, why);
	}
	return r;
}

static int fail_store(int err, const struct str *why)
{
	return fail(EXIT_CODE_STORE, err, why);
}

/* Before the sandbox, in which no directory can be made but in the store. */
static int step_directory(struct session *session)
{
	const struct settings *settings = session->settings;
	const struct protocol *protocol = session->protocol;
	_cleanup_str_ struct str why = STR_INIT;
	_cleanup_free_ char *directory = NULL;
	char name[160];

	session->account = protocol->identity(session);
	if (!session->account)
		return fail(EXIT_CODE_OTHER, -ENOMEM, NULL);
	home_account_name(
		session->account, session->password.user, settings->url.host, name, sizeof(name));
	_cleanup_free_ char *base = protocol->store_base(&settings->options);
	if (!base || asprintf(&directory, "%s/%s", base, name) < 0) {
		str_printf(&why,
			"no home directory to keep the store in; -o %s=DIR tells another place",
			protocol->store_option);
		return fail_store(-ENOENT, &why);
	}
	int r = store_directory_make(
		directory, protocol->store_kind, &session->store_directory, &why);
	return r < 0 ? fail_store(r, &why) : 0;
}

/* Likewise. Mail can be read without it. */
static int step_place(struct session *session)
{
	_cleanup_str_ struct str why = STR_INIT;
	int r = control_place_open(&session->place, &why);

	if (r < 0)
		log_warning(
			"mailfsctl will get no answer: %s", why.len > 0 ? why.data : strerror(-r));
	session->placeless = r < 0;
	return 0;
}

static int step_shelter(struct session *session)
{
	_cleanup_str_ struct str why = STR_INIT;

	inherited_close();
	sandbox_prepare();
	int r = session->settings->options.sandbox ? shelter_enter(session, &why) : 0;

	return r < 0 ? fail(EXIT_CODE_OTHER, r, &why) : 0;
}

static int step_store(struct session *session)
{
	_cleanup_str_ struct str why = STR_INIT;
	int r = open_store(
		session->store_directory, session->protocol->store_kind, &session->store, &why);

	return r < 0 ? fail_store(r, &why) : 0;
}

struct token_asker session_token_asker(const struct session *session)
{
	const struct options *options = &session->settings->options;
	return (struct token_asker){.helper = session->helper,
		.command = options->token_command,
		.net = session->net,
		.timeout_ms = (int)options->timeout_s * 1000};
}

static int step_source(struct session *session)
{
	int r = session->protocol->create_source(session);
	return r < 0 ? fail(EXIT_CODE_OTHER, r, NULL) : 0;
}

/* A maildrop is downloaded here, and the line that says how far it is must be gone before anything else is said. */
static int step_account(struct session *session)
{
	struct source_error error = {0};

	int r = session->protocol->create_account(session);
	if (r < 0) {
		progress_end();
		return fail(EXIT_CODE_OTHER, r, NULL);
	}
	r = sync_account_start(session->sync, &error);
	progress_end();
	if (r < 0)
		return fail_source(session, r, &error);
	session->started = true;
	return 0;
}

static int step_tree(struct session *session)
{
	const struct settings *settings = session->settings;
	const struct options *options = &settings->options;
	_cleanup_str_ struct str why = STR_INIT;
	struct tree_params params = {
		.account = session->sync,
		.store = session->store,
		.account_name = session->account,
		.names = settings->names,
		.views_listed = options->views_listed,
		.uid = options->uid,
		.gid = options->gid,
		.umask = (int)options->umask,
	};

	session->protocol->fill_tree(session, &params);
	int r = tree_create(&params, &session->tree);
	if (r == -ENOENT) {
		str_printf(&why,
			"%s:%u: there is no folder `%s'; without it the whole account is mounted, and ls shows its folders",
			settings->url.host, (unsigned)settings->port, params.root_folder);
		return fail(EXIT_CODE_FOLDER, r, &why);
	}
	return r < 0 ? fail(EXIT_CODE_OTHER, r, NULL) : 0;
}

/* What was downloaded for good has neither a limit nor a choice. */
static int step_offline(struct session *session)
{
	if (session->protocol->store_kind == STORE_CACHE)
		offline_begin(&session->settings->options, session->tree, session->store);
	return 0;
}

static int step_mount(struct session *session)
{
	const struct settings *settings = session->settings;
	_cleanup_str_ struct str why = STR_INIT;
	struct fs_params params = shelter_mount_params(session);

	params.tree = session->tree;
	params.herald = session->herald;
	params.timeout_ms = (int)settings->options.timeout_s * 1000;
	int r = fs_create(&params, &session->fs, &why);
	if (r == 0)
		r = fs_mount(session->fs, session->mountpoint, &why);
	return r < 0 ? fail(EXIT_CODE_MOUNT, r, &why) : 0;
}

/* The address as a person writes it, with what was left out of it. */
static void describe_source(const struct session *session, struct str *out)
{
	const struct url *url = &session->settings->url;
	bool v6 = strchr(url->host, ':');

	str_printf(out, "%s://%s@%s%s%s:%u", url_scheme_name(url->scheme), session->password.user,
		v6 ? "[" : "", url->host, v6 ? "]" : "", (unsigned)session->settings->port);
	if (url->folder)
		str_printf(out, "/%s", url->folder);
}

/* Mail can be read without it. */
static int step_control(struct session *session)
{
	_cleanup_str_ struct str source = STR_INIT;
	_cleanup_str_ struct str why = STR_INIT;
	struct control_params params = {
		.tree = session->tree,
		.store = session->store,
		.account_name = session->account,
		.mountpoint = session->mountpoint,
		.place = session->place,
	};

	if (session->placeless)
		return 0;
	session->place = NULL;
	describe_source(session, &source);
	params.source = str_cstr(&source);
	int r = control_create(&params, &session->control, &why);
	if (r < 0)
		log_warning(
			"mailfsctl will get no answer: %s", why.len > 0 ? why.data : strerror(-r));
	return 0;
}

int session_run(const struct settings *settings, const char *mountpoint, struct daemon *daemon)
{
	static int (*const steps[])(struct session *) = {step_herald, step_helper, step_password,
		step_net, step_directory, step_place, step_shelter, step_store, step_source,
		step_account, step_tree, step_offline, step_mount, step_control};
	__attribute__((cleanup(session_finish))) struct session session = {.settings = settings,
		.protocol = url_is_pop3(settings->url.scheme) ? &protocol_pop3 : &protocol_imap,
		.mountpoint = mountpoint};

	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		int code = steps[i](&session);
		if (code != EXIT_CODE_OK)
			return code;
	}
	if (session.helper && daemon_is_background(daemon)) {
		helper_detach(session.helper);
		log_set_sink(helper_log, session.helper);
	}
	daemon_ready(daemon);
	return fs_loop(session.fs) < 0 ? EXIT_CODE_MOUNT : EXIT_CODE_OK;
}
