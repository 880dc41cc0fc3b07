/* The coroutine library of scripts: stock behaviour, except that the host can wait and preempt inside coroutines.
 *
 * With the stock library a yield meant for the host ends the script's own coroutine.resume, without values. Here
 * resume and wrap look at vm->op when the inner coroutine yields: if it is set, they yield outwards themselves, level
 * by level, and when the host resumes the outermost one each continues the one inside it.
 *
 * No coroutine.close, and wrap does not close either: a looping __close cannot be stopped there, and nested closes
 * overflow the C stack of 5.4.4.
 */
#include "internal.h"

/* From here on the thread runs `co`. A hook that was armed on the one it leaves does not fire here: what the host
 * still wants (a kill, a collection) is armed again. [-0, +0, -] */
static void switch_to(shim_vm *vm, lua_State *co) {
    vm->running = co;
    if (co != NULL && atomic_load_explicit(&vm->control, memory_order_relaxed) != 0) shim_arm_hook(vm);
}

static int yield(lua_State *L);

/* Of a coroutine whose status is LUA_YIELD: true if it was the script's own coroutine.yield. Otherwise it waits in
 * the host or was preempted, it or one that it resumed, and only the host may continue it: another task that resumed
 * it would give the host's answer in its place. True for no task's own coroutine, since those cannot yield to a
 * script. Read from the stack and not from a mark: a mark would have to survive tasks that are dropped while they
 * wait. [-0, +0, -] */
static bool yielded_to_script(lua_State *co) {
    lua_Debug frame;
    if (!lua_getstack(co, 0, &frame) || !lua_checkstack(co, 1)) return false;
    lua_getinfo(co, "f", &frame);
    bool own = lua_tocfunction(co, -1) == yield;
    lua_pop(co, 1);
    return own;
}

/* The inner coroutine has to go back to the host and L cannot yield. Raises, or returns to resume it again.
 * [-0, +0, v] */
static void stay_inside(lua_State *L, shim_vm *vm) {
    int op = vm->op;
    vm->op = SHIM_OP_NONE; /* or the next yield of the script would be taken for the host's */
    if (op == SHIM_OP_PREEMPT) {
        vm->preempted = NULL;
        return;
    }
    if (op == SHIM_OP_KILL) {
        if (vm->running != NULL) shim_arm_hook(vm); /* a pcall may catch the error: the next instruction tries again */
        luaL_error(L, "stopped by the host");
    }
    luaL_error(L, "cannot wait here: a coroutine was resumed inside a C function that cannot (tostring, ...)");
}

const char shim_key_parked;

/* Pushes the table of parked contexts. [-0, +1, m] */
static void push_parked(lua_State *L) {
    luaL_checkstack(L, 4, "contexts");
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_parked) == LUA_TTABLE) return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 1);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &shim_key_parked);
}

struct parking { lua_State *co; void *contexts; };

/* [-1, +0, m] */
static int park_body(lua_State *L) {
    struct parking *p = lua_touserdata(L, 1);
    push_parked(L);
    luaL_checkstack(p->co, 1, "contexts");
    lua_pushthread(p->co);
    lua_xmove(p->co, L, 1);
    shim_push_object(L, vm_of(L)->host->type_of(p->contexts), p->contexts);
    lua_rawset(L, -3);
    return 0;
}

/* `co` runs no more, and stays in contexts that it entered: whoever resumed it is not in them. [-0, +0, m] */
static void park(lua_State *L, shim_vm *vm, lua_State *co, int depth, bool keeps) {
    struct parking p = {co, vm->host->park(vm, depth, keeps)};
    if (p.contexts == NULL) return;
    int status = LUA_ERRMEM;
    if (lua_checkstack(L, 4)) { /* protected: the reference to the contexts must not be lost */
        lua_pushcfunction(L, park_body);
        lua_pushlightuserdata(L, &p);
        status = lua_pcall(L, 1, 0, 0);
    }
    vm->host->release(p.contexts);
    if (status != LUA_OK) luaL_error(L, "not enough memory");
    vm->has_parked = true;
}

/* `co` is about to run: it is again in the contexts that it was in. [-0, +0, m] */
static void unpark(lua_State *L, shim_vm *vm, lua_State *co) {
    const shim_type *type;
    if (!lua_checkstack(co, 1)) return;
    push_parked(L);
    lua_pushthread(co);
    lua_xmove(co, L, 1);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -3) == LUA_TUSERDATA) { /* stack: table, co, parked */
        vm->host->unpark(vm, shim_any_object(L, -1, &type));
        lua_pop(L, 1);
        lua_pushnil(L);
        lua_rawset(L, -3);
        lua_pop(L, 1);
    } else {
        lua_pop(L, 3);
    }
}

/* Resumes `co` with the top `count` values of L, through all host waits: those make L yield, and `after` is called
 * in place of this function's caller when the host goes on, with `depth`, the contexts entered outside `co`. Returns the
 * number of results on L, or -1 with the error on top. [-count, +results, v] */
