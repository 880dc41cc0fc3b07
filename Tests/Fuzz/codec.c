/* Fuzz target: the codec by which values cross from one state to another (CLuaShim/codec.c, CMessage).
 *
 * The first byte of the input chooses:
 *  - raw bytes as a message, or a header that fits around them. Those who read messages trust their lengths, as messages
 *    are made in the process only; so msg_check says first whether the bytes are one. Of those that it accepts, which
 *    are all that a reader may ever get, everything that reads messages is called: decoding, keys of fields, retaining,
 *    encoding again, text for people, JSON.
 *  - or a value that the bytes build up. Where it can be sent, msg_check accepts the message, and it comes back equal.
 * In both, a decoded value is encoded, decoded and found equal; no object is held in the end. */
#include "fuzz_state.h"

static shim_vm *vm, *other;

/* ---- What must hold of a message ---- */

static void read_message(const msg_header *m, int depth);

/* The value on top: it goes through a message, and comes back equal. */
static void check_value(lua_State *L, int depth) {
    shim_buffer out = {0};
    shim_problem problem;
    if (shim_encode(L, -1, &out, &problem) != 0) {
        must(strstr(problem.text, "nested deeper") != NULL || depth == 0, "a decoded value is not encoded: %s", problem.text);
        shim_buffer_free(&out);
        return;
    }
    const msg_header *m = (const msg_header *)out.bytes;
    must(msg_check(m, out.used, fuzz_is_object), "the encoder made a message that is none: kind %d, flags %d, %.*s",
         m->kind, m->flags, (int)out.used, (const char *)out.bytes);
    must(shim_decode_protected(L, m), "the encoder's message is not decoded: %s", lua_tostring(L, -1));
    must(fuzz_same(L, -1, -2, 0), "the value comes back as another one");
    lua_pop(L, 1);
    if (depth < 2) read_message(m, depth + 1);
    shim_message_release(m, fuzz_release);
    shim_buffer_free(&out);
}

