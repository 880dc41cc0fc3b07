/* Finds the captured variables that a function assigns, for a warning: in a stage such an assignment changes a copy.
 *
 * Lua has no call that shows a function's instructions, so this reads lua_dump's output, in the format of Lua 5.4.4
 * (ldump.c; the header carries version and sizes). Everything is checked against the end of the bytes: what is not as
 * expected ends the search of that function, and a warning is missing. Nothing here allocates in the state or raises. */
#include "internal.h"
#include <string.h>

enum {
    OP_SETUPVAL = 10,          /* UpValue[B] := R[A]; lopcodes.h */
    MOST_FUNCTIONS = 128,      /* followed from one function */
    MOST_BYTES = 4 << 20,      /* of one function's dump */
    MOST_DEPTH = 200,          /* of nested functions: Lua's compiler has the same limit */
    MOST_UPVALUES = 255,
    LINE_IN_TABLE = -0x80      /* in lineinfo: abslineinfo has the line */
};

/* ---- Reading a dump ---- */

typedef struct reader {
    const uint8_t *at, *end;
    bool failed;
    int lines[MOST_UPVALUES + 1]; /* the line of the first assignment to each upvalue of the outermost function; 0: none */
} reader;

static const uint8_t *take(reader *r, size_t n) {
    if (r->failed || n > (size_t)(r->end - r->at)) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *bytes = r->at;
    r->at += n;
    return bytes;
}

static uint8_t take_byte(reader *r) {
    const uint8_t *byte = take(r, 1);
    return byte == NULL ? 0 : *byte;
}

/* Seven bits a byte, the most significant first; the last byte has its high bit set. */
static size_t take_size(reader *r) {
    size_t value = 0;
    uint8_t byte;
    do {
        if (value >> (8 * sizeof value - 7) != 0)
            r->failed = true;
        byte = take_byte(r);
        value = value << 7 | (byte & 0x7F);
    } while ((byte & 0x80) == 0 && !r->failed);
    return value;
}

/* A count of elements of at least one byte each: no more than there are bytes. */
static size_t take_count(reader *r) {
    size_t count = take_size(r);
    if (count > (size_t)(r->end - r->at))
        r->failed = true;
    return r->failed ? 0 : count;
}

static void skip_string(reader *r) {
    size_t size = take_size(r);
    if (size > 1)
        take(r, size - 1);
}

static void skip_constants(reader *r) {
    for (size_t n = take_count(r); n > 0 && !r->failed; n--) {
        switch (take_byte(r)) {
        case 0x00: case 0x01: case 0x11: break;           /* nil, false, true */
        case 0x03: take(r, sizeof(lua_Integer)); break;
        case 0x13: take(r, sizeof(lua_Number)); break;
        case 0x04: case 0x14: skip_string(r); break;      /* short, long */
        default: r->failed = true;
        }
    }
}

/* The lines of the instructions, and with them the assignments. `outer`: the outermost function's upvalue that each
 * of this one's is, or -1 for a variable local to it. */
static void read_lines(reader *r, const uint8_t *code, size_t count, int line, const int16_t *outer, size_t upvalues) {
    size_t given = take_count(r);
    const uint8_t *deltas = take(r, given);
    size_t absolute = take_count(r);
    if (given != count)
        r->failed = true; /* no debug information */
    for (size_t pc = 0; pc < count && !r->failed; pc++) {
        int8_t delta = (int8_t)deltas[pc];
        if (delta == LINE_IN_TABLE) {
            size_t where = take_size(r), there = take_size(r);
            if (absolute-- == 0 || where != pc || there > INT32_MAX)
                r->failed = true;
            line = (int)there;
        } else {
            line += delta;
        }
        uint32_t instruction;
        memcpy(&instruction, code + 4 * pc, sizeof instruction);
        if ((instruction & 0x7F) != OP_SETUPVAL)
            continue;
        size_t upvalue = instruction >> 16 & 0xFF;
        if (upvalue >= upvalues)
            r->failed = true;
        else if (outer[upvalue] >= 0) {
            int *first = &r->lines[outer[upvalue]];
            if (*first == 0 || line < *first)
                *first = line;
        }
    }
    if (absolute != 0)
        r->failed = true;
}

