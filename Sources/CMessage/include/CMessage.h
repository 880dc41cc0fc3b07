/* The bytes of a message: the one layout that the codec (C), the channels and the formats (Swift) share.
 *
 * A message is a header of 8 bytes and a payload, padded with zero bytes to a multiple of 8. Messages stand one
 * after another in a batch, each aligned to 8.
 *
 *   MSG_FALSE, MSG_TRUE, MSG_NULL   no payload
 *   MSG_INTEGER                     int64_t
 *   MSG_FLOAT                       double
 *   MSG_STRING                      uint32_t length, then that many bytes
 *   MSG_JSON                        the same, and the bytes are one valid JSON text in UTF-8. With MSG_INDEXED they are
 *                                   an object of the header's shape (shape.h), and behind them, from the next
 *                                   multiple of 4 on, stand its uint32_t offsets: where in the text the value of each
 *                                   field begins
 *   MSG_TABLE                       one table value, as below, without its MSG_VALUE_TABLE tag
 *   MSG_OBJECT                      a pointer to a retained shared host object
 *   MSG_MARK                        no payload; no value: what the workers of an ordered stage put between the results
 *                                   of one share of the input and the next. No script and no sink sees one.
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
 *   MSG_VALUE_KEY                   uint32_t symbol (symbol.h); only as a table's key: a string key that many share
 *   MSG_VALUE_JSON                  uint32_t length, bytes: one valid JSON text, as it was read
 *
 * The bytes never leave the process: native byte order. MSG_HAS_OBJECTS is set on a message that holds object
 * pointers anywhere: whoever copies such a message retains them, whoever drops it releases them.
 */
#ifndef CMESSAGE_H
#define CMESSAGE_H
#include <stddef.h>
#include <stdint.h>
#include "CMessageKey.h"

enum {
    MSG_FALSE = 1, MSG_TRUE = 2, MSG_INTEGER = 3, MSG_FLOAT = 4, MSG_NULL = 5,
    MSG_STRING = 6, MSG_TABLE = 7, MSG_JSON = 8, MSG_OBJECT = 9, MSG_MARK = 10
};
enum {
    MSG_VALUE_FALSE = 1, MSG_VALUE_TRUE = 2, MSG_VALUE_INTEGER = 3, MSG_VALUE_FLOAT = 4, MSG_VALUE_NULL = 5,
    MSG_VALUE_STRING = 6, MSG_VALUE_TABLE = 7, MSG_VALUE_OBJECT = 9, MSG_VALUE_KEY = 10, MSG_VALUE_JSON = 11
};
enum { MSG_HAS_OBJECTS = 1, MSG_INDEXED = 2 }; /* msg_header.flags */
/* Flags of a table: an array even when empty; its pairs stand in an order that a format with columns keeps. */
enum { MSG_TABLE_IS_ARRAY = 1, MSG_TABLE_IS_ORDERED = 2 };

typedef struct msg_header {
    uint32_t size; /* of the whole message, header and padding included: a multiple of 8 */
    uint8_t kind;
    uint8_t flags;
    uint16_t shape; /* of MSG_INDEXED; else 0 */
} msg_header;

enum { MSG_HEADER_SIZE = 8, MSG_TEXT_OFFSET = 12, MSG_MAX_SIZE = 1 << 30, MSG_MAX_DEPTH = 200 };

static inline uint32_t msg_padded(uint32_t size) { return (size + 7u) & ~7u; }

/* Of MSG_STRING and MSG_JSON. */
static inline uint32_t msg_text_length(const msg_header *message) {
    return *(const uint32_t *)(message + 1);
}
static inline const char *msg_text(const msg_header *message) { return (const char *)message + MSG_TEXT_OFFSET; }
/* Of MSG_INDEXED: the offsets of the values. */
static inline const uint32_t *msg_offsets(const msg_header *message) {
    return (const uint32_t *)((const char *)message + ((MSG_TEXT_OFFSET + msg_text_length(message) + 3u) & ~3u));
}

#include "lock.h"
#include "processors.h"
#include "symbol.h"
#include "shape.h"
#include "json_text.h"
#include "json_check.h"
#include "message_check.h"
#endif
