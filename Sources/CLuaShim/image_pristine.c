/* What every fresh state holds, so that an image need not: the sandbox's libraries and globals. The content is
 * recorded once a process, from its first state; the identity of tables and closures in each state's registry. */
#include "image.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

const char shim_key_libraries;

static pthread_mutex_t pristine_lock = PTHREAD_MUTEX_INITIALIZER;
/* Written once under the lock. Every state passes the lock when it is made, so its threads may read without. */
static pristine recorded;

const pristine *shim_image_pristine(void) { return &recorded; }

const pristine *shim_image_pristine_ready(void) {
    pthread_mutex_lock(&pristine_lock);
    bool ready = recorded.count > 0;
    pthread_mutex_unlock(&pristine_lock);
    return ready ? &recorded : NULL;
}

/* ---- In each state ---- */

/* True if the value at `index` is a function that its pointer alone identifies. [-0, +0, -] */
static bool is_light(lua_State *L, int index) {
    if (!lua_iscfunction(L, index))
        return false;
    if (lua_getupvalue(L, index, 1) == NULL)
        return true;
    lua_pop(L, 1);
    return false;
}

/* Names the closures and inner tables of the library on top: map[value] = "name.key". [-0, +0, m] */
static void record_fields(lua_State *L, int map, const char *name) {
    int library = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, library)) { /* stack: key, value */
        int type = lua_type(L, -1);
        if (lua_type(L, -2) == LUA_TSTRING && (type == LUA_TTABLE || (type == LUA_TFUNCTION && !is_light(L, -1)))) {
            lua_pushvalue(L, -1);
            if (lua_rawget(L, map) == LUA_TNIL) {
                lua_pushvalue(L, -2);
                lua_pushfstring(L, "%s.%s", name, lua_tostring(L, -4));
                lua_rawset(L, map);
            }
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
}

/* map[name] = table, map[table] = name, for the table on top. [-1, +0, m] */
static void record_library(lua_State *L, int map, const char *name) {
    lua_pushvalue(L, -1);
    lua_pushstring(L, name);
    lua_rawset(L, map);
    lua_pushstring(L, name);
    lua_insert(L, -2);
    lua_rawset(L, map);
}

void shim_libraries_record(lua_State *L) {
    luaL_checkstack(L, 12, "libraries");
    int top = lua_gettop(L);
    lua_createtable(L, 0, 32);
    int map = top + 1;
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    int globals = top + 2;
    lua_pushvalue(L, globals);
    record_library(L, map, "_G");
    lua_pushnil(L);
    while (lua_next(L, globals)) {
        if (lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TTABLE && !lua_rawequal(L, -1, globals))
            record_library(L, map, lua_tostring(L, -2));
        else
            lua_pop(L, 1);
    }
    /* only now the fields: a library table must not get the name "_G.string" */
    lua_pushnil(L);
    while (lua_next(L, globals)) {
        if (lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TTABLE && !lua_rawequal(L, -1, globals))
            record_fields(L, map, lua_tostring(L, -2));
        lua_pop(L, 1);
    }
    record_fields(L, map, "_G"); /* the globals are on top */
    lua_pushvalue(L, map);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &shim_key_libraries);
    lua_settop(L, top);
}

/* ---- Once a process ---- */

