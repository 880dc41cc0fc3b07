/* The JSON text of a record that a script may have changed: the text that it came from, but for what differs. A field
 * that says what it said keeps its bytes, its place and what stands around it; a changed one gets a new value in its
 * place; one that is gone is left out; new ones follow, sorted by bytes. The same holds inside nested tables. Of keys
 * that repeat only the last stays, once anything has changed. */
#include "record.h"
#include "json.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct merger {
    lua_State *L;
    shim_buffer *out;
    shim_problem *problem;
    const char *end;      /* of the whole text */
    bool changed;         /* something differs */
    bool exact;           /* json_form.exact */
    int depth;            /* tables around the fields that are being written */
} merger;

typedef struct member { const char *key, *value; } member; /* of an object's text */

static bool merge(merger *m, int index, const char *text, const char *text_end);

/* Always -1. */
static int fail(shim_problem *problem, const char *what) {
    snprintf(problem->text, sizeof problem->text, "cannot write value as JSON: %s", what);
    return -1;
}

static inline bool put(merger *m, const void *bytes, size_t length) {
    if (m->out->used > MSG_MAX_SIZE) return fail(m->problem, "the value is larger than 1 GB") == 0;
    if (!shim_make_room(m->L, m->out, length)) {
        char text[160];
        return fail(m->problem, shim_no_room(m->L, m->out, length, text)) == 0;
    }
    return shim_buffer_append(m->out, bytes, length);
}

/* Writes a field that has no text yet. [-0, +0, -] */
static bool encode_field(merger *m, int index) {
    return shim_json_encode_as(m->L, index, m->out, m->problem, (json_form){false, m->exact, m->depth}) == 0;
}

/* Writes a table that stands for the one that is being written. [-0, +0, -] */
static bool encode_whole(merger *m, int index, bool object) {
    return shim_json_encode_as(m->L, index, m->out, m->problem, (json_form){object, m->exact, m->depth - 1}) == 0;
}

static inline const char *after_space(const char *p) {
    while (msg_is_space((uint8_t)*p)) p++;
    return p;
}

/* The member at p, which is at its key; returns what follows the value. */
static const char *read_member(const merger *m, const char *p, member *at) {
    at->key = p;
    p = after_space(msg_json_skip(p, m->end)); /* the colon */
    at->value = after_space(p + 1);
    return msg_json_skip(at->value, m->end);
}

/* Whether the value at `index` is what the text at [p, end) says. [-0, +0, m] */
static bool is_same(merger *m, int index, const char *p, const char *end) {
    lua_State *L = m->L;
    bool same;
    switch (lua_type(L, index)) {
    case LUA_TSTRING: {
        size_t length;
        const char *string = lua_tolstring(L, index, &length);
        if (*p != '"') return false;
        if (memchr(p + 1, '\\', (size_t)(end - p - 2)) == NULL) {
            return length == (size_t)(end - p - 2) && memcmp(string, p + 1, length) == 0;
        }
        break;
    }
    case LUA_TBOOLEAN: return *p == (lua_toboolean(L, index) ? 't' : 'f');
    case LUA_TNUMBER:
        if (*p != '-' && (*p < '0' || *p > '9')) return false;
        break;
    default: return *p == 'n' && shim_is_null(L, index);
    }
    shim_json_value(L, (const uint8_t *)p, (const uint8_t *)end);
    same = lua_rawequal(L, index, -1) && lua_isinteger(L, index) == lua_isinteger(L, -1) &&
           !signbit(lua_tonumber(L, index)) == !signbit(lua_tonumber(L, -1)); /* 0.0 is no -0.0 */
    lua_pop(L, 1);
    return same;
}

/* Writes the value at `index`, where the text has [p, end). [-0, +0, m] */
static bool write_value(merger *m, int index, const char *p, const char *end) {
    if (lua_type(m->L, index) == LUA_TTABLE && (*p == '{' || *p == '[') && shim_record_of(m->L, index) == NULL) {
        return merge(m, index, p, end);
    }
    if (is_same(m, index, p, end)) return put(m, p, (size_t)(end - p));
    m->changed = true;
    return encode_field(m, index);
}

/* Pushes a table: each key of the object [text, end) -> the position where it stands last. [-0, +1, m] */
static void push_positions(merger *m, const char *text) {
    lua_State *L = m->L;
    lua_newtable(L);
    const char *p = after_space(text + 1);
    for (lua_Integer position = 0; *p != '}'; position++) {
        member at;
        p = after_space(read_member(m, p, &at));
        shim_json_value(L, (const uint8_t *)at.key, (const uint8_t *)m->end);
        lua_pushinteger(L, position);
        lua_rawset(L, -3);
        if (*p == ',') p = after_space(p + 1);
    }
}

