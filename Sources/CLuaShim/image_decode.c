/* Rebuilds an image in a fresh state. Three passes: all objects are made, then metatables set, then tables and
 * upvalues filled. A metatable is set while it is still empty, so that Lua never sees a __gc in it: a script cannot
 * have finalizers, and a copy must not gain one. */
#include "image.h"
#include <string.h>

typedef struct owner { uint32_t function; int upvalue; } owner; /* the first function that has a cell */

typedef struct decoder {
    const uint8_t *bytes;
    size_t length;
    /* what is being read */
    const uint8_t *at, *end;
    lua_State *L;
    const uint8_t *refs;
    image_header header;
    bool asked_stdlib;
    int list, modules; /* stack indices: number -> object; the modules' table */
} decoder;

/* ---- Bytes ---- */

/* [-0, +0, v] */
static const uint8_t *take(decoder *d, uint64_t n) {
    if ((uint64_t)(d->end - d->at) < n)
        luaL_error(d->L, "image: truncated");
    const uint8_t *bytes = d->at;
    d->at += n;
    return bytes;
}
static uint8_t take_byte(decoder *d) { return *take(d, 1); }

static uint32_t take_u32(decoder *d) {
    uint32_t value;
    memcpy(&value, take(d, sizeof value), sizeof value);
    return value;
}

static uint64_t take_u64(decoder *d) {
    uint64_t value;
    memcpy(&value, take(d, sizeof value), sizeof value);
    return value;
}

static void *take_pointer(decoder *d) {
    void *pointer;
    memcpy(&pointer, take(d, sizeof pointer), sizeof pointer);
    return pointer;
}

/* ---- Values ---- */

/* Pushes a table of the registry, made where it is not there. [-0, +1, m] */
static void push_registry_table(lua_State *L, const char *key) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, key) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 4);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

/* Loads the embedded library if that was not asked for yet. [-0, +0, e] */
static bool ask_stdlib(decoder *d) {
    if (d->asked_stdlib)
        return false;
    d->asked_stdlib = true;
    shim_need_stdlib(d->L);
    return true;
}

/* Pushes one value. [-0, +1, e] */
static void push_value(decoder *d) {
    lua_State *L = d->L;
    uint32_t number;
    lua_Integer integer;
    lua_Number real;
    lua_CFunction function;
    uint8_t tag = take_byte(d);
    switch (tag) {
    case IMAGE_NIL:
        lua_pushnil(L);
        break;
    case IMAGE_FALSE:
    case IMAGE_TRUE:
        lua_pushboolean(L, tag == IMAGE_TRUE);
        break;
    case IMAGE_NULL:
        lua_pushlightuserdata(L, NULL);
        break;
    case IMAGE_INTEGER:
        memcpy(&integer, take(d, sizeof integer), sizeof integer);
        lua_pushinteger(L, integer);
        break;
    case IMAGE_FLOAT:
        memcpy(&real, take(d, sizeof real), sizeof real);
        lua_pushnumber(L, real);
        break;
    case IMAGE_STRING:
        number = take_u32(d);
        lua_pushlstring(L, (const char *)take(d, number), number);
        break;
    case IMAGE_CFUNCTION:
        memcpy(&function, take(d, sizeof function), sizeof function);
        lua_pushcfunction(L, function);
        break;
    case IMAGE_OBJECT:
        lua_rawgeti(L, d->list, take_u32(d));
        break;
    case IMAGE_GLOBALS:
        lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
        break;
    case IMAGE_MODULES:
        lua_pushvalue(L, d->modules);
        break;
    case IMAGE_ARRAY:
        if (lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_array) == LUA_TNIL && ask_stdlib(d)) {
            lua_pop(L, 1);
            lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_array);
        }
        break;
    default:
        luaL_error(L, "image: unknown value %d", tag);
    }
}

/* ---- First pass: objects ---- */

/* Pushes what the name stands for in a fresh state: "string", "_G.print". [-0, +1, e] */
static void push_library_value(decoder *d) {
    lua_State *L = d->L;
    uint32_t length = take_u32(d);
    const char *name = (const char *)take(d, length), *dot = memchr(name, '.', length);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_libraries);
    lua_pushlstring(L, name, dot != NULL ? (size_t)(dot - name) : length);
    if (lua_type(L, -2) == LUA_TTABLE && lua_rawget(L, -2) == LUA_TTABLE && dot != NULL) {
        lua_pushlstring(L, dot + 1, length - (size_t)(dot + 1 - name));
        lua_rawget(L, -2);
        lua_remove(L, -2);
    }
    lua_remove(L, -2);
    if (lua_type(L, -1) != LUA_TTABLE && lua_type(L, -1) != LUA_TFUNCTION) {
        lua_pushlstring(L, name, length);
        luaL_error(L, "image: unknown library value %s", lua_tostring(L, -1));
    }
}

