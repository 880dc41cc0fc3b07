/* JSON: text straight onto the Lua stack, and values to text. What is accepted, and the words for what is not, are
 * those of Sources/StreamIO/JSONChecker.swift; the text written is that of MessageText.swift. Change them together.
 *
 * Both sides run in the process's "C" locale (the sandbox has no os.setlocale): strtod and snprintf use a point. */
#ifndef CLUASHIM_JSON_H
#define CLUASHIM_JSON_H
#include "internal.h"
#include <string.h>

#define ONES 0x0101010101010101ull

/* A high bit at the first byte that is a control character, '"', '\\' or not ASCII. Bits above it may be wrong. */
static inline uint64_t special_bytes(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return (v | (v - ONES * 0x20) | ((v ^ ONES * '"') - ONES) | ((v ^ ONES * '\\') - ONES)) & ONES * 0x80;
}

/* The first byte in [p, end) that is not plain text of a string. [-0, +0, -] */
static inline const uint8_t *skip_plain(const uint8_t *p, const uint8_t *end) {
    for (; end - p >= 8; p += 8) {
        uint64_t found = special_bytes(p);
        if (found != 0) return p + (__builtin_ctzll(found) >> 3);
    }
    while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\') p++;
    return p;
}

/* Length of the UTF-8 sequence at p, whose first byte is not ASCII; 0: invalid. [-0, +0, -] */
static inline int utf8_length(const uint8_t *p, const uint8_t *end) {
    uint8_t first = *p, low = 0x80, high = 0xBF;
    int length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (first < 0xC2 || first > 0xF4 || end - p < length) return 0;
    if (first == 0xE0) low = 0xA0;       /* overlong */
    else if (first == 0xED) high = 0x9F; /* surrogates */
    else if (first == 0xF0) low = 0x90;  /* overlong */
    else if (first == 0xF4) high = 0x8F; /* past U+10FFFF */
    if (p[1] < low || p[1] > high) return 0;
    for (int i = 2; i < length; i++) {
        if ((p[i] & 0xC0) != 0x80) return 0;
    }
    return length;
}

static const double powers_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                       1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
#endif
