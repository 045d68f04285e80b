/* SPDX-License-Identifier: MIT */
/* All SQL there is: the schema, and the statements that are prepared once. */
#ifndef MAILFS_STORE_SQL_H
#define MAILFS_STORE_SQL_H

#include "db.h"

#define SQL_SCHEMA_VERSION 4

extern const char *const sql_pragmas;
/* sql_schema[v] takes a database from version v to v + 1. */
extern const char *const sql_schema[SQL_SCHEMA_VERSION];
extern const char *const sql_statements[DB_STATEMENTS];

#endif
