/* glibc's own figures: Swift's Glibc module does not have them. */
#include "AttackMeter.h"
#include <malloc.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

bool attack_is_sanitized(void) { return SANITIZED; }

size_t attack_heap_bytes(void) {
    if (SANITIZED) return 0;
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

void attack_trim_heap(void) {
    if (!SANITIZED) malloc_trim(0);
}

size_t attack_resident_bytes(void) {
    size_t total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL) return 0;
    if (fscanf(file, "%zu %zu", &total, &resident) != 2) resident = 0;
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

long long attack_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}
