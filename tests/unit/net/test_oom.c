/* SPDX-License-Identifier: MIT */
/*
 * Memory that is refused to a connection: to mailfs, and to OpenSSL on its way through a handshake. An error, a stream that is closed as any other, a context
 * that serves the next one; and never a server that is trusted because there was no memory to look at it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "fixture.h"
#include "mailfs/util/clock.h"
#include "oom.h"
#include "scram.h"

/* OpenSSL's memory can be refused, too, while this is so. */
static atomic_bool reluctant;

static void *crypto_malloc(size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	if (atomic_load(&reluctant) && oom_refuse())
		return NULL;
	oom_hold();
	void *data = malloc(size);
	oom_release();
	return data;
}

static void *crypto_realloc(void *old, size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	if (atomic_load(&reluctant) && oom_refuse())
		return NULL;
	oom_hold();
	void *data = realloc(old, size);
	oom_release();
	return data;
}

static void crypto_free(void *data, const char *file, int line)
{
	(void)file;
	(void)line;
	free(data);
}

/* --- The server, which has all the memory that it wants --- */

static unsigned char deflated[200];
static size_t deflated_len;
static atomic_uint confided; /* how often somebody sent what is for the right server only */

#define ANSWER "* 1 FETCH (BODY[] {6}\r\nab\r\ncd)\r\n"

