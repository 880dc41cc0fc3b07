/* The table of shapes: as that of the symbols, readers take no lock. */
#include "CMessage.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 2 * MSG_SHAPES };

static msg_shape *shapes[MSG_SHAPES];
static _Atomic uint32_t slots[SLOTS]; /* number + 1; 0: free */
static uint32_t count;                /* under the lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint32_t hash_of(const uint32_t *symbols, size_t n) {
    uint32_t hash = (uint32_t)n;
    for (size_t i = 0; i < n; i++) hash = (hash ^ symbols[i]) * 0x9E3779B1u;
    return hash ^ hash >> 15;
}

static const msg_shape *look(const uint32_t *symbols, size_t n, uint32_t *at) {
    for (uint32_t i = hash_of(symbols, n) % SLOTS;; i = (i + 1) % SLOTS) {
        uint32_t found = atomic_load_explicit(&slots[i], memory_order_acquire);
        if (found == 0) {
            *at = i;
            return NULL;
        }
        const msg_shape *shape = shapes[found - 1];
        if (shape->count == n && memcmp(shape->symbols, symbols, n * sizeof *symbols) == 0) return shape;
    }
}

static void enter(msg_shape *shape, uint8_t *table, uint8_t position) {
    for (uint32_t i = shape->symbols[position] & shape->mask;; i = (i + 1) & shape->mask) {
        if (table[i] != 0 && shape->symbols[table[i] - 1] != shape->symbols[position]) continue;
        shape->repeats |= table[i] != 0;
        table[i] = (uint8_t)(position + 1);
        return;
    }
}

/* In one block of memory. NULL: there is none. */
static msg_shape *make(const uint32_t *symbols, const char *const *keys, const uint32_t *lengths, size_t n) {
    size_t bytes = 0, places = 1;
    for (size_t i = 0; i < n; i++) bytes += lengths[i];
    while (places < 2 * n) places *= 2;
    msg_shape *shape = calloc(
        1, sizeof *shape + n * (sizeof(msg_key_words) + sizeof *keys + sizeof *symbols + sizeof *lengths) + places + bytes);
    if (shape == NULL) return NULL;
    msg_key_words *words = (msg_key_words *)(shape + 1);
    const char **own_keys = (const char **)(words + n);
    uint32_t *own_symbols = (uint32_t *)(own_keys + n), *own_lengths = own_symbols + n;
    uint8_t *table = (uint8_t *)(own_lengths + n);
    char *text = (char *)(table + places);
    *shape = (msg_shape){
        .number = (uint16_t)count, .count = (uint16_t)n, .mask = (uint8_t)(places - 1), .symbols = own_symbols,
        .table = table, .keys = own_keys, .key_lengths = own_lengths, .words = words};
    for (size_t i = 0; i < n; i++) {
        own_symbols[i] = symbols[i];
        own_lengths[i] = lengths[i];
        own_keys[i] = memcpy(text, keys[i], lengths[i]);
        text += lengths[i];
        size_t first = lengths[i] < 16 ? lengths[i] : 16;
        memcpy(words[i].word, keys[i], first);
        memset(words[i].mask, 0xFF, first);
        enter(shape, table, (uint8_t)i);
    }
    return shape;
}

const msg_shape *msg_shape_of(const uint32_t *symbols, const char *const *keys, const uint32_t *lengths, size_t n) {
    uint32_t at;
    if (n > MSG_SHAPE_FIELDS) return NULL;
    const msg_shape *shape = look(symbols, n, &at);
    if (shape != NULL) return shape;
    pthread_mutex_lock(&lock);
    shape = look(symbols, n, &at); /* another thread may have made it meanwhile */
    msg_shape *fresh;
    if (shape == NULL && count < MSG_SHAPES && (fresh = make(symbols, keys, lengths, n)) != NULL) {
        shapes[count++] = fresh;
        atomic_store_explicit(&slots[at], count, memory_order_release);
        shape = fresh;
    }
    pthread_mutex_unlock(&lock);
    return shape;
}

const msg_shape *msg_shape_at(uint16_t number) { return shapes[number]; }
