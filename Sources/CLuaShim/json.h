/* JSON: text straight onto the Lua stack, and values to text. What is accepted, and the words for what is not, are
 * those of CMessage/json_check.c; the text written is that of StreamIO/MessageText.swift. Change them together.
 *
 * Both sides run in the process's "C" locale (the sandbox has no os.setlocale): strtod and snprintf use a point. */
#ifndef CLUASHIM_JSON_H
#define CLUASHIM_JSON_H
#include "internal.h"
#include <string.h>

/* Pushes the value at p, in a text that was checked; returns what follows it. [-0, +1, m] */
const uint8_t *shim_json_value(lua_State *L, const uint8_t *p, const uint8_t *end);
typedef struct json_form {
    bool object; /* the value is a table, and becomes an object whatever its keys */
    bool exact;  /* what would come back as another value, a key that is a number, is refused */
    int depth;   /* tables around the value: they count for the limit of nesting */
} json_form;

/* shim_json_encode with a choice. [-0, +0, -] */
int shim_json_encode_as(lua_State *L, int index, shim_buffer *out, shim_problem *problem, json_form form);
/* True if the table at `index` has the keys 1...n and no others. [-0, +0, -] */
bool shim_is_sequence(lua_State *L, int index);

static const double powers_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                       1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
#endif
