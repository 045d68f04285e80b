/* SPDX-License-Identifier: MIT */
/*
 * Addresses of mailboxes, in the spirit of RFC 5092 and RFC 2384 but as people type them: a user name may hold a raw @,
 * and a folder is a path. A password in an address is refused, because the command line is for all to see in
 * ps. Left out on purpose: ;AUTH=, ;UIDVALIDITY= and the rest of RFC 5092.
 */
#include "url.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/utf8.h"

static const struct {
	const char *name;
	bool pop3, implicit;
} schemes[] = {
	[URL_IMAPS] = {"imaps", false, true},
	[URL_IMAP] = {"imap", false, false},
	[URL_POP3S] = {"pop3s", true, true},
	[URL_POP3] = {"pop3", true, false},
};

const char *url_scheme_name(enum url_scheme scheme)
{
	return schemes[scheme].name;
}

bool url_is_pop3(enum url_scheme scheme)
{
	return schemes[scheme].pop3;
}

bool url_is_implicit(enum url_scheme scheme)
{
	return schemes[scheme].implicit;
}

void url_finish(struct url *url)
{
	free(url->user);
	free(url->host);
	free(url->folder);
	*url = (struct url){0};
}

bool url_is_address(const char *text)
{
	return strstr(text, "://") != NULL;
}

static int invalid(struct str *why, const char *reason)
{
	str_append_cstr(why, reason);
	return -EINVAL;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that %XX at text stands for; -1 when it is none. */
static int percent(const char *text, size_t len)
{
	if (len < 3)
		return -1;
	int high = hex_value(text[1]), low = hex_value(text[2]);
	return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* Percent-decodes len bytes; what: names them in the reason. */
static int decode(const char *text, size_t len, const char *what, char **ret, struct str *why)
{
	_cleanup_str_ struct str out = STR_INIT;

	for (size_t i = 0; i < len; i++) {
		int c = (unsigned char)text[i];
		if (c == '%') {
			c = percent(text + i, len - i);
			i += 2;
		}
		if (c < 0) {
			str_append_cstr(why, what);
			return invalid(
				why, ": two hex digits must follow a % (%25 is the % itself)");
		}
		if (c < 0x20 || c == 0x7f) {
			str_append_cstr(why, what);
			return invalid(why, ": control characters are not allowed");
		}
		str_putc(&out, (char)c);
	}
	if (!utf8_valid(str_cstr(&out), out.len)) {
		str_append_cstr(why, what);
		return invalid(why, " is not valid UTF-8");
	}
	*ret = str_steal(&out);
	return *ret ? 0 : -ENOMEM;
}

/* Takes the scheme off *text. */
static int parse_scheme(const char **text, enum url_scheme *ret, struct str *why)
{
	const char *end = strstr(*text, "://");
	if (!end)
		return invalid(why, "an address begins with " URL_SCHEMES);
	size_t len = (size_t)(end - *text);
	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
		if (len != strlen(schemes[i].name) || strncasecmp(*text, schemes[i].name, len) != 0)
			continue;
		*ret = (enum url_scheme)i;
		*text = end + 3;
		return 0;
	}
	str_printf(why, "%.*s:// is not supported; an address begins with " URL_SCHEMES,
		(int)(len < 40 ? len : 40), *text);
	return -EPROTONOSUPPORT;
}

static int parse_user(const char *text, size_t len, char **ret, struct str *why)
{
	if (memchr(text, ':', len))
		return invalid(why,
			"a password has no place in an address, where ps shows it; leave it out and use "
			"password_command= or password_file= (a : that belongs to the user name is %3A)");
	if (len == 0)
		return invalid(why, "there is no user name before the @");
	return decode(text, len, "the user name", ret, why);
}

static int parse_port(const char *text, size_t len, uint16_t *ret, struct str *why)
{
	unsigned long port = 0;
	bool good = len >= 1 && len <= 5;

	for (size_t i = 0; good && i < len; i++) {
		good = text[i] >= '0' && text[i] <= '9';
		port = port * 10 + (unsigned long)(text[i] - '0');
	}
	if (!good || port < 1 || port > 65535) {
		str_printf(why, "the port must be a number from 1 to 65535, not `%.*s'",
			(int)(len < 40 ? len : 40), text);
		return -EINVAL;
	}
	*ret = (uint16_t)port;
	return 0;
}

static bool is_host_name(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)text[i]) && !strchr(".-_", text[i]))
			return false;
	return len > 0 && len <= 255 && text[0] != '-' && text[0] != '.';
}

