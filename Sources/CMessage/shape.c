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

static void enter(msg_shape *shape, uint8_t position) {
    enum { MASK = 2 * MSG_SHAPE_FIELDS - 1 };
    for (uint32_t i = shape->symbols[position] & MASK;; i = (i + 1) & MASK) {
        uint8_t *place = &shape->table[i];
        if (*place != 0 && shape->symbols[*place - 1] != shape->symbols[position]) continue;
        shape->repeats |= *place != 0;
        *place = (uint8_t)(position + 1);
        return;
    }
}

/* NULL: no memory. */
static msg_shape *make(const uint32_t *symbols, const char *const *keys, const uint32_t *lengths, size_t n) {
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) bytes += lengths[i];
    msg_shape *shape = calloc(1, sizeof *shape + bytes);
    if (shape == NULL) return NULL;
    char *text = (char *)(shape + 1);
    shape->number = (uint16_t)count;
    shape->count = (uint16_t)n;
    for (size_t i = 0; i < n; i++) {
        shape->symbols[i] = symbols[i];
        memcpy(text, keys[i], lengths[i]);
        shape->keys[i] = text;
        shape->key_lengths[i] = lengths[i];
        text += lengths[i];
        enter(shape, (uint8_t)i);
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
