/* string.format: what it adds is counted against what the worker may hold, and long texts are gone through in pieces.
 * Its conversions of numbers are C's, as Lua's are. */
#include "bounded.h"
#include <ctype.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum {
    SPEC_SIZE = 32,     /* of one conversion, with the length modifier that is added */
    ITEM_SIZE = 120,    /* of a number's text: widths and precisions have at most two digits */
    FIXED_SIZE = 110 + DBL_MAX_10_EXP /* of a float's in "%99.99f" */
};

/* Copies the conversion that begins at `form`, behind the '%', to `spec`, with the '%'. Returns its letter's place.
 * [-0, +0, v] */
static const char *read_spec(lua_State *L, const char *form, char *spec) {
    size_t length = strspn(form, "-+#0 .123456789") + 1;
    if (length >= SPEC_SIZE - 10) luaL_error(L, "invalid format (too long)");
    *spec++ = '%';
    memcpy(spec, form, length);
    spec[length] = '\0';
    return form + length - 1;
}

static const char *skip_two_digits(const char *p) {
    if (isdigit((unsigned char)*p)) p++;
    if (isdigit((unsigned char)*p)) p++;
    return p;
}

/* [-0, +0, v] */
static void check_spec(lua_State *L, const char *spec, const char *flags, bool precision) {
    const char *p = spec + 1 + strspn(spec + 1, flags);
    if (*p != '0') { /* a width does not begin with it */
        p = skip_two_digits(p);
        if (*p == '.' && precision) p = skip_two_digits(p + 1);
    }
    if (!isalpha((unsigned char)*p)) luaL_error(L, "invalid conversion specification: '%s'", spec);
}

/* "%5d" to "%5lld". */
static void widen(char *spec) {
    size_t length = strlen(spec);
    char letter = spec[length - 1];
    memcpy(spec + length - 1, LUA_INTEGER_FRMLEN, sizeof LUA_INTEGER_FRMLEN - 1);
    spec[length - 1 + sizeof LUA_INTEGER_FRMLEN - 1] = letter;
    spec[length + sizeof LUA_INTEGER_FRMLEN - 1] = '\0';
}

/* Adds a string as Lua reads it back. [-0, +0, v] */
static builder *add_quoted(lua_State *L, builder *b, const char *s, size_t length) {
    b = builder_add(L, b, "\"", 1);
    for (size_t i = 0; i < length; i++) {
        if ((i & (BOUNDED_STEPS - 1)) == BOUNDED_STEPS - 1) shim_look_up(L);
        unsigned char c = (unsigned char)s[i];
        char text[8];
        int n;
        if (c == '"' || c == '\\' || c == '\n') {
            text[0] = '\\';
            text[1] = (char)c;
            n = 2;
        } else if (c < 32 || c == 127) {
            n = snprintf(text, sizeof text, isdigit((unsigned char)s[i + 1]) ? "\\%03d" : "\\%d", c);
        } else {
            text[0] = (char)c;
            n = 1;
        }
        b = builder_add(L, b, text, (size_t)n);
    }
    return builder_add(L, b, "\"", 1);
}

/* Adds the argument as a literal. [-0, +0, v] */
static builder *add_literal(lua_State *L, builder *b, int arg) {
    char text[ITEM_SIZE];
    const char *s = text;
    size_t length;
    switch (lua_type(L, arg)) {
    case LUA_TSTRING:
        s = lua_tolstring(L, arg, &length);
        return add_quoted(L, b, s, length);
    case LUA_TNUMBER:
        if (lua_isinteger(L, arg)) { /* the least one has no decimal literal */
            lua_Integer n = lua_tointeger(L, arg);
            snprintf(text, sizeof text, n == LUA_MININTEGER ? "0x%" PRIx64 : "%" PRId64, (int64_t)n);
        } else {
            lua_Number n = lua_tonumber(L, arg);
            if (n == HUGE_VAL) s = "1e9999";
            else if (n == -HUGE_VAL) s = "-1e9999";
            else if (isnan(n)) s = "(0/0)";
            else snprintf(text, sizeof text, "%a", n);
        }
        return builder_add(L, b, s, strlen(s));
    case LUA_TNIL:
    case LUA_TBOOLEAN:
        s = lua_isnil(L, arg) ? "nil" : lua_toboolean(L, arg) ? "true" : "false";
        return builder_add(L, b, s, strlen(s));
    default:
        luaL_argerror(L, arg, "value has no literal form");
        return b;
    }
}