/* One function and those nested in it. `enclosing`: as `outer` above, of the function around it; NULL: there is none. */
static void read_function(reader *r, const int16_t *enclosing, size_t enclosing_count, int depth) {
    int16_t outer[MOST_UPVALUES + 1];
    if (depth > MOST_DEPTH)
        r->failed = true;
    skip_string(r); /* the source's name */
    size_t line = take_size(r);
    take_size(r); /* the last line */
    take(r, 3);   /* parameters, variable arguments, registers */
    size_t count = take_count(r);
    const uint8_t *code = count > SIZE_MAX / 4 ? NULL : take(r, 4 * count);
    skip_constants(r);
    size_t upvalues = take_count(r);
    if (upvalues > MOST_UPVALUES || line > INT32_MAX || code == NULL)
        r->failed = true;
    for (size_t i = 0; i < upvalues && !r->failed; i++) {
        bool is_local = take_byte(r) != 0;
        uint8_t index = take_byte(r);
        take_byte(r); /* its kind */
        if (enclosing == NULL)
            outer[i] = (int16_t)i;
        else if (is_local)
            outer[i] = -1;
        else if (index < enclosing_count)
            outer[i] = enclosing[index];
        else
            r->failed = true;
    }
    for (size_t n = take_count(r); n > 0 && !r->failed; n--)
        read_function(r, outer, upvalues, depth + 1);
    if (r->failed)
        return;
    read_lines(r, code, count, (int)line, outer, upvalues);
    for (size_t n = take_count(r); n > 0 && !r->failed; n--) { /* local variables */
        skip_string(r);
        take_size(r);
        take_size(r);
    }
    for (size_t n = take_count(r); n > 0 && !r->failed; n--) /* upvalues' names */
        skip_string(r);
}

static void read_dump(reader *r) {
    static const uint8_t start[] = LUA_SIGNATURE "\x54\x00\x19\x93\r\n\x1a\n\x04";
    const uint8_t *header = take(r, sizeof start - 1);
    if (header == NULL || memcmp(header, start, sizeof start - 1) != 0)
        r->failed = true;
    if (take_byte(r) != sizeof(lua_Integer) || take_byte(r) != sizeof(lua_Number))
        r->failed = true;
    take(r, sizeof(lua_Integer) + sizeof(lua_Number)); /* a sample of each */
    take_byte(r);                                      /* upvalues of the function */
    read_function(r, NULL, 0, 0);
    if (r->at != r->end)
        r->failed = true;
}

/* ---- Following functions ---- */

/* A lua_Writer. */
static int write_dump(lua_State *L, const void *bytes, size_t n, void *to) {
    (void)L;
    shim_buffer *buffer = to;
    return n <= MOST_BYTES - buffer->used && shim_buffer_append(buffer, bytes, n) ? 0 : 1;
}

/* Whether the value on top is a function of the script's: not of C, not of the embedded library. [-0, +0, -] */
static bool is_script_function(lua_State *L) {
    if (lua_type(L, -1) != LUA_TFUNCTION || lua_iscfunction(L, -1))
        return false;
    bool is_named = false;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_stdlib) == LUA_TTABLE) {
        lua_pushvalue(L, -2);
        is_named = lua_rawget(L, -2) == LUA_TSTRING;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return !is_named;
}

static int add(lua_State *L, int function, int upvalue, const char *name, int line, shim_assignment *found, int count) {
    const void *variable = lua_upvalueid(L, function, upvalue);
    lua_Debug ar;
    for (int i = 0; i < count; i++)
        if (found[i].variable == variable)
            return count;
    lua_pushvalue(L, function);
    lua_getinfo(L, ">S", &ar); /* "S" allocates nothing */
    found[count] = (shim_assignment){.variable = variable, .line = line};
    strncpy(found[count].name, name, sizeof found[count].name - 1);
    strncpy(found[count].file, ar.short_src, sizeof found[count].file - 1);
    return count + 1;
}

