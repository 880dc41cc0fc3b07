/* Calls by which the host moves values in and out of a state: protected, so that none of them raises. */
#include "record.h"
#include <stdio.h>
#include <string.h>

/* Large enough to run out of memory at a limit; small pushes do too once a worker is far over it. */
struct bytes { const void *bytes; size_t length; };

/* [-1, +1, m] */
static int push_bytes_body(lua_State *L) {
    struct bytes *b = lua_touserdata(L, 1);
    lua_pushlstring(L, b->bytes, b->length);
    return 1;
}

bool shim_push_bytes(lua_State *L, const void *bytes, size_t length) {
    struct bytes b = {length == 0 ? "" : bytes, length};
    lua_pushcfunction(L, push_bytes_body);
    lua_pushlightuserdata(L, &b);
    return lua_pcall(L, 1, 1, 0) == LUA_OK;
}

/* [-1, +1, m] */
static int push_function_body(lua_State *L) {
    shim_push_callback(L, (shim_callback)(uintptr_t)lua_touserdata(L, 1));
    return 1;
}

bool shim_push_function(lua_State *L, shim_callback callback) {
    lua_pushcfunction(L, push_function_body);
    lua_pushlightuserdata(L, (void *)(uintptr_t)callback);
    return lua_pcall(L, 1, 1, 0) == LUA_OK;
}

/* [-0, +1, m] */
static int new_table_body(lua_State *L) {
    lua_newtable(L);
    return 1;
}

bool shim_new_table(lua_State *L) {
    lua_pushcfunction(L, new_table_body);
    return lua_pcall(L, 0, 1, 0) == LUA_OK;
}

/* Raises where there should be a table: what stands there is the error of one that could not be made. [-0, +0, v] */
static void want_table(lua_State *L) {
    if (lua_type(L, 1) != LUA_TTABLE) luaL_error(L, "not enough memory");
}

/* stack: table, value, name (light userdata). [-3, +0, m] */
static int set_field_body(lua_State *L) {
    want_table(L);
    lua_pushstring(L, lua_touserdata(L, 3));
    lua_insert(L, 2);
    lua_settop(L, 3);
    lua_rawset(L, 1);
    return 0;
}

bool shim_set_field(lua_State *L, int table, const char *name) {
    table = lua_absindex(L, table);
    lua_pushcfunction(L, set_field_body); /* stack: value, body */
    lua_insert(L, -2);
    lua_pushvalue(L, table);
    lua_insert(L, -2);
    lua_pushlightuserdata(L, (void *)name); /* stack: body, table, value, name */
    return lua_pcall(L, 3, 0, 0) == LUA_OK;
}

/* stack: table, name. [-2, +1, m] */
static int get_field_body(lua_State *L) {
    want_table(L);
    shim_record *r = shim_record_of(L, 1);
    if (r != NULL) shim_record_fill(L, 1, r);
    lua_pushstring(L, lua_touserdata(L, 2));
    lua_rawget(L, 1);
    return 1;
}

int shim_get_field(lua_State *L, int table, const char *name) {
    table = lua_absindex(L, table);
    lua_pushcfunction(L, get_field_body);
    lua_pushvalue(L, table);
    lua_pushlightuserdata(L, (void *)name);
    if (lua_pcall(L, 2, 1, 0) != LUA_OK) {
        lua_pop(L, 1);
        lua_pushnil(L);
    }
    return lua_type(L, -1);
}

/* [-1, +1, m] */
static int settle_body(lua_State *L) {
    shim_record *r = shim_record_of(L, 1);
    if (r != NULL) shim_record_settle(L, 1, r);
    return 0;
}

bool shim_settle(lua_State *L, int index) {
    if (shim_record_of(L, index) == NULL) return true;
    lua_pushvalue(L, index);
    lua_pushcfunction(L, settle_body);
    lua_insert(L, -2);
    return lua_pcall(L, 1, 0, 0) == LUA_OK;
}

bool shim_next(lua_State *L, int table) {
    if (lua_type(L, table) == LUA_TTABLE) return lua_next(L, table) != 0;
    lua_pop(L, 1);
    return false;
}

int shim_load(lua_State *L, const char *source, size_t length, const char *chunk_name) {
    return luaL_loadbufferx(L, source, length, chunk_name, "t");
}

