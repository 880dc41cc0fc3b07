/* Whether bytes are a message as CMessage.h lays it out. Messages are made by our own encoders and never leave the process,
 * so those who read them trust their lengths; this is for assertions and for the fuzzer, which has bytes of any origin. */
#ifndef CMESSAGE_MESSAGE_CHECK_H
#define CMESSAGE_MESSAGE_CHECK_H
#include <stdbool.h>
#include <stddef.h>

/* True: the `size` bytes, aligned to 8, are one message that may be read. `is_object` says whether a pointer is that of a
 * host object; NULL: any pointer but NULL is taken for one. O(size), no memory. */
bool msg_check(const void *bytes, size_t size, bool (*is_object)(const void *pointer));
#endif
