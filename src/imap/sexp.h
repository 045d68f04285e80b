/* SPDX-License-Identifier: MIT */
/* The s-expressions of one IMAP response: atoms, strings, literals, lists. */
#ifndef MAILFS_IMAP_SEXP_H
#define MAILFS_IMAP_SEXP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "mailfs/mime.h"
#include "mailfs/util/str.h"

/* A FETCH, its BODYSTRUCTURE, and within a part an envelope's address lists lie around the nesting of parts. */
#define IMAP_DEPTH_MAX (MIME_DEPTH_MAX + 8)
/* A structure of MIME_PARTS_MAX parts has some 25 nodes for each. */
#define IMAP_NODES_MAX (25 * MIME_PARTS_MAX + 1000)

enum imap_node_type { IMAP_NODE_ATOM, IMAP_NODE_QUOTED, IMAP_NODE_LITERAL, IMAP_NODE_LIST };

struct imap_node {
	enum imap_node_type type;
	bool escaped;         /* a quoted string with backslashes in it */
	bool closed;          /* a list whose parenthesis was closed */
	bool cut;             /* a list at IMAP_DEPTH_MAX: what it holds was passed over */
	uint32_t child, next; /* indices into the tree; 0: none */
	const char *data; /* within the response: without quotes, literal prefix or parentheses */
	size_t len;
};

/* Reused from response to response: no allocation for each node. nodes[0] is the list of what stands at the top. */
struct imap_tree {
	struct imap_node *nodes;
	size_t count, cap;
	bool cut; /* a limit was in the way: of depth (then all else is there), of number, or of length */
	bool no_memory; /* a parse has failed for that; reset by whoever asks */
};

/*
 * Parses data, which must outlive the tree's use. -EPROTO: malformed, or over the limits; the tree then holds what was read up to
 * there, with unclosed lists marked; of what is only too deep, all but that. -ENOMEM: the tree is empty.
 */
int imap_tree_parse(struct imap_tree *tree, const char *data, size_t len);
void imap_tree_finish(struct imap_tree *tree);

/* The first node at the top, the first in a list, the next in the same list; NULL: none. node may be NULL. */
const struct imap_node *imap_tree_top(const struct imap_tree *tree);
const struct imap_node *imap_node_child(const struct imap_tree *tree, const struct imap_node *node);
const struct imap_node *imap_node_next(const struct imap_tree *tree, const struct imap_node *node);

/* An atom that is this word, in any case: asked several times for each item of a listing. These take NULL for a node that is not there. */
static inline bool imap_node_is(const struct imap_node *node, const char *word)
{
	return node && node->type == IMAP_NODE_ATOM && node->len == strlen(word) &&
	       strncasecmp(node->data, word, node->len) == 0;
}
bool imap_node_is_nil(const struct imap_node *node);
bool imap_node_is_list(const struct imap_node *node);
/* A quoted string or a literal. */
bool imap_node_is_string(const struct imap_node *node);
/* A number of at most max; digits in quotes count too, as some servers send them. */
bool imap_node_number(const struct imap_node *node, uint64_t max, uint64_t *ret);
/* Appends the text of an atom or a string, backslashes resolved. */
void imap_node_append(const struct imap_node *node, struct str *out);

/* Digits only, at most max. */
bool imap_number_parse(const char *data, size_t len, uint64_t max, uint64_t *ret);
/*
 * The size and extent of a literal's prefix "{n}CRLF" at data ("~" and "+" taken too): the number of bytes of the prefix,
 * 0: there is none.
 */
size_t imap_literal_prefix(const char *data, size_t len, uint64_t *ret_size);

#endif
