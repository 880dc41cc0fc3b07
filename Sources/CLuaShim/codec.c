/* Values to messages and back: the copy by which values cross from one state to another. The layout is CMessage.h's.
 * Encoding never raises, so that host functions may encode; decoding may raise on memory. */
#include "json.h"
#include "record.h"
#include <stdio.h>
#include <string.h>

/* ---- The path of a value that cannot be sent ---- */

typedef struct frame {
    const struct frame *parent;
    const void *table;   /* lua_topointer of the table that is being written */
    int key;             /* stack index of the current key; 0: array position `position` */
    lua_Integer position;
    int depth;
} frame;

static void append_text(shim_problem *p, const char *text) {
    size_t used = strlen(p->text);
    snprintf(p->text + used, sizeof p->text - used, "%s", text);
}

static bool is_name(const char *s, size_t n) {
    if (n == 0 || n > 40 || (s[0] >= '0' && s[0] <= '9'))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= '0' && s[i] <= '9') || s[i] == '_'))
            return false;
    return true;
}

static void append_path(lua_State *L, shim_problem *p, const frame *f) {
    char text[80];
    if (f == NULL) {
        append_text(p, "value");
        return;
    }
    append_path(L, p, f->parent);
    if (strlen(p->text) > 300) { /* a deep path: the beginning is enough to find the place */
        if (strcmp(p->text + strlen(p->text) - 3, "...") != 0)
            append_text(p, "...");
        return;
    }
    if (f->key == 0) {
        snprintf(text, sizeof text, "[%lld]", (long long)f->position);
    } else if (lua_type(L, f->key) == LUA_TSTRING) {
        size_t n;
        const char *s = lua_tolstring(L, f->key, &n);
        if (is_name(s, n))
            snprintf(text, sizeof text, ".%s", s);
        else
            snprintf(text, sizeof text, "[\"%.40s\"]", s);
    } else if (lua_isinteger(L, f->key)) {
        snprintf(text, sizeof text, "[%lld]", (long long)lua_tointeger(L, f->key));
    } else if (lua_type(L, f->key) == LUA_TNUMBER) {
        snprintf(text, sizeof text, "[%.14g]", lua_tonumber(L, f->key));
    } else {
        snprintf(text, sizeof text, "[%s]", lua_toboolean(L, f->key) ? "true" : "false");
    }
    append_text(p, text);
}

static int fail(lua_State *L, shim_problem *p, const frame *f, const char *what) {
    snprintf(p->text, sizeof p->text, "cannot send ");
    append_path(L, p, f);
    append_text(p, ": ");
    append_text(p, what);
    return -1;
}

static int fail_kind(lua_State *L, shim_problem *p, const frame *f, int index) {
    char what[160];
    if (lua_type(L, index) <= LUA_TNIL) /* an argument that is missing too */
        return fail(L, p, f, "nil is no value");
    snprintf(what, sizeof what, "%s stays in the worker that made it", shim_kind_phrase(L, index));
    return fail(L, p, f, what);
}

/* ---- Encoding ---- */

static int fail_room(lua_State *L, shim_problem *p, const frame *f, const shim_buffer *out, size_t n) {
    char text[160];
    return fail(L, p, f, shim_no_room(L, out, n, text));
}

static inline bool put_tag(lua_State *L, shim_buffer *out, uint8_t tag, const void *bytes, size_t n) {
    if (out->capacity - out->used < 1 + n && !shim_make_room(L, out, 1 + n))
        return false;
    out->bytes[out->used] = tag;
    memcpy(out->bytes + out->used + 1, bytes, n);
    out->used += 1 + n;
    return true;
}

static int put_table(lua_State *L, int index, shim_buffer *out, shim_problem *p, const frame *parent, bool *objects);

