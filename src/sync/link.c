/* SPDX-License-Identifier: MIT */
/* The connection to the server, as a whole. */
#include "private.h"

bool link_is_offline(struct sync_account *account)
{
	(void)account;
	return false;
}
