/* table.sort, in place. A state machine, so that the comparison function may wait and be preempted: each comparison is a
 * lua_callk, whose continuation goes on at the step that was written down before it.
 *
 * Quicksort with the median of three, in the order of comparisons of Lua's own: so it leaves elements that are equal in the
 * same order, and finds the same invalid order functions. Where it goes deeper than a good order needs, the range is
 * heapsorted: O(n log n), and an end, whatever the function says. */
#include "bounded.h"
#include <limits.h>

enum { LIST = 1, ORDER, STATE, A, B, C }; /* the stack */

/* A name for each place where a comparison's answer is used, and for each where a pause can go on. */
enum step {
    RANGE, ENDS_COMPARED, MIDDLE_COMPARED, TOP_COMPARED, UP, UP_COMPARED, DOWN_COMPARED,
    SIFT, CHILDREN_COMPARED, PARENT_COMPARED
};

typedef struct range { lua_Integer low, high; int depth; } range;

typedef struct sorting {
    enum step step;
    range now;
    lua_Integer middle, i, j;
    lua_Integer begin, size, root, child; /* of a heap: elements from low + 0; those before `begin` are not sifted yet */
    int most_depth, waiting;
    long steps;
    range later[40];                      /* the smaller part is sorted first: at most log2 of 2^31 wait */
} sorting;

static int sort_called(lua_State *L, int status, lua_KContext context);
static int sort_paused(lua_State *L, int status, lua_KContext context);

/* list[i], list[j] = the top value, the one below it. [-2, +0, v] */
static inline void set_two(lua_State *L, lua_Integer i, lua_Integer j) {
    lua_seti(L, LIST, i);
    lua_seti(L, LIST, j);
}

/* less = the value at `a` < the one at `b`, then go on at `next`. */
#define COMPARE(a, b, next)                          \
    do {                                             \
        s->step = next;                              \
        if (!has_order) {                            \
            less = lua_compare(L, a, b, LUA_OPLT);   \
        } else {                                     \
            lua_pushvalue(L, ORDER);                 \
            lua_pushvalue(L, a);                     \
            lua_pushvalue(L, b);                     \
            lua_callk(L, 2, 1, 0, sort_called);      \
            less = lua_toboolean(L, -1);             \
            lua_pop(L, 1);                           \
        }                                            \
    } while (0)

/* [-0, +0, v] */
static int invalid_order(lua_State *L) { return luaL_error(L, "invalid order function for sorting"); }

