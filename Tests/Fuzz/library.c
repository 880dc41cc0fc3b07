/* Fuzz target: the functions that a script finds in its sandbox.
 *
 * The bytes of the input draw a program: calls of library functions, one after another, with drawn arguments and with the
 * results of the calls before, some of them in coroutines, all protected. It runs in a state with a limit of memory and, by
 * a timer, of time. Whatever it does:
 *  - nothing crashes, and the state never holds more than four times its limit, which is where everything is refused;
 *  - it comes to an end once it is told to stop;
 *  - closing it settles the account of every byte, and no host object is held.
 * FUZZ_SHOW=1 prints the program; that of a kept input can so be read, and run elsewhere.
 *
 * Left out, since Lua 5.4.4 itself corrupts memory by it: metatables with __mode when memory is refused. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>
#include "fuzz_state.h"

enum { LIMIT = 1 << 20, STOP_AFTER_MS = 40, MOST_CALLS = 24, ROUNDS = 200 };

#if __has_include("bounded.h")
enum { BOUNDED = 1 }; /* no library function runs on when it is told to stop */
#else
enum { BOUNDED = 0 };
#endif

static const char prelude[] =
    "local v, n = {}, 0\n"
    "local F = {\n"
    "  function() return true end, function(a, b) return a < b end, function() error({}) end,\n"
    "  function(...) n = n + 1 return n % 3 == 0, ... end, function(...) raise_signal() return ... end,\n"
    "  function(...) wait() return ... end, coroutine.yield, function() return ('x'):rep(5000) end,\n"
    "  function(a) for i = 1, 8 do if type(v[i]) == 'table' then pcall(rawset, v[i], #v[i] + 1, a) end end return a end,\n"
    "  function(a) for i = 1, 8 do if type(v[i]) == 'table' then v[i][1] = nil end v[i] = nil end collectgarbage() return a end,\n"
    "  function(...) return select('#', ...) end, function() return '%1%0%%' end, function() return '%9' end,\n"
    "  print, pcall, function() return 1 << 62 end }\n"
    "local function meta(t, m) return setmetatable(t, m) end\n"
    "local M = {\n"
    "  { __index = function(_, k) return k end }, { __len = function() return 1000 end },\n"
    "  { __lt = function() return true end, __le = F[4] }, { __newindex = error }, { __tostring = function() return 1 end },\n"
    "  { __call = F[9], __close = F[5] }, { __index = F[8], __len = function() return 100 end, __name = 'm' },\n"
    "  { __pairs = F[4], __eq = F[1] }, { __len = function() return -1 end }, { __len = function() return 'x' end },\n"
    "  { __index = F[10], __newindex = F[10], __len = function() return 20 end } }\n"
    "local function list(k) local t = {} for i = 1, k do t[i] = (i * 7919) % 101 end return t end\n"
    "local function words(k) local t = {} for i = 1, k do t[i] = tostring((i * 7919) % 101) end return t end\n"
    "local function call(k, f, ...)\n"
    "  local _, a, b = pcall(f, ...)\n"
    "  v[k], v[k % 8 + 1] = a, b\n"
    "end\n"
    "local function inside(k, f, ...)\n"
    "  local c = coroutine.create(f)\n"
    "  call(k, coroutine.resume, c, ...)\n"
    "  v[(k + 2) % 8 + 1] = c\n"
    "end\n";

static const char *const functions[] = {
    "string.byte", "string.char", "string.find", "string.format", "string.gmatch", "string.gsub", "string.len", "string.lower",
    "string.match", "string.pack", "string.packsize", "string.rep", "string.reverse", "string.sub", "string.unpack",
    "string.upper", "table.concat", "table.insert", "table.move", "table.pack", "table.remove", "table.sort", "table.unpack",
    "utf8.char", "utf8.codepoint", "utf8.codes", "utf8.len", "utf8.offset", "math.abs", "math.fmod", "math.floor", "math.max",
    "math.random", "math.randomseed", "math.tointeger", "math.type", "math.ult", "os.date", "os.time", "coroutine.create",
    "coroutine.resume", "coroutine.wrap", "coroutine.status", "coroutine.isyieldable", "coroutine.running", "assert", "error",
    "ipairs", "pairs", "pcall", "xpcall", "rawequal", "rawget", "rawset", "rawlen", "select", "tonumber", "tostring", "type",
    "collectgarbage", "getmetatable", "setmetatable", "load", "next", "require", "print", "warn", "copy", "json", "to_json",
    "array", "shared", "own", "image",
    /* these again, which are the largest */
    "string.find", "string.format", "string.gsub", "string.gmatch", "string.match", "string.rep", "table.concat",
    "table.insert", "table.move", "table.remove", "table.sort", "table.unpack", "string.pack", "string.unpack", "utf8.codes",
};

static const char *const strings[] = {
    "", "a", "abc", "%d", "%s", "%5.2f", "%q", "%a", "%i%c%u%x", "%-10s|%+d", "(.-)%s*$", "a*", "%b()", "%f[%w]%w+", "[^%s]+",
    "([a-z])([0-9])", "()", ".-b", "[%a-z%]]", "%", "[", "(", "%1", "(a)%1", "a-", "^a", "$", "i4", "z", "s1", "!8 b i8 d", "<I2",
    ">j", "xxx", "Xi4", "i17", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "1", "0x10p2", " 12 ", "nan",
    "{\\\"a\\\":[1,{}],\\\"b\\\":null}", "[]", "return ...", "local a <close> = ...", "*t", "!%Y-%m-%d %H:%M:%S", "%Ex",
    "\\xC3\\xA9\\u{10FFFF}", "\\xED\\xA0\\x80", "\\xFF\\0z", "%99.99f", "%.3q", "%10.20s", "count", "collect", "n", "#", "k",
};

