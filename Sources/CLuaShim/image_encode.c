/* Writes an image: first all that the roots reach, where a value that cannot leave its worker is an error that names
 * it; then the globals, libraries and modules, where such a value is left out.
 *
 * The walk is a queue in the heap, so that no list is too long for it. It runs no code of the script's: tables are
 * read raw. All of it runs in one lua_pcall, because Lua's memory may end; malloc'd memory is freed after that. */
#include "image_encode.h"
#include "record.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Failing: the problem is filled, then the pcall ends ---- */

static _Noreturn void stop(encoder *e) {
    lua_pushnil(e->L);
    lua_error(e->L);
    abort(); /* not reached */
}

/* Every failure of malloc and of the limits. [-0, +0, e] */
static _Noreturn void fail(encoder *e, const char *text) {
    snprintf(e->problem->text, sizeof e->problem->text, "%s", text);
    stop(e);
}

static bool is_name(const char *s) {
    size_t n = strlen(s);
    if (n == 0 || (s[0] >= '0' && s[0] <= '9'))
        return false;
    return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == n;
}

/* The path from the captured variable to `at`, written from its end: a long one keeps its beginning and its end. */
static void describe_path(const encoder *e, const item *at, char *path, size_t size) {
    char pieces[256], piece[64];
    size_t start = sizeof pieces - 1;
    bool cut = false;
    pieces[start] = '\0';
    const char *name = "";
    for (;;) {
        piece[0] = '\0';
        if (at->edge == EDGE_UPVALUE)
            name = at->at.name;
        else if (at->edge == EDGE_FIELD)
            snprintf(piece, sizeof piece, is_name(at->at.name) ? ".%.40s" : "[\"%.40s\"]", at->at.name);
        else if (at->edge == EDGE_INDEX)
            snprintf(piece, sizeof piece, "[%lld]", (long long)at->at.index);
        else if (at->edge == EDGE_OTHER)
            snprintf(piece, sizeof piece, "[...]");
        else if (at->edge == EDGE_KEY)
            snprintf(piece, sizeof piece, "[key]");
        else if (at->edge == EDGE_META)
            snprintf(piece, sizeof piece, ".metatable");
        size_t length = strlen(piece);
        if (!cut && length <= start) {
            start -= length;
            memcpy(pieces + start, piece, length);
        } else {
            cut = true;
        }
        if (at->edge == EDGE_UPVALUE || at->edge == EDGE_ROOT)
            break;
        at = &e->items[at->parent - 1];
    }
    const char *rest = pieces + start;
    if (name[0] == '\0' && rest[0] == '.')
        rest++; /* a root that is a table: `process`, not `.process` */
    snprintf(path, size, "%.60s%s%s", name, cut ? "..." : "", rest);
}

/* A value that stays in its worker: ends the encoding, or in the lenient part returns false. [-0, +0, e] */
static bool refuse(encoder *e, const item *at, const char *phrase) {
    e->phrase = phrase;
    if (e->lenient)
        return false;
    char path[360];
    describe_path(e, at, path, sizeof path);
    if (path[0] == '\0')
        snprintf(e->problem->text, sizeof e->problem->text, "is %.80s, which cannot leave its worker", phrase);
    else
        snprintf(e->problem->text, sizeof e->problem->text, "captures '%s', %.80s, which cannot leave its worker",
                 path, phrase);
    stop(e);
}

/* ---- Bytes ---- */

static void put(encoder *e, shim_buffer *to, const void *bytes, size_t n) {
    if (!shim_buffer_append(to, bytes, n))
        fail(e, "not enough memory");
}
void shim_image_put_byte(encoder *e, shim_buffer *to, uint8_t byte) { put(e, to, &byte, 1); }
static void put_u32(encoder *e, shim_buffer *to, uint32_t value) { put(e, to, &value, sizeof value); }
static void put_u64(encoder *e, shim_buffer *to, uint64_t value) { put(e, to, &value, sizeof value); }
static void patch_u32(shim_buffer *to, size_t at, uint32_t value) { memcpy(to->bytes + at, &value, sizeof value); }

static void put_text(encoder *e, shim_buffer *to, const char *text, size_t length) {
    put_u32(e, to, (uint32_t)length);
    put(e, to, text, length);
}

void shim_image_put_name(encoder *e, shim_buffer *to, const char *name) {
    shim_image_put_byte(e, to, IMAGE_STRING);
    put_text(e, to, name, strlen(name));
}

/* ---- What was met already ---- */

