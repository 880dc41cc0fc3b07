/* A record's life: how it is made, what its metamethods do, how its fields come out of the message. */
#include "record.h"
#include "json.h"
#include <string.h>


enum { LEAST_PAIRS = 4 }; /* a smaller table is decoded sooner than a record is made */

/* ---- Which fields there are ---- */

static inline uint32_t read_u32(const uint8_t *p) {
    uint32_t n;
    memcpy(&n, p, sizeof n);
    return n;
}

bool shim_is_record(const msg_header *message) {
    if (message->kind == MSG_JSON) return *msg_text(message) == '{' || *msg_text(message) == '[';
    if (message->kind != MSG_TABLE || message->flags & MSG_HAS_OBJECTS) return false;
    const uint8_t *payload = (const uint8_t *)(message + 1);
    uint32_t array = read_u32(payload + 1), pairs = read_u32(payload + 5);
    return array == 0 && pairs >= LEAST_PAIRS && pairs <= MSG_SHAPE_FIELDS;
}

static inline bool is_array(const shim_record *r) {
    return r->message->kind == MSG_JSON && *msg_text(r->message) == '[';
}

static inline const char *text_end(const shim_record *r) {
    return msg_text(r->message) + msg_text_length(r->message);
}

/* The shape of a text that came without. Its offsets go to own_offsets. [-0, +0, -] */
static void search_shape(shim_record *r) {
    msg_json_checker checker = {0};
    msg_json_problem problem;
    r->searched = true;
    if (is_array(r) || !msg_json_check(&checker, msg_text(r->message), msg_text_length(r->message), &problem)) return;
    r->shape = checker.shape;
    if (r->shape != NULL) memcpy(r->own_offsets, checker.offsets, r->shape->count * sizeof(uint32_t));
    r->offsets = r->own_offsets;
}

/* Begins with a message: all its fields are there. */
static void begin(shim_record *r, const msg_header *message) {
    r->message = message;
    r->owned = 0;
    r->filled = r->changed = r->written = false;
    if (message->flags & MSG_INDEXED) {
        r->shape = msg_shape_at(message->shape);
        r->offsets = msg_offsets(message);
        r->searched = true;
    } else {
        r->shape = NULL;
        r->searched = message->kind != MSG_JSON;
    }
}

/* The position of the string key at `key`, or -1; *value is where it stands in the message. Of a record that has no
 * positions, or for another key, the caller has filled the record. [-0, +0, m] */
static int find(lua_State *L, shim_record *r, int key, const uint8_t **value) {
    uint32_t symbol = shim_symbol_of(L, key, true); /* made: asked for once, it will be again */
    if (r->message->kind == MSG_JSON) {
        int position = symbol == MSG_NO_SYMBOL ? -1 : msg_shape_find(r->shape, symbol);
        if (position >= 0) *value = (const uint8_t *)msg_text(r->message) + r->offsets[position];
        return position;
    }
    const uint8_t *p = (const uint8_t *)(r->message + 1);
    uint32_t pairs = read_u32(p + 5);
    p += 9;
    for (uint32_t i = 0; i < pairs; i++) {
        bool found;
        if (*p == MSG_VALUE_KEY) {
            found = read_u32(p + 1) == symbol;
            p += 5;
        } else if (*p == MSG_VALUE_STRING) {
            size_t length;
            const char *text = lua_tolstring(L, key, &length);
            uint32_t n = read_u32(p + 1);
            found = n == length && memcmp(p + 5, text, n) == 0;
            p += 5 + n;
        } else {
            found = false;
            p = shim_skip_value(p);
        }
        if (found) {
            *value = p;
            return (int)i;
        }
        p = shim_skip_value(p);
    }
    return -1;
}

/* Whether fields can be taken one by one for this key; else all are wanted. [-0, +0, -] */
static bool has_positions(lua_State *L, shim_record *r, int key) {
    if (r->filled) return false;
    if (lua_type(L, key) != LUA_TSTRING) return false;
    if (!r->searched) search_shape(r);
    return r->message->kind != MSG_JSON || r->shape != NULL;
}

/* ---- Values ---- */

