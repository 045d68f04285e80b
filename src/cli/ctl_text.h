/* SPDX-License-Identifier: MIT */
/* What mailfsctl shows people, made from what the mount answered. Pure: values in, text out. */
#ifndef CLI_CTL_TEXT_H
#define CLI_CTL_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "mailfs/util/str.h"

/* Appends text; whatever a terminal would act upon, or that turns the direction of writing, becomes `?'. */
void ctl_text_safe(const char *text, struct str *out);
/* As it is, or safe for a terminal. */
void ctl_text_path(const char *path, bool terminal, struct str *out);
/* "812 bytes", "1.2 MiB" */
void ctl_text_size(uint64_t bytes, struct str *out);
/* "12 s", "5 min", "3 h", "12 days" */
void ctl_text_span(int64_t seconds, struct str *out);
/* Seconds since the epoch of an ISO 8601 time in UTC; 0: it is none. */
int64_t ctl_text_time(const char *text);

/*
 * The answer to "status". verbose: what the server can do, and the folders that were never listed, too. now_s: wall clock. terminal: paths
 * are made safe; else they are exact, for programs. Times are shown in the zone of the process.
 */
void ctl_text_status(
	const json_t *status, bool verbose, int64_t now_s, bool terminal, struct str *out);
/* An event of a watch as one line. */
void ctl_text_event(const json_t *event, bool terminal, struct str *out);

#endif
