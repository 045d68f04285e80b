/* SPDX-License-Identifier: MIT */
/* Who is trusted and who is not, and what is said then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "context.h"
#include "fixture.h"
#include "mailfs/util/clock.h"

/* The name that each connection asked for (SNI). */
struct seen {
	char sni[4][64];
	bool handshake[4];
	bool resumed[4];
};

static void hello(struct peer_conn *conn)
{
	struct seen *seen = conn->arg;
	unsigned n = conn->number & 3;
	seen->handshake[n] = peer_handshake(conn);
	const char *sni = SSL_get_servername(conn->ssl, TLSEXT_NAMETYPE_host_name);
	snprintf(seen->sni[n], sizeof(seen->sni[n]), "%s", sni ? sni : "none");
	seen->resumed[n] = SSL_session_reused(conn->ssl);
	if (!seen->handshake[n])
		return;
	peer_puts(conn, "* OK hi\r\n");
	peer_drain(conn);
}

/* Connects and reads the greeting. */
static int visit(struct net_context *context, struct source_error *error)
{
	_cleanup_str_ struct str line = STR_INIT;
	struct net_stream *stream = NULL;
	int r = net_connect(context, clock_now_ms() + 10000, &stream, error);
	if (r < 0) {
		assert_null(stream);
		assert_int_equal(error->cause, SOURCE_CAUSE_TLS);
		return r;
	}
	assert_true(net_secured(stream));
	assert_int_equal(net_read_response(stream, &net_limits_default, &line), 0);
	assert_string_equal(line.data, "* OK hi");
	net_close(stream);
	return 0;
}

/* One visit to a server with this certificate; seen may be NULL. */
static int visit_server(const struct pki_cert *cert, const char *host, const char *ca_file,
	const unsigned char *fingerprint, struct seen *ret_seen, struct source_error *error)
{
	struct seen seen = {0};
	struct peer peer;
	peer_start(&peer, cert, TLS1_3_VERSION, hello, &seen);
	struct net_context *context =
		fixture_context(&peer, host, NET_TLS_IMPLICIT, ca_file, fingerprint);
	int r = visit(context, error);
	net_context_destroy(context);
	peer_stop(&peer);
	if (ret_seen)
		*ret_seen = seen;
	return r;
}

static void assert_says(const struct source_error *error, const char *part)
{
	if (!strstr(error->text, part))
		fail_msg("\"%s\" is not in: %s", part, error->text);
}

static void assert_shows(
	const struct source_error *error, const struct pki_cert *cert, const char *before)
{
	unsigned char digest[32];
	char text[128];
	size_t len = (size_t)snprintf(text, sizeof(text), "%s", before);
	pki_fingerprint(cert, digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%02x", digest[i]);
	assert_says(error, "certificate not trusted: ");
	assert_says(error, text);
	assert_int_equal(error->scope, SOURCE_SCOPE_ACCOUNT);
	assert_int_equal(error->err, -EIO);
}

/* The advice that always is: the fingerprint of just this certificate. */
static void assert_advises(const struct source_error *error, const struct pki_cert *cert)
{
	assert_shows(error, cert, "; or trust it alone by tls_fingerprint=sha256:");
}

static void authority_is_trusted(void **state)
{
	(void)state;
	struct source_error error;
	struct seen seen;
	assert_int_equal(
		visit_server(&fixture.leaf, FIXTURE_HOST, fixture.ca_file, NULL, &seen, &error), 0);
	assert_string_equal(seen.sni[0], FIXTURE_HOST);
	/* A final dot is no part of the name in a certificate. */
	assert_int_equal(
		visit_server(&fixture.leaf, FIXTURE_HOST ".", fixture.ca_file, NULL, &seen, &error),
		0);
	assert_string_equal(seen.sni[0], FIXTURE_HOST);
	/* An address is compared as one, and is no server name (RFC 6066). */
	assert_int_equal(
		visit_server(&fixture.leaf, "127.0.0.1", fixture.ca_file, NULL, &seen, &error), 0);
	assert_string_equal(seen.sni[0], "none");
}

static void other_name_is_refused(void **state)
{
	(void)state;
	struct source_error error;
	struct seen seen;
	assert_int_equal(visit_server(&fixture.leaf, "imap.other.example", fixture.ca_file, NULL,
				 &seen, &error),
		-EPROTO);
	assert_false(seen.handshake[0]);
	assert_says(&error, "imap.other.example:");
	assert_says(&error, "it is for " FIXTURE_HOST ", 127.0.0.1, not for imap.other.example");
	assert_says(&error, "name the server as its certificate does");
	assert_advises(&error, &fixture.leaf);
}

static void other_address_is_refused(void **state)
{
	(void)state;
	struct source_error error;
	struct pki_cert cert = pki_create(&(struct pki_spec){
		.name = "x", .san = "DNS:127.0.0.1,IP:127.0.0.2,IP:::1", .issuer = &fixture.ca});
	assert_int_equal(
		visit_server(&cert, "127.0.0.1", fixture.ca_file, NULL, NULL, &error), -EPROTO);
	assert_says(&error, "it is for 127.0.0.1, 127.0.0.2, ::1, not for 127.0.0.1");
	pki_destroy(&cert);
}

static void wildcards(void **state)
{
	static const struct {
		const char *san, *host;
		bool good;
	} rows[] = {
		{"DNS:*.test.example", "mail.test.example", true},
		{"DNS:*.test.example", "a.b.test.example", false},
		{"DNS:*.test.example", "test.example", false},
		{"DNS:m*l.test.example", "mail.test.example", false},
		{"DNS:*.example", "mail.test.example", false},
		{"DNS:MAIL.Test.Example", "mail.test.example", true},
	};
	(void)state;
	struct source_error error;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pki_cert cert = pki_create(
			&(struct pki_spec){.name = "x", .san = rows[i].san, .issuer = &fixture.ca});
		int r = visit_server(&cert, rows[i].host, fixture.ca_file, NULL, NULL, &error);
		assert_int_equal(r, rows[i].good ? 0 : -EPROTO);
		pki_destroy(&cert);
	}
}