/* Writes what the table at `index` has and the text has not, as members. The keys of the table at `seen` are those of the
 * text; `written`: members stand before. [-0, +0, m] */
static bool write_new(merger *m, int index, int seen, bool written) {
    lua_State *L = m->L;
    int top = lua_gettop(L);
    lua_newtable(L);
    bool any = false;
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_settop(L, top + 2)) {
        if (shim_is_record_key(L, top + 2)) continue;
        lua_pushvalue(L, top + 2);
        if (lua_rawget(L, seen) != LUA_TNIL) continue;
        lua_pop(L, 1);
        lua_pushvalue(L, top + 2);
        lua_insert(L, -2);
        lua_rawset(L, top + 1);
        any = true;
    }
    if (!any) {
        lua_settop(L, top);
        return true;
    }
    m->changed = true;
    size_t begin = m->out->used;
    bool good = encode_whole(m, top + 1, true); /* {...} */
    lua_settop(L, top);
    if (!good) return false;
    if (written) {
        m->out->bytes[begin] = ','; /* the brace gives way to a comma */
    } else {
        memmove(m->out->bytes + begin, m->out->bytes + begin + 1, m->out->used - begin - 1);
        m->out->used--;
    }
    m->out->used--;
    return true;
}

/* The table at `index` where the text has the object [text, end). `r`: it is the record's own table, and what its bits do
 * not claim is unchanged. [-0, +0, m] */
static bool merge_object(merger *m, int index, const char *text, const char *end, const shim_record *r) {
    lua_State *L = m->L;
    const msg_shape *shape = r != NULL && !r->filled ? r->shape : NULL; /* NULL: the table has all fields */
    luaL_checkstack(L, 12, "record");
    push_positions(m, text);
    int positions = lua_gettop(L);
    const char *p = after_space(text + 1), *done = text + 1; /* so far: written, or left out */
    bool written = false, kept = true; /* kept: what precedes was written as it stood */
    if (!put(m, "{", 1)) return false;
    for (lua_Integer position = 0; *p != '}'; position++) {
        member at;
        const char *next = read_member(m, p, &at);
        bool same = shape != NULL && !(r->owned >> position & 1), left_out = false;
        shim_json_value(L, (const uint8_t *)at.key, (const uint8_t *)m->end);
        lua_pushvalue(L, -1);
        lua_rawget(L, positions);
        left_out = lua_tointeger(L, -1) != position; /* it is repeated later, and that one counts */
        lua_pop(L, 1);
        if (!left_out && !same && lua_rawget(L, index) == LUA_TNIL) m->changed = left_out = true;
        if (left_out) {
            kept = false;
        } else {
            if (kept ? !put(m, done, (size_t)(at.value - done))
                     : (written && !put(m, ",", 1)) || !put(m, at.key, (size_t)(at.value - at.key))) return false;
            if (same ? !put(m, at.value, (size_t)(next - at.value))
                     : !write_value(m, lua_gettop(L), at.value, next)) return false;
            written = kept = true;
        }
        lua_settop(L, positions);
        done = next;
        p = after_space(next);
        if (*p == ',') p = after_space(p + 1);
    }
    size_t before = m->out->used;
    if (!write_new(m, index, positions, written)) return false;
    lua_pop(L, 1);
    if (kept && m->out->used == before) return put(m, done, (size_t)(end - done));
    return put(m, "}", 1);
}

/* The table at `index` where the text has the array [text, end). [-0, +0, m] */
static bool merge_array(merger *m, int index, const char *text, const char *end) {
    lua_State *L = m->L;
    lua_Integer length = (lua_Integer)lua_rawlen(L, index), i = 0;
    luaL_checkstack(L, 8, "record");
    if (!shim_is_sequence(L, index)) { /* it has become an object, or has holes */
        m->changed = true;
        return encode_whole(m, index, shim_record_of(L, index) != NULL);
    }
    const char *p = after_space(text + 1), *done = text;
    while (*p != ']' && i < length) {
        const char *next = msg_json_skip(p, m->end);
        lua_rawgeti(L, index, ++i);
        if (!put(m, done, (size_t)(p - done)) || !write_value(m, lua_gettop(L), p, next)) return false;
        lua_pop(L, 1);
        done = next;
        p = after_space(next);
        if (*p == ',') p = after_space(p + 1);
    }
    if (*p == ']' && i == length) return put(m, done, (size_t)(end - done));
    m->changed = true;
    if (i == 0 && !put(m, "[", 1)) return false;
    while (i < length) {
        if (i > 0 && !put(m, ",", 1)) return false;
        lua_rawgeti(L, index, ++i);
        if (!encode_field(m, lua_gettop(L))) return false;
        lua_pop(L, 1);
    }
    return put(m, "]", 1);
}

