/* Fuzz target: the JSON scanner, the decoder and the field finder agree.
 *
 * The input is a text. Checker (CMessage/json_check.c) and decoder (CLuaShim/json_decode.c) must both accept it, or refuse
 * it at the same byte in the same words. Of an accepted text:
 *  - the checker, guessing the text's own shape, gives the same shape and offsets again;
 *  - each field that the shape knows is found by msg_json_field (CMessage/json_field.c) at the same place, with the end that
 *    msg_json_skip gives; its key's hash is that of the decoded value; with and without an index the message gives one key;
 *  - the value, written as JSON and read again, is the same value, and is written as the same text again;
 *  - a record of it (CLuaShim/record.c), read field by field, and the text that it is written as, say the same. */
#include "fuzz_state.h"

static shim_vm *vm;

static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

/* The key that the Lua value on top is. */
static msg_key key_of_top(lua_State *L) {
    size_t length;
    switch (lua_type(L, -1)) {
    case LUA_TBOOLEAN: return (msg_key){MSG_KEY_HASHED, msg_hash_boolean(lua_toboolean(L, -1))};
    case LUA_TSTRING: {
        const char *text = lua_tolstring(L, -1, &length);
        return (msg_key){MSG_KEY_HASHED, msg_hash_string(text, length)};
    }
    case LUA_TNUMBER:
        if (lua_isinteger(L, -1)) return (msg_key){MSG_KEY_HASHED, msg_hash_integer(lua_tointeger(L, -1))};
        return (msg_key){MSG_KEY_HASHED, msg_hash_float(lua_tonumber(L, -1))};
    case LUA_TLIGHTUSERDATA: return (msg_key){MSG_KEY_NULL, 0};
    case LUA_TTABLE: return (msg_key){MSG_KEY_TABLE, 0};
    default: return (msg_key){MSG_KEY_NIL, 0};
    }
}

static void must_be_equal(msg_key a, msg_key b, const char *whose) {
    must(a.kind == b.kind && (a.kind != MSG_KEY_HASHED || a.hash == b.hash), "keys of %s: kinds %d and %d", whose, a.kind,
         b.kind);
}

static msg_header *message_of(const char *text, size_t length, const msg_json_checker *c, bool indexed) {
    size_t end = MSG_TEXT_OFFSET + length;
    if (indexed) end = ((end + 3) & ~(size_t)3) + c->shape->count * sizeof(uint32_t);
    uint32_t size = msg_padded((uint32_t)end), n = (uint32_t)length;
    msg_header *m = calloc(1, size);
    *m = (msg_header){size, MSG_JSON, indexed ? MSG_INDEXED : 0, indexed ? c->shape->number : 0};
    memcpy(m + 1, &n, sizeof n);
    memcpy((char *)m + MSG_TEXT_OFFSET, text, length);
    if (indexed) memcpy((char *)msg_offsets(m), c->offsets, c->shape->count * sizeof(uint32_t));
    must(msg_check(m, size, NULL), "a message of a checked text is none (indexed: %d)", indexed);
    return m;
}

/* The decoded value is on top. */
static void check_fields(lua_State *L, const char *text, size_t length, const msg_json_checker *c) {
    const msg_shape *shape = c->shape;
    msg_header *plain = message_of(text, length, c, false), *indexed = shape == NULL ? NULL : message_of(text, length, c, true);
    msg_span span;
    for (int i = 0; shape != NULL && i < shape->count; i++) {
        if (msg_shape_find(shape, shape->symbols[i]) != i) continue; /* a later field of that name counts */
        size_t n;
        const char *name = msg_symbol_name(shape->symbols[i], &n), *value = text + c->offsets[i];
        const char *end = msg_json_skip(value, text + length);
        must(msg_json_field(text, length, name, n, &span) == MSG_FIELD_FOUND, "field %d is not found", i);
        must(span.start == value && span.length == (size_t)(end - value), "field %d: [%td, %zu) is not [%u, %td)", i,
             span.start - text, span.length, c->offsets[i], end - text);
        lua_pushlstring(L, name, n);
        lua_rawget(L, -2);
        must_be_equal(msg_key_of_json(span.start, span.length), key_of_top(L), "text and value");
        must_be_equal(msg_key_of_field(plain, name, n), key_of_top(L), "plain message and value");
        must_be_equal(msg_key_of_field(indexed, name, n), key_of_top(L), "indexed message and value");
        lua_pop(L, 1);
    }
    int found = msg_json_field(text, length, "no such field", 13, &span);
    size_t begin = 0;
    while (begin < length && is_space(text[begin])) begin++;
    must(text[begin] == '{' || found == MSG_FIELD_NO_OBJECT, "a field of what is no object");
    free(plain);
    free(indexed);
}

