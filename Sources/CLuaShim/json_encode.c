/* Values to JSON text. */
#include "json.h"
#include "record.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_STRING, KEY_INTEGER, KEY_FLOAT };
enum { FIRST_ENTRIES = 64, NUMBER_SIZE = 40 };

typedef struct key {
    int kind;
    union {
        struct { const char *text; size_t length; }; /* in the table's own string: it lives as long */
        lua_Integer integer;
        lua_Number number;
    };
} key;

typedef struct entry { /* a field of a table that is about to be written */
    key key;
    uint64_t prefix;   /* its text's first 8 bytes as a number: decides most comparisons */
    int slot;          /* stack index of the value */
} entry;

typedef struct level { /* where the encoder is: the tables around, for cycles and for the path in a problem */
    const struct level *outer;
    const void *table;
    key key;           /* of the value that is being written */
    int depth;
} level;

typedef struct encoder {
    lua_State *L;
    shim_buffer *out;
    shim_problem *problem;
    bool exact;        /* refuse keys that would come back as strings */
    int depth;         /* tables around the value that is written */
    entry *entries;    /* of all open tables, the innermost last */
    size_t entry_count, entry_capacity;
    entry first_entries[FIRST_ENTRIES];
} encoder;

static bool write_value(encoder *e, int index, const level *at);

/* Writes `value` in decimal, returns the length. */
static int format_integer(char *out, lua_Integer value) {
    char digits[24];
    int n = 0, used = 0;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do digits[n++] = (char)('0' + rest % 10); while ((rest /= 10) != 0);
    if (value < 0) out[used++] = '-';
    while (n > 0) out[used++] = digits[--n];
    return used;
}

/* Writes the shortest text that reads back as `value`, which is finite, and as a float. Returns the length. */
static int format_float(char *out, double value) {
    double size = fabs(value);
    int used = 0;
    if (size >= 1e-4 && size < 1e15) {
        /* A decimal of up to 15 digits is found by scaling: the errors of that stay under a half. */
        for (int places = 0; places <= 18; places++) {
            double scaled = size * powers_of_ten[places];
            if (scaled >= 1e15) break;
            int64_t whole = (int64_t)(scaled + 0.5);
            if ((double)whole / powers_of_ten[places] != size) continue;
            char digits[24];
            int n = 0;
            do { /* backwards, the point between */
                if (n == places && n > 0) digits[n++] = '.';
                digits[n++] = (char)('0' + whole % 10);
                whole /= 10;
            } while (whole != 0 || n <= places || (places > 0 && n <= places + 1));
            if (value < 0) out[used++] = '-';
            while (n > 0) out[used++] = digits[--n];
            if (places == 0) {
                out[used++] = '.';
                out[used++] = '0';
            }
            return used;
        }
    }
    for (int precision = size < 2.2250738585072014e-308 ? 1 : 15;; precision++) {
        used = snprintf(out, NUMBER_SIZE, "%.*g", precision, value);
        if (precision == 17 || strtod(out, NULL) == value) break;
    }
    if (strpbrk(out, ".e") == NULL) {
        out[used++] = '.';
        out[used++] = '0';
    }
    return used;
}

static int format_key(char *out, const key *k) {
    return k->kind == KEY_INTEGER ? format_integer(out, k->integer) : format_float(out, k->number);
}

/* ---- Problems ---- */

static bool is_identifier(const char *text, size_t length) {
    if (length == 0 || length > 40 || (text[0] >= '0' && text[0] <= '9')) return false;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c != '_' && !(c >= '0' && c <= '9') && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z')) return false;
    }
    return true;
}

/* Appends ".name", "[3]" or "[\"odd key\"]", at most 100 bytes. */
static int format_step(char *out, const key *k) {
    if (k->kind != KEY_STRING) {
        int n = format_key(out + 1, k);
        out[0] = '[';
        out[n + 1] = ']';
        return n + 2;
    }
    if (is_identifier(k->text, k->length)) {
        out[0] = '.';
        memcpy(out + 1, k->text, k->length);
        return (int)k->length + 1;
    }
    int used = 2;
    const uint8_t *p = (const uint8_t *)k->text, *end = p + k->length;
    memcpy(out, "[\"", 2);
    while (p < end && used < 40) {
        int length = *p < 0x80 ? 1 : msg_utf8_length(p, end);
        if (length == 0 || *p < 0x20 || *p == 0x7F) {
            used += snprintf(out + used, 5, "\\x%02x", *p++);
        } else {
            if (*p == '"' || *p == '\\') out[used++] = '\\';
            memcpy(out + used, p, (size_t)length);
            used += length;
            p += length;
        }
    }
    if (p < end) {
        memcpy(out + used, "...", 3);
        used += 3;
    }
    memcpy(out + used, "\"]", 2);
    return used + 2;
}

