/* SPDX-License-Identifier: MIT */
/* Descriptors that a caller left open: no sandbox holds against what is open already, and a caller may wait for their end. */
#ifndef CLI_INHERITED_H
#define CLI_INHERITED_H

/* Notes which are open, but for the first three. To be called before anything else opens one. Blocks: never. */
void inherited_note(void);
/* Closes them. Not before secrets were read: a password's file may be one of them (/dev/fd/N). */
void inherited_close(void);

#endif
