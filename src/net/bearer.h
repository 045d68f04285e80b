/* SPDX-License-Identifier: MIT */
/* The two mechanisms for an OAuth 2 access token, which say the same in two forms. */
#ifndef NET_BEARER_H
#define NET_BEARER_H

#include "mailfs/util/secret.h"
#include "mailfs/util/str.h"

/* The initial responses. -EINVAL: user or token holds what the form can not hold. -ENOMEM. */
int sasl_oauthbearer_first(const char *user, const struct secret *token, struct str *out);
int sasl_xoauth2_first(const char *user, const struct secret *token, struct str *out);

#endif
