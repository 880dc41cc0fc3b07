/* The layout of a message, checked: every length against what is there, every number against its table. */
#include "CMessage.h"

typedef struct checker {
    const uint8_t *end;
    bool (*is_object)(const void *);
    bool objects; /* one was seen */
} checker;

static uint32_t read_u32(const uint8_t *p) {
    uint32_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

static bool is_json(const uint8_t *text, size_t length) {
    msg_json_checker json = {0};
    msg_json_problem problem;
    return msg_json_check(&json, (const char *)text, length, &problem);
}

/* A pointer at p. */
static bool check_object(checker *c, const uint8_t *p) {
    void *object;
    memcpy(&object, p, sizeof object);
    c->objects = true;
    return c->is_object != NULL ? c->is_object(object) : object != NULL;
}

static const uint8_t *check_table(checker *c, const uint8_t *p, int depth);

/* A nested value at p, inside `depth` tables. What follows it, or NULL. */
static const uint8_t *check_value(checker *c, const uint8_t *p, int depth) {
    if (p == c->end) return NULL;
    size_t left = (size_t)(c->end - ++p);
    switch (p[-1]) {
    case MSG_VALUE_FALSE: case MSG_VALUE_TRUE: case MSG_VALUE_NULL: return p;
    case MSG_VALUE_INTEGER: case MSG_VALUE_FLOAT: return left < 8 ? NULL : p + 8;
    case MSG_VALUE_STRING: case MSG_VALUE_JSON: {
        if (left < 4 || left - 4 < read_u32(p)) return NULL;
        uint32_t length = read_u32(p);
        return p[-1] == MSG_VALUE_JSON && !is_json(p + 4, length) ? NULL : p + 4 + length;
    }
    case MSG_VALUE_TABLE: return check_table(c, p, depth);
    case MSG_VALUE_OBJECT: return left < sizeof(void *) || !check_object(c, p) ? NULL : p + sizeof(void *);
    default: return NULL;
    }
}

/* A key at p: what a table of Lua's can have and a message can carry. What follows it, or NULL. */
static const uint8_t *check_key(checker *c, const uint8_t *p) {
    if (p == c->end) return NULL;
    double number;
    switch (*p) {
    case MSG_VALUE_KEY: return c->end - p < 5 || !msg_symbol_exists(read_u32(p + 1)) ? NULL : p + 5;
    case MSG_VALUE_FLOAT:
        if (c->end - p < 9) return NULL;
        memcpy(&number, p + 1, sizeof number);
        return number == number ? p + 9 : NULL;
    case MSG_VALUE_FALSE: case MSG_VALUE_TRUE: case MSG_VALUE_INTEGER: case MSG_VALUE_STRING:
        return check_value(c, p, 0);
    default: return NULL;
    }
}

/* A table without its tag at p, inside `depth` others. What follows it, or NULL. */
static const uint8_t *check_table(checker *c, const uint8_t *p, int depth) {
    if (depth >= MSG_MAX_DEPTH || c->end - p < 9 || *p & ~(MSG_TABLE_IS_ARRAY | MSG_TABLE_IS_ORDERED)) return NULL;
    uint64_t array = read_u32(p + 1), pairs = read_u32(p + 5);
    p += 9;
    /* A value has at least one byte: a decoder may make room for so many. */
    if (array + 2 * pairs > (size_t)(c->end - p)) return NULL;
    for (; array > 0; array--) {
        if ((p = check_value(c, p, depth + 1)) == NULL) return NULL;
    }
    for (; pairs > 0; pairs--) {
        if ((p = check_key(c, p)) == NULL || (p = check_value(c, p, depth + 1)) == NULL) return NULL;
    }
    return p;
}

/* The text of a message with a length that was checked, and its offsets. The size that all this takes, or 0. */
static size_t check_text(const msg_header *m, size_t size) {
    size_t length = msg_text_length(m), end = MSG_TEXT_OFFSET + length;
    if (!(m->flags & MSG_INDEXED)) return m->kind != MSG_JSON || is_json((const uint8_t *)msg_text(m), length) ? end : 0;
    const msg_shape *shape = m->shape < MSG_SHAPES ? msg_shape_at(m->shape) : NULL;
    if (m->kind != MSG_JSON || shape == NULL) return 0;
    end = ((end + 3) & ~(size_t)3) + shape->count * sizeof(uint32_t);
    msg_json_checker json = {.guess = shape};
    msg_json_problem problem;
    if (end > size || !msg_json_check(&json, msg_text(m), length, &problem) || json.shape != shape) return 0;
    return memcmp(json.offsets, msg_offsets(m), shape->count * sizeof(uint32_t)) == 0 ? end : 0;
}

bool msg_check(const void *bytes, size_t size, bool (*is_object)(const void *)) {
    const msg_header *m = bytes;
    if (size < MSG_HEADER_SIZE || size > MSG_MAX_SIZE + 64 || size % 8 != 0 || m->size != size) return false;
    if (m->flags & ~(MSG_HAS_OBJECTS | MSG_INDEXED) || (m->shape != 0 && !(m->flags & MSG_INDEXED))) return false;
    if (m->flags & MSG_INDEXED && m->kind != MSG_JSON) return false;
    const uint8_t *payload = (const uint8_t *)(m + 1), *end = payload;
    checker c = {(const uint8_t *)bytes + size, is_object, false};
    size_t left = size - MSG_HEADER_SIZE, used;
    switch (m->kind) {
    case MSG_FALSE: case MSG_TRUE: case MSG_NULL: case MSG_MARK: break;
    case MSG_INTEGER: case MSG_FLOAT:
        if (left < 8) return false;
        end += 8;
        break;
    case MSG_OBJECT:
        if (left < sizeof(void *) || !check_object(&c, payload)) return false;
        end += sizeof(void *);
        break;
    case MSG_STRING: case MSG_JSON:
        if (left < 4 || left - 4 < msg_text_length(m) || (used = check_text(m, size)) == 0) return false;
        end = (const uint8_t *)bytes + used;
        break;
    case MSG_TABLE:
        if ((end = check_table(&c, payload, 0)) == NULL) return false;
        break;
    default: return false;
    }
    if (c.objects != (m->flags & MSG_HAS_OBJECTS)) return false;
    if (c.end - end > 7) return false;
    for (; end < c.end; end++) {
        if (*end != 0) return false;
    }
    return true;
}