static inline int put_value(lua_State *L, int index, shim_buffer *out, shim_problem *p, const frame *f, bool *objects) {
    bool ok;
    switch (lua_type(L, index)) {
    case LUA_TBOOLEAN:
        ok = put_tag(L, out, lua_toboolean(L, index) ? MSG_VALUE_TRUE : MSG_VALUE_FALSE, "", 0);
        break;
    case LUA_TNUMBER:
        if (lua_isinteger(L, index)) {
            int64_t i = lua_tointeger(L, index);
            ok = put_tag(L, out, MSG_VALUE_INTEGER, &i, sizeof i);
        } else {
            double d = lua_tonumber(L, index);
            ok = put_tag(L, out, MSG_VALUE_FLOAT, &d, sizeof d);
        }
        break;
    case LUA_TSTRING: {
        size_t n;
        const char *s = lua_tolstring(L, index, &n);
        if (n > MSG_MAX_SIZE)
            return fail(L, p, f, "a string larger than 1 GB");
        uint32_t length = (uint32_t)n;
        if (out->capacity - out->used < 5 + n && !shim_make_room(L, out, 5 + n))
            return fail_room(L, p, f, out, 5 + n);
        ok = put_tag(L, out, MSG_VALUE_STRING, &length, sizeof length);
        memcpy(out->bytes + out->used, s, n);
        out->used += n;
        break;
    }
    case LUA_TTABLE:
        return put_table(L, index, out, p, f, objects);
    case LUA_TLIGHTUSERDATA:
        if (!shim_is_null(L, index))
            return fail_kind(L, p, f, index);
        ok = put_tag(L, out, MSG_VALUE_NULL, "", 0);
        break;
    case LUA_TUSERDATA: {
        const shim_type *type;
        void *ref = shim_any_object(L, index, &type);
        if (ref == NULL || !type->shared)
            return fail_kind(L, p, f, index);
        ok = put_tag(L, out, MSG_VALUE_OBJECT, &ref, sizeof ref);
        *objects |= ok;
        break;
    }
    default:
        return fail_kind(L, p, f, index);
    }
    if (!ok)
        return fail_room(L, p, f, out, 9);
    return out->used > MSG_MAX_SIZE ? fail(L, p, f, "the value is larger than 1 GB") : 0;
}

bool shim_is_marked_array(lua_State *L, int index) {
    if (!lua_getmetatable(L, index))
        return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_array);
    bool marked = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return marked;
}

