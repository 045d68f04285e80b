/* SPDX-License-Identifier: MIT */
/*
 * The form of message names: a list of pieces, which a template's text is parsed into once.
 *
 * A name must tell its UID to someone who knows the template and nothing of the message. That works since no field
 * ever holds a '_': the ones in the text of the template cut a name into the same chunks as the template. In its
 * chunk %u must then be at a fixed distance from the start or from the end, and if from one only, something
 * that is no digit must limit it on the other side. A template that does not have this is refused.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/utf8.h"
#include "name.h"

/* A field's share of a name is never less than this, whatever the rest of the template takes. */
#define FIELD_MIN    24
#define UID_DIGITS   10
#define TEMPLATE_MAX 400

static const struct {
	char letter;
	enum piece_kind kind;
	unsigned char len; /* as in struct piece */
} kinds[] = {
	{'Y', PIECE_YEAR, 4},
	{'y', PIECE_YEAR_SHORT, 2},
	{'m', PIECE_MONTH, 2},
	{'d', PIECE_DAY, 2},
	{'H', PIECE_HOUR, 2},
	{'M', PIECE_MINUTE, 2},
	{'S', PIECE_SECOND, 2},
	{'f', PIECE_FROM, 0},
	{'s', PIECE_SUBJECT, 0},
	{'u', PIECE_UID, 0},
	{'%', PIECE_CHAR, 1},
};

static const char default_text[] = "%Y-%m-%d_%H%M_%f_%s.%u.eml";

static bool is_field(const struct piece *piece)
{
	return piece->kind == PIECE_FROM || piece->kind == PIECE_SUBJECT;
}

static bool is_cut(const struct piece *piece)
{
	return piece->kind == PIECE_CHAR && piece->c == '_';
}

/* --- Parsing --- */

static const char *check_text(const char *text)
{
	size_t len = strlen(text);

	if (len > TEMPLATE_MAX)
		return "the name template is too long";
	for (size_t pos = 0; pos < len;) {
		uint32_t c = utf8_next(text, len, &pos);
		if (c == UTF8_INVALID)
			return "the name template is not valid UTF-8";
		if (c < 0x20 || c == 0x7f || (c >= 0x80 && !mime_name_keeps(c)))
			return "the name template has a control character or an invisible one";
		if (c == '/')
			return "the name template has a '/'";
	}
	return *text == '.' ? "the name template begins with a dot" : NULL;
}

static const char *append_piece(
	struct mime_name_template *t, enum piece_kind kind, char c, unsigned char len)
{
	if (t->count == PIECES_MAX)
		return "the name template is too long";
	t->pieces[t->count++] = (struct piece){kind, c, len};
	return NULL;
}

static const char *append_escape(struct mime_name_template *t, char letter)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (letter != 0 && kinds[i].letter == letter)
			return append_piece(t, kinds[i].kind, letter, kinds[i].len);
	return "the name template has an unknown % (known: %Y %y %m %d %H %M %S %f %s %u %%)";
}

static const char *append_text(struct mime_name_template *t, const char *text)
{
	const char *why = NULL;

	for (; *text && !why; text++) {
		if (*text != '%')
			why = append_piece(t, PIECE_CHAR, *text, 1);
		else if ((why = append_escape(t, text[1])) == NULL)
			text++;
	}
	return why;
}

static bool ends_in_eml(const char *text)
{
	size_t len = strlen(text);
	return len >= 4 && strcmp(text + len - 4, ".eml") == 0;
}

/* --- Where the UID is --- */

static const char *find_uid(const struct mime_name_template *t, size_t *ret)
{
	size_t found = 0;

	for (size_t i = 0; i < t->count; i++) {
		if (t->pieces[i].kind == PIECE_UID) {
			*ret = i;
			found++;
		}
	}
	return found == 1 ? NULL : "the name template needs %u, once";
}

/* The bytes of the pieces first … last - 1, if no field is among them. */
static bool fixed_len(const struct mime_name_template *t, size_t first, size_t last, size_t *ret)
{
	size_t len = 0;

	for (size_t i = first; i < last; i++) {
		if (is_field(&t->pieces[i]))
			return false;
		len += t->pieces[i].len;
	}
	*ret = len;
	return true;
}

static bool limits_digits(const struct piece *piece)
{
	return piece->kind == PIECE_CHAR && (piece->c < '0' || piece->c > '9');
}

static const char *locate_uid(struct mime_name_template *t)
{
	size_t uid = 0, start, end;
	const char *why = find_uid(t, &uid);

	if (why)
		return why;
	for (start = uid; start > 0 && !is_cut(&t->pieces[start - 1]);)
		start--;
	for (end = uid + 1; end < t->count && !is_cut(&t->pieces[end]);)
		end++;
	for (size_t i = 0; i < start; i++)
		t->uid_chunk += is_cut(&t->pieces[i]);
	t->uid_from_start = fixed_len(t, start, uid, &t->uid_before);
	t->uid_from_end = fixed_len(t, uid + 1, end, &t->uid_after);

	bool left = t->uid_from_start || (uid > start && limits_digits(&t->pieces[uid - 1]));
	bool right = t->uid_from_end || (uid + 1 < end && limits_digits(&t->pieces[uid + 1]));
	if ((t->uid_from_start || t->uid_from_end) && left && right)
		return NULL;
	return "the name template hides %u: set it off by something that is no digit, and by '_' from one "
	       "side's %f and %s";
}

static const char *check_length(const struct mime_name_template *t)
{
	size_t len = UID_DIGITS;

	for (size_t i = 0; i < t->count; i++)
		len += is_field(&t->pieces[i]) ? FIELD_MIN : t->pieces[i].len;
	return len > MIME_NAME_MAX ? "the name template is too long" : NULL;
}

static const char *template_init(struct mime_name_template *t, const char *text)
{
	const char *why = check_text(text);

	*t = (struct mime_name_template){0};
	if (!why)
		why = append_text(t, text);
	if (!why && !ends_in_eml(text))
		why = append_text(t, ".eml");
	if (!why)
		why = locate_uid(t);
	return why ? why : check_length(t);
}

int mime_name_template_parse(const char *text, struct mime_name_template **ret, const char **why)
{
	if (!text)
		text = default_text;
	else if (strcmp(text, "uid") == 0)
		text = "%u.eml";
	struct mime_name_template *t = malloc(sizeof(*t));
	*why = NULL;
	if (!t)
		return -ENOMEM;
	*why = template_init(t, text);
	if (*why) {
		free(t);
		return -EINVAL;
	}
	*ret = t;
	return 0;
}

void mime_name_template_destroy(struct mime_name_template *name_template)
{
	free(name_template);
}

static struct mime_name_template standard;

static void standard_init(void)
{
	template_init(&standard, default_text);
}

const struct mime_name_template *mime_name_template_or_default(
	const struct mime_name_template *name_template)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	if (name_template)
		return name_template;
	pthread_once(&once, standard_init);
	return &standard;
}
