/* A lock of one word, whose free way is one instruction each and no call: a mutex of the C library takes a tenth of
 * what a value costs on its way through a channel. In C, since Swift names no futex. */
#ifndef CMESSAGE_LOCK_H
#define CMESSAGE_LOCK_H
#include <stdint.h>

/* 0: free; 1: taken; 2: taken, and someone may sleep. */
typedef uint32_t msg_lock_word;

void msg_lock_contended(msg_lock_word *word);
void msg_unlock_contended(msg_lock_word *word);

static inline void msg_lock(msg_lock_word *word) {
    msg_lock_word seen = 0;
    if (!__atomic_compare_exchange_n(word, &seen, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        msg_lock_contended(word);
}

static inline void msg_unlock(msg_lock_word *word) {
    if (__atomic_exchange_n(word, 0, __ATOMIC_RELEASE) == 2)
        msg_unlock_contended(word);
}
#endif