/* Fills in "cannot write value.a.b as JSON: what". Always false. Of a long path the middle is left out. */
static __attribute__((noinline)) bool cannot_write(encoder *e, const level *at, const char *what) {
    const level *steps[MSG_MAX_DEPTH + 2];
    char path[400];
    int count = 0, used = 5;
    for (; at != NULL; at = at->outer) steps[count++] = at;
    memcpy(path, "value", 5);
    for (int i = count - 1; i >= 0; i--) {
        char step[128];
        int length = format_step(step, &steps[i]->key);
        bool skipped = count > 12 && i >= 3 && i < count - 8;
        if (skipped && i > 3) continue;
        if (skipped || used + length > (int)sizeof path - 4) {
            memcpy(path + used, "...", 3);
            used += 3;
            if (!skipped) break;
            continue;
        }
        memcpy(path + used, step, (size_t)length);
        used += length;
    }
    snprintf(e->problem->text, sizeof e->problem->text, "cannot write %.*s as JSON: %s", used, path, what);
    return false;
}

static bool no_memory(encoder *e, const level *at) { return cannot_write(e, at, "not enough memory"); }

static bool no_room(encoder *e, const level *at, size_t length) {
    char text[160];
    return cannot_write(e, at, shim_no_room(e->L, e->out, length, text));
}

/* ---- Values ---- */

static inline bool put(encoder *e, const level *at, const void *bytes, size_t length) {
    shim_buffer *out = e->out;
    if (out->capacity - out->used < length) {
        /* A table that is reached twice is written twice, which may double at every level. */
        if (out->used > MSG_MAX_SIZE) return cannot_write(e, at, "the value is larger than 1 GB");
        if (!shim_make_room(e->L, out, length)) return no_room(e, at, length);
    }
    memcpy(out->bytes + out->used, bytes, length);
    out->used += length;
    return true;
}

static inline bool put_byte(encoder *e, const level *at, char c) { return put(e, at, &c, 1); }

static bool write_string(encoder *e, const char *text, size_t length, const level *at, const char *whose) {
    const uint8_t *start = (const uint8_t *)text, *p = start, *run = p, *end = p + length;
    if (!shim_make_room(e->L, e->out, length + 2)) return no_room(e, at, length + 2);
    put_byte(e, at, '"');
    while ((p = msg_skip_plain(p, end)) < end) {
        if (*p >= 0x80) {
            int n = msg_utf8_length(p, end);
            if (n == 0) {
                char what[80];
                snprintf(what, sizeof what, "%sinvalid UTF-8 at byte %zu", whose, (size_t)(p - start) + 1);
                return cannot_write(e, at, what);
            }
            p += n;
            continue;
        }
        char escape[8];
        int n = 2;
        escape[0] = '\\';
        switch (*p) {
        case '"': case '\\': escape[1] = (char)*p; break;
        case '\n': escape[1] = 'n'; break;
        case '\t': escape[1] = 't'; break;
        case '\r': escape[1] = 'r'; break;
        case '\b': escape[1] = 'b'; break;
        case '\f': escape[1] = 'f'; break;
        default: n = snprintf(escape, sizeof escape, "\\u%04x", *p);
        }
        if (!put(e, at, run, (size_t)(p - run)) || !put(e, at, escape, (size_t)n)) return false;
        run = ++p;
    }
    return put(e, at, run, (size_t)(end - run)) && put_byte(e, at, '"');
}

/* By bytes of the text; a number before a string that looks like it. */
static int compare_entries(const void *left, const void *right) {
    const entry *a = left, *b = right;
    if (a->prefix != b->prefix) return a->prefix < b->prefix ? -1 : 1;
    char a_number[NUMBER_SIZE], b_number[NUMBER_SIZE];
    const char *a_text = a->key.text, *b_text = b->key.text;
    size_t a_length = a->key.length, b_length = b->key.length;
    if (a->key.kind != KEY_STRING) a_length = (size_t)format_key(a_number, &a->key), a_text = a_number;
    if (b->key.kind != KEY_STRING) b_length = (size_t)format_key(b_number, &b->key), b_text = b_number;
    int order = memcmp(a_text, b_text, a_length < b_length ? a_length : b_length);
    if (order != 0) return order;
    if (a_length != b_length) return a_length < b_length ? -1 : 1;
    return (a->key.kind == KEY_STRING) - (b->key.kind == KEY_STRING);
}

