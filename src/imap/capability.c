/* SPDX-License-Identifier: MIT */
/* What the server can do, as far as it matters here, and what it is. Unknown words are skipped, doubled blanks are taken. */
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
	{"QRESYNC", IMAP_CAP_QRESYNC | IMAP_CAP_CONDSTORE},
	{"LIST-EXTENDED", IMAP_CAP_LIST_EXTENDED},
	{"SPECIAL-USE", IMAP_CAP_SPECIAL_USE},
	{"X-GM-EXT-1", IMAP_CAP_GMAIL},
	{"ENABLE", IMAP_CAP_ENABLE},
	{"IDLE", IMAP_CAP_IDLE},
	{"NOTIFY", IMAP_CAP_NOTIFY},
	{"ESEARCH", IMAP_CAP_ESEARCH},
	{"OBJECTID", IMAP_CAP_OBJECTID},
	{"UNSELECT", IMAP_CAP_UNSELECT},
	{"COMPRESS=DEFLATE", IMAP_CAP_COMPRESS},
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

/* --- For people --- */

#define WORDS_MAX 8192 /* bytes; real servers have some 700 */
#define ID_MAX    200

static void print_word(const char *data, size_t len, size_t most, struct str *out)
{
	if (out->len > 0)
		str_putc(out, ' ');
	for (size_t i = 0; i < len && out->len < most; i++)
		str_putc(out, data[i] >= 0x20 && data[i] < 0x7f ? data[i] : '?');
}

void imap_capabilities_print(struct imap_slice words, struct str *out)
{
	str_reset(out);
	while (out->len < WORDS_MAX) {
		struct imap_slice word = imap_slice_word(&words);
		if (word.len == 0)
			break;
		print_word(word.data, word.len, WORDS_MAX, out);
	}
}

/* ("name" "Dovecot" "version" "2.3" …): the value of a field. */
static const struct imap_node *id_find(
	const struct imap_tree *tree, const struct imap_node *list, const char *field)
{
	const struct imap_node *name = imap_node_child(tree, list);
	while (name) {
		const struct imap_node *value = imap_node_next(tree, name);
		if (imap_node_is_string(name) && imap_node_is_string(value) &&
			imap_slice_is((struct imap_slice){name->data, name->len}, field))
			return value;
		name = imap_node_next(tree, value);
	}
	return NULL;
}

void imap_id_print(struct imap_tree *tree, struct imap_slice args, struct str *out)
{
	static const char *const fields[] = {"name", "version"};
	str_reset(out);
	if (imap_tree_parse(tree, args.data, args.len) < 0)
		return;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		const struct imap_node *value = id_find(tree, imap_tree_top(tree), fields[i]);
		if (value && value->len > 0)
			print_word(value->data, value->len, ID_MAX, out);
	}
}
