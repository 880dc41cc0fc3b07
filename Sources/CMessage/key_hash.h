/* The steps of a key's hash: FNV-1a over bytes, and the finaliser of SplitMix64, for both see their authors. */
#ifndef KEY_HASH_H
#define KEY_HASH_H
#include <stddef.h>
#include <stdint.h>

#define KEY_STRING_BASIS 0xCBF29CE484222325u

static inline uint64_t key_hash_bytes(uint64_t hash, const void *bytes, size_t length) {
    const unsigned char *p = bytes;
    for (size_t i = 0; i < length; i++) hash = (hash ^ p[i]) * 0x100000001B3u;
    return hash;
}

static inline uint64_t key_mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}
#endif
