/* SPDX-License-Identifier: MIT */
/*
 * Mail as bytes in, values out: header fields, encoded words, parameters, the structure of a message,
 * transfer decoding, and the names that come of it. Pure: no I/O, no global state, linear in its input,
 * and total: every input gives a result, never a failure but -ENOMEM.
 */
#ifndef MAILFS_MIME_H
#define MAILFS_MIME_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mailfs/util/str.h"

/* --- Header fields (RFC 5322) --- */

/*
 * Finds the first field of that name (any case) in raw header bytes (CRLF or LF) and appends its value,
 * unfolded (line ends removed, the blank after kept), ends trimmed. -ENOENT: no such field.
 */
int mime_header_get(const char *header, size_t len, const char *field, struct str *out);

/* Bytes of somebody else's. data NULL: there are none. */
struct mime_span {
	const char *data;
	size_t len;
};
/*
 * Finds the first field of each name in one pass: values as they stand, from behind the colon to the line end, with folds; data
 * NULL: no such field. As mime_header_get() finds them; that, with a header of which it is the only field, unfolds and trims.
 */
void mime_header_find(const char *header, size_t len, const char *const *fields, size_t count,
	struct mime_span *ret);

/*
 * Takes fields out of a header while it comes, cut anywhere: of each name (any case; at most 32 names) the first, as mime_header_get() finds it, as it
 * stands. One that is longer than field_max is cut between two characters, and ended with a line end.
 */
struct mime_fields {
	struct str text; /* those that have come, in that order */
	bool whole;      /* the empty line has come: nothing more is taken */
	bool cut;        /* one of them was longer */

	/* private: */
	const char *const *names;
	size_t count, field_max, field_start, line_len, head_len;
	uint32_t seen;
	enum { MIME_FIELD_BEGINS, MIME_FIELD_KEPT, MIME_FIELD_PASSED } state;
	char head
		[64]; /* the first bytes of the line: more of them than of any name, with the blanks that may be behind it */
};
/* names is borrowed. Blocks: never, as all of them. */
void mime_fields_init(
	struct mime_fields *fields, const char *const *names, size_t count, size_t field_max);
/* For another header. */
void mime_fields_reset(struct mime_fields *fields);
void mime_fields_finish(struct mime_fields *fields);
/* -ENOMEM, then and until reset. */
int mime_fields_push(struct mime_fields *fields, const void *data, size_t len);
/* The header has ended, without an empty line. */
int mime_fields_end(struct mime_fields *fields);

/* Appends the first field of that name as it stands: name, folds and line end. -ENOENT: no such field. */
int mime_header_copy(const char *header, size_t len, const char *field, struct str *out);
/*
 * Reads a date (RFC 5322 §3.3, with the obsolete forms of §4.3 and what is met in practice: two-digit years, missing
 * weekday, missing seconds, zone names, comments). Seconds since the epoch, UTC. -EINVAL: it is none.
 */
int mime_date_parse(const char *value, size_t len, int64_t *ret);
/*
 * When a message arrived: the date of the first Received field (the last hop's), else the Date field; -ENOENT: neither
 * can be read. A fact of the message alone, the same on every machine.
 */
int mime_header_date(const char *header, size_t len, int64_t *ret);

/*
 * Decodes the encoded words (RFC 2047, leniently) of an unstructured value and whatever is raw 8-bit in it. Valid
 * UTF-8 comes out, with a blank for each control character (a sender must not reach somebody's terminal).
 */
int mime_words_decode(const char *value, size_t len, struct str *out);
/*
 * The display name of the first mailbox of an address list, decoded (or the comment behind a bare address, "j@x (Name)");
 * else its address; "" when there is neither. Groups: their first member. Blanks are folded.
 */
int mime_author(const char *value, size_t len, struct str *out);
/* The whole address list with its encoded words decoded, for people. */
int mime_addresses_decode(const char *value, size_t len, struct str *out);

