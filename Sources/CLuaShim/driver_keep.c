/* What a second try of a value needs: the stage option `on_error` with `retry`, and dead letters of a chain.
 *
 * The function of such a stage is wrapped, so the loops of driver.c and driver_chain.c cost nothing where there is no such
 * option. The wrapper keeps what a try that fails may have changed: the state of a scan or a reduce, and behind the first stage
 * of a chain the value, which exists nowhere else; elsewhere the value is decoded anew from its message. It also holds
 * back what a flat_map emits until its function has returned: as messages, which the wrapper then passes on, or in a
 * chain as copies in a list, which it returns, and driver_chain.c takes them through the stages behind.
 *
 * Upvalues of the wrapper: 1 the driver, 2 the script's function, 3 its stage in a chain, 4 of a flat_map: its emit. */
#include "driver.h"
#include "record.h"

enum { DRIVER = 1, FUNCTION = 2, LINK = 3, EMIT = 4 };
enum { SHIM_HELD_BYTES = 64 << 20 }; /* as a link of a pipeline */

static inline int form_of(const shim_driver *d, int link) { return d->links != NULL ? d->links[link].stage : d->stage; }
static inline bool folds(int form) { return form == SHIM_STAGE_SCAN || form == SHIM_STAGE_REDUCE; }

/* ---- Copies ---- */

/* Pushes the copy of the value at `index`; of a table that was not met before an empty one, which is noted in the list to
 * be filled. A record that nobody has changed stays one. [-0, +1, m] */
static void push_twin(lua_State *L, int index, int twins, int list) {
    index = lua_absindex(L, index);
    lua_pushvalue(L, index);
    if (!lua_istable(L, index))
        return;
    if (lua_rawget(L, twins) != LUA_TNIL)
        return;
    lua_pop(L, 1);
    shim_record *r = shim_record_of(L, index);
    if (r != NULL) {
        shim_vm *vm = vm_of(L);
        shim_buffer *scratch = shim_scratch(vm);
        scratch->used = 0;
        if (shim_encode_raising(L, index, scratch, &vm->problem) == 0) {
            const msg_header *message = (const msg_header *)scratch->bytes;
            shim_decode(L, message);
            if (message->flags & MSG_HAS_OBJECTS) shim_message_retain(message, vm->host->release);
            lua_pushvalue(L, index);
            lua_pushvalue(L, -2);
            lua_rawset(L, twins);
            return;
        }
        shim_record_settle(L, index, r);
    }
    lua_newtable(L);
    if (lua_getmetatable(L, index)) lua_setmetatable(L, -2);
    lua_pushvalue(L, index);
    lua_pushvalue(L, -2);
    lua_rawset(L, twins);
    lua_pushvalue(L, index);
    lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
}

void shim_push_copy(lua_State *L, int index) {
    index = lua_absindex(L, index);
    if (!lua_istable(L, index)) {
        lua_pushvalue(L, index);
        return;
    }
    luaL_checkstack(L, 16, NULL);
    lua_newtable(L);
    int twins = lua_gettop(L);
    lua_newtable(L);
    int list = twins + 1;
    push_twin(L, index, twins, list);
    for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, list); i++) { /* no recursion: it may be deep, or a cycle */
        lua_rawgeti(L, list, i);
        lua_pushvalue(L, -1);
        lua_rawget(L, twins);
        int source = lua_gettop(L) - 1;
        lua_pushnil(L);
        while (lua_next(L, source)) { /* source, copy, key, value */
            push_twin(L, -2, twins, list);
            push_twin(L, -2, twins, list);
            lua_rawset(L, source + 1);
            lua_pop(L, 1);
        }
        lua_settop(L, source - 1);
    }
    lua_replace(L, twins);
    lua_settop(L, twins);
}

/* ---- What flat_map emits ---- */

static const char returned[] = "emit: the function that it was given to has returned, and with retry nothing is passed on "
                               "after that";

void shim_drop_held(shim_driver *d) {
    for (size_t at = d->held_at; d->held_objects && at < d->retained.used;) {
        const msg_header *message = (const msg_header *)(d->retained.bytes + at);
        if (message->flags & MSG_HAS_OBJECTS) shim_message_retain(message, d->release);
        at += message->size;
    }
    d->retained.used = 0;
    d->held_at = 0;
    d->held_objects = false;
    d->holding = false;
}

/* emit(value) of a flat_map that holds: true, or nil, "closed". Upvalue: the driver. [-1, +1 or 2, e] */
static int hold(lua_State *L) {
    shim_driver *d = lua_touserdata(L, lua_upvalueindex(1));
    check_owner(L, d);
    lua_settop(L, 1);
    if (d->closed)
        return emit_closed(L, d, true);
    if (!d->holding)
        return luaL_error(L, "%s", returned);
    size_t start = d->retained.used;
    if (shim_encode_raising(L, 1, &d->retained, &d->problem) != 0)
        return luaL_error(L, "%s", d->problem.text);
    if (d->limits != NULL && !shim_count_output(vm_of(L), d->retained.used - start)) {
        shim_message_release((const msg_header *)(d->retained.bytes + start), vm_of(L)->host->release);
        d->retained.used = start;
        return shim_value_stop(L);
    }
    if (((const msg_header *)(d->retained.bytes + start))->flags & MSG_HAS_OBJECTS) {
        d->held_objects = true;
        d->release = vm_of(L)->host->release;
    }
    if (d->retained.used > SHIM_HELD_BYTES)
        return luaL_error(L, "emit: with retry what a value makes is held until the function returns, and this is more than "
                             "64MB");
    lua_pushboolean(L, 1);
    return 1;
}

