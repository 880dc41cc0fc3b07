/* Checking that bytes are one JSON text (RFC 8259, in UTF-8), and where the fields of an object stand in it. What is
 * accepted, and the words for what is not, are those of CLuaShim/json_decode.c: change them together. */
#ifndef CMESSAGE_JSON_CHECK_H
#define CMESSAGE_JSON_CHECK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct msg_json_problem {
    size_t position;   /* the byte where it stopped being JSON; the first is 1 */
    const char *text;  /* what is wrong there: "expected a value"; a literal */
} msg_json_problem;

typedef struct msg_json_checker { /* all zero to begin with; kept from one text to the next, of which it is fastest
                                     when it has the shape of the one before */
    const msg_shape *guess;
    /* Of the text checked last: its shape, and where in it each field's value begins. NULL: no object, or one without
     * a shape. */
    const msg_shape *shape;
    uint32_t offsets[MSG_SHAPE_FIELDS];
} msg_json_checker;

/* False: *problem says why. O(length), no memory. */
bool msg_json_check(msg_json_checker *checker, const char *text, size_t length, msg_json_problem *problem);

/* Where the value at `p` ends, in a text that was checked. */
const char *msg_json_skip(const char *p, const char *end);
#endif
