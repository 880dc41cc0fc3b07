/* The loop of a stage: takes the values of the batch in hand one by one, calls the script's function, writes what
 * comes of it to the batch to send. It runs as a task's function, so the script's function may wait, be preempted and
 * be stopped anywhere; when a batch is used up or full it yields to the host, which refills and continues it.
 *
 * Stack of the driver's function: 1 the script's function, 2 the message handler, 3 emit (flat_map), the state (scan,
 * reduce) or the table (collect), 4 the transient record, if the script's function keeps none. */
#include "driver.h"
#include "record.h"
#include <stdlib.h>
#include <string.h>

enum { FUNCTION = 1, HANDLER = 2, EXTRA = 3, RECORD = 4 };
enum {
    STEP_NEXT,    /* take the next value */
    STEP_CALLED,  /* the function has returned: its results are on top */
    STEP_SEND,    /* a result on top waits for room in the output */
    STEP_FORWARD, /* the value in hand waits for room in the output */
    STEP_ROUTE,   /* the same, with the number on top written behind it */
    STEP_JUDGED,  /* the host has decided what follows a failure */
    STEP_FAILED,  /* an error is on top */
    STEP_MARK     /* the mark in hand waits for room in the output */
};

static int drive(lua_State *L, int status, lua_KContext context);

/* Yields to the host with a request; goes on in `drive` at `step`. [-0, +0, e] */
static int ask(lua_State *L, shim_driver *d, int want, int step) {
    d->want = want;
    d->step = step;
    vm_of(L)->op = SHIM_OP_WAIT;
    return lua_yieldk(L, 0, (lua_KContext)(uintptr_t)d, drive);
}

/* Appends the message in hand as it came. [-0, +0, -] */
static int forward(lua_State *L, shim_driver *d) {
    const msg_header *message = d->message;
    if (message->size == 16 && d->out.capacity - d->out.used >= 16) {
        memcpy(d->out.bytes + d->out.used, message, 16);
        d->out.used += 16;
    } else if (!shim_buffer_append(&d->out, message, message->size)) {
        return -1;
    }
    if (message->flags & MSG_HAS_OBJECTS) {
        shim_message_retain(message, vm_of(L)->host->retain);
        d->objects = true;
    }
    d->count++;
    d->emitted++;
    return 0;
}

/* Puts the number behind the message that was written last, a copy of the one in hand: it belongs to the message until
 * whoever moves it on takes it off again (FanPump, Dealer). False: no memory. [-0, +0, -] */
static bool put_behind(shim_driver *d, int64_t number) {
    size_t start = d->out.used - d->message->size;
    if (!shim_buffer_append(&d->out, &number, sizeof number))
        return false;
    ((msg_header *)(d->out.bytes + start))->size += sizeof number;
    return true;
}

/* The results of the function for the value in hand. [-0, +0, m] */
static int settle(lua_State *L, shim_driver *d) {
    switch (d->stage) {
    case SHIM_STAGE_MAP:
        if (lua_isnil(L, -1)) {
            d->filtered++;
            return STEP_NEXT;
        }
        return STEP_SEND;
    case SHIM_STAGE_FILTER:
        if (!lua_toboolean(L, -1)) {
            d->filtered++;
            return STEP_NEXT;
        }
        return STEP_FORWARD;
    case SHIM_STAGE_EACH:
        return STEP_FORWARD;
    case SHIM_STAGE_SCAN:
        lua_pushvalue(L, -1);
        lua_replace(L, EXTRA);
        return STEP_SEND;
    case SHIM_STAGE_REDUCE:
        lua_pushvalue(L, -1);
        lua_replace(L, EXTRA);
        d->consumed++;
        return STEP_NEXT;
    case SHIM_STAGE_ROUTE:
        return STEP_ROUTE;
    case SHIM_STAGE_KEY:
        return shim_driver_key(L, d) ? STEP_ROUTE : STEP_FAILED;
    default: /* flat_map, sink */
        d->consumed++;
        return STEP_NEXT;
    }
}

/* Pushes function and arguments for the message and calls it, protected. Returns the call's status. [-0, +1, m] */
__attribute__((always_inline)) static inline int call(lua_State *L, shim_driver *d) {
    int arguments = 1, results = 1;
    d->step = STEP_CALLED; /* first: what raises from here on finds the value in hand */
    lua_pushvalue(L, FUNCTION);
    if (d->stage == SHIM_STAGE_SCAN || d->stage == SHIM_STAGE_REDUCE) {
        lua_pushvalue(L, EXTRA);
        arguments = 2;
    }
    if (d->message->kind == MSG_INTEGER) {
        lua_pushinteger(L, *(const int64_t *)(d->message + 1));
    } else if (d->record != NULL && shim_is_record(d->message)) {
        shim_renew_transient(L, RECORD, d->record, d->message);
        lua_pushvalue(L, RECORD);
    } else {
        shim_decode(L, d->message);
    }
    if (d->stage == SHIM_STAGE_FLAT_MAP) {
        lua_pushvalue(L, EXTRA);
        arguments = 2;
    }
    return lua_pcallk(L, arguments, results, HANDLER, (lua_KContext)(uintptr_t)d, drive);
}

