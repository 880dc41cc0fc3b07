#include "fuzz_state.h"
#include <signal.h>
#include <sys/mman.h>

/* ---- Host objects ---- */

typedef struct object { int references, number; } object;

static int references;

void *fuzz_object(int number) {
    static uint8_t *base;
    if (base == NULL) {
        base = mmap((void *)FUZZ_OBJECT_BASE, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
                    -1, 0);
        must(base == (void *)FUZZ_OBJECT_BASE, "no page at the objects' address");
        for (int i = 0; i < FUZZ_OBJECTS; i++) ((object *)(base + 64 * i))->number = i;
    }
    return base + 64 * number;
}

bool fuzz_is_object(const void *pointer) {
    for (int i = 0; i < FUZZ_OBJECTS; i += 2) {
        if (pointer == fuzz_object(i)) return true;
    }
    return false;
}

int fuzz_references(void) { return references; }

void fuzz_retain(void *o) {
    ((object *)o)->references++;
    references++;
}

void fuzz_release(void *o) {
    must(((object *)o)->references-- > 0, "object %d is released once too often", ((object *)o)->number);
    references--;
}

static int ping(lua_State *L, shim_vm *vm) {
    (void)vm;
    lua_pushinteger(L, 77);
    return 1;
}
static const shim_method methods[] = {{"ping", ping, false, false}, {"run", ping, true, false}, {NULL, NULL, false, false}};
static const shim_type shared_type = {"channel", "a channel", true, methods, NULL, NULL};
static const shim_type own_type = {"reader", "a reader", false, methods, NULL, NULL};

static const shim_type *type_of(void *o) { return ((object *)o)->number % 2 == 0 ? &shared_type : &own_type; }

/* ---- The host ---- */

static int pass(lua_State *L, shim_vm *vm) {
    (void)L, (void)vm;
    return 0;
}
static int raise_top(lua_State *L, shim_vm *vm) {
    (void)L, (void)vm;
    return SHIM_RAISE;
}
static int finish(lua_State *L, shim_vm *vm) {
    (void)vm;
    lua_pushinteger(L, 42);
    return 1;
}
static double some_time(shim_vm *vm) {
    (void)vm;
    return 86400.75;
}

static const shim_host host = {
    .print = pass, .warn = pass, .find_module = raise_top, .finish = finish, .misuse = raise_top, .now = some_time,
    .wall = some_time, .retain = fuzz_retain, .release = fuzz_release, .type_of = type_of,
};

static int raise_text(lua_State *L, const char *text) {
    if (!shim_push_bytes(L, text, strlen(text))) return SHIM_RAISE;
    return SHIM_RAISE;
}

static int copy(lua_State *L, shim_vm *vm) {
    lua_settop(L, 1);
    const msg_header *message = shim_encode_scratch(L, 1, vm);
    if (message == NULL) return raise_text(L, shim_encode_problem(vm));
    must(msg_check(message, message->size, fuzz_is_object), "the encoder made a message that is none");
    bool good = shim_decode_protected(L, message);
    shim_message_release(message, fuzz_release);
    return good ? 1 : SHIM_RAISE;
}

static int json(lua_State *L, shim_vm *vm) {
    (void)vm;
    shim_problem problem;
    if (lua_type(L, 1) != LUA_TSTRING) return 0;
    size_t length;
    const char *text = lua_tolstring(L, 1, &length);
    switch (shim_json_decode_protected(L, text, length, &problem)) {
    case 0: return 1;
    case 1: return raise_text(L, problem.text);
    default: return SHIM_RAISE;
    }
}

static int to_json(lua_State *L, shim_vm *vm) {
    (void)vm;
    shim_buffer out = {0};
    shim_problem problem;
    lua_settop(L, 1);
    int result = 1;
    if (shim_json_encode(L, 1, &out, &problem) != 0) result = raise_text(L, problem.text);
    else if (!shim_push_bytes(L, out.bytes, out.used)) result = SHIM_RAISE;
    shim_buffer_free(&out);
    return result;
}

static int array(lua_State *L, shim_vm *vm) {
    (void)vm;
    lua_settop(L, 1);
    if (lua_type(L, 1) == LUA_TTABLE) shim_mark_array(L);
    return 1;
}

