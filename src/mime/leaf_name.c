/* SPDX-License-Identifier: MIT */
/*
 * The file name of a part: what the sender calls it, made harmless, with its extension kept; else what its media type
 * suggests. An attached message is a directory and goes without ".eml", as the message directories do.
 */
#include <errno.h>
#include <string.h>

#include "private.h"

#define EXTENSION_MAX 16

static const struct {
	const char *type, *extension;
} extensions[] = {
	{"text/plain", "txt"},
	{"text/html", "html"},
	{"text/calendar", "ics"},
	{"text/csv", "csv"},
	{"text/css", "css"},
	{"text/markdown", "md"},
	{"text/richtext", "rtx"},
	{"text/enriched", "rtx"},
	{"text/rtf", "rtf"},
	{"text/tab-separated-values", "tsv"},
	{"text/vcard", "vcf"},
	{"text/x-vcard", "vcf"},
	{"text/directory", "vcf"},
	{"text/xml", "xml"},
	{"text/javascript", "js"},
	{"text/x-patch", "patch"},
	{"text/x-diff", "diff"},
	{"text/x-amp-html", "html"},
	{"image/avif", "avif"},
	{"image/bmp", "bmp"},
	{"image/gif", "gif"},
	{"image/heic", "heic"},
	{"image/heif", "heif"},
	{"image/jpeg", "jpg"},
	{"image/jpg", "jpg"},
	{"image/pjpeg", "jpg"},
	{"image/png", "png"},
	{"image/x-png", "png"},
	{"image/svg+xml", "svg"},
	{"image/tiff", "tif"},
	{"image/webp", "webp"},
	{"image/x-icon", "ico"},
	{"image/vnd.microsoft.icon", "ico"},
	{"audio/aac", "aac"},
	{"audio/amr", "amr"},
	{"audio/flac", "flac"},
	{"audio/midi", "mid"},
	{"audio/mp4", "m4a"},
	{"audio/mpeg", "mp3"},
	{"audio/ogg", "ogg"},
	{"audio/wav", "wav"},
	{"audio/x-wav", "wav"},
	{"video/mp4", "mp4"},
	{"video/mpeg", "mpg"},
	{"video/ogg", "ogv"},
	{"video/quicktime", "mov"},
	{"video/webm", "webm"},
	{"video/x-msvideo", "avi"},
	{"application/pdf", "pdf"},
	{"application/json", "json"},
	{"application/xml", "xml"},
	{"application/xhtml+xml", "xhtml"},
	{"application/javascript", "js"},
	{"application/rtf", "rtf"},
	{"application/zip", "zip"},
	{"application/x-zip-compressed", "zip"},
	{"application/gzip", "gz"},
	{"application/x-gzip", "gz"},
	{"application/x-tar", "tar"},
	{"application/x-bzip2", "bz2"},
	{"application/x-xz", "xz"},
	{"application/zstd", "zst"},
	{"application/x-7z-compressed", "7z"},
	{"application/vnd.rar", "rar"},
	{"application/x-rar-compressed", "rar"},
	{"application/epub+zip", "epub"},
	{"application/ics", "ics"},
	{"application/mbox", "mbox"},
	{"application/ms-tnef", "dat"},
	{"application/vnd.ms-tnef", "dat"},
	{"application/msword", "doc"},
	{"application/vnd.ms-excel", "xls"},
	{"application/vnd.ms-powerpoint", "ppt"},
	{"application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"},
	{"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"},
	{"application/vnd.openxmlformats-officedocument.presentationml.presentation", "pptx"},
	{"application/vnd.oasis.opendocument.text", "odt"},
	{"application/vnd.oasis.opendocument.spreadsheet", "ods"},
	{"application/vnd.oasis.opendocument.presentation", "odp"},
	{"application/pgp-encrypted", "asc"},
	{"application/pgp-keys", "asc"},
	{"application/pgp-signature", "asc"},
	{"application/pkcs7-mime", "p7m"},
	{"application/x-pkcs7-mime", "p7m"},
	{"application/pkcs7-signature", "p7s"},
	{"application/x-pkcs7-signature", "p7s"},
	{"application/postscript", "ps"},
	{"application/sql", "sql"},
	{"application/wasm", "wasm"},
	{"message/rfc822", "eml"},
	{"message/global", "eml"},
	{"message/partial", "eml"},
	{"message/external-body", "txt"},
	{"message/delivery-status", "txt"},
	{"message/global-delivery-status", "txt"},
	{"message/disposition-notification", "txt"},
	{"message/feedback-report", "txt"},
};