static int drive(lua_State *L, int status, lua_KContext context) {
    shim_driver *d = (shim_driver *)(uintptr_t)context;
    int step = d->step;
    for (;;) {
        switch (step) {
        case STEP_NEXT:
            lua_settop(L, RECORD);
            if (d->message != NULL) { /* done with: its bytes may go */
                d->cursor += d->message->size;
                d->message = NULL;
            }
            if (d->closed)
                return 0;
            if (d->cursor == d->end) {
                if (d->ended) {
                    lua_pushvalue(L, EXTRA);
                    return 1; /* reduce: the state; collect: the table */
                }
                return ask(L, d, SHIM_WANT_INPUT, STEP_NEXT);
            }
            d->message = (const msg_header *)d->cursor;
            if (d->message->kind == MSG_MARK) {
                d->marks++;
                step = STEP_MARK;
                continue;
            }
            d->received++;
            if (d->stage == SHIM_STAGE_COLLECT) {
                d->step = STEP_CALLED;
                shim_decode(L, d->message);
                lua_rawseti(L, EXTRA, (lua_Integer)d->received);
                d->consumed++;
                continue;
            }
            status = call(L, d);
            step = STEP_CALLED;
            continue;
        case STEP_CALLED:
            if (d->overdue) /* whatever it has caught */
                return shim_value_stop(L);
            step = status == LUA_OK || status == LUA_YIELD ? settle(L, d) : STEP_FAILED;
            continue;
        case STEP_FAILED:
            value_failed(L, d, 0);
            d->failed++;
            return ask(L, d, SHIM_WANT_JUDGEMENT, STEP_JUDGED);
        case STEP_MARK:
            if (!d->closed && !has_room(d))
                return ask(L, d, SHIM_WANT_OUTPUT, STEP_MARK);
            if (!d->closed && !pass_mark(d))
                return luaL_error(L, "not enough memory");
            step = STEP_NEXT;
            continue;
        case STEP_SEND:
        case STEP_FORWARD:
            if (d->closed) {
                d->dropped++;
                step = STEP_NEXT;
                continue;
            }
            if (!has_room(d))
                return ask(L, d, SHIM_WANT_OUTPUT, step);
            if (step == STEP_FORWARD) {
                if (forward(L, d) != 0)
                    return luaL_error(L, "not enough memory");
            } else if (emit_value(L, lua_gettop(L), d) != 0) {
                lua_pushstring(L, d->problem.text);
                step = STEP_FAILED;
                continue;
            }
            if (d->rendezvous)
                return ask(L, d, SHIM_WANT_OUTPUT, STEP_NEXT);
            step = STEP_NEXT;
            continue;
        case STEP_ROUTE:
            if (d->closed) {
                d->dropped++;
                step = STEP_NEXT;
                continue;
            }
            if (!has_room(d))
                return ask(L, d, SHIM_WANT_OUTPUT, STEP_ROUTE);
            if (forward(L, d) != 0 || !put_behind(d, lua_tointeger(L, -1)))
                return luaL_error(L, "not enough memory");
            if (d->rendezvous)
                return ask(L, d, SHIM_WANT_OUTPUT, STEP_NEXT);
            step = STEP_NEXT;
            continue;
        default: /* STEP_JUDGED: the value is lost and the stage goes on, or the value is tried again */
            lua_settop(L, RECORD);
            if (d->keeps != NULL && shim_push_kept_state(L, d, 0))
                lua_replace(L, EXTRA);
            step = STEP_NEXT;
            if (d->retry) {
                d->retry = false; /* before the call: what raises in it does not come back here */
                if (d->closed) {
                    d->dropped++;
                    continue;
                }
                status = call(L, d);
                step = STEP_CALLED;
            }
            continue;
        }
    }
}

