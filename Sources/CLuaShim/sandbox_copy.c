/* The sandbox of a state from the second one on. The first one is opened by Lua's own functions, and what must not be
 * there is taken out again; its content is recorded (image_pristine.c). The others are built from that record, in tables
 * of the right size and with no garbage: a parked worker is mostly its libraries. */
#include "image.h"
#include <string.h>

enum { MOST_LIBRARIES = 12 };

/* Pushes the value of an entry; `tables` is where the libraries' tables begin on the stack. False: it is something that
 * cannot be made from the record. [-0, +1/0, m] */
static bool push_entry(lua_State *L, const pristine *all, const pristine_entry *entry, int tables) {
    switch (entry->type) {
    case LUA_TBOOLEAN: lua_pushboolean(L, entry->value.boolean); return true;
    case LUA_TNUMBER:
        if (entry->integer) lua_pushinteger(L, entry->value.integer);
        else lua_pushnumber(L, entry->value.number);
        return true;
    case LUA_TSTRING: lua_pushlstring(L, entry->text, entry->text_length); return true;
    case LUA_TFUNCTION:
        if (!entry->named) lua_pushcfunction(L, entry->value.function);
        return !entry->named;
    case LUA_TTABLE:
        for (size_t i = 0; entry->named && i < all->count; i++) {
            if (strcmp(all->libraries[i].name, entry->text) != 0) continue;
            lua_pushvalue(L, tables + (int)i);
            return true;
        }
        return false;
    default: return false;
    }
}

/* Fills the table on top with a library. [-0, +0, m] */
static bool fill(lua_State *L, const pristine *all, const pristine_library *library, int tables) {
    for (size_t i = 0; i < library->count; i++) {
        const pristine_entry *entry = &library->entries[i];
        lua_pushlstring(L, entry->key, entry->key_length);
        if (!push_entry(L, all, entry, tables)) return false;
        lua_rawset(L, -3);
    }
    return true;
}

/* map[name] = table, map[table] = name. [-0, +0, m] */
static void name_library(lua_State *L, int map, int table, const char *name) {
    lua_pushvalue(L, table);
    lua_pushstring(L, name);
    lua_pushvalue(L, -1);
    lua_pushvalue(L, table);
    lua_rawset(L, map);
    lua_rawset(L, map);
}

bool shim_copy_sandbox(lua_State *L) {
    const pristine *all = shim_image_pristine_ready();
    if (all == NULL || all->count > MOST_LIBRARIES) return false;
    luaL_checkstack(L, MOST_LIBRARIES + 20, "libraries");
    int count = (int)all->count, tables = lua_gettop(L) + 1, map = tables + count, loaded = map + 1;
    for (int i = 0; i < count; i++) lua_createtable(L, 0, (int)all->libraries[i].count);
    lua_createtable(L, 0, 2 * count);
    lua_createtable(L, 0, count);
    for (int i = 0; i < count; i++) {
        const pristine_library *library = &all->libraries[i];
        lua_pushvalue(L, tables + i);
        bool good = fill(L, all, library, tables);
        lua_settop(L, loaded);
        if (!good) return false;
        if (strcmp(library->name, IMAGE_STRING_METATABLE) == 0) {
            lua_pushliteral(L, "");
            lua_pushvalue(L, tables + i);
            lua_setmetatable(L, -2);
        } else {
            name_library(L, map, tables + i, library->name);
            lua_createtable(L, 0, (int)library->count); /* see `publish` in sandbox.c */
            fill(L, all, library, tables);
            lua_setfield(L, loaded, library->name);
        }
        lua_settop(L, loaded);
        if (strcmp(library->name, "_G") == 0) {
            lua_pushvalue(L, tables + i);
            lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
        }
    }
    lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &shim_key_libraries);
    lua_settop(L, tables - 1);
    shim_open_registry(L);
    return true;
}
