/* select: reads a script's table of cases, lets the host wait for one, and calls that case's `run`.
 *
 * The table is read at each call, raw and without making a string: a field's name is told by its address, since short
 * strings exist once a state. So a table that is kept costs nothing to use again, and one that was changed between two
 * calls needs no notice.
 *
 * Stack of the function: 1 the table, 2 what `after` says, from 3 on the `run` functions (a case's is at 2 + its number),
 * if there are any: as they were at the call. While the table is read, the fields of the case in hand stand from
 * FIELDS on. */
#include "record.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char shim_key_select;

enum { NAME_RECV, NAME_SEND, NAME_VALUE, NAME_AFTER, NAME_DEFAULT, NAME_RUN, NAMES };
static const char *const names[NAMES] = {"recv", "send", "value", "after", "default", "run"};

struct shim_selection {
    const char *names[NAMES]; /* the state's strings, which the registry keeps */
    const shim_type *channel_type;
    shim_case *cases;
    int count, capacity;
    int after, otherwise;     /* the numbers of these cases; 0: none */
    bool objects;             /* messages in `messages` may hold objects */
    bool owned;               /* which are not the host's yet */
    shim_buffer messages;
};

/* Gives back the objects of the messages that were encoded, and that the host has not been given. */
static void drop_messages(shim_vm *vm, shim_selection *s) {
    for (int i = 0; s->owned && s->objects && i < s->count; i++)
        if (s->cases[i].offset >= 0)
            shim_message_release((const msg_header *)(s->messages.bytes + s->cases[i].offset), vm->host->release);
    s->count = 0;
    s->objects = s->owned = false;
}

void shim_selection_free(shim_vm *vm) {
    shim_selection *s = vm->selection;
    if (s == NULL)
        return;
    drop_messages(vm, s);
    free(s->cases);
    shim_buffer_free(&s->messages);
    free(s);
}

