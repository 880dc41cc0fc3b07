/* JSON: text straight onto the Lua stack, and values to text. What is accepted, and the words for what is not, are
 * those of Sources/StreamIO/JSONChecker.swift; the text written is that of MessageText.swift. Change them together.
 *
 * Both sides run in the process's "C" locale (the sandbox has no os.setlocale): strtod and snprintf use a point. */
#include "internal.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
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
static int utf8_length(const uint8_t *p, const uint8_t *end) {
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

/* ---- Decoding ------------------------------------------------------------------------------------------- */

/* Values of a container wait on the Lua stack until it ends or this many are there: then its table is made in the
 * right size at once. (A size guessed from earlier records would make the order of `pairs` depend on them.) */
enum { DECODE_BATCH = 32 };
enum { LONG_NUMBER = 800 }; /* more digits than decide how a double is rounded (768) */

typedef struct decoder {
    lua_State *L;
    const uint8_t *text, *p, *end;
    shim_problem *problem;
    int depth;
} decoder;

static bool decode_value(decoder *d, const char *expected);

/* [-0, +0, -] */
static bool refuse(decoder *d, const uint8_t *at, const char *what) {
    snprintf(d->problem->text, sizeof d->problem->text, "byte %zu: %s", (size_t)(at - d->text) + 1, what);
    return false;
}

static inline void skip_space(decoder *d) {
    const uint8_t *p = d->p;
    while (p < d->end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')) p++;
    d->p = p;
}

static inline int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hex digits at p, known to be there. */
static unsigned hex_value(const uint8_t *p) {
    unsigned value = 0;
    for (int i = 0; i < 4; i++) value = value << 4 | (unsigned)hex_digit(p[i]);
    return value;
}

/* True if four hex digits stand at p. [-0, +0, -] */
static bool check_hex(decoder *d, const uint8_t *p) {
    for (int i = 0; i < 4; i++, p++) {
        if (p == d->end || hex_digit(*p) < 0) return refuse(d, p, "expected a hex digit");
    }
    return true;
}

/* Checks the escape at d->p, which is its backslash, and moves behind it. [-0, +0, -] */
static bool check_escape(decoder *d) {
    const uint8_t *start = d->p, *p = start + 1;
    if (p == d->end || memchr("\"\\/bfnrtu", *p, 9) == NULL) {
        return refuse(d, p, "expected one of \"\\/bfnrtu after \\");
    }
    if (*p++ == 'u') {
        if (!check_hex(d, p)) return false;
        unsigned unit = hex_value(p);
        p += 4;
        if (unit >= 0xD800 && unit < 0xE000) {
            if (unit >= 0xDC00 || d->end - p < 2 || p[0] != '\\' || p[1] != 'u') {
                return refuse(d, start, "expected a surrogate pair");
            }
            if (!check_hex(d, p + 2)) return false;
            unit = hex_value(p + 2);
            if (unit < 0xDC00 || unit > 0xDFFF) return refuse(d, start, "expected a surrogate pair");
            p += 6;
        }
    }
    d->p = p;
    return true;
}

/* Writes the checked string text [p, end) without its escapes; never longer than the text. Returns the length. */
static size_t unescape(uint8_t *out, const uint8_t *p, const uint8_t *end) {
    uint8_t *start = out;
    while (p < end) {
        const uint8_t *escape = memchr(p, '\\', (size_t)(end - p));
        if (escape == NULL) escape = end;
        memcpy(out, p, (size_t)(escape - p));
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

/* Apart, so that its buffer is not in the frames of the recursion. [-0, +1, m] */
static __attribute__((noinline)) void push_unescaped(lua_State *L, const uint8_t *text, const uint8_t *end) {
    uint8_t small[512];
    if ((size_t)(end - text) <= sizeof small) {
        lua_pushlstring(L, (const char *)small, unescape(small, text, end));
        return;
    }
    /* Lua owns the scratch space: pushing may raise for want of memory. */
    uint8_t *scratch = lua_newuserdatauv(L, (size_t)(end - text), 0);
    lua_pushlstring(L, (const char *)scratch, unescape(scratch, text, end));
    lua_remove(L, -2);
}

/* d->p is at the opening quote. [-0, +1/0, m] */
static bool decode_string(decoder *d) {
    const uint8_t *text = ++d->p;
    bool escaped = false;
    for (;;) {
        const uint8_t *p = d->p = skip_plain(d->p, d->end);
        if (p == d->end) return refuse(d, p, "expected '\"' at the end of the string");
        if (*p == '"') break;
        if (*p == '\\') {
            escaped = true;
            if (!check_escape(d)) return false;
        } else if (*p < 0x20) {
            return refuse(d, p, "expected an escape in place of a control character");
        } else {
            int length = utf8_length(p, d->end);
            if (length == 0) return refuse(d, p, "expected valid UTF-8");
            d->p += length;
        }
    }
    if (escaped) push_unescaped(d->L, text, d->p);
    else lua_pushlstring(d->L, (const char *)text, (size_t)(d->p - text));
    d->p++;
    return true;
}

static inline bool is_digit(const uint8_t *p, const uint8_t *end) { return p < end && *p >= '0' && *p <= '9'; }

/* The double of any checked number text, whatever its length; infinite if out of range. [-0, +0, -] */
static __attribute__((noinline)) double long_number(const uint8_t *p, const uint8_t *end) {
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

static const double powers_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                       1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* [-0, +1/0, -] */
static bool decode_number(decoder *d) {
    const uint8_t *start = d->p, *p = start, *end = d->end;
    bool negative = *p == '-';
    p += negative;
    if (!is_digit(p, end)) return refuse(d, p, "expected a digit");
    uint64_t mantissa = 0; /* wraps past 19 digits, and is not used then */
    const uint8_t *first = p;
    if (*p == '0') p++;
    else while (is_digit(p, end)) mantissa = mantissa * 10 + (*p++ - '0');
    size_t digits = (size_t)(p - first);

    if (p == end || (*p != '.' && (*p | 0x20) != 'e')) {
        d->p = p;
        if (digits <= 19 && mantissa <= (uint64_t)INT64_MAX + negative && !(negative && mantissa == 0)) {
            lua_pushinteger(d->L, (lua_Integer)(negative ? 0 - mantissa : mantissa));
            return true;
        }
    }
    long exponent = 0;
    if (p < end && *p == '.') {
        first = ++p;
        if (!is_digit(p, end)) return refuse(d, p, "expected a digit");
        while (is_digit(p, end)) mantissa = mantissa * 10 + (*p++ - '0');
        digits += (size_t)(p - first);
        exponent = -(long)(p - first);
    }
    if (p < end && (*p | 0x20) == 'e') {
        p++;
        bool minus = p < end && *p == '-';
        if (p < end && (*p == '-' || *p == '+')) p++;
        if (!is_digit(p, end)) return refuse(d, p, "expected a digit");
        long written = 0;
        for (; is_digit(p, end); p++) {
            if (written < 100000) written = written * 10 + (*p - '0');
        }
        exponent += minus ? -written : written;
    }
    d->p = p;
    double number;
    if (digits <= 19 && mantissa <= 1ull << 53 && exponent >= -22 && exponent <= 22) {
        /* Both are exact, so the one operation rounds correctly (Clinger, "How to read floating point numbers"). */
        number = (double)mantissa;
        if (exponent < 0) number /= powers_of_ten[-exponent];
        else number *= powers_of_ten[exponent];
        if (negative) number = -number;
    } else {
        number = long_number(start, p);
        if (isinf(number)) return refuse(d, start, "number out of range");
    }
    lua_pushnumber(d->L, number);
    return true;
}

/* Counts one more level and makes room on the Lua stack. [-0, +0, -] */
static bool enter(decoder *d) {
    if (++d->depth <= MSG_MAX_DEPTH) return true;
    return refuse(d, d->p, "nested deeper than 200");
}

static inline bool make_room(decoder *d) {
    return lua_checkstack(d->L, 6) || refuse(d, d->p, "not enough stack for the values");
}

/* stack: base, first ... last (top) -> base, table. [-count, +1, m] */
static void gather_array(lua_State *L, int base, int count, int size) {
    lua_createtable(L, size, 0);
    lua_insert(L, base + 1);
    for (int i = count; i > 0; i--) lua_rawseti(L, base + 1, i);
}

/* [-0, +1/0, m] */
static bool decode_array(decoder *d) {
    lua_State *L = d->L;
    int base = lua_gettop(L);
    if (!enter(d)) return false;
    d->p++;
    skip_space(d);
    if (d->p < d->end && *d->p == ']') {
        lua_createtable(L, 0, 0);
        lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_array);
        lua_setmetatable(L, -2); /* nil: none */
    } else {
        lua_Integer count = 0;
        const char *expected = "expected a value or ']'";
        for (;;) {
            if (!make_room(d) || !decode_value(d, expected)) return false;
            if (++count > DECODE_BATCH) lua_rawseti(L, base + 1, count);
            else if (count == DECODE_BATCH) gather_array(L, base, DECODE_BATCH, 2 * DECODE_BATCH);
            skip_space(d);
            if (d->p < d->end && *d->p == ']') break;
            if (d->p == d->end || *d->p != ',') return refuse(d, d->p, "expected ',' or ']'");
            d->p++;
            expected = "expected a value";
        }
        if (count < DECODE_BATCH) gather_array(L, base, (int)count, (int)count);
    }
    d->p++;
    d->depth--;
    return true;
}

/* stack: base, key, value ... key, value (top) -> base, table; from the first, so that the last of two equal keys
 * counts. [-2 * count, +1, m] */
static void gather_object(lua_State *L, int base, int count, int size) {
    lua_createtable(L, 0, size);
    int table = base + 2 * count + 1;
    for (int i = base + 1; i < table; i += 2) {
        lua_pushvalue(L, i);
        lua_pushvalue(L, i + 1);
        lua_rawset(L, table);
    }
    if (count == 0) return;
    lua_replace(L, base + 1);
    lua_settop(L, base + 1);
}

/* [-0, +1/0, m] */
static bool decode_object(decoder *d) {
    lua_State *L = d->L;
    int base = lua_gettop(L);
    size_t count = 0;
    if (!enter(d)) return false;
    d->p++;
    skip_space(d);
    if (d->p == d->end || *d->p != '}') {
        const char *expected = "expected a key or '}'";
        for (;;) {
            if (d->p == d->end || *d->p != '"') return refuse(d, d->p, expected);
            if (!make_room(d) || !decode_string(d)) return false;
            skip_space(d);
            if (d->p == d->end || *d->p != ':') return refuse(d, d->p, "expected ':'");
            d->p++;
            if (!decode_value(d, "expected a value")) return false;
            if (++count > DECODE_BATCH) lua_rawset(L, base + 1);
            else if (count == DECODE_BATCH) gather_object(L, base, DECODE_BATCH, 2 * DECODE_BATCH);
            skip_space(d);
            if (d->p < d->end && *d->p == '}') break;
            if (d->p == d->end || *d->p != ',') return refuse(d, d->p, "expected ',' or '}'");
            d->p++;
            skip_space(d);
            expected = "expected a key";
        }
    }
    if (count < DECODE_BATCH) gather_object(L, base, (int)count, (int)count);
    d->p++;
    d->depth--;
    return true;
}

static inline bool word(decoder *d, const char *text, size_t length, const char *expected) {
    if ((size_t)(d->end - d->p) < length || memcmp(d->p, text, length) != 0) return refuse(d, d->p, expected);
    d->p += length;
    return true;
}

/* [-0, +1/0, m] */
static bool decode_value(decoder *d, const char *expected) {
    skip_space(d);
    if (d->p == d->end) return refuse(d, d->p, expected);
    switch (*d->p) {
    case '"': return decode_string(d);
    case '{': return decode_object(d);
    case '[': return decode_array(d);
    case 't':
    case 'f': {
        bool yes = *d->p == 't';
        if (!word(d, yes ? "true" : "false", yes ? 4 : 5, expected)) return false;
        lua_pushboolean(d->L, yes);
        return true;
    }
    case 'n':
        if (!word(d, "null", 4, expected)) return false;
        lua_pushlightuserdata(d->L, NULL);
        return true;
    case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9':
        return decode_number(d);
    default: return refuse(d, d->p, expected);
    }
}

/* [-0, +1/0, m] */
bool shim_json_decode(lua_State *L, const char *text, size_t length, shim_problem *problem) {
    const uint8_t *bytes = text != NULL ? (const uint8_t *)text : (const uint8_t *)"";
    decoder d = {L, bytes, bytes, bytes + length, problem, 0};
    int top = lua_gettop(L);
    bool good = make_room(&d) && decode_value(&d, "expected a value");
    if (good) {
        skip_space(&d);
        good = d.p == d.end || refuse(&d, d.p, "expected the end of the text");
    }
    if (!good) lua_settop(L, top);
    return good;
}

/* ---- Encoding ------------------------------------------------------------------------------------------- */

enum { KEY_STRING, KEY_INTEGER, KEY_FLOAT };
enum { FIRST_ENTRIES = 64, NUMBER_SIZE = 40 };

typedef struct key {
    int kind;
    union {
        struct { const char *text; size_t length; }; /* in the table's own string: it lives as long */
        lua_Integer integer;
        lua_Number number;
    };
} key;

typedef struct entry { /* a field of a table that is about to be written */
    key key;
    uint64_t prefix;   /* its text's first 8 bytes as a number: decides most comparisons */
    int slot;          /* stack index of the value */
} entry;

typedef struct level { /* where the encoder is: the tables around, for cycles and for the path in a problem */
    const struct level *outer;
    const void *table;
    key key;           /* of the value that is being written */
    int depth;
} level;

typedef struct encoder {
    lua_State *L;
    shim_buffer *out;
    shim_problem *problem;
    entry *entries;    /* of all open tables, the innermost last */
    size_t entry_count, entry_capacity;
    entry first_entries[FIRST_ENTRIES];
} encoder;

static bool write_value(encoder *e, int index, const level *at);

/* Writes `value` in decimal, returns the length. */
static int format_integer(char *out, lua_Integer value) {
    char digits[24];
    int n = 0, used = 0;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do digits[n++] = (char)('0' + rest % 10); while ((rest /= 10) != 0);
    if (value < 0) out[used++] = '-';
    while (n > 0) out[used++] = digits[--n];
    return used;
}

/* Writes the shortest text that reads back as `value`, which is finite, and as a float. Returns the length. */
static int format_float(char *out, double value) {
    double size = fabs(value);
    int used = 0;
    if (size >= 1e-4 && size < 1e15) {
        /* A decimal of up to 15 digits is found by scaling: the errors of that stay under a half. */
        for (int places = 0; places <= 18; places++) {
            double scaled = size * powers_of_ten[places];
            if (scaled >= 1e15) break;
            int64_t whole = (int64_t)(scaled + 0.5);
            if ((double)whole / powers_of_ten[places] != size) continue;
            char digits[24];
            int n = 0;
            do { /* backwards, the point between */
                if (n == places && n > 0) digits[n++] = '.';
                digits[n++] = (char)('0' + whole % 10);
                whole /= 10;
            } while (whole != 0 || n <= places || (places > 0 && n <= places + 1));
            if (value < 0) out[used++] = '-';
            while (n > 0) out[used++] = digits[--n];
            if (places == 0) {
                out[used++] = '.';
                out[used++] = '0';
            }
            return used;
        }
    }
    for (int precision = size < 2.2250738585072014e-308 ? 1 : 15;; precision++) {
        used = snprintf(out, NUMBER_SIZE, "%.*g", precision, value);
        if (precision == 17 || strtod(out, NULL) == value) break;
    }
    if (strpbrk(out, ".e") == NULL) {
        out[used++] = '.';
        out[used++] = '0';
    }
    return used;
}

static int format_key(char *out, const key *k) {
    return k->kind == KEY_INTEGER ? format_integer(out, k->integer) : format_float(out, k->number);
}

/* ---- Problems ---- */

static bool is_identifier(const char *text, size_t length) {
    if (length == 0 || length > 40 || (text[0] >= '0' && text[0] <= '9')) return false;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c != '_' && !(c >= '0' && c <= '9') && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z')) return false;
    }
    return true;
}

/* Appends ".name", "[3]" or "[\"odd key\"]", at most 100 bytes. */
static int format_step(char *out, const key *k) {
    if (k->kind != KEY_STRING) {
        int n = format_key(out + 1, k);
        out[0] = '[';
        out[n + 1] = ']';
        return n + 2;
    }
    if (is_identifier(k->text, k->length)) {
        out[0] = '.';
        memcpy(out + 1, k->text, k->length);
        return (int)k->length + 1;
    }
    int used = 2;
    const uint8_t *p = (const uint8_t *)k->text, *end = p + k->length;
    memcpy(out, "[\"", 2);
    while (p < end && used < 40) {
        int length = *p < 0x80 ? 1 : utf8_length(p, end);
        if (length == 0 || *p < 0x20 || *p == 0x7F) {
            used += snprintf(out + used, 5, "\\x%02x", *p++);
        } else {
            if (*p == '"' || *p == '\\') out[used++] = '\\';
            memcpy(out + used, p, (size_t)length);
            used += length;
            p += length;
        }
    }
    if (p < end) {
        memcpy(out + used, "...", 3);
        used += 3;
    }
    memcpy(out + used, "\"]", 2);
    return used + 2;
}

/* Fills in "cannot write value.a.b as JSON: what". Always false. Of a long path the middle is left out. */
static __attribute__((noinline)) bool cannot_write(encoder *e, const level *at, const char *what) {
    const level *steps[MSG_MAX_DEPTH + 2];
    char path[400];
    int count = 0, used = 5;
    for (; at != NULL; at = at->outer) steps[count++] = at;
    memcpy(path, "value", 5);
    for (int i = count - 1; i >= 0; i--) {
        char step[128];
        int length = format_step(step, &steps[i]->key);
        bool skipped = count > 12 && i >= 3 && i < count - 8;
        if (skipped && i > 3) continue;
        if (skipped || used + length > (int)sizeof path - 4) {
            memcpy(path + used, "...", 3);
            used += 3;
            if (!skipped) break;
            continue;
        }
        memcpy(path + used, step, (size_t)length);
        used += length;
    }
    snprintf(e->problem->text, sizeof e->problem->text, "cannot write %.*s as JSON: %s", used, path, what);
    return false;
}

static bool no_memory(encoder *e, const level *at) { return cannot_write(e, at, "not enough memory"); }

/* ---- Values ---- */

static inline bool put(encoder *e, const level *at, const void *bytes, size_t length) {
    shim_buffer *out = e->out;
    if (out->capacity - out->used < length && !shim_buffer_reserve(out, length)) return no_memory(e, at);
    memcpy(out->bytes + out->used, bytes, length);
    out->used += length;
    return true;
}

static inline bool put_byte(encoder *e, const level *at, char c) { return put(e, at, &c, 1); }

static bool write_string(encoder *e, const char *text, size_t length, const level *at, const char *whose) {
    const uint8_t *start = (const uint8_t *)text, *p = start, *run = p, *end = p + length;
    if (!shim_buffer_reserve(e->out, length + 2)) return no_memory(e, at);
    put_byte(e, at, '"');
    while ((p = skip_plain(p, end)) < end) {
        if (*p >= 0x80) {
            int n = utf8_length(p, end);
            if (n == 0) {
                char what[80];
                snprintf(what, sizeof what, "%sinvalid UTF-8 at byte %zu", whose, (size_t)(p - start) + 1);
                return cannot_write(e, at, what);
            }
            p += n;
            continue;
        }
        char escape[8];
        int n = 2;
        escape[0] = '\\';
        switch (*p) {
        case '"': case '\\': escape[1] = (char)*p; break;
        case '\n': escape[1] = 'n'; break;
        case '\t': escape[1] = 't'; break;
        case '\r': escape[1] = 'r'; break;
        case '\b': escape[1] = 'b'; break;
        case '\f': escape[1] = 'f'; break;
        default: n = snprintf(escape, sizeof escape, "\\u%04x", *p);
        }
        if (!put(e, at, run, (size_t)(p - run)) || !put(e, at, escape, (size_t)n)) return false;
        run = ++p;
    }
    return put(e, at, run, (size_t)(end - run)) && put_byte(e, at, '"');
}

/* By bytes of the text; a number before a string that looks like it. */
static int compare_entries(const void *left, const void *right) {
    const entry *a = left, *b = right;
    if (a->prefix != b->prefix) return a->prefix < b->prefix ? -1 : 1;
    char a_number[NUMBER_SIZE], b_number[NUMBER_SIZE];
    const char *a_text = a->key.text, *b_text = b->key.text;
    size_t a_length = a->key.length, b_length = b->key.length;
    if (a->key.kind != KEY_STRING) a_length = (size_t)format_key(a_number, &a->key), a_text = a_number;
    if (b->key.kind != KEY_STRING) b_length = (size_t)format_key(b_number, &b->key), b_text = b_number;
    int order = memcmp(a_text, b_text, a_length < b_length ? a_length : b_length);
    if (order != 0) return order;
    if (a_length != b_length) return a_length < b_length ? -1 : 1;
    return (a->key.kind == KEY_STRING) - (b->key.kind == KEY_STRING);
}

static void sort_entries(entry *entries, size_t count) {
    if (count > 24) {
        qsort(entries, count, sizeof *entries, compare_entries);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        entry moving = entries[i];
        size_t j = i;
        for (; j > 0 && compare_entries(&entries[j - 1], &moving) > 0; j--) entries[j] = entries[j - 1];
        entries[j] = moving;
    }
}

static uint64_t prefix_of(const char *text, size_t length) {
    uint64_t prefix = 0;
    for (size_t i = 0; i < 8; i++) prefix = prefix << 8 | (i < length ? (uint8_t)text[i] : 0);
    return prefix;
}

/* Fills *k from the key at `index`; its prefix too. What is wrong with it, or NULL. [-0, +0, -] */
static const char *read_key(lua_State *L, int index, entry *field) {
    key *k = &field->key;
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        k->kind = KEY_STRING;
        k->text = lua_tolstring(L, index, &k->length);
        field->prefix = prefix_of(k->text, k->length);
        return NULL;
    case LUA_TNUMBER: {
        char text[NUMBER_SIZE];
        if (lua_isinteger(L, index)) {
            k->kind = KEY_INTEGER;
            k->integer = lua_tointeger(L, index);
        } else {
            k->kind = KEY_FLOAT;
            k->number = lua_tonumber(L, index);
            if (isinf(k->number)) return "an infinite key";
        }
        field->prefix = prefix_of(text, (size_t)format_key(text, k));
        return NULL;
    }
    case LUA_TBOOLEAN: return "a boolean key";
    default: return "a key that is no string or number";
    }
}

/* The table's values are put on the stack, its keys into e->entries. stack: ... -> ..., values. [-0, +n, -] */
static bool collect_entries(encoder *e, int index, const level *outer) {
    lua_State *L = e->L;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (e->entry_count == e->entry_capacity) {
            size_t capacity = 2 * e->entry_capacity;
            bool first = e->entries == e->first_entries;
            entry *grown = realloc(first ? NULL : e->entries, capacity * sizeof(entry));
            if (grown == NULL) return no_memory(e, outer);
            if (first) memcpy(grown, e->first_entries, sizeof e->first_entries);
            e->entries = grown;
            e->entry_capacity = capacity;
        }
        entry *field = &e->entries[e->entry_count++];
        const char *wrong = read_key(L, -2, field);
        if (wrong != NULL) return cannot_write(e, outer, wrong);
        lua_insert(L, -2); /* value, key (top) */
        field->slot = lua_gettop(L) - 1;
        if (!lua_checkstack(L, 4)) return cannot_write(e, outer, "too many fields");
    }
    return true;
}

static bool write_object(encoder *e, int index, level *here) {
    lua_State *L = e->L;
    int top = lua_gettop(L);
    size_t first = e->entry_count;
    if (!collect_entries(e, index, here->outer)) return false;
    size_t end = e->entry_count;
    sort_entries(e->entries + first, end - first);
    if (!put_byte(e, here, '{')) return false;
    for (size_t i = first; i < end; i++) {
        entry field = e->entries[i]; /* a copy: the array may move */
        here->key = field.key;
        if (i > first && !put_byte(e, here, ',')) return false;
        if (field.key.kind == KEY_STRING) {
            if (!write_string(e, field.key.text, field.key.length, here, "its key has ")) return false;
        } else {
            char text[NUMBER_SIZE + 2];
            int length = format_key(text + 1, &field.key);
            text[0] = text[length + 1] = '"';
            if (!put(e, here, text, (size_t)length + 2)) return false;
        }
        if (!put_byte(e, here, ':') || !write_value(e, field.slot, here)) return false;
    }
    e->entry_count = first;
    lua_settop(L, top);
    return put_byte(e, here, '}');
}

static bool write_array(encoder *e, int index, lua_Unsigned count, level *here) {
    here->key.kind = KEY_INTEGER;
    if (!put_byte(e, here, '[')) return false;
    for (lua_Unsigned i = 1; i <= count; i++) {
        here->key.integer = (lua_Integer)i;
        if (i > 1 && !put_byte(e, here, ',')) return false;
        lua_rawgeti(e->L, index, (lua_Integer)i);
        if (!write_value(e, lua_gettop(e->L), here)) return false;
        lua_pop(e->L, 1);
    }
    return put_byte(e, here, ']');
}

/* True if the table's metatable is the one of stream.array. [-0, +0, -] */
static bool is_marked_array(lua_State *L, int index) {
    if (!lua_getmetatable(L, index)) return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_array);
    bool marked = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return marked;
}

