/* SPDX-License-Identifier: MIT */
/*
 * The connection: socket, TLS (OpenSSL), deadlines, cancel, and the one reader of the wire, which cuts
 * what arrives into complete responses within limits. The only user of OpenSSL and zlib.
 *
 * A net_context belongs to an account: it holds the trust settings and the TLS sessions for resumption,
 * may be used by several threads, and outlives its streams. A net_stream is one connection, used by one
 * thread at a time; only net_cancel(), net_poke(), net_traffic() and net_flow() may be called from another.
 */
#ifndef MAILFS_NET_H
#define MAILFS_NET_H

#include <libetpan/mailstream_types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "mailfs/source.h"
#include "mailfs/util/secret.h"
#include "mailfs/util/str.h"

enum net_tls { NET_TLS_IMPLICIT, NET_TLS_STARTTLS, NET_TLS_NONE };

/* Where a host is: of fixed size, so that one process can tell another. */
#define NET_ADDRESSES_MAX 16
struct net_address {
	uint16_t family;         /* AF_INET, AF_INET6 */
	uint16_t port;           /* of the machine's byte order */
	uint32_t scope;          /* of an AF_INET6 */
	unsigned char bytes[16]; /* the first 4 of an AF_INET */
};
struct net_answer {
	int32_t result; /* 0, or EAI_* of getaddrinfo() */
	int32_t system_err;
	uint32_t count;
	struct net_address addresses[NET_ADDRESSES_MAX];
};
/* Looks up a host by the C library's resolver. More addresses than fit are left out. Blocks: network, without a deadline. */
void net_look_up(const char *host, uint16_t port, struct net_answer *ret);

struct net_params {
	const char *host; /* name or address; also the name that the certificate must bear */
	uint16_t port;
	enum net_tls tls;
	/* PEM file or directory to trust instead of the system's store; NULL: the system's */
	const char *ca_file;
	/* SHA-256 of the server's certificate, 32 bytes: trusted by it alone; NULL: none */
	const unsigned char *fingerprint;
	/*
	 * Has the host looked up by another process. A descriptor, which the caller closes, from which one read() gives a struct net_answer
	 * as soon as it is readable, or nothing where the look-up has failed; or a negative errno, -EPIPE if there is no such process any more. Blocks: never. NULL: it is looked up here.
	 */
	int (*resolve)(void *arg, int64_t deadline_ms);
	void *resolve_arg;
};

struct net_context;
struct net_stream;

/*
 * Reads the trust settings; params is copied. error is filled on failure: -ENOENT, -EACCES, … for a ca_file
 * that can not be read, -EINVAL for one without a certificate; -ENOMEM. Blocks: disk.
 */
int net_context_create(
	const struct net_params *params, struct net_context **ret, struct source_error *error);
void net_context_destroy(struct net_context *context);
/*
 * Tells fn each directory of authorities that is read when a certificate is verified, and what its links lead to; for the system's also where links lead that are made later.
 * Something may be told twice, or not be there. Blocks: disk.
 */
void net_context_trust_paths(
	const struct net_context *context, void (*fn)(void *arg, const char *path), void *arg);
const struct net_params *net_context_params(const struct net_context *context);
/*
 * Ends every net_connect() that runs, and every later one, with -ECANCELED, and whatever runs on a connection that is not net_established() yet; the
 * others go on.
 * For an unmount while the account is being reached. Any thread. Blocks: never.
 */
void net_context_cancel(struct net_context *context);
/* Readable after that, for what else an unmount must not wait for; it is the context's. */
int net_context_cancel_fd(const struct net_context *context);

/*
 * Resolves, connects and, for NET_TLS_IMPLICIT, does the handshake and verifies. Every address of the
 * host is tried in turn. -ETIMEDOUT, -ECANCELED, -ECONNREFUSED and what else connect() gives; -EIO: host name
 * unknown, handshake failed; -EPROTO: certificate not trusted. error says it in words, with the cause.
 * Blocks: network, until deadline_ms, which stays the stream's deadline.
 */
int net_connect(struct net_context *context, int64_t deadline_ms, struct net_stream **ret,
	struct source_error *error);
/* The stream is logged in: it can say goodbye, and so is not ended by net_context_cancel() any more. Blocks: never. */
void net_established(struct net_stream *stream);
/*
 * The TLS handshake after STARTTLS. Bytes that were received before it and not yet read are an attack
 * (RFC 3501 §11.1, CVE-2011-0411): -EPROTO. After any failure the stream is dead: nothing can be sent in
 * the clear by mistake. Else as net_connect(). Blocks: network, until the stream's deadline.
 */