/* [-0, +1, e] */
static void push_stdlib_value(decoder *d) {
    lua_State *L = d->L;
    uint32_t length = take_u32(d);
    lua_pushlstring(L, (const char *)take(d, length), length);
    int name = lua_gettop(L);
    do {
        lua_settop(L, name);
        if (lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_stdlib) == LUA_TTABLE) {
            lua_pushvalue(L, name);
            lua_rawget(L, -2);
        }
    } while (lua_isnil(L, -1) && ask_stdlib(d));
    if (lua_isnil(L, -1))
        luaL_error(L, "image: unknown library value %s", lua_tostring(L, name));
    lua_replace(L, name);
    lua_settop(L, name);
}

/* Pushes the function of the next record, its upvalues being those of the cells. The first function of a cell owns
 * it; the others join that. [-0, +1, e] */
static void push_function(decoder *d, uint32_t number, owner *owners) {
    lua_State *L = d->L;
    uint64_t length = take_u64(d);
    const char *dump = (const char *)take(d, length);
    if (luaL_loadbufferx(L, dump, length, "=image", "b") != LUA_OK)
        lua_error(L);
    int upvalues = take_byte(d);
    for (int i = 1; i <= upvalues; i++) {
        uint32_t cell = take_u32(d);
        if (cell == 0 || cell > d->header.cells)
            luaL_error(L, "image: unknown cell");
        owner *o = &owners[cell - 1];
        if (o->function == 0) {
            *o = (owner){number, i};
        } else if (o->function == number) { /* one function, one variable twice */
            lua_upvaluejoin(L, -1, i, -1, o->upvalue);
        } else {
            lua_rawgeti(L, d->list, o->function);
            lua_upvaluejoin(L, -2, i, -1, o->upvalue);
            lua_pop(L, 1);
        }
    }
}

/* Makes object `number` and puts it in the list. [-0, +0, e] */
static void create(decoder *d, uint32_t number, owner *owners) {
    lua_State *L = d->L;
    uint64_t length;
    uint32_t array, pairs, position;
    const shim_type *type;
    void *pointer;
    uint8_t kind = take_byte(d);
    switch (kind) {
    case IMAGE_TABLE:
        array = take_u32(d);
        pairs = take_u32(d);
        lua_createtable(L, (int)array, (int)pairs);
        break;
    case IMAGE_FUNCTION:
        push_function(d, number, owners);
        break;
    case IMAGE_LONG_STRING:
        length = take_u64(d);
        lua_pushlstring(L, (const char *)take(d, length), length);
        break;
    case IMAGE_LIBRARY:
        push_library_value(d);
        break;
    case IMAGE_STDLIB:
        push_stdlib_value(d);
        break;
    case IMAGE_CALLBACK:
        shim_push_callback(L, (shim_callback)(uintptr_t)take_pointer(d));
        break;
    case IMAGE_HOST:
        type = take_pointer(d);
        position = take_u32(d);
        if (position >= d->header.refs)
            luaL_error(L, "image: truncated");
        memcpy(&pointer, d->refs + position * sizeof pointer, sizeof pointer);
        shim_push_object(L, type, pointer);
        break;
    default:
        luaL_error(L, "image: unknown object %d", kind);
    }
    lua_rawseti(L, d->list, number);
}

/* ---- Third pass: content ---- */

/* [-0, +0, e] */
static void fill_table(decoder *d) {
    lua_State *L = d->L;
    lua_rawgeti(L, d->list, take_u32(d));
    uint32_t run = take_u32(d);
    for (uint32_t i = 1; i <= run; i++) {
        push_value(d);
        lua_rawseti(L, -2, i);
    }
    for (uint32_t pairs = take_u32(d); pairs > 0; pairs--) {
        push_value(d);
        push_value(d);
        lua_rawset(L, -3);
    }
    lua_pop(L, 1);
}

/* [-0, +0, e] */
static void fill_cell(decoder *d, const owner *owners) {
    lua_State *L = d->L;
    uint32_t cell = take_u32(d);
    if (cell == 0 || cell > d->header.cells)
        luaL_error(L, "image: unknown cell");
    const owner *o = &owners[cell - 1];
    lua_rawgeti(L, d->list, o->function);
    push_value(d);
    if (lua_setupvalue(L, -2, o->upvalue) == NULL)
        luaL_error(L, "image: unknown cell");
    lua_pop(L, 1);
}

