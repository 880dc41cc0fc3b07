/* Library functions whose loops run in C, where no hook reaches: our own, in place of Lua's. They give the results and
 * the messages of Lua 5.4.4, but each looks every few thousand steps whether the script is to stop, be cancelled or make
 * room, and builds nothing larger than the worker may hold.
 *
 * Where a function is to stop it leaves as the hook would (interrupt.c). Where it is only to make room it yields with a
 * continuation that goes on where it was: its state is then in a userdata on its stack, or a number in the context. */
#ifndef CLUASHIM_BOUNDED_H
#define CLUASHIM_BOUNDED_H
#include "internal.h"
#include <string.h>

enum {
    BOUNDED_STEPS = 4096,        /* matching steps, elements or comparisons between two looks */
    BOUNDED_BYTES = 256 << 10,   /* bytes copied or searched between two looks */
    BOUNDED_FORM = 2 << 20       /* bytes of the longest format of string.pack */
};

/* True: a preemption is owed, and can be had here by shim_give_way. Does not return where the script is to end: raises,
 * or yields for good. [-0, +0, v] */
static inline bool shim_look_up(lua_State *L) {
    if (lua_gethookmask(L) == 0 && atomic_load_explicit(&vm_of(L)->control, memory_order_relaxed) == 0) return false;
    return shim_answer(L);
}

/* Yields to the host; `after` goes on with `context`. `return` its result. [-0, +0, v] */
int shim_give_way(lua_State *L, lua_KContext context, lua_KFunction after);

/* Raises Lua's error if a string of this size is more than the state may hold. [-0, +0, v] */
void shim_check_size(lua_State *L, size_t size);

/* ---- A string being built (bounded.c) ---- */

/* Lies on the C stack while it is small and its function does not yield, else in a userdata at `slot` of the Lua stack. */
typedef struct builder {
    char *bytes;
    size_t used, capacity;
    int slot;               /* a place on the stack that is its own */
    lua_Integer at, count;  /* for whoever builds: what is to survive a yield */
    size_t offset, last;
    bool anchored;          /* in the userdata */
    char first[1000];
} builder;

static inline void builder_init(builder *b, int slot) {
    b->bytes = b->first;
    b->used = 0;
    b->capacity = sizeof b->first;
    b->slot = slot;
    b->anchored = false;
}
/* Moves it to the userdata: the builder to go on with. The stack's top stays the same. [-0, +0, m] */
builder *builder_anchor(lua_State *L, builder *b);
/* Room for `more` bytes: the builder to go on with. [-0, +0, v] */
builder *builder_grow(lua_State *L, builder *b, size_t more);
/* The one that is anchored at `slot`. [-0, +0, -] */
builder *builder_at(lua_State *L, int slot);
/* Pushes the string and gives the bytes back. [-0, +1, m] */
void builder_finish(lua_State *L, builder *b);

static inline builder *builder_reserve(lua_State *L, builder *b, size_t more) {
    return more <= b->capacity - b->used ? b : builder_grow(L, b, more);
}

static inline builder *builder_add(lua_State *L, builder *b, const char *bytes, size_t length) {
    b = builder_reserve(L, b, length);
    memcpy(b->bytes + b->used, bytes, length);
    b->used += length;
    return b;
}

/* ---- Positions ---- */

/* The position of `i` in a string of this length, from 1, where negative ones count from the end; at least 1. */
static inline size_t bounded_start(lua_Integer i, size_t length) {
    if (i > 0) return (size_t)i;
    if (i == 0 || i < -(lua_Integer)length) return 1;
    return length + (size_t)i + 1;
}

/* ---- The functions, in lists for luaL_setfuncs ---- */

extern const luaL_Reg shim_bounded_string[], shim_bounded_pattern[], shim_bounded_table[], shim_bounded_utf8[];
int shim_table_sort(lua_State *L);
lua_Integer shim_check_sortable(lua_State *L); /* the length of the first argument [-0, +0, v] */
int shim_string_format(lua_State *L);
int shim_tonumber(lua_State *L);
/* luaL_loadbufferx of a text; raises what the end of the script raises. [-0, +1, v] */
int shim_load_text(lua_State *L, const char *source, size_t length, const char *name);
extern _Atomic(lua_CFunction) shim_stock_pack, shim_stock_packsize, shim_stock_unpack; /* Lua's, the same in every state */
#endif
