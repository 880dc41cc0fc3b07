/* The part of a limiter that needs no lock: its state in 128 bits, and the decisions that one exchange of them makes.
 *
 * It is C so that Lua's calls come to it without passing through Swift; StreamCore's LimiterWord makes it, and changes its
 * parameters.
 */
#ifndef CLIMITER_H
#define CLIMITER_H
#include <stdbool.h>
#include <stdint.h>

enum { LIMITER_NONE, LIMITER_BUCKET, LIMITER_WINDOW, LIMITER_PERMITS };

/* The parameters by which a word is read. Halves of 128-bit numbers: the low one first. */
typedef struct limiter_slot {
    int64_t kind;
    int64_t most;          /* burst, limit */
    uint64_t gain;         /* units earned in a nanosecond */
    uint64_t token[2];     /* units of one token */
    int64_t most_tokens;   /* with so many tokens at most is computed */
    uint64_t part[2];      /* what a bucket that was not full since the last change of rate had beyond its whole tokens */
    int64_t window;        /* nanoseconds */
} limiter_slot;

/* The second half: tokens << 17 | epoch << 2 | part << 1 | slow. */
enum { LIMITER_SLOW_BIT = 1, LIMITER_PART_BIT = 2, LIMITER_EPOCH_SHIFT = 2, LIMITER_EPOCH_MASK = 0x7FFF, LIMITER_TOKEN_SHIFT = 17 };
/* Tokens are kept in 47 bits, signed; with fewer than this the lock's holder counts anew. */
#define LIMITER_LEAST_TOKENS (-((int64_t)1 << 45))
/* The most that is asked for at once. */
#define LIMITER_LARGEST 1000000000000

typedef struct limiter_word {
    _Alignas(16) uint64_t state[2]; /* a moment; and the rest as above. Read and written atomically, changed as one */
    limiter_slot slots[2];          /* of an even and of an odd epoch, by turns */
    bool system_clock;              /* time is what limiter_clock says */
} limiter_word;

enum { LIMITER_REFUSED, LIMITER_GRANTED, LIMITER_SLOW };

/* Takes n tokens if they are there at `now`; slow: only who holds the limiter's lock can tell. */
int limiter_take(limiter_word *word, int64_t n, int64_t now);
/* The same at the present time; slow also where time is not the system's. */
int limiter_take_now(limiter_word *word, int64_t n);
/* Puts one token back where nobody waits for it: a permit's. False: someone may, or the lock is held. */
bool limiter_put(limiter_word *word);
/* Nanoseconds on the system's monotonic clock. */
int64_t limiter_clock(void);
#endif
