/* Several stages in one worker (`isolated = false`): each value goes through their functions one after another, as the
 * very same Lua value, and only what leaves the last of them is encoded.
 *
 * The loop is a task's function like driver.c's. `emit` of a flat_map, a flush or a generator is a function of its own
 * that takes its value through the stages behind; it may run in a coroutine of the script's, so nothing it needs
 * stands on the loop's stack: functions, states and emits are in the chain's table, at 2k + 1 and 2k + 2 for stage k.
 *
 * Upvalues of both: 1 the driver, 2 the chain's table; of emit also 3, its stage. Stack of both: 1 the value in hand,
 * 2 the message handler, and while what a flat_map has held goes on 3 the list of that and 4 the number of the next. A
 * continuation's context is the stage and the step with which it goes on. */
#include "driver.h"
#include <stdlib.h>

enum { VALUE = 1, HANDLER = 2, HELD = 3, NEXT = 4 };
enum { DRIVER = 1, TABLE = 2, STAGE = 3 };
enum {
    STEP_NEXT,   /* the loop: take the next value */
    STEP_MARK,   /* the loop: the mark in hand waits for room in the output */
    STEP_CALL,   /* call the function of the stage */
    STEP_CALLED, /* it has returned: its result is on top */
    STEP_SEND,   /* the value leaves the last stage and waits for room in the output */
    STEP_DONE,   /* the value is done with: passed on, dropped or lost */
    STEP_JUDGED, /* the host has decided what follows the failure of the stage */
    STEP_HELD    /* what the stage's function emitted goes on, one by one, since it has returned */
};

/* Registry slots of a chain, by addresses inside its driver that nothing else uses. */
static const void *table_key(shim_driver *d) { return &d->links; }
static const void *error_key(shim_driver *d) { return &d->fault; }
static const void *value_key(shim_driver *d) { return &d->length; }

static inline shim_driver *driver_of(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(DRIVER)); }
static inline lua_KContext context_of(int stage, int step) { return (lua_KContext)stage << 3 | step; }

/* Yields to the host with a request; goes on at `step` in `again`, the caller's continuation. Does not return.
 * [-0, +0, e] */
static void ask(lua_State *L, shim_driver *d, int want, int stage, int step, lua_KFunction again) {
    if (!shim_can_wait(L))
        luaL_error(L, "cannot wait here: emit was called inside a function that Lua cannot leave "
                      "(a metamethod that C code called)");
    d->want = want;
    vm_of(L)->op = SHIM_OP_WAIT;
    lua_yieldk(L, 0, context_of(stage, step), again);
}

/* The error on top is the stage's: the host judges it, and then the value is done with. Where nothing can wait for the
 * host it goes on as the error of whoever emitted. [-0, +0, e] */
static void fail(lua_State *L, shim_driver *d, int stage, lua_KFunction again) {
    bool waits = shim_can_wait(L);
    if (waits)
        value_failed(L, d, stage);
    d->links[stage].failed++;
    d->held--;
    if (!waits)
        lua_error(L);
    d->fault = stage;
    lua_rawsetp(L, LUA_REGISTRYINDEX, error_key(d));
    lua_pushvalue(L, VALUE);
    lua_rawsetp(L, LUA_REGISTRYINDEX, value_key(d));
    ask(L, d, SHIM_WANT_JUDGEMENT, stage, STEP_JUDGED, again);
}

/* Pushes the function of a stage and its arguments, and calls it, protected. [-0, +1, m] */
static int call(lua_State *L, const shim_link *link, int stage, lua_KFunction again) {
    int arguments = 1;
    driver_of(L)->current = stage;
    lua_settop(L, HANDLER);
    lua_rawgeti(L, lua_upvalueindex(TABLE), 2 * stage + 1);
    if (link->stage == SHIM_STAGE_SCAN || link->stage == SHIM_STAGE_REDUCE) {
        lua_rawgeti(L, lua_upvalueindex(TABLE), 2 * stage + 2);
        arguments = 2;
    }
    lua_pushvalue(L, VALUE);
    if (link->stage == SHIM_STAGE_FLAT_MAP) {
        lua_rawgeti(L, lua_upvalueindex(TABLE), 2 * stage + 2);
        arguments = 2;
    }
    return lua_pcallk(L, arguments, 1, HANDLER, context_of(stage, STEP_CALLED), again);
}

