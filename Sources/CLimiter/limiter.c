/* Decisions on a limiter's word. Whoever reads a slot of an old epoch while it is written anew computes nonsense with it:
 * nothing here traps or is undefined for any content, and the exchange that follows fails. */
#include "CLimiter.h"
#include <time.h>

typedef unsigned __int128 wide;

/* The exchange of 128 bits is an instruction that every x86-64 processor but the very first has; the compiler wants to be
 * told. */
#if defined(__x86_64__)
#define EXCHANGES_128 __attribute__((target("cx16")))
#else
#define EXCHANGES_128
#endif

enum { TRIES = 64 };

typedef struct state { int64_t anchor, tokens; bool has_part; } state;

static inline wide joined(const uint64_t half[2]) { return (wide)half[1] << 64 | half[0]; }
static inline int64_t add(int64_t a, int64_t b) { return (int64_t)((uint64_t)a + (uint64_t)b); }
static inline int64_t subtract(int64_t a, int64_t b) { return (int64_t)((uint64_t)a - (uint64_t)b); }

EXCHANGES_128 static inline bool exchange(limiter_word *word, uint64_t first, uint64_t second, uint64_t new_first,
                                          uint64_t new_second) {
    return __sync_bool_compare_and_swap((wide *)word->state, (wide)second << 64 | first, (wide)new_second << 64 | new_first);
}

/* The halves, one after the other: a guess, which an exchange of both proves. */
static inline uint64_t half(const limiter_word *word, int i) { return __atomic_load_n(&word->state[i], __ATOMIC_ACQUIRE); }

/* As TokenBucket does it. */
static inline bool take_of_bucket(const limiter_slot *slot, int64_t n, int64_t now, state *s) {
    int64_t elapsed = now > s->anchor ? subtract(now, s->anchor) : 0;
    wide units = (wide)slot->gain * (uint64_t)elapsed, token = joined(slot->token);
    if (s->has_part) units += joined(slot->part);
    int64_t to_fill = subtract(slot->most, s->tokens);
    if (to_fill <= 0 || (to_fill <= slot->most_tokens && units >= (wide)to_fill * token)) {
        if (n > slot->most) return false;
        *s = (state){add(s->anchor, elapsed), subtract(slot->most, n), false};
        return true;
    }
    int64_t missing = subtract(n, s->tokens);
    if (missing > 0 && (missing > slot->most_tokens || units < (wide)missing * token)) return false;
    s->tokens = subtract(s->tokens, n);
    return true;
}

/* As FixedWindow does it. */
static inline bool take_of_window(const limiter_slot *slot, int64_t n, int64_t now, state *s) {
    if (s->anchor == INT64_MIN) {
        s->anchor = now;
    } else {
        int64_t elapsed = subtract(now, s->anchor), window = slot->window;
        if (elapsed >= window) {
            if (window <= 0) return false;
            s->anchor = add(s->anchor, elapsed / window * window);
            s->tokens = slot->most;
        }
    }
    if (s->tokens < n) return false;
    s->tokens = subtract(s->tokens, n);
    return true;
}

static inline bool take(const limiter_slot *slot, int64_t n, int64_t now, state *s) {
    switch (slot->kind) {
    case LIMITER_BUCKET: return take_of_bucket(slot, n, now, s);
    case LIMITER_WINDOW: return take_of_window(slot, n, now, s);
    case LIMITER_PERMITS:
        if (s->tokens < n) return false;
        s->tokens = subtract(s->tokens, n);
        return true;
    default: return false;
    }
}

EXCHANGES_128 int limiter_take(limiter_word *word, int64_t n, int64_t now) {
    for (int i = 0; i < TRIES; i++) {
        uint64_t first = half(word, 0), second = half(word, 1);
        if (second & LIMITER_SLOW_BIT) return LIMITER_SLOW;
        state s = {(int64_t)first, (int64_t)second >> LIMITER_TOKEN_SHIFT, (second & LIMITER_PART_BIT) != 0};
        bool granted = take(&word->slots[second >> LIMITER_EPOCH_SHIFT & 1], n, now, &s);
        if (s.tokens < LIMITER_LEAST_TOKENS) return LIMITER_SLOW;
        if (granted) {
            uint64_t epoch = second & (uint64_t)LIMITER_EPOCH_MASK << LIMITER_EPOCH_SHIFT;
            uint64_t rest = (uint64_t)s.tokens << LIMITER_TOKEN_SHIFT | epoch | (s.has_part ? LIMITER_PART_BIT : 0);
            if (exchange(word, first, second, (uint64_t)s.anchor, rest)) return LIMITER_GRANTED;
        } else {
            __atomic_thread_fence(__ATOMIC_ACQUIRE); /* the slot was read before this */
            if (half(word, 0) == first && half(word, 1) == second) return LIMITER_REFUSED;
        }
    }
    return LIMITER_SLOW;
}

int limiter_take_now(limiter_word *word, int64_t n) {
    return word->system_clock ? limiter_take(word, n, limiter_clock()) : LIMITER_SLOW;
}

EXCHANGES_128 bool limiter_put(limiter_word *word) {
    for (int i = 0; i < TRIES; i++) {
        uint64_t first = half(word, 0), second = half(word, 1);
        if (second & LIMITER_SLOW_BIT) return false;
        if (exchange(word, first, second, first, second + ((uint64_t)1 << LIMITER_TOKEN_SHIFT))) return true;
    }
    return false;
}

int64_t limiter_clock(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}