/* The number slot of `key`: 0 in it where the key is new. */
static uint32_t *find(encoder *e, map *m, const void *key) {
    if (m->count * 2 >= m->capacity) {
        map bigger = {calloc(m->capacity == 0 ? 256 : m->capacity * 2, sizeof *m->slots),
                      m->capacity == 0 ? 256 : m->capacity * 2, m->count};
        if (bigger.slots == NULL)
            fail(e, "not enough memory");
        for (size_t i = 0; i < m->capacity; i++) {
            if (m->slots[i].key == NULL)
                continue;
            size_t to = ((uintptr_t)m->slots[i].key * 0x9E3779B97F4A7C15u >> 20) & (bigger.capacity - 1);
            while (bigger.slots[to].key != NULL)
                to = (to + 1) & (bigger.capacity - 1);
            bigger.slots[to].key = m->slots[i].key;
            bigger.slots[to].number = m->slots[i].number;
        }
        free(m->slots);
        *m = bigger;
    }
    size_t at = ((uintptr_t)key * 0x9E3779B97F4A7C15u >> 20) & (m->capacity - 1);
    while (m->slots[at].key != NULL && m->slots[at].key != key)
        at = (at + 1) & (m->capacity - 1);
    if (m->slots[at].key == NULL) {
        m->slots[at].key = key;
        m->count++;
    }
    return &m->slots[at].number;
}

/* Room for one more element; numbers must fit 31 bits. */
static void *grow(encoder *e, void *array, uint32_t count, uint32_t *capacity, size_t size) {
    if (count < *capacity)
        return array;
    if (count >= INT32_MAX / 2)
        fail(e, "too large to copy");
    uint32_t bigger = *capacity == 0 ? 64 : *capacity * 2;
    void *grown = realloc(array, bigger * size);
    if (grown == NULL)
        fail(e, "not enough memory");
    *capacity = bigger;
    return grown;
}

/* Whether `table`, a registry table's index, has a string for the value at `index`. [-0, +0, -] */
bool shim_image_is_named(encoder *e, int table, int index) {
    if (lua_type(e->L, table) != LUA_TTABLE)
        return false;
    lua_pushvalue(e->L, index);
    bool named = lua_rawget(e->L, table) == LUA_TSTRING;
    lua_pop(e->L, 1);
    return named;
}

/* The kind of object that the value at `index` will be; 0: it cannot leave, and e->phrase says what it is.
 * [-0, +0, -] */
static uint8_t classify(encoder *e, int index) {
    lua_State *L = e->L;
    const shim_type *type;
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        return IMAGE_LONG_STRING;
    case LUA_TTABLE:
        if (shim_image_is_named(e, e->stdlib, index))
            return IMAGE_STDLIB;
        if (shim_image_is_named(e, e->libraries, index))
            return IMAGE_LIBRARY;
        if (lua_getmetatable(L, index)) {
            lua_pushvalue(L, e->stays);
            bool stays = lua_rawget(L, -2) == LUA_TSTRING;
            lua_pop(L, 2);
            if (stays) {
                e->phrase = shim_kind_phrase(L, index);
                return 0;
            }
        }
        return IMAGE_TABLE;
    case LUA_TFUNCTION:
        if (shim_image_is_named(e, e->stdlib, index))
            return IMAGE_STDLIB;
        if (shim_image_is_named(e, e->libraries, index))
            return IMAGE_LIBRARY;
        if (!lua_iscfunction(L, index))
            return IMAGE_FUNCTION;
        if (lua_tocfunction(L, index) == shim_trampoline || lua_tocfunction(L, index) == shim_decide)
            return IMAGE_CALLBACK; /* which answers as shim_decide does, in more time */
        e->phrase = "an iterator"; /* of gmatch, coroutine.wrap: a C function with a state of its own */
        return 0;
    case LUA_TUSERDATA:
        if (shim_any_object(L, index, &type) != NULL && type->shared)
            return IMAGE_HOST;
        e->phrase = shim_kind_phrase(L, index);
        return 0;
    default:
        e->phrase = shim_kind_phrase(L, index);
        return 0;
    }
}

/* The number of the object at `index`, new or known; 0: refused. [-0, +0, e] */
static uint32_t number_of(encoder *e, int index, const item *at) {
    lua_State *L = e->L;
    const void *key = lua_topointer(L, index);
    uint32_t *number = find(e, &e->seen, key);
    if (*number != 0)
        return *number;
    uint8_t kind = classify(e, index);
    if (kind == 0)
        return refuse(e, at, e->phrase), 0; /* its slot stays without a number: as if it was never met */
    e->items = grow(e, e->items, e->item_count, &e->item_capacity, sizeof *e->items);
    item *added = &e->items[e->item_count++];
    *added = *at;
    added->kind = kind;
    *number = e->item_count;
    lua_pushvalue(L, index);
    lua_rawseti(L, e->list, e->item_count);
    return e->item_count;
}

