/* What the process holds of memory, for the checks after an attack. */
#ifndef ATTACK_METER_H
#define ATTACK_METER_H
#include <stdbool.h>
#include <stddef.h>

/* Bytes in use of the heap, large blocks included. 0 where another malloc is in its place, a sanitizer's. */
size_t attack_heap_bytes(void);
/* Gives the heap's free pages back to the system. */
void attack_trim_heap(void);
/* Bytes of resident memory. */
size_t attack_resident_bytes(void);
/* Nanoseconds on the monotonic clock. */
long long attack_now(void);
/* Built with AddressSanitizer. */
bool attack_is_sanitized(void);

#endif
