/* table.concat, insert, move, remove, unpack. They respect metamethods as Lua's do, so that a length may be a lie. */
#include "bounded.h"
#include <limits.h>

enum { READS = 1, WRITES = 2, MEASURES = 4 };

/* Raises unless the argument is a table or has the metamethods of what is done to it. [-0, +0, v] */
static void check_table(lua_State *L, int arg, int what) {
    static const struct { int what; const char *metamethod; } needs[] = {
        {READS, "__index"}, {WRITES, "__newindex"}, {MEASURES, "__len"}
    };
    if (lua_type(L, arg) == LUA_TTABLE) return;
    bool good = lua_getmetatable(L, arg);
    for (size_t i = 0; good && i < sizeof needs / sizeof *needs; i++) {
        if (!(what & needs[i].what)) continue;
        lua_pushstring(L, needs[i].metamethod);
        good = lua_rawget(L, -2) != LUA_TNIL;
        lua_pop(L, 1);
    }
    if (!good) luaL_checktype(L, arg, LUA_TTABLE);
    lua_pop(L, 1);
}

/* The length of the first argument. [-0, +0, v] */
static lua_Integer check_length(lua_State *L, int what) {
    check_table(L, 1, what | MEASURES);
    return luaL_len(L, 1);
}

static inline bool is_pause(lua_State *L, lua_Integer i) { return (i & (BOUNDED_STEPS - 1)) == 0 && shim_look_up(L); }

/* ---- insert, remove ---- */

/* stack: table, position, value. Moves up what is before `i`, down to the position. [-0, +0, v] */
static int insert_on(lua_State *L, int status, lua_KContext i) {
    (void)status;
    lua_Integer position = lua_tointeger(L, 2);
    while (i > position) {
        lua_geti(L, 1, i - 1);
        lua_seti(L, 1, i);
        i--;
        if (is_pause(L, i)) return shim_give_way(L, i, insert_on);
    }
    lua_seti(L, 1, position);
    return 0;
}

/* table.insert(list, [position,] value) [-n, +0, v] */
static int insert(lua_State *L) {
    lua_Integer end = (lua_Integer)((lua_Unsigned)check_length(L, READS | WRITES) + 1);
    switch (lua_gettop(L)) {
    case 2:
        lua_seti(L, 1, end);
        return 0;
    case 3: {
        lua_Integer position = luaL_checkinteger(L, 2);
        luaL_argcheck(L, (lua_Unsigned)position - 1u < (lua_Unsigned)end, 2, "position out of bounds");
        lua_pushinteger(L, position); /* the argument may be a string */
        lua_replace(L, 2);
        return insert_on(L, LUA_OK, end);
    }
    default: return luaL_error(L, "wrong number of arguments to 'insert'");
    }
}

/* stack: table, size, the removed value (top). Moves down what is behind `position`. [-0, +1, v] */
static int remove_on(lua_State *L, int status, lua_KContext position) {
    (void)status;
    lua_Integer size = lua_tointeger(L, 2);
    while (position < size) {
        lua_geti(L, 1, position + 1);
        lua_seti(L, 1, position);
        position++;
        if (is_pause(L, position)) return shim_give_way(L, position, remove_on);
    }
    lua_pushnil(L);
    lua_seti(L, 1, position);
    return 1;
}

/* table.remove(list [, position]) [-n, +1, v] */
static int remove_element(lua_State *L) {
    lua_Integer size = check_length(L, READS | WRITES);
    lua_Integer position = luaL_optinteger(L, 2, size);
    if (position != size)
        luaL_argcheck(L, (lua_Unsigned)position - 1u <= (lua_Unsigned)size, 1, "position out of bounds"); /* as Lua says it */
    lua_settop(L, 1);
    lua_pushinteger(L, size);
    lua_geti(L, 1, position);
    return remove_on(L, LUA_OK, position);
}

/* ---- move ---- */

/* stack: from, first, last, to, target or nil, whether upwards (top). Moves element number `i`. [-0, +1, v] */
static int move_on(lua_State *L, int status, lua_KContext i) {
    (void)status;
    lua_Integer first = lua_tointeger(L, 2), count = lua_tointeger(L, 3) - first + 1, to = lua_tointeger(L, 4);
    int target = lua_isnil(L, 5) ? 1 : 5;
    bool upwards = lua_toboolean(L, 6);
    while (i < count) {
        lua_Integer at = upwards ? i : count - 1 - i;
        lua_geti(L, 1, first + at);
        lua_seti(L, target, to + at);
        i++;
        if (is_pause(L, i)) return shim_give_way(L, i, move_on);
    }
    lua_pushvalue(L, target);
    return 1;
}