static const char *or_empty(const char *text)
{
	return text ? text : "";
}

static bool type_is(const struct mime_part *part, const char *type)
{
	size_t len = strlen(or_empty(part->type));
	return strncmp(type, or_empty(part->type), len) == 0 && type[len] == '/' &&
	       strcmp(type + len + 1, or_empty(part->subtype)) == 0;
}

static bool is_text(const struct mime_part *part)
{
	return strcmp(or_empty(part->type), "text") == 0;
}

static const char *type_extension(const struct mime_part *part)
{
	for (size_t i = 0; i < sizeof(extensions) / sizeof(*extensions); i++)
		if (type_is(part, extensions[i].type))
			return extensions[i].extension;
	return is_text(part) ? "txt" : "bin";
}

/* An attached message that is a file, because its own structure is not known. */
static bool is_message_file(const struct mime_part *part)
{
	return !mime_part_is_message(part) &&
	       (type_is(part, "message/rfc822") || type_is(part, "message/global"));
}

static const char *default_stem(const struct mime_part *part)
{
	if (mime_part_is_message(part) || is_message_file(part))
		return "message";
	return "text"; /* DESIGN section 2 */
}

/* What the sender calls it; NULL: nothing. */
static const char *given_name(const struct mime_part *part)
{
	const char *name = mime_params_get(&part->disposition_params, "filename");
	return name && *name ? name : mime_params_get(&part->params, "name");
}

struct file_name {
	const char *stem, *extension; /* without its dot; "" when there is none */
	size_t stem_len, extension_len;
};

/* Leaves the directories away, of Unix and of Windows, and finds the extension. */
static struct file_name split(const char *name)
{
	size_t len = strlen(name);

	while (len > 0 && strchr("/\\ .", name[len - 1]))
		len--;
	for (size_t i = len; i > 0; i--) {
		if (name[i - 1] == '/' || name[i - 1] == '\\') {
			name += i;
			len -= i;
			break;
		}
	}
	const char *dot = memrchr(name, '.', len);
	size_t after = dot ? (size_t)(name + len - dot) - 1 : 0;
	if (!dot || dot == name || after > EXTENSION_MAX)
		return (struct file_name){name, "", len, 0};
	return (struct file_name){name, dot + 1, (size_t)(dot - name), after};
}

static int append_given(
	const struct mime_part *part, const char *given, size_t limit, struct str *out)
{
	struct file_name name = split(given);
	_cleanup_str_ struct str extension = STR_INIT;
	size_t before = out->len;

	mime_name_sanitise(
		name.extension, name.extension_len, EXTENSION_MAX, "_", "-.", &extension);
	mime_name_sanitise(name.stem, name.stem_len, limit - EXTENSION_MAX - 1, "_", "-.", out);
	if (out->len == before && extension.len > 0)
		str_append_cstr(out, default_stem(part));
	if (extension.len > 0) {
		str_putc(out, '.');
		str_append(out, str_cstr(&extension), extension.len);
	}
	return extension.failed ? -ENOMEM : str_error(out);
}

/* Whether the name from offset on ends in ".eml". */
static bool ends_in_eml(const struct str *name, size_t offset)
{
	return name->len >= offset + 4 && ascii_equal(name->data + name->len - 4, 4, ".eml");
}

int mime_leaf_file_name(const struct mime_part *part, size_t limit_bytes, struct str *out)
{
	const char *given = given_name(part);
	size_t before = out->len;
	bool directory = mime_part_is_message(part);
	int r = 0;

	/* Without memory there is no name: a part of it would be another file. */
	if (given)
		r = append_given(part, given, limit_bytes - strlen(".eml"), out);
	if (r < 0)
		return r;
	if (out->len == before) {
		str_append_cstr(out, default_stem(part));
		if (!directory)
			str_printf(out, ".%s", type_extension(part));
	}
	if (directory && ends_in_eml(out, before + 1))
		str_truncate(out, out->len - strlen(".eml"));
	if (is_message_file(part) && !ends_in_eml(out, before))
		str_append_cstr(out, ".eml");
	return str_error(out);
}
