/* SPDX-License-Identifier: MIT */
#ifndef PIN_STORE_H
#define PIN_STORE_H

/* Forgets all pins and facts. */
void pin_store_reset(void);

#endif
