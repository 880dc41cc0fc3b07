/* string.rep, reverse, lower, upper, pack: what is large is made in pieces, with looks between them. The last step, in which
 * Lua copies the finished string, is one copy of what the worker may hold, at the speed of memory. */
#include "bounded.h"
#include <limits.h>

/* string.rep(s, n [, separator]) [-n, +1, v] */
static int rep(lua_State *L) {
    size_t length, gap;
    const char *s = luaL_checklstring(L, 1, &length);
    lua_Integer n = luaL_checkinteger(L, 2);
    const char *separator = luaL_optlstring(L, 3, "", &gap);
    if (n <= 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    size_t period = length + gap;
    if (period < length || period > (size_t)INT_MAX / (lua_Unsigned)n) return luaL_error(L, "resulting string too large");
    size_t total = (size_t)n * period - gap, filled;
    shim_check_size(L, total);
    lua_settop(L, 3);
    lua_pushnil(L);
    builder small, *b = &small;
    builder_init(b, 4);
    b = builder_reserve(L, b, total);
    memcpy(b->bytes, s, length);
    filled = length;
    if (n > 1) {
        memcpy(b->bytes + filled, separator, gap);
        filled += gap;
    }
    while (filled < total) { /* what is there repeats itself: so does what is as far behind it */
        size_t distance = filled - filled % period, piece = total - filled;
        if (piece > distance) piece = distance;
        if (piece > BOUNDED_BYTES) piece = BOUNDED_BYTES;
        memcpy(b->bytes + filled, b->bytes + filled - distance, piece);
        filled += piece;
        if (total > BOUNDED_BYTES) shim_look_up(L);
    }
    b->used = total;
    builder_finish(L, b);
    return 1;
}

enum change { REVERSE, LOWER, UPPER };

/* [-n, +1, v] */
static int changed(lua_State *L, enum change change) {
    size_t length;
    const char *s = luaL_checklstring(L, 1, &length);
    lua_settop(L, 1);
    lua_pushnil(L);
    builder small, *b = &small;
    builder_init(b, 2);
    b = builder_reserve(L, b, length);
    char *bytes = b->bytes;
    for (size_t from = 0; from < length; from += BOUNDED_BYTES) {
        size_t end = length - from > BOUNDED_BYTES ? from + BOUNDED_BYTES : length, i;
        switch (change) {
        case REVERSE: for (i = from; i < end; i++) bytes[i] = s[length - 1 - i]; break;
        case LOWER: for (i = from; i < end; i++) bytes[i] = (char)(s[i] >= 'A' && s[i] <= 'Z' ? s[i] + 32 : s[i]); break;
        default: for (i = from; i < end; i++) bytes[i] = (char)(s[i] >= 'a' && s[i] <= 'z' ? s[i] - 32 : s[i]); break;
        }
        if (end < length) shim_look_up(L);
    }
    b->used = length;
    builder_finish(L, b);
    return 1;
}

/* string.reverse(s), lower(s), upper(s) [-n, +1, v] */
static int reverse(lua_State *L) { return changed(L, REVERSE); }
static int lower(lua_State *L) { return changed(L, LOWER); }
static int upper(lua_State *L) { return changed(L, UPPER); }

_Atomic(lua_CFunction) shim_stock_pack, shim_stock_packsize, shim_stock_unpack;

/* The format of pack, packsize or unpack, which Lua's own go through without a look: more values than fit on its stack have
 * room in it. [-0, +0, v] */
static const char *check_form(lua_State *L, size_t *length) {
    const char *form = luaL_checklstring(L, 1, length);
    luaL_argcheck(L, *length <= BOUNDED_FORM, 1, "format longer than 2097152 bytes");
    return form;
}

/* string.pack(form, ...): Lua's own, once it is known that its padding is not too much ("c1000000000"). [-n, +1, v] */
static int pack(lua_State *L) {
    size_t length, size = 0;
    const char *form = check_form(L, &length), *end = form + length;
    for (long steps = 1; (form = memchr(form, 'c', (size_t)(end - form))) != NULL; steps++) {
        size_t n = 0;
        for (form++; *form >= '0' && *form <= '9' && n < (size_t)INT_MAX; form++) n = n * 10 + (size_t)(*form - '0');
        size += n;
        if ((steps & (BOUNDED_STEPS - 1)) == 0) shim_look_up(L);
    }
    shim_check_size(L, size);
    return atomic_load_explicit(&shim_stock_pack, memory_order_relaxed)(L);
}

/* string.packsize(form) [-n, +1, v] */
static int packsize(lua_State *L) {
    size_t length;
    check_form(L, &length);
    return atomic_load_explicit(&shim_stock_packsize, memory_order_relaxed)(L);
}

/* string.unpack(form, s [, at]) [-n, +results, v] */
static int unpack(lua_State *L) {
    size_t length;
    check_form(L, &length);
    return atomic_load_explicit(&shim_stock_unpack, memory_order_relaxed)(L);
}

/* byte, char, len, sub are Lua's: they are O(1), one copy, or bounded by the Lua stack's million values. */
const luaL_Reg shim_bounded_string[] = {
    {"format", shim_string_format}, {"lower", lower}, {"pack", pack}, {"packsize", packsize}, {"rep", rep},
    {"reverse", reverse}, {"unpack", unpack}, {"upper", upper}, {NULL, NULL}
};
