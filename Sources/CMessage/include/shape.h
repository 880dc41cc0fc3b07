/* The fields of an object in their order, which many records share: with its shape at hand a record needs only say
 * where each of its values begins. One table for the whole program, bounded like the symbols; an object of more
 * fields, or of one shape too many, travels without.
 *
 * Hidden classes, after Chambers, Ungar and Lee, "An efficient implementation of SELF" (1989). */
#ifndef CMESSAGE_SHAPE_H
#define CMESSAGE_SHAPE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MSG_SHAPES = 1 << 14, MSG_SHAPE_FIELDS = 64 };

/* The first 16 bytes of a key's text, and which of their bits there are: most keys compare in two steps without a loop. */
typedef struct msg_key_words { uint64_t word[2], mask[2]; } msg_key_words;

typedef struct msg_shape {
    uint16_t number;
    uint16_t count;
    bool repeats;              /* a key occurs more than once: the last one counts */
    uint8_t mask;              /* the size of `table`, less 1 */
    const uint32_t *symbols;
    const uint8_t *table;      /* open addressing by symbol: the position + 1 of its last occurrence */
    /* Each key as it stood in the text that brought the shape, with its quotes: what the next text is compared with. */
    const char *const *keys;
    const uint32_t *key_lengths;
    const msg_key_words *words;
} msg_shape;

/* The shape of these fields in this order, made if there is none yet; NULL: too many. `keys` as in msg_shape, copied. */
const msg_shape *msg_shape_of(const uint32_t *symbols, const char *const *keys, const uint32_t *lengths, size_t count);
/* The shape of that number; valid for ever. */
const msg_shape *msg_shape_at(uint16_t number);

/* The position of the field that counts for `symbol`, or -1. */
static inline int msg_shape_find(const msg_shape *shape, uint32_t symbol) {
    for (uint32_t i = symbol & shape->mask; shape->table[i] != 0; i = (i + 1) & shape->mask) {
        int position = shape->table[i] - 1;
        if (shape->symbols[position] == symbol) return position;
    }
    return -1;
}
#endif
