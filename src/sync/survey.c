/* SPDX-License-Identifier: MIT */
/*
 * What LIST says now against what is known. Invariants: a folder is taken for gone only when LIST leaves it out and the server, asked for that one, does not have it;
 * what is stored of it is removed only when the server has said so in as many words. Likewise one that had messages holds none from now on only when LIST says so and
 * the server, asked for that one, does not have it. An empty LIST where there were folders is an error. What is
 * found is applied only when all that had to be asked was answered, so a survey that fails changes nothing.
 */
#include "survey.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"
#include "mailfs/util/quirk.h"
#include "mailfs/util/str.h"

/* A folder that the server neither lists nor has, but for a reason that it does not tell, goes after so many surveys. */
#define MISSED_MAX 2
/* More than so many folders, and more than half of them, do not leave at once. */
#define EXODUS_MIN 3

size_t survey_places_max = (size_t)2 * SOURCE_MAILBOXES_MAX;

/* --- What is listed --- */

static void listed_reset(struct survey *survey)
{
	for (size_t i = 0; i < survey->listed_count; i++) {
		free((char *)survey->listed[i].name);
		free((char *)survey->listed[i].special_use);
	}
	survey->listed_count = 0;
}

static int on_mailbox(void *arg, const struct source_mailbox *mailbox)
{
	struct survey *survey = arg;
	if (survey->listed_count >= SOURCE_MAILBOXES_MAX)
		return -E2BIG;
	int err = array_grow(&survey->listed, &survey->listed_cap, survey->listed_count + 1,
		sizeof(*survey->listed));
	if (err < 0)
		return err;
	struct source_mailbox *copy = &survey->listed[survey->listed_count];
	*copy = *mailbox;
	copy->name = strdup(mailbox->name);
	copy->special_use = mailbox->special_use ? strdup(mailbox->special_use) : NULL;
	survey->listed_count++;
	return !copy->name || (mailbox->special_use && !copy->special_use) ? -ENOMEM : 0;
}

static int call_list(struct worker *worker, void *arg, struct source_error *error)
{
	struct survey *survey = arg;
	listed_reset(survey);
	int err = worker->account->source->ops->list(worker->session, on_mailbox, survey, error);
	if (err == -E2BIG)
		return session_fail(error, SOURCE_SCOPE_MAILBOX, -EIO,
			"the server lists more than %d folders, or their names are too long",
			SOURCE_MAILBOXES_MAX);
	return err;
}

static int compare_listed(const void *a, const void *b)
{
	const struct source_mailbox *x = a, *y = b;
	return strcmp(x->name, y->name);
}

/* Each name once. */
static void listed_sort(struct survey *survey)
{
	size_t kept = 0;
	if (survey->listed_count)
		qsort(survey->listed, survey->listed_count, sizeof(*survey->listed),
			compare_listed);
	for (size_t i = 0; i < survey->listed_count; i++) {
		struct source_mailbox *mailbox = &survey->listed[i];
		if (kept && strcmp(survey->listed[kept - 1].name, mailbox->name) == 0) {
			free((char *)mailbox->name);
			free((char *)mailbox->special_use);
			continue;
		}
		survey->listed[kept++] = *mailbox;
	}
	survey->listed_count = kept;
}

/* --- What is known --- */

static int compare_known(const void *a, const void *b)
{
	struct sync_folder *const *x = a, *const *y = b;
	return strcmp((*x)->name, (*y)->name);
}

static int gather_known(struct survey *survey)
{
	struct sync_account *account = survey->account;
	pthread_mutex_lock(&account->lock);
	size_t count = account->folder_count;
	survey->known = calloc(count + 1, sizeof(struct sync_folder *));
	survey->gone = calloc(count + 1, sizeof(struct sync_folder *));
	for (size_t i = 0; survey->known && survey->gone && i < count; i++) {
		struct sync_folder *folder = account->folders[i];
		if (folder->gone)
			survey->gone[survey->gone_count++] = folder;
		else
			survey->known[survey->known_count++] = folder;
	}
	pthread_mutex_unlock(&account->lock);
	if (!survey->known || !survey->gone)
		return -ENOMEM;
	qsort(survey->known, survey->known_count, sizeof(struct sync_folder *), compare_known);
	qsort(survey->gone, survey->gone_count, sizeof(struct sync_folder *), compare_known);
	return 0;
}

static int compare_to_name(const void *name, const void *folder)
{
	return strcmp(name, (*(struct sync_folder *const *)folder)->name);
}

