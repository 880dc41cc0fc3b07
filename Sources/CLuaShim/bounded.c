/* What the bounded functions share: making room, the size that is allowed, and the building of strings. */
#include "bounded.h"
#include <string.h>

int shim_give_way(lua_State *L, lua_KContext context, lua_KFunction after) {
    shim_vm *vm = vm_of(L);
    lua_sethook(L, NULL, 0, 0);
    shim_note_preemption(L, vm);
    vm->op = SHIM_OP_PREEMPT;
    return lua_yieldk(L, 0, context, after);
}

void shim_check_size(lua_State *L, size_t size) {
    size_t limit = vm_of(L)->allocator.limit;
    if (size >= (size_t)LUA_MAXINTEGER || (limit != 0 && size > limit)) luaL_error(L, "resulting string too large");
}

/* ---- Builders ---- */

static const char key_builder = 0; /* in the registry: the metatable of their userdata */

/* Gives the bytes back. [-0, +0, -] */
static void release(lua_State *L, builder *b) {
    if (b->bytes == b->first) return;
    void *allocator;
    lua_Alloc allocate = lua_getallocf(L, &allocator);
    allocate(allocator, b->bytes, b->capacity, 0);
    b->bytes = b->first;
    b->used = 0;
    b->capacity = sizeof b->first;
}

/* __gc: of a builder whose function raised. Runs nothing of a script's. [-1, +0, -] */
static int collect(lua_State *L) {
    release(L, lua_touserdata(L, 1));
    return 0;
}

builder *builder_at(lua_State *L, int slot) { return lua_touserdata(L, slot); }

builder *builder_anchor(lua_State *L, builder *b) {
    if (b->anchored) return b;
    luaL_checkstack(L, 3, "too many values");
    builder *kept = lua_newuserdatauv(L, sizeof *kept, 0);
    memcpy(kept, b, offsetof(builder, first));
    memcpy(kept->first, b->first, b->used);
    kept->bytes = kept->first; /* what is larger is anchored already */
    kept->anchored = true;
    lua_replace(L, kept->slot);
    return kept;
}

builder *builder_grow(lua_State *L, builder *b, size_t more) {
    if (more > (size_t)LUA_MAXINTEGER - b->used) luaL_error(L, "buffer too large");
    size_t wanted = b->used + more;
    shim_check_size(L, wanted);
    b = builder_anchor(L, b);
    if (b->bytes == b->first) { /* from now on there is something to give back */
        luaL_checkstack(L, 4, "too many values");
        if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key_builder) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_createtable(L, 0, 1);
            lua_pushcfunction(L, collect);
            lua_setfield(L, -2, "__gc");
            lua_pushvalue(L, -1);
            lua_rawsetp(L, LUA_REGISTRYINDEX, &key_builder);
        }
        lua_setmetatable(L, b->slot);
    }
    size_t capacity = b->capacity + b->capacity / 2, limit = vm_of(L)->allocator.limit;
    if (limit != 0 && capacity > limit) capacity = limit;
    if (capacity < wanted) capacity = wanted;
    void *allocator;
    lua_Alloc allocate = lua_getallocf(L, &allocator);
    bool was_first = b->bytes == b->first;
    char *bytes = was_first ? allocate(allocator, NULL, LUA_TNONE, capacity)
                            : allocate(allocator, b->bytes, b->capacity, capacity);
    if (bytes == NULL) luaL_error(L, "not enough memory");
    if (was_first) memcpy(bytes, b->first, b->used);
    b->bytes = bytes;
    b->capacity = capacity;
    return b;
}

void builder_finish(lua_State *L, builder *b) {
    lua_pushlstring(L, b->bytes, b->used);
    if (b->anchored) release(L, b);
}