/* Pushes what the text says, which must be JSON. */
static void read_text(lua_State *L, const char *text, size_t length) {
    shim_problem problem;
    must(shim_json_decode_protected(L, text, length, &problem) == 0, "it is not read: %s\n%.*s", problem.text, (int)length, text);
}

/* The value is on top: it is written, read, and written again. `settled`: it is no record, which would be written as the text
 * that it came from. */
static void check_round_trip(lua_State *L, const char *what, bool settled) {
    shim_buffer first = {0}, second = {0};
    shim_problem problem;
    must(shim_json_encode(L, -1, &first, &problem) == 0, "%s is not written: %s", what, problem.text);
    read_text(L, (const char *)first.bytes, first.used);
    must(shim_json_encode(L, -1, &second, &problem) == 0, "%s is not written again: %s", what, problem.text);
    must(!settled || (first.used == second.used && memcmp(first.bytes, second.bytes, first.used) == 0), "%s: %.*s is not %.*s", what,
         (int)first.used, first.bytes, (int)second.used, second.bytes);
    must(fuzz_same(L, -1, -2, 0), "%s comes back as another value", what);
    lua_pop(L, 1);
    shim_buffer_free(&first);
    shim_buffer_free(&second);
}

/* The decoded value is on top; it stays. The record of the same message is read in one way or the other. */
static void check_record(lua_State *L, const char *text, size_t length, const msg_json_checker *c, bool indexed) {
    msg_header *m = message_of(text, length, c, indexed);
    must(shim_decode_protected(L, m), "a message is not decoded: %s", lua_tostring(L, -1));
    if (shim_record_of(L, -1) != NULL) {
        shim_buffer out = {0};
        shim_problem problem;
        must(shim_json_encode(L, -1, &out, &problem) == 0, "a record is not written: %s", problem.text);
        read_text(L, (const char *)out.bytes, out.used);
        must(fuzz_same(L, -1, -3, 0), "the text of a record says something else");
        lua_pop(L, 1);
        for (lua_pushnil(L); lua_next(L, -3);) { /* stack: value, record, key, field */
            lua_pushcfunction(L, shim_rawget);
            lua_pushvalue(L, -4);
            lua_pushvalue(L, -4);
            must(lua_pcall(L, 2, 1, 0) == LUA_OK, "a field of a record raises");
            must(fuzz_same(L, -1, -2, 0), "a field of a record is another");
            lua_pop(L, 2);
        }
        out.used = 0;
        must(shim_json_encode(L, -1, &out, &problem) == 0, "a record that was read is not written: %s", problem.text);
        read_text(L, (const char *)out.bytes, out.used);
        must(fuzz_same(L, -1, -3, 0), "the text of a record that was read says something else");
        lua_pop(L, 1);
        shim_buffer_free(&out);
        check_round_trip(L, "a record", false);
    }
    must(fuzz_same(L, -1, -2, 0), "the message's value is not the text's");
    lua_pop(L, 1);
    free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (vm == NULL) {
        vm = fuzz_state(0);
        lua_gc(vm->L, LUA_GCRESTART);
    }
    lua_State *L = vm->L;
    char *text = malloc(size); /* of its exact size: a read past its end is seen */
    memcpy(text, data, size);
    msg_json_checker c = {0};
    msg_json_problem refusal = {0, NULL};
    shim_problem problem = {""};
    bool accepted = msg_json_check(&c, text, size, &refusal);
    int decoded = shim_json_decode_protected(L, text, size, &problem);
    must(decoded >= 0, "the decoder raised: %s", lua_tostring(L, -1));
    must(accepted == (decoded == 0), "the checker says %s, the decoder %s", accepted ? "yes" : refusal.text,
         decoded == 0 ? "yes" : problem.text);
    if (!accepted) {
        char words[SHIM_PROBLEM_SIZE];
        snprintf(words, sizeof words, "byte %zu: %s", refusal.position, refusal.text);
        must(strcmp(words, problem.text) == 0, "the checker says '%s', the decoder '%s'", words, problem.text);
        free(text);
        return 0;
    }
    msg_json_checker again = c;
    must(msg_json_check(&again, text, size, &refusal) && again.shape == c.shape, "with its own shape as a guess it differs");
    must(c.shape == NULL || memcmp(again.offsets, c.offsets, c.shape->count * sizeof(uint32_t)) == 0, "offsets differ");
    check_fields(L, text, size, &c);
    check_round_trip(L, "the value", true);
    check_record(L, text, size, &c, false);
    if (c.shape != NULL) check_record(L, text, size, &c, true);
    lua_settop(L, 0);
    free(text);
    return 0;
}
