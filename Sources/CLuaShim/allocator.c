/* The memory of one state: size classes carved from chunks, larger blocks from malloc, all of it owned here.
 *
 * Lua tells the size of every block that it gives back, so small blocks carry no header. Destroying the allocator
 * returns chunks and large blocks at once: a killed state is dropped without running anything of Lua's.
 *
 * The limit S is soft (lua-bridge.md, section 5): refusing memory starts an emergency collection, and on Lua 5.4.4
 * one in the middle of a table's growth is a use after free. Above S the state is told to collect, above 2 S new
 * large strings and userdata are refused, above 4 S everything that grows.
 *
 * Nothing here touches a lua_State: no function has a stack effect and none raises, [-0, +0, -].
 */
#include "internal.h"
#include <stdlib.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#endif
#endif
#ifndef POISON
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

enum {
    STEP = 16,                 /* every block's alignment, and the step of the first classes */
    FINE_MAX = 256,            /* 16, 32 ... 256; then four classes for each doubling */
    FINE_CLASSES = FINE_MAX / STEP,
#ifdef SHIM_PLAIN_MALLOC
    SMALL_MAX = 0,             /* for a sanitizer: every block is one of malloc's */
#else
    SMALL_MAX = 2048,
#endif
    CLASSES = FINE_CLASSES + 12,
    FIRST_CHUNK = 27 << 10,                     /* the libraries, and a stage: what every state has */
    SMALL_CHUNK = 2 << 10, SMALL_CHUNKS = 9,    /* many states need little more */
    MIDDLE_CHUNK = 32 << 10, MIDDLE_CHUNKS = 64,
    LAST_CHUNK = 64 << 10,
    REFUSED_SIZE = 64 << 10    /* between 2 S and 4 S: new strings and userdata from this size on */
};
_Static_assert(CLASSES <= sizeof((shim_allocator *)0)->free_lists / sizeof(void *), "a list for each class");

typedef struct free_block { struct free_block *next; } free_block;
typedef struct chunk { _Alignas(16) struct chunk *next; } chunk;
typedef struct large_block { _Alignas(16) struct large_block *prev, *next; } large_block;
_Static_assert(sizeof(chunk) % STEP == 0 && sizeof(large_block) % STEP == 0, "payloads are aligned");

/* The class of a size from 1 to SMALL_MAX. [-0, +0, -] */
static unsigned class_of(size_t size) {
    if (size <= FINE_MAX) return (unsigned)((size - 1) / STEP);
    unsigned shift = 63u - (unsigned)__builtin_clzll(size - 1);      /* 8 for 257...512, 9 for 513...1024, ... */
    return FINE_CLASSES + (shift - 8) * 4 + (unsigned)(((size - 1) >> (shift - 2)) & 3);
}

/* The size of a class's blocks. [-0, +0, -] */
static size_t size_of_class(unsigned c) {
    if (c < FINE_CLASSES) return (c + 1) * (size_t)STEP;
    unsigned doubling = (c - FINE_CLASSES) / 4, quarter = (c - FINE_CLASSES) % 4;
    return ((size_t)FINE_MAX << doubling) / 4 * (5 + quarter);
}

/* [-0, +0, -] */
static void push_free(shim_allocator *a, void *block, unsigned c) {
    free_block *f = block;
    f->next = a->free_lists[c];
    a->free_lists[c] = f;
    POISON(block, size_of_class(c));
}

/* A new chunk to carve, its predecessor's rest given to the lists. false: no memory. [-0, +0, -] */
static bool add_chunk(shim_allocator *a, size_t need) {
    size_t size = a->chunk_count == 0 ? FIRST_CHUNK : a->chunk_count < SMALL_CHUNKS ? SMALL_CHUNK
        : a->chunk_count < MIDDLE_CHUNKS ? MIDDLE_CHUNK : LAST_CHUNK;
    if (size < need + sizeof(chunk)) size = need + sizeof(chunk);
    chunk *k = malloc(size);
    if (k == NULL) return false;
    for (size_t rest; (rest = (size_t)(a->bump_end - a->bump)) >= STEP;) {
        unsigned c = rest >= SMALL_MAX ? CLASSES - 1 : class_of(rest);
        if (size_of_class(c) > rest) c--;
        UNPOISON(a->bump, size_of_class(c));
        push_free(a, a->bump, c);
        a->bump += size_of_class(c);
    }
    k->next = a->chunks;
    a->chunks = k;
    a->chunk_count++;
    a->bump = (uint8_t *)(k + 1);
    a->bump_end = (uint8_t *)k + size;
    POISON(a->bump, size - sizeof(chunk));
    return true;
}

/* [-0, +0, -] */
static void *take_small(shim_allocator *a, size_t size) {
    unsigned c = class_of(size);
    size_t rounded = size_of_class(c);
    free_block *f = a->free_lists[c];
    if (f != NULL) {
        UNPOISON(f, rounded);
        a->free_lists[c] = f->next;
        return f;
    }
    if ((size_t)(a->bump_end - a->bump) < rounded && !add_chunk(a, rounded)) return NULL;
    void *block = a->bump;
    a->bump += rounded;
    UNPOISON(block, rounded);
    return block;
}

/* Links `b` in, at its (new) address. [-0, +0, -] */
static void *link_large(shim_allocator *a, large_block *b) {
    b->prev = NULL;
    b->next = a->large;
    if (b->next != NULL) b->next->prev = b;
    a->large = b;
    return b + 1;
}