static void sort_entries(entry *entries, size_t count) {
    if (count > 24) {
        qsort(entries, count, sizeof *entries, compare_entries);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        entry moving = entries[i];
        size_t j = i;
        for (; j > 0 && compare_entries(&entries[j - 1], &moving) > 0; j--) entries[j] = entries[j - 1];
        entries[j] = moving;
    }
}

static uint64_t prefix_of(const char *text, size_t length) {
    uint64_t prefix = 0;
    for (size_t i = 0; i < 8; i++) prefix = prefix << 8 | (i < length ? (uint8_t)text[i] : 0);
    return prefix;
}

/* Fills *k from the key at `index`; its prefix too. What is wrong with it, or NULL. [-0, +0, -] */
static const char *read_key(lua_State *L, int index, entry *field) {
    key *k = &field->key;
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        k->kind = KEY_STRING;
        k->text = lua_tolstring(L, index, &k->length);
        field->prefix = prefix_of(k->text, k->length);
        return NULL;
    case LUA_TNUMBER: {
        char text[NUMBER_SIZE];
        if (lua_isinteger(L, index)) {
            k->kind = KEY_INTEGER;
            k->integer = lua_tointeger(L, index);
        } else {
            k->kind = KEY_FLOAT;
            k->number = lua_tonumber(L, index);
            if (isinf(k->number)) return "an infinite key";
        }
        field->prefix = prefix_of(text, (size_t)format_key(text, k));
        return NULL;
    }
    case LUA_TBOOLEAN: return "a boolean key";
    default: return "a key that is no string or number";
    }
}

/* The table's values are put on the stack, its keys into e->entries. stack: ... -> ..., values. [-0, +n, -] */
static bool collect_entries(encoder *e, int index, const level *outer) {
    lua_State *L = e->L;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (shim_is_record_key(L, -2)) {
            lua_pop(L, 1);
            continue;
        }
        if (e->entry_count == e->entry_capacity) {
            size_t capacity = 2 * e->entry_capacity;
            bool first = e->entries == e->first_entries;
            entry *grown = realloc(first ? NULL : e->entries, capacity * sizeof(entry));
            if (grown == NULL) return no_memory(e, outer);
            if (first) memcpy(grown, e->first_entries, sizeof e->first_entries);
            e->entries = grown;
            e->entry_capacity = capacity;
        }
        entry *field = &e->entries[e->entry_count++];
        const char *wrong = read_key(L, -2, field);
        if (wrong == NULL && e->exact && field->key.kind != KEY_STRING) wrong = "a key that is no string";
        if (wrong != NULL) return cannot_write(e, outer, wrong);
        lua_insert(L, -2); /* value, key (top) */
        field->slot = lua_gettop(L) - 1;
        if (!lua_checkstack(L, 4)) return cannot_write(e, outer, "too many fields");
    }
    return true;
}

static bool write_object(encoder *e, int index, level *here) {
    lua_State *L = e->L;
    int top = lua_gettop(L);
    size_t first = e->entry_count;
    if (!collect_entries(e, index, here->outer)) return false;
    size_t end = e->entry_count;
    sort_entries(e->entries + first, end - first);
    if (!put_byte(e, here, '{')) return false;
    for (size_t i = first; i < end; i++) {
        entry field = e->entries[i]; /* a copy: the array may move */
        here->key = field.key;
        if (i > first && !put_byte(e, here, ',')) return false;
        if (field.key.kind == KEY_STRING) {
            if (!write_string(e, field.key.text, field.key.length, here, "its key has ")) return false;
        } else {
            char text[NUMBER_SIZE + 2];
            int length = format_key(text + 1, &field.key);
            text[0] = text[length + 1] = '"';
            if (!put(e, here, text, (size_t)length + 2)) return false;
        }
        if (!put_byte(e, here, ':') || !write_value(e, field.slot, here)) return false;
    }
    e->entry_count = first;
    lua_settop(L, top);
    return put_byte(e, here, '}');
}

static bool write_array(encoder *e, int index, lua_Unsigned count, level *here) {
    here->key.kind = KEY_INTEGER;
    if (!put_byte(e, here, '[')) return false;
    for (lua_Unsigned i = 1; i <= count; i++) {
        here->key.integer = (lua_Integer)i;
        if (i > 1 && !put_byte(e, here, ',')) return false;
        lua_rawgeti(e->L, index, (lua_Integer)i);
        if (!write_value(e, lua_gettop(e->L), here)) return false;
        lua_pop(e->L, 1);
    }
    return put_byte(e, here, ']');
}