static int run(lua_State *L, lua_State *co, int count, lua_KFunction after, int depth) {
    shim_vm *vm = vm_of(L);
    lua_State *outer = vm->running; /* L, or NULL while the host loads its own library */
    bool chain_yieldable = vm->chain_yieldable;
    bool again = false;
    for (;;) {
        int results = 0;
        vm->chain_yieldable = chain_yieldable && lua_isyieldable(L);
        switch_to(vm, co);
        if (again) shim_arm_hook(vm); /* the preemption is still owed */
        int status = lua_resume(co, L, count, &results);
        vm->chain_yieldable = chain_yieldable;
        switch_to(vm, outer);
        if (status == LUA_YIELD && vm->op != SHIM_OP_NONE) {
            lua_pop(co, results);
            /* No local is alive after this: the yield does not return. */
            if (lua_isyieldable(L)) return lua_yieldk(L, 0, depth, after);
            stay_inside(L, vm);
            again = true;
            count = 0;
            continue;
        }
        if (vm->entered > depth) park(L, vm, co, depth, status == LUA_YIELD);
        if (status != LUA_OK && status != LUA_YIELD) {
            lua_xmove(co, L, 1);
            return -1;
        }
        if (!lua_checkstack(L, results + 1)) {
            lua_pop(co, results);
            lua_pushliteral(L, "too many results to resume");
            return -1;
        }
        lua_xmove(co, L, results);
        return results;
    }
}

/* Starts or continues `co` for the script with the top `count` values. As `run`. [-count, +results, v] */
static int start(lua_State *L, lua_State *co, int count, lua_KFunction after) {
    if (lua_status(co) == LUA_YIELD && !yielded_to_script(co)) {
        lua_pushliteral(L, "cannot resume non-suspended coroutine");
        return -1;
    }
    if (!lua_checkstack(co, count)) {
        lua_pushliteral(L, "too many arguments to resume");
        return -1;
    }
    shim_vm *vm = vm_of(L);
    int depth = vm->entered;
    if (vm->has_parked) unpark(L, vm, co);
    lua_xmove(L, co, count);
    return run(L, co, count, after, depth);
}

/* [-0, +0, v] */
static lua_State *check_coroutine(lua_State *L) {
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co, 1, "thread");
    return co;
}

/* Puts the boolean before the results of `run`. [-0, +1, -] */
static int resumed(lua_State *L, int results) {
    lua_pushboolean(L, results >= 0);
    if (results < 0) results = 1;
    lua_insert(L, -(results + 1));
    return results + 1;
}

/* stack: co. The host goes on after a wait inside co. [-0, +results, v] */
static int resume_after(lua_State *L, int status, lua_KContext depth) {
    (void)status;
    lua_settop(L, 1);
    return resumed(L, run(L, lua_tothread(L, 1), 0, resume_after, (int)depth));
}

/* coroutine.resume(co, ...) [-n, +results, v] */
static int resume(lua_State *L) {
    lua_State *co = check_coroutine(L);
    return resumed(L, start(L, co, lua_gettop(L) - 1, resume_after));
}

/* Returns the results of a wrapped coroutine, or raises its error as stock Lua does: with the caller's position in
 * front of a string. [-0, +0, v] */
static int unwrapped(lua_State *L, lua_State *co, int results) {
    if (results >= 0) return results;
    if (lua_status(co) != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

/* [-0, +results, v] */
static int wrapped_after(lua_State *L, int status, lua_KContext depth) {
    (void)status;
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    lua_settop(L, 0);
    return unwrapped(L, co, run(L, co, 0, wrapped_after, (int)depth));
}

/* What coroutine.wrap returns; upvalue 1: the coroutine. [-n, +results, v] */
static int wrapped(lua_State *L) {
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    return unwrapped(L, co, start(L, co, lua_gettop(L), wrapped_after));
}

/* coroutine.create(f). The new one inherits an armed hook; the hook looks at vm->running. [-1, +1, v] */
static int create(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    return 1;
}

/* coroutine.wrap(f) [-1, +1, v] */
static int wrap(lua_State *L) {
    create(L);
    lua_pushcclosure(L, wrapped, 1);
    return 1;
}

/* coroutine.yield(...) [-n, +results, v] */
static int yield(lua_State *L) {
    shim_vm *vm = vm_of(L);
    /* A task's own coroutine is resumed by the host, which expects no values of a script. */
    if (L == vm->base) return luaL_error(L, "attempt to yield from outside a coroutine");
    vm->op = SHIM_OP_NONE;
    return lua_yield(L, lua_gettop(L));
}

/* [-0, +0, -] */
static const char *status_of(lua_State *L, lua_State *co) {
    if (L == co) return "running";
    lua_Debug frame;
    switch (lua_status(co)) {
    case LUA_YIELD:
        return yielded_to_script(co) ? "suspended" : "normal"; /* normal: inside it something runs or waits */
    case LUA_OK:
        if (lua_getstack(co, 0, &frame)) return "normal";
        return lua_gettop(co) == 0 ? "dead" : "suspended";
    default:
        return "dead";
    }
}

/* coroutine.status(co) [-1, +1, v] */
static int status(lua_State *L) {
    lua_pushstring(L, status_of(L, check_coroutine(L)));
    return 1;
}

/* coroutine.isyieldable([co]) [-1, +1, v] */
static int isyieldable(lua_State *L) {
    lua_State *co = lua_isnone(L, 1) ? L : check_coroutine(L);
    lua_pushboolean(L, co != vm_of(L)->base && lua_isyieldable(co));
    return 1;
}

/* coroutine.running() [-0, +2, -] */
static int running(lua_State *L) {
    bool main = lua_pushthread(L) != 0;
    lua_pushboolean(L, main || L == vm_of(L)->base);
    return 2;
}

/* [-0, +1, m] */
void shim_open_coroutine(lua_State *L) {
    static const luaL_Reg library[] = {
        {"create", create}, {"isyieldable", isyieldable}, {"resume", resume}, {"running", running},
        {"status", status}, {"wrap", wrap}, {"yield", yield}, {NULL, NULL}
    };
    lua_createtable(L, 0, 7);
    luaL_setfuncs(L, library, 0);
}
