#define _GNU_SOURCE
#include "lock.h"
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The holder is mostly gone within these: what is done under a lock is shorter than a sleep. */
enum { LOOKS = 50 };

static void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

void msg_lock_contended(msg_lock_word *word) {
    for (int i = 0; i < LOOKS; i++) {
        msg_lock_word seen = 0;
        if (__atomic_load_n(word, __ATOMIC_RELAXED) == 0 &&
            __atomic_compare_exchange_n(word, &seen, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return;
        pause_briefly();
    }
    /* Whoever has slept takes it as 2: others may sleep still. */
    while (__atomic_exchange_n(word, 2, __ATOMIC_ACQUIRE) != 0)
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
}

void msg_unlock_contended(msg_lock_word *word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
