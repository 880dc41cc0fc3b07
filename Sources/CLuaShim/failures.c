/* For tests: a growth of a state's memory that fails. Costs nothing where it is not asked for: another lua_Alloc is given
 * to the states that are made meanwhile. */
#include "internal.h"

static _Atomic bool enabled;
static _Atomic uint64_t growths; /* of all those states, since the last shim_failures_set */
static _Atomic uint64_t first, last;

void shim_failures_enable(bool on) { atomic_store(&enabled, on); }

void shim_failures_set(uint64_t from, uint64_t count) {
    atomic_store(&first, from);
    atomic_store(&last, from == 0 ? 0 : count > UINT64_MAX - from ? UINT64_MAX : from + count - 1);
    atomic_store(&growths, 0);
}

uint64_t shim_failures_growths(void) { return atomic_load(&growths); }

/* A lua_Alloc. [-0, +0, -] */
static void *allocate_or_fail(void *allocator, void *block, size_t old_size, size_t new_size) {
    if (new_size > (block == NULL ? 0 : old_size)) {
        uint64_t growth = atomic_fetch_add(&growths, 1) + 1;
        if (growth >= atomic_load(&first) && growth <= atomic_load(&last)) {
            if (atomic_load(&last) == UINT64_MAX) shim_exceed(((shim_allocator *)allocator)->vm, SHIM_OVER_MEMORY);
            return NULL;
        }
    }
    return shim_allocate(allocator, block, old_size, new_size);
}

lua_Alloc shim_allocator_function(void) { return atomic_load(&enabled) ? allocate_or_fail : shim_allocate; }