/* Without the tag: flags, counts, values. */
static int put_table_body(lua_State *L, int index, shim_buffer *out, shim_problem *p, const frame *parent,
                          bool *objects) {
    frame f = {parent, lua_topointer(L, index), 0, 0, parent == NULL ? 1 : parent->depth + 1};
    for (const frame *a = parent; a != NULL; a = a->parent)
        if (a->table == f.table)
            return fail(L, p, parent, "a cycle");
    if (f.depth > MSG_MAX_DEPTH)
        return fail(L, p, parent, "nested deeper than 200");
    if (shim_gives_up(L, out))
        return fail(L, p, parent, "canceled");
    if (!lua_checkstack(L, 6))
        return fail(L, p, parent, "not enough memory");
    shim_record *r = shim_record_of(L, index);
    if (r != NULL && !shim_record_fill_protected(L, index, r))
        return fail(L, p, parent, "not enough memory");
    if (r == NULL && lua_getmetatable(L, index)) { /* a reader, a pipeline: the library's own tables, which stay */
        lua_pop(L, 1);
        if (strcmp(shim_kind_phrase(L, index), "a table") != 0)
            return fail_kind(L, p, parent, index);
    }
    size_t head = out->used;
    uint32_t array = 0, pairs = 0;
    lua_Unsigned length = lua_rawlen(L, index);
    if (length > MSG_MAX_SIZE)
        return fail(L, p, parent, "the value is larger than 1 GB");
    size_t least = 9 + length; /* a boolean takes a byte; most take 9, and to grow once spares growing often */
    if (!shim_make_room(L, out, least))
        return fail_room(L, p, parent, out, least);
    if (out->used + 9 + 9 * length <= vm_of(L)->encode_end && !shim_buffer_reserve(out, 9 + 9 * length))
        return fail(L, p, parent, "not enough memory");
    out->used += 9;
    for (array = 0; array < length; array++) {
        lua_rawgeti(L, index, (lua_Integer)array + 1);
        if (lua_type(L, -1) == LUA_TNIL) { /* a border beyond a hole: the rest travels as pairs */
            lua_pop(L, 1);
            break;
        }
        f.position = (lua_Integer)array + 1;
        if (put_value(L, lua_gettop(L), out, p, &f, objects) != 0)
            return -1;
        lua_pop(L, 1);
    }
    int key = lua_gettop(L) + 1;
    f.key = key;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (r != NULL && shim_is_record_key(L, key)) {
            lua_pop(L, 1);
            continue;
        }
        int type = lua_type(L, key);
        if (type == LUA_TNUMBER && lua_isinteger(L, key)) {
            lua_Integer i = lua_tointeger(L, key);
            if (i >= 1 && (lua_Unsigned)i <= array) {
                lua_pop(L, 1);
                continue;
            }
        }
        if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN) {
            char what[160];
            snprintf(what, sizeof what, "a key that is %s stays in the worker that made it", shim_kind_phrase(L, key));
            return fail(L, p, parent, what);
        }
        /* A table of many pairs is a map: its keys are data, and would use the symbols up. */
        uint32_t symbol = type == LUA_TSTRING ? shim_symbol_of(L, key, pairs < MSG_SHAPE_FIELDS) : MSG_NO_SYMBOL;
        if (symbol != MSG_NO_SYMBOL ? !put_tag(L, out, MSG_VALUE_KEY, &symbol, sizeof symbol)
                                    : put_value(L, key, out, p, &f, objects) != 0)
            return symbol != MSG_NO_SYMBOL ? fail_room(L, p, parent, out, 5) : -1;
        if (put_value(L, key + 1, out, p, &f, objects) != 0)
            return -1;
        pairs++;
        lua_pop(L, 1);
    }
    out->bytes[head] = shim_is_marked_array(L, index) ? MSG_TABLE_IS_ARRAY : 0;
    memcpy(out->bytes + head + 1, &array, sizeof array);
    memcpy(out->bytes + head + 5, &pairs, sizeof pairs);
    return 0;
}

/* A record inside a value, in `depth` tables: its text where it came from JSON. 1: it is to be written as a table. */
static int put_record(lua_State *L, int index, shim_record *r, shim_buffer *out, int depth) {
    shim_problem problem;
    size_t start = out->used;
    if (r->message->kind != MSG_JSON)
        return 1;
    uint32_t length = 0;
    if (!put_tag(L, out, MSG_VALUE_JSON, &length, sizeof length) ||
        shim_record_text(L, index, r, out, &problem, (json_form){true, true, depth}) != 0) {
        out->used = start; /* it has something that JSON has not */
        return 1;
    }
    length = (uint32_t)(out->used - start - 5);
    memcpy(out->bytes + start + 1, &length, sizeof length);
    return 0;
}

static int put_table(lua_State *L, int index, shim_buffer *out, shim_problem *p, const frame *parent, bool *objects) {
    shim_record *r = shim_record_of(L, index);
    if (r != NULL && put_record(L, index, r, out, parent == NULL ? 0 : parent->depth) == 0)
        return 0;
    if (!put_tag(L, out, MSG_VALUE_TABLE, "", 0))
        return fail_room(L, p, parent, out, 1);
    return put_table_body(L, index, out, p, parent, objects);
}

/* A record as a message of its own. 1: it is to be written as a table. */
static int encode_record(lua_State *L, int index, shim_record *r, shim_buffer *out, shim_problem *p) {
    size_t start = out->used;
    if (shim_record_is_untouched(r))
        return shim_buffer_append(out, r->message, r->message->size) ? 0 : fail(L, p, NULL, "not enough memory");
    if (r->message->kind != MSG_JSON || !shim_buffer_reserve(out, MSG_TEXT_OFFSET))
        return 1;
    out->used += MSG_TEXT_OFFSET;
    shim_problem no_text; /* it has something that JSON has not */
    if (shim_record_text(L, index, r, out, &no_text, (json_form){true, true, 0}) != 0 || !shim_buffer_reserve(out, 8)) {
        out->used = start;
        return 1;
    }
    uint32_t length = (uint32_t)(out->used - start - MSG_TEXT_OFFSET), size = msg_padded(MSG_TEXT_OFFSET + length);
    memset(out->bytes + out->used, 0, 8);
    *(msg_header *)(out->bytes + start) = (msg_header){size, MSG_JSON, 0, 0};
    memcpy(out->bytes + start + MSG_HEADER_SIZE, &length, sizeof length);
    out->used = start + size;
    return 0;
}