/* Pushes the value that begins at `p`. True: it is a table. [-0, +1, m] */
static bool push_value(lua_State *L, shim_record *r, const uint8_t *p) {
    vm_of(L)->decoded_fields++;
    if (r->message->kind != MSG_JSON) {
        shim_decode_value(L, p);
        return *p == MSG_VALUE_TABLE || *p == MSG_VALUE_JSON;
    }
    const uint8_t *end = (const uint8_t *)text_end(r);
    if (*p >= '1' && *p <= '9') { /* a short integer, the most frequent of what is read */
        enum { DIGITS = 15 };
        lua_Integer value = 0;
        const uint8_t *q = p; /* the object's end stops it */
        while (*q >= '0' && *q <= '9' && q - p < DIGITS) value = value * 10 + (*q++ - '0');
        if (*q == ',' || *q == '}' || *q == ' ') {
            lua_pushinteger(L, value);
            return false;
        }
    }
    if (*p == '"') {
        const uint8_t *plain = msg_skip_plain(p + 1, end);
        if (*plain == '"') {
            lua_pushlstring(L, (const char *)p + 1, (size_t)(plain - p - 1));
            return false;
        }
    }
    shim_json_value(L, p, end);
    return *p == '{' || *p == '[';
}

/* All of a text that has no shape, into the table at `t`. [-0, +0, m] */
static void fill_text(lua_State *L, int t, const shim_record *r) {
    shim_json_value(L, (const uint8_t *)msg_text(r->message), (const uint8_t *)text_end(r));
    int whole = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, whole) != 0;) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, t);
    }
    lua_pop(L, 1);
}

/* [-0, +0, m] */
static void fill_shape(lua_State *L, int t, shim_record *r) {
    const msg_shape *shape = r->shape;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_names);
    int names = lua_gettop(L);
    for (int i = 0; i < shape->count; i++) {
        if (r->owned >> i & 1 || (shape->repeats && msg_shape_find(shape, shape->symbols[i]) != i)) continue;
        shim_push_name(L, names, shape->symbols[i]);
        push_value(L, r, (const uint8_t *)msg_text(r->message) + r->offsets[i]);
        lua_rawset(L, t);
    }
    lua_pop(L, 1);
}

/* [-0, +0, m] */
static void fill_pairs(lua_State *L, int t, shim_record *r) {
    const uint8_t *p = (const uint8_t *)(r->message + 1);
    uint32_t pairs = read_u32(p + 5);
    p += 9;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_names);
    int names = lua_gettop(L);
    for (uint32_t i = 0; i < pairs; i++) {
        if (r->owned >> i & 1) {
            p = shim_skip_value(shim_skip_value(p));
            continue;
        }
        if (*p == MSG_VALUE_KEY) {
            shim_push_name(L, names, read_u32(p + 1));
            p += 5;
        } else {
            p = shim_decode_value(L, p);
        }
        vm_of(L)->decoded_fields++;
        p = shim_decode_value(L, p);
        lua_rawset(L, t);
    }
    lua_pop(L, 1);
}

void shim_record_fill(lua_State *L, int index, shim_record *r) {
    if (r->filled) return;
    index = lua_absindex(L, index);
    luaL_checkstack(L, 8, "record");
    if (!r->searched) search_shape(r);
    if (r->message->kind != MSG_JSON) fill_pairs(L, index, r);
    else if (r->shape != NULL) fill_shape(L, index, r);
    else fill_text(L, index, r);
    r->filled = true; /* last: a fill that ran out of memory is begun anew */
    vm_of(L)->record_size = 1 + (r->shape != NULL ? r->shape->count : MSG_SHAPE_FIELDS / 4);
    vm_of(L)->records_untouched = 0;
}

/* [-2, +0, m] */
static int fill_body(lua_State *L) {
    shim_record_fill(L, 1, lua_touserdata(L, 2));
    return 0;
}

bool shim_record_fill_protected(lua_State *L, int index, shim_record *r) {
    if (r->filled) return true;
    lua_pushvalue(L, index);
    lua_pushcfunction(L, fill_body);
    lua_insert(L, -2);
    lua_pushlightuserdata(L, r);
    if (lua_pcall(L, 2, 0, 0) == LUA_OK) return true;
    lua_pop(L, 1);
    return false;
}

void shim_record_settle(lua_State *L, int index, shim_record *r) {
    shim_vm *vm = vm_of(L);
    index = lua_absindex(L, index);
    shim_record_fill(L, index, r);
    lua_pushnil(L);
    lua_rawsetp(L, index, SHIM_RECORD_KEY);
    /* An array without elements stays one, as it does where a text is decoded at once. */
    if (is_array(r) && lua_rawlen(L, index) == 0) lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_array);
    else lua_pushnil(L);
    lua_setmetatable(L, index);
    if (vm->record == r) vm->record_table = NULL;
}

