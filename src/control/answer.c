/* SPDX-License-Identifier: MIT */
/* JSON that is put together: where memory ends is remembered, so that half an answer is never taken for a whole one. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "mailfs/util/utf8.h"

#include "private.h"

#define REPLACEMENT "\xef\xbf\xbd"

int answer_init(struct answer *answer)
{
	*answer = (struct answer){.root = json_object()};
	return answer->root ? 0 : -ENOMEM;
}

static int append_piece(const char *data, size_t len, void *arg)
{
	struct str *out = arg;
	str_append(out, data, len);
	return str_error(out);
}

int answer_line(json_t *object, struct str *out)
{
	size_t before = out->len;
	int r = object ? json_dump_callback(object, append_piece, out, JSON_COMPACT) : -1;
	json_decref(object);
	str_putc(out, '\n');
	if (r == 0 && str_error(out) == 0)
		return 0;
	str_truncate(out, before);
	return -ENOMEM;
}

void answer_put(struct answer *answer, json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new_nocheck(object, key, value) < 0)
		answer->failed = true;
}

void answer_append(struct answer *answer, json_t *array, json_t *value)
{
	if (json_array_append_new(array, value) < 0)
		answer->failed = true;
}

void answer_number(struct answer *answer, json_t *object, const char *key, uint64_t number)
{
	json_int_t most = INT64_MAX;
	json_int_t value = number < (uint64_t)most ? (json_int_t)number : most;
	answer_put(answer, object, key, json_integer(value));
}

json_t *answer_object(struct answer *answer, json_t *object, const char *key)
{
	json_t *value = json_object();
	answer_put(answer, object, key, value);
	return answer->failed ? NULL : value;
}

json_t *answer_array(struct answer *answer, json_t *object, const char *key)
{
	json_t *value = json_array();
	answer_put(answer, object, key, value);
	return answer->failed ? NULL : value;
}

json_t *answer_text(const char *text, size_t len)
{
	_cleanup_str_ struct str valid = STR_INIT;
	for (size_t at = 0; at < len;) {
		size_t start = at;
		bool bad = utf8_next(text, len, &at) == UTF8_INVALID || !text[start];
		if (bad)
			str_append_cstr(&valid, REPLACEMENT);
		else
			str_append(&valid, text + start, at - start);
	}
	return str_error(&valid) < 0 ? NULL : json_string_nocheck(str_cstr(&valid));
}

void answer_string(struct answer *answer, json_t *object, const char *key, const char *text)
{
	answer_put(answer, object, key, text ? answer_text(text, strlen(text)) : json_null());
}

void answer_time(struct answer *answer, json_t *object, const char *key, int64_t time_s)
{
	char text[64];
	time_t time = (time_t)time_s;
	struct tm tm;
	bool known = time_s != 0 && gmtime_r(&time, &tm) &&
	             strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) > 0;
	answer_string(answer, object, key, known ? text : NULL);
}
