/* The table of symbols: open addressing over entries that never move. Readers take no lock: a slot is published, with
 * release, when its entry is complete. */
#include "CMessage.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 2 * MSG_SYMBOLS };

typedef struct entry { const char *name; uint32_t length, hash; } entry;

static entry entries[MSG_SYMBOLS];
static _Atomic uint32_t slots[SLOTS]; /* symbol + 1; 0: free */
static uint32_t count;                /* under the lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* FNV-1a (Fowler, Noll, Vo): names are short. */
static uint32_t hash_of(const char *name, size_t length) {
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < length; i++) hash = (hash ^ (uint8_t)name[i]) * 16777619u;
    return hash ^ hash >> 15;
}

/* The symbol, or MSG_NO_SYMBOL with the free slot where it belongs in *at. */
static uint32_t look(const char *name, size_t length, uint32_t hash, uint32_t *at) {
    for (uint32_t i = hash % SLOTS;; i = (i + 1) % SLOTS) {
        uint32_t found = atomic_load_explicit(&slots[i], memory_order_acquire);
        if (found == 0) {
            *at = i;
            return MSG_NO_SYMBOL;
        }
        const entry *e = &entries[found - 1];
        if (e->hash == hash && e->length == length && memcmp(e->name, name, length) == 0) return found - 1;
    }
}

uint32_t msg_symbol_find(const char *name, size_t length) {
    uint32_t at;
    if (length > MSG_SYMBOL_LENGTH) return MSG_NO_SYMBOL;
    return look(name, length, hash_of(name, length), &at);
}

uint32_t msg_symbol(const char *name, size_t length) {
    uint32_t at, hash = hash_of(name, length < MSG_SYMBOL_LENGTH ? length : MSG_SYMBOL_LENGTH);
    if (length > MSG_SYMBOL_LENGTH) return MSG_NO_SYMBOL;
    uint32_t symbol = look(name, length, hash, &at);
    if (symbol != MSG_NO_SYMBOL) return symbol;
    pthread_mutex_lock(&lock);
    symbol = look(name, length, hash, &at); /* another thread may have made it meanwhile */
    char *copy;
    if (symbol == MSG_NO_SYMBOL && count < MSG_SYMBOLS && (copy = malloc(length + 1)) != NULL) {
        memcpy(copy, name, length);
        copy[length] = '\0';
        symbol = count++;
        entries[symbol] = (entry){copy, (uint32_t)length, hash};
        atomic_store_explicit(&slots[at], symbol + 1, memory_order_release);
    }
    pthread_mutex_unlock(&lock);
    return symbol;
}

const char *msg_symbol_name(uint32_t symbol, size_t *length) {
    *length = entries[symbol].length;
    return entries[symbol].name;
}

bool msg_symbol_exists(uint32_t symbol) { return symbol < MSG_SYMBOLS && entries[symbol].name != NULL; }