/* An address between brackets; its zone follows a %, which may be written %25 (RFC 6874). */
static int parse_host6(const char *text, size_t len, char **ret, struct str *why)
{
	static const char allowed[] = "0123456789abcdefABCDEF:.";
	size_t digits = strspn(text, allowed);
	_cleanup_str_ struct str out = STR_INIT;

	if (digits > len)
		digits = len;
	str_append(&out, text, digits);
	const char *zone = text + digits;
	size_t zone_len = len - digits;
	if (zone_len > 0) {
		size_t mark = zone_len >= 3 && strncmp(zone, "%25", 3) == 0 ? 3 : 1;
		if (*zone != '%' || !is_host_name(zone + mark, zone_len - mark))
			return invalid(why, "only an IPv6 address may stand between [ and ]");
		str_putc(&out, '%');
		str_append(&out, zone + mark, zone_len - mark);
	}
	if (digits < 2 || !memchr(text, ':', digits))
		return invalid(why, "only an IPv6 address may stand between [ and ]");
	*ret = str_steal(&out);
	return *ret ? 0 : -ENOMEM;
}

static int parse_name(const char *text, size_t len, char **ret, struct str *why)
{
	if (len == 0)
		return invalid(why, "the host name is missing");
	if (!is_host_name(text, len)) {
		str_printf(why, "`%.*s' is not a host name", (int)(len < 100 ? len : 100), text);
		if (memchr(text, ':', len))
			str_append_cstr(why, " (an IPv6 address stands in brackets: [::1])");
		return -EINVAL;
	}
	*ret = strndup(text, len);
	return *ret ? 0 : -ENOMEM;
}

static int parse_host_port(const char *text, size_t len, struct url *url, struct str *why)
{
	const char *host_end, *end = text + len;
	int r;

	if (len > 0 && *text == '[') {
		host_end = memchr(text, ']', len);
		if (!host_end)
			return invalid(why, "the ] after the IPv6 address is missing");
		r = parse_host6(text + 1, (size_t)(host_end - text - 1), &url->host, why);
		host_end++;
		if (r == 0 && host_end < end && *host_end != ':')
			return invalid(why, "only :PORT or /FOLDER may follow the ]");
	} else {
		host_end = memrchr(text, ':', len);
		if (!host_end)
			host_end = end;
		r = parse_name(text, (size_t)(host_end - text), &url->host, why);
	}
	if (r < 0 || host_end == end)
		return r;
	return parse_port(host_end + 1, (size_t)(end - host_end - 1), &url->port, why);
}

/* Those that were written as %2F, too. */
static void trim_slashes(char *text)
{
	size_t first = strspn(text, "/"), len = strlen(text);

	while (len > first && text[len - 1] == '/')
		len--;
	memmove(text, text + first, len - first);
	text[len - first] = 0;
}

static int parse_folder(const char *text, char **ret, struct str *why)
{
	int r = *text ? decode(text, strlen(text), "the folder", ret, why) : 0;

	if (r < 0 || !*ret)
		return r;
	trim_slashes(*ret);
	if (!**ret)
		free(steal_ptr(*ret));
	return 0;
}

/* What is particular to POP3: there are no folders, and the host is a part of what downloaded mail is found by. */
static int settle_pop3(struct url *url, struct str *why)
{
	for (char *c = url->host; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (url->folder && strcasecmp(url->folder, "INBOX") != 0) {
		str_printf(why, "a POP3 mailbox has no folders: leave /%.100s out of the address",
			url->folder);
		return -EINVAL;
	}
	free(steal_ptr(url->folder));
	return 0;
}

int url_parse(const char *text, struct url *ret, struct str *why)
{
	__attribute__((cleanup(url_finish))) struct url url = {0};
	int r = parse_scheme(&text, &url.scheme, why);
	if (r < 0)
		return r;
	const char *end = text + strcspn(text, "/");
	const char *at = memrchr(text, '@', (size_t)(end - text));
	if (at) {
		r = parse_user(text, (size_t)(at - text), &url.user, why);
		text = at + 1;
	}
	if (r == 0)
		r = parse_host_port(text, (size_t)(end - text), &url, why);
	if (r == 0)
		r = parse_folder(end, &url.folder, why);
	if (r == 0 && url_is_pop3(url.scheme))
		r = settle_pop3(&url, why);
	if (r < 0)
		return r;
	*ret = url;
	url = (struct url){0};
	return 0;
}