static void read_message(const msg_header *m, int depth) {
    lua_State *L = other->L;
    static const char *const names[] = {"a", "b", "id", ""};
    int top = lua_gettop(L);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) (void)msg_key_of_field(m, names[i], strlen(names[i]));
    shim_message_retain(m, fuzz_retain);
    shim_message_release(m, fuzz_release);
    if (!shim_decode_protected(L, m)) { /* only for want of stack, or memory */
        lua_settop(L, top);
        return;
    }
    for (size_t i = 0; lua_type(L, -1) == LUA_TTABLE && i < sizeof names / sizeof *names; i++) {
        lua_pushcfunction(L, shim_rawget); /* takes a record's field out of its message */
        lua_pushvalue(L, -2);
        lua_pushstring(L, names[i]);
        must(lua_pcall(L, 2, 1, 0) == LUA_OK, "a field raises: %s", lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    shim_buffer text = {0};
    shim_problem problem;
    shim_describe(L, -1, 300, &text);
    text.used = 0;
    if (shim_json_encode(L, -1, &text, &problem) == 0) {
        must(shim_json_decode_protected(L, (const char *)text.bytes, text.used, &problem) == 0, "not JSON: %s: %.*s",
             problem.text, (int)text.used, text.bytes);
        lua_pop(L, 1);
    }
    shim_buffer_free(&text);
    check_value(L, depth);
    lua_settop(L, top);
}

/* ---- Messages of any bytes ---- */

static void read_bytes(const uint8_t *data, size_t size, bool framed) {
    size_t whole = framed ? msg_padded((uint32_t)(MSG_HEADER_SIZE + size)) : size;
    uint8_t *bytes = calloc(1, whole); /* of its exact size */
    if (framed) {
        uint8_t kind = size > 0 ? data[0] : 0, flags = size > 1 ? data[1] & 3 : 0;
        size_t left = size > 2 ? size - 2 : 0;
        whole = msg_padded((uint32_t)(MSG_HEADER_SIZE + left));
        free(bytes);
        bytes = calloc(1, whole);
        *(msg_header *)bytes = (msg_header){(uint32_t)whole, kind % 12, flags, 0};
        if (left > 0) memcpy(bytes + MSG_HEADER_SIZE, data + 2, left);
        uint32_t length = (uint32_t)left - 4;
        if ((kind % 12 == MSG_STRING || kind % 12 == MSG_JSON) && left >= 4) memcpy(bytes + MSG_HEADER_SIZE, &length, 4);
    } else if (size > 0) {
        memcpy(bytes, data, size);
    }
    const msg_header *m = (const msg_header *)bytes;
    if (whole >= MSG_HEADER_SIZE && msg_check(bytes, whole, fuzz_is_object) && m->kind != MSG_MARK) read_message(m, 0);
    free(bytes);
}

/* ---- Values ---- */

typedef struct input { const uint8_t *p, *end; } input;

static uint8_t byte(input *in) { return in->p < in->end ? *in->p++ : 0; }

static void push_text(lua_State *L, input *in) {
    size_t length = byte(in) % 24, left = (size_t)(in->end - in->p);
    if (length > left) length = left;
    lua_pushlstring(L, (const char *)in->p, length);
    in->p += length;
}

static void push_number(lua_State *L, input *in) {
    static const double doubles[] = {0.0, -0.0, 1.0, 0.1, 1e300, 5e-324, 9223372036854775808.0, 1.0 / 0.0, -1.0 / 0.0};
    uint64_t bits = 0;
    switch (byte(in) % 4) {
    case 0: lua_pushinteger(L, byte(in)); return;
    case 1: lua_pushnumber(L, doubles[byte(in) % 9]); return;
    default:
        for (int i = 0; i < 8; i++) bits = bits << 8 | byte(in);
    }
    double number;
    memcpy(&number, &bits, sizeof number);
    if (bits & 1) lua_pushinteger(L, (lua_Integer)bits);
    else lua_pushnumber(L, number);
}

static void push_key(lua_State *L, input *in) {
    switch (byte(in) % 4) {
    case 0: push_text(L, in); return;
    case 1: lua_pushboolean(L, byte(in) & 1); return;
    default: push_number(L, in);
    }
    lua_Number n = lua_tonumber(L, -1);
    if (n != n) {
        lua_pop(L, 1);
        lua_pushinteger(L, 1);
    }
}

static const shim_type *kind_of(int number) { return vm->host->type_of(fuzz_object(number)); }

static void push_value(lua_State *L, input *in, int depth) {
    must(lua_checkstack(L, 12), "stack");
    shim_problem problem;
    switch (byte(in) % 12) {
    case 0: case 1: push_text(L, in); return;
    case 2: case 3: push_number(L, in); return;
    case 4: lua_pushboolean(L, byte(in) & 1); return;
    case 5: lua_pushlightuserdata(L, NULL); return;
    case 6: must(shim_push_object_protected(L, kind_of(0), fuzz_object(0)), "memory"); return;
    case 7: { /* a record, or whatever the text says */
        push_text(L, in);
        char text[128];
        int n = snprintf(text, sizeof text, "{\"a\":1,\"b\":[{\"c\":null}],\"id\":\"%d\",\"x\":\"", byte(in));
        for (const char *p = lua_tostring(L, -1); *p >= ' ' && *p < 127 && *p != '"' && *p != '\\'; p++) text[n++] = *p;
        memcpy(text + n, "\"}", 3);
        lua_pop(L, 1);
        lua_pushnil(L);
        shim_push_json_record(L, text, (uint32_t)n + 2);
        lua_remove(L, -2);
        break;
    }
    case 8: { /* a record that a table message brought */
        shim_buffer out = {0};
        lua_newtable(L);
        for (int i = 0; i < 5; i++) {
            push_value(L, in, depth + 3);
            lua_pushfstring(L, "k%d", i);
            lua_insert(L, -2);
            lua_rawset(L, -3);
        }
        if (shim_encode(L, -1, &out, &problem) == 0) {
            must(shim_decode_protected(L, (msg_header *)out.bytes), "not decoded");
            lua_remove(L, -2);
            shim_message_release((msg_header *)out.bytes, fuzz_release);
        }
        shim_buffer_free(&out);
        break;
    }
    default: lua_newtable(L);
    }
    int count = depth > 6 ? 0 : byte(in) % 6, table = lua_gettop(L);
    uint8_t how = byte(in);
    for (int i = 1; i <= count && in->p < in->end; i++) {
        lua_pushcfunction(L, shim_rawset); /* as a script's assignment to a record is seen */
        lua_pushvalue(L, table);
        if (how & 1) lua_pushinteger(L, i);
        else push_key(L, in);
        if (byte(in) % 16 == 0 && how & 2) lua_pushnil(L);
        else push_value(L, in, depth + 1);
        must(lua_pcall(L, 3, 0, 0) == LUA_OK, "rawset raises: %s", lua_tostring(L, -1));
    }
    if (how & 4 && count == 0 && shim_record_of(L, -1) == NULL) shim_mark_array(L);
    if (how & 8) {
        lua_pushnil(L);
        lua_pushcfunction(L, shim_next_field); /* fills a record */
        lua_pushvalue(L, table);
        must(lua_pcall(L, 1, 0, 0) == LUA_OK, "next raises");
        lua_settop(L, table);
    }
}

/* Where a value has no JSON, or a key that is none of its, a record is sent as a table: what counts is that it is equal. */
static void build_value(const uint8_t *data, size_t size) {
    input in = {data, data + size};
    lua_State *L = vm->L;
    push_value(L, &in, 0);
    check_value(L, 0);
    lua_settop(L, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int held; /* by globals of the two states */
    if (vm == NULL) {
        vm = fuzz_state(0);
        other = fuzz_state(0);
        held = fuzz_references();
        lua_gc(vm->L, LUA_GCRESTART);
        lua_gc(other->L, LUA_GCRESTART);
        for (int i = 0; i < FUZZ_OBJECTS; i++) fuzz_object(i);
    }
    if (size == 0) return 0;
    switch (data[0] % 4) {
    case 0: read_bytes(data + 1, size - 1, false); break;
    case 1: read_bytes(data + 1, size - 1, true); break;
    default: build_value(data + 1, size - 1);
    }
    if (fuzz_references() > held) {
        lua_gc(vm->L, LUA_GCCOLLECT);
        lua_gc(other->L, LUA_GCCOLLECT);
    }
    must(fuzz_references() == held, "%d objects are held that nobody can reach", fuzz_references() - held);
    return 0;
}