int shim_pcall(lua_State *L, int arguments, int results) {
    int base = lua_gettop(L) - arguments;
    lua_pushcfunction(L, shim_message_handler);
    lua_insert(L, base);
    int status = lua_pcall(L, arguments, results, base);
    lua_remove(L, base);
    return status;
}

void shim_pop(lua_State *L, int count) { lua_pop(L, count); }

/* [-1, +1, m] */
static int ref_body(lua_State *L) {
    lua_pushinteger(L, luaL_ref(L, LUA_REGISTRYINDEX));
    return 1;
}

int shim_ref(lua_State *L) {
    lua_pushcfunction(L, ref_body);
    lua_insert(L, -2);
    int status = lua_pcall(L, 1, 1, 0);
    int reference = status == LUA_OK ? (int)lua_tointeger(L, -1) : 0;
    lua_pop(L, 1);
    return reference;
}

/* Lua's own takes 0 for a reference: it would make an entry, which may need memory, and hand 0 out as the next one. */
void shim_unref(lua_State *L, int reference) {
    if (reference > 0) luaL_unref(L, LUA_REGISTRYINDEX, reference);
}
void shim_push_ref(lua_State *L, int reference) { lua_rawgeti(L, LUA_REGISTRYINDEX, reference); }

/* stack: table, value, index. [-3, +0, m] */
static int set_index_body(lua_State *L) {
    lua_Integer index = lua_tointeger(L, 3);
    want_table(L);
    lua_settop(L, 2);
    lua_rawseti(L, 1, index);
    return 0;
}

bool shim_set_index(lua_State *L, int table, lua_Integer index) {
    table = lua_absindex(L, table);
    lua_pushcfunction(L, set_index_body);
    lua_insert(L, -2);
    lua_pushvalue(L, table);
    lua_insert(L, -2);
    lua_pushinteger(L, index);
    return lua_pcall(L, 3, 0, 0) == LUA_OK;
}

void shim_push_globals(lua_State *L) { lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS); }

/* Names the value on top both ways in the table at `names`, and pops it. [-1, +0, m] */
static void record(lua_State *L, int names, const char *name) {
    lua_pushvalue(L, -1);
    lua_pushstring(L, name);
    lua_rawset(L, names);
    lua_pushstring(L, name);
    lua_insert(L, -2);
    lua_rawset(L, names);
}

/* stack: module, name (light userdata). [-2, +0, m] */
static int record_library_body(lua_State *L) {
    const char *name = lua_touserdata(L, 2);
    want_table(L);
    lua_settop(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_stdlib); /* 2 */
    lua_pushnil(L);
    while (lua_next(L, 1)) {
        if (lua_type(L, -2) == LUA_TSTRING) {
            lua_pushfstring(L, "%s.%s", name, lua_tostring(L, -2)); /* key, value, text */
            lua_insert(L, -2);
            int type = lua_type(L, -1);
            if (type == LUA_TFUNCTION || type == LUA_TTABLE) {
                record(L, 2, lua_tostring(L, -2));
                lua_pop(L, 1);
            } else { /* a plain field: by name only */
                lua_rawset(L, 2);
            }
        } else {
            lua_pop(L, 1);
        }
    }
    lua_pushvalue(L, 1);
    record(L, 2, name);
    if (lua_getmetatable(L, 1)) {
        lua_pushfstring(L, "%s#metatable", name);
        lua_insert(L, -2);
        record(L, 2, lua_tostring(L, -2));
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_modules); /* last: what is there is whole */
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, name);
    return 0;
}

bool shim_record_library(lua_State *L, const char *name) {
    lua_pushvalue(L, -1);
    lua_pushcfunction(L, record_library_body);
    lua_insert(L, -2);
    lua_pushlightuserdata(L, (void *)name);
    return lua_pcall(L, 2, 0, 0) == LUA_OK;
}

void shim_mark_array(lua_State *L) {
    if (lua_type(L, -1) != LUA_TTABLE)
        return;
    if (!shim_settle(L, -1)) {
        lua_pop(L, 1);
        return;
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_array);
    lua_setmetatable(L, -2);
}

struct json { const char *text; size_t length; shim_problem *problem; };

