/* Decisions of limiters that need no call of the host. */
#include "CLimiter.h"
#include "internal.h"

/* object:allow([n]). The word says it where nobody waits and time is the system's; all else, and every mistake, is the
 * callback's, the upvalue. [-0, +1, e] */
int shim_decide(lua_State *L) {
    const shim_decider *decider = lua_touserdata(L, 1);
    /* the size tells it apart from objects without a word: see shim_any_object */
    if (decider != NULL && lua_rawlen(L, 1) == sizeof *decider && decider->object.ref != NULL) {
        lua_Integer n = 1;
        if (lua_gettop(L) > 1) n = lua_isinteger(L, 2) ? lua_tointeger(L, 2) : 0;
        int decision = n >= 1 && n <= LIMITER_LARGEST ? limiter_take_now(decider->word, n) : LIMITER_SLOW;
        if (decision != LIMITER_SLOW) {
            lua_pushboolean(L, decision == LIMITER_GRANTED);
            return 1;
        }
    }
    return shim_trampoline(L);
}

void shim_push_deciding(lua_State *L, shim_callback callback) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)callback);
    lua_pushcclosure(L, shim_decide, 1);
}