/* Those of that name that went, the first of them; NULL: there was none. */
static struct sync_folder **find_gone(const struct survey *survey, const char *name)
{
	struct sync_folder **found = bsearch(name, survey->gone, survey->gone_count,
		sizeof(struct sync_folder *), compare_to_name);
	while (found && found > survey->gone && strcmp(found[-1]->name, name) == 0)
		found--;
	return found;
}

/* --- The difference --- */

static int add_departure(struct survey *survey, struct sync_folder *folder)
{
	struct departure *departure = &survey->departures[survey->departure_count++];
	departure->folder = folder;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&survey->account->lock);
	departure->state = folder->state;
	return 0;
}

/* The directories that a name needs beyond those of the one before it, in the order of names. */
static size_t count_places(
	const struct source_mailbox *before, const struct source_mailbox *mailbox)
{
	bool alike = before && before->delimiter == mailbox->delimiter;
	const char *name = mailbox->name;
	size_t places = 1;
	for (const char *p = alike ? before->name : ""; *p && *p == *name; p++)
		name++;
	for (; mailbox->delimiter && *name; name++)
		places += *name == mailbox->delimiter;
	return places;
}

/* Whether one of those of that name that went had its place where this one has it: another delimiter makes other directories of a name. */
static bool had_places(const struct survey *survey, const struct arrival *arrival,
	const struct source_mailbox *mailbox)
{
	struct sync_folder **at = arrival->earlier, **end = survey->gone + survey->gone_count;
	for (; at && at < end && strcmp((*at)->name, mailbox->name) == 0; at++)
		if (sync_folder_mailbox(*at)->delimiter == mailbox->delimiter)
			return true;
	return false;
}

static int add_arrival(struct survey *survey, size_t listed)
{
	const struct source_mailbox *mailbox = &survey->listed[listed];
	struct arrival *arrival = &survey->arrivals[survey->arrival_count];
	arrival->earlier = find_gone(survey, mailbox->name);
	arrival->places = had_places(survey, arrival, mailbox)
	                          ? 0
	                          : count_places(listed > 0 ? mailbox - 1 : NULL, mailbox);
	survey->places += arrival->places;
	survey->full = survey->account->roster.places + survey->places > survey_places_max;
	if (survey->full)
		return session_fail(&survey->error, SOURCE_SCOPE_MAILBOX, -EIO,
			"the server has listed more than %zu folders by now: mount it anew if that is as it should be",
			survey_places_max);
	int err = folder_create(survey->account, mailbox, &arrival->folder);
	if (err == 0)
		survey->arrival_count++;
	return err;
}

/* -1: only known, +1: only listed, 0: both. */
static int order(const struct survey *survey, size_t known, size_t listed)
{
	if (known >= survey->known_count)
		return 1;
	if (listed >= survey->listed_count)
		return -1;
	return strcmp(survey->known[known]->name, survey->listed[listed].name);
}

static int find_differences(struct survey *survey)
{
	int err = 0;
	survey->arrivals = calloc(survey->listed_count + 1, sizeof(*survey->arrivals));
	survey->departures = calloc(survey->known_count + 1, sizeof(*survey->departures));
	if (!survey->arrivals || !survey->departures)
		return -ENOMEM;
	for (size_t k = 0, l = 0;
		err == 0 && (k < survey->known_count || l < survey->listed_count);) {
		int side = order(survey, k, l);
		if (side < 0)
			err = add_departure(survey, survey->known[k]);
		else if (side > 0)
			err = add_arrival(survey, l);
		else if (!survey->known[k]->disowned)
			survey->known[k]->missed = 0;
		k += side <= 0;
		l += side >= 0;
	}
	return err;
}

/* --- The second look --- */

struct look {
	const char *name;
	struct source_state state;
};

static int call_status(struct worker *worker, void *arg, struct source_error *error)
{
	struct look *look = arg;
	const struct source_ops *ops = worker->account->source->ops;
	if (!ops->status)
		return session_fail(error, SOURCE_SCOPE_MAILBOX, -EOPNOTSUPP, "no STATUS");
	return ops->status(worker->session, look->name, &look->state, error);
}

int survey_status(struct survey *survey, const char *name, struct source_state *ret)
{
	struct look look = {.name = name};
	survey->looks++;
	int err = session_ask(survey->worker, call_status, &look, &survey->error);
	if (err == 0)
		*ret = look.state;
	return err;
}

