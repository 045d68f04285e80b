/* SPDX-License-Identifier: MIT */
/*
 * XXH64, after its specification (xxHash fast digest algorithm, version 0.1.1). Four lanes that do not wait for each other, because a byte-wise
 * hash takes a third of a second for 300 MB. Its values are in people's stores: never change it.
 */
#include "mailfs/util/hash.h"

#include <endian.h>
#include <string.h>

#define PRIME_1 UINT64_C(0x9e3779b185ebca87)
#define PRIME_2 UINT64_C(0xc2b2ae3d27d4eb4f)
#define PRIME_3 UINT64_C(0x165667b19e3779f9)
#define PRIME_4 UINT64_C(0x85ebca77c2b2ae63)
#define PRIME_5 UINT64_C(0x27d4eb2f165667c5)

#define STRIPE_BYTES 32

static uint64_t rotate(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static uint64_t read64(const unsigned char *p)
{
	uint64_t x;
	memcpy(&x, p, sizeof(x));
	return le64toh(x);
}

static uint64_t read32(const unsigned char *p)
{
	uint32_t x;
	memcpy(&x, p, sizeof(x));
	return le32toh(x);
}

static uint64_t step(uint64_t lane, uint64_t input)
{
	return rotate(lane + input * PRIME_2, 31) * PRIME_1;
}

static uint64_t merge(uint64_t hash, uint64_t lane)
{
	return (hash ^ step(0, lane)) * PRIME_1 + PRIME_4;
}

/* All whole stripes; *p is moved behind them. */
static uint64_t stripes(uint64_t seed, const unsigned char **p, const unsigned char *end)
{
	uint64_t a = seed + PRIME_1 + PRIME_2, b = seed + PRIME_2, c = seed, d = seed - PRIME_1;
	for (; end - *p >= STRIPE_BYTES; *p += STRIPE_BYTES) {
		a = step(a, read64(*p));
		b = step(b, read64(*p + 8));
		c = step(c, read64(*p + 16));
		d = step(d, read64(*p + 24));
	}
	uint64_t hash = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
	return merge(merge(merge(merge(hash, a), b), c), d);
}

static uint64_t tail(uint64_t hash, const unsigned char *p, const unsigned char *end)
{
	for (; end - p >= 8; p += 8)
		hash = rotate(hash ^ step(0, read64(p)), 27) * PRIME_1 + PRIME_4;
	if (end - p >= 4) {
		hash = rotate(hash ^ read32(p) * PRIME_1, 23) * PRIME_2 + PRIME_3;
		p += 4;
	}
	for (; p < end; p++)
		hash = rotate(hash ^ *p * PRIME_5, 11) * PRIME_1;
	return hash;
}

uint64_t checksum64(uint64_t seed, const void *data, size_t len)
{
	const unsigned char *p = data, *end = p + len;
	uint64_t hash = len >= STRIPE_BYTES ? stripes(seed, &p, end) : seed + PRIME_5;
	hash = tail(hash + len, p, end);
	hash = (hash ^ hash >> 33) * PRIME_2;
	hash = (hash ^ hash >> 29) * PRIME_3;
	return hash ^ hash >> 32;
}
