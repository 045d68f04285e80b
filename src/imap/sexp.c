/* SPDX-License-Identifier: MIT */
/*
 * One response as a tree of nodes that point into its bytes.
 *
 * The bytes stay as they are and nothing is copied, so that a listing of 100,000 messages costs one pass over
 * its bytes and no allocation. Nesting and the number of nodes are limited; the parser has a stack of its own.
 * What a malformed response holds before its fault stays usable: a damaged row of a listing still tells its UID.
 *
 * Left out on purpose: knowledge of any response; the only word that is known here is that of a section (BODY[…]),
 * because blanks and parentheses stand inside its brackets.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sexp.h"
#include "mailfs/util/quirk.h"

struct sexp_level {
	uint32_t list, last; /* indices; last 0: the list is empty */
};

struct sexp_parser {
	struct imap_tree *tree;
	const char *pos, *end;
	unsigned depth;
	struct sexp_level levels[IMAP_DEPTH_MAX + 1];
};

void imap_tree_finish(struct imap_tree *tree)
{
	free(tree->nodes);
	*tree = (struct imap_tree){0};
}

bool imap_number_parse(const char *data, size_t len, uint64_t max, uint64_t *ret)
{
	uint64_t number = 0;
	if (len == 0 || len > 20)
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned digit = (unsigned char)data[i] - '0';
		if (digit > 9 || number > (UINT64_MAX - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	if (number > max)
		return false;
	*ret = number;
	return true;
}

size_t imap_literal_prefix(const char *data, size_t len, uint64_t *ret_size)
{
	size_t pos = len > 0 && data[0] == '~';
	if (pos >= len || data[pos++] != '{')
		return 0;
	size_t digits = pos;
	while (pos < len && data[pos] >= '0' && data[pos] <= '9')
		pos++;
	if (!imap_number_parse(data + digits, pos - digits, UINT64_MAX, ret_size))
		return 0;
	pos += pos < len && data[pos] == '+';
	if (pos >= len || data[pos++] != '}')
		return 0;
	pos += pos < len && data[pos] == '\r';
	return pos < len && data[pos] == '\n' ? pos + 1 : 0;
}

/* Makes room for a node and links it as the last of the list that is open. */
static struct imap_node *node_add(struct sexp_parser *parser, enum imap_node_type type)
{
	struct imap_tree *tree = parser->tree;
	tree->cut |= tree->count >= IMAP_NODES_MAX;
	if (tree->count >= IMAP_NODES_MAX)
		return NULL;
	if (array_grow(&tree->nodes, &tree->cap, tree->count + 1, sizeof(*tree->nodes)) < 0) {
		tree->no_memory = true;
		return NULL;
	}
	uint32_t index = (uint32_t)tree->count++;
	struct sexp_level *level = &parser->levels[parser->depth];
	if (level->last)
		tree->nodes[level->last].next = index;
	else
		tree->nodes[level->list].child = index;
	level->last = index;
	tree->nodes[index] = (struct imap_node){.type = type, .data = parser->pos};
	return &tree->nodes[index];
}

static int parse_close(struct sexp_parser *parser)
{
	if (parser->depth == 0)
		return -EPROTO;
	struct imap_node *list = &parser->tree->nodes[parser->levels[parser->depth--].list];
	list->len = (size_t)(parser->pos++ - list->data);
	list->closed = true;
	return 0;
}

/* The quote that ends the string whose content begins at p; NULL: it has none. */
static const char *quoted_end(const char *p, const char *end, bool *ret_escaped)
{
	*ret_escaped = false;
	for (; p < end && *p != '"'; p++) {
		if (*p == '\r' || *p == '\n' || *p == 0)
			return NULL;
		if (*p == '\\') {
			*ret_escaped = true;
			if (++p == end || *p == '\r' || *p == '\n' || *p == 0)
				return NULL;
		}
	}
	return p < end ? p : NULL;
}

static int parse_quoted(struct sexp_parser *parser)
{
	bool escaped;
	const char *start = parser->pos + 1;
	const char *p = quoted_end(start, parser->end, &escaped);
	if (!p)
		return -EPROTO;
	struct imap_node *node = node_add(parser, IMAP_NODE_QUOTED);
	if (!node)
		return -EPROTO;
	node->data = start;
	node->len = (size_t)(p - start);
	node->escaped = escaped;
	parser->pos = p + 1;
	return 0;
}

static int parse_literal(struct sexp_parser *parser)
{
	uint64_t size;
	size_t left = (size_t)(parser->end - parser->pos);
	size_t prefix = imap_literal_prefix(parser->pos, left, &size);
	if (prefix == 0 || size > left - prefix)
		return -EPROTO;
	struct imap_node *node = node_add(parser, IMAP_NODE_LITERAL);
	if (!node)
		return -EPROTO;
	node->data = parser->pos + prefix;
	node->len = (size_t)size;
	parser->pos = node->data + node->len;
	return 0;
}

static bool word_is(const char *data, size_t len, const char *word)
{
	return strlen(word) == len && strncasecmp(data, word, len) == 0;
}

/* Whether "[" after this word begins a section (RFC 3501 §6.4.5). */
static bool takes_section(const char *data, size_t len)
{
	return word_is(data, len, "BODY");
}

/* Blanks, controls, parentheses, quotes: most characters are told by the first comparison. */
static bool ends_atom(char c)
{
	unsigned char u = (unsigned char)c;
	return u > ')' ? u == 0x7f : u <= ' ' || u == '"' || u >= '(';
}

/* The end of a section that begins at p; NULL: it has none. */
static const char *skip_section(const char *p, const char *end)
{
	while (p < end && *p != ']' && *p != '\r' && *p != '\n' && *p != 0)
		p++;
	return p < end && *p == ']' ? p : NULL;
}

/* Behind the atom that begins at start; NULL: there is none. */
static const char *atom_end(const char *start, const char *end)
{
	const char *p = start;
	for (; p < end && !ends_atom(*p); p++) {
		if (*p != '[' || !takes_section(start, (size_t)(p - start)))
			continue;
		p = skip_section(p, end);
		if (!p)
			return NULL;
	}
	return p > start ? p : NULL;
}

static int parse_atom(struct sexp_parser *parser)
{
	const char *start = parser->pos, *p = atom_end(start, parser->end);
	if (!p)
		return -EPROTO;
	struct imap_node *node = node_add(parser, IMAP_NODE_ATOM);
	if (!node)
		return -EPROTO;
	node->len = (size_t)(p - start);
	parser->pos = p;
	return 0;
}

/* Behind the string, literal or atom that begins at p, of which no node is made; NULL: it is malformed. */
static const char *skip_token(const char *p, const char *end)
{
	uint64_t size;
	bool escaped;
	if (*p == '"') {
		p = quoted_end(p + 1, end, &escaped);
		return p ? p + 1 : NULL;
	}
	if (*p != '{' && (*p != '~' || end - p < 2 || p[1] != '{'))
		return atom_end(p, end);
	size_t left = (size_t)(end - p), prefix = imap_literal_prefix(p, left, &size);
	return prefix > 0 && size <= left - prefix ? p + prefix + size : NULL;
}

/* Passes over what a list holds, and all below it, without a stack: its parenthesis has been taken. */
static int skip_list(struct sexp_parser *parser, size_t list)
{
	const char *start = parser->pos, *p = start;
	for (size_t depth = 1; p && p < parser->end;) {
		depth += *p == '(';
		depth -= *p == ')';
		if (depth == 0) {
			struct imap_node *node = &parser->tree->nodes[list];
			node->len = (size_t)(p - start);
			node->closed = true;
			parser->pos = p + 1;
			return 0;
		}
		bool single = *p == '(' || *p == ')' || *p == ' ' || *p == '\t';
		p = single ? p + 1 : skip_token(p, parser->end);
	}
	return -EPROTO;
}

static int parse_open(struct sexp_parser *parser)
{
	struct imap_node *node = node_add(parser, IMAP_NODE_LIST);
	if (!node)
		return -EPROTO;
	size_t list = (size_t)(node - parser->tree->nodes);
	node->data = ++parser->pos;
	if (parser->depth >= IMAP_DEPTH_MAX) {
		node->cut = parser->tree->cut = true;
		return skip_list(parser, list);
	}
	parser->levels[++parser->depth] = (struct sexp_level){.list = (uint32_t)list};
	return 0;
}

static int parse_token(struct sexp_parser *parser)
{
	switch (*parser->pos) {
	case '(':
		return parse_open(parser);
	case ')':
		return parse_close(parser);
	case '"':
		return parse_quoted(parser);
	case '{':
		return parse_literal(parser);
	case '~':
		if (parser->end - parser->pos > 1 && parser->pos[1] == '{')
			return parse_literal(parser);
		return parse_atom(parser);
	default:
		return parse_atom(parser);
	}
}

int imap_tree_parse(struct imap_tree *tree, const char *data, size_t len)
{
	struct sexp_parser parser = {.tree = tree, .pos = data, .end = data + len};
	int r = array_grow(&tree->nodes, &tree->cap, 1, sizeof(*tree->nodes));
	if (r < 0) {
		tree->no_memory = true;
		tree->count = 0;
		return r;
	}
	tree->no_memory = false;
	tree->nodes[0] = (struct imap_node){
		.type = IMAP_NODE_LIST, .closed = true, .data = data, .len = len};
	tree->count = 1;
	tree->cut = false;
	while (r == 0 && parser.pos < parser.end) {
		if (*parser.pos == ' ' || *parser.pos == '\t')
			parser.pos++;
		else
			r = parse_token(&parser);
	}
	if (tree->no_memory) {
		tree->count = 0;
		return -ENOMEM;
	}
	/* A line that is too long to be held is cut with a NUL. What is before it is as the server sent it. */
	if (r < 0 && memchr(parser.pos, 0, (size_t)(parser.end - parser.pos)))
		tree->cut = true;
	return r == 0 && (parser.depth > 0 || tree->cut) ? -EPROTO : r;
}

static const struct imap_node *node_at(const struct imap_tree *tree, uint32_t index)
{
	return index ? &tree->nodes[index] : NULL;
}

const struct imap_node *imap_tree_top(const struct imap_tree *tree)
{
	return tree->count ? node_at(tree, tree->nodes[0].child) : NULL;
}

const struct imap_node *imap_node_child(const struct imap_tree *tree, const struct imap_node *node)
{
	return node && node->type == IMAP_NODE_LIST ? node_at(tree, node->child) : NULL;
}

const struct imap_node *imap_node_next(const struct imap_tree *tree, const struct imap_node *node)
{
	return node ? node_at(tree, node->next) : NULL;
}

bool imap_node_is_nil(const struct imap_node *node)
{
	return imap_node_is(node, "NIL");
}

bool imap_node_is_list(const struct imap_node *node)
{
	return node && node->type == IMAP_NODE_LIST;
}

bool imap_node_is_string(const struct imap_node *node)
{
	return node && (node->type == IMAP_NODE_QUOTED || node->type == IMAP_NODE_LITERAL);
}

bool imap_node_number(const struct imap_node *node, uint64_t max, uint64_t *ret)
{
	if (!node || node->type == IMAP_NODE_LIST ||
		!imap_number_parse(node->data, node->len, max, ret))
		return false;
	if (imap_node_is_string(node))
		quirk_seen(QUIRK_NUMBER_QUOTED);
	return true;
}

void imap_node_append(const struct imap_node *node, struct str *out)
{
	if (!node->escaped) {
		str_append(out, node->data, node->len);
		return;
	}
	for (size_t i = 0; i < node->len; i++) {
		if (node->data[i] == '\\' && i + 1 < node->len)
			i++;
		str_putc(out, node->data[i]);
	}
}
