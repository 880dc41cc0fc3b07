/* The bytes of a message: the one layout that the codec (C), the channels and the formats (Swift) share.
 *
 * A message is a header of 8 bytes and a payload, padded with zero bytes to a multiple of 8. Messages stand one
 * after another in a batch, each aligned to 8.
 *
 *   MSG_FALSE, MSG_TRUE, MSG_NULL   no payload
 *   MSG_INTEGER                     int64_t
 *   MSG_FLOAT                       double
 *   MSG_STRING, MSG_JSON            uint32_t length, then that many bytes (MSG_JSON: one valid JSON text, UTF-8)
 *   MSG_TABLE                       one table value, as below, without its MSG_VALUE_TABLE tag
 *   MSG_OBJECT                      a pointer to a retained shared host object
 *
 * A nested value is a tag byte and, unaligned:
 *
 *   MSG_VALUE_FALSE, _TRUE, _NULL   nothing
 *   MSG_VALUE_INTEGER               int64_t
 *   MSG_VALUE_FLOAT                 double
 *   MSG_VALUE_STRING                uint32_t length, bytes
 *   MSG_VALUE_TABLE                 uint8_t flags, uint32_t array count, uint32_t pair count,
 *                                   the array's values (keys 1...n), then key, value for each pair
 *   MSG_VALUE_OBJECT                void * to a retained shared host object
 *
 * The bytes never leave the process: native byte order. MSG_HAS_OBJECTS is set on a message that holds object
 * pointers anywhere: whoever copies such a message retains them, whoever drops it releases them.
 */
#ifndef CMESSAGE_H
#define CMESSAGE_H
#include <stddef.h>
#include <stdint.h>

enum {
    MSG_FALSE = 1, MSG_TRUE = 2, MSG_INTEGER = 3, MSG_FLOAT = 4, MSG_NULL = 5,
    MSG_STRING = 6, MSG_TABLE = 7, MSG_JSON = 8, MSG_OBJECT = 9
};
enum {
    MSG_VALUE_FALSE = 1, MSG_VALUE_TRUE = 2, MSG_VALUE_INTEGER = 3, MSG_VALUE_FLOAT = 4, MSG_VALUE_NULL = 5,
    MSG_VALUE_STRING = 6, MSG_VALUE_TABLE = 7, MSG_VALUE_OBJECT = 9
};
enum { MSG_HAS_OBJECTS = 1 };   /* msg_header.flags */
/* Flags of a table: an array even when empty; its pairs stand in an order that a format with columns keeps. */
enum { MSG_TABLE_IS_ARRAY = 1, MSG_TABLE_IS_ORDERED = 2 };

typedef struct msg_header {
    uint32_t size; /* of the whole message, header and padding included: a multiple of 8 */
    uint8_t kind;
    uint8_t flags;
    uint16_t reserved;
} msg_header;

enum { MSG_HEADER_SIZE = 8, MSG_TEXT_OFFSET = 12, MSG_MAX_SIZE = 1 << 30, MSG_MAX_DEPTH = 200 };

static inline uint32_t msg_padded(uint32_t size) { return (size + 7u) & ~7u; }
#endif
