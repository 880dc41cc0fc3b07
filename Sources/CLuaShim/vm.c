/* A state's life, its host functions, its tasks. */
#include "image.h"
#include "internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic long live_states;

/* [-0, +0, e] */
static int open_state(lua_State *L) {
    if (shim_copy_sandbox(L)) return 0;
    shim_open_sandbox(L);
    shim_libraries_record(L);
    shim_pristine_record(L);
    return 0;
}

/* Reached only by a bug of ours: something raised outside protected mode. */
static int panic(lua_State *L) {
    const char *message = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "an error that is no string";
    fprintf(stderr, "streamhost: internal error, unprotected in Lua: %s\n", message);
    return 0;
}

shim_vm *shim_vm_create(const shim_host *host, void *owner, size_t limit, uint64_t seed, const uint32_t *hash_seed) {
    shim_vm *vm = calloc(1, sizeof *vm);
    if (vm == NULL)
        return NULL;
    vm->host = host;
    vm->owner = owner;
    vm->may_raise = true;
    shim_allocator_init(&vm->allocator, vm, limit);
    vm->L = hash_seed == NULL ? lua_newstate(shim_allocator_function(), &vm->allocator) : shim_new_seeded_state(vm, *hash_seed);
    if (vm->L == NULL)
        goto no_memory;
    *(shim_vm **)lua_getextraspace(vm->L) = vm;
    lua_atpanic(vm->L, panic);
    vm->random_seed = seed;
    lua_gc(vm->L, LUA_GCSTOP); /* until something runs: what is made now stays */
    lua_pushcfunction(vm->L, open_state);
    if (lua_pcall(vm->L, 0, 0, 0) == LUA_OK) {
        atomic_fetch_add_explicit(&live_states, 1, memory_order_relaxed);
        return vm;
    }
no_memory:
    shim_allocator_destroy(&vm->allocator);
    free(vm);
    return NULL;
}

void shim_vm_destroy(shim_vm *vm) {
    /* No lua_close: it would run code of the script's; the chunks go back whole. */
    shim_release_objects(vm);
    shim_allocator_destroy(&vm->allocator);
    shim_buffer_free(&vm->scratch);
    shim_selection_free(vm);
    free(vm->symbols);
    free(vm);
    atomic_fetch_sub_explicit(&live_states, 1, memory_order_relaxed);
}

long shim_live_states(void) { return atomic_load_explicit(&live_states, memory_order_relaxed); }

void *shim_running_owner(void) { return shim_current == NULL ? NULL : shim_current->owner; }
void *shim_vm_owner(shim_vm *vm) { return vm->owner; }
lua_State *shim_vm_main(shim_vm *vm) { return vm->L; }
shim_vm *shim_vm_of(lua_State *L) { return vm_of(L); }
uint32_t shim_control_get(shim_vm *vm) { return atomic_load(&vm->control); }
void shim_control_set(shim_vm *vm, uint32_t bits) { atomic_fetch_or(&vm->control, bits); }
void shim_control_clear(shim_vm *vm, uint32_t bits) { atomic_fetch_and(&vm->control, ~bits); }
const char *shim_vm_stopped_at(const shim_vm *vm) { return vm->stopped_at; }
void shim_set_inbox(shim_vm *vm, const msg_header *message) { vm->inbox = message; }
shim_buffer *shim_scratch(shim_vm *vm) { return &vm->scratch; }
const char *shim_encode_problem(shim_vm *vm) { return vm->problem.text; }

const msg_header *shim_encode_scratch(lua_State *L, int index, shim_vm *vm) {
    enum { KEPT = 1 << 20 }; /* of what a large value needed */
    if (vm->scratch.capacity > KEPT) shim_buffer_free(&vm->scratch);
    vm->scratch.used = 0;
    return shim_encode(L, index, &vm->scratch, &vm->problem) == 0 ? (const msg_header *)vm->scratch.bytes : NULL;
}

void shim_set_entered(shim_vm *vm, int entered) { vm->entered = entered; }

uint64_t shim_vm_decoded_fields(const shim_vm *vm) { return vm->decoded_fields; }