/* True if the table has exactly the keys 1...count, where count is its raw length. [-0, +0, -] */
static bool has_only(lua_State *L, int index, lua_Unsigned count) {
    lua_Unsigned pairs = 0;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_Integer i = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;
        if (i < 1 || (lua_Unsigned)i > count) {
            lua_pop(L, 2);
            return false;
        }
        pairs++;
        lua_pop(L, 1);
    }
    return pairs == count;
}

static bool write_table(encoder *e, int index, const level *at) {
    lua_State *L = e->L;
    level here = {at, lua_topointer(L, index), {0}, at != NULL ? at->depth + 1 : 1};
    for (const level *l = at; l != NULL; l = l->outer) {
        if (l->table == here.table) return cannot_write(e, at, "a cycle");
    }
    if (here.depth > MSG_MAX_DEPTH) return cannot_write(e, at, "nested deeper than 200");
    if (!lua_checkstack(L, 6)) return no_memory(e, at);
    lua_Unsigned count = lua_rawlen(L, index);
    bool marked = is_marked_array(L, index);
    if (count > 0 || marked) {
        if (has_only(L, index, count)) return write_array(e, index, count, &here);
        if (marked) return cannot_write(e, at, "an array with holes or other keys");
    }
    return write_object(e, index, &here);
}