/* Appends the value at `index`. False: refused, and nothing was written. [-0, +0, e] */
bool shim_image_put_value(encoder *e, shim_buffer *to, int index, const item *at) {
    lua_State *L = e->L;
    index = lua_absindex(L, index);
    size_t length;
    const char *text;
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        shim_image_put_byte(e, to, IMAGE_NIL);
        return true;
    case LUA_TBOOLEAN:
        shim_image_put_byte(e, to, lua_toboolean(L, index) ? IMAGE_TRUE : IMAGE_FALSE);
        return true;
    case LUA_TNUMBER:
        if (lua_isinteger(L, index)) {
            lua_Integer integer = lua_tointeger(L, index);
            shim_image_put_byte(e, to, IMAGE_INTEGER);
            put(e, to, &integer, sizeof integer);
        } else {
            lua_Number number = lua_tonumber(L, index);
            shim_image_put_byte(e, to, IMAGE_FLOAT);
            put(e, to, &number, sizeof number);
        }
        return true;
    case LUA_TSTRING:
        text = lua_tolstring(L, index, &length);
        if (length > IMAGE_SHORT)
            break;
        shim_image_put_byte(e, to, IMAGE_STRING);
        put_text(e, to, text, length);
        return true;
    case LUA_TLIGHTUSERDATA:
        if (!shim_is_null(L, index))
            return refuse(e, at, "a light userdata");
        shim_image_put_byte(e, to, IMAGE_NULL);
        return true;
    case LUA_TTHREAD:
        return refuse(e, at, "a coroutine");
    case LUA_TFUNCTION:
        if (!lua_iscfunction(L, index))
            break;
        if (lua_getupvalue(L, index, 1) != NULL) {
            lua_pop(L, 1);
            break;
        }
        lua_CFunction function = lua_tocfunction(L, index);
        shim_image_put_byte(e, to, IMAGE_CFUNCTION);
        put(e, to, &function, sizeof function);
        return true;
    case LUA_TTABLE:
        if (lua_topointer(L, index) == e->globals) { /* _ENV too: known by what it is, not by its place */
            shim_image_put_byte(e, to, IMAGE_GLOBALS);
            return true;
        }
        if (lua_topointer(L, index) == e->array) {
            shim_image_put_byte(e, to, IMAGE_ARRAY);
            return true;
        }
        break;
    default:
        break;
    }
    uint32_t number = number_of(e, index, at);
    if (number == 0)
        return false;
    shim_image_put_byte(e, to, IMAGE_OBJECT);
    put_u32(e, to, number);
    return true;
}

/* ---- Objects ---- */

/* The array that lua_next begins with goes as a run of values, so that the copy has an array of that size and `#`
 * finds the same border; short holes in it are written as nil. stack: table (top). [-0, +0, e] */
static void put_table(encoder *e, uint32_t number) {
    lua_State *L = e->L;
    shim_buffer *fill = &e->fill;
    int table = lua_gettop(L);
    shim_record *record = shim_record_of(L, table); /* its copy is a plain table */
    if (record != NULL)
        shim_record_fill(L, table, record);
    lua_Unsigned border = lua_rawlen(L, table), next = 1;
    uint32_t run = 0, pairs = 0;
    bool in_run = true;
    item at = {.parent = number};
    shim_image_put_byte(e, fill, IMAGE_FILL_TABLE);
    put_u32(e, fill, number);
    size_t run_at = fill->used, pairs_at = 0;
    put_u32(e, fill, 0);
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        int key = lua_gettop(L) - 1;
        if (record != NULL && shim_is_record_key(L, key))
            continue;
        bool integer = lua_isinteger(L, key);
        if (integer) {
            at.edge = EDGE_INDEX;
            at.at.index = lua_tointeger(L, key);
        } else if (lua_type(L, key) == LUA_TSTRING) {
            at.edge = EDGE_FIELD;
            at.at.name = lua_tostring(L, key);
        } else {
            at.edge = EDGE_OTHER;
        }
        if (in_run) {
            lua_Unsigned position = integer ? (lua_Unsigned)at.at.index : 0;
            if (position >= next && position <= border && position - next < 64 && position < INT32_MAX) {
                for (; next < position; next++)
                    shim_image_put_byte(e, fill, IMAGE_NIL);
                if (!shim_image_put_value(e, fill, -1, &at))
                    shim_image_put_byte(e, fill, IMAGE_NIL);
                next = position + 1;
                continue;
            }
            in_run = false;
            run = (uint32_t)(next - 1);
            pairs_at = fill->used;
            put_u32(e, fill, 0);
        }
        size_t before = fill->used;
        item key_at = {.parent = number, .edge = EDGE_KEY};
        if (shim_image_put_value(e, fill, key, &key_at) && shim_image_put_value(e, fill, -1, &at))
            pairs++;
        else
            fill->used = before;
    }
    if (in_run) {
        run = (uint32_t)(next - 1);
        pairs_at = fill->used;
        put_u32(e, fill, 0);
    }
    patch_u32(fill, run_at, run);
    patch_u32(fill, pairs_at, pairs);
    shim_image_put_byte(e, &e->create, IMAGE_TABLE);
    put_u32(e, &e->create, run);
    put_u32(e, &e->create, pairs);
    if (record == NULL && lua_getmetatable(L, table)) {
        size_t before = e->meta.used;
        shim_image_put_byte(e, &e->meta, IMAGE_OBJECT);
        put_u32(e, &e->meta, number);
        at.edge = EDGE_META;
        if (!shim_image_put_value(e, &e->meta, -1, &at))
            e->meta.used = before;
        lua_pop(L, 1);
    }
}

