/* What scripts find in their globals: an allow list of the stock libraries, and our own functions where the stock
 * ones could not be stopped, reach the system, or corrupt memory (lua-bridge.md, section 6).
 *
 * Every function here and in the tables is a light C function, without upvalues: an image names them by their
 * pointers. What a stock function kept in an upvalue lies in the registry, under the static keys below.
 */
#include "bounded.h"
#include "record.h"
#include <math.h>
#include <string.h>

const char shim_key_modules = 0, shim_key_stdlib = 0, shim_key_array = 0, shim_key_missing = 0;

static const char key_random = 0, key_randomseed = 0; /* stock closures, which share the generator's state */
static const char key_os_time = 0, key_os_date = 0;   /* stock light C functions */
static const char loading = 0;                        /* in the table of modules: this one is being loaded */

enum { CHUNK_LIMIT = 1 << 20 }; /* bytes that `load` takes: the parser's and getobjname's recursion use the C stack */

/* ---- Output --------------------------------------------------------------------------------------------- */

/* print(...) [-n, +0, v] */
static int print(lua_State *L) {
    int n = lua_gettop(L);
    luaL_Buffer line;
    luaL_buffinit(L, &line);
    for (int i = 1; i <= n; i++) {
        if (i > 1) luaL_addchar(&line, '\t');
        luaL_tolstring(L, i, NULL);
        shim_check_size(L, luaL_bufflen(&line) + lua_rawlen(L, -1));
        luaL_addvalue(&line);
        if ((i & 255) == 0) shim_look_up(L);
    }
    luaL_pushresult(&line);
    lua_insert(L, 1);
    lua_settop(L, 1);
    return shim_call_host(L, vm_of(L)->host->print);
}

/* warn(piece, ...) [-n, +0, v] */
static int warn(lua_State *L) {
    int n = lua_gettop(L);
    luaL_checkstring(L, 1);
    for (int i = 2; i <= n; i++) luaL_checkstring(L, i);
    /* "@on" and "@off" switch stock Lua's warnings; here they are always on, and the words are no warnings. */
    if (n == 1 && *lua_tostring(L, 1) == '@') return 0;
    lua_concat(L, n);
    return shim_call_host(L, vm_of(L)->host->warn);
}

/* ---- Protected calls, metatables, memory ----------------------------------------------------------------- */

/* The level that an error of `level` names: where that is the embedded library, the script's line that called it.
 * [-0, +0, -] */
static int script_level(lua_State *L, int level) {
    lua_Debug ar;
    if (!lua_getstack(L, level, &ar) || !lua_getinfo(L, "S", &ar) || !shim_is_of_library(&ar)) return level;
    for (int outer = level + 1; lua_getstack(L, outer, &ar); outer++)
        if (lua_getinfo(L, "Sl", &ar) && ar.currentline > 0 && !shim_is_of_library(&ar)) return outer;
    return level;
}

