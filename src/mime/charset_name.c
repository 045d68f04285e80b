/* SPDX-License-Identifier: MIT */
/*
 * The names of charsets, as mail writes them. A closed list: what a sender can name decides neither which
 * converter of the C library is loaded (some of the rare ones have a history of holes) nor, by what one
 * machine has and another lacks, the name of a file. A label stands for what is meant by it in practice,
 * as browsers read it: ISO-8859-1 for windows-1252, GB2312 for GB18030, KS C 5601 for CP949, Shift_JIS for CP932.
 */
#include <iconv.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

enum {
	ASCII,
	UTF8,
	WINDOWS_1252,
	JIS,
	UTF7,
	UTF16,
	UTF16LE,
	UTF16BE,
	UTF32,
	UTF32LE,
	UTF32BE,
	LATIN2,
	LATIN3,
	LATIN4,
	ISO_5,
	ISO_6,
	ISO_7,
	ISO_8,
	ISO_10,
	ISO_13,
	ISO_14,
	ISO_15,
	ISO_16,
	CP437,
	CP737,
	CP775,
	CP850,
	CP852,
	CP855,
	CP857,
	CP858,
	CP860,
	CP861,
	CP862,
	CP863,
	CP864,
	CP865,
	CP866,
	CP869,
	CP874,
	CP1125,
	CP1250,
	CP1251,
	CP1253,
	CP1254,
	CP1255,
	CP1256,
	CP1257,
	CP1258,
	KOI8_R,
	KOI8_U,
	KOI8_T,
	MACINTOSH,
	MAC_CYRILLIC,
	MAC_CENTRAL,
	VISCII,
	ARMSCII,
	GEORGIAN,
	GB18030,
	BIG5,
	BIG5_HKSCS,
	EUC_TW,
	ISO_2022_CN,
	UHC,
	JOHAB,
	ISO_2022_KR,
	SHIFT_JIS,
	EUC_JP,
	ISO_2022_JP_2,
	ISO_2022_JP_3,
};

#define ICONV(name)                                                                                \
	{                                                                                          \
		name, MIME_CHARSET_ICONV                                                           \
	}
#define SEVEN(name)                                                                                \
	{                                                                                          \
		name, MIME_CHARSET_ICONV_7BIT                                                      \
	}