shim_usage shim_vm_usage(const shim_vm *vm) {
    return (shim_usage){__atomic_load_n(&vm->allocator.used, __ATOMIC_RELAXED),
                        __atomic_load_n(&vm->allocator.peak, __ATOMIC_RELAXED), vm->allocator.limit};
}

/* ---- Host functions ---- */

static int finish(lua_State *L, int status, lua_KContext context);

/* stack: guard, results. [-0, +results, e] */
static int called(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    return lua_gettop(L) - 1;
}

/* Does what a host function's status asks, once no Swift frame is left. [variable, e] */
static int obey(lua_State *L, shim_vm *vm, int result) {
    switch (result) {
    case SHIM_RAISE:
        return lua_error(L);
    case SHIM_WAIT:
        vm->op = SHIM_OP_WAIT;
        return lua_yieldk(L, 0, 0, finish);
    case SHIM_VALUE:
        shim_decode(L, vm->inbox);
        return 1;
    case SHIM_CALL: /* not protected: an error passes with its traceback, and the guard is closed by whoever catches it */
        lua_toclose(L, 1);
        lua_callk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, called);
        return called(L, LUA_OK, 0);
    default:
        return result;
    }
}

static int finish(lua_State *L, int status, lua_KContext context) {
    (void)status;
    (void)context;
    shim_vm *vm = vm_of(L);
    return obey(L, vm, vm->host->finish(L, vm));
}

int shim_call_host(lua_State *L, shim_callback callback) {
    shim_vm *vm = vm_of(L);
    return obey(L, vm, callback(L, vm));
}

int shim_trampoline(lua_State *L) {
    return shim_call_host(L, (shim_callback)(uintptr_t)lua_touserdata(L, lua_upvalueindex(1)));
}

void shim_push_callback(lua_State *L, shim_callback callback) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)callback);
    lua_pushcclosure(L, shim_trampoline, 1);
}

/* ---- Tasks ---- */

/* [-0, +1, m] */
static int new_thread(lua_State *L) {
    lua_newthread(L);
    return 1;
}

lua_State *shim_task_new(shim_vm *vm, int *reference) {
    lua_State *L = vm->L;
    lua_pushcfunction(L, new_thread);
    if (lua_pcall(L, 0, 1, 0) != LUA_OK) {
        lua_pop(L, 1);
        return NULL;
    }
    lua_State *co = lua_tothread(L, -1);
    *(shim_vm **)lua_getextraspace(co) = vm;
    lua_sethook(co, NULL, 0, 0);
    *reference = shim_ref(L);
    return *reference == 0 ? NULL : co;
}

void shim_task_free(shim_vm *vm, int reference) {
    vm->preempted = NULL; /* another coroutine may get its address */
    shim_unref(vm->L, reference);
}

/* Message handler of a task. The traceback is taken where the error was raised, but kept aside, under the coroutine's
 * address: `<close>` handlers shall get the error as it is. [-1, +1, m] */
static int keep_traceback(lua_State *L) {
    if (lua_type(L, 1) == LUA_TSTRING && lua_checkstack(L, 20))
        luaL_traceback(L, L, NULL, 1);
    else
        lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, L);
    return 1;
}

/* stack: handler, results or the error. What the function had to close is closed; an error goes on from here, with its
 * traceback behind it, as shim_message_handler leaves it. [-0, +results, e] */
static int body_ended(lua_State *L, int status, lua_KContext context) {
    (void)context;
    if (status == LUA_OK || status == LUA_YIELD)
        return lua_gettop(L) - 1;
    if (lua_type(L, -1) != LUA_TSTRING || !lua_checkstack(L, 3))
        return lua_error(L);
    lua_pushliteral(L, "\n");
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, L) == LUA_TSTRING)
        lua_concat(L, 3);
    else
        lua_pop(L, 2);
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, L);
    return lua_error(L);
}

/* A task's first frame. An error that leaves a coroutine runs no `<close>` variables, since nobody unwinds it; one that
 * leaves a protected call does. stack: function, arguments [variable, e] */
static int task_body(lua_State *L) {
    lua_pushcfunction(L, keep_traceback);
    lua_insert(L, 1);
    return body_ended(L, lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 1, 0, body_ended), 0);
}