/*
 * Converts text of a charset to UTF-8. What the charset can not explain becomes U+FFFD; an unknown charset (or NULL),
 * and US-ASCII with 8-bit bytes in it, is taken as UTF-8 where it is valid, else as windows-1252. Known is a closed
 * list of charsets and aliases, each read as what it stands for in practice (ISO-8859-1 as windows-1252).
 */
int mime_charset_decode(const char *charset, const char *data, size_t len, struct str *out);
/*
 * Loads the converters of all charsets, and keeps them: the C library takes them from files when they are first needed, which a process in a
 * sandbox can not. Once, before there are threads. Blocks: disk.
 */
void mime_charsets_load(void);

/* --- Media type parameters (RFC 2045, RFC 2231) --- */

struct mime_param {
	char *name;  /* lower case, without the * of RFC 2231 */
	char *value; /* raw; after mime_params_join(): UTF-8 */
};
struct mime_params {
	struct mime_param *items;
	size_t count;
	bool cut; /* there were more */
};
void mime_params_finish(struct mime_params *params);
/* Adds a copy. What is beyond 1,000 is dropped, and noted (cut): no message has that many. */
int mime_params_add(struct mime_params *params, const char *name, size_t name_len,
	const char *value, size_t value_len);
/* Parses "; a=b; c*0*=…" as it stands after a media type or a disposition. */
int mime_params_parse(const char *text, size_t len, struct mime_params *params);
/*
 * Joins continuations (name*0, name*1*), decodes RFC 2231 charsets and percent signs, and encoded words
 * that were put into a value against the rules. Afterwards each name stands once, in UTF-8, without control
 * characters. Of several, name* is preferred to name*0…, that to name, and the first to the others. Call it once.
 */
int mime_params_join(struct mime_params *params);
/* The value of a name, NULL when it is not there. Owned by params. */
const char *mime_params_get(const struct mime_params *params, const char *name);

/* --- The structure of a message (RFC 2045, as BODYSTRUCTURE tells it) --- */

#define MIME_DEPTH_MAX 64
#define MIME_PARTS_MAX 10000

enum mime_encoding { MIME_ENCODING_IDENTITY, MIME_ENCODING_QUOTED_PRINTABLE, MIME_ENCODING_BASE64 };

/* The transfer encoding that a Content-Transfer-Encoding names; an unknown one is the identity. */
enum mime_encoding mime_encoding_parse(const char *name);

/* What of a message its structure does not tell, and why. */
enum mime_cut {
	MIME_CUT_DEPTH = 1 << 0,    /* what is below, deeper than MIME_DEPTH_MAX */
	MIME_CUT_COUNT = 1 << 1,    /* what comes behind the last part, beyond MIME_PARTS_MAX */
	MIME_CUT_HEADER = 1 << 2,   /* fields or parameters that are too long or too many */
	MIME_CUT_BOUNDARY = 1 << 3, /* the parts of a multipart whose boundary is too long */
	MIME_CUT_UNKNOWN = 1 << 4,  /* all of it: the server's answer can not be understood */
	MIME_CUT_LENGTH =
		1 << 5, /* what comes behind the last part: the server's answer is too long */
};

struct mime_part {
	char *type, *subtype; /* lower case; "multipart", "message"/"rfc822", "text"/"plain", … */
	struct mime_params params;             /* of Content-Type, joined */
	char *disposition;                     /* lower case, or NULL */
	struct mime_params disposition_params; /* joined */
	char *encoding;                        /* lower case; "" when not given */
	uint64_t size_bytes;                   /* of the encoded part, as the server says */
	/*
	 * Where it stands in the message, when that is known (mime_walker): its header fields, of the message that
	 * it is the body of or of the part, up to and with the empty line; and its encoded body (size_bytes then also of a multipart).
	 */
	bool located;
	uint64_t header_offset, header_bytes;
	uint64_t offset;
	unsigned cut; /* enum mime_cut: what of this part and below it is not told here */
	struct mime_part **
		children; /* multipart: its parts; message/rfc822: one, the message's own body part */
	size_t child_count;
};

