/* Parts of JSON texts that were checked. */
#include "CMessage.h"
#include <stdio.h>
#include <stdlib.h>

enum { LONG_NUMBER = 800 }; /* more digits than decide how a double is rounded (768) */

double msg_json_double(const uint8_t *p, const uint8_t *end) {
    char text[LONG_NUMBER + 32];
    int used = 0, digits = 0;
    long long exponent = 0, written = 0;
    bool point = false, rest = false, minus_exponent;
    if (*p == '-') text[used++] = (char)*p++;
    for (; p < end && (*p | 0x20) != 'e'; p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        if (point) exponent--;
        if (digits == 0 && *p == '0') continue;
        if (digits < LONG_NUMBER) {
            text[used++] = (char)*p;
            digits++;
        } else { /* only whether one of them is not 0 can matter */
            rest |= *p != '0';
            exponent++;
        }
    }
    if (digits == 0) text[used++] = '0';
    if (rest) {
        text[used++] = '1';
        exponent--;
    }
    if (p < end) {
        p++;
        minus_exponent = *p == '-';
        if (*p == '-' || *p == '+') p++;
        for (; p < end; p++) {
            if (written < 1000000000000) written = written * 10 + (*p - '0');
        }
        exponent += minus_exponent ? -written : written;
    }
    if (exponent > 99999) exponent = 99999;
    if (exponent < -99999) exponent = -99999;
    snprintf(text + used, sizeof text - (size_t)used, "e%lld", exponent);
    return strtod(text, NULL);
}

/* Four hex digits at p, known to be there. */
static unsigned hex_value(const uint8_t *p) {
    unsigned value = 0;
    for (int i = 0; i < 4; i++) value = value << 4 | (unsigned)msg_hex_digit(p[i]);
    return value;
}

size_t msg_json_unescape(uint8_t *out, const uint8_t *p, const uint8_t *end) {
    uint8_t *start = out;
    while (p < end) {
        const uint8_t *escape = memchr(p, '\\', (size_t)(end - p));
        if (escape == NULL) escape = end;
        memmove(out, p, (size_t)(escape - p));
        out += escape - p;
        if (escape == end) break;
        p = escape + 2;
        switch (escape[1]) {
        case 'b': *out++ = '\b'; continue;
        case 'f': *out++ = '\f'; continue;
        case 'n': *out++ = '\n'; continue;
        case 'r': *out++ = '\r'; continue;
        case 't': *out++ = '\t'; continue;
        case 'u': break;
        default: *out++ = escape[1]; continue;
        }
        unsigned unit = hex_value(p);
        p += 4;
        if (unit >= 0xD800 && unit < 0xE000) {
            unit = 0x10000 + ((unit - 0xD800) << 10) + (hex_value(p + 2) - 0xDC00);
            p += 6;
        }
        if (unit < 0x80) {
            *out++ = (uint8_t)unit;
        } else if (unit < 0x800) {
            *out++ = (uint8_t)(0xC0 | unit >> 6);
            *out++ = (uint8_t)(0x80 | (unit & 0x3F));
        } else if (unit < 0x10000) {
            *out++ = (uint8_t)(0xE0 | unit >> 12);
            *out++ = (uint8_t)(0x80 | (unit >> 6 & 0x3F));
            *out++ = (uint8_t)(0x80 | (unit & 0x3F));
        } else {
            *out++ = (uint8_t)(0xF0 | unit >> 18);
            *out++ = (uint8_t)(0x80 | (unit >> 12 & 0x3F));
            *out++ = (uint8_t)(0x80 | (unit >> 6 & 0x3F));
            *out++ = (uint8_t)(0x80 | (unit & 0x3F));
        }
    }
    return (size_t)(out - start);
}