/* table.move(from, first, last, to [, target]) [-n, +1, v] */
static int move(lua_State *L) {
    lua_Integer first = luaL_checkinteger(L, 2), last = luaL_checkinteger(L, 3), to = luaL_checkinteger(L, 4);
    int target = lua_isnoneornil(L, 5) ? 1 : 5;
    check_table(L, 1, READS);
    check_table(L, target, WRITES);
    lua_settop(L, 5);
    if (last < first) {
        lua_pushvalue(L, target);
        return 1;
    }
    luaL_argcheck(L, first > 0 || last < LUA_MAXINTEGER + first, 3, "too many elements to move");
    luaL_argcheck(L, to <= LUA_MAXINTEGER - (last - first + 1) + 1, 4, "destination wrap around");
    bool upwards = to > last || to <= first || (target != 1 && !lua_compare(L, 1, target, LUA_OPEQ));
    const lua_Integer numbers[] = {first, last, to};
    for (int i = 0; i < 3; i++) { /* the arguments may be strings */
        lua_pushinteger(L, numbers[i]);
        lua_replace(L, i + 2);
    }
    lua_pushboolean(L, upwards);
    return move_on(L, LUA_OK, 0);
}

/* ---- concat ---- */

enum { LIST = 1, SEPARATOR, FIRST, LAST, BUILDER }; /* concat's stack */

static int concat_on(lua_State *L, int status, lua_KContext context);

/* [-0, +1, v] */
static int concat_from(lua_State *L, builder *b, lua_Integer i, lua_Integer last) {
    size_t gap, length;
    const char *separator = lua_tolstring(L, SEPARATOR, &gap);
    size_t looked = b->used;
    long steps = 0;
    for (; i <= last; i++) {
        if ((++steps & (BOUNDED_STEPS - 1)) == 0 || b->used - looked > BOUNDED_BYTES) {
            looked = b->used;
            if (shim_look_up(L)) {
                b = builder_anchor(L, b);
                b->at = i;
                b->count = last;
                return shim_give_way(L, 0, concat_on);
            }
        }
        lua_geti(L, LIST, i);
        if (!lua_isstring(L, -1))
            return luaL_error(L, "invalid value (%s) at index %I in table for 'concat'", luaL_typename(L, -1), (LUAI_UACINT)i);
        const char *text = lua_tolstring(L, -1, &length);
        b = builder_add(L, b, text, length);
        lua_pop(L, 1);
        if (i == last) break; /* it may be the greatest integer */
        b = builder_add(L, b, separator, gap);
    }
    builder_finish(L, b);
    return 1;
}

static int concat_on(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    builder *b = builder_at(L, BUILDER);
    return concat_from(L, b, b->at, b->count);
}

/* table.concat(list [, separator [, first [, last]]]) [-n, +1, v] */
static int concat(lua_State *L) {
    lua_Integer last = check_length(L, READS);
    luaL_optstring(L, 2, "");
    lua_Integer first = luaL_optinteger(L, 3, 1);
    last = luaL_optinteger(L, 4, last);
    lua_settop(L, LAST);
    if (lua_isnil(L, SEPARATOR)) {
        lua_pushliteral(L, "");
        lua_replace(L, SEPARATOR);
    }
    lua_pushnil(L);
    builder b;
    builder_init(&b, BUILDER);
    return concat_from(L, &b, first, last);
}

/* ---- unpack ---- */

/* table.unpack(list [, first [, last]]): as many as the stack holds, a million. [-n, +results, v] */
static int unpack(lua_State *L) {
    lua_Integer first = luaL_optinteger(L, 2, 1), last = luaL_opt(L, luaL_checkinteger, 3, luaL_len(L, 1));
    if (first > last) return 0;
    lua_Unsigned n = (lua_Unsigned)last - (lua_Unsigned)first;
    if (n >= (unsigned)INT_MAX || !lua_checkstack(L, (int)++n)) return luaL_error(L, "too many results to unpack");
    for (lua_Unsigned i = 0; i < n; i++) {
        if ((i & (BOUNDED_STEPS - 1)) == BOUNDED_STEPS - 1) shim_look_up(L);
        lua_geti(L, 1, (lua_Integer)((lua_Unsigned)first + i));
    }
    return (int)n;
}

/* pack is Lua's: it is bounded by the Lua stack. */
const luaL_Reg shim_bounded_table[] = {
    {"concat", concat}, {"insert", insert}, {"move", move}, {"remove", remove_element}, {"sort", shim_table_sort},
    {"unpack", unpack}, {NULL, NULL}
};

lua_Integer shim_check_sortable(lua_State *L) { return check_length(L, READS | WRITES); }