static int encode(lua_State *L, int index, shim_buffer *out, shim_problem *problem) {
    size_t start = out->used;
    index = lua_absindex(L, index);
    int top = lua_gettop(L);
    if (!shim_buffer_reserve(out, 16)) {
        return fail(L, problem, NULL, "not enough memory");
    }
    msg_header *header = (msg_header *)(out->bytes + start);
    *header = (msg_header){16, 0, 0, 0};
    switch (lua_type(L, index)) {
    case LUA_TNUMBER: /* first: the cheapest and the most frequent */
        if (lua_isinteger(L, index)) {
            header->kind = MSG_INTEGER;
            int64_t i = lua_tointeger(L, index);
            memcpy(header + 1, &i, sizeof i);
        } else {
            header->kind = MSG_FLOAT;
            double d = lua_tonumber(L, index);
            memcpy(header + 1, &d, sizeof d);
        }
        out->used = start + 16;
        return 0;
    case LUA_TBOOLEAN:
        header->kind = lua_toboolean(L, index) ? MSG_TRUE : MSG_FALSE;
        header->size = 8;
        out->used = start + 8;
        return 0;
    case LUA_TSTRING: {
        size_t n;
        const char *s = lua_tolstring(L, index, &n);
        if (n > MSG_MAX_SIZE)
            return fail(L, problem, NULL, "a string larger than 1 GB");
        if (n > shim_max_value(vm_of(L))) {
            char text[160];
            shim_bound(vm_of(L), out, shim_max_value(vm_of(L)));
            return fail(L, problem, NULL, shim_too_large(vm_of(L), text));
        }
        uint32_t length = (uint32_t)n, size = msg_padded(MSG_TEXT_OFFSET + length);
        if (!shim_buffer_reserve(out, size))
            return fail(L, problem, NULL, "not enough memory");
        header = (msg_header *)(out->bytes + start);
        memset(out->bytes + start + size - 8, 0, 8); /* the padding, before the text */
        *header = (msg_header){size, MSG_STRING, 0, 0};
        memcpy(out->bytes + start + 8, &length, sizeof length);
        memcpy(out->bytes + start + MSG_TEXT_OFFSET, s, n);
        out->used = start + size;
        return 0;
    }
    case LUA_TLIGHTUSERDATA:
        if (!shim_is_null(L, index))
            return fail_kind(L, problem, NULL, index);
        header->kind = MSG_NULL;
        header->size = 8;
        out->used = start + 8;
        return 0;
    case LUA_TUSERDATA: {
        const shim_type *type;
        void *ref = shim_any_object(L, index, &type);
        if (ref == NULL || !type->shared)
            return fail_kind(L, problem, NULL, index);
        header->kind = MSG_OBJECT;
        header->flags = MSG_HAS_OBJECTS;
        memcpy(header + 1, &ref, sizeof ref);
        vm_of(L)->host->retain(ref);
        out->used = start + 16;
        return 0;
    }
    case LUA_TTABLE: {
        bool objects = false;
        shim_record *r = shim_record_of(L, index);
        shim_vm *vm = vm_of(L);
        out->used = start;
        shim_bound(vm, out, shim_max_value(vm));
        if (r != NULL) {
            int status = encode_record(L, index, r, out, problem);
            if (status <= 0)
                return status;
        }
        out->used = start + 8;
        if (put_table_body(L, index, out, problem, NULL, &objects) != 0) {
            lua_settop(L, top);
            out->used = start;
            return -1;
        }
        size_t size = out->used - start, padding = (8 - size % 8) % 8;
        if (size > shim_max_value(vm)) { /* it found room in a buffer that was large enough */
            char text[160];
            out->used = start;
            return fail(L, problem, NULL, shim_too_large(vm, text));
        }
        if (!shim_buffer_append(out, "\0\0\0\0\0\0\0", padding)) {
            out->used = start;
            return fail(L, problem, NULL, "not enough memory");
        }
        header = (msg_header *)(out->bytes + start);
        *header = (msg_header){(uint32_t)(size + padding), MSG_TABLE, objects ? MSG_HAS_OBJECTS : 0, 0};
        if (objects) /* only now: a value that cannot be sent has retained nothing */
            shim_message_retain(header, vm_of(L)->host->retain);
        return 0;
    }
    default:
        return fail_kind(L, problem, NULL, index);
    }
}