static void make_deflated(void)
{
	static const char text[] = ANSWER;
	z_stream z = {.next_in = (unsigned char *)text,
		.avail_in = sizeof(text) - 1,
		.next_out = deflated,
		.avail_out = sizeof(deflated)};
	assert_int_equal(deflateInit2(&z, 1, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
	deflated_len = sizeof(deflated) - z.avail_out;
	deflateEnd(&z);
}

static void converse(struct peer_conn *conn)
{
	char buf[64];
	if (peer_read(conn, buf, sizeof(buf)) <= 0)
		return;
	atomic_fetch_add(&confided, 1);
	if (peer_puts(conn, ANSWER "A2 OK begin\r\n") && peer_read(conn, buf, sizeof(buf)) > 0 &&
		peer_write(conn, deflated, deflated_len))
		peer_drain(conn);
}

static void serve_tls(struct peer_conn *conn)
{
	oom_hold();
	if (peer_handshake(conn))
		converse(conn);
	SSL_free(conn->ssl);
	conn->ssl = NULL;
	oom_release();
}

static void serve_starttls(struct peer_conn *conn)
{
	char buf[64];
	oom_hold();
	if (peer_puts(conn, "* OK hello\r\n") && peer_read(conn, buf, sizeof(buf)) > 0 &&
		peer_puts(conn, "A1 OK begin\r\n") && peer_handshake(conn))
		converse(conn);
	SSL_free(conn->ssl);
	conn->ssl = NULL;
	oom_release();
}

static void serve_plain(struct peer_conn *conn)
{
	converse(conn);
}

/* --- The client --- */

static int expect_line(struct net_stream *stream, const char *want)
{
	struct str line = STR_INIT;
	int r = net_read_response(stream, &net_limits_default, &line);
	if (r == 0)
		assert_string_equal(str_cstr(&line), want);
	str_finish(&line);
	return r;
}

static int talk(struct net_stream *stream)
{
	static const char answer[] = "* 1 FETCH (BODY[] {6}\r\nab\r\ncd)";
	int r = net_write(stream, "A2 x\r\n", 6);
	if (r == 0)
		r = expect_line(stream, answer);
	if (r == 0)
		r = expect_line(stream, "A2 OK begin");
	if (r == 0)
		r = net_start_deflate(stream);
	if (r == 0)
		r = net_write(stream, "A3 y\r\n", 6);
	return r == 0 ? expect_line(stream, answer) : r;
}

static int begin_tls(struct net_stream *stream, struct source_error *error)
{
	int r = expect_line(stream, "* OK hello");
	if (r == 0)
		r = net_write(stream, "A1 STARTTLS\r\n", 13);
	if (r == 0)
		r = expect_line(stream, "A1 OK begin");
	return r == 0 ? net_start_tls(stream, error) : r;
}

struct way {
	enum net_tls tls;
	struct net_context *context;
	struct peer peer;
};

static int go(const struct way *way)
{
	struct net_stream *stream = NULL;
	struct source_error error = {.err = 0};
	int r = net_connect(way->context, clock_now_ms() + 15000, &stream, &error);
	if (r == 0 && way->tls == NET_TLS_STARTTLS)
		r = begin_tls(stream, &error);
	if (r == 0)
		r = talk(stream);
	net_close(stream);
	return r;
}

static int try_way(void *arg, unsigned long nth, bool forever)
{
	const struct way *way = arg;
	oom_arm(nth, forever);
	int r = go(way);
	oom_disarm();
	if (r < 0)
		assert_int_equal(go(way), 0);
	return r;
}

static struct net_context *context_for(const struct way *way)
{
	struct net_params params = {.host = "127.0.0.1",
		.port = way->peer.port,
		.tls = way->tls,
		.ca_file = way->tls == NET_TLS_NONE ? NULL : fixture.ca_file};
	struct net_context *context = NULL;
	struct source_error error;
	if (net_context_create(&params, &context, &error) < 0)
		fail_msg("%s", error.text);
	return context;
}

static void renew_context(struct way *way)
{
	net_context_destroy(way->context);
	way->context = context_for(way);
}

/*
 * A handshake that resumes nothing, whatever error its end may be. Another context is tried afterwards: OpenSSL takes an authority for invalid for good if it had
 * no memory when it looked at its extensions for the first time.
 */
static int try_handshake(void *arg, unsigned long nth, bool forever)
{
	struct way *way = arg;
	renew_context(way);
	oom_arm(nth, forever);
	int r = go(way);
	bool hit = oom_disarm();
	if (r < 0) {
		renew_context(way);
		assert_int_equal(go(way), 0);
	}
	return hit && r < 0 ? -ENOMEM : r;
}

static void way_begin(struct way *way, enum net_tls tls, peer_script *script)
{
	*way = (struct way){.tls = tls};
	peer_start(&way->peer, tls == NET_TLS_NONE ? NULL : &fixture.leaf, TLS1_3_VERSION, script,
		NULL);
	way->context = context_for(way);
}

static void way_end(struct way *way)
{
	net_context_destroy(way->context);
	peer_stop(&way->peer);
}

static void test_each(void **state)
{
	static const struct {
		const char *name;
		enum net_tls tls;
		peer_script *script;
	} ways[] = {
		{"without TLS", NET_TLS_NONE, serve_plain},
		{"TLS", NET_TLS_IMPLICIT, serve_tls},
		{"STARTTLS", NET_TLS_STARTTLS, serve_starttls},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct way way;
		way_begin(&way, ways[i].tls, ways[i].script);
		oom_each(ways[i].name, try_way, &way);
		way_end(&way);
	}
}

/* Each of OpenSSL's allocations: thousands, of which some are refused in each run. */
static void test_handshake(void **state)
{
	struct way way;
	(void)state;
	way_begin(&way, NET_TLS_IMPLICIT, serve_tls);
	atomic_store(&reluctant, true);
	oom_some("handshake", try_handshake, &way, 40);
	atomic_store(&reluctant, false);
	way_end(&way);
}

/* A stranger's certificate; the right one is still welcome. */
static int try_stranger(void *arg, unsigned long nth, bool forever)
{
	const struct way *way = arg;
	unsigned before = atomic_load(&confided);
	oom_arm(nth, forever);
	int r = go(way);
	bool hit = oom_disarm();
	assert_true(r < 0);
	assert_int_equal(atomic_load(&confided), before);
	return hit ? -ENOMEM : 0;
}

static void test_stranger(void **state)
{
	struct pki_cert stranger =
		pki_create(&(struct pki_spec){.name = "stranger", .san = "IP:127.0.0.1"});
	struct pki_cert other = pki_create(
		&(struct pki_spec){.name = "other", .san = "IP:127.0.0.2", .issuer = &fixture.ca});
	const struct pki_cert *const certs[] = {&stranger, &other};
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct way way = {.tls = NET_TLS_IMPLICIT};
		peer_start(&way.peer, certs[i], TLS1_3_VERSION, serve_tls, NULL);
		way.context = context_for(&way);
		oom_each(i ? "another's certificate" : "nobody's certificate", try_stranger, &way);
		atomic_store(&reluctant, true);
		oom_some(i ? "another's certificate, OpenSSL" : "nobody's certificate, OpenSSL",
			try_stranger, &way, 150);
		atomic_store(&reluctant, false);
		way_end(&way);
	}
	pki_destroy(&stranger);
	pki_destroy(&other);
}

/* --- Contexts, and what is computed --- */

static void count_path(void *arg, const char *path)
{
	(void)path;
	++*(unsigned *)arg;
}

static int try_context(void *arg, unsigned long nth, bool forever)
{
	const struct net_params params = {.host = "mail.example.org",
		.port = 993,
		.tls = NET_TLS_IMPLICIT,
		.ca_file = arg,
		.fingerprint =
			arg ? NULL : (const unsigned char *)"01234567890123456789012345678901"};
	struct net_context *context = NULL;
	struct source_error error;
	unsigned paths = 0;
	oom_arm(nth, forever);
	int r = net_context_create(&params, &context, &error);
	if (r == 0)
		net_context_trust_paths(context, count_path, &paths);
	oom_disarm();
	if (r == 0)
		assert_string_equal(net_context_params(context)->host, params.host);
	net_context_destroy(context);
	return r;
}

static void test_contexts(void **state)
{
	(void)state;
	oom_each("a context with its own authorities", try_context, fixture.ca_file);
	oom_each("a context with a fingerprint", try_context, NULL);
}

static int step(struct sasl_client *client, const char *challenge, size_t len)
{
	struct str out = STR_INIT, text = STR_INIT, back = STR_INIT;
	int r = sasl_client_step(client, challenge, len, &out);
	if (r == 0)
		r = net_base64_encode(out.data, out.len, &text);
	if (r == 0)
		r = net_base64_decode(text.data, text.len, &back);
	if (r == 0)
		assert_true(back.len == out.len && memcmp(back.data, out.data, out.len) == 0);
	str_finish(&out);
	str_finish(&text);
	str_finish(&back);
	return r;
}

static int try_sasl(void *arg, unsigned long nth, bool forever)
{
	static const char cram[] = "<1234@example.org>";
	struct secret *password = secret_create("s3cret", 6);
	const char *name = arg;
	int r = -ENOMEM;
	assert_non_null(password);
	oom_arm(nth, forever);
	struct sasl_client *client = sasl_client_create(name, "alice", password);
	if (client && strcmp(name, "CRAM-MD5") == 0)
		r = step(client, cram, sizeof(cram) - 1);
	else if (client)
		r = step(client, NULL, 0);
	oom_disarm();
	sasl_client_destroy(client);
	secret_destroy(password);
	return r;
}

static void test_sasl(void **state)
{
	(void)state;
	for (size_t i = 0; sasl_mechanisms[i]; i++)
		oom_each(sasl_mechanisms[i], try_sasl, (void *)sasl_mechanisms[i]);
	for (size_t i = 0; sasl_token_mechanisms[i]; i++)
		oom_each(sasl_token_mechanisms[i], try_sasl, (void *)sasl_token_mechanisms[i]);
}

/* The exchange of RFC 7677, §3, with two rounds instead of 4096. That all of it is computed rightly, test_sasl.c shows. */
struct proof {
	char server_final[80];
	bool right;
};

static void write_final(const struct sasl_scram *scram, struct proof *proof)
{
	struct str text = STR_INIT;
	assert_int_equal(net_base64_encode(scram->server_signature, 32, &text), 0);
	snprintf(proof->server_final, sizeof(proof->server_final), "v=%s", str_cstr(&text));
	str_finish(&text);
}

static int prove(struct proof *proof, const struct secret *password)
{
	static const char server_first[] = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
					   "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=2";
	struct str first = STR_INIT, final = STR_INIT;
	struct sasl_scram scram;
	int r = sasl_scram_init(&scram, "SHA256", "rOprNGfwEbeRWgbNEkqO");
	if (r < 0)
		return r;
	r = sasl_scram_first(&scram, "user", &first);
	if (r == 0)
		r = sasl_scram_final(
			&scram, password, server_first, sizeof(server_first) - 1, &final);
	if (r == 0 && !*proof->server_final)
		write_final(&scram, proof);
	if (r == 0)
		r = sasl_scram_verify(&scram, proof->server_final, strlen(proof->server_final));
	sasl_scram_finish(&scram);
	str_finish(&first);
	str_finish(&final);
	return r;
}

static int try_proof(void *arg, unsigned long nth, bool forever)
{
	struct proof *proof = arg;
	struct secret *password = secret_create("pencil", 6);
	assert_non_null(password);
	oom_arm(nth, forever);
	int r = prove(proof, password);
	bool hit = oom_disarm();
	secret_destroy(password);
	if (!proof->right)
		assert_true(r < 0);
	else if (!hit)
		assert_int_equal(r, 0);
	return hit && r < 0 ? -ENOMEM : 0;
}

/* A server that does not know the password is not taken for one that does because there was no memory to compute. */
static void test_proof(void **state)
{
	struct proof right = {.right = true}, wrong;
	(void)state;
	assert_int_equal(try_proof(&right, 1UL << 30, false), 0);
	wrong = (struct proof){.right = false};
	strcpy(wrong.server_final, right.server_final);
	wrong.server_final[5] = wrong.server_final[5] == 'A' ? 'B' : 'A';
	oom_each("a proof", try_proof, &right);
	oom_each("a wrong proof", try_proof, &wrong);
	atomic_store(&reluctant, true);
	oom_each("a proof, OpenSSL", try_proof, &right);
	oom_each("a wrong proof, OpenSSL", try_proof, &wrong);
	atomic_store(&reluctant, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_contexts),
		cmocka_unit_test(test_sasl),
		cmocka_unit_test(test_proof),
		cmocka_unit_test(test_each),
		cmocka_unit_test(test_handshake),
		cmocka_unit_test(test_stranger),
	};
	/* Before anything of OpenSSL's. */
	if (!CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free))
		return 1;
	make_deflated();
	return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