static bool merge(merger *m, int index, const char *text, const char *end) {
    if (*text == '{' && lua_rawlen(m->L, index) > 0 && shim_is_sequence(m->L, index)) { /* it has become an array */
        m->changed = true;
        return encode_field(m, index);
    }
    m->depth++;
    bool good = *text == '{' ? merge_object(m, index, text, end, NULL) : merge_array(m, index, text, end);
    m->depth--;
    return good;
}

typedef struct request { merger m; shim_record *r; bool good; } request;

/* The end of an object's text without its last brace and what stands before that. */
static const char *last_brace(const char *text, const char *end) {
    const char *last = end - 1;
    while (last > text && msg_is_space((uint8_t)last[-1])) last--;
    return last;
}

/* The fields that were read or written by name, of a record with a shape whose keys do not repeat: the others are copied in
 * one go. 2: done; 0: a problem; 1: one is gone, that takes the long way. stack: record [-0, +0, m] */
static int merge_owned(merger *m, const shim_record *r, const char *text) {
    lua_State *L = m->L;
    const char *done = text;
    luaL_checkstack(L, 8, "record");
    lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_names);
    for (uint64_t left = r->owned; left != 0; left &= left - 1) {
        int position = __builtin_ctzll(left);
        const char *value = text + r->offsets[position], *next = msg_json_skip(value, m->end);
        lua_settop(L, 2);
        shim_push_name(L, 2, r->shape->symbols[position]);
        if (lua_rawget(L, 1) == LUA_TNIL) return 1;
        if (!put(m, done, (size_t)(value - done)) || !write_value(m, lua_gettop(L), value, next)) return 0;
        done = next;
    }
    lua_settop(L, 2);
    lua_pushnil(L); /* in its place: a table of the new ones, once there is one */
    for (lua_pushnil(L); lua_next(L, 1) != 0; lua_settop(L, 4)) {
        if (shim_is_record_key(L, 4)) continue;
        uint32_t symbol = lua_type(L, 4) == LUA_TSTRING ? shim_symbol_of(L, 4, false) : MSG_NO_SYMBOL;
        if (symbol != MSG_NO_SYMBOL && msg_shape_find(r->shape, symbol) >= 0) continue;
        if (lua_isnil(L, 3)) {
            lua_newtable(L);
            lua_replace(L, 3);
        }
        lua_pushvalue(L, 4);
        lua_insert(L, -2);
        lua_rawset(L, 3);
    }
    if (lua_isnil(L, 3)) return put(m, done, (size_t)(m->end - done)) ? 2 : 0;
    const char *last = last_brace(text, m->end);
    if (last < done) last = done;
    if (!put(m, done, (size_t)(last - done))) return 0;
    size_t brace = m->out->used;
    if (!encode_whole(m, 3, true)) return 0;
    m->out->bytes[brace] = ',';
    return 2;
}

/* True if nothing is left of an object's fields, and the record has become an array. stack: record [-0, +0, m] */
static bool has_become_array(lua_State *L, const shim_record *r) {
    return (r->filled || (r->shape != NULL && r->shape->count == 0)) && lua_rawlen(L, 1) > 0 && shim_is_sequence(L, 1);
}

/* stack: record, request. [-2, +0, m] */
static int text_body(lua_State *L) {
    request *q = lua_touserdata(L, 2);
    shim_record *r = q->r;
    const char *text = msg_text(r->message);
    lua_settop(L, 1);
    q->m.L = L;
    if (*text == '{' && has_become_array(L, r)) {
        lua_Integer length = (lua_Integer)lua_rawlen(L, 1);
        lua_createtable(L, (int)length, 0); /* the record itself would be written as what it was */
        for (lua_Integer i = 1; i <= length; i++) {
            lua_rawgeti(L, 1, i);
            lua_rawseti(L, 2, i);
        }
        q->good = encode_whole(&q->m, 2, false);
        return 0;
    }
    size_t begin = q->m.out->used;
    if (!r->filled && r->shape != NULL && r->shape->count > 0 && !r->shape->repeats) {
        int status = merge_owned(&q->m, r, text);
        q->good = status == 2;
        if (status != 1) return 0;
        q->m.out->used = begin;
        lua_settop(L, 1);
    }
    if (!r->filled && r->shape == NULL) shim_record_fill(L, 1, r);
    q->good = *text == '{' ? merge_object(&q->m, 1, text, q->m.end, r) : merge_array(&q->m, 1, text, q->m.end);
    if (q->good && !q->m.changed) { /* with its repeated keys, if it has any */
        q->m.out->used = begin;
        q->good = put(&q->m, text, (size_t)(q->m.end - text));
    }
    return 0;
}

