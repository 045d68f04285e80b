/* SPDX-License-Identifier: MIT */
/*
 * Trust. By default the system's authorities; with tls_ca= only those in that file or directory; with
 * tls_fingerprint= exactly one certificate, whatever its name, date or issuer. The decision is made in
 * OpenSSL's certificate callback, thus before anything of ours is sent, and made again from the session
 * after a resumption, where that callback is not called. Revocation is not checked: IMAP servers staple
 * nothing, and fetching lists would leak what is mounted.
 */
#include "trust.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <arpa/inet.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/utf8.h"

#define FINGERPRINT_BYTES 32

/* Of what a certificate says of itself, in a message. */
#define CLAIM_MAX_BYTES 60

/* --- Deciding --- */

static bool fingerprint_of(X509 *cert, unsigned char digest[FINGERPRINT_BYTES])
{
	unsigned len = 0;
	return cert && X509_digest(cert, EVP_sha256(), digest, &len) && len == FINGERPRINT_BYTES;
}

static bool is_pinned(const struct net_context *context, X509 *cert)
{
	unsigned char digest[FINGERPRINT_BYTES];
	return fingerprint_of(cert, digest) &&
	       memcmp(digest, context->fingerprint, sizeof(digest)) == 0;
}

static void refuse(struct net_stream *stream, int code, X509 *leaf, X509 *culprit)
{
	struct net_verdict *verdict = &stream->verdict;
	net_verdict_finish(verdict);
	if (leaf)
		X509_up_ref(leaf);
	if (culprit)
		X509_up_ref(culprit);
	*verdict = (struct net_verdict){true, code, leaf, culprit};
}

/* OpenSSL asks: 1 to trust the chain that the server sent. */
static int verify(X509_STORE_CTX *store, void *arg)
{
	struct net_context *context = arg;
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	X509 *leaf = X509_STORE_CTX_get0_cert(store);
	bool trusted;
	if (context->params.fingerprint) {
		trusted = is_pinned(context, leaf);
		X509_STORE_CTX_set_error(
			store, trusted ? X509_V_OK : X509_V_ERR_APPLICATION_VERIFICATION);
	} else {
		trusted = X509_verify_cert(store) > 0;
	}
	if (!trusted)
		refuse(SSL_get_app_data(ssl), X509_STORE_CTX_get_error(store), leaf,
			X509_STORE_CTX_get_current_cert(store));
	return trusted;
}

/*
 * Once more: OpenSSL copies the name that it is to look for, and where it has no memory for that it goes on without, so that any name will do
 * (ssl_verify_cert_chain() does not ask whether X509_VERIFY_PARAM_set1() has failed).
 */
static int check_name(const struct net_context *context, X509 *leaf)
{
	const char *name = context->peer_name;
	if (context->peer_is_address)
		return X509_check_ip_asc(leaf, name, 0) == 1 ? X509_V_OK
		                                             : X509_V_ERR_IP_ADDRESS_MISMATCH;
	return X509_check_host(leaf, name, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1
	               ? X509_V_OK
	               : X509_V_ERR_HOSTNAME_MISMATCH;
}

bool net_trust_check_peer(struct net_stream *stream)
{
	const struct net_context *context = stream->context;
	X509 *leaf = SSL_get0_peer_certificate(stream->ssl);
	int code = (int)SSL_get_verify_result(stream->ssl);
	if (context->params.fingerprint && !is_pinned(context, leaf))
		code = X509_V_ERR_APPLICATION_VERIFICATION;
	else if (!context->params.fingerprint && leaf && code == X509_V_OK)
		code = check_name(context, leaf);
	if (leaf && code == X509_V_OK)
		return true;
	refuse(stream, leaf ? code : X509_V_ERR_UNSPECIFIED, leaf, NULL);
	return false;
}

int net_trust_expect_peer(const struct net_context *context, SSL *ssl)
{
	const char *name = context->peer_name;
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (context->peer_is_address) /* RFC 6066 §3: no SNI for addresses */
		return X509_VERIFY_PARAM_set1_ip_asc(param, name) ? 0 : -ENOMEM;
	return X509_VERIFY_PARAM_set1_host(param, name, 0) && SSL_set_tlsext_host_name(ssl, name)
	               ? 0
	               : -ENOMEM;
}

void net_verdict_finish(struct net_verdict *verdict)
{
	X509_free(verdict->leaf);
	X509_free(verdict->culprit);
	*verdict = (struct net_verdict){0};
}

/* --- Loading --- */

static int load_fail(
	struct net_context *context, int err, const char *what, struct source_error *error)
{
	return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_NEVER, SOURCE_CAUSE_TLS, err,
		"tls_ca=%s: %s", context->ca_file, what);
}