/* `index` is absolute. [-0, +0, -], but for a failure, which leaves what was there on the stack. */
static bool write_value(encoder *e, int index, const level *at) {
    lua_State *L = e->L;
    char text[NUMBER_SIZE];
    switch (lua_type(L, index)) {
    case LUA_TSTRING: {
        size_t length;
        const char *string = lua_tolstring(L, index, &length);
        return write_string(e, string, length, at, "");
    }
    case LUA_TNUMBER: {
        if (lua_isinteger(L, index)) return put(e, at, text, (size_t)format_integer(text, lua_tointeger(L, index)));
        double number = lua_tonumber(L, index);
        if (isnan(number)) return cannot_write(e, at, "nan");
        if (isinf(number)) return cannot_write(e, at, number < 0 ? "-inf" : "inf");
        return put(e, at, text, (size_t)format_float(text, number));
    }
    case LUA_TBOOLEAN: return lua_toboolean(L, index) ? put(e, at, "true", 4) : put(e, at, "false", 5);
    case LUA_TTABLE: return write_table(e, index, at);
    case LUA_TNIL: case LUA_TNONE: return cannot_write(e, at, "nil");
    default:
        if (shim_is_null(L, index)) return put(e, at, "null", 4);
        return cannot_write(e, at, shim_kind_phrase(L, index));
    }
}

/* [-0, +0, -] */
int shim_json_encode(lua_State *L, int index, shim_buffer *out, shim_problem *problem) {
    encoder e;
    e.L = L, e.out = out, e.problem = problem;
    e.entries = e.first_entries, e.entry_count = 0, e.entry_capacity = FIRST_ENTRIES;
    int top = lua_gettop(L);
    size_t used = out->used;
    bool good = write_value(&e, lua_absindex(L, index), NULL);
    if (e.entries != e.first_entries) free(e.entries);
    lua_settop(L, top);
    if (!good) out->used = used;
    return good ? 0 : -1;
}
