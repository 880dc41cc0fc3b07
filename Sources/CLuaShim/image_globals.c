/* The part of an image that no function captured: the globals that the script set, what it changed in the libraries,
 * the modules it required. All of it is written leniently: what cannot leave its worker is left out. */
#include "image_encode.h"

/* Writes container[key] = value, where `container` is a value's index, or 0 and a tag. False: the value is refused.
 * [-0, +0, e] */
static bool put_set(encoder *e, int container, uint8_t tag, int key, int value) {
    static const item nowhere = {.edge = EDGE_ROOT};
    size_t before = e->fill.used;
    shim_image_put_byte(e, &e->fill, IMAGE_FILL_SET);
    bool written = true;
    if (container == 0)
        shim_image_put_byte(e, &e->fill, tag);
    else
        written = shim_image_put_value(e, &e->fill, container, &nowhere);
    written = written && shim_image_put_value(e, &e->fill, key, &nowhere) &&
              shim_image_put_value(e, &e->fill, value, &nowhere);
    if (!written)
        e->fill.used = before;
    return written;
}

static void put_missing(encoder *e, const char *name, const char *phrase) {
    shim_image_put_byte(e, &e->fill, IMAGE_FILL_MISSING);
    shim_image_put_name(e, &e->fill, name);
    shim_image_put_name(e, &e->fill, phrase);
    e->missing++;
}

/* A changed or added entry of the library at `library`: what cannot go along is nil there, and known by name if it
 * is a global. stack: key, value (top). [-0, +0, e] */
static void put_change(encoder *e, int library) {
    lua_State *L = e->L;
    int key = lua_gettop(L) - 1;
    if (put_set(e, library, 0, key, key + 1))
        return;
    lua_pushnil(L);
    put_set(e, library, 0, key, key + 2);
    lua_pop(L, 1);
    if (lua_topointer(L, library) == e->globals && lua_type(L, key) == LUA_TSTRING)
        put_missing(e, lua_tostring(L, key), e->phrase);
}

/* True for the metatable that a decoded image set on the globals: not the script's. [-0, +0, -] */
static bool is_own_metatable(lua_State *L, int index) {
    bool own = false;
    index = lua_absindex(L, index);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        own = own || lua_tocfunction(L, -1) == shim_image_read_missing;
    return own;
}

/* What the script changed in one library. [-0, +0, e] */
static void put_library(encoder *e, const pristine_library *pristine) {
    lua_State *L = e->L;
    lua_pushstring(L, pristine->name);
    if (lua_rawget(L, e->libraries) != LUA_TTABLE) {
        lua_pop(L, 1);
        return;
    }
    int library = lua_gettop(L);
    for (size_t i = 0; i < pristine->count; i++) {
        const pristine_entry *entry = &pristine->entries[i];
        lua_pushlstring(L, entry->key, entry->key_length);
        lua_pushvalue(L, -1);
        lua_rawget(L, library);
        if (!shim_image_is_pristine(L, -1, e->libraries, entry))
            put_change(e, library);
        lua_settop(L, library);
    }
    for (lua_pushnil(L); lua_next(L, library); lua_pop(L, 1)) {
        size_t length;
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tolstring(L, -2, &length) : NULL;
        if (key == NULL || shim_image_pristine_find(pristine, key, length) == NULL)
            put_change(e, library);
    }
    if (lua_getmetatable(L, library) && !is_own_metatable(L, -1)) {
        static const item nowhere = {.edge = EDGE_ROOT};
        size_t before = e->meta.used;
        if (!shim_image_put_value(e, &e->meta, library, &nowhere) || !shim_image_put_value(e, &e->meta, -1, &nowhere))
            e->meta.used = before;
    }
    lua_settop(L, library - 1);
}

/* What the script added to a module of the embedded library, or replaced there. Only modules: the library's inner
 * tables are its state. stack: the module, its name as a string (top). [-0, +0, e] */
static void put_stdlib_additions(encoder *e) {
    lua_State *L = e->L;
    int module = lua_gettop(L) - 1;
    for (lua_pushnil(L); lua_next(L, module); lua_pop(L, 1)) {
        int value = lua_gettop(L), type = lua_type(L, value);
        if (lua_type(L, value - 1) != LUA_TSTRING || type == LUA_TLIGHTUSERDATA || type == LUA_TUSERDATA ||
            lua_iscfunction(L, value))
            continue;
        lua_pushfstring(L, "%s.%s", lua_tostring(L, module + 1), lua_tostring(L, value - 1));
        lua_rawget(L, e->stdlib);
        bool known = lua_rawequal(L, -1, value) || shim_image_is_named(e, e->stdlib, value);
        lua_pop(L, 1);
        if (!known)
            put_set(e, module, 0, value - 1, value);
    }
}

/* [-0, +0, e] */
static void put_modules(encoder *e) {
    lua_State *L = e->L;
    int top = lua_gettop(L);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_modules) == LUA_TTABLE) {
        for (lua_pushnil(L); lua_next(L, top + 1); lua_settop(L, top + 2)) {
            bool embedded = false;
            if (lua_type(L, e->stdlib) == LUA_TTABLE) {
                lua_pushvalue(L, -1); /* stack: modules, module name, value, library's name */
                embedded = lua_rawget(L, e->stdlib) == LUA_TSTRING;
                if (embedded && lua_type(L, top + 3) == LUA_TTABLE)
                    put_stdlib_additions(e);
            }
            if (!embedded)
                put_set(e, 0, IMAGE_MODULES, top + 2, top + 3);
        }
    }
    lua_settop(L, top);
}

/* Globals that did not reach this state either, unless the script has set them since. [-0, +0, e] */
static void put_still_missing(encoder *e) {
    lua_State *L = e->L;
    int top = lua_gettop(L);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_missing) == LUA_TTABLE) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
        for (lua_pushnil(L); lua_next(L, top + 1); lua_pop(L, 1)) {
            if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
                continue;
            lua_pushvalue(L, -2);
            if (lua_rawget(L, top + 2) == LUA_TNIL)
                put_missing(e, lua_tostring(L, -3), lua_tostring(L, -2));
            lua_pop(L, 1);
        }
    }
    lua_settop(L, top);
}

/* [-0, +0, e] */
void shim_image_put_surroundings(encoder *e) {
    const pristine *all = shim_image_pristine();
    if (lua_type(e->L, e->libraries) == LUA_TTABLE)
        for (size_t i = 0; i < all->count; i++)
            put_library(e, &all->libraries[i]);
    put_modules(e);
    put_still_missing(e);
}