static const struct mime_charset charsets[] = {
	[ASCII] = {NULL, MIME_CHARSET_ASCII},
	[UTF8] = {NULL, MIME_CHARSET_UTF8},
	[WINDOWS_1252] = {NULL, MIME_CHARSET_WINDOWS_1252},
	[JIS] = {"EUC-JP-MS", MIME_CHARSET_JIS},
	[UTF7] = SEVEN("UTF-7"),
	[UTF16] = SEVEN("UTF-16"),
	[UTF16LE] = SEVEN("UTF-16LE"),
	[UTF16BE] = SEVEN("UTF-16BE"),
	[UTF32] = SEVEN("UTF-32"),
	[UTF32LE] = SEVEN("UTF-32LE"),
	[UTF32BE] = SEVEN("UTF-32BE"),
	[LATIN2] = ICONV("ISO-8859-2"),
	[LATIN3] = ICONV("ISO-8859-3"),
	[LATIN4] = ICONV("ISO-8859-4"),
	[ISO_5] = ICONV("ISO-8859-5"),
	[ISO_6] = ICONV("ISO-8859-6"),
	[ISO_7] = ICONV("ISO-8859-7"),
	[ISO_8] = ICONV("ISO-8859-8"),
	[ISO_10] = ICONV("ISO-8859-10"),
	[ISO_13] = ICONV("ISO-8859-13"),
	[ISO_14] = ICONV("ISO-8859-14"),
	[ISO_15] = ICONV("ISO-8859-15"),
	[ISO_16] = ICONV("ISO-8859-16"),
	[CP437] = ICONV("CP437"),
	[CP737] = ICONV("CP737"),
	[CP775] = ICONV("CP775"),
	[CP850] = ICONV("CP850"),
	[CP852] = ICONV("CP852"),
	[CP855] = ICONV("CP855"),
	[CP857] = ICONV("CP857"),
	[CP858] = ICONV("CP858"),
	[CP860] = ICONV("CP860"),
	[CP861] = ICONV("CP861"),
	[CP862] = ICONV("CP862"),
	[CP863] = ICONV("CP863"),
	[CP864] = ICONV("CP864"),
	[CP865] = ICONV("CP865"),
	[CP866] = ICONV("CP866"),
	[CP869] = ICONV("CP869"),
	[CP874] = ICONV("CP874"),
	[CP1125] = ICONV("CP1125"),
	[CP1250] = ICONV("CP1250"),
	[CP1251] = ICONV("CP1251"),
	[CP1253] = ICONV("CP1253"),
	[CP1254] = ICONV("CP1254"),
	[CP1255] = ICONV("CP1255"),
	[CP1256] = ICONV("CP1256"),
	[CP1257] = ICONV("CP1257"),
	[CP1258] = ICONV("CP1258"),
	[KOI8_R] = ICONV("KOI8-R"),
	[KOI8_U] = ICONV("KOI8-U"),
	[KOI8_T] = ICONV("KOI8-T"),
	[MACINTOSH] = ICONV("MACINTOSH"),
	[MAC_CYRILLIC] = ICONV("MAC-CYRILLIC"),
	[MAC_CENTRAL] = ICONV("MAC-CENTRALEUROPE"),
	[VISCII] = ICONV("VISCII"),
	[ARMSCII] = ICONV("ARMSCII-8"),
	[GEORGIAN] = ICONV("GEORGIAN-PS"),
	[GB18030] = ICONV("GB18030"),
	[BIG5] = ICONV("CP950"),
	[BIG5_HKSCS] = ICONV("BIG5-HKSCS"),
	[EUC_TW] = ICONV("EUC-TW"),
	[ISO_2022_CN] = SEVEN("ISO-2022-CN"),
	[UHC] = ICONV("UHC"),
	[JOHAB] = ICONV("JOHAB"),
	[ISO_2022_KR] = SEVEN("ISO-2022-KR"),
	[SHIFT_JIS] = ICONV("CP932"),
	[EUC_JP] = ICONV("EUC-JP-MS"),
	[ISO_2022_JP_2] = SEVEN("ISO-2022-JP-2"),
	[ISO_2022_JP_3] = SEVEN("ISO-2022-JP-3"),
};

#define CHARSETS (sizeof(charsets) / sizeof(*charsets))

void mime_charsets_load(void)
{
	static iconv_t loaded[CHARSETS];
	for (size_t i = 0; i < CHARSETS; i++)
		if (charsets[i].iconv_name && !loaded[i])
			loaded[i] = iconv_open("UTF-8", charsets[i].iconv_name);
}