/* [-1, +1, m] */
static int json_decode_body(lua_State *L) {
    struct json *json = lua_touserdata(L, 1);
    if (!shim_json_decode(L, json->text, json->length, json->problem))
        return 0;
    json->problem = NULL;
    return 1;
}

int shim_json_decode_protected(lua_State *L, const char *text, size_t length, shim_problem *problem) {
    struct json json = {text, length, problem};
    lua_pushcfunction(L, json_decode_body);
    lua_pushlightuserdata(L, &json);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK)
        return -1;
    if (json.problem == NULL)
        return 0;
    lua_pop(L, 1);
    return 1;
}

/* [-1, +1, m] */
static int traceback_body(lua_State *L) {
    luaL_traceback(L, lua_touserdata(L, 1), NULL, 0);
    return 1;
}

void shim_push_traceback(lua_State *L, lua_State *co) {
    lua_pushcfunction(L, traceback_body);
    lua_pushlightuserdata(L, co);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
        lua_pop(L, 1);
        lua_pushnil(L);
    }
}

/* ---- Values for people ---- */

static void describe(lua_State *L, int index, size_t limit, shim_buffer *out, int depth) {
    char text[64];
    index = lua_absindex(L, index);
    if (out->used >= limit)
        return;
    switch (lua_type(L, index)) {
    case LUA_TNIL: shim_buffer_append(out, "nil", 3); return;
    case LUA_TBOOLEAN: {
        const char *word = lua_toboolean(L, index) ? "true" : "false";
        shim_buffer_append(out, word, strlen(word));
        return;
    }
    case LUA_TNUMBER:
        if (lua_isinteger(L, index))
            snprintf(text, sizeof text, "%lld", (long long)lua_tointeger(L, index));
        else
            snprintf(text, sizeof text - 2, "%.14g", lua_tonumber(L, index));
        if (!lua_isinteger(L, index) && text[strspn(text, "-0123456789")] == '\0')
            strcat(text, ".0"); /* as tostring writes a float that looks like an integer */
        shim_buffer_append(out, text, strlen(text));
        return;
    case LUA_TSTRING: {
        size_t length;
        const char *bytes = lua_tolstring(L, index, &length);
        size_t room = limit - out->used;
        if (depth > 0)
            shim_buffer_append(out, "\"", 1);
        shim_buffer_append(out, bytes, length < room ? length : room);
        if (length > room)
            shim_buffer_append(out, "...", 3);
        if (depth > 0)
            shim_buffer_append(out, "\"", 1);
        return;
    }
    case LUA_TTABLE: break;
    default:
        if (shim_is_null(L, index)) {
            shim_buffer_append(out, "null", 4);
        } else {
            const char *phrase = shim_kind_phrase(L, index);
            shim_buffer_append(out, phrase, strlen(phrase));
        }
        return;
    }
    shim_record *r = shim_record_of(L, index);
    if (depth >= 3 || !lua_checkstack(L, 6) || (r != NULL && !shim_record_fill_protected(L, index, r))) {
        shim_buffer_append(out, "{...}", 5);
        return;
    }
    shim_buffer_append(out, "{", 1);
    bool first = true;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (r != NULL && shim_is_record_key(L, -2)) {
            lua_pop(L, 1);
            continue;
        }
        if (!first)
            shim_buffer_append(out, ", ", 2);
        if (out->used >= limit) {
            shim_buffer_append(out, "...", 3);
            lua_pop(L, 2);
            break;
        }
        if (lua_type(L, -2) == LUA_TSTRING) {
            describe(L, -2, limit, out, 0);
            shim_buffer_append(out, " = ", 3);
        } else if (!lua_isinteger(L, -2)) {
            shim_buffer_append(out, "[", 1);
            describe(L, -2, limit, out, depth + 1);
            shim_buffer_append(out, "] = ", 4);
        }
        describe(L, -1, limit, out, depth + 1);
        first = false;
        lua_pop(L, 1);
    }
    shim_buffer_append(out, "}", 1);
}

void shim_describe(lua_State *L, int index, size_t limit, shim_buffer *out) {
    if (lua_isnone(L, index)) /* what describe pushes would stand there */
        shim_buffer_append(out, "nil", 3);
    else
        describe(L, index, out->used + limit, out, 0);
}
