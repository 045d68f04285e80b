/* SPDX-License-Identifier: MIT */
/* A BODYSTRUCTURE's list: what comes of it, in the store and back, as names and as sections. */
#include <errno.h>
#include <stdlib.h>

#include "part.h"
#include "private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct imap_tree tree;
	struct mime_part *part = NULL;
	struct fuzz_input in = {data, size};
	char *text = fuzz_copy(in);
	int r = imap_tree_parse(&tree, text, size);
	FUZZ_CHECK(r == 0 || r == -EPROTO);
	FUZZ_CHECK(tree.count <= IMAP_NODES_MAX);
	if (r == 0) {
		r = imap_bodystructure_parse(&tree, imap_tree_top(&tree), &part);
		FUZZ_CHECK(r == 0 ? part != NULL : r == -EPROTO && !part);
	}
	if (part)
		part_check(part, 0);
	mime_part_destroy(part);
	imap_tree_finish(&tree);
	free(text);
	return 0;
}