/* Keys are lower case, without punctuation, and without "x-" and "cs" before them. */
static const struct {
	const char *key;
	unsigned index;
} aliases[] = {
	{"ascii", ASCII},
	{"usascii", ASCII},
	{"us", ASCII},
	{"ansix341968", ASCII},
	{"ansix341986", ASCII},
	{"ansix34", ASCII},
	{"iso646us", ASCII},
	{"iso646irv", ASCII},
	{"isoir6", ASCII},
	{"646", ASCII},
	{"utf8", UTF8},
	{"utf8mb4", UTF8},
	{"unicode11utf8", UTF8},
	{"unicode20utf8", UTF8},
	{"latin1", WINDOWS_1252},
	{"l1", WINDOWS_1252},
	{"isolatin1", WINDOWS_1252},
	{"isoir100", WINDOWS_1252},
	{"ansi", WINDOWS_1252},
	{"iso2022jp", JIS},
	{"iso2022jp1", JIS},
	{"iso2022jpms", JIS},
	{"jis", JIS},
	{"iso2022jp2", ISO_2022_JP_2},
	{"iso2022jp3", ISO_2022_JP_3},
	{"iso2022jp2004", ISO_2022_JP_3},
	{"utf7", UTF7},
	{"unicode11utf7", UTF7},
	{"unicode20utf7", UTF7},
	{"unicode11", UTF7},
	{"utf16", UTF16},
	{"unicode", UTF16},
	{"ucs2", UTF16},
	{"iso10646ucs2", UTF16},
	{"utf16le", UTF16LE},
	{"utf16be", UTF16BE},
	{"utf32", UTF32},
	{"ucs4", UTF32},
	{"iso10646ucs4", UTF32},
	{"utf32le", UTF32LE},
	{"utf32be", UTF32BE},
	{"latin2", LATIN2},
	{"l2", LATIN2},
	{"isolatin2", LATIN2},
	{"latin3", LATIN3},
	{"isolatin3", LATIN3},
	{"latin4", LATIN4},
	{"isolatin4", LATIN4},
	{"cyrillic", ISO_5},
	{"isolatincyrillic", ISO_5},
	{"arabic", ISO_6},
	{"isolatinarabic", ISO_6},
	{"greek", ISO_7},
	{"isolatingreek", ISO_7},
	{"hebrew", ISO_8},
	{"isolatinhebrew", ISO_8},
	{"logical", ISO_8},
	{"visual", ISO_8},
	{"latin5", CP1254},
	{"isolatin5", CP1254},
	{"latin6", ISO_10},
	{"isolatin6", ISO_10},
	{"latin7", ISO_13},
	{"latin8", ISO_14},
	{"latin9", ISO_15},
	{"latin0", ISO_15},
	{"latin10", ISO_16},
	{"tis620", CP874},
	{"thai", CP874},
	{"koi8", KOI8_R},
	{"koi8r", KOI8_R},
	{"koi", KOI8_R},
	{"koi8u", KOI8_U},
	{"koi8ru", KOI8_U},
	{"koi8t", KOI8_T},
	{"mac", MACINTOSH},
	{"macroman", MACINTOSH},
	{"macintosh", MACINTOSH},
	{"maccyrillic", MAC_CYRILLIC},
	{"macukrainian", MAC_CYRILLIC},
	{"maccentraleurope", MAC_CENTRAL},
	{"maccentraleurroman", MAC_CENTRAL},
	{"macce", MAC_CENTRAL},
	{"viscii", VISCII},
	{"armscii8", ARMSCII},
	{"georgianps", GEORGIAN},
	{"gb18030", GB18030},
	{"gb2312", GB18030},
	{"gb231280", GB18030},
	{"gb", GB18030},
	{"gbk", GB18030},
	{"euccn", GB18030},
	{"cngb", GB18030},
	{"chinese", GB18030},
	{"isoir58", GB18030},
	{"iso58gb231280", GB18030},
	{"big5", BIG5},
	{"cnbig5", BIG5},
	{"xbig5", BIG5},
	{"big5hkscs", BIG5_HKSCS},
	{"euctw", EUC_TW},
	{"iso2022cn", ISO_2022_CN},
	{"euckr", UHC},
	{"uhc", UHC},
	{"korean", UHC},
	{"ksc5601", UHC},
	{"ksc56011987", UHC},
	{"ksc56011989", UHC},
	{"ksc56011992", UHC},
	{"isoir149", UHC},
	{"johab", JOHAB},
	{"iso2022kr", ISO_2022_KR},
	{"shiftjis", SHIFT_JIS},
	{"sjis", SHIFT_JIS},
	{"mskanji", SHIFT_JIS},
	{"windows31j", SHIFT_JIS},
	{"eucjp", EUC_JP},
	{"eucjpms", EUC_JP},
	{"eucjpwin", EUC_JP},
	{"ujis", EUC_JP},
	{"eucpkdfmtjapanese", EUC_JP},
};

/* Code pages by number, whatever stands before it: windows-, cp, ibm, ms, win, and ISO 8859 by its part. */
static const struct {
	unsigned page, index;
} pages[] = {{437, CP437}, {737, CP737}, {775, CP775}, {850, CP850}, {852, CP852}, {855, CP855},
	{857, CP857}, {858, CP858}, {860, CP860}, {861, CP861}, {862, CP862}, {863, CP863},
	{864, CP864}, {865, CP865}, {866, CP866}, {869, CP869}, {874, CP874}, {1125, CP1125},
	{1250, CP1250}, {1251, CP1251}, {1252, WINDOWS_1252}, {1253, CP1253}, {1254, CP1254},
	{1255, CP1255}, {1256, CP1256}, {1257, CP1257}, {1258, CP1258}, {367, ASCII},
	{819, WINDOWS_1252}, {932, SHIFT_JIS}, {936, GB18030}, {949, UHC}, {950, BIG5},
	{1361, JOHAB}, {10000, MACINTOSH}, {10007, MAC_CYRILLIC}, {20127, ASCII}, {20866, KOI8_R},
	{20932, EUC_JP}, {21866, KOI8_U}, {28591, WINDOWS_1252}, {28592, LATIN2}, {28595, ISO_5},
	{28597, ISO_7}, {28605, ISO_15}, {50220, JIS}, {50221, JIS}, {50222, JIS},
	{50225, ISO_2022_KR}, {51932, EUC_JP}, {51936, GB18030}, {51949, UHC}, {54936, GB18030},
	{65000, UTF7}, {65001, UTF8}};