/* An empty part: all members are NULL or 0, and may stay so. NULL: no memory. */
struct mime_part *mime_part_create(void);
/* Frees the part and all below; NULL is allowed. */
void mime_part_destroy(struct mime_part *part);
/* Takes child, also when it fails (then it is destroyed). -ENOMEM. */
int mime_part_add_child(struct mime_part *part, struct mime_part *child);
bool mime_part_is_multipart(const struct mime_part *part);
/*
 * message/rfc822 (or message/global) whose own structure is known: shown as a directory. Not if it is encoded as a
 * whole (against the rules): its sections could not be decoded, so it is shown as a file.
 */
bool mime_part_is_message(const struct mime_part *part);

/* enum mime_cut, of the part and all below it. */
unsigned mime_part_cuts(const struct mime_part *part);

/*
 * A compact form for the store, independent of any protocol. What is deeper than MIME_DEPTH_MAX or beyond MIME_PARTS_MAX is
 * cut off, and noted (cut). parse: -EINVAL for anything that serialize did not write.
 */
int mime_part_serialize(const struct mime_part *part, struct str *out);
int mime_part_parse(const char *data, size_t len, struct mime_part **ret);

/*
 * Where a section of a located message is: "" (all of it is not asked for here: -EINVAL), "HEADER", "TEXT", "2", "2.MIME",
 * "2.HEADER", "2.TEXT", numbered as by RFC 3501 §6.4.5. -EINVAL: that is no section; -ENOENT: there is none of
 * that number; -ENODATA: the structure is not located.
 */
int mime_part_locate(const struct mime_part *message, const char *section, uint64_t *ret_offset,
	uint64_t *ret_len);

/* The attached message at a section of a message ("2", "2.1.3", numbered as above), which mime_part_is_message(); NULL: there is none. Owned by message. */
const struct mime_part *mime_message_at(const struct mime_part *message, const char *section);

/*
 * The structure that was used last, for who looks at the parts of one message, one after the other: to parse it again for each would
 * take time that grows with the square of their number. id: the owner's name for the message. All may be called by several threads at a time.
 */
struct mime_kept {
	pthread_mutex_t lock;
	uint64_t id;
	struct mime_part *part; /* NULL: none */
};
void mime_kept_init(struct mime_kept *kept);
void mime_kept_finish(struct mime_kept *kept);
bool mime_kept_has(struct mime_kept *kept, uint64_t id);
/* The caller's from now on. NULL: it is another message's, and destroyed so that there are not two at a time, or somebody has it. */
struct mime_part *mime_kept_take(struct mime_kept *kept, uint64_t id);
/* Takes part, in the place of what is kept. */
void mime_kept_put(struct mime_kept *kept, uint64_t id, struct mime_part *part);

/*
 * Finds the structure of a message from its bytes (RFC 2045, 2046), as servers give it by BODYSTRUCTURE: for mail that has no
 * IMAP server. Linear in the message, whatever it holds; memory is bounded whatever its size (of each of a part's fields that count here, 256 KiB
 * are looked at). A multipart that can not be taken apart (no boundary, deeper than MIME_DEPTH_MAX) is an
 * application/octet-stream leaf; beyond MIME_PARTS_MAX the rest belongs to the last part. Parts say what was cut.
 */
struct mime_walker;
/* NULL: no memory. */
struct mime_walker *mime_walker_create(void);
void mime_walker_destroy(struct mime_walker *walker);
/* Takes the next bytes, cut anywhere. -ENOMEM, then and ever after. */
int mime_walker_push(struct mime_walker *walker, const void *data, size_t len);
/* The message has ended: its structure, all parts located; destroyed by the caller. */
int mime_walker_end(struct mime_walker *walker, struct mime_part **ret);

