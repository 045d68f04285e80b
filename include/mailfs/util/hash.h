/* SPDX-License-Identifier: MIT */
/* A 64-bit hash that is the same on every machine and in every version: inode numbers come from it. */
#ifndef MAILFS_UTIL_HASH_H
#define MAILFS_UTIL_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH64_INIT UINT64_C(0xcbf29ce484222325)

/* Continues hash (HASH64_INIT at the start) over data: FNV-1a. Not for tables an attacker can fill. */
uint64_t hash64(uint64_t hash, const void *data, size_t len);
/* Mixes the bits (the finaliser of splitmix64), so that any of them can be cut out. */
uint64_t hash64_finish(uint64_t hash);

/*
 * XXH64 of the bytes: for large ones, against damage and not against malice. The result is the seed of what follows where bytes
 * come in pieces, which are the same ones every time.
 */
uint64_t checksum64(uint64_t seed, const void *data, size_t len);

#endif