/* The result of a stage's function is on top. True: the value at VALUE goes on to the next stage. [-0, +0, m] */
static bool settle(lua_State *L, shim_driver *d, int stage) {
    shim_link *link = &d->links[stage];
    switch (link->stage) {
    case SHIM_STAGE_MAP:
        if (lua_isnil(L, -1)) {
            link->filtered++;
            return false;
        }
        lua_replace(L, VALUE);
        return true;
    case SHIM_STAGE_FILTER:
        if (!lua_toboolean(L, -1)) {
            link->filtered++;
            return false;
        }
        return true;
    case SHIM_STAGE_EACH:
        return true;
    case SHIM_STAGE_SCAN:
    case SHIM_STAGE_REDUCE:
        lua_pushvalue(L, -1);
        lua_rawseti(L, lua_upvalueindex(TABLE), 2 * stage + 2);
        if (link->stage == SHIM_STAGE_REDUCE) {
            d->consumed++;
            return false;
        }
        lua_replace(L, VALUE);
        return true;
    default: /* a flat_map has emitted what it makes */
        d->consumed++;
        return false;
    }
}

/* The function of a flat_map has returned, and the list of what it emitted is on top. As long as that goes on the output,
 * and what the stages behind compute, is its value's; its time is over. [-0, +1, -] */
static void begin_held(lua_State *L, shim_driver *d, int stage) {
    d->keeps[stage].gone = true;
    if (d->limits != NULL && d->limits[stage].turn > 0)
        d->limits[stage].active = true;
    lua_pushinteger(L, 1);
}

/* Takes the next of what a flat_map held through the stages behind, by its emit, protected. -1: there is none, or nobody
 * wants it; else the call's status. [-0, +0 or 1, m] */
static int pass_held(lua_State *L, shim_driver *d, int stage, lua_KFunction again) {
    lua_settop(L, NEXT);
    lua_Integer next = lua_tointeger(L, NEXT);
    lua_rawgeti(L, lua_upvalueindex(TABLE), 2 * stage + 2);
    if (d->closed || lua_rawgeti(L, HELD, next) == LUA_TNIL) {
        d->keeps[stage].gone = false;
        if (d->limits != NULL)
            shim_value_end(L, d, stage);
        return -1;
    }
    lua_pushnil(L);
    lua_rawseti(L, HELD, next);
    lua_pushinteger(L, next + 1);
    lua_replace(L, NEXT);
    return lua_pcallk(L, 1, 0, HANDLER, context_of(stage, STEP_HELD), again);
}

/* A value inside the chain finds nobody any more. [-0, +0, -] */
static void drop(shim_driver *d) {
    d->dropped++;
    d->held--;
}

/* Takes the value at VALUE through the stages, from `stage` at `step` on, until it is done with. Whatever waits does not
 * return here but in `again`. `own`: the stage of the emit that runs this, or -1. [-0, +0, e] */
static void pass(lua_State *L, shim_driver *d, int stage, int step, int status, int own, lua_KFunction again) {
    bool is_made = own == d->length - 1; /* by the last stage's own emit: it is a value once it is written */
    for (;;) {
        switch (step) {
        case STEP_CALL:
            if (d->closed) {
                if (!is_made)
                    drop(d);
                return;
            }
            if (stage == d->length) {
                step = STEP_SEND;
                continue;
            }
            if (lua_isnil(L, VALUE)) { /* a scan's state: what cannot leave a stage alone cannot leave it here */
                shim_encode(L, VALUE, shim_scratch(vm_of(L)), &d->problem);
                lua_pushstring(L, d->problem.text);
                fail(L, d, stage - 1, again);
            }
            if (stage > 0)
                d->links[stage].received++;
            status = call(L, &d->links[stage], stage, again);
            /* fall through */
        case STEP_CALLED:
            if (d->overdue)
                shim_value_stop(L);
            if (status != LUA_OK && status != LUA_YIELD)
                fail(L, d, stage, again);
            if (d->keeps != NULL && d->keeps[stage].holds) {
                begin_held(L, d, stage);
                status = LUA_OK;
                step = STEP_HELD;
                continue;
            }
            if (!settle(L, d, stage)) {
                d->held--;
                return;
            }
            stage++;
            step = STEP_CALL;
            continue;
        case STEP_SEND:
            if (d->closed || d->late != 0) { /* emit says so */
                if (!is_made)
                    drop(d);
                return;
            }
            if (!is_made && (!has_room(d) || d->rendezvous) && !shim_can_wait(L)) { /* `ask` raises */
                d->failed++;
                d->held--;
            }
            if (!has_room(d))
                ask(L, d, SHIM_WANT_OUTPUT, stage, STEP_SEND, again);
            if (d->rendezvous && !shim_can_wait(L))
                ask(L, d, SHIM_WANT_OUTPUT, stage, STEP_SEND, again); /* raises, before anything is written */
            if (emit_value(L, VALUE, d) != 0) {
                if (is_made)
                    luaL_error(L, "%s", d->problem.text); /* its own function made it */
                lua_pushstring(L, d->problem.text);
                fail(L, d, d->length - 1, again);
            }
            if (is_made)
                d->created++;
            else
                d->held--;
            if (d->rendezvous)
                ask(L, d, SHIM_WANT_OUTPUT, stage, STEP_DONE, again);
            return;
        case STEP_JUDGED:
            if (d->keeps != NULL) {
                d->keeps[stage].gone = false;
                if (shim_push_kept_state(L, d, stage))
                    lua_rawseti(L, lua_upvalueindex(TABLE), 2 * stage + 2);
            }
            if (!d->retry)
                return;
            d->retry = false;
            if (d->closed) {
                d->dropped++;
                return;
            }
            d->held++;
            if (stage == 0) /* perhaps in a fresh worker */
                shim_decode(L, d->message);
            else
                shim_push_kept_value(L, d, stage);
            lua_replace(L, VALUE);
            status = call(L, &d->links[stage], stage, again);
            step = STEP_CALLED;
            continue;
        case STEP_HELD:
            if (d->overdue)
                shim_value_stop(L);
            if (status != LUA_OK && status != LUA_YIELD)
                fail(L, d, stage, again);
            status = pass_held(L, d, stage, again);
            if (status >= 0)
                continue;
            d->consumed++;
            d->held--;
            return;
        default:
            return;
        }
    }
}