/* Whether that failed for want of a connection: the survey fails, too. */
static bool is_unanswered(const struct survey *survey, int err)
{
	return err < 0 && (err == -EAGAIN || survey->error.scope >= SOURCE_SCOPE_ACCOUNT);
}

static bool is_selectable(const struct source_mailbox *mailbox)
{
	return !(mailbox->flags & SOURCE_MAILBOX_NOSELECT);
}

/* As far as is known: that it was listed once. */
static bool had_messages(struct sync_folder *folder)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	return folder->state.folder != 0;
}

/*
 * A server answers for the mailbox that is selected out of what the session has open, also if it is gone (Dovecot). Another is selected first, or
 * the session ended.
 */
static void leave_folder(struct survey *survey, const struct sync_folder *folder)
{
	struct worker *worker = survey->worker;
	struct source_error error;
	struct source_state state;
	if (worker->selected != folder)
		return;
	quirk_heeded(QUIRK_SELECTED_GHOST);
	pthread_mutex_lock(&survey->account->lock);
	struct sync_folder *inbox = roster_find(survey->account, "INBOX");
	pthread_mutex_unlock(&survey->account->lock);
	if (!inbox || inbox == folder || session_select(worker, inbox, NULL, &state, &error) < 0)
		session_drop(worker, true);
}

/* Whether it is really gone. */
static int look_again(struct survey *survey, struct departure *departure)
{
	struct sync_folder *folder = departure->folder;
	struct source_state state;
	if (!departure->state.folder && !is_selectable(sync_folder_mailbox(folder))) {
		departure->leaves = true;
		return 0;
	}
	leave_folder(survey, folder);
	int err = survey_status(survey, folder->name, &state);
	if (err == 0) {
		log_debug("%s: the server does not list it, but has it", folder->name);
		return 0;
	}
	if (is_unanswered(survey, err))
		return err;
	departure->confirmed = err == -ENOENT;
	departure->leaves = departure->confirmed || ++folder->missed >= MISSED_MAX;
	return 0;
}

static int look_again_at_all(struct survey *survey)
{
	int err = 0;
	for (size_t i = 0; err == 0 && i < survey->departure_count; i++)
		if (survey->looks < SURVEY_LOOKS_MAX)
			err = look_again(survey, &survey->departures[i]);
	return err;
}

static bool is_inbox(const struct source_mailbox *mailbox)
{
	return strcasecmp(mailbox->name, "INBOX") == 0;
}

/* Whether LIST leaves the INBOX out, and no survey has seen it. */
static bool lacks_inbox(const struct survey *survey)
{
	for (size_t i = 0; i < survey->listed_count; i++)
		if (is_inbox(&survey->listed[i]))
			return false;
	for (size_t i = 0; i < survey->known_count; i++)
		if (folder_is_inbox(survey->known[i]))
			return false;
	return true;
}

/* It is always there (RFC 3501 §5.1), but not for each account. */
static int look_for_inbox(struct survey *survey)
{
	struct source_state state;
	if (!lacks_inbox(survey))
		return 0;
	int err = survey_status(survey, "INBOX", &state);
	if (err < 0)
		return is_unanswered(survey, err) ? err : 0;
	log_debug("INBOX: the server does not list it, but has it");
	const struct source_mailbox inbox = {.name = "INBOX",
		.delimiter = survey->listed_count ? survey->listed[0].delimiter : 0};
	err = on_mailbox(survey, &inbox);
	if (err == 0)
		listed_sort(survey);
	return err == -E2BIG ? 0 : err;
}

/* Whether it is to be asked if LIST is right in that it holds no messages. folder: as it is known; NULL: it is not. */
static bool is_doubtful(struct sync_folder *folder, const struct source_mailbox *mailbox)
{
	if (is_selectable(mailbox) || (folder && !is_selectable(sync_folder_mailbox(folder))))
		return false;
	return is_inbox(mailbox) || (folder && had_messages(folder));
}

static void keep_selectable(struct sync_folder *folder, struct source_mailbox *mailbox)
{
	mailbox->flags &= ~(unsigned)SOURCE_MAILBOX_NOSELECT;
	if (folder && !folder->disowned)
		log_warning(
			"%s: the server lists it as one without messages (\\Noselect), and does not stand by it: it stays as it is",
			folder->name);
	if (folder)
		folder->disowned = true;
}

/*
 * A mailbox that was deleted and has children is listed so (RFC 3501 §6.3.4), and STATUS is refused then. Of the INBOX, which can not be deleted, nothing but
 * SELECT shows that it can not be read.
 */