int shim_encode(lua_State *L, int index, shim_buffer *out, shim_problem *problem) {
    shim_vm *vm = vm_of(L);
    bool could = vm->may_raise;
    vm->may_raise = false;
    int status = encode(L, index, out, problem);
    vm->may_raise = could;
    return status;
}

int shim_encode_raising(lua_State *L, int index, shim_buffer *out, shim_problem *problem) {
    return encode(L, index, out, problem);
}

/* ---- Decoding ---- */

static inline uint32_t read_u32(const uint8_t *p) {
    uint32_t n;
    memcpy(&n, p, sizeof n);
    return n;
}

static const uint8_t *get_value(lua_State *L, const uint8_t *p, int names);

/* [-0, +1, m] */
static const uint8_t *get_table_body(lua_State *L, const uint8_t *p, int names) {
    uint8_t flags = p[0];
    uint32_t array = read_u32(p + 1), pairs = read_u32(p + 5);
    p += 9;
    luaL_checkstack(L, 6, "value");
    lua_createtable(L, (int)array, (int)pairs);
    for (uint32_t i = 1; i <= array; i++) {
        p = get_value(L, p, names);
        lua_rawseti(L, -2, i);
    }
    for (uint32_t i = 0; i < pairs; i++) {
        if (*p == MSG_VALUE_KEY) {
            shim_push_name(L, names, read_u32(p + 1));
            p += 5;
        } else {
            p = get_value(L, p, names);
        }
        p = get_value(L, p, names);
        lua_rawset(L, -3);
    }
    if (flags & MSG_TABLE_IS_ARRAY) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_array);
        lua_setmetatable(L, -2);
    }
    return p;
}

/* Pushes one nested value, returns what follows it. `names` is the index of the table of names. [-0, +1, m] */
static const uint8_t *get_value(lua_State *L, const uint8_t *p, int names) {
    switch (*p++) {
    case MSG_VALUE_FALSE: lua_pushboolean(L, 0); return p;
    case MSG_VALUE_TRUE: lua_pushboolean(L, 1); return p;
    case MSG_VALUE_NULL: lua_pushlightuserdata(L, NULL); return p;
    case MSG_VALUE_INTEGER: {
        int64_t i;
        memcpy(&i, p, sizeof i);
        lua_pushinteger(L, i);
        return p + sizeof i;
    }
    case MSG_VALUE_FLOAT: {
        double d;
        memcpy(&d, p, sizeof d);
        lua_pushnumber(L, d);
        return p + sizeof d;
    }
    case MSG_VALUE_STRING: {
        uint32_t n = read_u32(p);
        lua_pushlstring(L, (const char *)p + 4, n);
        return p + 4 + n;
    }
    case MSG_VALUE_TABLE: return get_table_body(L, p, names);
    case MSG_VALUE_JSON: {
        uint32_t n = read_u32(p);
        if (p[4] == '{' || p[4] == '[') {
            shim_push_json_record(L, (const char *)p + 4, n);
        } else {
            shim_json_value(L, p + 4, p + 4 + n);
        }
        return p + 4 + n;
    }
    default: {
        void *ref;
        memcpy(&ref, p, sizeof ref);
        shim_push_object(L, vm_of(L)->host->type_of(ref), ref);
        return p + sizeof ref;
    }
    }
}