/* Only new fields: the text stays whole but for its last brace. Nothing in the table is in the text, else its bit would be
 * set. [-0, +0, -] */
static int append_new(lua_State *L, int index, shim_record *r, shim_buffer *out, shim_problem *problem, json_form form) {
    const char *text = msg_text(r->message);
    size_t begin = out->used, kept = (size_t)(last_brace(text, text + msg_text_length(r->message)) - text);
    if (!shim_buffer_append(out, text, kept)) return fail(problem, "not enough memory");
    if (shim_json_encode_as(L, index, out, problem, form) != 0) {
        out->used = begin;
        return -1;
    }
    uint8_t *brace = out->bytes + begin + kept;
    if (brace[1] == '}') { /* set, and taken back */
        out->used = begin;
        return shim_buffer_append(out, text, msg_text_length(r->message)) ? 0 : fail(problem, "not enough memory");
    }
    *brace = ',';
    return 0;
}

/* Whether the values in the text, which are in `depth` tables, are nested deeper than the limit. */
static bool is_too_deep(const char *text, size_t length, int depth) {
    int left = MSG_MAX_DEPTH - depth;
    if (length / 2 <= (size_t)left) return false;
    size_t openings = 0;
    for (size_t i = 0; i < length; i++) openings += (text[i] | 0x20) == '{'; /* or '[' */
    if (openings <= (size_t)left) return false;
    for (const uint8_t *p = (const uint8_t *)text, *end = p + length; p < end; p++) {
        if (*p == '"') p = (const uint8_t *)msg_json_skip((const char *)p, (const char *)end) - 1;
        else if (*p == '{' || *p == '[') left--;
        else if (*p == '}' || *p == ']') left++;
        if (left < 0) return true;
    }
    return false;
}

/* Appends the text of a record that was touched. */
static int changed_text(lua_State *L, int index, shim_record *r, shim_buffer *out, shim_problem *problem, json_form form) {
    if (!r->filled && r->owned == 0 && r->shape != NULL && r->shape->count > 0 && !r->shape->repeats) {
        return append_new(L, index, r, out, problem, form);
    }
    const char *end = msg_text(r->message) + msg_text_length(r->message);
    request q = {{L, out, problem, end, false, form.exact, form.depth + 1}, r, false};
    lua_pushvalue(L, index);
    lua_pushcfunction(L, text_body);
    lua_insert(L, -2);
    lua_pushlightuserdata(L, &q);
    int status = lua_pcall(L, 2, 0, 0);
    if (status != LUA_OK) lua_pop(L, 1);
    if (status == LUA_ERRMEM) return fail(problem, "not enough memory");
    if (status != LUA_OK) return fail(problem, "too many records inside each other"); /* Lua's limit of C calls */
    return q.good ? 0 : -1;
}

int shim_record_text(lua_State *L, int index, shim_record *r, shim_buffer *out, shim_problem *problem, json_form form) {
    size_t begin = out->used;
    if (r->written) return fail(problem, "a cycle");
    if (begin > MSG_MAX_SIZE) return fail(problem, "the value is larger than 1 GB");
    if (shim_record_is_untouched(r)) {
        if (!shim_buffer_append(out, msg_text(r->message), msg_text_length(r->message))) {
            return fail(problem, "not enough memory");
        }
    } else {
        r->written = true;
        form.object = true;
        int status = changed_text(L, index, r, out, problem, form);
        r->written = false;
        if (status != 0) {
            out->used = begin;
            return -1;
        }
    }
    if (out->used - begin > MSG_MAX_SIZE) {
        out->used = begin;
        return fail(problem, "the value is larger than 1 GB");
    }
    /* What is new was written with its depth in mind. */
    if (form.depth == 0 || !is_too_deep(msg_text(r->message), msg_text_length(r->message), form.depth) ||
        !is_too_deep((const char *)out->bytes + begin, out->used - begin, form.depth)) return 0;
    out->used = begin;
    return fail(problem, "nested deeper than 200");
}