static int loop(lua_State *L, int status, lua_KContext context) {
    shim_driver *d = driver_of(L);
    int stage = (int)(context >> 3), step = (int)(context & 7);
    for (;;) {
        if (step == STEP_MARK) {
            if (!d->closed && !has_room(d))
                ask(L, d, SHIM_WANT_OUTPUT, 0, STEP_MARK, loop);
            if (!d->closed && !pass_mark(d))
                return luaL_error(L, "not enough memory");
        } else if (step != STEP_NEXT) {
            pass(L, d, stage, step, status, -1, loop);
        }
        lua_settop(L, HANDLER);
        if (d->message != NULL) { /* done with: its bytes may go */
            d->cursor += d->message->size;
            d->message = NULL;
        }
        if (d->closed)
            return 0;
        step = STEP_NEXT;
        if (d->cursor == d->end) {
            if (d->ended)
                return 0;
            ask(L, d, SHIM_WANT_INPUT, 0, STEP_NEXT, loop);
        }
        d->message = (const msg_header *)d->cursor;
        if (d->message->kind == MSG_MARK) {
            d->marks++;
            step = STEP_MARK;
            continue;
        }
        d->received++;
        d->links[0].received++;
        d->held++;
        d->current = 0; /* what is used from here on is its */
        shim_decode(L, d->message);
        lua_replace(L, VALUE);
        stage = 0;
        step = STEP_CALL;
    }
}

/* The task's function. [0, e] */
static int start(lua_State *L) {
    lua_settop(L, 0);
    lua_pushnil(L);
    lua_pushcfunction(L, shim_message_handler);
    shim_driver *d = driver_of(L);
    bool retries = d->retry && d->message != NULL; /* in a fresh worker: the first stage's value is tried again */
    return loop(L, LUA_OK, context_of(0, retries ? STEP_JUDGED : STEP_NEXT));
}

/* What emit returns. [-0, +1 or 2, m] */
static int emitted(lua_State *L, shim_driver *d, int own) {
    d->current = own; /* its function goes on */
    if (d->closed)
        return emit_closed(L, d, own == 0);
    if (d->late != 0)
        return emit_late(L, d);
    lua_pushboolean(L, 1);
    return 1;
}

static int emit_again(lua_State *L, int status, lua_KContext context) {
    shim_driver *d = driver_of(L);
    int own = (int)lua_tointeger(L, lua_upvalueindex(STAGE));
    pass(L, d, (int)(context >> 3), (int)(context & 7), status, own, emit_again);
    return emitted(L, d, own);
}

/* emit(value) of one stage: true, or nil, "closed" when nobody wants more. [-1, +1 or 2, e] */
static int emit(lua_State *L) {
    shim_driver *d = driver_of(L);
    int own = (int)lua_tointeger(L, lua_upvalueindex(STAGE));
    check_owner(L, d);
    lua_settop(L, 1);
    if (d->closed)
        return emitted(L, d, own);
    if (d->drained && own == 0)
        return emit_closed(L, d, true);
    if (lua_isnil(L, VALUE)) {
        shim_encode(L, VALUE, shim_scratch(vm_of(L)), &d->problem);
        return luaL_error(L, "%s", d->problem.text);
    }
    lua_pushcfunction(L, shim_message_handler);
    if (own < d->length - 1) {
        d->created++;
        d->held++;
    }
    pass(L, d, own + 1, STEP_CALL, LUA_OK, own, emit_again);
    return emitted(L, d, own);
}

