/* What all that reads JSON texts shares: here and in CLuaShim. */
#ifndef CMESSAGE_JSON_TEXT_H
#define CMESSAGE_JSON_TEXT_H
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define MSG_ONES 0x0101010101010101ull

/* A high bit at the first byte that is a control character, '"', '\\' or not ASCII. Bits above it may be wrong. */
static inline uint64_t msg_special_bytes(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return (v | (v - MSG_ONES * 0x20) | ((v ^ MSG_ONES * '"') - MSG_ONES) | ((v ^ MSG_ONES * '\\') - MSG_ONES)) &
           MSG_ONES * 0x80;
}

/* The first byte in [p, end) that is not plain text of a string. */
static inline const uint8_t *msg_skip_plain(const uint8_t *p, const uint8_t *end) {
#ifdef __SSE2__
    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)p);
        /* Signed: what is not ASCII is negative, and so below 0x20 like the control characters. */
        __m128i special = _mm_or_si128(_mm_cmplt_epi8(v, _mm_set1_epi8(0x20)),
                                       _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
                                                    _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))));
        int found = _mm_movemask_epi8(special);
        if (found != 0) return p + __builtin_ctz((unsigned)found);
    }
#endif
    for (; end - p >= 8; p += 8) {
        uint64_t found = msg_special_bytes(p);
        if (found != 0) return p + (__builtin_ctzll(found) >> 3);
    }
    while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\') p++;
    return p;
}

/* Length of the UTF-8 sequence at p, whose first byte is not ASCII; 0: invalid. */
static inline int msg_utf8_length(const uint8_t *p, const uint8_t *end) {
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

static inline bool msg_is_space(uint8_t c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

static inline const uint8_t *msg_skip_space(const uint8_t *p, const uint8_t *end) {
    if (p < end && *p > ' ') return p; /* in one step where there is none */
    while (p < end && msg_is_space(*p)) p++;
    return p;
}

static inline int msg_hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static inline bool msg_is_digit(const uint8_t *p, const uint8_t *end) { return p < end && *p >= '0' && *p <= '9'; }

/* The double of any checked number text, whatever its length; infinite if out of range. */
double msg_json_double(const uint8_t *p, const uint8_t *end);
/* Writes the checked string text [p, end) without its escapes; never longer than the text. Returns the length. */
size_t msg_json_unescape(uint8_t *out, const uint8_t *p, const uint8_t *end);
#endif