/* True if the table has exactly the keys 1...count, where count is its raw length. [-0, +0, -] */
static bool has_only(lua_State *L, int index, lua_Unsigned count) {
    lua_Unsigned pairs = 0;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pop(L, 1);
        if (shim_is_record_key(L, -1)) continue;
        lua_Integer i = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
        if (i < 1 || (lua_Unsigned)i > count) {
            lua_pop(L, 1);
            return false;
        }
        pairs++;
    }
    return pairs == count;
}

bool shim_is_sequence(lua_State *L, int index) { return has_only(L, index, lua_rawlen(L, index)); }

static bool write_table(encoder *e, int index, const level *at) {
    lua_State *L = e->L;
    level here = {at, lua_topointer(L, index), {0}, at != NULL ? at->depth + 1 : e->depth + 1};
    shim_record *r = shim_record_of(L, index);
    for (const level *l = at; l != NULL; l = l->outer) {
        if (l->table == here.table) return cannot_write(e, at, "a cycle");
    }
    if (here.depth > MSG_MAX_DEPTH) return cannot_write(e, at, "nested deeper than 200");
    if (shim_gives_up(L, e->out)) return cannot_write(e, at, "canceled");
    if (!lua_checkstack(L, 6)) return no_memory(e, at);
    if (r != NULL && r->message->kind == MSG_JSON) {
        return shim_record_text(L, index, r, e->out, e->problem, (json_form){true, e->exact, here.depth - 1}) == 0;
    }
    if (r != NULL && !shim_record_fill_protected(L, index, r)) return no_memory(e, at);
    lua_Unsigned count = lua_rawlen(L, index);
    bool marked = shim_is_marked_array(L, index);
    if (count > 0 || marked) {
        if (has_only(L, index, count)) return write_array(e, index, count, &here);
        if (marked) return cannot_write(e, at, "an array with holes or other keys");
    }
    return write_object(e, index, &here);
}

/* `index` is absolute. [-0, +0, -], but for a failure, which leaves what was there on the stack. */
static bool write_value(encoder *e, int index, const level *at) {
    lua_State *L = e->L;
    char text[NUMBER_SIZE];
    switch (lua_type(L, index)) {
    case LUA_TSTRING: {
        size_t length;
        const char *string = lua_tolstring(L, index, &length);
        return write_string(e, string, length, at, "");
    }
    case LUA_TNUMBER: {
        if (lua_isinteger(L, index)) return put(e, at, text, (size_t)format_integer(text, lua_tointeger(L, index)));
        double number = lua_tonumber(L, index);
        if (isnan(number)) return cannot_write(e, at, "nan");
        if (isinf(number)) return cannot_write(e, at, number < 0 ? "-inf" : "inf");
        return put(e, at, text, (size_t)format_float(text, number));
    }
    case LUA_TBOOLEAN: return lua_toboolean(L, index) ? put(e, at, "true", 4) : put(e, at, "false", 5);
    case LUA_TTABLE: return write_table(e, index, at);
    case LUA_TNIL: case LUA_TNONE: return cannot_write(e, at, "nil");
    default:
        if (shim_is_null(L, index)) return put(e, at, "null", 4);
        return cannot_write(e, at, shim_kind_phrase(L, index));
    }
}

int shim_json_encode_as(lua_State *L, int index, shim_buffer *out, shim_problem *problem, json_form form) {
    encoder e;
    e.L = L, e.out = out, e.problem = problem, e.exact = form.exact, e.depth = form.depth;
    e.entries = e.first_entries, e.entry_count = 0, e.entry_capacity = FIRST_ENTRIES;
    int top = lua_gettop(L);
    size_t used = out->used;
    index = lua_absindex(L, index);
    level here = {NULL, NULL, {0}, form.depth + 1};
    bool good = form.object ? write_object(&e, index, &here) : write_value(&e, index, NULL);
    if (e.entries != e.first_entries) free(e.entries);
    lua_settop(L, top);
    if (!good) out->used = used;
    return good ? 0 : -1;
}

int shim_json_encode(lua_State *L, int index, shim_buffer *out, shim_problem *problem) {
    shim_vm *vm = vm_of(L);
    size_t limit = vm->allocator.limit; /* the text becomes a string of the state's */
    shim_bound(vm, out, limit != 0 && limit < MSG_MAX_SIZE ? limit : MSG_MAX_SIZE);
    return shim_json_encode_as(L, index, out, problem, (json_form){false, false, 0});
}
