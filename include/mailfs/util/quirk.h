/* SPDX-License-Identifier: MIT */
/*
 * What servers do otherwise than they should, or otherwise than the others do, and what mailfs does about it: one table (src/util/quirk.c). The code
 * that meets a quirk says so. What is met is logged once and counted for the whole process, and `mailfsctl status` names it.
 */
#ifndef MAILFS_UTIL_QUIRK_H
#define MAILFS_UTIL_QUIRK_H

#include <stdint.h>

struct str;

enum quirk {
	/* Logging in. */
	QUIRK_MECHANISM_WITHOUT_SECRET,
	/* What a server announces and does not do. */
	QUIRK_ABILITY_REFUSED,
	QUIRK_LIST_PARAMETERS,
	QUIRK_ID_REFUSED,
	QUIRK_NOTIFY_REFUSED,
	QUIRK_IDLE_REFUSED,
	QUIRK_COMPRESS_REFUSED,
	QUIRK_THROTTLED,
	/* How it writes. */
	QUIRK_BELOW_INBOX,
	QUIRK_SHARED_AT_ROOT,
	QUIRK_NAME_IN_UTF8,
	QUIRK_STATUS_NAME,
	QUIRK_MISSING_WITHOUT_CODE,
	QUIRK_NUMBER_QUOTED,
	QUIRK_UID_LAST,
	QUIRK_MULTIPART_EMPTY,
	QUIRK_SIGN_OF_LIFE,
	/* What is not true. */
	QUIRK_SIZES_WRONG,
	QUIRK_RANGES_WRONG,
	QUIRK_RANGES_UNKNOWN,
	QUIRK_CHANGES_WRONG,
	QUIRK_COUNT_WRONG,
	QUIRK_WATCH_STALE,
	QUIRK_WATCH_SILENT,
	QUIRK_RENUMBERED,
	QUIRK_SELECTED_GHOST,
	/* POP3. */
	QUIRK_POP3_NO_CAPA,
	QUIRK_POP3_NO_UIDL,
	QUIRK_POP3_UIDL_TWICE,
	QUIRK_POP3_UNDELETED,
	QUIRK_POP3_EMPTY_CHALLENGE,
	QUIRK_POP3_BARE_LINES,
	QUIRK_POP3_LAST_LINE,
	QUIRK_COUNT
};

struct quirk_row {
	const char *name;    /* in a log, and in mailfsctl status */
	const char *servers; /* on which it was observed, with versions where those were noted */
	const char *what;    /* what such a server does */
	const char *done;    /* what mailfs does about it */
	const char *file;    /* where, below src */
};

const struct quirk_row *quirk_row(enum quirk quirk);
/* The server shows it. Counted; the first time logged (info). Blocks: never. */
void quirk_seen(enum quirk quirk);
/* Here is heeded what can not be seen. */
static inline void quirk_heeded(enum quirk quirk)
{
	(void)quirk;
}
/* How often it was seen by this process. */
uint64_t quirk_count(enum quirk quirk);
/* Appends the names of those that were seen, each on a line. */
void quirk_names(struct str *out);
/* Nothing was seen. For tests, which have one account after the other in a process. */
void quirk_forget(void);

#endif
