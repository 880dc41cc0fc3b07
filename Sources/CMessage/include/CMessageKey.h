/* Keys of messages: the value of one field, found without Lua, and hashes under which equal keys are equal. */
#ifndef CMESSAGEKEY_H
#define CMESSAGEKEY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- A field of a JSON text (json_field.c) ---- */

typedef struct msg_span { const char *start; size_t length; } msg_span;
enum { MSG_FIELD_NO_OBJECT = -1, MSG_FIELD_MISSING = 0, MSG_FIELD_FOUND = 1 };

/* Finds the last top-level field `name` (its bytes, without escapes) of `text`, which is one valid JSON text. The
 * span of its value has no white space around it. */
int msg_json_field(const char *text, size_t length, const char *name, size_t name_length, msg_span *value);

/* ---- Hashes ---- */

/* Stable between runs. Integer 1, float 1.0 and JSON's 1, 1.0 and 1e0 have one hash, as they are one key of a Lua
 * table; JSON strings count by what they say, not by how it is escaped. */
uint64_t msg_hash_boolean(bool value);
uint64_t msg_hash_integer(int64_t value);
uint64_t msg_hash_float(double value);
uint64_t msg_hash_string(const void *bytes, size_t length);

enum msg_key_kind {
    MSG_KEY_HASHED,                                   /* a key; the rest is none: */
    MSG_KEY_NIL, MSG_KEY_NULL, MSG_KEY_NAN, MSG_KEY_TABLE, MSG_KEY_OBJECT,
    MSG_KEY_NO_RECORD                                 /* the message has no fields at all */
};
typedef struct msg_key { int kind; uint64_t hash; } msg_key; /* hash: of MSG_KEY_HASHED */

struct msg_header;
/* The key that the field `name` of a message is. */
msg_key msg_key_of_field(const struct msg_header *message, const char *name, size_t length);
/* The key that one valid JSON value is, without white space around it. */
msg_key msg_key_of_json(const char *text, size_t length);

#endif
