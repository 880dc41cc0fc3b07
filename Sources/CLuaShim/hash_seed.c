/* A seed of the caller's choice for the hash of strings, which decides the order of `pairs` over them.
 *
 * Lua 5.4 makes that seed from the time and the addresses of the state, of a local variable and of lua_newstate, and has
 * no way to give it one. But it asks for memory twice while it makes a state: for the state itself, and, once the seed
 * is set, for the stack. No string exists by then, so in that second call the field can be written. It is found from
 * our own allocator and its argument, which stand side by side in front of it. Nothing is written unless all that is
 * known about the fields around it holds, and the library is the one that this was read from: 5.4.4, whose
 * lua_newstate sets them all before it allocates the stack (lstate.c).
 */
#include "internal.h"
#include <string.h>

/* Words behind the allocator function in global_State: its argument, totalbytes, GCdebt, GCestimate, lastatomic, the
 * string table (pointer, two ints), the registry (value, tag), the nil value (value, tag), the seed. */
enum { ARGUMENT = 1, TOTAL = 2, DEBT = 3, STRINGS = 6, STRING_COUNTS = 7, NIL_VALUE = 10, NIL_TAG = 11, SEED = 12 };
enum { WHITE = 8, INTEGER_TAG = 3 }; /* currentwhite, behind the seed; the nil value's tag until the state is complete */

/* Where the seed lies in the block of a state that is being made; NULL: it is not found for certain. [-0, +0, -] */
static uint32_t *find_seed(const shim_seeding *seeding, const shim_allocator *a) {
    uint8_t *found = NULL;
    if (strstr(lua_ident, "Lua 5.4.4 ") == NULL || sizeof(void *) != 8 || sizeof(int) != 4) return NULL;
    for (size_t at = 0; at + (SEED + 1) * 8 <= seeding->size; at += 8) {
        uintptr_t pair[2];
        memcpy(pair, seeding->block + at, sizeof pair);
        if (pair[0] != (uintptr_t)shim_allocate_first || pair[1] != (uintptr_t)a) continue;
        if (found != NULL) return NULL;
        found = seeding->block + at;
    }
    if (found == NULL) return NULL;
    uint64_t words[SEED + 1];
    memcpy(words, found, sizeof words);
    uint8_t nil_tag = found[NIL_TAG * 8], white = found[SEED * 8 + 4];
    bool known = words[TOTAL] == seeding->size && words[DEBT] == 0 && words[STRINGS] == 0 &&
                 words[STRING_COUNTS] == 0 && words[NIL_VALUE] == 0 && nil_tag == INTEGER_TAG && white == WHITE;
    return known ? (uint32_t *)(void *)(found + SEED * 8) : NULL;
}

/* A lua_Alloc, for the time in which a state is made. [-0, +0, -] */
void *shim_allocate_first(void *allocator, void *block, size_t old_size, size_t new_size) {
    shim_allocator *a = allocator;
    shim_seeding *seeding = a->vm->seeding;
    bool is_first = seeding->block == NULL;
    if (!is_first && !seeding->tried) {
        uint32_t *seed = find_seed(seeding, a);
        if (seed != NULL) *seed = seeding->seed;
        seeding->tried = true;
        a->vm->hash_is_fixed = seed != NULL;
    }
    void *result = shim_allocate(allocator, block, old_size, new_size);
    if (is_first && result != NULL) {
        seeding->block = result;
        seeding->size = new_size;
    }
    return result;
}

lua_State *shim_new_seeded_state(shim_vm *vm, uint32_t seed) {
    shim_seeding seeding = {.seed = seed};
    vm->seeding = &seeding;
    lua_State *L = lua_newstate(shim_allocate_first, &vm->allocator);
    vm->seeding = NULL;
    if (L != NULL) lua_setallocf(L, shim_allocator_function(), &vm->allocator);
    return L;
}

bool shim_vm_hash_is_fixed(const shim_vm *vm) { return vm->hash_is_fixed; }