static int load_ca_file(struct net_context *context, struct source_error *error)
{
	struct stat st;
	if (stat(context->ca_file, &st) < 0)
		return load_fail(context, -errno, strerror(errno), error);
	bool directory = S_ISDIR(st.st_mode);
	if (access(context->ca_file, directory ? R_OK | X_OK : R_OK) < 0)
		return load_fail(context, -errno, strerror(errno), error);
	ERR_clear_error();
	int ok = directory ? SSL_CTX_load_verify_dir(context->ssl_ctx, context->ca_file)
	                   : SSL_CTX_load_verify_file(context->ssl_ctx, context->ca_file);
	ERR_clear_error();
	if (!ok)
		return load_fail(context, -EINVAL, "no certificate in PEM form in it", error);
	/* What is named so explicitly is trusted even when it is no root: an intermediate, the server's own. */
	X509_VERIFY_PARAM_set_flags(
		SSL_CTX_get0_param(context->ssl_ctx), X509_V_FLAG_PARTIAL_CHAIN);
	return 0;
}

int net_trust_load(struct net_context *context, struct source_error *error)
{
	SSL_CTX_set_verify(context->ssl_ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(context->ssl_ctx, verify, context);
	if (context->ca_file)
		return load_ca_file(context, error);
	/* Reading the system's store takes time: not where it can not be asked. */
	if (context->params.fingerprint || context->params.tls == NET_TLS_NONE)
		return 0;
	/* A system without a store: verification says so, for the certificate that it fails on. */
	SSL_CTX_set_default_verify_paths(context->ssl_ctx);
	ERR_clear_error();
	return 0;
}

/*
 * --- What is read later ---
 *
 * A file of authorities is read when it is loaded; a directory when a certificate is verified. Debian's holds links to where packages put
 * them, and those are replaced by upgrades, so that their directories are told and not they.
 */

#define LINKS_MAX 2000

/* Where links of the system's will lead to when an authority is added later (update-ca-certificates(8)). */
static const char *const places_of_system[] = {
	"/usr/share/ca-certificates",
	"/usr/local/share/ca-certificates",
};

struct teller {
	void (*fn)(void *arg, const char *path);
	void *arg;
	char directory[PATH_MAX]; /* whose links are followed */
	char last[PATH_MAX];      /* told; most links lead to one directory */
};

static bool is_of_system(const char *path)
{
	return strncmp(path, "/usr/", 5) == 0 || strncmp(path, "/etc/", 5) == 0;
}

static bool is_in(const char *path, const char *directory)
{
	size_t len = strlen(directory);
	return strncmp(path, directory, len) == 0 && path[len] == '/';
}

/* Where a link leads, if not to its neighbour, as links of openssl-rehash(1) do. Around an authority of somebody's own there may be anything: that one is told without its directory. */
static void tell_target(struct teller *teller, const char *name)
{
	char target[PATH_MAX];
	_cleanup_free_ char *path = NULL;
	if (asprintf(&path, "%s/%s", teller->directory, name) < 0) {
		path = NULL;
		return;
	}
	if (!realpath(path, target) || is_in(target, teller->directory))
		return;
	if (is_of_system(target))
		*strrchr(target, '/') = 0;
	if (strcmp(target, teller->last) == 0)
		return;
	memcpy(teller->last, target, sizeof(target));
	teller->fn(teller->arg, target);
}

static void tell_directory(struct teller *teller, const char *path)
{
	DIR *dir = realpath(path, teller->directory) ? opendir(path) : NULL;
	if (!dir)
		return;
	teller->fn(teller->arg, path);
	size_t count = sizeof(places_of_system) / sizeof(*places_of_system);
	for (size_t i = 0; i < count && is_of_system(teller->directory); i++)
		teller->fn(teller->arg, places_of_system[i]);
	for (int i = 0; i < LINKS_MAX; i++) {
		const struct dirent *entry = readdir(dir);
		if (!entry)
			break;
		if (entry->d_type == DT_LNK || entry->d_type == DT_UNKNOWN)
			tell_target(teller, entry->d_name);
	}
	closedir(dir);
}

void net_context_trust_paths(
	const struct net_context *context, void (*fn)(void *arg, const char *path), void *arg)
{
	struct teller teller = {.fn = fn, .arg = arg};
	const char *directory = getenv(X509_get_default_cert_dir_env());
	if (context->params.fingerprint || context->params.tls == NET_TLS_NONE)
		return;
	if (context->ca_file)
		directory = context->ca_file;
	if (!directory)
		directory = X509_get_default_cert_dir();
	/* SSL_CERT_DIR may name several. */
	_cleanup_free_ char *list = strdup(directory);
	char *rest = NULL, *path = list ? strtok_r(list, ":", &rest) : NULL;
	for (; path; path = strtok_r(NULL, ":", &rest))
		tell_directory(&teller, path);
}

/* --- Telling --- */

static void append_claim(struct str *out, const void *data, int len)
{
	const char *text = data;
	for (int i = 0; i < len; i++)
		str_putc(out, text[i] ? text[i] : '?'); /* a NUL would hide what follows it */
}

static void append_address(struct str *out, const ASN1_OCTET_STRING *address)
{
	char text[INET6_ADDRSTRLEN];
	int len = ASN1_STRING_length(address);
	int family = len == 4 ? AF_INET : len == 16 ? AF_INET6 : AF_UNSPEC;
	if (inet_ntop(family, ASN1_STRING_get0_data(address), text, sizeof(text)))
		str_append_cstr(out, text);
}

static void append_general_name(struct str *out, const GENERAL_NAME *name)
{
	if (name->type != GEN_DNS && name->type != GEN_IPADD)
		return;
	if (out->len > 0)
		str_append_cstr(out, ", ");
	if (name->type == GEN_DNS)
		append_claim(out, ASN1_STRING_get0_data(name->d.dNSName),
			ASN1_STRING_length(name->d.dNSName));
	else
		append_address(out, name->d.iPAddress);
}

static void append_common_name(struct str *out, X509 *cert)
{
	const X509_NAME *subject = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	const X509_NAME_ENTRY *entry = at < 0 ? NULL : X509_NAME_get_entry(subject, at);
	unsigned char *text = NULL;
	int len = entry ? ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(entry)) : -1;
	if (len >= 0)
		append_claim(out, text, len);
	OPENSSL_free(text);
}