static int look_at_doubtful(
	struct survey *survey, struct sync_folder *folder, struct source_mailbox *mailbox)
{
	struct source_state state;
	if (folder)
		leave_folder(survey, folder);
	int err = survey_status(survey, mailbox->name, &state);
	if (is_unanswered(survey, err))
		return err;
	if (folder && err == 0)
		folder->missed = 0;
	bool final = err == -ENOENT || (survey->error.retry == SOURCE_RETRY_NEVER &&
					       survey->error.cause != SOURCE_CAUSE_PROTOCOL);
	bool stays = err == 0 || (folder && folder_is_inbox(folder) && had_messages(folder)) ||
	             (folder && !final && ++folder->missed < MISSED_MAX);
	if (stays)
		keep_selectable(folder, mailbox);
	else if (folder)
		folder->disowned = false;
	return 0;
}

static int look_at_unselectable(struct survey *survey)
{
	int err = 0;
	for (size_t k = 0, l = 0; err == 0 && l < survey->listed_count;) {
		int side = order(survey, k, l);
		struct sync_folder *folder = side == 0 ? survey->known[k] : NULL;
		struct source_mailbox *mailbox = &survey->listed[l];
		bool doubtful = side >= 0 && is_doubtful(folder, mailbox);
		if (folder && !doubtful)
			folder->disowned = false;
		if (doubtful && survey->looks < SURVEY_LOOKS_MAX)
			err = look_at_doubtful(survey, folder, mailbox);
		else if (doubtful)
			mailbox->flags &= ~(unsigned)SOURCE_MAILBOX_NOSELECT;
		k += side <= 0;
		l += side >= 0;
	}
	return err;
}

/* --- What follows from it --- */

static struct sync_events events_of(const struct survey *survey)
{
	return survey->quiet ? (struct sync_events){0} : account_events(survey->account);
}

static int append_folder(struct sync_account *account, struct sync_folder *folder)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	int err = array_grow(&account->folders, &account->folder_cap, account->folder_count + 1,
		sizeof(struct sync_folder *));
	if (err < 0)
		return err;
	folder->arrival = FOLDER_ARRIVING;
	account->folders[account->folder_count++] = folder;
	watch_arrived(folder);
	return 0;
}

/* As one of those that it was. -EBUSY: it can not be. */
static int revive(
	const struct survey *survey, const struct arrival *arrival, struct sync_folder **ret)
{
	const struct sync_folder *fresh = arrival->folder;
	struct sync_folder **at = arrival->earlier, **end = survey->gone + survey->gone_count;
	int err = -EBUSY;
	for (; at && err == -EBUSY && at < end && strcmp((*at)->name, fresh->name) == 0; at++) {
		err = folder_revive(*at, fresh);
		if (err == 0)
			*ret = *at;
	}
	return err;
}

/*
 * The arrival becomes the account's: as the folder that it was earlier, which else would stay beside it for good, or, where somebody still has to do
 * with that one, as another, which counts as one more.
 */
static int adopt(struct survey *survey, struct arrival *arrival, struct sync_folder **ret)
{
	struct sync_folder *folder = arrival->folder;
	int err = roster_load_folder(folder);
	if (err < 0)
		return err;
	err = revive(survey, arrival, ret);
	if (err != -EBUSY)
		return err;
	err = append_folder(survey->account, folder);
	if (err < 0)
		return err;
	if (arrival->places == 0)
		arrival->places = 1;
	arrival->folder = NULL;
	*ret = folder;
	return 0;
}

/* A former one is not announced as gone: the tree makes one of the other. */
static int apply_arrival(struct survey *survey, struct arrival *arrival)
{
	struct sync_folder *folder = arrival->folder;
	struct sync_folder *former = arrival->former ? arrival->former->folder : NULL;
	struct sync_events events = events_of(survey);

	if (former) {
		folder_bury(former);
		int err = rename_store(survey, arrival);
		if (err < 0)
			log_warning(
				"%s: renamed from %s; what was stored of it is not found again: %s",
				folder->name, former->name, strerror(-err));
	}
	int err = adopt(survey, arrival, &folder);
	if (err < 0)
		return err;
	survey->changed = true;
	survey->account->roster.places += arrival->places;
	if (events.added)
		events.added(events.arg, folder, former);
	folder_placed(folder);
	return 0;
}

