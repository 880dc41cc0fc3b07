/* Whether a script's function keeps the record it is called with: in a variable that outlives the call, in a table, by
 * giving it to another function. Of one that does not, a driver needs no new table for each message.
 *
 * Read off the bytecode of Lua 5.4.4, as lua_dump writes it: the function's parameter lies in its register for the whole
 * call, and each instruction that names that register must be one that only reads a field of it, writes a field to it,
 * tests it, or returns it. Whatever else there is, an unknown instruction too, counts as keeping. */
#include "record.h"
#include <string.h>

enum { /* lopcodes.h */
    OP_MOVE = 0, OP_LOADI = 1, OP_LOADTRUE = 7, OP_LOADNIL = 8, OP_GETUPVAL = 9, OP_SETUPVAL = 10, OP_GETTABUP = 11,
    OP_GETTABLE = 12, OP_GETI = 13, OP_GETFIELD = 14, OP_SETTABUP = 15, OP_SETTABLE = 16, OP_SETI = 17,
    OP_SETFIELD = 18, OP_NEWTABLE = 19, OP_SELF = 20, OP_ADDI = 21, OP_SHLI = 33, OP_ADD = 34, OP_SHR = 45,
    OP_MMBIN = 46, OP_MMBINI = 47, OP_MMBINK = 48, OP_UNM = 49, OP_NOT = 51, OP_LEN = 52, OP_CONCAT = 53, OP_CLOSE = 54,
    OP_TBC = 55, OP_JMP = 56, OP_EQ = 57, OP_LE = 59, OP_EQK = 60, OP_GEI = 65, OP_TEST = 66, OP_TESTSET = 67,
    OP_CALL = 68, OP_TAILCALL = 69, OP_RETURN = 70, OP_RETURN0 = 71, OP_RETURN1 = 72, OP_FORLOOP = 73, OP_FORPREP = 74,
    OP_TFORPREP = 75, OP_TFORLOOP = 77, OP_SETLIST = 78, OP_EXTRAARG = 82
};
enum { HEADER_SIZE = 31, INSTRUCTION_SIZE_AT = 12 };

/* Whether the instruction leaves the value in register `r` where it is. `returns`: the caller does not keep a result. */
static bool is_harmless(uint32_t instruction, unsigned r, bool returns) {
    unsigned op = instruction & 0x7F, a = instruction >> 7 & 0xFF, b = instruction >> 16 & 0xFF, c = instruction >> 24;
    bool k = instruction >> 15 & 1; /* c is a constant */
    switch (op) {
    case OP_MOVE: case OP_LEN: case OP_NOT: case OP_TESTSET: return a != r && (b != r || op == OP_LEN || op == OP_NOT);
    case OP_GETUPVAL: case OP_GETTABUP: return a != r;
    case OP_SETUPVAL: return a != r;
    case OP_GETTABLE: return a != r && c != r;
    case OP_GETI: case OP_GETFIELD: return a != r;
    case OP_SETTABUP: return k || c != r;
    case OP_SETTABLE: return b != r && (k || c != r);
    case OP_SETI: case OP_SETFIELD: return k || c != r;
    case OP_NEWTABLE: return a != r;
    case OP_SELF: return a != r && a + 1 != r && b != r && (k || c != r);
    case OP_MMBIN: return a != r && b != r;
    case OP_MMBINI: case OP_MMBINK: return a != r;
    case OP_CONCAT: return a > r; /* from a on */
    case OP_CLOSE: case OP_JMP: case OP_RETURN0: case OP_EXTRAARG: return true;
    case OP_TEST: case OP_EQK: return true;
    case OP_TBC: case OP_CALL: case OP_TAILCALL: case OP_SETLIST: return a > r;
    case OP_RETURN: return a > r || (a == r && returns);
    case OP_RETURN1: return a != r || returns;
    default:
        if (op >= OP_LOADI && op <= OP_LOADTRUE) return a != r;
        if (op == OP_LOADNIL) return a > r;
        if (op >= OP_ADDI && op <= OP_SHLI) return a != r && b != r;
        if (op >= OP_ADD && op <= OP_SHR) return a != r && b != r && c != r;
        if (op >= OP_UNM && op < OP_NOT) return a != r && b != r;
        if (op >= OP_EQ && op <= OP_LE) return a != r && b != r;
        if (op > OP_EQK && op <= OP_GEI) return a != r;
        if (op >= OP_FORLOOP && op <= OP_TFORLOOP) return a > r;
        return false; /* closures and varargs too */
    }
}

/* A size as lua_dump writes it; false: none there. */
static bool read_size(const uint8_t **p, const uint8_t *end, size_t *size) {
    *size = 0;
    while (*p < end && *size < SIZE_MAX >> 7) {
        uint8_t byte = *(*p)++;
        *size = *size << 7 | (byte & 0x7F);
        if (byte & 0x80) return true;
    }
    return false;
}

static bool scan(const uint8_t *p, size_t length, unsigned parameter, bool returns) {
    const uint8_t *end = p + length;
    size_t size, count;
    if (length <= HEADER_SIZE || memcmp(p, "\x1bLua\x54\0", 6) != 0 || p[INSTRUCTION_SIZE_AT] != 4) return false;
    p += HEADER_SIZE + 1; /* and the number of upvalues */
    if (!read_size(&p, end, &size) || size != 0) return false; /* the source: stripped */
    if (!read_size(&p, end, &size) || !read_size(&p, end, &size) || end - p < 3) return false; /* lines */
    if (p[0] <= parameter || p[1] != 0) return false; /* too few parameters to have it, or `...` */
    p += 3;
    if (!read_size(&p, end, &count) || count > (size_t)(end - p) / 4) return false;
    for (size_t i = 0; i < count; i++) {
        uint32_t instruction;
        memcpy(&instruction, p + 4 * i, sizeof instruction);
        if (!is_harmless(instruction, parameter, returns)) return false;
    }
    return true;
}

/* A lua_Writer. */
static int write_dump(lua_State *L, const void *bytes, size_t n, void *to) {
    (void)L;
    return shim_buffer_append(to, bytes, n) ? 0 : 1;
}

bool shim_lets_go(lua_State *L, int index, unsigned parameter, bool returns) {
    shim_buffer dump = {NULL, 0, 0};
    if (lua_type(L, index) != LUA_TFUNCTION || lua_iscfunction(L, index)) return false;
    lua_pushvalue(L, index);
    bool lets_go = lua_dump(L, write_dump, &dump, 1) == 0 && scan(dump.bytes, dump.used, parameter, returns);
    lua_pop(L, 1);
    shim_buffer_free(&dump);
    return lets_go;
}
