/* One value's deadline: the stage option `timeout`.
 *
 * The function of such a stage is wrapped, so the loops of driver.c and driver_chain.c cost nothing where there is no
 * timeout. The wrapper notes when the value's time is over; the host makes a context of it only if the function waits,
 * or asks for its context. A function that still computes SHIM_GRACE later is found by the interrupt, at the end of a
 * slice: on the thread that runs it, so what is decided is about the value that runs now.
 *
 * Upvalues of the wrapper: 1 the driver, 2 the script's function, 3 its stage in a chain, 4 there: the value it has. */
#include "driver.h"

enum { DRIVER = 1, FUNCTION = 2, LINK = 3, VALUE = 4 };
enum { SHIM_GRACE = 10 * 1000 * 1000 };

static inline int length_of(const shim_driver *d) { return d->links != NULL ? d->length : 1; }

bool shim_has_value(const shim_driver *d) {
    for (int i = 0; i < length_of(d); i++)
        if (d->limits[i].deadline != 0) return true;
    return false;
}

void shim_value_end(lua_State *L, shim_driver *d, int link) {
    for (int i = link; i < length_of(d); i++) {
        d->limits[i].deadline = 0;
        d->limits[i].active = false;
    }
    if (d->entered > link) vm_of(L)->host->value_ended(vm_of(L), link);
}

/* A value comes to a stage of a chain, or to the only one. What a stage behind it had is over: a coroutine may have left
 * it there. [-0, +0, -] */
static void begin(lua_State *L, shim_driver *d, int link) {
    shim_value_end(L, d, link);
    d->limits[link].active = true;
    d->limits[link].turn++;
    int64_t timeout = d->limits[link].timeout;
    if (timeout == 0) return;
    int64_t now = vm_of(L)->host->clock(vm_of(L));
    d->limits[link].deadline = now > INT64_MAX - timeout ? INT64_MAX : now + timeout;
    d->fresh = true;
}

bool shim_value_is_overdue(shim_vm *vm) {
    shim_driver *d = vm->limited;
    if (d == NULL || d->limits == NULL || d->owner != vm->base) return false;
    if (d->overdue) return true;
    int link = -1;
    for (int i = 0; i < length_of(d); i++) {
        int64_t deadline = d->limits[i].deadline;
        if (deadline != 0 && (link < 0 || deadline <= d->limits[link].deadline)) link = i;
    }
    if (link < 0) return false;
    /* One that was waiting until its deadline, or longer, has its time from then on. */
    int64_t since = d->limits[link].deadline > d->since ? d->limits[link].deadline : d->since;
    if (vm->host->clock(vm) - SHIM_GRACE < since) return false;
    d->overdue = true;
    d->fault = link;
    return true;
}

int shim_value_stop(lua_State *L) {
    shim_vm *vm = vm_of(L);
    if (vm->stopped_at[0] == '\0') shim_where(L, vm->stopped_at, sizeof vm->stopped_at);
    if (!shim_can_wait(L))
        return luaL_error(L, "stopped by the host"); /* whoever called emit is stopped at its next instruction */
    vm_of(L)->op = SHIM_OP_KILL;
    return lua_yield(L, 0);
}

/* The script's function has returned its one result. [-0, +1, e] */
static int done(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    shim_driver *d = lua_touserdata(L, lua_upvalueindex(DRIVER));
    if (d->overdue)
        return shim_value_stop(L);
    shim_value_end(L, d, (int)lua_tointeger(L, lua_upvalueindex(LINK)));
    return 1;
}

/* In place of the script's function. [-n, +1, e] */
static int timed(lua_State *L) {
    shim_driver *d = lua_touserdata(L, lua_upvalueindex(DRIVER));
    int link = (int)lua_tointeger(L, lua_upvalueindex(LINK));
    if (d->links != NULL) { /* after the state of a scan or a reduce */
        int stage = d->links[link].stage;
        lua_pushvalue(L, stage == SHIM_STAGE_SCAN || stage == SHIM_STAGE_REDUCE ? 2 : 1);
        lua_replace(L, lua_upvalueindex(VALUE));
    }
    begin(L, d, link);
    lua_pushvalue(L, lua_upvalueindex(FUNCTION));
    lua_insert(L, 1);
    lua_callk(L, lua_gettop(L) - 1, 1, 0, done);
    return done(L, LUA_OK, 0);
}

void shim_limit_function(lua_State *L, shim_driver *d, int link) {
    const shim_limit *limit = &d->limits[link];
    if (limit->timeout == 0 && (d->links == NULL || (limit->cpu == 0 && limit->output == 0))) return;
    lua_pushlightuserdata(L, d);
    lua_insert(L, -2);
    lua_pushinteger(L, link);
    lua_pushnil(L);
    lua_pushcclosure(L, timed, 4);
}

void shim_push_limited_value(lua_State *L, shim_driver *d) {
    shim_push_chain_function(L, d, d->fault);
    if (lua_getupvalue(L, -1, VALUE) == NULL) lua_pushnil(L);
    lua_remove(L, -2);
}