/* The function has returned: what it emitted goes out, as there is room. [-0, +1, e] */
static int pass_on(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    shim_driver *d = lua_touserdata(L, lua_upvalueindex(DRIVER));
    while (!d->closed && d->held_at < d->retained.used) {
        d->late = 0;
        if (!has_room(d)) {
            d->want = SHIM_WANT_OUTPUT;
            vm_of(L)->op = SHIM_OP_WAIT;
            return lua_yieldk(L, 0, 0, pass_on);
        }
        const msg_header *message = (const msg_header *)(d->retained.bytes + d->held_at);
        if (!shim_buffer_append(&d->out, message, message->size))
            return luaL_error(L, "not enough memory");
        d->held_at += message->size; /* its objects are the output's now */
        d->objects |= (message->flags & MSG_HAS_OBJECTS) != 0;
        d->count++;
        d->emitted++;
        d->created++;
        if (d->rendezvous) {
            d->want = SHIM_WANT_OUTPUT;
            vm_of(L)->op = SHIM_OP_WAIT;
            return lua_yieldk(L, 0, 0, pass_on);
        }
    }
    shim_drop_held(d);
    lua_pushnil(L);
    return 1;
}

/* ---- What flat_map emits in a chain ---- */

enum { LIST = 2, OWN = 3 };

/* emit(value) of a flat_map that holds: true, or nil, "closed". The value goes on as it is now, whatever its function does
 * with it later. Upvalues: 1 the driver, 2 the list, nil once the function has returned, 3 its stage. [-1, +1 or 2, e] */
static int hold_copy(lua_State *L) {
    shim_driver *d = lua_touserdata(L, lua_upvalueindex(DRIVER));
    int own = (int)lua_tointeger(L, lua_upvalueindex(OWN));
    check_owner(L, d);
    lua_settop(L, 1);
    if (d->closed)
        return emit_closed(L, d, own == 0);
    if (lua_isnil(L, lua_upvalueindex(LIST)))
        return luaL_error(L, "%s", returned);
    if (lua_isnil(L, 1) || own == d->length - 1) { /* what cannot leave raises here, where it is made */
        const msg_header *message = shim_encode_scratch(L, 1, vm_of(L));
        if (message == NULL)
            return luaL_error(L, "%s", shim_encode_problem(vm_of(L)));
        shim_message_release(message, vm_of(L)->host->release);
    }
    shim_push_copy(L, 1);
    lua_rawseti(L, lua_upvalueindex(LIST), (lua_Integer)lua_rawlen(L, lua_upvalueindex(LIST)) + 1);
    lua_pushboolean(L, 1);
    return 1;
}

/* The script's function has returned. Stack: value, emit, list, the emit that holds, result. [-0, +1, -] */
static int held(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    lua_pushnil(L);
    lua_setupvalue(L, 4, LIST);
    lua_settop(L, 3);
    return 1;
}

/* Calls the script's function with the value at 1 and an emit that holds. [-2, +1, e] */
static int call_holding(lua_State *L, shim_driver *d, int link) {
    d->keeps[link].gone = false;
    lua_newtable(L);
    lua_pushlightuserdata(L, d);
    lua_pushvalue(L, 3);
    lua_pushinteger(L, link);
    lua_pushcclosure(L, hold_copy, 3);
    lua_pushvalue(L, lua_upvalueindex(FUNCTION));
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 4);
    lua_callk(L, 2, 1, 0, held);
    return held(L, LUA_OK, 0);
}

/* ---- The wrapper ---- */

/* The script's function has returned its one result. [-0, +1, e] */
static int kept(lua_State *L, int status, lua_KContext context) {
    (void)context;
    shim_driver *d = lua_touserdata(L, lua_upvalueindex(DRIVER));
    if (!d->holding)
        return 1;
    d->holding = false;
    return pass_on(L, status, 0);
}

/* In place of the script's function. [-n, +1, e] */
static int keep(lua_State *L) {
    shim_driver *d = lua_touserdata(L, lua_upvalueindex(DRIVER));
    int link = (int)lua_tointeger(L, lua_upvalueindex(LINK)), form = form_of(d, link);
    if (folds(form)) {
        shim_push_copy(L, 1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &d->keeps[link].state);
    }
    if (link > 0) {
        shim_push_copy(L, folds(form) ? 2 : 1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &d->keeps[link].value);
    }
    if (d->keeps[link].holds && d->links != NULL)
        return call_holding(L, d, link);
    if (d->keeps[link].holds) {
        shim_drop_held(d); /* of a try that failed */
        d->holding = true;
        lua_pushvalue(L, lua_upvalueindex(EMIT));
        lua_replace(L, 2);
    }
    lua_pushvalue(L, lua_upvalueindex(FUNCTION));
    lua_insert(L, 1);
    lua_callk(L, lua_gettop(L) - 1, 1, 0, kept);
    return kept(L, LUA_OK, 0);
}

void shim_keep_function(lua_State *L, shim_driver *d, int link) {
    d->keeps[link].gone = false;
    if (!d->keeps[link].on) return;
    lua_pushlightuserdata(L, d);
    lua_insert(L, -2);
    lua_pushinteger(L, link);
    lua_pushlightuserdata(L, d);
    lua_pushcclosure(L, hold, 1);
    lua_pushcclosure(L, keep, 4);
}

bool shim_push_kept_state(lua_State *L, shim_driver *d, int link) {
    if (!d->keeps[link].on || !folds(form_of(d, link))) return false;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &d->keeps[link].state) != LUA_TNIL)
        return true;
    lua_pop(L, 1); /* a fresh worker, in which no call has been made: the initial state stands */
    return false;
}

void shim_push_kept_value(lua_State *L, shim_driver *d, int link) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &d->keeps[link].value);
}