/* A leaf, or an attached message, of one directory of the .parts view. */
struct mime_leaf {
	const struct mime_part *part; /* of the structure; NULL once detached */
	uint64_t size_bytes;          /* of the encoded part, as the structure has it */
	char *section;                /* IMAP section: "1", "2.1"; the header is not a leaf */
	char *name; /* file name in the view: "1-text.txt", "2-report.pdf"; unique in its directory, ≤ MIME_NAME_MAX bytes */
	bool is_message; /* a directory: its leaves come from mime_leaves() with this leaf's part and section */
	bool to_utf8;  /* its content is converted to UTF-8 from charset */
	char *charset; /* of a text part; NULL: none is given that is known */
	enum mime_encoding encoding;
	uint64_t
		size_bound; /* no decoded content is longer than this, if the server's size is right */
};
struct mime_leaves {
	struct mime_leaf *items;
	size_t count;
};
/*
 * The leaves in document order. message: the root part of a message (section NULL), or a part that
 * mime_part_is_message() (section: its own section). Names are numbered by IMAP part number relative to that
 * message: "1-text.txt", "1.2-logo.png". Deeper than MIME_DEPTH_MAX nothing is shown. -ENOMEM.
 */
int mime_leaves(const struct mime_part *message, const char *section, struct mime_leaves *ret);
void mime_leaves_finish(struct mime_leaves *leaves);
/* From now on the leaves do not refer to the structure, which may be destroyed. */
void mime_leaves_detach(struct mime_leaves *leaves);

/* --- Transfer decoding, as a stream --- */

struct mime_decoder;

/* Decodes an encoding and, when to_utf8, then the charset (an unknown one: its bytes stay as they are). NULL: no memory. */
struct mime_decoder *mime_decoder_create(
	enum mime_encoding encoding, bool to_utf8, const char *charset);
void mime_decoder_destroy(struct mime_decoder *decoder);
/*
 * Takes encoded bytes, cut anywhere, and appends what is decoded. Well-formed input gives what Python's email package
 * gives. Malformed input: src/mime/base64.c and quoted.c say what is made of it. -ENOMEM.
 */
int mime_decoder_push(struct mime_decoder *decoder, const void *data, size_t len, struct str *out);
/* The input has ended: appends what was held back. -ENOMEM. */
int mime_decoder_end(struct mime_decoder *decoder, struct str *out);

/* --- File names of messages (pure functions of immutable facts) --- */

#define MIME_NAME_MAX 240 /* bytes */

struct mime_name_facts {
	int64_t date_s; /* INTERNALDATE; 0 when it is not known */
	uint32_t uid;
	const char *header; /* raw fields From and Subject among others; NULL: none */
	size_t header_len;
	/* What mime_header_find() has found of From and Subject: header is not looked at then. */
	bool found;
	struct mime_span from, subject;
};
struct mime_name_template;
/*
 * Parses a form of names: %Y %m %d %H %M %S (and %y) of the date in UTC, %f from, %s subject, %u UID, %%; ".eml" is
 * added if it does not end so. "uid" is "%u.eml"; NULL is the default, "%Y-%m-%d_%H%M_%f_%s.%u.eml", here and in
 * all functions below. -EINVAL with *why (static text): %u is not there once, or is where it could not be found
 * again in a name; an unknown %; a '/', a control or an invisible character, a dot at the beginning, invalid UTF-8;
 * too long to leave room for its fields. -ENOMEM (*why is NULL).
 */
int mime_name_template_parse(const char *text, struct mime_name_template **ret, const char **why);
void mime_name_template_destroy(struct mime_name_template *name_template);
/* Writes the name into out[MIME_NAME_MAX + 1]; always valid UTF-8, without '/', control characters or a leading dot. Its length; 0, and out is "": no memory. */
size_t mime_name_message(const struct mime_name_template *name_template,
	const struct mime_name_facts *facts, char *out);
/*
 * The UID that a name written by the template must have; 0 when it can not be one of its names. A name that nobody wrote
 * can have a UID too: the caller makes the name of that message and compares.
 */
uint32_t mime_name_uid(const struct mime_name_template *name_template, const char *name);
/*
 * Sanitises a field of a name and appends it, at most limit_bytes of it, cut on a character boundary. Of ASCII, letters, digits
 * and . - + @ # = , survive; beyond it, all but the ranges listed in src/mime/name_field.c. Anything else is one '-'; runs of
 * '-' are folded, '-' and '.' at the ends trimmed. Nothing may be left.
 */
int mime_name_field(const char *utf8, size_t len, size_t limit_bytes, struct str *out);

#endif
