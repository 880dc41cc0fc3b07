/* Stops at any instruction, for tests: what a limit, a signal or a full memory does at a moment that nobody can choose
 * happens here after so many instructions of one coroutine. Nothing but tests calls this, and it costs nothing else. */
#include "internal.h"

static _Thread_local unsigned landed;

/* Makes the innermost value that has a time overdue. False: there is none. [-0, +0, -] */
static bool overrun(shim_vm *vm) {
    shim_driver *d = vm->limited;
    if (d == NULL || d->limits == NULL || d->owner != vm->base || d->overdue) return false;
    for (int i = (d->links != NULL ? d->length : 1) - 1; i >= 0; i--) {
        if (d->limits[i].deadline == 0) continue;
        d->overdue = true;
        d->fault = i;
        return true;
    }
    return false;
}

/* The hook: does what was asked for as the interrupt would find it, at the next instruction. [-0, +0, -] */
static void strike(lua_State *L, lua_Debug *ar) {
    (void)ar;
    shim_vm *vm = vm_of(L);
    lua_sethook(L, NULL, 0, 0);
    int kind = vm->strike;
    if (L != vm->running || kind == SHIM_STRIKE_NONE) return;
    vm->strike = SHIM_STRIKE_NONE;
    if (kind == SHIM_STRIKE_OVERDUE && !overrun(vm)) return;
    if (kind == SHIM_STRIKE_MEMORY) shim_exceed(vm, SHIM_OVER_MEMORY);
    if (kind == SHIM_STRIKE_CPU) shim_exceed(vm, SHIM_OVER_CPU);
    if (kind != SHIM_STRIKE_PREEMPT) {
        landed++;
        shim_control_set(vm, SHIM_CONTROL_KILL);
    }
    shim_arm_hook(vm);
}

void shim_strike(shim_vm *vm, lua_State *co, int kind, int instructions) {
    vm->strike = kind;
    lua_sethook(co, strike, LUA_MASKCOUNT, instructions > 0 ? instructions : 1);
}

unsigned shim_strikes_landed(void) { return landed; }