/* Goes on at s->step; `less` answers the comparison before it. [-0, +0, v] */
static int go_on(lua_State *L, sorting *s, bool less) {
    const bool has_order = !lua_isnil(L, ORDER);
    for (;;) {
        switch (s->step) {
        case RANGE: /* stack: nothing above the state */
            if (s->now.low >= s->now.high) {
                if (s->waiting == 0) return 0;
                s->now = s->later[--s->waiting];
                continue;
            }
            if (s->now.depth > s->most_depth) {
                s->size = s->now.high - s->now.low + 1;
                s->begin = s->root = s->size / 2 - 1;
                s->step = SIFT;
                continue;
            }
            lua_geti(L, LIST, s->now.low);
            lua_geti(L, LIST, s->now.high);
            COMPARE(B, A, ENDS_COMPARED);
            /* FALLTHROUGH */
        case ENDS_COMPARED:
            if (less) set_two(L, s->now.low, s->now.high);
            else lua_settop(L, STATE);
            if (s->now.high - s->now.low == 1) goto sorted;
            s->middle = (lua_Integer)(((lua_Unsigned)s->now.low + (lua_Unsigned)s->now.high) / 2);
            lua_geti(L, LIST, s->middle);
            lua_geti(L, LIST, s->now.low);
            COMPARE(A, B, MIDDLE_COMPARED);
            /* FALLTHROUGH */
        case MIDDLE_COMPARED:
            if (less) {
                set_two(L, s->middle, s->now.low);
                goto median;
            }
            lua_pop(L, 1);
            lua_geti(L, LIST, s->now.high);
            COMPARE(B, A, TOP_COMPARED);
            /* FALLTHROUGH */
        case TOP_COMPARED:
            if (less) set_two(L, s->middle, s->now.high);
            else lua_settop(L, STATE);
        median: /* the median of three is the pivot; it goes to the place before the last */
            if (s->now.high - s->now.low == 2) goto sorted;
            lua_geti(L, LIST, s->middle);
            lua_pushvalue(L, A);
            lua_geti(L, LIST, s->now.high - 1);
            set_two(L, s->middle, s->now.high - 1);
            s->i = s->now.low;
            s->j = s->now.high - 1;
            /* FALLTHROUGH */
        case UP: /* stack: ..., pivot (A): the next element from below that is not less than it */
            if (--s->steps < 0) {
                s->steps = BOUNDED_STEPS / 4;
                s->step = UP;
                if (shim_look_up(L)) return shim_give_way(L, 0, sort_paused);
            }
            lua_geti(L, LIST, ++s->i);
            COMPARE(B, A, UP_COMPARED);
            /* FALLTHROUGH */
        case UP_COMPARED:
            if (less) {
                if (s->i == s->now.high - 1) return invalid_order(L);
                lua_pop(L, 1);
                s->step = UP;
                continue;
            }
        down: /* stack: ..., pivot, list[i] (B): the next from above that the pivot is not less than */
            if (--s->steps < 0) {
                s->steps = BOUNDED_STEPS / 4;
                shim_look_up(L);
            }
            lua_geti(L, LIST, --s->j);
            COMPARE(A, C, DOWN_COMPARED);
            /* FALLTHROUGH */
        case DOWN_COMPARED:
            if (less) {
                if (s->j < s->i) return invalid_order(L);
                lua_pop(L, 1);
                goto down;
            }
            if (s->j >= s->i) {
                set_two(L, s->i, s->j);
                s->step = UP;
                continue;
            }
            lua_pop(L, 1);
            set_two(L, s->now.high - 1, s->i); /* the pivot comes to its place */
            {
                range low = {s->now.low, s->i - 1, s->now.depth + 1}, high = {s->i + 1, s->now.high, s->now.depth + 1};
                bool low_first = s->i - s->now.low < s->now.high - s->i;
                s->later[s->waiting++] = low_first ? high : low;
                s->now = low_first ? low : high;
            }
            s->step = RANGE;
            continue;
        sorted:
            lua_settop(L, STATE);
            s->now.high = s->now.low;
            s->step = RANGE;
            continue;

        case SIFT: /* the element at `root` of the heap sinks to its place */
            if (--s->steps < 0) {
                s->steps = BOUNDED_STEPS / 4;
                if (shim_look_up(L)) return shim_give_way(L, 0, sort_paused);
            }
            s->child = 2 * s->root + 1;
            if (s->child >= s->size) goto sunk;
            lua_geti(L, LIST, s->now.low + s->child); /* A */
            if (s->child + 1 < s->size) {
                lua_geti(L, LIST, s->now.low + s->child + 1); /* B */
                COMPARE(A, B, CHILDREN_COMPARED);
            } else {
                less = false;
                lua_pushnil(L);
            }
            /* FALLTHROUGH */
        case CHILDREN_COMPARED:
            if (less) s->child++;
            lua_settop(L, less ? B : A);
            if (less) lua_remove(L, A);
            lua_geti(L, LIST, s->now.low + s->root); /* B */
            COMPARE(B, A, PARENT_COMPARED);
            /* FALLTHROUGH */
        case PARENT_COMPARED:
            if (!less) goto sunk;
            set_two(L, s->now.low + s->child, s->now.low + s->root);
            s->root = s->child;
            s->step = SIFT;
            continue;
        sunk:
            lua_settop(L, STATE);
            s->step = SIFT;
            if (s->begin > 0) {
                s->root = --s->begin;
                continue;
            }
            if (s->size <= 1) goto sorted;
            /* the greatest goes behind the heap, which is smaller by it */
            s->size--;
            lua_geti(L, LIST, s->now.low);
            lua_geti(L, LIST, s->now.low + s->size);
            set_two(L, s->now.low, s->now.low + s->size);
            s->root = 0;
            continue;
        }
    }
}

/* stack: ..., the function's result (top) */
static int sort_called(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    bool less = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return go_on(L, lua_touserdata(L, STATE), less);
}

static int sort_paused(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    return go_on(L, lua_touserdata(L, STATE), false);
}

/* table.sort(list [, order]) [-n, +0, v] */
int shim_table_sort(lua_State *L) {
    lua_Integer size = shim_check_sortable(L);
    if (size < 2) return 0;
    luaL_argcheck(L, size < INT_MAX, 1, "array too big");
    if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, ORDER);
    luaL_checkstack(L, 12, "sort");
    sorting *s = lua_newuserdatauv(L, sizeof *s, 0);
    s->step = RANGE;
    s->now = (range){1, size, 0};
    s->waiting = 0;
    s->steps = BOUNDED_STEPS / 4;
    s->most_depth = 8;
    for (lua_Integer n = size; n > 1; n /= 2) s->most_depth += 2;
    return go_on(L, s, false);
}
