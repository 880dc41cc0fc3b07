/* Preemption and killing without a hook in normal running: a watchdog sends SIGURG to a thread whose slice is too
 * old; the handler, on that same thread, arms a one-shot count hook on the coroutine that runs now; the hook yields.
 * lua_sethook from a handler on the same thread is what lua.c does; from another thread it would be a race. */
#include "internal.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
/* ThreadSanitizer keeps a signal back until its thread calls a function of the C library, which a loop in Lua never does.
 * It does not know sigaction by this name; what runs in the handler is not to call into it either, as the signal may come
 * while the thread is in there. */
int __sigaction(int signal, const struct sigaction *action, struct sigaction *old);
#define INSTALL __sigaction
#define IN_HANDLER __attribute__((disable_sanitizer_instrumentation))
#endif
#endif
#ifndef IN_HANDLER
#define IN_HANDLER
#define INSTALL sigaction
#endif

_Thread_local shim_vm *shim_current;

static void interrupt(lua_State *L, lua_Debug *ar);

/* Leaves the Lua code that runs for the host, for good or until the next resume. [-0, +0, e] */
static void leave(lua_State *L, shim_vm *vm, int op) {
    vm->op = op;
    lua_yield(L, 0); /* inside a hook: returns here, and the VM yields as soon as the hook has returned; in a C function: does not */
}

/* Over the soft limit: a collection may be all that is needed; else the worker is to be stopped. [-0, +0, -] */
static void relieve_memory(lua_State *L, shim_vm *vm) {
    atomic_fetch_and(&vm->control, ~(uint32_t)SHIM_CONTROL_MEMORY);
    shim_vm_charge(vm, 0); /* takes off what was given back */
    lua_gc(L, LUA_GCCOLLECT);
    if (vm->allocator.limit != 0 && vm->allocator.used > vm->allocator.limit - vm->allocator.limit / 8) {
        shim_exceed(vm, SHIM_OVER_MEMORY);
    }
}

/* What the control word asks of the script that runs, but for a preemption. True: the hook's function is to return, as the
 * coroutine yields for good; where no hook runs it then does not return at all. [-0, +0, e] */
static bool obey_control(lua_State *L, shim_vm *vm) {
    uint32_t control = atomic_load(&vm->control);
    if (control & SHIM_CONTROL_MEMORY) {
        relieve_memory(L, vm);
        control = atomic_load(&vm->control);
    }
    if (shim_has_limits(vm)) {
        shim_look(vm, false);
        if (shim_value_is_overdue(vm)) atomic_fetch_or(&vm->control, SHIM_CONTROL_KILL);
        control = atomic_load(&vm->control);
    }
    atomic_store_explicit(&vm->interrupted, false, memory_order_relaxed);
    if (control & SHIM_CONTROL_KILL) {
        shim_where(L, vm->stopped_at, sizeof vm->stopped_at);
        if (lua_isyieldable(L)) {
            leave(L, vm, SHIM_OP_KILL);
            return true;
        }
        /* A C boundary: raise until a frame is reached that can yield; every instruction counts until then. */
        lua_sethook(L, interrupt, LUA_MASKCOUNT, 1);
        lua_pushliteral(L, "stopped");
        lua_error(L);
    }
    if (control & SHIM_CONTROL_CANCEL) {
        atomic_fetch_and(&vm->control, ~(uint32_t)(SHIM_CONTROL_CANCEL | SHIM_CONTROL_DEADLINE));
        lua_pushstring(L, control & SHIM_CONTROL_DEADLINE ? "deadline exceeded" : "canceled");
        lua_error(L);
    }
    return false;
}

/* The hook: decided by the control word alone, never by what the script does. [-0, +0, e] */
static void interrupt(lua_State *L, lua_Debug *ar) {
    (void)ar;
    shim_vm *vm = vm_of(L);
    lua_sethook(L, NULL, 0, 0);
    if (L != vm->running)
        return; /* a new coroutine inherits its creator's hook, and is not the one that was meant */
    if (obey_control(L, vm))
        return;
    if (vm->chain_yieldable && lua_isyieldable(L)) {
        shim_note_preemption(L, vm);
        leave(L, vm, SHIM_OP_PREEMPT);
    } else {
        lua_sethook(L, interrupt, LUA_MASKCOUNT, 1000); /* try again soon */
    }
}

bool shim_answer(lua_State *L) {
    shim_vm *vm = vm_of(L);
    if (L != vm->running || !lua_checkstack(L, 2))
        return false;
    obey_control(L, vm);
    return lua_gethookmask(L) != 0 && vm->chain_yieldable && lua_isyieldable(L);
}

IN_HANDLER void shim_arm_hook(shim_vm *vm) {
    lua_State *L = vm->running;
    /* lua_sethook walks all frames: in a deep recursion one a signal would leave the script no time. */
    if (L != NULL && lua_gethookmask(L) == 0)
        lua_sethook(L, interrupt, LUA_MASKCOUNT, 1);
}

void shim_memory_pressure(shim_vm *vm) {
    atomic_fetch_or(&vm->control, SHIM_CONTROL_MEMORY);
    if (shim_current == vm)
        shim_arm_hook(vm);
}

IN_HANDLER static void on_signal(int signal) {
    (void)signal;
    int saved = errno;
    if (shim_current != NULL) {
        atomic_store_explicit(&shim_current->interrupted, true, memory_order_relaxed);
        shim_arm_hook(shim_current);
    }
    errno = saved;
}

void shim_interrupt_install(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    INSTALL(SIGURG, &action, NULL);
}

void shim_interrupt_attach(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGURG);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL); /* a runtime's threads may block every signal */
}
