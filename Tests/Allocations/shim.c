/* Sweeps failures of memory over CLuaShim and CMessage: each script below runs once for each of its allocations, which then
 * fails, from the making of its state to its end.
 *
 *     scripts/check.d/allocations           builds it, with AddressSanitizer, and runs it
 *     shim [NAME [KIND [NUMBER]]]           only these; prints how each run ended
 *
 * Kinds: `collect`, a growth of Lua's memory is refused once, and Lua collects and tries again; `lua`, it is refused twice,
 * and Lua raises; `end`, it and all after it are refused, and the state is
 * stopped, as past four times its limit; `host`, a malloc, calloc or realloc of our C code fails. (Those of
 * Swift do not fail: its runtime ends the process.)
 *
 * Each run ends in success or an error, never in a crash. Then the state is used again, without a failure, and must do what
 * it did; in the end every byte is given back, no host object is held, and nothing has leaked.
 *
 * Lua 5.4.4's own faults when memory is refused, weak metatables with __newindex above all, are not asked for here: none of
 * the scripts has such a table. What is found is ours. */
#include "fuzz_state.h"
#include <sanitizer/lsan_interface.h>

typedef struct script { const char *name, *text; } script;

#define TEXT "'{\"id\":17,\"name\":\"a long name that is no short string of Lua at all, of more than forty\",\"list\":[1,2,{\"x\":null}],\"e\":\"\\\\u00e9\"}'"

static const script scripts[] = {
    {"nothing", ""},
    {"copy", "local t = copy({ a = 1, b = 'x', c = { 1, 2.5, true, null, { z = false } }, [5] = ('long'):rep(100) })\n"
             "assert(t.a == 1 and t.c[2] == 2.5 and t[5] == ('long'):rep(100) and t.c[5].z == false)"},
    {"copy-record", "local r = copy({ a = 1, b = 2, c = 3, d = { 4 }, e = 'x' })\n"
                    "assert(r.a == 1 and r.d[1] == 4) r.f = 6 r.a = nil local s = copy(r)\n"
                    "assert(s.f == 6 and s.a == nil and s.b == 2) for k, v in pairs(s) do assert(r[k] ~= nil) end"},
    {"copy-many", "local t = {} for i = 1, 90 do t['k' .. i] = { i } end local u = copy(t) assert(u.k90[1] == 90)"},
    {"objects", "local c = shared() local t = copy({ c, { c, x = c } }) assert(t[1] == c and t[2].x == c) own()\n"
                "assert(c:ping() == 77) assert(not pcall(copy, { a = own() })) assert(not pcall(function() c:pong() end))\n"
                "assert(tostring(c):find('channel', 1, true))"},
    {"json", "local t = json(" TEXT ") assert(t.id == 17 and t.list[3].x == null and t.e == '\\xC3\\xA9')\n"
             "local u = json(to_json(t)) assert(u.name == t.name) assert(not pcall(json, '[1,')) assert(to_json({}) == '{}')"},
    {"json-wide", "local t = {} for i = 1, 200 do t['key' .. i] = { i, tostring(i) } end\n"
                  "local s = to_json(t) assert(#json(s).key200 == 2) local a = {} for i = 1, 100 do a[i] = i end\n"
                  "assert(#json(to_json(a)) == 100)"},
    {"json-record", "local r = record(" TEXT ") assert(r.id == 17 and r.name and r.list[1] == 1) r.id = 18 r.new = { 1 }\n"
                    "local s = record(to_json(r)) assert(s.id == 18 and s.new[1] == 1 and s.e == '\\xC3\\xA9') s.list[4] = r\n"
                    "s.name = nil local t = copy(s) assert(t.list[4].id == 18 and t.name == nil)\n"
                    "local n = 0 for _ in pairs(t) do n = n + 1 end assert(n == 4) assert(rawlen(record('[1,2]')) == 2)"},
    {"describe", "assert(#describe({ 1, 'x', { a = { b = {} } }, record(" TEXT ") }) > 10)"},
    {"select", "local c = shared() assert(choose({ { recv = c } }) == 1)\n"
               "assert(choose({ { recv = c }, { send = c, value = { c, 'x' } }, { default = true } }) == 1)\n"
               "assert(choose({ { send = c, value = c, run = function() return 5 end }, record('{\"after\":1}'), false }) == 1)\n"
               "for _, bad in ipairs { 5, { 5 }, { {} }, { { recv = 1 } }, { { recv = c, x = 1 } }, { { send = c } },\n"
               "  { { send = c, value = c }, { send = c, value = print } }, { x = 1 }, { { send = c, value = c }, { default = 3 } } } do\n"
               "  assert(not pcall(choose, bad)) end"},
    {"image", "local n, t = 0, { deep = { { 1 }, shared() }, name = ('x'):rep(60) } t.self = t setmetatable(t, { __index = t })\n"
              "local function f() n = n + 1 return t.deep[1][1] + n end\n"
              "counter = f function helper(a) return a + f() end string.extra = helper\n"
              "image(f, { helper, [t] = f }) assert(not pcall(image, coroutine.create(f)))"},
    {"coroutines", "local c = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) wait() raise_signal() error({ b }) end)\n"
                   "assert(c(1) == 2) local ok, e = pcall(c, 3) assert(not ok and e[1] == 3)\n"
                   "local ok, e = xpcall(error, function(m) return { m } end, 'x') assert(not ok and e[1] == 'x')\n"
                   "local d = coroutine.create(function() wait() return 4 end) assert(select(2, coroutine.resume(d)) == 4)"},
    {"close", "local log = {} local function f() local a <close> = setmetatable({}, { __close = function(_, e) log[#log + 1] = e or 0 end })\n"
              "wait() error('up') end assert(not pcall(f)) assert(#log == 1) assert(wait() == 42)"},
    {"held", "local c = shared() local ok = pcall(c.run, c, function() return wait() end) assert(c.ping(c) == 77)\n"
             "assert(not pcall(c.run, c, 5)) assert(bound() == 42 or true)"},
    {"raises", "error('with a traceback')"},
    {"raises-table", "error({ code = 5 })"},
    {"library", "assert(load('return 1 + ...', 'x')(2) == 3) assert(not pcall(require, 'nothing')) print('a', 1, nil, {})\n"
                "warn('x', 'y') math.randomseed(5) assert(math.random(10)) assert(os.date('%Y', 0)) os.time { year = 2000, month = 1, day = 1 }\n"
                "assert(string.format('%s %d %q', 'x', 3, 'y')) local s = ('ab'):rep(300, ',') assert(s:gsub('a', string.upper))\n"
                "table.sort({ 3, 1, 2 }, function(a, b) return a > b end) assert(table.concat({ 1, 2, 3 }, ',', 1, 3) == '1,2,3')\n"
                "assert(#s:match('(.-),') == 2) for w in s:gmatch('%a') do if w == 'b' then break end end table.unpack({ 1, 2 })\n"
                "assert(tostring(setmetatable({}, { __tostring = function() return 'me' end })) == 'me')"},
};