static const unsigned iso_parts[] = {[1] = WINDOWS_1252,
	[2] = LATIN2,
	[3] = LATIN3,
	[4] = LATIN4,
	[5] = ISO_5,
	[6] = ISO_6,
	[7] = ISO_7,
	[8] = ISO_8,
	[9] = CP1254,
	[10] = ISO_10,
	[11] = CP874,
	[13] = ISO_13,
	[14] = ISO_14,
	[15] = ISO_15,
	[16] = ISO_16};

#define KEY_MAX 32

/* Writes the key of a name: lower case, letters and digits up to a ':' (before the year of an ISO name). */
static void key_of(const char *name, size_t len, char key[KEY_MAX + 1])
{
	size_t n = 0;

	ascii_trim(&name, &len);
	if (len > 2 && ascii_equal(name, 2, "x-")) {
		name += 2;
		len -= 2;
	}
	for (size_t i = 0; i < len && name[i] != ':' && n < KEY_MAX; i++)
		if (ascii_is_alnum(name[i]))
			key[n++] = ascii_lower(name[i]);
	key[n] = 0;
}

static const struct mime_charset *find_alias(const char *key)
{
	for (size_t i = 0; i < sizeof(aliases) / sizeof(*aliases); i++)
		if (strcmp(aliases[i].key, key) == 0)
			return &charsets[aliases[i].index];
	return NULL;
}

static const char *after_prefix(const char *key, const char *prefix)
{
	size_t len = strlen(prefix);
	return strncmp(key, prefix, len) == 0 ? key + len : NULL;
}

static const struct mime_charset *find_iso(const char *key)
{
	const char *part = after_prefix(key, "iso8859");
	if (!part)
		part = after_prefix(key, "8859");
	if (!part || !ascii_is_digit(*part))
		return NULL;

	char *end;
	unsigned long number = strtoul(part, &end, 10);
	/* ISO-8859-8-I and -E say how the text runs, not what the bytes are. */
	bool plain = *end == 0 || strcmp(end, "i") == 0 || strcmp(end, "e") == 0;
	if (!plain || number >= sizeof(iso_parts) / sizeof(*iso_parts) || iso_parts[number] == 0)
		return NULL;
	return &charsets[iso_parts[number]];
}

static const struct mime_charset *find_page(const char *key)
{
	static const char *const prefixes[] = {"windows", "cp", "ibm", "win", "ms", "dos", ""};
	const char *digits = NULL;

	for (size_t i = 0; !digits && i < sizeof(prefixes) / sizeof(*prefixes); i++)
		digits = after_prefix(key, prefixes[i]);
	char *end;
	unsigned long page = strtoul(digits, &end, 10);
	if (!ascii_is_digit(*digits) || *end != 0)
		return NULL;
	for (size_t i = 0; i < sizeof(pages) / sizeof(*pages); i++)
		if (pages[i].page == page)
			return &charsets[pages[i].index];
	return NULL;
}

static const struct mime_charset *find_key(const char *key)
{
	const struct mime_charset *charset = find_alias(key);
	if (!charset)
		charset = find_iso(key);
	return charset ? charset : find_page(key);
}

const struct mime_charset *mime_charset_find(const char *name, size_t len)
{
	char key[KEY_MAX + 1];

	if (!name)
		return NULL;
	key_of(name, len, key);
	const struct mime_charset *charset = find_key(key);
	if (!charset && strncmp(key, "cs", 2) == 0)
		charset = find_key(key + 2);
	return charset;
}
