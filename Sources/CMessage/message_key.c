/* Keys of messages in every layout that a record has. */
#include "CMessage.h"
#include "CMessageKey.h"
#include "key_hash.h"
#include <string.h>

uint64_t msg_hash_boolean(bool value) { return key_mix(value ? 0xA5A5A5A5u : 0x5A5A5A5Au); }
uint64_t msg_hash_integer(int64_t value) { return key_mix((uint64_t)value + 0x9E3779B97F4A7C15u); }
uint64_t msg_hash_string(const void *bytes, size_t length) {
    return key_mix(key_hash_bytes(KEY_STRING_BASIS, bytes, length));
}

uint64_t msg_hash_float(double value) {
    /* 2^63 is exact; a float in this range with no fraction is an integer's equal */
    if (value >= -0x1p63 && value < 0x1p63 && (double)(int64_t)value == value)
        return msg_hash_integer((int64_t)value);
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return key_mix(bits ^ 0xC2B2AE3D27D4EB4Fu);
}

static uint32_t read_u32(const uint8_t *p) {
    uint32_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

/* ---- The layout of nested values: all that this file knows of it ---- */

/* Past the nested value whose tag is at p. The depth is bounded by MSG_MAX_DEPTH. */
static const uint8_t *skip_value(const uint8_t *p) {
    switch (*p++) {
    case MSG_VALUE_INTEGER: case MSG_VALUE_FLOAT: case MSG_VALUE_OBJECT: return p + 8;
    case MSG_VALUE_KEY: return p + 4;
    case MSG_VALUE_STRING: case MSG_VALUE_JSON: return p + 4 + read_u32(p);
    case MSG_VALUE_TABLE: {
        uint64_t values = read_u32(p + 1) + 2 * (uint64_t)read_u32(p + 5);
        p += 9;
        while (values-- > 0) p = skip_value(p);
        return p;
    }
    default: return p;
    }
}

/* Whether the key whose tag is at p is the string `name`, of that symbol if it has one. */
static bool is_named(const uint8_t *p, uint32_t symbol, const char *name, size_t length) {
    if (*p == MSG_VALUE_KEY) return read_u32(p + 1) == symbol;
    return *p == MSG_VALUE_STRING && read_u32(p + 1) == length && memcmp(p + 5, name, length) == 0;
}

/* The tag of the value of the field `name` of the table whose flags are at p; NULL: it has none. */
static const uint8_t *field(const uint8_t *p, const char *name, size_t length) {
    uint32_t array = read_u32(p + 1), pairs = read_u32(p + 5);
    uint32_t symbol = msg_symbol_find(name, length);
    p += 9;
    while (array-- > 0) p = skip_value(p);
    while (pairs-- > 0) {
        const uint8_t *value = skip_value(p);
        if (is_named(p, symbol, name, length)) return value;
        p = skip_value(value);
    }
    return NULL;
}

/* The key that the nested value whose tag is at p is. */
static msg_key value_key(const uint8_t *p) {
    switch (*p++) {
    case MSG_VALUE_FALSE: return (msg_key){MSG_KEY_HASHED, msg_hash_boolean(false)};
    case MSG_VALUE_TRUE: return (msg_key){MSG_KEY_HASHED, msg_hash_boolean(true)};
    case MSG_VALUE_NULL: return (msg_key){MSG_KEY_NULL, 0};
    case MSG_VALUE_INTEGER: {
        int64_t integer;
        memcpy(&integer, p, sizeof integer);
        return (msg_key){MSG_KEY_HASHED, msg_hash_integer(integer)};
    }
    case MSG_VALUE_FLOAT: {
        double number;
        memcpy(&number, p, sizeof number);
        if (number != number) return (msg_key){MSG_KEY_NAN, 0};
        return (msg_key){MSG_KEY_HASHED, msg_hash_float(number)};
    }
    case MSG_VALUE_STRING: return (msg_key){MSG_KEY_HASHED, msg_hash_string(p + 4, read_u32(p))};
    case MSG_VALUE_JSON: return msg_key_of_json((const char *)p + 4, read_u32(p));
    case MSG_VALUE_OBJECT: return (msg_key){MSG_KEY_OBJECT, 0};
    default: return (msg_key){MSG_KEY_TABLE, 0};
    }
}

msg_key msg_key_of_field(const msg_header *message, const char *name, size_t length) {
    const uint8_t *payload = (const uint8_t *)(message + 1);
    if (message->kind == MSG_TABLE) {
        const uint8_t *value = field(payload, name, length);
        return value == NULL ? (msg_key){MSG_KEY_NIL, 0} : value_key(value);
    }
    if (message->flags & MSG_INDEXED) {
        int position = msg_shape_find(msg_shape_at(message->shape), msg_symbol_find(name, length));
        if (position < 0) return (msg_key){MSG_KEY_NIL, 0};
        const char *value = msg_text(message) + msg_offsets(message)[position];
        const char *end = msg_json_skip(value, msg_text(message) + msg_text_length(message));
        return msg_key_of_json(value, (size_t)(end - value));
    }
    if (message->kind == MSG_JSON) {
        msg_span value;
        switch (msg_json_field((const char *)payload + 4, read_u32(payload), name, length, &value)) {
        case MSG_FIELD_FOUND: return msg_key_of_json(value.start, value.length);
        case MSG_FIELD_MISSING: return (msg_key){MSG_KEY_NIL, 0};
        default: break;
        }
        /* an array is a table without such a field; anything else has no fields */
        const char *text = (const char *)payload + 4, *end = text + read_u32(payload);
        while (text < end && (*text == ' ' || *text == '\t' || *text == '\n' || *text == '\r')) text++;
        if (text < end && *text == '[') return (msg_key){MSG_KEY_NIL, 0};
    }
    return (msg_key){MSG_KEY_NO_RECORD, 0};
}