int net_start_tls(struct net_stream *stream, struct source_error *error);
/*
 * From now on what is sent and received is deflated (RFC 4978). Bytes that were received and not read yet are the beginning of that. The
 * deadline and net_limits hold for what is inflated. Once for a stream, between two commands. -ENOMEM: the stream is dead. Blocks: never.
 */
int net_start_deflate(struct net_stream *stream);
/* Frees the stream; TLS is shut down if that needs no waiting. NULL is allowed. */
void net_close(struct net_stream *stream);

/* When every following call gives up (monotonic ms). */
void net_set_deadline(struct net_stream *stream, int64_t deadline_ms);
/*
 * fn is told of all that arrives, as its bytes count for a reader (without TLS, inflated), by whichever call waits for it. It may set the deadline. NULL: nobody.
 */
void net_on_arrival(struct net_stream *stream, void (*fn)(void *arg, size_t bytes), void *arg);
/* Ends the running and every later call with -ECANCELED. Any thread. Blocks: never. */
void net_cancel(struct net_stream *stream);
bool net_secured(const struct net_stream *stream);
/* Bytes received and sent on the socket, TLS included. Any thread. Blocks: never. */
void net_traffic(const struct net_stream *stream, uint64_t *ret_in, uint64_t *ret_out);
/* How the receiving goes. Any thread. Blocks: never. */
void net_flow(const struct net_stream *stream, struct source_flow *ret);

/*
 * Reads at least one byte, at most cap. The number read; -ECONNRESET when the peer closed (never 0),
 * -ETIMEDOUT at the deadline, -ECANCELED, -EIO. Blocks: network.
 */
ssize_t net_read(struct net_stream *stream, void *buf, size_t cap);
/*
 * Waits for the peer to say something, until until_ms (monotonic), whatever the stream's deadline is. 1: there is something to read
 * (which may be a part of a line); 0: until_ms has passed, or net_poke(); else an error as net_read(). Blocks: network, until until_ms.
 */
int net_wait(struct net_stream *stream, int64_t until_ms);
/* Makes the net_wait() that runs, or else the next one, return 0. Any thread. Blocks: never. */
void net_poke(struct net_stream *stream);
/*
 * Writes all of it; 0 or an error as net_read(), also -EPIPE. An error in the middle ends the stream: the peer
 * would take what follows for the rest. What arrives meanwhile is kept for the readers, up to 8 MiB; more, while
 * the peer takes nothing: -EPROTO. Blocks: network.
 */
int net_write(struct net_stream *stream, const void *data, size_t len);

/* What one response may hold; past it the reader fails with -EMSGSIZE and the stream is out of step. */
struct net_limits {
	size_t line_bytes;       /* one line without its literals, but with its line ends */
	uint64_t literal_bytes;  /* the announced size of one literal */
	uint64_t response_bytes; /* lines and literals together */
	unsigned literals;       /* literals in one response */
	/*
	 * For lists that are longer than anybody wants to hold: a line that has grown by spill_bytes and has not ended is shown to spill(),
	 * which takes out of its middle what it can use and shortens it; a negative errno ends the reading. line_bytes counts all of it. NULL:
	 * lines are held whole. What is behind a literal is not shown: all that is held of the response may then have held_bytes, or, where
	 * that is 0, each such line spill_bytes.
	 */
	int (*spill)(void *arg, struct str *line);
	void *spill_arg;
	size_t spill_bytes, held_bytes;
	/*
	 * For literals that are larger than anybody wants to hold: pass() is asked about each one, with the response up to the "{" that announces it.
	 * true: its bytes go to passed() as they come, up to 64 KiB at a time, and the response holds an empty one, "{0}", in its place. They count
	 * in the limits as others do. NULL: all are held.
	 */
	bool (*pass)(void *arg, const char *head, size_t len, uint64_t size);
	void (*passed)(void *arg, const char *data, size_t len);
	void *pass_arg;
};

/* The limits for anything but bodies: 1 MiB line, 1 MiB literal, 4 MiB response, 64 literals. */
extern const struct net_limits net_limits_default;