/* [-0, +0, -] */
static large_block *unlink_large(shim_allocator *a, void *block) {
    large_block *b = (large_block *)block - 1;
    if (b->prev != NULL) b->prev->next = b->next;
    else a->large = b->next;
    if (b->next != NULL) b->next->prev = b->prev;
    return b;
}

/* [-0, +0, -] */
static void *take(shim_allocator *a, size_t size) {
    if (size <= SMALL_MAX) return take_small(a, size);
    if (size > SIZE_MAX - sizeof(large_block)) return NULL;
    large_block *b = malloc(sizeof(large_block) + size);
    return b == NULL ? NULL : link_large(a, b);
}

/* [-0, +0, -] */
static void give_back(shim_allocator *a, void *block, size_t size) {
    if (size <= SMALL_MAX) push_free(a, block, class_of(size));
    else free(unlink_large(a, block));
}

/* NULL if there is no memory; `block` is then unchanged. [-0, +0, -] */
static void *move(shim_allocator *a, void *block, size_t old_size, size_t new_size) {
    if (old_size > SMALL_MAX && new_size > SMALL_MAX) {
        if (new_size > SIZE_MAX - sizeof(large_block)) return NULL;
        large_block *b = unlink_large(a, block);
        large_block *moved = realloc(b, sizeof(large_block) + new_size);
        void *linked = link_large(a, moved != NULL ? moved : b);
        return moved != NULL ? linked : NULL;
    }
    if (old_size <= SMALL_MAX && new_size <= SMALL_MAX && class_of(old_size) == class_of(new_size)) return block;
    void *fresh = take(a, new_size);
    if (fresh == NULL) return NULL;
    memcpy(fresh, block, old_size < new_size ? old_size : new_size);
    give_back(a, block, old_size);
    return fresh;
}

/* Other threads read it meanwhile. [-0, +0, -] */
static inline void set(size_t *count, size_t value) { __atomic_store_n(count, value, __ATOMIC_RELAXED); }

/* May Lua have `growth` more bytes? `kind` is the tag of a new object, or LUA_TNONE. [-0, +0, -] */
static bool grant(shim_allocator *a, size_t growth, size_t size, int kind) {
    size_t limit = a->limit;
    if (limit == 0) return true;
    size_t wanted = growth > SIZE_MAX - a->used ? SIZE_MAX : a->used + growth;
    if (wanted <= limit) return true;
    /* Divisions, since 4 * limit may overflow. */
    bool refused = wanted / 4 >= limit && wanted > 4 * limit;
    bool is_whole = size >= REFUSED_SIZE && (kind == LUA_TSTRING || kind == LUA_TUSERDATA); /* no part of another */
    a->vm->spoilt |= refused && !is_whole;
    if (is_whole)
        refused = refused || (wanted / 2 >= limit && wanted > 2 * limit);
    if (refused) shim_exceed(a->vm, SHIM_OVER_MEMORY); /* the script may catch the error that follows: this decides */
    if (refused || a->used <= limit) shim_memory_pressure(a->vm); /* else told when it passed the limit */
    return !refused;
}

/* [-0, +0, -] */
void shim_allocator_init(shim_allocator *a, struct shim_vm *vm, size_t limit) {
    memset(a, 0, sizeof *a);
    a->vm = vm;
    a->limit = limit;
}

/* A lua_Alloc. [-0, +0, -] */
void *shim_allocate(void *allocator, void *block, size_t old_size, size_t new_size) {
    shim_allocator *a = allocator;
    int kind = LUA_TNONE;
    if (block == NULL) {
        kind = (int)old_size; /* not a size: what the block is for */
        old_size = 0;
    }
    if (new_size == 0) {
        if (old_size != 0) give_back(a, block, old_size);
        set(&a->used, a->used - old_size);
        return NULL;
    }
    if (new_size > old_size && !grant(a, new_size - old_size, new_size, kind)) return NULL;
    /* A block of size 0 has no memory: Lua passes NULL for it, but nothing forbids the other. */
    void *result = old_size == 0 ? take(a, new_size) : move(a, block, old_size, new_size);
    if (result == NULL) {
        if (new_size > old_size) return NULL;
        /* A shrink must not fail: 5.4.4 raises in the middle of its work. The old block stays, and comes back later
         * as one of the smaller size. That is harmless: a large one stays linked, so it is freed at the end, and
         * its first bytes join a list of small blocks; a small one joins the list of a smaller class. */
        result = block;
    }
    set(&a->used, a->used - old_size + new_size);
    if (a->used > a->peak) set(&a->peak, a->used);
    return result;
}

/* The host holds so many bytes for the state. It has them already: nothing is refused. [-0, +0, -] */
void shim_allocator_charge(shim_allocator *a, size_t size) {
    bool passes = a->limit != 0 && a->used <= a->limit && a->used + size > a->limit;
    set(&a->used, a->used + size);
    if (a->used > a->peak) set(&a->peak, a->used);
    if (passes) shim_memory_pressure(a->vm);
    else if (a->limit != 0 && a->used / 4 >= a->limit) shim_exceed(a->vm, SHIM_OVER_MEMORY); /* no hook has run meanwhile */
}

/* [-0, +0, -] */
void shim_allocator_uncharge(shim_allocator *a, size_t size) { set(&a->used, a->used - size); }

/* Returns all memory; the state is gone after it. [-0, +0, -] */
void shim_allocator_destroy(shim_allocator *a) {
    for (chunk *k = a->chunks, *next; k != NULL; k = next) {
        next = k->next;
        free(k);
    }
    for (large_block *b = a->large, *next; b != NULL; b = next) {
        next = b->next;
        free(b);
    }
    shim_allocator_init(a, a->vm, a->limit);
}