/* The task's function. Upvalue: the driver. [variable, e] */
static int start(lua_State *L) {
    shim_driver *d = lua_touserdata(L, lua_upvalueindex(1));
    lua_settop(L, 2); /* function, initial state or nil */
    lua_pushcfunction(L, shim_message_handler);
    lua_insert(L, HANDLER); /* function, handler, extra */
    if (d->stage == SHIM_STAGE_COLLECT) {
        lua_newtable(L);
        lua_replace(L, EXTRA);
    }
    bool folds = d->stage == SHIM_STAGE_SCAN || d->stage == SHIM_STAGE_REDUCE; /* the state is first, and is kept */
    bool lets_go = d->stage != SHIM_STAGE_COLLECT && shim_lets_go(L, FUNCTION, folds ? 1 : 0, !folds);
    d->record = lets_go ? shim_push_transient(L) : NULL;
    if (d->limits != NULL) {
        lua_pushvalue(L, FUNCTION);
        shim_limit_function(L, d, 0);
        lua_replace(L, FUNCTION);
    }
    if (d->keeps != NULL) { /* around the other one: what is held goes out after the value's time */
        lua_pushvalue(L, FUNCTION);
        shim_keep_function(L, d, 0);
        lua_replace(L, FUNCTION);
    }
    d->step = d->retry && d->message != NULL ? STEP_JUDGED : STEP_NEXT; /* in a fresh worker: the value is tried again */
    return drive(L, LUA_OK, (lua_KContext)(uintptr_t)d);
}

static int emit(lua_State *L);

/* The value has been handed over, or nobody wants it. [-0, +1 or 2, e] */
static int emit_done(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    shim_driver *d = lua_touserdata(L, lua_upvalueindex(1));
    if (d->late != 0)
        return emit_late(L, d);
    lua_pushboolean(L, 1);
    return 1;
}

/* After room was made. [-0, +2, e] */
static int emit_again(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    shim_driver *d = lua_touserdata(L, lua_upvalueindex(1));
    return d->late != 0 ? emit_late(L, d) : emit(L);
}

/* emit(value): true, or nil, "closed" when nobody wants more. Upvalue: the driver. [-1, +1 or 2, e] */
static int emit(lua_State *L) {
    shim_driver *d = lua_touserdata(L, lua_upvalueindex(1));
    if (d == NULL)
        return luaL_error(L, "emit: the stage has ended");
    check_owner(L, d);
    lua_settop(L, 1);
    if (d->closed || d->drained)
        return emit_closed(L, d, true);
    if (!has_room(d) || d->rendezvous) {
        if (!shim_can_wait(L))
            return luaL_error(L, "cannot wait here: emit was called inside a function that Lua cannot leave "
                                 "(a metamethod that C code called)");
    }
    if (!has_room(d)) {
        d->want = SHIM_WANT_OUTPUT;
        vm_of(L)->op = SHIM_OP_WAIT;
        return lua_yieldk(L, 0, 0, emit_again);
    }
    if (emit_value(L, 1, d) != 0)
        return luaL_error(L, "%s", d->problem.text);
    d->created++;
    if (d->rendezvous) {
        d->want = SHIM_WANT_OUTPUT;
        vm_of(L)->op = SHIM_OP_WAIT;
        return lua_yieldk(L, 0, 0, emit_done);
    }
    lua_pushboolean(L, 1);
    return 1;
}

uint64_t shim_values_in_hand(const shim_driver *d) {
    uint64_t judged = d->judging || d->retry ? 1 : 0;
    if (d->links != NULL)
        return d->held + judged;
    if (d->message == NULL || judged != 0)
        return judged;
    switch (d->step) {
    case STEP_CALLED:
    case STEP_SEND:
    case STEP_FORWARD:
    case STEP_ROUTE:
        return 1;
    default: /* it has been passed on, has failed, or is a mark */
        return 0;
    }
}

void shim_give_up_value(shim_driver *d) {
    bool is_judged = d->judging || d->retry; /* its failure was taken back, and it is in hand as that */
    d->judging = d->retry = false;
    if (d->links != NULL) {
        d->links[d->fault].failed++;
        if (!is_judged) d->held--;
    } else {
        d->failed++;
        d->step = STEP_JUDGED;
    }
}

/* [-1, +1, m] */
static int push_driver_body(lua_State *L) {
    lua_pushcclosure(L, start, 1);
    return 1;
}

/* [-1, +1, m] */
static int push_emit_body(lua_State *L) {
    lua_pushcclosure(L, emit, 1);
    return 1;
}

bool shim_push_driver(lua_State *L, shim_driver *driver) {
    lua_pushcfunction(L, push_driver_body);
    lua_pushlightuserdata(L, driver);
    return lua_pcall(L, 1, 1, 0) == LUA_OK;
}

bool shim_push_emit(lua_State *L, shim_driver *driver) {
    lua_pushcfunction(L, push_emit_body);
    lua_pushlightuserdata(L, driver);
    return lua_pcall(L, 1, 1, 0) == LUA_OK;
}
