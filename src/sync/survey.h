/* SPDX-License-Identifier: MIT */
/*
 * One look at the account's folders: what LIST says is held against what is known (survey.c), and those that were renamed are known again
 * (rename.c). roster.c says when.
 */
#ifndef SYNC_SURVEY_H
#define SYNC_SURVEY_H

#include "private.h"

/* A folder that LIST names and nobody knew. */
struct arrival {
	struct sync_folder *folder;
	struct sync_folder **
		earlier; /* was there under that name, and went, the first of several; NULL: none was */
	size_t places; /* directories that it needs beyond those that there were, about */
	struct source_state state; /* STATUS */
	bool looked, there;        /* that was asked; and answered */
	struct departure *former;  /* what it was called; NULL: it is new */
};

/* A folder that LIST leaves out. */
struct departure {
	struct sync_folder *folder;
	struct store_mailbox state;
	bool leaves;          /* it is to be shown no more */
	bool confirmed;       /* the server says that there is none of that name */
	struct arrival *heir; /* what it is called now; NULL: it is no more */
};

struct survey {
	struct sync_account *account;
	struct worker *worker;
	struct source_mailbox *listed; /* with their own strings; sorted */
	size_t listed_count, listed_cap;
	struct sync_folder **known; /* those that are not gone; sorted */
	size_t known_count;
	struct sync_folder **gone; /* the others; sorted */
	size_t gone_count;
	struct arrival *arrivals; /* sorted; parents before children */
	size_t arrival_count;
	struct departure *departures; /* likewise */
	size_t departure_count;
	size_t places;  /* that all arrivals need */
	unsigned looks; /* STATUS and proofs that were asked for */
	bool quiet;     /* the account starts: nobody is told */
	bool changed;
	bool full;   /* more names than an account may have in its life */
	bool exodus; /* most of the folders leave at once: what is stored of them stays */
	struct source_error error;
};

/*
 * So many directories are made for folders while an account lives: each stays, also when the folder goes, and takes more than a kilobyte. A server that
 * always lists other names, or delimiters, reaches it; a name that comes back does not count. For tests it can be set.
 */
extern size_t survey_places_max;
/* Asks, compares and applies. -EAGAIN as job.run says. Blocks: network, disk. */
int survey_run(struct survey *survey);
/* Frees what it holds; arrivals that were not applied too. */
void survey_finish(struct survey *survey);
/* STATUS. Blocks: network. */
int survey_status(struct survey *survey, const char *name, struct source_state *ret);
/* How many questions one survey may ask beyond the LIST; what is left is for the next one. */
#define SURVEY_LOOKS_MAX 2000

/* Finds out which departures are arrivals under another name. Blocks: network, disk. */
int renames_find(struct survey *survey);
/* Hands on what is stored, and the pin. Blocks: disk, and until the former's listing has ended. */
int rename_store(struct survey *survey, struct arrival *arrival);
/* Nothing lists the folder any more, and nothing will; false: not within a few seconds. It is gone. */
bool rename_quiet(struct sync_folder *folder);

#endif
