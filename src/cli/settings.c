/* SPDX-License-Identifier: MIT */
/* The order of precedence: defaults, the account's section, the address, the command line. */
#include "settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config.h"
#include "home.h"
#include "mailfs/util/cleanup.h"

/* RFC 8314, RFC 3501, RFC 1939 */
static uint16_t default_port(enum url_scheme scheme, bool implicit)
{
	if (url_is_pop3(scheme))
		return implicit ? 995 : 110;
	return implicit ? 993 : 143;
}

void settings_finish(struct settings *settings)
{
	options_finish(&settings->options);
	url_finish(&settings->url);
	free(settings->fsname);
	mime_name_template_destroy(settings->names);
	*settings = (struct settings){0};
}

bool settings_is_loopback(const char *host)
{
	struct in_addr v4;
	struct in6_addr v6;
	size_t len = strlen(host);

	if (inet_pton(AF_INET, host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	if (inet_pton(AF_INET6, host, &v6) == 1)
		return IN6_IS_ADDR_LOOPBACK(&v6);
	return strcasecmp(host, "localhost") == 0 ||
	       (len > 10 && strcasecmp(host + len - 10, ".localhost") == 0);
}

/* The address that source stands for, and, for an account, its options. */
static int find_address(const char *source, struct options *options, char **ret, struct str *why)
{
	if (url_is_address(source)) {
		*ret = strdup(source);
		return *ret ? 0 : -ENOMEM;
	}
	_cleanup_free_ char *path = home_xdg_path("XDG_CONFIG_HOME", ".config", "mailfs/config");
	if (!path && home_directory())
		return -ENOMEM;
	if (!path) {
		str_append_cstr(why,
			"no home directory, and so no config file: neither HOME nor the user database tells it");
		return -ENOENT;
	}
	return config_load(path, source, options, ret, why);
}

/* How the connection is secured: what the address says, unless tls= says what does not contradict it. */
static int settle_tls(struct settings *settings, struct str *why)
{
	static const enum net_tls asked[] = {[OPTION_TLS_IMPLICIT] = NET_TLS_IMPLICIT,
		[OPTION_TLS_STARTTLS] = NET_TLS_STARTTLS,
		[OPTION_TLS_NONE] = NET_TLS_NONE};
	enum option_tls option = settings->options.tls;
	enum url_scheme scheme = settings->url.scheme;
	bool implicit = url_is_implicit(scheme);

	if (implicit && option != OPTION_TLS_SCHEME && option != OPTION_TLS_IMPLICIT) {
		str_printf(why,
			"%s:// means TLS from the first byte, which contradicts tls=%s; use %s:// with it",
			url_scheme_name(scheme), option == OPTION_TLS_NONE ? "none" : "starttls",
			url_is_pop3(scheme) ? "pop3" : "imap");
		return -EINVAL;
	}
	if (option == OPTION_TLS_SCHEME)
		settings->tls = implicit ? NET_TLS_IMPLICIT : NET_TLS_STARTTLS;
	else
		settings->tls = asked[option];
	if (settings->tls == NET_TLS_NONE &&
		(settings->options.tls_ca || settings->options.has_fingerprint)) {
		str_append_cstr(why,
			"tls=none checks no certificate: tls_ca= and tls_fingerprint= contradict it");
		return -EINVAL;
	}
	settings->port = settings->url.port;
	if (settings->port == 0)
		settings->port = default_port(scheme, settings->tls == NET_TLS_IMPLICIT);
	return 0;
}

/* What contradicts the protocol, or another option. */
static int settle_protocol(const struct settings *settings, struct str *why)
{
	const struct options *options = &settings->options;
	bool pop3 = url_is_pop3(settings->url.scheme);

	if (!pop3 && options->pop3_only) {
		str_printf(why, "option %s is for POP3 only; with %s:// it means nothing",
			options->pop3_only, url_scheme_name(settings->url.scheme));
		return -EINVAL;
	}
	if (pop3 && options->imap_only) {
		str_printf(why, "option %s is for IMAP only; with %s:// it means nothing",
			options->imap_only, url_scheme_name(settings->url.scheme));
		return -EINVAL;
	}
	if (pop3 && options->readonly && options->after_delete) {
		str_append_cstr(why,
			"ro leaves the server alone, which contradicts after=delete; leave one of them out");
		return -EINVAL;
	}
	if (options->token_command && (options->password_command || options->password_file)) {
		str_append_cstr(why,
			"token_command= stands in the place of a password: password_command= and password_file= contradict it");
		return -EINVAL;
	}
	return 0;
}

static int settle_names(struct settings *settings, struct str *why)
{
	const char *reason = NULL;

	if (!settings->options.names)
		return 0;
	int r = mime_name_template_parse(settings->options.names, &settings->names, &reason);
	if (r < 0 && reason)
		str_printf(why, "option names=%s: %s", settings->options.names, reason);
	return r;
}

static int settle(struct settings *settings, const char *source, struct str *why)
{
	const char *fsname = settings->options.fsname;
	int r = settle_tls(settings, why);
	if (r == 0)
		r = settle_protocol(settings, why);
	if (r == 0)
		r = settle_names(settings, why);
	if (r < 0)
		return r;
	/* The source as it was typed, for mount(8) compares it with fstab's to see what is mounted already. */
	settings->fsname = strdup(fsname ? fsname : source);
	return settings->fsname ? 0 : -ENOMEM;
}

static int load(const struct args *args, struct settings *settings, struct str *why)
{
	_cleanup_free_ char *address = NULL;
	int r = find_address(args->source, &settings->options, &address, why);
	if (r == 0)
		r = url_parse(address, &settings->url, why);
	if (r == 0)
		r = options_parse(&settings->options, str_cstr(&args->options), why);
	return r < 0 ? r : settle(settings, args->source, why);
}

int settings_load(const struct args *args, struct settings *ret, struct str *why)
{
	struct settings settings = {0};

	options_init(&settings.options);
	int r = load(args, &settings, why);
	if (r < 0) {
		settings_finish(&settings);
		return r;
	}
	*ret = settings;
	return 0;
}
