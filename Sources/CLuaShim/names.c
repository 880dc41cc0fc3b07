/* The names of symbols as strings of a state, and the symbols of its strings. Short strings are unique in a state, so
 * their address tells which they are; the table at shim_key_names keeps each that was seen, so the address stays its. */
#include "record.h"
#include <stdlib.h>
#include <string.h>

const char shim_key_names = 0;

/* Keeps the string at `index` as the name of `symbol`, so that its address can be trusted. [-0, +0, m] */
static void keep(lua_State *L, int index, uint32_t symbol) {
    shim_vm *vm = vm_of(L);
    const char *text = lua_tostring(L, index);
    if (vm->symbols == NULL && (vm->symbols = calloc(1, sizeof *vm->symbols)) == NULL) return;
    index = lua_absindex(L, index);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_names);
    lua_pushvalue(L, index);
    lua_rawseti(L, -2, (lua_Integer)symbol + 1);
    lua_pop(L, 1);
    *shim_cached_symbol(vm, text) = (shim_symbol_entry){text, symbol};
}

uint32_t shim_find_symbol(lua_State *L, int index, const char *text, size_t length, bool make) {
    uint32_t symbol = make ? msg_symbol(text, length) : msg_symbol_find(text, length);
    /* Of MSG_SYMBOL_LENGTH at most: one of Lua's short strings. */
    if (symbol != MSG_NO_SYMBOL && vm_of(L)->may_raise) keep(L, index, symbol);
    return symbol;
}

void shim_push_name(lua_State *L, int names, uint32_t symbol) {
    if (lua_rawgeti(L, names, (lua_Integer)symbol + 1) == LUA_TSTRING) return;
    size_t length;
    const char *text = msg_symbol_name(symbol, &length);
    lua_pop(L, 1);
    lua_pushlstring(L, text, length);
    lua_pushvalue(L, -1);
    lua_rawseti(L, names, (lua_Integer)symbol + 1);
}
