/* SPDX-License-Identifier: MIT */
/* The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), as far as a client's framing of it must be seen to work. */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "script.h"

#define SALT       "0123456789abcdef"
#define ITERATIONS 4096
#define AUTH       "AUTH SCRAM-SHA-256 "

static void hmac(const unsigned char key[32], const char *text, unsigned char out[32])
{
	HMAC(EVP_sha256(), key, 32, (const unsigned char *)text, strlen(text), out, NULL);
}

static void send_challenge(struct script_conn *conn, const char *text)
{
	struct str base64 = STR_INIT;
	net_base64_encode(text, strlen(text), &base64);
	script_send(conn, "+ ", 2);
	script_send(conn, base64.data, base64.len);
	script_send(conn, "\r\n", 2);
	str_finish(&base64);
}

static void signature(const char *password, const char *auth_message, unsigned char out[32])
{
	unsigned char salted[32], key[32];
	PKCS5_PBKDF2_HMAC(password, (int)strlen(password), (const unsigned char *)SALT,
		(int)strlen(SALT), ITERATIONS, EVP_sha256(), 32, salted);
	hmac(salted, "Server Key", key);
	hmac(key, auth_message, out);
}

/* A line in base64, as text. */
static bool read_text(struct script_conn *conn, const char *prefix, struct str *out)
{
	char line[2000];
	if (!script_line(conn, line, sizeof(line)) || strncmp(line, prefix, strlen(prefix)) != 0 ||
		net_base64_decode(line + strlen(prefix), strlen(line) - strlen(prefix), out) < 0) {
		script_wrong(conn, "SCRAM: '%.300s'", line);
		return false;
	}
	return true;
}

static void send_final(struct script_conn *conn, const unsigned char digest[32])
{
	struct str text = STR_INIT, base64 = STR_INIT;
	net_base64_encode(digest, 32, &base64);
	str_printf(&text, "v=%s", str_cstr(&base64));
	send_challenge(conn, str_cstr(&text));
	str_finish(&base64);
	str_finish(&text);
}

/* first: "n,,n=USER,r=NONCE"; final: "c=…,r=…,p=…". */
static void dialogue(struct script_conn *conn, const char *password, bool right, struct str *first,
	struct str *final)
{
	char challenge[500], auth[2000];
	unsigned char digest[32];
	if (!read_text(conn, AUTH, first))
		return;
	const char *nonce = strstr(str_cstr(first), ",r=");
	const char *salt = "MDEyMzQ1Njc4OWFiY2RlZg==";
	snprintf(challenge, sizeof(challenge), "r=%sserver,s=%s,i=%d", nonce ? nonce + 3 : "", salt,
		ITERATIONS);
	send_challenge(conn, challenge);
	if (!read_text(conn, "", final))
		return;
	const char *proof = strstr(str_cstr(final), ",p=");
	snprintf(auth, sizeof(auth), "%s,%s,%.*s", str_cstr(first) + 3, challenge,
		(int)(proof ? proof - final->data : 0), str_cstr(final));
	signature(right ? password : "another", auth, digest);
	send_final(conn, digest);
}

void script_scram(struct script_conn *conn, const char *password, bool right)
{
	struct str first = STR_INIT, final = STR_INIT;
	char line[100];
	dialogue(conn, password, right, &first, &final);
	str_finish(&first);
	str_finish(&final);
	if (!script_line(conn, line, sizeof(line)) || strcmp(line, right ? "" : "*") != 0)
		script_wrong(conn, "SCRAM: '%.50s' in the end", line);
	script_send(conn, right ? "+OK in\r\n" : "-ERR cancelled\r\n", right ? 8 : 16);
}
