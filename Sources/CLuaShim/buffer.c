/* Growable bytes that the codec, the driver and the images write to. */
#include "internal.h"
#include <stdlib.h>
#include <string.h>

bool shim_buffer_reserve(shim_buffer *b, size_t more) {
    if (b->capacity - b->used >= more)
        return true;
    size_t capacity = b->capacity < 256 ? 256 : b->capacity;
    while (capacity - b->used < more) {
        if (capacity > SIZE_MAX / 2)
            return false;
        capacity *= 2;
    }
    uint8_t *bytes = realloc(b->bytes, capacity);
    if (bytes == NULL)
        return false;
    b->bytes = bytes;
    b->capacity = capacity;
    return true;
}

bool shim_buffer_append(shim_buffer *b, const void *bytes, size_t n) {
    if (n == 0) /* there may be no memory to copy nothing to */
        return true;
    if (!shim_buffer_reserve(b, n))
        return false;
    memcpy(b->bytes + b->used, bytes, n);
    b->used += n;
    return true;
}

void shim_buffer_free(shim_buffer *b) {
    free(b->bytes);
    *b = (shim_buffer){NULL, 0, 0};
}