static int shared(lua_State *L, shim_vm *vm) {
    (void)vm;
    return shim_push_object_protected(L, &shared_type, fuzz_object(0)) ? 1 : SHIM_RAISE;
}
static int own(lua_State *L, shim_vm *vm) {
    (void)vm;
    return shim_push_object_protected(L, &own_type, fuzz_object(1)) ? 1 : SHIM_RAISE;
}

static int host_wait(lua_State *L, shim_vm *vm) {
    (void)vm;
    return shim_can_wait(L) ? SHIM_WAIT : 0;
}

static int raise_signal(lua_State *L, shim_vm *vm) {
    (void)L, (void)vm;
    raise(SIGURG);
    return 0;
}

/* image(values...): whether a state with them can be rebuilt, which it must be. */
static int image(lua_State *L, shim_vm *vm) {
    (void)vm;
    shim_buffer out = {0};
    shim_problem problem;
    int count = lua_gettop(L);
    if (shim_image_encode(L, count, &out, &problem) != 0) {
        shim_buffer_free(&out);
        return raise_text(L, problem.text);
    }
    static bool inside; /* a state in a state is enough */
    shim_vm *other = inside ? NULL : fuzz_state(4 << 20);
    if (other != NULL) {
        inside = true;
        shim_image_decode(shim_vm_main(other), out.bytes, out.used);
        fuzz_end(other);
        inside = false;
    }
    shim_image_release(out.bytes, out.used, fuzz_release);
    shim_buffer_free(&out);
    return 0;
}

/* record(text): of a JSON object's text. */
static int record(lua_State *L, shim_vm *vm) {
    shim_buffer *out = shim_scratch(vm);
    size_t length;
    lua_settop(L, 1);
    if (lua_type(L, 1) != LUA_TSTRING) return 0;
    const char *text = lua_tolstring(L, 1, &length);
    uint32_t n = (uint32_t)length, size = msg_padded(MSG_TEXT_OFFSET + n);
    msg_json_checker c = {0};
    msg_json_problem problem;
    if (!msg_json_check(&c, text, length, &problem)) return raise_text(L, problem.text);
    out->used = 0;
    if (!shim_buffer_reserve(out, size)) return raise_text(L, "not enough memory");
    memset(out->bytes, 0, size);
    *(msg_header *)out->bytes = (msg_header){size, MSG_JSON, 0, 0};
    memcpy(out->bytes + MSG_HEADER_SIZE, &n, sizeof n);
    memcpy(out->bytes + MSG_TEXT_OFFSET, text, n);
    return shim_decode_protected(L, (const msg_header *)out->bytes) ? 1 : SHIM_RAISE;
}

static int describe(lua_State *L, shim_vm *vm) {
    (void)vm;
    shim_buffer out = {0};
    lua_settop(L, 1);
    shim_describe(L, 1, 400, &out);
    bool good = shim_push_bytes(L, out.bytes, out.used);
    shim_buffer_free(&out);
    return good ? 1 : SHIM_RAISE;
}

/* What `choose` waits for: the first case, at once. */
static int first_case(lua_State *L, shim_vm *vm) {
    int count;
    bool objects;
    const shim_case *cases = shim_selection_cases(vm, &count);
    const shim_buffer *messages = shim_selection_messages(vm, &objects);
    for (int i = 0; i < count; i++) {
        if (cases[i].offset < 0) continue;
        const msg_header *m = (const msg_header *)(messages->bytes + cases[i].offset);
        must(msg_check(m, m->size, fuzz_is_object), "a case's message is none");
        shim_message_release(m, fuzz_release);
    }
    lua_pushinteger(L, count > 0 ? cases[0].index : 0);
    return 1;
}