static const char *const numbers[] = {
    "0", "1", "-1", "2", "3", "10", "100", "255", "256", "1000", "2.0", "0.5", "-0.0", "1/0", "-1/0", "0/0", "65536", "1e15", "2^53",
    /* only where no function runs on for ever */
    "2147483647", "-2147483648", "4294967296", "math.maxinteger", "math.mininteger", "math.maxinteger - 1", "1 << 40", "1 << 24",
};
enum { SMALL_NUMBERS = 19 };

static const char *const others[] = {
    "nil", "true", "false", "null", "{}", "{ 1, 2, 3 }", "{ 3, 1, 2, n = 5 }", "{ 'b', 'a' }", "{ [1] = 1, [4] = 4, [1 << 40] = 0 }",
    "list(200)", "words(300)", "{ year = 2024, month = 13, day = -5, hour = 1e9 }", "json('{\"a\":[1,2,{}],\"b\":\"x\",\"c\":1}')",
    "json('[1,\"x\",[]]')", "copy({ a = 1, b = 2, c = 3, d = { 4 } })", "array({})", "shared()", "own()", "v", "string", "_G", "(...)",
    "('ab'):rep(2000)", "coroutine.create(F[7])", "coroutine.wrap(F[5])", "F", "M",
};

typedef struct program { char text[40000]; size_t used; } program;
typedef struct input { const uint8_t *p, *end; } input;

static uint8_t byte(input *in) { return in->p < in->end ? *in->p++ : 0; }
#define PICK(list) list[byte(in) % (sizeof list / sizeof *list)]

static __attribute__((format(printf, 2, 3))) void add(program *p, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(p->text + p->used, sizeof p->text - p->used, format, arguments);
    va_end(arguments);
    p->used += (size_t)n;
    must(p->used < sizeof p->text, "the program is too long");
}

static void add_argument(program *p, input *in) {
    uint8_t kind = byte(in);
    switch (kind % 9) {
    case 0: case 1: add(p, "v[%d]", byte(in) % 8 + 1); return;
    case 2: case 3: {
        size_t count = BOUNDED ? sizeof numbers / sizeof *numbers : SMALL_NUMBERS;
        add(p, "%s", numbers[byte(in) % count]);
        return;
    }
    case 4: add(p, "\"%s\"", PICK(strings)); return;
    case 5: { /* bytes as they come */
        add(p, "\"");
        for (int n = byte(in) % 16; n > 0; n--) add(p, "\\x%02x", byte(in));
        add(p, "\"");
        return;
    }
    case 6: add(p, "F[%d]", byte(in) % 16 + 1); return;
    case 7: add(p, "%s", PICK(others)); return;
    default:
        if (BOUNDED) add(p, "meta({ %d, 'x', 2.5 }, M[%d])", kind, byte(in) % 11 + 1);
        else add(p, "meta({ %d, 'x', 2.5 }, M[%d])", kind, byte(in) % 6 + 1);
    }
}

static void draw(program *p, input *in) {
    p->used = 0;
    add(p, "%s", prelude);
    for (int calls = 0; calls < MOST_CALLS && in->p < in->end; calls++) {
        uint8_t how = byte(in);
        add(p, "%s(%d, %s", how & 0x40 ? "inside" : "call", how % 8 + 1, PICK(functions));
        for (int n = how >> 3 & 7; n > 2; n--) {
            add(p, ", ");
            add_argument(p, in);
        }
        add(p, ")\n");
    }
}

/* ---- The time that a program has ---- */

static shim_vm *running;
static timer_t timer;

static void stop(int signal) {
    (void)signal;
    if (running == NULL) return;
    shim_control_set(running, SHIM_CONTROL_KILL);
    if (shim_current == running) shim_arm_hook(running);
}

static void arm(long milliseconds) {
    static bool made;
    if (!made) {
        struct sigaction action = {.sa_handler = stop, .sa_flags = SA_RESTART};
        struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2};
        event._sigev_un._tid = gettid();
        sigaction(SIGUSR2, &action, NULL);
        must(timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) == 0, "no timer");
        made = true;
    }
    /* Again and again: a hook that was armed may be gone with its coroutine. */
    struct itimerspec time = {{0, milliseconds > 0 ? 5000000 : 0}, {0, milliseconds * 1000000}};
    timer_settime(timer, 0, &time, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static program text;
    input in = {data, data + size};
    draw(&text, &in);
    if (getenv("FUZZ_SHOW") != NULL) fwrite(text.text, 1, text.used, stderr);
    shim_vm *vm = fuzz_state(LIMIT);
    must(vm != NULL, "no state");
    running = vm;
    arm(STOP_AFTER_MS);
    int status = shim_load(vm->L, text.text, text.used, "=program");
    must(status == LUA_OK, "the program is not Lua: %s", lua_tostring(vm->L, -1));
    fuzz_run(vm, ROUNDS);
    bool stopped = shim_control_get(vm) & SHIM_CONTROL_KILL;
    if (!stopped) { /* it is a worker like any other still */
        static const char after[] = "local t = {} for i = 1, 100 do t[i] = {} end";
        must(shim_load(vm->L, after, sizeof after - 1, "=after") == LUA_OK, "it loads no more: %s", lua_tostring(vm->L, -1));
        fuzz_run(vm, ROUNDS);
    }
    arm(0);
    running = NULL;
    must(vm->allocator.peak <= 4 * (size_t)LIMIT, "it held %zu bytes", vm->allocator.peak);
    fuzz_end(vm);
    must(fuzz_references() == 0, "%d host objects are held", fuzz_references());
    return 0;
}