/* stack: driver, table, stage. [-3, +1, m] */
static int push_emit_body(lua_State *L) {
    lua_pushcclosure(L, emit, 3);
    return 1;
}

/* stack: driver, then function and state of each stage. [variable, m] */
static int set_body(lua_State *L) {
    shim_driver *d = lua_touserdata(L, 1);
    lua_createtable(L, 2 * d->length, 0);
    lua_insert(L, 2); /* driver, table, functions and states */
    for (int i = 2 * d->length; i > 0; i--) lua_rawseti(L, 2, i);
    for (int stage = 0; stage < d->length; stage++) {
        if (d->keeps != NULL) {
            lua_rawgeti(L, 2, 2 * stage + 1);
            shim_keep_function(L, d, stage);
            lua_rawseti(L, 2, 2 * stage + 1);
        }
        if (d->limits != NULL) {
            lua_rawgeti(L, 2, 2 * stage + 1);
            shim_limit_function(L, d, stage);
            lua_rawseti(L, 2, 2 * stage + 1);
        }
        if (d->links[stage].stage != SHIM_STAGE_FLAT_MAP)
            continue;
        lua_pushvalue(L, 1);
        lua_pushvalue(L, 2);
        lua_pushinteger(L, stage);
        lua_pushcclosure(L, emit, 3);
        lua_rawseti(L, 2, 2 * stage + 2);
    }
    lua_rawsetp(L, LUA_REGISTRYINDEX, table_key(d));
    return 0;
}

bool shim_chain_set(lua_State *L, shim_driver *d) {
    int values = 2 * d->length;
    lua_pushcfunction(L, set_body);
    lua_insert(L, -values - 1);
    lua_pushlightuserdata(L, d);
    lua_insert(L, -values - 1); /* body, driver, functions and states */
    return lua_pcall(L, values + 1, 0, 0) == LUA_OK;
}

/* stack: driver, table. [-2, +1, m] */
static int push_chain_body(lua_State *L) {
    lua_pushcclosure(L, start, 2);
    return 1;
}

bool shim_push_chain(lua_State *L, shim_driver *d) {
    lua_pushcfunction(L, push_chain_body);
    lua_pushlightuserdata(L, d);
    lua_rawgetp(L, LUA_REGISTRYINDEX, table_key(d));
    return lua_pcall(L, 2, 1, 0) == LUA_OK;
}

bool shim_push_chain_emit(lua_State *L, shim_driver *d, int stage) {
    lua_pushcfunction(L, push_emit_body);
    lua_pushlightuserdata(L, d);
    lua_rawgetp(L, LUA_REGISTRYINDEX, table_key(d));
    lua_pushinteger(L, stage);
    return lua_pcall(L, 3, 1, 0) == LUA_OK;
}

void shim_push_stopped_value(lua_State *L, lua_State *co, const shim_driver *d) {
    lua_Debug ar;
    for (int level = 0; lua_checkstack(co, 4) && lua_getstack(co, level, &ar) && lua_getinfo(co, "f", &ar); level++) {
        lua_CFunction function = lua_tocfunction(co, -1);
        bool had = function == start;
        if (function == emit) { /* what the stage itself or one behind it has emitted is not what it had */
            lua_getupvalue(co, -1, STAGE);
            had = lua_tointeger(co, -1) < d->fault;
            lua_pop(co, 1);
        }
        lua_pop(co, 1);
        if (!had) continue;
        if (lua_getlocal(co, &ar, VALUE) == NULL) break;
        lua_xmove(co, L, 1);
        return;
    }
    lua_pushnil(L);
}

void shim_push_chain_state(lua_State *L, shim_driver *d, int stage) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, table_key(d));
    lua_rawgeti(L, -1, 2 * stage + 2);
    lua_remove(L, -2);
}

void shim_push_chain_function(lua_State *L, shim_driver *d, int stage) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, table_key(d));
    lua_rawgeti(L, -1, 2 * stage + 1);
    lua_remove(L, -2);
}

void shim_push_chain_fault(lua_State *L, shim_driver *d) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, error_key(d));
    lua_rawgetp(L, LUA_REGISTRYINDEX, value_key(d));
    lua_pushnil(L); /* a key that is there: nothing is allocated */
    lua_rawsetp(L, LUA_REGISTRYINDEX, error_key(d));
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, value_key(d));
}
