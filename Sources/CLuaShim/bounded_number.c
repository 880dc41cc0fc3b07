/* tonumber: digits in a base are gone through with looks. A decimal or hexadecimal text is read by Lua, at the speed of C's
 * own functions. */
#include "bounded.h"
#include <ctype.h>

/* Behind what counts as space. */
static const char *skip_space(const char *s) { return s + strspn(s, " \f\n\r\t\v"); }

/* The number that the whole text from `s` to `end` is in that base. False: it is none. [-0, +0, v] */
static bool read_digits(lua_State *L, const char *s, const char *end, unsigned base, lua_Integer *result) {
    lua_Unsigned number = 0;
    s = skip_space(s);
    bool is_negative = *s == '-';
    if (is_negative || *s == '+') s++;
    if (!isalnum((unsigned char)*s)) return false;
    const char *pause = s + BOUNDED_BYTES;
    do {
        unsigned char c = (unsigned char)*s;
        unsigned digit = isdigit(c) ? c - '0' : (unsigned)toupper(c) - 'A' + 10;
        if (digit >= base) return false;
        number = number * base + digit;
        if (++s >= pause) {
            pause = s + BOUNDED_BYTES;
            shim_look_up(L);
        }
    } while (isalnum((unsigned char)*s));
    *result = (lua_Integer)(is_negative ? 0u - number : number);
    return skip_space(s) == end;
}

/* tonumber(value [, base]) [-n, +1, v] */
int shim_tonumber(lua_State *L) {
    size_t length;
    if (lua_isnoneornil(L, 2)) {
        if (lua_type(L, 1) == LUA_TNUMBER) {
            lua_settop(L, 1);
            return 1;
        }
        const char *s = lua_tolstring(L, 1, &length);
        if (s != NULL && lua_stringtonumber(L, s) == length + 1) return 1;
        luaL_checkany(L, 1);
    } else {
        lua_Integer base = luaL_checkinteger(L, 2), number;
        luaL_checktype(L, 1, LUA_TSTRING); /* a number is no digits */
        const char *s = lua_tolstring(L, 1, &length);
        luaL_argcheck(L, 2 <= base && base <= 36, 2, "base out of range");
        if (read_digits(L, s, s + length, (unsigned)base, &number)) {
            lua_pushinteger(L, number);
            return 1;
        }
    }
    lua_pushnil(L);
    return 1;
}
