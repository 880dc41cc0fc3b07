/* JSON text straight onto the Lua stack. */
#include "json.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Values of a container wait on the Lua stack until it ends or this many are there: then its table is made in the
 * right size at once. (A size guessed from earlier records would make the order of `pairs` depend on them.) */
enum { DECODE_BATCH = 32 };

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

static inline void skip_space(decoder *d) { d->p = msg_skip_space(d->p, d->end); }

/* Four hex digits at p, known to be there. */
static unsigned hex_value(const uint8_t *p) {
    unsigned value = 0;
    for (int i = 0; i < 4; i++) value = value << 4 | (unsigned)msg_hex_digit(p[i]);
    return value;
}

/* True if four hex digits stand at p. [-0, +0, -] */
static bool check_hex(decoder *d, const uint8_t *p) {
    for (int i = 0; i < 4; i++, p++) {
        if (p == d->end || msg_hex_digit(*p) < 0) return refuse(d, p, "expected a hex digit");
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

/* Apart, so that its buffer is not in the frames of the recursion. [-0, +1, m] */
static __attribute__((noinline)) void push_unescaped(lua_State *L, const uint8_t *text, const uint8_t *end) {
    uint8_t small[512];
    if ((size_t)(end - text) <= sizeof small) {
        lua_pushlstring(L, (const char *)small, msg_json_unescape(small, text, end));
        return;
    }
    /* Lua owns the scratch space: pushing may raise for want of memory. */
    uint8_t *scratch = lua_newuserdatauv(L, (size_t)(end - text), 0);
    lua_pushlstring(L, (const char *)scratch, msg_json_unescape(scratch, text, end));
    lua_remove(L, -2);
}

/* d->p is at the opening quote. [-0, +1/0, m] */
static bool decode_string(decoder *d) {
    const uint8_t *text = ++d->p;
    bool escaped = false;
    for (;;) {
        const uint8_t *p = d->p = msg_skip_plain(d->p, d->end);
        if (p == d->end) return refuse(d, p, "expected '\"' at the end of the string");
        if (*p == '"') break;
        if (*p == '\\') {
            escaped = true;
            if (!check_escape(d)) return false;
        } else if (*p < 0x20) {
            return refuse(d, p, "expected an escape in place of a control character");
        } else {
            int length = msg_utf8_length(p, d->end);
            if (length == 0) return refuse(d, p, "expected valid UTF-8");
            d->p += length;
        }
    }
    if (escaped) push_unescaped(d->L, text, d->p);
    else lua_pushlstring(d->L, (const char *)text, (size_t)(d->p - text));
    d->p++;
    return true;
}

/* [-0, +1/0, -] */
static bool decode_number(decoder *d) {
    const uint8_t *start = d->p, *p = start, *end = d->end;
    bool negative = *p == '-';
    p += negative;
    if (!msg_is_digit(p, end)) return refuse(d, p, "expected a digit");
    uint64_t mantissa = 0; /* wraps past 19 digits, and is not used then */
    const uint8_t *first = p;
    if (*p == '0') p++;
    else while (msg_is_digit(p, end)) mantissa = mantissa * 10 + (*p++ - '0');
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
        if (!msg_is_digit(p, end)) return refuse(d, p, "expected a digit");
        while (msg_is_digit(p, end)) mantissa = mantissa * 10 + (*p++ - '0');
        digits += (size_t)(p - first);
        exponent = -(long)(p - first);
    }
    if (p < end && (*p | 0x20) == 'e') {
        p++;
        bool minus = p < end && *p == '-';
        if (p < end && (*p == '-' || *p == '+')) p++;
        if (!msg_is_digit(p, end)) return refuse(d, p, "expected a digit");
        long written = 0;
        for (; msg_is_digit(p, end); p++) {
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
        number = msg_json_double(start, p);
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


const uint8_t *shim_json_value(lua_State *L, const uint8_t *p, const uint8_t *end) {
    shim_problem problem;
    decoder d = {L, p, p, end, &problem, 0};
    luaL_checkstack(L, 6, "value");
    if (!decode_value(&d, "expected a value")) luaL_error(L, "not JSON: %s", problem.text);
    return d.p;
}
