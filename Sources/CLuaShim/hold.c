/* Functions of the host that are closures: a method that holds something while it calls a function of the script's, and a
 * function that knows its object. */
#include "internal.h"

/* What follows the script's function: its results; what is held is closed on the way out, as it is where the function
 * raises. stack: held, results... [variable, e] */
static int called(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    return lua_gettop(L) - 1;
}

/* stack: object, function, arguments..., held or nil, reason. [variable, e] */
static int acquired(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    if (lua_isnil(L, -2))
        return 2;
    lua_pop(L, 1);
    lua_replace(L, 1); /* stack: held, function, arguments... */
    lua_toclose(L, 1);
    /* the function and its arguments are called as a copy, the held value stays below them */
    lua_callk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, called);
    return called(L, LUA_OK, 0);
}

/* object:run(fn, ...). Upvalue: the callback that acquires. [variable, e] */
static int hold(lua_State *L) {
    if (!lua_isfunction(L, 2)) {
        lua_pushfstring(L, "argument 1 of run expected a function, got %s", shim_kind_phrase(L, 2));
        lua_replace(L, 1);
        lua_settop(L, 1);
        return shim_call_host(L, vm_of(L)->host->misuse);
    }
    shim_push_callback(L, (shim_callback)(uintptr_t)lua_touserdata(L, lua_upvalueindex(1)));
    lua_pushvalue(L, 1);
    lua_callk(L, 1, 2, 0, acquired);
    return acquired(L, LUA_OK, 0);
}

void shim_push_holding(lua_State *L, shim_callback callback) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)callback);
    lua_pushcclosure(L, hold, 1);
}

/* Upvalues: the callback, its object. [variable, e] */
static int bound(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_insert(L, 1);
    return shim_call_host(L, (shim_callback)(uintptr_t)lua_touserdata(L, lua_upvalueindex(1)));
}

struct binding { shim_callback callback; const shim_type *type; void *ref; };

/* [-1, +1, m] */
static int push_bound_body(lua_State *L) {
    struct binding *b = lua_touserdata(L, 1);
    lua_pushlightuserdata(L, (void *)(uintptr_t)b->callback);
    shim_push_object(L, b->type, b->ref);
    lua_pushcclosure(L, bound, 2);
    return 1;
}

bool shim_push_bound(lua_State *L, shim_callback callback, const shim_type *type, void *ref) {
    struct binding b = {callback, type, ref};
    lua_pushcfunction(L, push_bound_body);
    lua_pushlightuserdata(L, &b);
    return lua_pcall(L, 1, 1, 0) == LUA_OK;
}
