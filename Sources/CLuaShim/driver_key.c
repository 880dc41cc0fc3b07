/* What becomes of the results of a key's function: the stage forwards its message to the dealer, with the lane. */
#include "driver.h"
#include "CMessageKey.h"

bool shim_driver_key(lua_State *L, shim_driver *d) {
    uint64_t hash;
    switch (lua_type(L, -1)) {
    case LUA_TBOOLEAN:
        hash = msg_hash_boolean(lua_toboolean(L, -1));
        break;
    case LUA_TNUMBER:
        if (lua_isinteger(L, -1)) {
            hash = msg_hash_integer(lua_tointeger(L, -1));
        } else {
            lua_Number number = lua_tonumber(L, -1);
            if (number != number) {
                lua_pushliteral(L, "the key function returned nan");
                return false;
            }
            hash = msg_hash_float(number);
        }
        break;
    case LUA_TSTRING: {
        size_t length;
        const char *bytes = lua_tolstring(L, -1, &length);
        hash = msg_hash_string(bytes, length);
        break;
    }
    default:
        if (lua_isnil(L, -1))
            lua_pushliteral(L, "the key function returned nil");
        else if (shim_is_null(L, -1))
            lua_pushliteral(L, "the key function returned null");
        else
            lua_pushfstring(L, "the key function returned %s; expected a string, a number or a boolean",
                            shim_kind_phrase(L, -1));
        return false;
    }
    lua_pushinteger(L, (lua_Integer)(d->lanes == 0 ? hash : hash % d->lanes)); /* no lanes: the key's hash itself */
    return true;
}