/* error(message, level): what the embedded library was given to call blames its caller's line. [-n, +0, v] */
static int raise_error(lua_State *L) {
    int level = (int)luaL_optinteger(L, 2, 1);
    lua_settop(L, 1);
    if (lua_type(L, 1) == LUA_TSTRING && level > 0) {
        luaL_where(L, script_level(L, level));
        lua_insert(L, 1);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

/* stack: f, handler, true, the handler's result or its error (top) [-0, +2, -] */
static int xpcall_handled(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    lua_pushboolean(L, 0);
    lua_replace(L, 3);
    return lua_gettop(L) - 2;
}

/* stack: f, handler, true, results or the error (top) [-0, +n, v] */
static int xpcall_returned(lua_State *L, int status, lua_KContext context) {
    (void)context;
    if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L) - 2;
    lua_pushvalue(L, 2);
    lua_insert(L, -2);
    /* Protected, since xpcall itself does not raise; what the handler raises is the result, and it is not called
     * again for its own error as stock Lua does until the C stack is full. */
    return xpcall_handled(L, lua_pcallk(L, 1, 1, 0, 0, xpcall_handled), 0);
}

/* xpcall(f, handler, ...): the handler runs after unwinding. Stock Lua runs it at the error, and if a hook raised that
 * with hooks disabled: a looping handler could then never be stopped. [-n, +results, v] */
static int xpcall(lua_State *L) {
    int n = lua_gettop(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushboolean(L, 1);
    lua_pushvalue(L, 1);
    lua_rotate(L, 3, 2); /* stack: f, handler, true, f, arguments (top) */
    return xpcall_returned(L, lua_pcallk(L, n - 2, LUA_MULTRET, 0, 0, xpcall_returned), 0);
}

/* Raises if the metatable at 2 has the raw field. [-0, +0, v] */
static void refuse_field(lua_State *L, const char *name, const char *why) {
    lua_pushstring(L, name);
    if (lua_rawget(L, 2) != LUA_TNIL) luaL_error(L, "setmetatable: '%s' is not supported: %s", name, why);
    lua_pop(L, 1);
}

/* setmetatable(table, metatable) [-2, +1, v] */
static int setmetatable(lua_State *L) {
    int type = lua_type(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    shim_record *r = shim_record_of(L, 1);
    if (r != NULL) shim_record_settle(L, 1, r);
    r = shim_record_of(L, 2);
    if (r != NULL) shim_record_settle(L, 2, r); /* what Lua looks for in a metatable it looks for in the raw table */
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    lua_settop(L, 2);
    if (type == LUA_TTABLE) {
        refuse_field(L, "__gc", "a finalizer cannot be interrupted"); /* one added later is never called */
        refuse_field(L, "__concat", "Lua 5.4.4 can corrupt memory when it calls one");
    }
    lua_setmetatable(L, 1);
    return 1;
}

/* collectgarbage("count" | "collect") [-n, +1, v] */
static int collectgarbage(lua_State *L) {
    const char *option = luaL_optstring(L, 1, "collect");
    if (strcmp(option, "count") == 0) {
        int kilobytes = lua_gc(L, LUA_GCCOUNT), rest = lua_gc(L, LUA_GCCOUNTB);
        lua_pushnumber(L, (lua_Number)kilobytes + (lua_Number)rest / 1024);
        return 1;
    }
    if (strcmp(option, "collect") != 0)
        return luaL_argerror(L, 1, lua_pushfstring(L, "'%s' is not allowed, only 'count' and 'collect' are", option));
    lua_pushinteger(L, lua_gc(L, LUA_GCCOLLECT));
    return 1;
}

/* null.name: an error, which says what a field of JSON's null may mean better than Lua's "a userdata value" would.
 * [-2, +0, v] */
static int null_index(lua_State *L) {
    if (lua_type(L, 2) == LUA_TSTRING) return luaL_error(L, "attempt to index JSON null (field '%s')", lua_tostring(L, 2));
    return luaL_error(L, "attempt to index JSON null");
}

/* Of light userdata: the only one that scripts hold is JSON's null. [-1, +1, m] */
static int null_tostring(lua_State *L) {
    lua_pushliteral(L, "null");
    return 1;
}

/* ---- Loading -------------------------------------------------------------------------------------------- */

/* stack: reader. Returns the pieces joined. [-1, +1, v] */
static int join_pieces(lua_State *L) {
    luaL_Buffer source;
    size_t total = 0;
    luaL_buffinit(L, &source);
    for (;;) {
        size_t length;
        lua_pushvalue(L, 1);
        lua_call(L, 0, 1);
        if (lua_isnil(L, -1)) break;
        if (!lua_isstring(L, -1)) return luaL_error(L, "reader function must return a string");
        lua_tolstring(L, -1, &length);
        if (length == 0) break;
        if (length > CHUNK_LIMIT - total) return luaL_error(L, "load: a chunk is at most %d bytes", CHUNK_LIMIT);
        total += length;
        luaL_addvalue(&source);
    }
    lua_pop(L, 1); /* the last piece lies above the buffer's own value */
    luaL_pushresult(&source);
    return 1;
}

/* Returns nil and the message on top. [-1, +2, -] */
static int load_failed(lua_State *L) {
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

/* load(chunk [, name [, mode [, env]]]): text only, since nothing verifies bytecode. [-n, +1/2, v] */
static int load(lua_State *L) {
    bool has_env = !lua_isnone(L, 4);
    bool is_text = lua_tostring(L, 1) != NULL;
    const char *mode = luaL_optstring(L, 3, "t");
    const char *name = luaL_optstring(L, 2, is_text ? lua_tostring(L, 1) : "=(load)");
    size_t length;
    if (!is_text) luaL_checktype(L, 1, LUA_TFUNCTION);
    if (strchr(mode, 't') == NULL) {
        lua_pushfstring(L, "attempt to load a chunk (mode is '%s', and only text, 't', can be loaded)", mode);
        return load_failed(L);
    }
    if (!is_text) {
        lua_pushcfunction(L, join_pieces);
        lua_pushvalue(L, 1);
        if (lua_pcall(L, 1, 1, 0) != LUA_OK) return load_failed(L);
        lua_replace(L, 1); /* not `name`: that is a literal or lies at 2 */
    }
    const char *source = lua_tolstring(L, 1, &length);
    if (length > CHUNK_LIMIT) {
        lua_pushfstring(L, "load: a chunk is at most %d bytes", CHUNK_LIMIT);
        return load_failed(L);
    }
    if (shim_load_text(L, source, length, name) != LUA_OK) return load_failed(L);
    if (has_env) {
        lua_pushvalue(L, 4);
        if (lua_setupvalue(L, -2, 1) == NULL) lua_pop(L, 1);
    }
    return 1;
}

/* [%w_]+(%.[%w_]+)* in ASCII, whatever the locale. [-0, +0, -] */
static bool is_module_name(const char *name, size_t length) {
    bool in_word = false;
    for (size_t i = 0; i < length; i++) {
        char c = name[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        if (!word && !(c == '.' && in_word)) return false;
        in_word = word;
    }
    return in_word;
}

/* stack: name. Returns source and chunk name. [-1, +2, v] */
static int find_module(lua_State *L) {
    return shim_call_host(L, vm_of(L)->host->find_module);
}

/* [-0, +1, -] */
static int module_returned(lua_State *L, int status, lua_KContext context) {
    (void)L, (void)status, (void)context;
    return 1;
}

/* stack: name. Finds, compiles and runs the module; returns its value. [-1, +1, v] */
static int load_module(lua_State *L) {
    size_t length;
    lua_pushcfunction(L, find_module);
    lua_pushvalue(L, 1);
    lua_call(L, 1, 2);
    const char *source = lua_tolstring(L, 2, &length), *chunk_name = lua_tostring(L, 3);
    if (source == NULL || chunk_name == NULL)
        return luaL_error(L, "require: the host gave no source for module '%s'", lua_tostring(L, 1));
    if (luaL_loadbufferx(L, source, length, chunk_name, "t") != LUA_OK) return lua_error(L);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 3);
    lua_callk(L, 2, 1, 0, module_returned);
    return module_returned(L, LUA_OK, 0);
}

/* stack: name, modules, the module's value or the error (top) [-0, +1, v] */
static int require_returned(lua_State *L, int status, lua_KContext context) {
    (void)context;
    bool failed = status != LUA_OK && status != LUA_YIELD;
    if (!failed && lua_isnil(L, 3)) {
        lua_pushboolean(L, 1);
        lua_replace(L, 3);
    }
    lua_pushvalue(L, 1);
    if (failed) lua_pushnil(L); /* the next require tries again */
    else lua_pushvalue(L, 3);
    lua_rawset(L, 2);
    return failed ? lua_error(L) : 1;
}

/* require(name) [-1, +1, v] */
static int require(lua_State *L) {
    size_t length;
    const char *name = luaL_checklstring(L, 1, &length);
    if (!is_module_name(name, length))
        return luaL_error(L, "require: '%s' is not a module name (letters, digits, _ and dots)", name);
    lua_settop(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_modules);
    lua_pushvalue(L, 1);
    if (lua_rawget(L, 2) != LUA_TNIL) {
        if (lua_touserdata(L, 3) == &loading)
            return luaL_error(L, "module '%s' is required while it is still being loaded (a loop)", name);
        return 1;
    }
    lua_pop(L, 1);
    lua_pushvalue(L, 1);
    lua_pushlightuserdata(L, (void *)&loading);
    lua_rawset(L, 2);
    lua_pushcfunction(L, load_module);
    lua_pushvalue(L, 1);
    return require_returned(L, lua_pcallk(L, 1, 1, 0, 0, require_returned), 0);
}

/* ---- math, os ------------------------------------------------------------------------------------------- */

/* Pushes a private table with the fields that a stock library's opener makes. [-0, +1, e] */
static void open_stock(lua_State *L, lua_CFunction opener) {
    lua_pushcfunction(L, opener);
    lua_call(L, 0, 1);
}

/* Moves a field of the table on top to the registry. [-0, +0, m] */
static void stash(lua_State *L, const char *name, const void *key) {
    lua_getfield(L, -1, name);
    lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

/* Pushes what is kept at `key`; the first time it is made, as few workers ask for it. [-0, +1, m] */
static void push_stock(lua_State *L, const void *key) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, key) != LUA_TNIL) return;
    lua_pop(L, 1);
    if (key == &key_os_time || key == &key_os_date) {
        open_stock(L, luaopen_os);
        stash(L, "time", &key_os_time);
        stash(L, "date", &key_os_date);
    } else {
        open_stock(L, luaopen_math);
        stash(L, "random", &key_random);
        stash(L, "randomseed", &key_randomseed);
        lua_rawgetp(L, LUA_REGISTRYINDEX, &key_randomseed);
        lua_pushinteger(L, (lua_Integer)vm_of(L)->random_seed);
        lua_call(L, 1, 0);
    }
    lua_pop(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, key);
}

/* Calls the closure at `key` with the arguments on the stack. [-n, +results, v] */
static int call_stock(lua_State *L, const void *key) {
    push_stock(L, key);
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* math.random([m [, n]]): arguments are checked here, for the function's name in the message. [-n, +1, v] */
static int random_number(lua_State *L) {
    int n = lua_gettop(L);
    if (n > 2) return luaL_error(L, "wrong number of arguments");
    if (n > 0) {
        lua_Integer low = n == 1 ? 1 : luaL_checkinteger(L, 1), up = luaL_checkinteger(L, n);
        luaL_argcheck(L, low <= up || (n == 1 && up == 0), n, "interval is empty");
    }
    return call_stock(L, &key_random);
}

/* math.randomseed([x [, y]]) [-n, +2, v] */
static int random_seed(lua_State *L) {
    if (!lua_isnone(L, 1)) {
        luaL_checkinteger(L, 1);
        luaL_optinteger(L, 2, 0);
    }
    return call_stock(L, &key_randomseed);
}

/* Runs a stock light C function in place of the calling one: its errors then name that one. [-n, +results, v] */
static int become_stock(lua_State *L, const void *key) {
    push_stock(L, key);
    lua_CFunction stock = lua_tocfunction(L, -1);
    lua_pop(L, 1);
    return stock(L);
}

/* The host's time in whole seconds. [-0, +1, -] */
static void push_wall(lua_State *L) {
    shim_vm *vm = vm_of(L);
    double seconds = floor(vm->host->wall(vm));
    lua_Integer whole = 0;
    lua_numbertointeger(seconds, &whole); /* a clock out of range reads 1970 */
    lua_pushinteger(L, whole);
}

/* os.clock() [-0, +1, -] */
static int os_clock(lua_State *L) {
    shim_vm *vm = vm_of(L);
    lua_pushnumber(L, vm->host->now(vm));
    return 1;
}

/* os.time([table]) [-1, +1, v] */
static int os_time(lua_State *L) {
    if (!lua_isnoneornil(L, 1)) return become_stock(L, &key_os_time);
    push_wall(L);
    return 1;
}

/* os.date([format [, time]]) [-n, +1, v] */
static int os_date(lua_State *L) {
    if (lua_isnoneornil(L, 2)) {
        lua_settop(L, 1);
        push_wall(L);
    }
    return become_stock(L, &key_os_date);
}

/* ---- Opening -------------------------------------------------------------------------------------------- */

/* Removes every field that is not in the list: what a later Lua adds stays out. [-0, +0, m] */
static void keep(lua_State *L, int table, const char *const *names) {
    lua_newtable(L);
    int kept = lua_gettop(L);
    for (; *names != NULL; names++) {
        lua_pushstring(L, *names);
        lua_pushvalue(L, -1);
        lua_rawget(L, table);
        lua_rawset(L, kept);
    }
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        if (lua_rawget(L, kept) == LUA_TNIL) { /* clearing a field during a traversal is allowed */
            lua_pushvalue(L, -3);
            lua_pushnil(L);
            lua_rawset(L, table);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* The table on top becomes global `name`; a copy of it under LUA_LOADED_TABLE, where Lua looks for the names of
 * functions in messages. A copy, as that search must not grow with what a script adds. [-1, +0, e] */
static void publish(lua_State *L, const char *name) {
    int table = lua_gettop(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, table) != 0;) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
    lua_setglobal(L, name);
}

/* _G. luaopen_base writes into the globals whatever it has: they are another table meanwhile. [-0, +0, e] */
static void open_base(lua_State *L) {
    static const char *const allowed[] = {
        "assert", "ipairs", "pairs", "pcall", "rawequal", "select", "tostring", "type", "_VERSION",
        NULL
    };
    static const luaL_Reg own[] = {
        {"collectgarbage", collectgarbage}, {"error", raise_error}, {"getmetatable", shim_getmetatable}, {"load", load},
        {"next", shim_next_field}, {"print", print}, {"rawget", shim_rawget}, {"rawlen", shim_rawlen},
        {"rawset", shim_rawset}, {"require", require}, {"setmetatable", setmetatable}, {"tonumber", shim_tonumber},
        {"warn", warn}, {"xpcall", xpcall}, {NULL, NULL}
    };
    lua_pushglobaltable(L);
    int globals = lua_gettop(L);
    lua_newtable(L);
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    open_stock(L, luaopen_base);
    lua_pushvalue(L, globals);
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    for (const char *const *name = allowed; *name != NULL; name++) {
        lua_getfield(L, -1, *name);
        lua_setfield(L, globals, *name);
    }
    lua_pop(L, 1);
    luaL_setfuncs(L, own, 0);
    publish(L, "_G"); /* and sets _G._G */
}

/* [-0, +0, e] */
static void open_string(lua_State *L) {
    static const char *const allowed[] = {
        "byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "pack", "packsize", "rep",
        "reverse", "sub", "unpack", "upper", NULL
    };
    open_stock(L, luaopen_string);
    keep(L, lua_gettop(L), allowed);
    lua_getfield(L, -1, "pack");
    atomic_store(&shim_stock_pack, lua_tocfunction(L, -1));
    lua_getfield(L, -2, "packsize");
    atomic_store(&shim_stock_packsize, lua_tocfunction(L, -1));
    lua_getfield(L, -3, "unpack");
    atomic_store(&shim_stock_unpack, lua_tocfunction(L, -1));
    lua_pop(L, 3);
    luaL_setfuncs(L, shim_bounded_string, 0);
    luaL_setfuncs(L, shim_bounded_pattern, 0);
    publish(L, "string");
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable"); /* its __index is the one table that all code in the state shares */
    lua_pop(L, 2);
}

/* [-0, +0, e] */
static void open_math(lua_State *L) {
    static const char *const allowed[] = {
        "abs", "acos", "asin", "atan", "ceil", "cos", "deg", "exp", "floor", "fmod", "huge", "log", "max", "maxinteger",
        "min", "mininteger", "modf", "pi", "rad", "random", "randomseed", "sin", "sqrt", "tan", "tointeger", "type",
        "ult", NULL
    };
    static const luaL_Reg own[] = {{"random", random_number}, {"randomseed", random_seed}, {NULL, NULL}};
    open_stock(L, luaopen_math);
    keep(L, lua_gettop(L), allowed);
    luaL_setfuncs(L, own, 0);
    publish(L, "math");
}

/* [-0, +0, e] */
static void open_os(lua_State *L) {
    static const luaL_Reg own[] = {{"clock", os_clock}, {"date", os_date}, {"time", os_time}, {NULL, NULL}};
    luaL_newlib(L, own);
    publish(L, "os");
}

/* A stock library, with some functions of our own in it. [-0, +0, e] */
static void open_simple(lua_State *L, lua_CFunction opener, const char *name, const char *const *allowed,
                        const luaL_Reg *own) {
    open_stock(L, opener);
    keep(L, lua_gettop(L), allowed);
    luaL_setfuncs(L, own, 0);
    publish(L, name);
}

/* The tables of the registry, and the metatable of null. [-0, +0, m] */
void shim_open_registry(lua_State *L) {
    static const void *const tables[] = {&shim_key_modules, &shim_key_stdlib, &shim_key_array};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        lua_newtable(L);
        lua_rawsetp(L, LUA_REGISTRYINDEX, tables[i]);
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_array);
    lua_pushliteral(L, "array");
    lua_setfield(L, -2, "__name");
    lua_pop(L, 1);

    shim_open_records(L);
    lua_pushlightuserdata(L, NULL);
    lua_createtable(L, 0, 5);
    lua_pushcfunction(L, null_index);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, null_index);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, null_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, "null");
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

/* Opens the allowed libraries into the globals. Called under protection at creation. [-0, +0, e] */
void shim_open_sandbox(lua_State *L) {
    static const char *const table_names[] = {"concat", "insert", "move", "pack", "remove", "sort", "unpack", NULL};
    static const char *const utf8_names[] = {"char", "charpattern", "codepoint", "codes", "len", "offset", NULL};
    luaL_checkstack(L, 20, "no room for opening the libraries");
    shim_open_registry(L);
    open_base(L);
    open_simple(L, luaopen_table, "table", table_names, shim_bounded_table);
    open_string(L);
    open_math(L);
    open_simple(L, luaopen_utf8, "utf8", utf8_names, shim_bounded_utf8);
    open_os(L);
    shim_open_coroutine(L);
    publish(L, "coroutine");
}