/* The system's store does not know this authority; nor does it help when another one is named. */
static void unknown_authority_is_refused(void **state)
{
	(void)state;
	struct source_error error;
	assert_int_equal(
		visit_server(&fixture.leaf, FIXTURE_HOST, NULL, NULL, NULL, &error), -EPROTO);
	assert_says(&error, "CN=server issued by CN=mailfs test CA: ");
	assert_advises(&error, &fixture.leaf);
	struct pki_cert other = pki_create(&(struct pki_spec){.name = "other CA", .ca = true});
	char path[128];
	snprintf(path, sizeof(path), "%s/other.pem", fixture.dir);
	pki_write(&other, path);
	assert_int_equal(
		visit_server(&fixture.leaf, FIXTURE_HOST, path, NULL, NULL, &error), -EPROTO);
	assert_advises(&error, &fixture.leaf);
	unlink(path);
	pki_destroy(&other);
}

static void self_signed(void **state)
{
	(void)state;
	struct source_error error;
	char path[128];
	struct pki_cert cert =
		pki_create(&(struct pki_spec){.name = "me", .san = "DNS:" FIXTURE_HOST});
	assert_int_equal(visit_server(&cert, FIXTURE_HOST, NULL, NULL, NULL, &error), -EPROTO);
	assert_says(&error, "self-signed certificate; if it is the right one, use tls_ca=FILE");
	assert_advises(&error, &cert);
	/* Named by tls_ca= it is trusted, as long as the name fits. */
	snprintf(path, sizeof(path), "%s/self.pem", fixture.dir);
	pki_write(&cert, path);
	assert_int_equal(visit_server(&cert, FIXTURE_HOST, path, NULL, NULL, &error), 0);
	assert_int_equal(
		visit_server(&cert, "imap.other.example", path, NULL, NULL, &error), -EPROTO);
	unlink(path);
	pki_destroy(&cert);
}

/* The server's own certificate in tls_ca=, without its authority. */
static void leaf_as_authority(void **state)
{
	(void)state;
	struct source_error error;
	char path[128];
	snprintf(path, sizeof(path), "%s/leaf.pem", fixture.dir);
	pki_write(&fixture.leaf, path);
	assert_int_equal(visit_server(&fixture.leaf, FIXTURE_HOST, path, NULL, NULL, &error), 0);
	unlink(path);
}

static void expired(void **state)
{
	(void)state;
	struct source_error error;
	struct pki_cert cert = pki_create(&(struct pki_spec){
		.name = "old", .san = "DNS:" FIXTURE_HOST, .issuer = &fixture.ca, .expired = true});
	assert_int_equal(
		visit_server(&cert, FIXTURE_HOST, fixture.ca_file, NULL, NULL, &error), -EPROTO);
	assert_says(&error, "CN=old issued by CN=mailfs test CA: certificate has expired");
	assert_says(&error, "must renew it");
	assert_null(strstr(error.text, "tls_ca="));
	assert_advises(&error, &cert);
	pki_destroy(&cert);
}