shim_vm *fuzz_state(size_t limit) {
    static const struct { const char *name; shim_callback function; } functions[] = {
        {"copy", copy}, {"json", json}, {"to_json", to_json}, {"array", array}, {"shared", shared}, {"own", own},
        {"wait", host_wait}, {"raise_signal", raise_signal}, {"image", image}, {"record", record}, {"describe", describe},
    };
    static bool installed;
    static const uint32_t hash_seed = 1; /* the order of pairs, and so what follows, is the same at each run */
    if (!installed) {
        shim_interrupt_install();
        shim_interrupt_attach();
        installed = true;
    }
    shim_vm *vm = shim_vm_create(&host, NULL, limit, 7, &hash_seed);
    if (vm == NULL) return NULL;
    lua_State *L = vm->L;
    shim_push_globals(L);
    bool good = true;
    for (size_t i = 0; good && i < sizeof functions / sizeof *functions; i++) {
        good = shim_push_function(L, functions[i].function) && shim_set_field(L, -2, functions[i].name);
    }
    good = good && shim_push_select(L, first_case, &shared_type) && shim_set_field(L, -2, "choose") &&
           shim_push_bound(L, finish, &shared_type, fuzz_object(2)) && shim_set_field(L, -2, "bound");
    if (good) {
        lua_pushlightuserdata(L, NULL);
        good = shim_set_field(L, -2, "null");
    }
    if (!good) {
        shim_vm_destroy(vm);
        return NULL;
    }
    lua_pop(L, 1);
    return vm;
}

static char error[300];

const char *fuzz_error(void) { return error; }

int fuzz_run(shim_vm *vm, int rounds) {
    lua_State *L = vm->L;
    int reference, op = SHIM_OP_NONE, results, status = LUA_YIELD;
    error[0] = '\0';
    lua_State *co = shim_task_new(vm, &reference);
    if (co == NULL) {
        lua_pop(L, 1);
        return -1;
    }
    shim_push_task_body(co);
    lua_xmove(L, co, 1);
    for (int arguments = 1; rounds-- > 0 && status == LUA_YIELD && op != SHIM_OP_KILL; arguments = 0) {
        status = shim_task_resume(vm, co, arguments, &op, &results);
        must(status != LUA_YIELD || op != SHIM_OP_NONE, "a task came back to the host for no reason");
    }
    if (status != LUA_OK && status != LUA_YIELD) {
        shim_buffer text = {0};
        shim_describe(co, -1, sizeof error - 1, &text);
        snprintf(error, sizeof error, "%.*s", (int)text.used, text.bytes == NULL ? "" : (const char *)text.bytes);
        shim_buffer_free(&text);
    }
    shim_task_free(vm, reference);
    return status;
}

void fuzz_end(shim_vm *vm) {
    /* A state of ours is never closed, only dropped; here it is, so that the account of each block is settled. */
    vm->allocator.limit = 0;
    shim_vm *outer = shim_current;
    shim_current = NULL;
    lua_close(vm->L);
    shim_current = outer;
    must(vm->allocator.used == 0, "%zu bytes are left in the allocator's account", vm->allocator.used);
    for (size_t i = 0; i < vm->slot_count; i++) must(vm->slots[i].ref == NULL, "a host object is left in the state's list");
    shim_vm_destroy(vm);
}

/* ---- Values ---- */

static size_t count_fields(lua_State *L, int table) {
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) count++;
    return count;
}

static bool same_fields(lua_State *L, int a, int b, int depth) {
    lua_pushnil(L);
    while (lua_next(L, a)) {
        lua_pushvalue(L, -2);
        lua_rawget(L, b);
        if (!fuzz_same(L, lua_gettop(L) - 1, lua_gettop(L), depth + 1)) return false;
        lua_pop(L, 2);
    }
    return true;
}

bool fuzz_same(lua_State *L, int a, int b, int depth) {
    must(lua_checkstack(L, 12), "stack");
    a = lua_absindex(L, a);
    b = lua_absindex(L, b);
    if (lua_type(L, a) != lua_type(L, b)) return false;
    if (lua_type(L, a) == LUA_TNUMBER) {
        if (lua_isinteger(L, a) != lua_isinteger(L, b)) return false;
        if (lua_isinteger(L, a)) return lua_tointeger(L, a) == lua_tointeger(L, b);
        double x = lua_tonumber(L, a), y = lua_tonumber(L, b);
        return memcmp(&x, &y, sizeof x) == 0 || (x != x && y != y);
    }
    if (lua_type(L, a) != LUA_TTABLE) return lua_rawequal(L, a, b);
    must(shim_settle(L, a) && shim_settle(L, b), "no memory");
    if (shim_is_marked_array(L, a) != shim_is_marked_array(L, b)) return false;
    int top = lua_gettop(L);
    bool same = count_fields(L, a) == count_fields(L, b) && same_fields(L, a, b, depth);
    lua_settop(L, top);
    return same;
}
