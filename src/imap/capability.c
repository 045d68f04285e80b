/* SPDX-License-Identifier: MIT */
/* What the server can do, as far as it matters here. Unknown words are skipped, doubled blanks are taken. */
#include <strings.h>

#include "engine.h"

static const struct {
	const char *word;
	unsigned set;
} capabilities[] = {
	{"STARTTLS", IMAP_CAP_STARTTLS},
	{"LOGINDISABLED", IMAP_CAP_LOGINDISABLED},
	{"SASL-IR", IMAP_CAP_SASL_IR},
	{"LITERAL+", IMAP_CAP_LITERAL_PLUS},
	{"LITERAL-", IMAP_CAP_LITERAL_MINUS},
	{"NAMESPACE", IMAP_CAP_NAMESPACE},
	{"ID", IMAP_CAP_ID},
	{"QUOTA", IMAP_CAP_QUOTA},
	{"CONDSTORE", IMAP_CAP_CONDSTORE},
	{"QRESYNC", IMAP_CAP_CONDSTORE},
	{"LIST-EXTENDED", IMAP_CAP_LIST_EXTENDED},
	{"SPECIAL-USE", IMAP_CAP_SPECIAL_USE},
	{"X-GM-EXT-1", IMAP_CAP_GMAIL},
};

static unsigned capability_find(struct imap_slice word)
{
	for (size_t i = 0; i < sizeof(capabilities) / sizeof(capabilities[0]); i++)
		if (imap_slice_is(word, capabilities[i].word))
			return capabilities[i].set;
	return 0;
}

/* The bit of the mechanism among names; 0: it is none of them. */
static unsigned mechanism_find(struct imap_slice mechanism, const char *const *names)
{
	for (unsigned i = 0; names[i]; i++)
		if (imap_slice_is(mechanism, names[i]))
			return 1U << i;
	return 0;
}

static void mechanism_add(struct imap_capabilities *caps, struct imap_slice word)
{
	if (word.len < 5 || strncasecmp(word.data, "AUTH=", 5) != 0)
		return;
	word.data += 5;
	word.len -= 5;
	caps->mechanisms |= mechanism_find(word, sasl_mechanisms);
	caps->token_mechanisms |= mechanism_find(word, sasl_token_mechanisms);
}

void imap_capabilities_parse(struct imap_capabilities *caps, struct imap_slice words)
{
	*caps = (struct imap_capabilities){.known = true};
	for (;;) {
		struct imap_slice word = imap_slice_word(&words);
		if (word.len == 0)
			break;
		caps->set |= capability_find(word);
		mechanism_add(caps, word);
	}
}
