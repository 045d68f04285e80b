/* SPDX-License-Identifier: MIT */
/* What is pinned is downloaded in the background. */
#include "private.h"

void pins_folder_listed(struct sync_folder *folder)
{
	(void)folder;
}
