/* SPDX-License-Identifier: MIT */
/*
 * The table of quirks. A row stands here because some place in the code meets it: tests/lint/quirks.py holds both together. What an honest server may do
 * or leave out (an extension that it does not have, sizes that it does not tell) is no quirk.
 */
#include "mailfs/util/quirk.h"

#include <stdatomic.h>
#include <stddef.h>

#include "mailfs/util/log.h"
#include "mailfs/util/str.h"

static const struct quirk_row rows[QUIRK_COUNT] = {
	[QUIRK_MECHANISM_WITHOUT_SECRET] = {"mechanism-without-secret",
		"GNU Mailutils 3.15 and 3.19 imap4d, as they come",
		"announces SCRAM and CRAM-MD5 whether or not it has a secret for them, and refuses each user without a code",
		"if the line is secured, one attempt more, with the password itself, which makes two of a wrong one; later connections begin with what was taken",
		"imap/login.c"},
	[QUIRK_ABILITY_REFUSED] = {"ability-refused", "proxies before older servers",
		"announces an extension and does not know it, or does not keep to it",
		"it is not used on that connection any more", "imap/engine.c"},
	[QUIRK_LIST_PARAMETERS] = {"list-parameters", "proxies before older servers",
		"announces LIST-EXTENDED and says BAD to its options", "the plain LIST is used",
		"imap/list.c"},
	[QUIRK_ID_REFUSED] = {"id-refused", "some, while 163.com and others demand it",
		"announces ID and refuses it",
		"nothing: it is sent for those that let in nobody who has not introduced himself",
		"imap/opening.c"},
	[QUIRK_NOTIFY_REFUSED] = {"notify-refused", "scripted only",
		"announces NOTIFY and refuses to watch", "IDLE is used", "imap/notify.c"},
	[QUIRK_IDLE_REFUSED] = {"idle-refused", "scripted only",
		"announces IDLE and refuses it, again and again",
		"it is asked every refresh= seconds", "sync/watch.c"},
	[QUIRK_COMPRESS_REFUSED] = {"compress-refused", "scripted only",
		"announces COMPRESS=DEFLATE and refuses it, or sends what can not be inflated",
		"nothing is deflated in this mount any more", "sync/rate.c"},
	[QUIRK_THROTTLED] = {"throttled", "Office 365, Gmail",
		"says BAD or NO for a while because too much was asked for",
		"the words count as a refusal that passes, not as a command that it does not know",
		"imap/code.c"},
	[QUIRK_BELOW_INBOX] = {"below-inbox",
		"Courier 5.0 and 5.2; Cyrus 3.6 and 3.10 without altnamespace",
		"has all folders of the user below INBOX, where others may not be made",
		"they are shown there: INBOX/Archive", "imap/namespace.c"},
	[QUIRK_SHARED_AT_ROOT] = {"shared-at-root", "Cyrus 3.6 and 3.10 without altnamespace",
		"has the folders that all share beside INBOX, under no prefix",
		"NOTIFY can not name them apart from the user's own, so IDLE is used",
		"imap/notify.c"},
	[QUIRK_NAME_IN_UTF8] = {"name-in-utf8", "Dovecot 2.3",
		"writes mailbox names in the STATUS responses of NOTIFY in UTF-8 and not as elsewhere",
		"such a name is written as LIST has it before it is looked up", "imap/mutf7.c"},
	[QUIRK_STATUS_NAME] = {"status-name", "scripted only",
		"answers STATUS with another spelling of the mailbox's name",
		"the only answer is taken for the one", "imap/status.c"},
	[QUIRK_MISSING_WITHOUT_CODE] = {"missing-without-code",
		"Dovecot 2.3, Cyrus 3.6, Courier 5.0",
		"says in words only that a mailbox does not exist",
		"a few words that can mean nothing else are known", "imap/status.c"},
	[QUIRK_NUMBER_QUOTED] = {"number-quoted", "scripted only", "writes numbers in quotes",
		"they are read", "imap/sexp.c"},
	[QUIRK_UID_LAST] = {"uid-last", "scripted only",
		"writes the UID of a message behind its content",
		"as much as is asked for ahead of readers at once, 2 MiB, is held until the UID has come",
		"imap/bulk_message.c"},
	[QUIRK_MULTIPART_EMPTY] = {"multipart-empty",
		"Courier 5.0 and 5.2 (of what is nested more than ten deep), GNU Mailutils 3.15 and 3.19 (whose boundary never comes)",
		"describes a multipart without parts, as (\"MIXED\" …) or as a single part of that type",
		"it is a multipart that has none", "imap/bodystructure.c"},
	[QUIRK_SIGN_OF_LIFE] = {"sign-of-life", "Dovecot 2.3 and 2.4, Gmail",
		"tells in IDLE how many messages there are although nothing has changed",
		"no listing for that", "imap/watch.c"},
	[QUIRK_SIZES_WRONG] = {"sizes-wrong", "Exchange, hMailServer",
		"announces sizes of messages that are not those of their bytes",
		"all sizes of the account are provisional until the message was read",
		"sync/sizes.c"},
	[QUIRK_RANGES_WRONG] = {"ranges-wrong",
		"Dovecot 2.4.1, of a Maildir with CRLF in its files",
		"answers a partial FETCH with other bytes than those asked for",
		"a range begins with bytes that are known; large messages are fetched whole from then on",
		"sync/range.c"},
	[QUIRK_RANGES_UNKNOWN] = {"ranges-unknown", "scripted only",
		"answers a partial FETCH with the whole section and tells no origin",
		"it is cut to what was asked for where that is certain", "imap/body.c"},
	[QUIRK_CHANGES_WRONG] = {"changes-wrong",
		"iCloud (VANISHED of what is there); servers whose modification sequences stand still",
		"tells changes that do not add up with how many messages there are",
		"one rung of the ladder lower: nothing is dropped that is not confirmed",
		"sync/listing_find.c"},
	[QUIRK_COUNT_WRONG] = {"count-wrong", "Exchange (EXISTS is one too many)",
		"lists fewer messages than it says that there are, each time",
		"what was listed before is kept unless it insists, and SEARCH too",
		"sync/listing_find.c"},
	[QUIRK_WATCH_STALE] = {"watch-stale", "Dovecot 2.3",
		"leaves a folder that came while a NOTIFY began out of it for ever",
		"the watch is begun anew after folders have come", "sync/watch.c"},
	[QUIRK_WATCH_SILENT] = {"watch-silent",
		"GNU Mailutils 3.15 and 3.19 imap4d (nothing before DONE); Courier 5.0 without ENHANCEDIDLE (once a minute); NOTIFY of Dovecot 2.3",
		"tells late or never what it should tell at once",
		"a watch is taken at its word for five minutes; mailfsctl refresh asks at once",
		"sync/folder.c"},
	[QUIRK_RENUMBERED] = {"renumbered",
		"GNU Mailutils 3.15 and 3.19 imap4d (after each delivery, until a session that may write has opened the mailbox), Microsoft's Archive",
		"changes UIDVALIDITY although the messages are the same",
		"what was fetched is carried over to the messages that can be known again; their names change",
		"sync/carry.c"},
	[QUIRK_SELECTED_GHOST] = {"selected-ghost", "Dovecot 2.3",
		"answers STATUS of the selected mailbox although it is gone",
		"another is selected before it is asked", "sync/survey.c"},
	[QUIRK_POP3_NO_CAPA] = {"pop3-no-capa", "popa3d 1.0.3, Solid POP3 0.15", "knows no CAPA",
		"what it can do is found by trying; commands go one by one", "pop3/capa.c"},
	[QUIRK_POP3_NO_UIDL] = {"pop3-no-uidl", "scripted only", "has no UIDL",
		"messages are known by their content", "pop3/list.c"},
	[QUIRK_POP3_UIDL_TWICE] = {"pop3-uidl-twice",
		"popa3d 1.0.3 (which hashes some fields of the header)",
		"gives two messages the same unique-id", "those are told apart by their content",
		"sync/plan.c"},
	[QUIRK_POP3_UNDELETED] = {"pop3-undeleted", "scripted only",
		"lists messages again whose deletion it has confirmed",
		"they are known by their content, and deleted again", "sync/look.c"},
	[QUIRK_POP3_EMPTY_CHALLENGE] = {"pop3-empty-challenge", "scripted only",
		"writes an empty challenge as + alone", "it is read", "pop3/reply.c"},
	[QUIRK_POP3_BARE_LINES] = {"pop3-bare-lines", "scripted only", "ends lines with LF",
		"in such a message any LF ends a line", "pop3/multiline.c"},
	[QUIRK_POP3_LAST_LINE] = {"pop3-last-line", "scripted only",
		"puts the final dot behind a last line that it has not completed with CRLF",
		"that is the end if as many bytes as were listed have come", "pop3/multiline.c"},
};

static _Atomic uint64_t counts[QUIRK_COUNT];

const struct quirk_row *quirk_row(enum quirk quirk)
{
	return &rows[quirk];
}

void quirk_seen(enum quirk quirk)
{
	if (atomic_fetch_add(&counts[quirk], 1) == 0)
		log_info("the server has a quirk, %s: it %s; so: %s", rows[quirk].name,
			rows[quirk].what, rows[quirk].done);
}

uint64_t quirk_count(enum quirk quirk)
{
	return atomic_load(&counts[quirk]);
}

void quirk_names(struct str *out)
{
	for (size_t i = 0; i < QUIRK_COUNT; i++)
		if (quirk_count((enum quirk)i) > 0)
			str_printf(out, "%s\n", rows[i].name);
}

void quirk_forget(void)
{
	for (size_t i = 0; i < QUIRK_COUNT; i++)
		atomic_store(&counts[i], 0);
}
