/* utf8.len. char, codepoint, codes and offset are Lua's: each is bounded by the Lua stack's million values, decodes one
 * character, or is one pass over the bytes at the speed of memory. */
#include "bounded.h"

/* Behind the sequence that begins at `s`; NULL: it is none. `lax`: up to 2^31, and surrogates. */
static const char *skip_sequence(const char *s, bool lax) {
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000, 0x200000, 0x4000000};
    uint8_t first = (uint8_t)*s;
    if (first < 0x80) return s + 1;
    if (first < 0xC0 || first >= 0xFE) return NULL;
    int more = 1;
    while (first & (0x40 >> more)) more++;
    uint32_t code = first & (0x3Fu >> more);
    for (int i = 1; i <= more; i++) { /* the zero behind a string ends a sequence too */
        uint8_t c = (uint8_t)s[i];
        if ((c & 0xC0) != 0x80) return NULL;
        code = code << 6 | (c & 0x3F);
    }
    if (code < least[more] || (!lax && (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)))) return NULL;
    return s + more + 1;
}

static int len_on(lua_State *L, int status, lua_KContext context);

/* stack: s, first, last (offsets), lax, count (top). Counts from the offset `at` on. [-0, +1/2, v] */
static int count_from(lua_State *L, lua_Integer at) {
    const char *s = lua_tostring(L, 1);
    lua_Integer last = lua_tointeger(L, 3), count = lua_tointeger(L, 5), pause = at + BOUNDED_BYTES;
    bool lax = lua_toboolean(L, 4);
    while (at <= last) {
        const char *next = skip_sequence(s + at, lax);
        if (next == NULL) {
            lua_pushnil(L);
            lua_pushinteger(L, at + 1);
            return 2;
        }
        at = next - s;
        count++;
        if (at >= pause) {
            pause = at + BOUNDED_BYTES;
            if (shim_look_up(L)) {
                lua_pushinteger(L, count);
                lua_replace(L, 5);
                return shim_give_way(L, at, len_on);
            }
        }
    }
    lua_pushinteger(L, count);
    return 1;
}

static int len_on(lua_State *L, int status, lua_KContext at) {
    (void)status;
    return count_from(L, at);
}

/* From the end where it is negative; 0 where it is before the beginning. */
static lua_Integer from_end(lua_Integer i, size_t length) {
    if (i >= 0) return i;
    return 0u - (size_t)i > length ? 0 : (lua_Integer)length + i + 1;
}

/* utf8.len(s [, first [, last [, lax]]]) [-n, +1/2, v] */
static int len(lua_State *L) {
    size_t length;
    luaL_checklstring(L, 1, &length);
    lua_Integer first = from_end(luaL_optinteger(L, 2, 1), length), last = from_end(luaL_optinteger(L, 3, -1), length);
    luaL_argcheck(L, 1 <= first && first - 1 <= (lua_Integer)length, 2, "initial position out of bounds");
    luaL_argcheck(L, last - 1 < (lua_Integer)length, 3, "final position out of bounds");
    bool lax = lua_toboolean(L, 4);
    lua_settop(L, 1);
    lua_pushnil(L);
    lua_pushinteger(L, last - 1);
    lua_pushboolean(L, lax);
    lua_pushinteger(L, 0);
    return count_from(L, first - 1);
}

const luaL_Reg shim_bounded_utf8[] = {{"len", len}, {NULL, NULL}};