/* The names that a certificate is good for: the alternative names, else the common name. */
static void append_names(struct str *out, X509 *cert)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	for (int i = 0; i < sk_GENERAL_NAME_num(names) && out->len <= CLAIM_MAX_BYTES; i++)
		append_general_name(out, sk_GENERAL_NAME_value(names, i));
	GENERAL_NAMES_free(names);
	if (out->len == 0)
		append_common_name(out, cert);
	if (out->len == 0)
		str_append_cstr(out, "no name at all");
}

static void append_x509_name(struct str *out, const X509_NAME *name)
{
	BIO *bio = BIO_new(BIO_s_mem());
	if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0) {
		char *text;
		long len = BIO_get_mem_data(bio, &text);
		append_claim(out, text, (int)len);
	}
	BIO_free(bio);
}

/* To max bytes at most, so that what follows is not cut. */
static void cut_text(struct str *text, size_t max)
{
	static const char more[] = "...";
	if (text->len <= max)
		return;
	size_t cut = max > strlen(more) ? max - strlen(more) : 0;
	while (cut > 0 && ((unsigned char)text->data[cut] & 0xc0) == 0x80)
		cut--;
	str_truncate(text, cut);
	if (cut > 0)
		str_append_cstr(text, more);
}

static void append_mismatch(struct str *out, const struct net_stream *stream)
{
	_cleanup_str_ struct str names = STR_INIT;
	append_names(&names, stream->verdict.leaf);
	cut_text(&names, CLAIM_MAX_BYTES);
	str_printf(out, "it is for %s, not for %s", str_cstr(&names), stream->context->peer_name);
}