static void not_yet_valid(void **state)
{
	(void)state;
	struct source_error error;
	struct pki_cert cert = pki_create(&(struct pki_spec){
		.name = "new", .san = "DNS:" FIXTURE_HOST, .issuer = &fixture.ca, .early = true});
	assert_int_equal(
		visit_server(&cert, FIXTURE_HOST, fixture.ca_file, NULL, NULL, &error), -EPROTO);
	assert_says(&error, "certificate is not yet valid; is this machine's clock right?");
	assert_advises(&error, &cert);
	pki_destroy(&cert);
}

/* OpenSSL's security level says what is weak; a certificate that is pinned is the person's own decision. */
static void weak(void **state)
{
	static const struct {
		struct pki_spec spec;
		const char *words;
	} rows[] = {
		{{.rsa_bits = 1024}, "EE certificate key too weak"},
		{{.rsa_bits = 2048, .sha1 = true}, "CA signature digest algorithm too weak"},
	};
	(void)state;
	struct source_error error;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned char pin[32];
		struct pki_spec spec = rows[i].spec;
		spec.name = "weak";
		spec.san = "DNS:" FIXTURE_HOST;
		spec.issuer = &fixture.ca;
		struct pki_cert cert = pki_create(&spec);
		assert_int_equal(
			visit_server(&cert, FIXTURE_HOST, fixture.ca_file, NULL, NULL, &error),
			-EPROTO);
		assert_says(&error, rows[i].words);
		assert_says(&error, "its operator must replace it");
		assert_advises(&error, &cert);
		pki_fingerprint(&cert, pin);
		assert_int_equal(visit_server(&cert, FIXTURE_HOST, NULL, pin, NULL, &error), 0);
		pki_destroy(&cert);
	}
}

/* The server keeps the certificate back that links its own to an authority: told from an authority that is not known. */
static void missing_intermediate(void **state)
{
	(void)state;
	struct source_error error;
	struct pki_cert middle =
		pki_create(&(struct pki_spec){.name = "middle", .issuer = &fixture.ca, .ca = true});
	struct pki_cert cert = pki_create(
		&(struct pki_spec){.name = "leaf", .san = "DNS:" FIXTURE_HOST, .issuer = &middle});
	assert_int_equal(
		visit_server(&cert, FIXTURE_HOST, fixture.ca_file, NULL, NULL, &error), -EPROTO);
	assert_says(&error, "CN=leaf issued by CN=middle: ");
	assert_says(&error, "nor did the server send it");
	assert_says(&error, "tls_ca=FILE");
	assert_advises(&error, &cert);
	pki_destroy(&cert);
	pki_destroy(&middle);
}

static void common_name_counts_without_alternative_names(void **state)
{
	(void)state;
	struct source_error error;
	struct pki_cert cert =
		pki_create(&(struct pki_spec){.name = "old.test.example", .issuer = &fixture.ca});
	assert_int_equal(
		visit_server(&cert, "old.test.example", fixture.ca_file, NULL, NULL, &error), 0);
	assert_int_equal(
		visit_server(&cert, FIXTURE_HOST, fixture.ca_file, NULL, NULL, &error), -EPROTO);
	assert_says(&error, "it is for old.test.example, not for " FIXTURE_HOST);
	pki_destroy(&cert);
}

/* A certificate full of names and controls: the line stays one line, with its advice. */
static void long_claims_are_cut(void **state)
{
	(void)state;
	_cleanup_str_ struct str san = STR_INIT;
	struct source_error error;
	for (int i = 0; i < 100; i++)
		str_printf(&san, "%sDNS:a-very-long-name-%d.test.example", i ? "," : "", i);
	struct pki_cert cert = pki_create(
		&(struct pki_spec){.name = "x\x1b[31m\nx", .san = san.data, .issuer = &fixture.ca});
	assert_int_equal(
		visit_server(&cert, FIXTURE_HOST, fixture.ca_file, NULL, NULL, &error), -EPROTO);
	assert_says(&error, "a-very-long-name-0.test.example, ");
	assert_says(&error, "..., not for " FIXTURE_HOST);
	assert_advises(&error, &cert);
	assert_int_equal(visit_server(&cert, FIXTURE_HOST, NULL, NULL, NULL, &error), -EPROTO);
	assert_null(strpbrk(error.text, "\x1b\n"));
	pki_destroy(&cert);
}

