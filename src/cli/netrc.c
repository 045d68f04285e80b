/* SPDX-License-Identifier: MIT */
/*
 * Tokens between blanks: machine NAME | default, then login NAME, password WORD, account WORD in any order; macdef
 * NAME up to the next empty line. A token may be quoted with ", a backslash takes the next character
 * literally. # begins a comment where a keyword is expected, for a password may begin with one. Unknown words are skipped, as curl does.
 */
#include "netrc.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void netrc_entry_finish(struct netrc_entry *entry)
{
	free(entry->login);
	*entry = (struct netrc_entry){0};
}

static const char blanks[] = " \t\r\n";

/* The next token, unquoted in place; *pos moves behind it. NULL: the end. */
static char *next_token(char **pos)
{
	char *p = *pos + strspn(*pos, blanks);
	if (!*p)
		return NULL;
	bool quoted = *p == '"';
	if (quoted)
		p++;
	char *token = p, *out = p;
	while (*p && (quoted ? *p != '"' : !strchr(blanks, *p))) {
		if (*p == '\\' && p[1])
			p++;
		*out++ = *p++;
	}
	*pos = *p ? p + 1 : p;
	*out = 0;
	return token;
}

static char *next_keyword(char **pos)
{
	for (;;) {
		*pos += strspn(*pos, blanks);
		if (**pos != '#')
			return next_token(pos);
		*pos += strcspn(*pos, "\n");
	}
}

/* A macro ends at an empty line. */
static void skip_macro(char **pos)
{
	char *end = strstr(*pos, "\n\n");
	*pos = end ? end + 2 : *pos + strlen(*pos);
}

struct candidate {
	bool matches; /* the host does */
	const char *login, *password;
};

static bool accepted(const struct candidate *candidate, const char *user)
{
	if (!candidate->matches)
		return false;
	return !user || !candidate->login || strcmp(candidate->login, user) == 0;
}

/* Reads one entry's words; *pos stands at the keyword that begins the next entry, which is returned (NULL: the end). */
static char *read_words(char **pos, struct candidate *candidate)
{
	char *word;

	while ((word = next_keyword(pos))) {
		if (strcmp(word, "machine") == 0 || strcmp(word, "default") == 0)
			return word;
		if (strcmp(word, "login") == 0)
			candidate->login = next_token(pos);
		else if (strcmp(word, "password") == 0)
			candidate->password = next_token(pos);
		else if (strcmp(word, "account") == 0)
			next_token(pos);
		else if (strcmp(word, "macdef") == 0)
			skip_macro(pos);
	}
	return NULL;
}

int netrc_find(char *text, const char *host, const char *user, struct netrc_entry *ret)
{
	struct candidate none = {0};
	char *pos = text;
	char *keyword = read_words(&pos, &none);

	while (keyword) {
		struct candidate candidate = {.matches = true};
		if (strcmp(keyword, "machine") == 0) {
			const char *name = next_token(&pos);
			candidate.matches = name && strcasecmp(name, host) == 0;
		}
		keyword = read_words(&pos, &candidate);
		if (!accepted(&candidate, user))
			continue;
		char *login = candidate.login ? strdup(candidate.login) : NULL;
		if (candidate.login && !login)
			return -ENOMEM;
		*ret = (struct netrc_entry){login, candidate.password};
		return 0;
	}
	return -ENOENT;
}