static void append_chain_error(struct str *out, const struct net_verdict *verdict)
{
	_cleanup_str_ struct str names = STR_INIT;
	X509 *cert = verdict->culprit ? verdict->culprit : verdict->leaf;
	if (cert) {
		append_x509_name(&names, X509_get_subject_name(cert));
		str_append_cstr(&names, " issued by ");
		append_x509_name(&names, X509_get_issuer_name(cert));
		cut_text(&names, CLAIM_MAX_BYTES);
		str_printf(out, "%s: ", str_cstr(&names));
	}
	str_append_cstr(out, X509_verify_cert_error_string(verdict->code));
}

static void append_reason(struct str *out, const struct net_stream *stream)
{
	const struct net_verdict *verdict = &stream->verdict;
	int code = verdict->code;
	if (code == X509_V_ERR_APPLICATION_VERIFICATION)
		str_append_cstr(out, "it is not the one that tls_fingerprint= names");
	else if (verdict->leaf &&
		 (code == X509_V_ERR_HOSTNAME_MISMATCH || code == X509_V_ERR_IP_ADDRESS_MISMATCH))
		append_mismatch(out, stream);
	else
		append_chain_error(out, verdict);
}

/* What to do about it. Only what helps: no authority makes an old certificate young, or one for another name one for this. */
static const char *advice_on(int code)
{
	switch (code) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return "its operator must renew it, if this machine's clock is right";
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return "is this machine's clock right?";
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return "name the server as its certificate does";
	case X509_V_ERR_EE_KEY_TOO_SMALL:
	case X509_V_ERR_CA_KEY_TOO_SMALL:
	case X509_V_ERR_CA_MD_TOO_WEAK:
		return "too weak to be safe: its operator must replace it";
	case X509_V_ERR_APPLICATION_VERIFICATION:
		return "it was renewed, or somebody is in between";
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		return "nobody here knows its issuer, nor did the server send it; if it is the right one, use tls_ca=FILE";
	default:
		return "if it is the right one, use tls_ca=FILE";
	}
}

/*
 * And the way that always is: the person has to compare the fingerprint by other means. Where one was named already, taking over the other is no
 * advice.
 */
static void append_pin(struct str *out, const struct net_verdict *verdict)
{
	unsigned char digest[FINGERPRINT_BYTES];
	if (!fingerprint_of(verdict->leaf, digest))
		return;
	str_append_cstr(out, verdict->code == X509_V_ERR_APPLICATION_VERIFICATION
				     ? "; its own is sha256:"
				     : "; or trust it alone by tls_fingerprint=sha256:");
	for (size_t i = 0; i < sizeof(digest); i++)
		str_printf(out, "%02x", digest[i]);
}

/*
 * The text of an error is cut at its end, where the fingerprint stands, and how long the rest is, the certificate says. So that is cut
 * before: beside a host's name of 255 bytes there is room for the fingerprint and no more.
 */
int net_trust_fail(const struct net_stream *stream, struct source_error *error)
{
	static const char refused[] = ": certificate not trusted: ";
	const char *label = stream->context->label;
	_cleanup_str_ struct str text = STR_INIT;
	_cleanup_str_ struct str pin = STR_INIT;
	append_pin(&pin, &stream->verdict);
	append_reason(&text, stream);
	str_printf(&text, "; %s", advice_on(stream->verdict.code));
	size_t used = strlen(label) + strlen(refused) + pin.len;
	cut_text(&text, used < sizeof(error->text) ? sizeof(error->text) - 1 - used : 0);
	source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER, SOURCE_CAUSE_TLS, -EIO,
		"%s%s%s%s", label, refused, str_cstr(&text), str_cstr(&pin));
	return -EPROTO;
}
