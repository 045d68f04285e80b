/* SPDX-License-Identifier: MIT */
/*
 * An account on a fixture whose refreshes are counted, and made to fail. The program is linked with --wrap for what delta.c
 * stands in for.
 */
#ifndef SYNC_DELTA_H
#define SYNC_DELTA_H

#include <stdatomic.h>

#include "fixture.h"
#include "mailfs/store.h"
#include "private.h"

enum { ALL = SOURCE_COLUMNS_ALL, FLAGS = SOURCE_COLUMNS_FLAGS };
enum { CONDSTORE = SOURCE_CAN_CONDSTORE, QRESYNC = CONDSTORE | SOURCE_CAN_QRESYNC };

extern atomic_uint loads, gets; /* what the store was asked for since listed() */
extern atomic_uint pin_looks;   /* how often pins were looked for */
extern atomic_int puts_left;    /* so many states can be stored yet; -1: all */
extern atomic_bool offline;
/* The flags that were told, as "uid text;", and in how many calls. */
extern struct str told_flags;
extern atomic_uint flag_calls;

int delta_setup(void **state);
int delta_teardown(void **state);
/* INBOX with UIDs from 1 on; of a server that has modification sequences if it has any abilities. */
struct fake_mailbox *inbox_with(struct fixture *f, unsigned abilities, uint32_t count);
/* Starts; the folder that was not looked at yet, and the one that was. */
struct sync_folder *mount(struct fixture *f);
struct sync_folder *listed(struct fixture *f);
/* What happened since before. */
struct fake_counts since(struct fixture *f, const struct fake_counts *before);
/* The tree and the store have what the server has. */
void assert_in_step(struct fixture *f);
void assert_flags(struct fixture *f, uint32_t uid, const char *expect);

#define DELTA_TEST(name) cmocka_unit_test_setup_teardown(name, delta_setup, delta_teardown)

#endif