/* A lua_Writer. */
static int write_dump(lua_State *L, const void *bytes, size_t n, void *to) {
    (void)L;
    return shim_buffer_append(to, bytes, n) ? 0 : 1;
}

/* stack: Lua function (top). [-0, +0, e] */
static void put_function(encoder *e, uint32_t number) {
    lua_State *L = e->L;
    shim_buffer *create = &e->create;
    shim_image_put_byte(e, create, IMAGE_FUNCTION);
    size_t length_at = create->used;
    put_u64(e, create, 0);
    if (lua_dump(L, write_dump, create, 0) != 0)
        fail(e, "not enough memory");
    uint64_t length = create->used - length_at - sizeof length;
    memcpy(create->bytes + length_at, &length, sizeof length);
    size_t count_at = create->used;
    shim_image_put_byte(e, create, 0);
    int i = 1;
    for (const void *id; i <= 255 && (id = lua_upvalueid(L, -1, i)) != NULL; i++) {
        uint32_t *slot = find(e, &e->seen_cells, id);
        if (*slot == 0) {
            e->cells = grow(e, e->cells, e->cell_count, &e->cell_capacity, sizeof *e->cells);
            e->cells[e->cell_count++] = (cell){number, (uint8_t)i};
            *slot = e->cell_count;
        }
        put_u32(e, create, *slot);
    }
    create->bytes[count_at] = (uint8_t)(i - 1);
}

/* [-0, +0, e] */
static void put_cell(encoder *e, uint32_t number) {
    cell c = e->cells[number - 1];
    lua_rawgeti(e->L, e->list, c.function);
    item at = {.edge = EDGE_UPVALUE};
    at.at.name = lua_getupvalue(e->L, -1, c.upvalue);
    shim_image_put_byte(e, &e->fill, IMAGE_FILL_CELL);
    put_u32(e, &e->fill, number);
    if (!shim_image_put_value(e, &e->fill, -1, &at))
        shim_image_put_byte(e, &e->fill, IMAGE_NIL);
    lua_pop(e->L, 2);
}

/* [-0, +0, e] */
static void put_object(encoder *e, uint32_t number) {
    lua_State *L = e->L;
    shim_buffer *create = &e->create;
    uint8_t kind = e->items[number - 1].kind;
    const char *text;
    const shim_type *type;
    size_t length;
    void *pointer;
    lua_rawgeti(L, e->list, number);
    switch (kind) {
    case IMAGE_TABLE:
        put_table(e, number);
        break;
    case IMAGE_FUNCTION:
        put_function(e, number);
        break;
    case IMAGE_LONG_STRING:
        text = lua_tolstring(L, -1, &length);
        shim_image_put_byte(e, create, kind);
        put_u64(e, create, length);
        put(e, create, text, length);
        break;
    case IMAGE_LIBRARY:
    case IMAGE_STDLIB:
        lua_pushvalue(L, -1);
        lua_rawget(L, kind == IMAGE_STDLIB ? e->stdlib : e->libraries);
        text = lua_tolstring(L, -1, &length);
        shim_image_put_byte(e, create, kind);
        put_text(e, create, text, length);
        lua_pop(L, 1);
        break;
    case IMAGE_CALLBACK:
        lua_getupvalue(L, -1, 1);
        pointer = lua_touserdata(L, -1);
        shim_image_put_byte(e, create, kind);
        put(e, create, &pointer, sizeof pointer);
        lua_pop(L, 1);
        break;
    default: /* IMAGE_HOST. Retained when the image is complete; until then the userdata holds it */
        pointer = shim_any_object(L, -1, &type);
        shim_image_put_byte(e, create, kind);
        put(e, create, &type, sizeof type);
        put_u32(e, create, (uint32_t)(e->refs.used / sizeof pointer));
        put(e, &e->refs, &pointer, sizeof pointer);
        break;
    }
    lua_pop(L, 1);
}