static char *copy_text(const char *text, size_t length) {
    char *copy = malloc(length + 1);
    if (copy != NULL) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

static int compare_keys(const char *a, size_t a_length, const char *b, size_t b_length) {
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order != 0 ? order : (a_length > b_length) - (a_length < b_length);
}

static int compare_entries(const void *a, const void *b) {
    const pristine_entry *x = a, *y = b;
    return compare_keys(x->key, x->key_length, y->key, y->key_length);
}

/* Fills the entry for the key at -2 and the value on top. False: no memory. [-0, +0, -] */
static bool record_entry(lua_State *L, int map, pristine_entry *entry) {
    const char *key = lua_tolstring(L, -2, &entry->key_length);
    entry->key = copy_text(key, entry->key_length);
    entry->type = lua_type(L, -1);
    const char *text = NULL;
    switch (entry->type) {
    case LUA_TBOOLEAN:
        entry->value.boolean = lua_toboolean(L, -1);
        break;
    case LUA_TNUMBER:
        entry->integer = lua_isinteger(L, -1);
        if (entry->integer)
            entry->value.integer = lua_tointeger(L, -1);
        else
            entry->value.number = lua_tonumber(L, -1);
        break;
    case LUA_TSTRING:
        text = lua_tolstring(L, -1, &entry->text_length);
        entry->text = copy_text(text, entry->text_length);
        break;
    case LUA_TFUNCTION:
    case LUA_TTABLE:
        if (entry->type == LUA_TFUNCTION && is_light(L, -1)) {
            entry->value.function = lua_tocfunction(L, -1);
            break;
        }
        lua_pushvalue(L, -1);
        if (lua_rawget(L, map) == LUA_TSTRING) {
            entry->named = true;
            text = lua_tolstring(L, -1, &entry->text_length);
            entry->text = copy_text(text, entry->text_length);
        }
        lua_pop(L, 1);
        break;
    default:
        break;
    }
    return entry->key != NULL && (text == NULL || entry->text != NULL);
}

/* Appends the library named at -2, its table on top. False: no memory. [-0, +0, -] */
static bool record_content(lua_State *L, int map, pristine *all) {
    int table = lua_gettop(L);
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
        count += lua_type(L, -2) == LUA_TSTRING;
    pristine_library *libraries = realloc(all->libraries, (all->count + 1) * sizeof *libraries);
    if (libraries == NULL)
        return false;
    all->libraries = libraries;
    pristine_library *library = &libraries[all->count++];
    *library = (pristine_library){strdup(lua_tostring(L, table - 1)), calloc(count + 1, sizeof(pristine_entry)), 0};
    if (library->name == NULL || library->entries == NULL)
        return false;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            continue;
        if (!record_entry(L, map, &library->entries[library->count++])) {
            lua_settop(L, table);
            return false;
        }
    }
    qsort(library->entries, library->count, sizeof(pristine_entry), compare_entries);
    return true;
}

static void free_pristine(pristine *all) {
    for (size_t i = 0; i < all->count; i++) {
        pristine_library *library = &all->libraries[i];
        for (size_t k = 0; library->entries != NULL && k < library->count; k++) {
            free(library->entries[k].key);
            free(library->entries[k].text);
        }
        free(library->name);
        free(library->entries);
    }
    free(all->libraries);
    *all = (pristine){NULL, 0};
}

void shim_pristine_record(lua_State *L) {
    luaL_checkstack(L, 12, "libraries");
    int top = lua_gettop(L), metatable = top + 3;
    bool complete = true;
    lua_pushliteral(L, "");
    lua_pushliteral(L, IMAGE_STRING_METATABLE);
    lua_getmetatable(L, top + 1);
    /* nothing between lock and unlock raises: only lua_next, raw reads and malloc */
    pthread_mutex_lock(&pristine_lock);
    if (recorded.count == 0) {
        pristine all = {NULL, 0};
        lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_libraries);
        int map = metatable + 1;
        for (lua_pushnil(L); complete && lua_next(L, map); lua_settop(L, map + 1))
            if (lua_type(L, -2) == LUA_TSTRING)
                complete = record_content(L, map, &all);
        lua_settop(L, map);
        lua_pushvalue(L, metatable - 1);
        lua_pushvalue(L, metatable);
        complete = complete && record_content(L, map, &all);
        if (complete)
            recorded = all;
        else
            free_pristine(&all);
    }
    pthread_mutex_unlock(&pristine_lock);
    lua_settop(L, top);
    if (!complete)
        luaL_error(L, "not enough memory");
}

const pristine_entry *shim_image_pristine_find(const pristine_library *library, const char *key, size_t length) {
    size_t low = 0, high = library->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const pristine_entry *entry = &library->entries[middle];
        int order = compare_keys(key, length, entry->key, entry->key_length);
        if (order == 0)
            return entry;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

bool shim_image_is_pristine(lua_State *L, int index, int libraries, const pristine_entry *entry) {
    if (lua_type(L, index) != entry->type)
        return false;
    index = lua_absindex(L, index);
    size_t length;
    const char *text;
    bool same;
    switch (entry->type) {
    case LUA_TBOOLEAN:
        return (bool)lua_toboolean(L, index) == entry->value.boolean;
    case LUA_TNUMBER:
        if (entry->integer != (bool)lua_isinteger(L, index))
            return false;
        return entry->integer ? lua_tointeger(L, index) == entry->value.integer
                              : lua_tonumber(L, index) == entry->value.number;
    case LUA_TSTRING:
        text = lua_tolstring(L, index, &length);
        return length == entry->text_length && memcmp(text, entry->text, length) == 0;
    case LUA_TFUNCTION:
    case LUA_TTABLE:
        if (!entry->named)
            return is_light(L, index) && lua_tocfunction(L, index) == entry->value.function;
        lua_pushvalue(L, index);
        same = lua_rawget(L, libraries) == LUA_TSTRING && strcmp(lua_tostring(L, -1), entry->text) == 0;
        lua_pop(L, 1);
        return same;
    default:
        return false;
    }
}