const uint8_t *shim_decode_value(lua_State *L, const uint8_t *p) {
    if (*p != MSG_VALUE_TABLE)
        return get_value(L, p, 0);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_names);
    p = get_value(L, p, lua_gettop(L));
    lua_remove(L, -2);
    return p;
}

void shim_decode(lua_State *L, const msg_header *message) {
    const uint8_t *payload = (const uint8_t *)(message + 1);
    SHIM_ASSERT_MESSAGE(message);
    switch (message->kind) {
    case MSG_FALSE: lua_pushboolean(L, 0); return;
    case MSG_TRUE: lua_pushboolean(L, 1); return;
    case MSG_NULL: lua_pushlightuserdata(L, NULL); return;
    case MSG_INTEGER: lua_pushinteger(L, *(const int64_t *)payload); return;
    case MSG_FLOAT: lua_pushnumber(L, *(const double *)payload); return;
    case MSG_STRING: lua_pushlstring(L, (const char *)payload + 4, read_u32(payload)); return;
    case MSG_TABLE:
        if (shim_is_record(message)) {
            shim_push_record(L, message);
        } else {
            lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_names);
            get_table_body(L, payload, lua_gettop(L));
            lua_remove(L, -2);
        }
        return;
    case MSG_JSON:
        if (shim_is_record(message))
            shim_push_record(L, message);
        else
            shim_json_value(L, payload + 4, payload + 4 + read_u32(payload));
        return;
    default: {
        void *ref;
        memcpy(&ref, payload, sizeof ref);
        shim_push_object(L, vm_of(L)->host->type_of(ref), ref);
        return;
    }
    }
}

/* [-1, +1, m] */
static int decode_body(lua_State *L) {
    shim_decode(L, lua_touserdata(L, 1));
    return 1;
}

bool shim_decode_protected(lua_State *L, const msg_header *message) {
    lua_pushcfunction(L, decode_body);
    lua_pushlightuserdata(L, (void *)message);
    return lua_pcall(L, 1, 1, 0) == LUA_OK;
}

/* ---- The objects of a message ---- */

static const uint8_t *visit_value(const uint8_t *p, void (*visit)(void *));

static const uint8_t *visit_table(const uint8_t *p, void (*visit)(void *)) {
    uint64_t values = read_u32(p + 1) + 2 * (uint64_t)read_u32(p + 5);
    p += 9;
    while (values-- > 0)
        p = visit_value(p, visit);
    return p;
}

static const uint8_t *visit_value(const uint8_t *p, void (*visit)(void *)) {
    switch (*p++) {
    case MSG_VALUE_INTEGER: case MSG_VALUE_FLOAT: return p + 8;
    case MSG_VALUE_KEY: return p + 4;
    case MSG_VALUE_STRING: case MSG_VALUE_JSON: return p + 4 + read_u32(p);
    case MSG_VALUE_TABLE: return visit_table(p, visit);
    case MSG_VALUE_OBJECT: {
        void *ref;
        memcpy(&ref, p, sizeof ref);
        if (visit != NULL)
            visit(ref);
        return p + sizeof ref;
    }
    default: return p;
    }
}

const uint8_t *shim_skip_value(const uint8_t *p) { return visit_value(p, NULL); }

static void visit_objects(const msg_header *message, void (*visit)(void *)) {
    const uint8_t *payload = (const uint8_t *)(message + 1);
    if (!(message->flags & MSG_HAS_OBJECTS))
        return;
    if (message->kind == MSG_OBJECT) {
        void *ref;
        memcpy(&ref, payload, sizeof ref);
        visit(ref);
    } else {
        visit_table(payload, visit);
    }
}

void shim_message_release(const msg_header *message, void (*release)(void *)) { visit_objects(message, release); }
void shim_message_retain(const msg_header *message, void (*retain)(void *)) { visit_objects(message, retain); }