/* Whether the function captures anything but the globals: most do not, and need no dump. [-0, +0, -] */
static bool captures(lua_State *L, int function) {
    const char *name;
    for (int i = 1; i <= MOST_UPVALUES && (name = lua_getupvalue(L, function, i)) != NULL; i++) {
        lua_pop(L, 1);
        if (strcmp(name, "_ENV") != 0)
            return true;
    }
    return false;
}

/* Keeps the value on top if it is a function of the script's that is not on the stack from `first` on; else pops it.
 * [-1, +1/0, -] */
static void keep_if_new(lua_State *L, int first) {
    bool is_new = is_script_function(L) && lua_gettop(L) - first < MOST_FUNCTIONS;
    for (int j = first; is_new && j < lua_gettop(L); j++)
        is_new = lua_topointer(L, j) != lua_topointer(L, -1);
    if (!is_new)
        lua_pop(L, 1);
}

/* Pushes the functions that the upvalues of the one at `function` hold, and with `lists` those in lists there.
 * [-0, +n, -] */
static void push_reached(lua_State *L, int function, int first, bool lists) {
    for (int i = 1; i <= MOST_UPVALUES && lua_getupvalue(L, function, i) != NULL; i++) {
        if (!lists || lua_type(L, -1) != LUA_TTABLE) {
            keep_if_new(L, first);
            continue;
        }
        int list = lua_gettop(L); /* removed when its functions are pushed */
        lua_Unsigned count = lua_rawlen(L, list);
        for (lua_Unsigned j = 1; j <= count && j <= MOST_FUNCTIONS; j++) {
            lua_rawgeti(L, list, (lua_Integer)j);
            keep_if_new(L, first);
        }
        lua_remove(L, list);
    }
}

/* A function that the embedded library makes around the script's: it assigns what is its own. [-0, +0, -] */
static bool is_of_library(lua_State *L, int function) {
    lua_Debug ar;
    lua_pushvalue(L, function);
    lua_getinfo(L, ">S", &ar); /* "S" allocates nothing */
    return strncmp(ar.source, "=[stream", 8) == 0;
}

int shim_find_assignments(lua_State *L, int index, shim_assignment *found, int count, int capacity) {
    shim_buffer dump = {0};
    reader r;
    int before = lua_gettop(L), first = before + 1;
    if (!lua_checkstack(L, MOST_FUNCTIONS + 16))
        return count;
    lua_pushvalue(L, index);
    if (!is_script_function(L))
        lua_pop(L, 1);
    /* The stack is the list of functions that were met: cycles end there. */
    for (int function = first; function <= lua_gettop(L); function++) {
        if (!captures(L, function))
            continue;
        bool of_library = is_of_library(L, function);
        push_reached(L, function, first, of_library);
        if (of_library)
            continue;
        dump.used = 0;
        lua_pushvalue(L, function);
        bool is_dumped = lua_dump(L, write_dump, &dump, 0) == 0;
        lua_pop(L, 1);
        if (!is_dumped)
            continue;
        memset(&r, 0, sizeof r);
        r.at = dump.bytes;
        r.end = dump.bytes + dump.used;
        read_dump(&r);
        for (int i = 0; i < MOST_UPVALUES && count < capacity && !r.failed; i++) {
            if (r.lines[i] == 0)
                continue;
            const char *name = lua_getupvalue(L, function, i + 1);
            if (name == NULL)
                break;
            lua_pop(L, 1);
            if (strcmp(name, "_ENV") != 0)
                count = add(L, function, i + 1, name, r.lines[i], found, count);
        }
    }
    lua_settop(L, before);
    shim_buffer_free(&dump);
    return count;
}