/* ---- Failures ---- */

enum { CLEAN, COLLECT, LUA, END, HOST, KINDS };
static const char *const kinds[KINDS] = {"clean", "collect", "lua", "end", "host"};

static uint64_t host_calls, host_failure;

static bool host_fails(void) { return ++host_calls == host_failure; }

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size) { return host_fails() ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) { return host_fails() ? NULL : __real_calloc(count, size); }
void *__wrap_realloc(void *block, size_t size) { return host_fails() ? NULL : __real_realloc(block, size); }

static void set_failure(int kind, uint64_t number) {
    host_calls = 0;
    host_failure = kind == HOST ? number : 0;
    shim_failures_set(kind == CLEAN || kind == HOST ? 0 : number, kind == COLLECT ? 1 : kind == LUA ? 2 : UINT64_MAX);
}

/* ---- Runs ---- */

/* Runs the script in the state. What it ended in, or -1: it was not even begun. */
static int run(shim_vm *vm, const script *s) {
    if (shim_load(vm->L, s->text, strlen(s->text), "=script") != LUA_OK) {
        lua_pop(vm->L, 1);
        return -1;
    }
    return fuzz_run(vm, 1000);
}

static bool may_raise(const script *s) { return strncmp(s->name, "raises", 6) == 0; }

static void one(const script *s, int kind, uint64_t number, bool loud) {
    set_failure(kind, number);
    shim_vm *vm = fuzz_state(0);
    int status = vm == NULL ? -1 : run(vm, s);
    set_failure(CLEAN, 0);
    if (loud) printf("%s %s %lu: %s\n", s->name, kinds[kind], number, vm == NULL ? "no state" : status < 0 ? "not begun" : fuzz_error());
    if (kind == CLEAN) must(vm != NULL && (status == LUA_OK || may_raise(s)), "%s does not work: %s", s->name, fuzz_error());
    if (vm != NULL) {
        must(lua_gettop(vm->L) == 0, "%s %s %lu: %d values are left on the stack", s->name, kinds[kind], number, lua_gettop(vm->L));
        bool stopped = shim_vm_over(vm) == SHIM_OVER_MEMORY; /* then its worker is dropped, as it is after a limit */
        status = stopped ? LUA_OK : run(vm, s);
        must(status == LUA_OK || may_raise(s), "%s %s %lu: the state is of no use any more: %s", s->name, kinds[kind], number,
             fuzz_error());
        fuzz_end(vm);
    }
    must(fuzz_references() == 0, "%s %s %lu: %d host objects are held", s->name, kinds[kind], number, fuzz_references());
}

static uint64_t sweep(const script *s, int kind) {
    set_failure(CLEAN, 0);
    shim_vm *vm = fuzz_state(0);
    run(vm, s);
    uint64_t count = kind == HOST ? host_calls : shim_failures_growths();
    fuzz_end(vm);
    for (uint64_t number = 1; number <= count; number++) one(s, kind, number, false);
    must(!__lsan_do_recoverable_leak_check(), "%s %s: memory has leaked", s->name, kinds[kind]);
    return count;
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    shim_failures_enable(true);
    bool known = false;
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        if (argc > 1 && strcmp(argv[1], scripts[i].name) != 0) continue;
        known = true;
        one(&scripts[i], CLEAN, 0, argc > 2);
        if (argc <= 3) printf("%s:", scripts[i].name);
        for (int kind = COLLECT; kind < KINDS; kind++) {
            if (argc > 2 && strcmp(argv[2], kinds[kind]) != 0) continue;
            if (argc > 3) one(&scripts[i], kind, strtoull(argv[3], NULL, 10), true);
            else printf(" %s %lu", kinds[kind], sweep(&scripts[i], kind));
        }
        if (argc <= 3) printf("\n");
    }
    must(known, "there is no script of that name");
    return 0;
}