/* [-0, +0, m] */
static shim_selection *selection_of(lua_State *L, shim_vm *vm) {
    if (vm->selection != NULL)
        return vm->selection;
    lua_createtable(L, NAMES, 0);
    for (int i = 0; i < NAMES; i++) {
        lua_pushstring(L, names[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &shim_key_select); /* before there is anything that counts on the names */
    shim_selection *s = calloc(1, sizeof *s);
    if (s == NULL)
        luaL_error(L, "not enough memory");
    for (int i = 0; i < NAMES; i++) {
        lua_rawgeti(L, -1, i + 1);
        s->names[i] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    s->channel_type = lua_touserdata(L, lua_upvalueindex(2));
    vm->selection = s;
    lua_pop(L, 1);
    return s;
}

/* Raises the text as a mistake of the script's line. [-0, +0, v] */
static int mistake(lua_State *L, shim_selection *s, const char *format, ...) {
    drop_messages(vm_of(L), s);
    char text[SHIM_PROBLEM_SIZE + 160];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    lua_settop(L, 0);
    lua_pushstring(L, text);
    return shim_call_host(L, vm_of(L)->host->misuse);
}

/* The value at `index` for a message: a function, 5, a name. */
static const char *words(lua_State *L, int index, char *text, size_t size) {
    shim_buffer out = {0};
    shim_describe(L, index, 80, &out);
    snprintf(text, size, "%.*s", (int)out.used, out.bytes == NULL ? "" : (const char *)out.bytes);
    shim_buffer_free(&out);
    return text;
}

/* The same after "got": a string in quotation marks. */
static const char *said(lua_State *L, int index, char *text, size_t size) {
    if (lua_type(L, index) != LUA_TSTRING)
        return words(L, index, text, size);
    text[0] = '"';
    words(L, index, text + 1, size - 2);
    strcat(text, "\"");
    return text;
}

enum { FIELDS = 3, CASE = FIELDS + NAMES }; /* stack indices */

/* Reads the case at CASE, which is the top: its fields go to their places, a bit for each that is there to *fields.
 * 0, or what `mistake` returns. [-0, +0, v] */
static int read_fields(lua_State *L, shim_selection *s, int number, unsigned *fields) {
    char text[100];
    *fields = 0;
    if (lua_type(L, CASE) != LUA_TTABLE)
        return mistake(L, s, "case %d of select expected a table (false disables a case), got %s", number,
                       said(L, CASE, text, sizeof text));
    shim_record *r = shim_record_of(L, CASE);
    if (r != NULL)
        shim_record_settle(L, CASE, r);
    lua_pushnil(L);
    while (lua_next(L, CASE)) { /* stack: key, value */
        int name = 0;
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        while (name < NAMES && key != s->names[name]) name++;
        if (name == NAMES)
            return mistake(L, s, "case %d of select has a field '%s'; it may have recv, send with value, "
                           "after, default and run", number, words(L, -2, text, sizeof text));
        lua_replace(L, FIELDS + name);
        *fields |= 1u << name;
    }
    return 0;
}

static bool is_false(lua_State *L, int index) { return lua_type(L, index) == LUA_TBOOLEAN && !lua_toboolean(L, index); }

/* Reads the case at CASE, which is the top; pops it. 0, or what `mistake` returns. [-1, +0, v] */
static int read_case(lua_State *L, shim_selection *s, int number, bool *runs) {
    enum { RECV = 1 << NAME_RECV, SEND = 1 << NAME_SEND, AFTER = 1 << NAME_AFTER, DEFAULT = 1 << NAME_DEFAULT };
    char text[100];
    unsigned fields;
    if (is_false(L, CASE)) {
        lua_settop(L, CASE - 1);
        return 0;
    }
    int result = read_fields(L, s, number, &fields);
    if (result != 0)
        return result;
    unsigned kind = fields & (RECV | SEND | AFTER | DEFAULT);
    if (kind == 0 || (kind & (kind - 1)) != 0)
        return mistake(L, s, "case %d of select has %s of recv, send, after, default: it has exactly one", number,
                       kind == 0 ? "none" : "more than one");
    if (fields & 1 << NAME_VALUE && kind != SEND)
        return mistake(L, s, "case %d of select has a value, but nothing to send it on", number);
    if (fields & 1 << NAME_RUN && !is_false(L, FIELDS + NAME_RUN)) {
        if (lua_type(L, FIELDS + NAME_RUN) != LUA_TFUNCTION)
            return mistake(L, s, "run of case %d of select expected a function, got %s", number,
                           said(L, FIELDS + NAME_RUN, text, sizeof text));
        *runs = true;
    }
    int own = FIELDS + (kind == RECV ? NAME_RECV : kind == SEND ? NAME_SEND : kind == AFTER ? NAME_AFTER : NAME_DEFAULT);
    if (is_false(L, own)) {
        /* disabled */
    } else if (kind == AFTER || kind == DEFAULT) {
        if (s->after != 0 || s->otherwise != 0)
            return mistake(L, s, "case %d of select is the second after or default: one of them is all there may be",
                           number);
        if (kind == AFTER) {
            s->after = number;
            lua_copy(L, own, 2);
        } else if (lua_type(L, own) == LUA_TBOOLEAN) {
            s->otherwise = number;
        } else {
            return mistake(L, s, "default of case %d of select expected true or false, got %s", number,
                           said(L, own, text, sizeof text));
        }
    } else {
        shim_case c = {shim_test_object(L, own, s->channel_type), number, -1};
        if (c.channel == NULL)
            return mistake(L, s, "%s of case %d of select expected a channel or false, got %s",
                           kind == RECV ? "recv" : "send", number, said(L, own, text, sizeof text));
        if (kind == SEND) {
            shim_problem problem;
            if (!(fields & 1 << NAME_VALUE)) {
                lua_pushnil(L);
                lua_replace(L, FIELDS + NAME_VALUE);
            }
            size_t start = s->messages.used;
            if (shim_encode(L, FIELDS + NAME_VALUE, &s->messages, &problem) != 0)
                return mistake(L, s, "case %d of select: %s", number, problem.text);
            c.offset = (int64_t)start;
            if (((const msg_header *)(s->messages.bytes + start))->flags & MSG_HAS_OBJECTS)
                s->objects = true;
        }
        s->cases[s->count++] = c;
    }
    lua_settop(L, CASE - 1);
    return 0;
}

/* The most frequent case: a receive and nothing else, read without places for all fields. False: nothing was done; the
 * case is the top as it was. (A record that was not touched has none of these names in its table.) [-1|-0, +0, -] */
static bool add_plain_receive(lua_State *L, shim_selection *s, int number) {
    if (lua_type(L, CASE) != LUA_TTABLE)
        return false;
    lua_pushnil(L);
    if (!lua_next(L, CASE))
        return false;
    if (lua_type(L, -2) == LUA_TSTRING && lua_tostring(L, -2) == s->names[NAME_RECV]) {
        shim_case c = {shim_test_object(L, -1, s->channel_type), number, -1};
        lua_pop(L, 1);
        if (c.channel != NULL && !lua_next(L, CASE)) {
            s->cases[s->count++] = c;
            lua_settop(L, CASE - 1);
            return true;
        }
    }
    lua_settop(L, CASE);
    return false;
}

/* The table has other keys than 1...length, or none for some of these: says which. [-0, +0, v] */
static int no_list(lua_State *L, shim_selection *s, lua_Unsigned length) {
    char text[100];
    lua_pushnil(L);
    while (lua_next(L, 1)) { /* stack: ..., key, value */
        lua_pop(L, 1);
        if (!lua_isinteger(L, -1) || (lua_Unsigned)lua_tointeger(L, -1) - 1 >= length)
            return mistake(L, s, "argument 1 of select expected a list of cases, each a table; it has a field '%s'",
                           words(L, -1, text, sizeof text));
    }
    return 0;
}

/* Reads all cases. The stack is left as the file's head says, *runs is how many `run` places there are. 0, or what
 * `mistake` returns. [-0, +1 + runs, v] */
static int read_cases(lua_State *L, shim_selection *s, int *runs) {
    char text[100];
    drop_messages(vm_of(L), s); /* of a call that ran out of memory */
    s->owned = true;
    s->after = s->otherwise = 0;
    s->messages.used = 0;
    if (s->messages.capacity > 1 << 16)
        shim_buffer_free(&s->messages);
    if (lua_type(L, 1) != LUA_TTABLE)
        return mistake(L, s, "argument 1 of select expected a list of cases, got %s", said(L, 1, text, sizeof text));
    shim_record *r = shim_record_of(L, 1);
    if (r != NULL)
        shim_record_settle(L, 1, r);
    lua_settop(L, 1);
    lua_settop(L, CASE - 1);
    lua_Unsigned length = lua_rawlen(L, 1);
    if (length > 1 << 20)
        return mistake(L, s, "argument 1 of select has more than %d cases", 1 << 20);
    if ((lua_Unsigned)s->capacity < length) {
        shim_case *more = realloc(s->cases, length * sizeof *more);
        if (more == NULL)
            return luaL_error(L, "not enough memory");
        s->cases = more;
        s->capacity = (int)length;
    }
    /* What follows the last one where all stand in the table's array: mostly nothing, and then that is all there is. */
    if (length > 0)
        lua_pushinteger(L, (lua_Integer)length);
    else
        lua_pushnil(L);
    if (lua_next(L, 1)) {
        lua_pop(L, 2);
        int result = no_list(L, s, length);
        if (result != 0)
            return result;
    }
    bool any_run = false;
    for (int number = 1; number <= (int)length; number++) {
        if (lua_rawgeti(L, 1, number) == LUA_TNIL)
            return mistake(L, s, "case %d of select is nil: false disables a case", number);
        if (add_plain_receive(L, s, number))
            continue;
        int result = read_case(L, s, number, &any_run);
        if (result != 0)
            return result;
    }
    lua_settop(L, 2);
    *runs = 0;
    if (!any_run)
        return 0;
    *runs = (int)length;
    if (!lua_checkstack(L, *runs + 8))
        return mistake(L, s, "select has too many cases with run");
    for (int i = 1; i <= *runs; i++) {
        lua_rawgeti(L, 1, i);
        if (lua_type(L, -1) != LUA_TTABLE)
            continue;
        lua_pushstring(L, names[NAME_RUN]);
        lua_rawget(L, -2);
        lua_replace(L, -2);
    }
    return 0;
}

/* ---- The call ---- */

/* The `run` of the case has returned: its results follow the index, which stands at `context`. [-0, +0, -] */
static int run_returned(lua_State *L, int status, lua_KContext context) {
    (void)status;
    return lua_gettop(L) - (int)context + 1;
}

static int go_on(lua_State *L, int status, lua_KContext context);

/* Does what the host's function asked for. `runs`: how many places for `run` there are. [variable, e] */
static int conclude(lua_State *L, shim_vm *vm, int result, int runs) {
    switch (result) {
    case SHIM_RAISE:
        return lua_error(L);
    case SHIM_WAIT:
        vm->op = SHIM_OP_WAIT;
        return lua_yieldk(L, 0, (lua_KContext)runs, go_on);
    case SHIM_VALUE: /* the index is on top */
        shim_decode(L, vm->inbox);
        result = 2;
        break;
    default:
        break;
    }
    int index = lua_gettop(L) - result + 1;
    if (runs == 0 || !lua_isinteger(L, index))
        return result;
    int run = 2 + (int)lua_tointeger(L, index);
    if (lua_type(L, run) != LUA_TFUNCTION)
        return result;
    lua_pushvalue(L, run);
    lua_insert(L, index + 1);
    lua_callk(L, result - 1, LUA_MULTRET, (lua_KContext)index, run_returned);
    return run_returned(L, LUA_OK, (lua_KContext)index);
}

/* The wait is over. [variable, e] */
static int go_on(lua_State *L, int status, lua_KContext context) {
    (void)status;
    shim_vm *vm = vm_of(L);
    return conclude(L, vm, vm->host->finish(L, vm), (int)context);
}

/* select(cases). Upvalues: the host's function, the type of channels. [-1, +results, e] */
static int select_cases(lua_State *L) {
    shim_vm *vm = vm_of(L);
    int runs = 0;
    int result = read_cases(L, selection_of(L, vm), &runs);
    if (result != 0)
        return result;
    shim_callback callback = (shim_callback)(uintptr_t)lua_touserdata(L, lua_upvalueindex(1));
    vm->selection->owned = false;
    return conclude(L, vm, callback(L, vm), runs);
}

const shim_case *shim_selection_cases(shim_vm *vm, int *count) {
    *count = vm->selection->count;
    return vm->selection->cases;
}

const shim_buffer *shim_selection_messages(shim_vm *vm, bool *objects) {
    *objects = vm->selection->objects;
    return &vm->selection->messages;
}

int shim_selection_after(shim_vm *vm) { return vm->selection->after; }
int shim_selection_default(shim_vm *vm) { return vm->selection->otherwise; }

struct select_upvalues { shim_callback callback; const shim_type *channel; };

/* [-1, +1, m] */
static int push_select_body(lua_State *L) {
    struct select_upvalues *u = lua_touserdata(L, 1);
    lua_pushlightuserdata(L, (void *)(uintptr_t)u->callback);
    lua_pushlightuserdata(L, (void *)u->channel);
    lua_pushcclosure(L, select_cases, 2);
    return 1;
}

bool shim_push_select(lua_State *L, shim_callback callback, const shim_type *channel) {
    struct select_upvalues u = {callback, channel};
    lua_pushcfunction(L, push_select_body);
    lua_pushlightuserdata(L, &u);
    return lua_pcall(L, 1, 1, 0) == LUA_OK;
}