/* Nor do a long name of the server and a certificate of long words leave no room for it, whatever is wrong with that one. */
static void fingerprint_is_never_cut(void **state)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghij";
	static const size_t labels[] = {1, 2, 3, 4};
	(void)state;
	_cleanup_str_ struct str san = STR_INIT;
	str_printf(&san, "DNS:%s.%s.example,DNS:%s.%s.example", letters + 1, letters, letters + 2,
		letters);
	for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]) * 3; i++) {
		_cleanup_str_ struct str host = STR_INIT;
		struct source_error error;
		for (size_t n = 0; n < labels[i / 3]; n++)
			str_printf(&host, "%.*s.", n == 3 ? 55 : 62, letters);
		str_append_cstr(&host, "example");
		/* For another name; of an unknown issuer; too old. */
		struct pki_cert cert = pki_create(&(struct pki_spec){.name = letters,
			.san = san.data,
			.issuer = i % 3 == 1 ? NULL : &fixture.ca,
			.expired = i % 3 == 2});
		assert_int_equal(
			visit_server(&cert, host.data, fixture.ca_file, NULL, NULL, &error),
			-EPROTO);
		assert_advises(&error, &cert);
		pki_destroy(&cert);
	}
}

/* The pinned certificate is trusted whatever is in it; no other one is, however good. */
static void fingerprint(void **state)
{
	(void)state;
	unsigned char pin[32];
	struct source_error error;
	struct pki_cert cert =
		pki_create(&(struct pki_spec){.name = "wrong name", .expired = true});
	pki_fingerprint(&cert, pin);
	assert_int_equal(visit_server(&cert, FIXTURE_HOST, NULL, pin, NULL, &error), 0);
	assert_int_equal(
		visit_server(&fixture.leaf, FIXTURE_HOST, fixture.ca_file, pin, NULL, &error),
		-EPROTO);
	assert_says(&error, "it is not the one that tls_fingerprint= names");
	assert_says(&error, "somebody is in between");
	assert_shows(&error, &fixture.leaf, "; its own is sha256:");
	for (size_t i = 0; i < sizeof(pin); i++) {
		pin[i] ^= 1;
		if (i == 0 || i == 31)
			assert_int_equal(visit_server(&cert, FIXTURE_HOST, NULL, pin, NULL, &error),
				-EPROTO);
		pin[i] ^= 1;
	}
	pki_destroy(&cert);
}

/* After a resumption no certificate is sent: the pin is held against the session's. */
static void fingerprint_is_checked_on_resumption(void **state)
{
	(void)state;
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	for (size_t i = 0; i < 2; i++) {
		unsigned char pin[32];
		struct seen seen = {0};
		struct source_error error;
		struct peer peer;
		pki_fingerprint(&fixture.leaf, pin);
		peer_start(&peer, &fixture.leaf, versions[i], hello, &seen);
		struct net_context *context =
			fixture_context(&peer, FIXTURE_HOST, NET_TLS_IMPLICIT, NULL, pin);
		assert_int_equal(visit(context, &error), 0);
		assert_int_equal(visit(context, &error), 0);
		context->fingerprint[5] ^= 1;
		assert_int_equal(visit(context, &error), -EPROTO);
		assert_says(&error, "it is not the one that tls_fingerprint= names");
		assert_shows(&error, &fixture.leaf, "; its own is sha256:");
		net_context_destroy(context);
		peer_stop(&peer);
		assert_false(seen.resumed[0]);
		assert_true(seen.resumed[1]);
		assert_true(seen.resumed[2]);
	}
}

