/* What the loops of stages share: driver.c, driver_chain.c, driver_key.c, driver_keep.c, driver_timeout.c. */
#ifndef CLUASHIM_DRIVER_H
#define CLUASHIM_DRIVER_H
#include "internal.h"
#include <string.h>

enum { SHIM_BATCH_BYTES = 256 * 1024 };

static inline bool has_room(const shim_driver *d) { return d->count < d->grant && d->out.used < SHIM_BATCH_BYTES; }

/* The task is over a limit, and its function has returned or raised: stops it. [-0, +0, e] */
int shim_value_stop(lua_State *L);

/* The message at `start` was written: where that is too much output, takes it back and stops the task. [-0, +0, e] */
__attribute__((noinline, unused)) static void count_emitted(lua_State *L, shim_driver *d, size_t start) {
    if (shim_count_output(vm_of(L), d->out.used - start)) return;
    shim_message_release((const msg_header *)(d->out.bytes + start), vm_of(L)->host->release);
    d->out.used = start;
    shim_value_stop(L);
}

/* Appends the value at `index` to the output. 0 or -1 with the driver's problem. Always inlined: a call for each value is
 * 2 % of a short stage. [-0, +0, m] */
__attribute__((always_inline)) static inline int emit_value(lua_State *L, int index, shim_driver *d) {
    size_t start = d->out.used;
    if (lua_isinteger(L, index) && d->out.capacity - start >= 16) { /* the most frequent, without a call more */
        int64_t value = lua_tointeger(L, index);
        msg_header header = {16, MSG_INTEGER, 0, 0};
        memcpy(d->out.bytes + start, &header, sizeof header);
        memcpy(d->out.bytes + start + sizeof header, &value, sizeof value);
        d->out.used = start + 16;
        if (d->limits != NULL) count_emitted(L, d, start);
        d->count++;
        d->emitted++;
        return 0;
    }
    if (shim_encode_raising(L, index, &d->out, &d->problem) != 0)
        return -1;
    if (d->limits != NULL) count_emitted(L, d, start);
    d->objects |= (((const msg_header *)(d->out.bytes + start))->flags & MSG_HAS_OBJECTS) != 0;
    d->count++;
    d->emitted++;
    return 0;
}

/* Appends the mark in hand, which takes room like a value and is none. False: no memory. [-0, +0, -] */
static inline bool pass_mark(shim_driver *d) {
    if (!shim_buffer_append(&d->out, d->message, d->message->size))
        return false;
    d->count++;
    return true;
}

/* emit was called: raises where the running task is not the one that the host serves for this driver. [-0, +0, e] */
static inline void check_owner(lua_State *L, const shim_driver *d) {
    if (vm_of(L)->base != d->owner)
        luaL_error(L, "emit was called by another task than the one it was given to; a :stage process may hand its "
                      "output channel to tasks");
}

/* emit where nobody wants more: nil, "closed". A generator that goes on all the same would never end: the second time
 * it raises, which the host takes for its end. `first`: it is the first stage's emit, so the generator's if there is one.
 * [-0, +2, e] */
static inline int emit_closed(lua_State *L, shim_driver *d, bool first) {
    if (d->generates && d->told && first)
        return luaL_error(L, "%s", SHIM_NOBODY_LISTENS);
    d->told = d->told || first;
    lua_pushnil(L);
    lua_pushliteral(L, "closed");
    return 2;
}

/* emit has waited, and its context has ended: nil and the reason. [-0, +2, -] */
static inline int emit_late(lua_State *L, shim_driver *d) {
    lua_pushnil(L);
    lua_pushstring(L, d->late == 2 ? "deadline exceeded" : "canceled");
    d->late = 0;
    return 2;
}

/* ---- driver_timeout.c; where there are limits ---- */

/* The function of the stage `link` is on top: puts the one that keeps its timeout there, if it has one. [-1, +1, m] */
void shim_limit_function(lua_State *L, shim_driver *d, int link);
/* What the function of `link` had is done with. [-0, +0, -] */
void shim_value_end(lua_State *L, shim_driver *d, int link);

/* The function of `link` has raised. [-0, +0, e] */
static inline void value_failed(lua_State *L, shim_driver *d, int link) {
    if (d->overdue) shim_value_stop(L);
    if (d->limits == NULL) return;
    shim_value_end(L, d, link);
}

/* ---- driver_keep.c; where values may be tried again ---- */

/* The function of the stage `link` is on top: puts the one that keeps what a try changes there, if it has one. [-1, +1, m] */
void shim_keep_function(lua_State *L, shim_driver *d, int link);
/* Pushes the state of `link` as it was before the last try; false: it keeps none. [-0, +0 or 1, -] */
bool shim_push_kept_state(lua_State *L, shim_driver *d, int link);
/* Pushes a copy of the value at `index`; tables are copied as deep as they go, what else there is stays itself. [-0, +1, m] */
void shim_push_copy(lua_State *L, int index);

/* The key that a function returned is on top: pushes the number of the worker that is to get the message in hand. False:
 * it is no key, and the error is on top. [-0, +1, m] */
bool shim_driver_key(lua_State *L, shim_driver *d);
#endif