/* ---- Making ---- */

/* Sets metatable and hidden field of the table below the userdata on top, which it pops. [-1, +0, m] */
static void attach(lua_State *L) {
    shim_vm *vm = vm_of(L);
    lua_rawsetp(L, -2, SHIM_RECORD_KEY);
    if (lua_topointer(L, -1) == vm->record_table) vm->record_table = NULL; /* the place of one that is gone */
    lua_rawgetp(L, LUA_REGISTRYINDEX, SHIM_RECORD_KEY);
    lua_setmetatable(L, -2);
}

/* Room for the fields of a record that will be filled, judged by those before it. */
static int expected_size(shim_vm *vm) {
    if (vm->record_size > 1 && ++vm->records_untouched > 16) vm->record_size = 1;
    return vm->record_size < 1 ? 1 : vm->record_size;
}

/* Pushes a table and makes it a record whose message, of `size` bytes, the caller fills in before anything else. */
static shim_record *push_owned(lua_State *L, size_t size, bool indexed, msg_header **message) {
    size_t head = sizeof(shim_record) + (indexed ? 0 : MSG_SHAPE_FIELDS * sizeof(uint32_t));
    luaL_checkstack(L, 6, "record");
    lua_createtable(L, 0, expected_size(vm_of(L)));
    shim_record *r = lua_newuserdatauv(L, head + size, 0);
    *message = (msg_header *)((char *)r + head);
    return r;
}

void shim_push_record(lua_State *L, const msg_header *message) {
    msg_header *copy;
    shim_record *r = push_owned(L, message->size, message->kind != MSG_JSON || message->flags & MSG_INDEXED, &copy);
    memcpy(copy, message, message->size);
    begin(r, copy);
    attach(L);
}

void shim_push_json_record(lua_State *L, const char *text, uint32_t length) {
    msg_header *message;
    uint32_t size = msg_padded(MSG_TEXT_OFFSET + length);
    shim_record *r = push_owned(L, size, false, &message);
    memset((char *)message + size - 8, 0, 8); /* the padding, before the text */
    *message = (msg_header){size, MSG_JSON, 0, 0};
    memcpy(message + 1, &length, sizeof length);
    memcpy((char *)message + MSG_TEXT_OFFSET, text, length);
    begin(r, message);
    attach(L);
}

shim_record *shim_push_transient(lua_State *L) {
    lua_createtable(L, 0, 1);
    shim_record *r = lua_newuserdatauv(L, sizeof(shim_record) + MSG_SHAPE_FIELDS * sizeof(uint32_t), 0);
    memset(r, 0, sizeof *r);
    attach(L);
    return r;
}

void shim_renew_transient(lua_State *L, int index, shim_record *r, const msg_header *message) {
    shim_vm *vm = vm_of(L);
    SHIM_ASSERT_MESSAGE(message);
    if (!shim_record_is_untouched(r)) {
        for (lua_pushnil(L); lua_next(L, index) != 0;) {
            lua_pop(L, 1);
            if (shim_is_record_key(L, -1)) continue;
            lua_pushvalue(L, -1);
            lua_pushnil(L);
            lua_rawset(L, index); /* an assignment of nil to a field is allowed on the way */
        }
    }
    begin(r, message);
    vm->record_table = lua_topointer(L, index);
    vm->record = r;
}

/* The record of the table at `index`, which is one. [-0, +0, -] */
static inline shim_record *record_at(lua_State *L, int index) {
    shim_vm *vm = vm_of(L);
    if (lua_topointer(L, index) == vm->record_table) return vm->record;
    lua_rawgetp(L, index, SHIM_RECORD_KEY);
    shim_record *r = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return r;
}

shim_record *shim_record_of(lua_State *L, int index) {
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index)) return NULL;
    const void *metatable = lua_topointer(L, -1);
    lua_pop(L, 1);
    return metatable == vm_of(L)->record_metatable ? record_at(L, lua_absindex(L, index)) : NULL;
}

/* ---- What scripts do with it ---- */