/* A directory with hashed names, as c_rehash makes it. */
static void ca_directory(void **state)
{
	(void)state;
	struct source_error error;
	char dir[128], path[192];
	snprintf(dir, sizeof(dir), "%s/dir", fixture.dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(
		visit_server(&fixture.leaf, FIXTURE_HOST, dir, NULL, NULL, &error), -EPROTO);
	snprintf(path, sizeof(path), "%s/%08lx.0", dir,
		X509_NAME_hash_ex(X509_get_subject_name(fixture.ca.cert), NULL, NULL, NULL));
	pki_write(&fixture.ca, path);
	assert_int_equal(visit_server(&fixture.leaf, FIXTURE_HOST, dir, NULL, NULL, &error), 0);
	unlink(path);
	rmdir(dir);
}

/* What was told, with a blank before and after each. */
static void note_path(void *arg, const char *path)
{
	str_printf(arg, "%s ", path);
}

static void paths_told(const char *ca_file, struct str *ret)
{
	struct net_params params = {.host = "h.example", .port = 993, .ca_file = ca_file};
	struct net_context *context = NULL;
	struct source_error error;
	assert_int_equal(net_context_create(&params, &context, &error), 0);
	str_append_cstr(ret, " ");
	net_context_trust_paths(context, note_path, ret);
	net_context_destroy(context);
}

/* One that an administrator adds while mail is mounted is reached by a link that is not there yet. */
static void places_of_later_authorities(void **state)
{
	(void)state;
	_cleanup_str_ struct str told = STR_INIT;
	_cleanup_str_ struct str own = STR_INIT;
	char expected[200];
	setenv("SSL_CERT_DIR", "/usr/share:/there/is/no/such/directory", 1);
	paths_told(NULL, &told);
	unsetenv("SSL_CERT_DIR");
	assert_non_null(strstr(told.data, " /usr/share "));
	assert_non_null(strstr(told.data, " /usr/share/ca-certificates "));
	assert_non_null(strstr(told.data, " /usr/local/share/ca-certificates "));
	assert_null(strstr(told.data, "/no/such"));
	/* A directory of one's own has nothing of the system's, nor has a file. */
	snprintf(expected, sizeof(expected), " %s ", fixture.dir);
	paths_told(fixture.dir, &own);
	assert_string_equal(own.data, expected);
	str_reset(&own);
	paths_told(fixture.ca_file, &own);
	assert_string_equal(own.data, " ");
}

/* Links within a directory tell nothing new; one that leads out of it does. */
static void links_to_neighbours(void **state)
{
	(void)state;
	_cleanup_str_ struct str told = STR_INIT;
	char dir[128], link[192], expected[400];
	snprintf(dir, sizeof(dir), "%s/linked", fixture.dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	snprintf(link, sizeof(link), "%s/inside", dir);
	pki_write(&fixture.ca, link);
	for (int i = 0; i < 100; i++) {
		snprintf(link, sizeof(link), "%s/%08x.0", dir, i);
		assert_int_equal(symlink(i == 70 ? "../ca.pem" : "inside", link), 0);
	}
	paths_told(dir, &told);
	snprintf(expected, sizeof(expected), " %s %s ", dir, fixture.ca_file);
	assert_string_equal(told.data, expected);
	for (int i = 0; i < 100; i++) {
		snprintf(link, sizeof(link), "%s/%08x.0", dir, i);
		unlink(link);
	}
	snprintf(link, sizeof(link), "%s/inside", dir);
	unlink(link);
	rmdir(dir);
}

static void bad_ca_file_is_said_at_once(void **state)
{
	(void)state;
	struct net_context *context = NULL;
	struct source_error error;
	char path[128], expected[256];
	snprintf(path, sizeof(path), "%s/absent.pem", fixture.dir);
	struct net_params params = {.host = "h.example", .port = 993, .ca_file = path};
	assert_int_equal(net_context_create(&params, &context, &error), -ENOENT);
	snprintf(expected, sizeof(expected), "tls_ca=%s: No such file or directory", path);
	assert_string_equal(error.text, expected);
	assert_int_equal(error.cause, SOURCE_CAUSE_TLS);
	assert_int_equal(error.retry, SOURCE_RETRY_NEVER);
	FILE *file = fopen(path, "w");
	fputs("not PEM\n", file);
	fclose(file);
	assert_int_equal(net_context_create(&params, &context, &error), -EINVAL);
	assert_says(&error, "no certificate in PEM form");
	assert_null(context);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(authority_is_trusted),
		cmocka_unit_test(other_name_is_refused),
		cmocka_unit_test(other_address_is_refused),
		cmocka_unit_test(wildcards),
		cmocka_unit_test(unknown_authority_is_refused),
		cmocka_unit_test(self_signed),
		cmocka_unit_test(leaf_as_authority),
		cmocka_unit_test(expired),
		cmocka_unit_test(not_yet_valid),
		cmocka_unit_test(weak),
		cmocka_unit_test(missing_intermediate),
		cmocka_unit_test(common_name_counts_without_alternative_names),
		cmocka_unit_test(long_claims_are_cut),
		cmocka_unit_test(fingerprint_is_never_cut),
		cmocka_unit_test(fingerprint),
		cmocka_unit_test(fingerprint_is_checked_on_resumption),
		cmocka_unit_test(ca_directory),
		cmocka_unit_test(places_of_later_authorities),
		cmocka_unit_test(links_to_neighbours),
		cmocka_unit_test(bad_ca_file_is_said_at_once),
	};
	return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