void shim_push_task_body(lua_State *co) { lua_pushcfunction(co, task_body); }

/* The collector's pause, in percent of what a collection leaves. With Lua's 200 a state of 20 KB, as most workers are,
 * would go through all of its libraries for each 20 KB of garbage; where much is in use the pause is Lua's again.
 * [-0, +0, -] */
static void set_pause(shim_vm *vm) {
    enum { SMALL = 512 << 10, MIDDLE = 4 << 20, FIRST_KB = 64 };
    if (vm->pause == 0) { /* the first collection comes when so much has been added to the fresh state */
        lua_gc(vm->L, LUA_GCRESTART);
        lua_gc(vm->L, LUA_GCSTEP, -FIRST_KB);
    }
    size_t used = vm->allocator.used, limit = vm->allocator.limit;
    int pause = used < SMALL ? 1000 : used < MIDDLE ? 400 : 200;
    if (limit != 0 && used > limit / 16) pause = 200;
    if (pause == vm->pause) return;
    vm->pause = pause;
    lua_gc(vm->L, LUA_GCSETPAUSE, pause);
}

int shim_task_resume(shim_vm *vm, lua_State *co, int arguments, int *op, int *results) {
    shim_vm *outer = shim_current; /* a host function may run another state (never the same one) */
    set_pause(vm);
    vm->op = SHIM_OP_NONE;
    vm->base = co;
    if (vm->preempted == co) vm->preempted = NULL;
    vm->stopped_at[0] = '\0';
    vm->chain_yieldable = true;
    vm->running = co;
    shim_current = vm;
    if (atomic_load(&vm->control) & (SHIM_CONTROL_KILL | SHIM_CONTROL_MEMORY | SHIM_CONTROL_CANCEL))
        shim_arm_hook(vm);
    if (shim_has_limits(vm)) shim_look(vm, true);
    int status = lua_resume(co, NULL, arguments, results);
    if (shim_has_limits(vm)) shim_look(vm, false);
    shim_current = outer;
    vm->running = NULL;
    vm->base = NULL;
    *op = vm->op;
    vm->op = SHIM_OP_NONE;
    if (vm->over != SHIM_OVER_NOTHING) { /* whatever it has caught, and however it came back: preempted, for one */
        if (vm->stopped_at[0] == '\0') shim_where(co, vm->stopped_at, sizeof vm->stopped_at);
        *op = SHIM_OP_KILL;
        return LUA_YIELD;
    }
    return status;
}

bool shim_can_wait(lua_State *L) { return vm_of(L)->chain_yieldable && lua_isyieldable(L); }

/* Loads the embedded library where an image needs it. [-0, +0, e] */
void shim_need_stdlib(lua_State *L) {
    if (vm_of(L)->host->need_library != NULL)
        vm_of(L)->host->need_library(L);
}

void shim_note_preemption(lua_State *L, shim_vm *vm) {
    shim_where(L, vm->preempted_at, sizeof vm->preempted_at);
    vm->preempted = vm->preempted_at[0] != '\0' ? vm->base : NULL;
}

void shim_where(lua_State *co, char *text, size_t size) {
    lua_Debug ar;
    shim_vm *vm = vm_of(co);
    if (co == vm->preempted) {
        snprintf(text, size, "%s", vm->preempted_at);
        return;
    }
    text[0] = '\0';
    for (int level = 0; lua_getstack(co, level, &ar); level++) {
        /* "S" and "l" allocate nothing */
        if (lua_getinfo(co, "Sl", &ar) && ar.currentline > 0 && !shim_is_of_library(&ar)) {
            snprintf(text, size, "%s:%d", ar.short_src, ar.currentline);
            return;
        }
    }
}

/* [-1, +1, m] */
int shim_message_handler(lua_State *L) {
    if (lua_type(L, 1) == LUA_TSTRING && lua_checkstack(L, 20))
        luaL_traceback(L, L, lua_tostring(L, 1), 1);
    return 1;
}

const char *shim_lua_release(void) { return "Lua " LUA_VERSION_MAJOR "." LUA_VERSION_MINOR "." LUA_VERSION_RELEASE; }