/* A folder of that name may come back: nothing may be left of this one then. */
static void forget_stored(struct survey *survey, const struct departure *departure)
{
	struct store *store = survey->account->store;
	const char *name = departure->folder->name;
	if (!departure->confirmed || survey->exodus || !rename_quiet(departure->folder))
		return;
	int err = departure->state.folder ? store_folder_remove(store, departure->state.folder) : 0;
	if (err == 0 && departure->state.former)
		err = store_folder_remove(store, departure->state.former);
	if (err == 0)
		err = store_mailbox_remove(store, name);
	if (err < 0)
		log_warning("%s: it is gone, but stays in the store: %s", name, strerror(-err));
}

/*
 * A server that has lost its disk may well list the INBOX alone, and say of each folder that there is none. So many at once are not shown any more,
 * but what is stored of them stays, for when they come back.
 */
static bool is_exodus(const struct survey *survey)
{
	size_t leaving = 0;
	for (size_t i = 0; i < survey->departure_count; i++) {
		const struct departure *departure = &survey->departures[i];
		leaving += departure->leaves && !departure->heir && departure->state.folder;
	}
	return leaving > EXODUS_MIN && leaving > survey->known_count / 2;
}

static void apply_departure(struct survey *survey, const struct departure *departure)
{
	struct sync_events events = events_of(survey);
	if (!departure->leaves || departure->heir)
		return;
	folder_bury(departure->folder);
	survey->changed = true;
	if (events.removed)
		events.removed(events.arg, departure->folder);
	forget_stored(survey, departure);
}

static int apply_attributes(struct survey *survey)
{
	struct sync_events events = events_of(survey);
	for (size_t k = 0, l = 0; k < survey->known_count && l < survey->listed_count;) {
		int side = order(survey, k, l);
		struct sync_folder *folder = survey->known[k];
		int other = side == 0 ? folder_describe(folder, &survey->listed[l]) : 0;
		if (other < 0)
			return other;
		survey->changed |= other;
		if (other && events.attributes)
			events.attributes(events.arg, folder);
		k += side <= 0;
		l += side >= 0;
	}
	return 0;
}

/* New ones from the top down, then the attributes, then what is gone, from the leaves up. */
static int apply(struct survey *survey)
{
	int err = 0;
	for (size_t i = 0; err == 0 && i < survey->arrival_count; i++)
		err = apply_arrival(survey, &survey->arrivals[i]);
	if (err == 0)
		err = apply_attributes(survey);
	survey->exodus = is_exodus(survey);
	for (size_t i = survey->departure_count; err == 0 && i > 0; i--)
		apply_departure(survey, &survey->departures[i - 1]);
	return err;
}

/* What the account's own doing failed in, for the one line of an error. */
static int explain(struct survey *survey, int err)
{
	if (err < 0 && err != -EAGAIN && !survey->error.text[0])
		return account_failed(&survey->error, err, "the list of folders can not be kept");
	return err;
}

int survey_run(struct survey *survey)
{
	int err = session_ask(survey->worker, call_list, survey, &survey->error);
	if (err < 0)
		return explain(survey, err);
	listed_sort(survey);
	err = gather_known(survey);
	if (err == 0 && survey->listed_count == 0 && survey->known_count > 0)
		return session_fail(&survey->error, SOURCE_SCOPE_MAILBOX, -EIO,
			"the server lists no folders, where there were %zu", survey->known_count);
	if (err == 0)
		err = look_for_inbox(survey);
	if (err == 0 && survey->listed_count == 0)
		return session_fail(
			&survey->error, SOURCE_SCOPE_MAILBOX, -EIO, "the server lists no folders");
	if (err == 0)
		err = look_at_unselectable(survey);
	if (err == 0)
		err = find_differences(survey);
	if (err == 0)
		err = look_again_at_all(survey);
	if (err == 0)
		err = renames_find(survey);
	if (err == 0)
		err = apply(survey);
	return explain(survey, err);
}

void survey_finish(struct survey *survey)
{
	struct worker *worker = survey->worker;
	for (size_t i = 0; i < survey->arrival_count; i++) {
		struct sync_folder *folder = survey->arrivals[i].folder;
		if (!folder)
			continue;
		pthread_mutex_lock(&survey->account->lock);
		if (worker->selected == folder)
			worker->selected = NULL;
		pthread_mutex_unlock(&survey->account->lock);
		folder_destroy(folder);
	}
	listed_reset(survey);
	free(survey->listed);
	free(survey->known);
	free(survey->gone);
	free(survey->arrivals);
	free(survey->departures);
}