/* Reading what stayed behind raises there, if the script's globals have no metatable of their own. [-0, +0, m] */
static void guard_missing(lua_State *L) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    if (lua_getmetatable(L, -1)) {
        lua_pop(L, 2);
        return;
    }
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "__index");
    lua_pushcfunction(L, shim_image_read_missing);
    lua_rawset(L, -3);
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

int shim_image_read_missing(lua_State *L) {
    lua_settop(L, 2);
    if (lua_type(L, 2) == LUA_TSTRING && lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_missing) == LUA_TTABLE) {
        lua_pushvalue(L, 2);
        if (lua_rawget(L, 3) == LUA_TSTRING)
            return luaL_error(L, "global '%s' is %s, which stayed in its worker", lua_tostring(L, 2),
                              lua_tostring(L, -1));
    }
    lua_pushnil(L);
    return 1;
}

/* ---- The whole ---- */

/* Reads the next section. */
static void enter(decoder *d, uint64_t length) {
    d->at = d->end;
    d->end = d->bytes + d->length;
    d->end = take(d, length) + length;
    d->at = d->end - length;
}

/* Under lua_pcall. stack: decoder. [-1, +roots, e] */
static int decode_body(lua_State *L) {
    decoder *d = lua_touserdata(L, 1);
    d->L = L;
    d->at = d->bytes;
    d->end = d->bytes + d->length;
    memcpy(&d->header, take(d, sizeof d->header), sizeof d->header);
    if (d->header.magic != IMAGE_MAGIC)
        return luaL_error(L, "image: not an image");
    luaL_checkstack(L, (int)d->header.roots + 30, "image");
    d->refs = take(d, (uint64_t)d->header.refs * sizeof(void *));
    lua_createtable(L, (int)d->header.objects, 0);
    d->list = lua_gettop(L);
    push_registry_table(L, &shim_key_modules);
    d->modules = lua_gettop(L);
    owner *owners = lua_newuserdatauv(L, d->header.cells * sizeof *owners + 1, 0);
    if (d->header.cells > 0)
        memset(owners, 0, d->header.cells * sizeof *owners);
    lua_createtable(L, (int)d->header.roots, 0);
    int roots = lua_gettop(L), root = 0;

    d->end = d->at;
    enter(d, d->header.create);
    for (uint32_t i = 1; i <= d->header.objects; i++)
        create(d, i, owners);
    enter(d, d->header.meta);
    while (d->at < d->end) {
        push_value(d);
        push_value(d);
        lua_setmetatable(L, -2);
        lua_pop(L, 1);
    }
    enter(d, d->header.fill);
    while (d->at < d->end) {
        switch (take_byte(d)) {
        case IMAGE_FILL_TABLE:
            fill_table(d);
            break;
        case IMAGE_FILL_CELL:
            fill_cell(d, owners);
            break;
        case IMAGE_FILL_SET:
            push_value(d);
            push_value(d);
            push_value(d);
            lua_rawset(L, -3);
            lua_pop(L, 1);
            break;
        case IMAGE_FILL_ROOT:
            push_value(d);
            lua_rawseti(L, roots, ++root);
            break;
        case IMAGE_FILL_MISSING:
            push_registry_table(L, &shim_key_missing);
            push_value(d);
            push_value(d);
            lua_rawset(L, -3);
            lua_pop(L, 1);
            break;
        default:
            return luaL_error(L, "image: unknown record");
        }
    }
    if (d->header.missing > 0)
        guard_missing(L);
    for (int i = 1; i <= root; i++)
        lua_rawgeti(L, roots, i);
    return root;
}

bool shim_image_decode(lua_State *L, const uint8_t *bytes, size_t length) {
    decoder d = {.bytes = bytes, .length = length};
    bool collects = lua_gc(L, LUA_GCISRUNNING);
    lua_gc(L, LUA_GCSTOP); /* nothing here is garbage; at the limit Lua still collects */
    lua_pushcfunction(L, decode_body);
    lua_pushlightuserdata(L, &d);
    bool done = lua_pcall(L, 1, LUA_MULTRET, 0) == LUA_OK;
    if (collects)
        lua_gc(L, LUA_GCRESTART);
    return done;
}

void shim_image_release(const uint8_t *bytes, size_t length, void (*release)(void *)) {
    image_header header;
    if (length < sizeof header)
        return;
    memcpy(&header, bytes, sizeof header);
    for (uint32_t i = 0; i < header.refs && sizeof header + (i + 1) * sizeof(void *) <= length; i++) {
        void *ref;
        memcpy(&ref, bytes + sizeof header + i * sizeof ref, sizeof ref);
        release(ref);
    }
}
