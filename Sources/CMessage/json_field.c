/* Fields of a JSON text, found and hashed where they stand. The text is known to be valid, which makes the scan short:
 * strings end at the first quote that is not escaped, containers where their brackets balance. */
#include "CMessageKey.h"
#include "key_hash.h"
#include <stdlib.h>
#include <string.h>

typedef const unsigned char *cursor;

static inline cursor skip_space(cursor p, cursor end) {
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) p++;
    return p;
}

/* Past the string whose opening quote is at p. */
static cursor skip_string(cursor p, cursor end) {
    for (p++;;) {
        cursor quote = memchr(p, '"', (size_t)(end - p));
        if (quote == NULL) return end;
        cursor before = quote;
        while (before > p && before[-1] == '\\') before--;
        if ((quote - before) % 2 == 0) return quote + 1;
        p = quote + 1; /* an escaped quote: no run of backslashes reaches back over it */
    }
}

/* Past the value at p. */
static cursor skip_value(cursor p, cursor end) {
    if (p == end) return end;
    if (*p == '"') return skip_string(p, end);
    if (*p != '{' && *p != '[') {
        while (p < end && *p != ',' && *p != '}' && *p != ']' && *p > ' ') p++;
        return p;
    }
    size_t depth = 0;
    while (p < end) {
        switch (*p) {
        case '"': p = skip_string(p, end); continue;
        case '{': case '[': depth++; break;
        case '}': case ']':
            if (--depth == 0) return p + 1;
            break;
        default: break;
        }
        p++;
    }
    return end;
}

static unsigned hex(cursor p) {
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        unsigned c = p[i];
        value = value << 4 | (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

/* Reads the character at *p, an escape or a byte, writes its bytes to `out` and returns how many. */
static int next_character(cursor *p, cursor end, unsigned char out[4]) {
    static const char plain[] = "b\bf\fn\nr\rt\t";
    cursor at = *p;
    if (*at != '\\' || end - at < 2) {
        out[0] = *at;
        *p = at + 1;
        return 1;
    }
    *p = at + 2;
    if (at[1] != 'u' || end - at < 6) {
        const char *found = at[1] != '\0' ? strchr(plain, at[1]) : NULL;
        /* the letters stand at even places */
        out[0] = found != NULL && (found - plain) % 2 == 0 ? (unsigned char)found[1] : at[1];
        return 1;
    }
    unsigned code = hex(at + 2);
    *p = at + 6;
    if (code >= 0xD800 && code < 0xDC00 && end - at >= 12) {
        code = 0x10000 + ((code - 0xD800) << 10) + (hex(at + 8) - 0xDC00);
        *p = at + 12;
    }
    if (code < 0x80) {
        out[0] = (unsigned char)code;
        return 1;
    }
    int length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (int i = length - 1; i > 0; i--, code >>= 6) out[i] = 0x80 | (code & 0x3F);
    out[0] = (unsigned char)((0xF00 >> length) | code);
    return length;
}

/* Whether the string text [p, end), without its quotes, says the `length` bytes of `name`. */
static bool says(cursor p, cursor end, const char *name, size_t length) {
    if (memchr(p, '\\', (size_t)(end - p)) == NULL)
        return (size_t)(end - p) == length && memcmp(p, name, length) == 0;
    while (p < end) {
        unsigned char bytes[4];
        size_t n = (size_t)next_character(&p, end, bytes);
        if (n > length || memcmp(bytes, name, n) != 0) return false;
        name += n;
        length -= n;
    }
    return length == 0;
}

int msg_json_field(const char *text, size_t length, const char *name, size_t name_length, msg_span *value) {
    cursor end = (cursor)text + length, p = skip_space((cursor)text, end);
    if (p == end || *p != '{') return MSG_FIELD_NO_OBJECT;
    int result = MSG_FIELD_MISSING;
    p = skip_space(p + 1, end);
    while (p < end && *p == '"') {
        cursor key = p + 1;
        p = skip_string(p, end);
        bool same = says(key, p - 1, name, name_length);
        p = skip_space(p, end); /* the colon */
        p = skip_space(p + 1, end);
        cursor start = p;
        p = skip_value(p, end);
        if (same) {
            *value = (msg_span){(const char *)start, (size_t)(p - start)};
            result = MSG_FIELD_FOUND;
        }
        p = skip_space(p, end); /* a comma, or the end */
        p = skip_space(p + 1, end);
    }
    return result;
}

/* ---- The value as a key ---- */

static msg_key number_key(const char *text, size_t length) {
    const char *p = text, *end = text + length;
    bool negative = *p == '-', whole = true;
    uint64_t magnitude = 0;
    for (p += negative; p < end && whole; p++) {
        unsigned digit = (unsigned)(*p - '0');
        whole = digit < 10 && !__builtin_mul_overflow(magnitude, 10u, &magnitude)
            && !__builtin_add_overflow(magnitude, (uint64_t)digit, &magnitude);
    }
    if (whole && magnitude <= (uint64_t)INT64_MAX + negative)
        return (msg_key){MSG_KEY_HASHED, msg_hash_integer((int64_t)(negative ? 0 - magnitude : magnitude))};
    /* strtod wants an end that is no digit; the text may be a part of a longer one or end with its memory. */
    char small[64], *copy = length < sizeof small ? small : malloc(length + 1);
    if (copy == NULL) return (msg_key){MSG_KEY_NAN, 0};
    memcpy(copy, text, length);
    copy[length] = '\0';
    double number = strtod(copy, NULL);
    if (copy != small) free(copy);
    return (msg_key){MSG_KEY_HASHED, msg_hash_float(number)};
}

static msg_key string_key(cursor p, cursor end) {
    if (memchr(p, '\\', (size_t)(end - p)) == NULL)
        return (msg_key){MSG_KEY_HASHED, msg_hash_string(p, (size_t)(end - p))};
    uint64_t hash = KEY_STRING_BASIS;
    while (p < end) {
        unsigned char bytes[4];
        int n = next_character(&p, end, bytes);
        hash = key_hash_bytes(hash, bytes, (size_t)n);
    }
    return (msg_key){MSG_KEY_HASHED, key_mix(hash)};
}

msg_key msg_key_of_json(const char *text, size_t length) {
    if (length == 0) return (msg_key){MSG_KEY_NIL, 0};
    switch (text[0]) {
    case '{': case '[': return (msg_key){MSG_KEY_TABLE, 0};
    case 'n': return (msg_key){MSG_KEY_NULL, 0};
    case 't': case 'f': return (msg_key){MSG_KEY_HASHED, msg_hash_boolean(text[0] == 't')};
    case '"': return string_key((cursor)text + 1, (cursor)text + length - 1);
    default: return number_key(text, length);
    }
}