/*
 * Reads one complete IMAP response: a line up to CRLF (a bare LF is taken too), with the octets of each
 * literal ({n}CRLF) that it announces, up to the CRLF that ends it. out is replaced: the bytes exactly as received,
 * the literals in place, without the last line end. -EMSGSIZE over a limit, -EPROTO for a literal size that is not a
 * number of at most 20 digits; else as net_read(). No literal is looked for in status responses (OK, NO, BAD, BYE,
 * PREAUTH, tagged or not) and continuation requests, whose text is for people. After an error in the middle of a
 * response the stream is out of step: every later read gives -EPROTO. Blocks: network.
 */
int net_read_response(struct net_stream *stream, const struct net_limits *limits, struct str *out);
/* Bytes received that no reader has taken yet. */
size_t net_buffered(const struct net_stream *stream);
/* Whether the end of a line is among them. */
bool net_line_buffered(const struct net_stream *stream);

/*
 * A libetpan low stream over a pair of functions, for protocol code that lets libetpan see only responses
 * that it has vetted: read gives bytes (at least one, or a negative errno), write takes all of them. The
 * low does not own arg; libetpan frees the low itself.
 */
struct net_low_ops {
	ssize_t (*read)(void *arg, void *buf, size_t cap);
	int (*write)(void *arg, const void *data, size_t len);
};
mailstream_low *net_low_create(const struct net_low_ops *ops, void *arg);

/*
 * Turns an error of the calls above into an account error (SOURCE_SCOPE_CANCELLED for -ECANCELED) that names
 * host and port. error->err is what a file operation shall give: -EIO, except for -ETIMEDOUT, -ECANCELED and
 * -ENOMEM. Returns err as it is.
 */
int net_fail(const struct net_stream *stream, int err, struct source_error *error);

/* --- SASL (RFC 4422): pure computations, no I/O. --- */

struct sasl_client;

/* The mechanisms that this client knows, best first, NULL-terminated: SCRAM-SHA-256, SCRAM-SHA-1, CRAM-MD5, PLAIN. */
extern const char *const sasl_mechanisms[];
/* NULL for an unknown mechanism or no memory. user is UTF-8, copied. password is borrowed. */
struct sasl_client *sasl_client_create(
	const char *mechanism, const char *user, const struct secret *password);
void sasl_client_destroy(struct sasl_client *client);
bool sasl_client_sends_first(const struct sasl_client *client);
/*
 * Answers a challenge (raw bytes, base64 already removed; NULL for the initial response). out is replaced; it
 * may hold the password: the caller wipes it. -EPROTO when the challenge is malformed, is one too many or, for
 * SCRAM, the server's signature is wrong; -EACCES when SCRAM's last message says that our proof is; -EINVAL for
 * a password with a NUL, which PLAIN can not send; -EIO when OpenSSL refuses the algorithm; -ENOMEM. After an
 * error there is no further step. Blocks: never (SCRAM computes for up to half a second).
 */
int sasl_client_step(
	struct sasl_client *client, const void *challenge, size_t len, struct str *out);
/*
 * Those for an OAuth 2 access token in the password's place (RFC 7628; XOAUTH2 as Google describes it), best first: OAUTHBEARER,
 * XOAUTH2. sasl_client_create() knows them. A challenge after the initial response is the server's refusal in JSON: the
 * step answers as the mechanism demands, and the server then says no.
 */
extern const char *const sasl_token_mechanisms[];
/* Whether the mechanism is satisfied: SCRAM demands that the server's signature was seen and right. */
bool sasl_client_done(const struct sasl_client *client);

/*
 * The digest of APOP (RFC 1939 §7): MD5 of the greeting's timestamp and the password, in hexadecimal. -EINVAL: timestamp is
 * not the msg-id "<…@…>" of printable ASCII that RFC 1939 demands, which guards against chosen challenges (CVE-2007-1558).
 */
int net_apop_digest(const char *timestamp, const struct secret *password, char out[33]);

/* --- SHA-256, as a stream --- */
struct net_sha256;
/* NULL: no memory. */
struct net_sha256 *net_sha256_create(void);
void net_sha256_destroy(struct net_sha256 *digest);
int net_sha256_update(struct net_sha256 *digest, const void *data, size_t len);
/* Gives the digest and begins anew. */
int net_sha256_final(struct net_sha256 *digest, unsigned char out[32]);

/* Base64 without line breaks. decode: -EPROTO for anything that is not base64. */
int net_base64_encode(const void *data, size_t len, struct str *out);
int net_base64_decode(const char *text, size_t len, struct str *out);

/* Whether what a server says holds a secret (secret.h), as it is or in base64: then nobody is to read it. */
bool net_tells_secret(const char *text);
#define NET_SECRET_TOLD "(not shown: it holds the password)"

#endif