/* stack: record, key (top): the record's value for a key that its table does not have. [-0, +1, m] */
static int read_field(lua_State *L, shim_record *r) {
    const uint8_t *value;
    if (!has_positions(L, r, 2)) {
        shim_record_fill(L, 1, r);
        lua_pushvalue(L, 2);
        lua_rawget(L, 1);
        return 1;
    }
    int position = find(L, r, 2, &value);
    if (position < 0 || r->owned >> position & 1) {
        lua_pushnil(L);
    } else if (push_value(L, r, value)) {
        lua_pushvalue(L, 2);
        lua_pushvalue(L, -2);
        lua_rawset(L, 1);
        r->owned |= 1ull << position;
    }
    return 1;
}

/* stack: record, key, value (top). [-0, +0, m] */
static void write_field(lua_State *L, shim_record *r) {
    const uint8_t *value;
    r->changed = true;
    if (!r->filled && lua_type(L, 2) == LUA_TSTRING) {
        if (has_positions(L, r, 2)) {
            int position = find(L, r, 2, &value);
            if (position >= 0) r->owned |= 1ull << position;
        } else {
            shim_record_fill(L, 1, r);
        }
    } else {
        shim_record_fill(L, 1, r);
    }
    lua_rawset(L, 1); /* raises for a nil key, as for any table */
}

/* __index(record, key) [-2, +1, m] */
static int record_index(lua_State *L) {
    shim_record *r = record_at(L, 1);
    if (r == NULL || r->filled) return 0;
    return read_field(L, r);
}

/* __newindex(record, key, value) [-3, +0, e] */
static int record_newindex(lua_State *L) {
    shim_record *r = shim_record_of(L, 1);
    if (r != NULL) write_field(L, r);
    else lua_rawset(L, 1);
    return 0;
}

/* __len(record) [-1, +1, m] */
static int record_len(lua_State *L) {
    shim_record *r = shim_record_of(L, 1);
    if (r != NULL) shim_record_fill(L, 1, r);
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, 1));
    return 1;
}

/* next(table [, key]) [-2, +2/1, e] */
int shim_next_field(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    shim_record *r = shim_record_of(L, 1);
    if (r != NULL) shim_record_fill(L, 1, r);
    while (lua_next(L, 1) != 0) {
        if (r == NULL || !shim_is_record_key(L, -2)) return 2;
        lua_pop(L, 1);
    }
    lua_pushnil(L);
    return 1;
}

/* __pairs(record) [-1, +3, m] */
static int record_pairs(lua_State *L) {
    lua_settop(L, 1);
    lua_pushcfunction(L, shim_next_field);
    lua_insert(L, 1);
    lua_pushnil(L);
    return 3;
}

/* rawget(table, key) [-2, +1, m] */
int shim_rawget(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    shim_record *r = shim_record_of(L, 1);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, 1) == LUA_TNIL && r != NULL && !r->filled) {
        lua_pop(L, 1);
        return read_field(L, r);
    }
    return 1;
}

/* rawset(table, key, value) [-3, +1, e] */
int shim_rawset(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    lua_settop(L, 3);
    shim_record *r = shim_record_of(L, 1);
    if (r != NULL) write_field(L, r);
    else lua_rawset(L, 1);
    lua_settop(L, 1);
    return 1;
}

/* rawlen(table or string) [-1, +1, e] */
int shim_rawlen(lua_State *L) {
    int type = lua_type(L, 1);
    luaL_argexpected(L, type == LUA_TTABLE || type == LUA_TSTRING, 1, "table or string");
    shim_record *r = shim_record_of(L, 1);
    if (r != NULL) shim_record_fill(L, 1, r);
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, 1));
    return 1;
}

/* getmetatable(value): a record has none. [-1, +1, m] */
int shim_getmetatable(lua_State *L) {
    luaL_checkany(L, 1);
    if (shim_record_of(L, 1) != NULL || !lua_getmetatable(L, 1)) {
        lua_pushnil(L);
        return 1;
    }
    luaL_getmetafield(L, 1, "__metatable");
    return 1; /* it, or the metatable */
}

void shim_open_records(lua_State *L) {
    static const luaL_Reg metamethods[] = {
        {"__index", record_index}, {"__newindex", record_newindex}, {"__len", record_len}, {"__pairs", record_pairs},
        {NULL, NULL}
    };
    luaL_newlib(L, metamethods);
    vm_of(L)->record_metatable = lua_topointer(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, SHIM_RECORD_KEY);
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &shim_key_names);
}