/* Adds the text of any value. [-0, +0, v] */
static builder *add_text(lua_State *L, builder *b, int arg, const char *spec) {
    size_t length;
    const char *s = luaL_tolstring(L, arg, &length);
    if (spec[2] == '\0') {
        b = builder_add(L, b, s, length);
    } else {
        luaL_argcheck(L, length == strlen(s), arg, "string contains zeros");
        check_spec(L, spec, "-", true);
        if (strchr(spec, '.') == NULL && length >= 100) {
            b = builder_add(L, b, s, length); /* wider than any width */
        } else {
            b = builder_reserve(L, b, ITEM_SIZE);
            b->used += (size_t)snprintf(b->bytes + b->used, ITEM_SIZE, spec, s);
        }
    }
    lua_pop(L, 1);
    return b;
}

/* Adds one argument by its conversion. [-0, +0, v] */
static builder *add_item(lua_State *L, builder *b, int arg, char *spec, char letter) {
    const char *flags;
    switch (letter) {
    case 'c': {
        check_spec(L, spec, "-", false);
        int c = (int)luaL_checkinteger(L, arg);
        b = builder_reserve(L, b, ITEM_SIZE);
        b->used += (size_t)snprintf(b->bytes + b->used, ITEM_SIZE, spec, c);
        return b;
    }
    case 'd': case 'i': flags = "-+0 "; break;
    case 'u': flags = "-0"; break;
    case 'o': case 'x': case 'X': flags = "-#0"; break;
    case 'a': case 'A': check_spec(L, spec, "-+#0 ", true); /* FALLTHROUGH */
    case 'f': case 'e': case 'E': case 'g': case 'G': {
        lua_Number n = luaL_checknumber(L, arg);
        check_spec(L, spec, "-+#0 ", true);
        b = builder_reserve(L, b, FIXED_SIZE);
        b->used += (size_t)snprintf(b->bytes + b->used, FIXED_SIZE, spec, n);
        return b;
    }
    case 'p': {
        const void *p = lua_topointer(L, arg);
        check_spec(L, spec, "-", false);
        if (p == NULL) spec[strlen(spec) - 1] = 's';
        b = builder_reserve(L, b, ITEM_SIZE);
        b->used += (size_t)snprintf(b->bytes + b->used, ITEM_SIZE, spec, p == NULL ? (const void *)"(null)" : p);
        return b;
    }
    case 'q':
        if (spec[2] != '\0') luaL_error(L, "specifier '%%q' cannot have modifiers");
        return add_literal(L, b, arg);
    case 's': return add_text(L, b, arg, spec);
    default:
        luaL_error(L, "invalid conversion '%s' to 'format'", spec);
        return b;
    }
    lua_Integer n = luaL_checkinteger(L, arg);
    check_spec(L, spec, flags, true);
    widen(spec);
    b = builder_reserve(L, b, ITEM_SIZE);
    b->used += (size_t)snprintf(b->bytes + b->used, ITEM_SIZE, spec, (LUAI_UACINT)n);
    return b;
}

/* string.format(form, ...) [-n, +1, v] */
int shim_string_format(lua_State *L) {
    int top = lua_gettop(L), arg = 1;
    size_t length;
    const char *form = luaL_checklstring(L, 1, &length), *end = form + length;
    luaL_checkstack(L, 4, "too many arguments");
    lua_pushnil(L);
    builder small, *b = &small;
    builder_init(b, top + 1);
    size_t looked = 0;
    long steps = 0;
    for (;;) {
        if ((++steps & (BOUNDED_STEPS - 1)) == 0 || b->used - looked > BOUNDED_BYTES) {
            looked = b->used;
            shim_look_up(L);
        }
        const char *percent = memchr(form, '%', (size_t)(end - form));
        if (percent == NULL) break;
        b = builder_add(L, b, form, (size_t)(percent - form));
        form = percent + 1;
        if (*form == '%') {
            b = builder_add(L, b, "%", 1);
            form++;
            continue;
        }
        char spec[SPEC_SIZE];
        if (++arg > top) return luaL_argerror(L, arg, "no value");
        form = read_spec(L, form, spec);
        b = add_item(L, b, arg, spec, *form++);
    }
    b = builder_add(L, b, form, (size_t)(end - form));
    builder_finish(L, b);
    return 1;
}