/* Writes all that is in the queue, and what that adds to it. [-0, +0, e] */
static void drain(encoder *e) {
    while (e->item_done < e->item_count || e->cell_done < e->cell_count) {
        if (e->item_done < e->item_count)
            put_object(e, ++e->item_done);
        else
            put_cell(e, ++e->cell_done);
    }
}

/* ---- The whole ---- */

/* Under lua_pcall. stack: encoder, roots... [-n, +0, e] */
static int encode_body(lua_State *L) {
    encoder *e = lua_touserdata(L, 1);
    luaL_checkstack(L, 30, "image");
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    e->globals = lua_topointer(L, -1);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_array) == LUA_TTABLE)
        e->array = lua_topointer(L, -1);
    lua_pop(L, 2);
    lua_createtable(L, 64, 0);
    e->list = lua_gettop(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_stdlib);
    e->stdlib = lua_gettop(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_libraries);
    e->libraries = lua_gettop(L);
    lua_pushliteral(L, "__stays");
    e->stays = lua_gettop(L);

    item root = {.edge = EDGE_ROOT};
    for (int i = 0; i < e->roots; i++) {
        shim_image_put_byte(e, &e->fill, IMAGE_FILL_ROOT);
        shim_image_put_value(e, &e->fill, 2 + i, &root);
    }
    drain(e);
    e->lenient = true;
    shim_image_put_surroundings(e);
    drain(e);
    return 0;
}

/* Puts the sections together. False: no memory, and `out` is unchanged but for its capacity. */
static bool assemble(const encoder *e, shim_buffer *out) {
    image_header header = {
        .magic = IMAGE_MAGIC, .objects = e->item_count, .cells = e->cell_count, .roots = (uint32_t)e->roots,
        .refs = (uint32_t)(e->refs.used / sizeof(void *)), .missing = e->missing,
        .create = e->create.used, .meta = e->meta.used, .fill = e->fill.used,
    };
    const shim_buffer *parts[] = {&e->refs, &e->create, &e->meta, &e->fill};
    if (!shim_buffer_reserve(out, sizeof header + e->refs.used + e->create.used + e->meta.used + e->fill.used))
        return false;
    shim_buffer_append(out, &header, sizeof header);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i]->used > 0)
            shim_buffer_append(out, parts[i]->bytes, parts[i]->used);
    return true;
}

int shim_image_encode(lua_State *L, int count, shim_buffer *out, shim_problem *problem) {
    encoder e = {.L = L, .problem = problem, .roots = count};
    int first = lua_gettop(L) - count + 1, status = LUA_ERRMEM;
    bool collects = lua_gc(L, LUA_GCISRUNNING);
    problem->text[0] = '\0';
    lua_gc(L, LUA_GCSTOP); /* the list grows by copies: no reason to walk the state's heap again and again */
    if (lua_checkstack(L, count + 4)) {
        lua_pushcfunction(L, encode_body);
        lua_pushlightuserdata(L, &e);
        for (int i = 0; i < count; i++)
            lua_pushvalue(L, first + i);
        status = lua_pcall(L, count + 1, 0, 0);
        if (status != LUA_OK)
            lua_pop(L, 1);
    }
    if (collects)
        lua_gc(L, LUA_GCRESTART);
    if (status == LUA_OK && !assemble(&e, out))
        status = LUA_ERRMEM;
    if (status == LUA_OK) {
        for (size_t i = 0; i < e.refs.used; i += sizeof(void *)) {
            void *ref;
            memcpy(&ref, e.refs.bytes + i, sizeof ref);
            vm_of(L)->host->retain(ref);
        }
    } else if (problem->text[0] == '\0') {
        snprintf(problem->text, sizeof problem->text, "not enough memory");
    }
    shim_buffer_free(&e.refs);
    shim_buffer_free(&e.create);
    shim_buffer_free(&e.meta);
    shim_buffer_free(&e.fill);
    free(e.seen.slots);
    free(e.seen_cells.slots);
    free(e.items);
    free(e.cells);
    return status == LUA_OK ? 0 : -1;
}
