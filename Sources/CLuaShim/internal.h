/* What the C files of this target share, and Swift does not see. */
#ifndef CLUASHIM_INTERNAL_H
#define CLUASHIM_INTERNAL_H
#include "include/CLuaShim.h"
#include <string.h>

/* Messages are made by us, and whoever reads one trusts it; in debug builds each is looked at first. */
#ifdef DEBUG
#include <assert.h>
#define SHIM_ASSERT_MESSAGE(message) assert(msg_check((message), (message)->size, NULL))
#else
#define SHIM_ASSERT_MESSAGE(message) ((void)0)
#endif

/* ---- allocator.c: size classes in chunks of the state's own; exact accounting; the soft limit ---- */

typedef struct shim_allocator {
    size_t used, peak, limit;  /* bytes that Lua holds, the first two read by any thread; limit 0: none */
    struct shim_vm *vm;        /* told of pressure through shim_memory_pressure */
    void *chunks;              /* every chunk, linked */
    void *large;               /* every large block, linked both ways */
    uint8_t *bump, *bump_end;  /* the chunk being carved */
    void *free_lists[32];
    unsigned chunk_count;
} shim_allocator;

void shim_allocator_init(shim_allocator *a, struct shim_vm *vm, size_t limit);
void *shim_allocate(void *allocator, void *block, size_t old_size, size_t new_size); /* a lua_Alloc */
/* shim_allocate, or in a test what shim_failures_enable puts in its place: failures.c. */
lua_Alloc shim_allocator_function(void);
void shim_allocator_charge(shim_allocator *a, size_t size);
void shim_allocator_uncharge(shim_allocator *a, size_t size);
void shim_allocator_destroy(shim_allocator *a); /* returns all memory at once; runs nothing of Lua's */

/* ---- vm.c ---- */

typedef struct shim_object {      /* the block of a host object's userdata */
    const shim_type *type;
    void *ref;                    /* NULL once released */
    size_t slot;
} shim_object;

/* The reference that a userdata stands for. Not in the userdata's block: Lua frees that without its finalizer having run
 * where there is no memory for the call. Then the reference is released with the state. */
typedef struct shim_slot {
    const shim_type *type;
    void *ref;                    /* NULL: the slot is free */
    size_t next_free;             /* its successor in the list of free ones; 0: none, else the slot's number and one */
} shim_slot;

typedef struct shim_decider {     /* the same of a type with a word */
    shim_object object;
    void *word;
} shim_decider;

typedef struct shim_record shim_record;

typedef struct shim_seeding {     /* hash_seed.c: while a state is made */
    uint32_t seed;
    uint8_t *block;               /* the state's own; NULL: not allocated yet */
    size_t size;
    bool tried;
} shim_seeding;

struct shim_vm {
    lua_State *L;                 /* the main thread: runs no script code */
    lua_State *running;           /* the coroutine that runs now; NULL outside a resume */
    lua_State *base;              /* the task's own coroutine, outermost of those that run */
    int op;                       /* why the running coroutine yields to the host; SHIM_OP_NONE: not to the host */
    bool chain_yieldable;         /* every coroutine between base and running can yield */
    int over;                     /* enum shim_over */
    bool spoilt;                  /* memory was refused for whatever it was */
    _Atomic uint32_t control;
    const shim_host *host;
    void *owner;
    const msg_header *inbox;      /* for SHIM_VALUE */
    shim_slot *slots;             /* of the host objects of the state */
    size_t slot_count, slot_room, free_slot; /* the last as `next_free` */
    shim_buffer scratch;          /* for messages that a host function is about to send */
    shim_problem problem;         /* why the last of them could not be encoded */
    /* Records: record.h. */
    const void *record_metatable;
    const void *record_table;     /* the table of `record`, the transient one that is in hand; NULL: none */
    shim_record *record;
    int record_size;              /* fields that a record gets room for */
    int records_untouched;        /* made since one was filled */
    bool may_raise;               /* no Swift frame is on the stack: names may be kept */
    struct shim_symbols *symbols; /* names.c */
    shim_selection *selection;    /* select.c; NULL: no select yet */
    uint64_t decoded_fields;
    uint64_t random_seed;         /* for math.random */
    char stopped_at[LUA_IDSIZE + 12]; /* where the last kill found the script: after it the line is no longer known for sure */
    lua_State *preempted;         /* a task's coroutine that was preempted and has not gone on; NULL: none is known */
    char preempted_at[LUA_IDSIZE + 12]; /* where: in a coroutine that has yielded in a hook Lua names the instruction before */
    int entered;                  /* contexts that the running task has entered */
    bool has_parked;              /* a coroutine may have contexts to enter again */
    int pause;                    /* the collector's, as it was set last; 0: never */
    shim_driver *limited;         /* whose values it works on: limits.c; NULL: nobody's */
    _Atomic size_t given_back;    /* of what was charged, by other threads: not yet taken off */
    size_t queued;                /* charged for what its channels hold: shim_vm_set_queued */
    int64_t cpu_since;            /* the thread's CPU time at the last look */
    size_t max_value;             /* bytes of a message; 0: none */
    size_t encode_bound, encode_end; /* bytes of what is written now, and where its buffer's use has to end */
    _Atomic bool interrupted;     /* a signal came and no hook has run since */
    shim_seeding *seeding;        /* NULL but while a state with a given hash seed is made */
    bool hash_is_fixed;
    int strike;                   /* strike.c: what a test asked for, SHIM_STRIKE_NONE in all other runs */
    shim_allocator allocator;
};

static inline shim_vm *vm_of(lua_State *L) { return *(shim_vm **)lua_getextraspace(L); }

/* ---- hash_seed.c ---- */

/* A state whose strings are hashed with `seed`, where that can be had (shim_vm_hash_is_fixed). NULL: no memory.
 * [-0, +0, -] */
lua_State *shim_new_seeded_state(shim_vm *vm, uint32_t seed);
void *shim_allocate_first(void *allocator, void *block, size_t old_size, size_t new_size); /* a lua_Alloc */

/* ---- codec.c ---- */

/* shim_encode where no Swift frame is below. [-0, +0, m] */
int shim_encode_raising(lua_State *L, int index, shim_buffer *out, shim_problem *problem);
/* Pushes the nested value at p; returns what follows it. [-0, +1, m] */
const uint8_t *shim_decode_value(lua_State *L, const uint8_t *p);
/* True if the table's metatable is the one of stream.array. [-0, +0, -] */
bool shim_is_marked_array(lua_State *L, int index);
/* What follows the nested value at p. */
const uint8_t *shim_skip_value(const uint8_t *p);

/* ---- select.c ---- */

void shim_selection_free(shim_vm *vm);

/* ---- vm.c, object.c ---- */

/* The state goes: so do the references of its host objects. */
void shim_release_objects(shim_vm *vm);

/* Runs a host function in place of the calling C function: does what its status asks. `return` its result.
 * [variable, e] */
int shim_call_host(lua_State *L, shim_callback callback);
/* Pushes the closure by which Lua calls `callback`. Its C function is shim_trampoline, its only upvalue the
 * callback as light userdata: image.c knows it by these. [-0, +1, m] */
void shim_push_callback(lua_State *L, shim_callback callback);
int shim_trampoline(lua_State *L);
/* Pushes the closure of a method that decides by its object's word. Its C function is shim_decide, else it is like that of
 * shim_push_callback: decide.c. [-0, +1, m] */
void shim_push_deciding(lua_State *L, shim_callback callback);
int shim_decide(lua_State *L);
/* Pushes the closure of a method that holds what `callback` gives while it calls a function: hold.c. [-0, +1, m] */
void shim_push_holding(lua_State *L, shim_callback callback);
/* Message handler: a string error gets the traceback kept for the host (see vm.c); other values pass. */
int shim_message_handler(lua_State *L);

/* Arms the one-shot hook on the running coroutine. Only on the thread that runs it (signal handler, allocator). */
void shim_arm_hook(shim_vm *vm);

/* The hook's answer for a C function, which no hook reaches: ends or cancels the script if that is asked. True: a preemption
 * is owed, and the function may yield. bounded.h. [-0, +0, e] */
bool shim_answer(lua_State *L);

/* ---- limits.c, driver_timeout.c: all on the thread that runs the state ---- */

/* A function of the embedded library, whose own lines are not the script's; filled for "S". */
static inline bool shim_is_of_library(const lua_Debug *ar) { return strncmp(ar->source, "=[stream", 8) == 0; }

/* L is about to yield for a preemption: notes where it is, for shim_where. [-0, +0, -] */
void shim_note_preemption(lua_State *L, shim_vm *vm);

/* Stops the state for a limit. The stage to blame is the driver's `current`. [-0, +0, -] */
void shim_exceed(shim_vm *vm, int over);
/* The running task begins to compute (`starts`), or stops, or is looked at meanwhile: counts what its value has used. True:
 * too much. [-0, +0, -] */
bool shim_look(shim_vm *vm, bool starts);
/* True if the task that runs has a value whose time is over, and is to be stopped. */
bool shim_value_is_overdue(shim_vm *vm);
/* What a signal calls for where no hook can run: true if a limit has been passed. */
bool shim_is_interrupted(shim_vm *vm);
static inline bool shim_has_limits(const shim_vm *vm) { return vm->limited != NULL && vm->limited->limits != NULL; }

/* For an encoder, which no hook reaches: whether it is to give up, as what it writes is large and nobody waits for it. */
static inline bool shim_gives_up(lua_State *L, const shim_buffer *out) {
    if (out->used <= 1 << 20) return false;
    shim_vm *vm = vm_of(L);
    return atomic_load_explicit(&vm->control, memory_order_relaxed) & (SHIM_CONTROL_KILL | SHIM_CONTROL_CANCEL) ||
           (atomic_load_explicit(&vm->interrupted, memory_order_relaxed) && shim_is_interrupted(vm));
}
/* Room for n bytes more in a message that is written. False: no memory, too large (shim_no_room says which), or shim_gives_up.
 * [-0, +0, -] */
bool shim_make_room(lua_State *L, shim_buffer *out, size_t n);
/* Why, for a message. `text` has room for 160 bytes. */
const char *shim_no_room(lua_State *L, const shim_buffer *out, size_t n, char *text);
static inline size_t shim_max_value(const shim_vm *vm) { return vm->max_value != 0 ? vm->max_value : MSG_MAX_SIZE; }
/* What is written to `out` from now on has at most so many bytes. */
static inline void shim_bound(shim_vm *vm, const shim_buffer *out, size_t bytes) {
    vm->encode_bound = bytes;
    vm->encode_end = out->used + bytes;
}
/* Says that it has more. */
const char *shim_too_large(const shim_vm *vm, char *text);

/* Called by the allocator when the limit is passed: sets SHIM_CONTROL_MEMORY and arms the hook. */
void shim_memory_pressure(shim_vm *vm);
/* The running coroutine changes (own coroutine.resume): keeps vm->running right. */
extern _Thread_local shim_vm *shim_current; /* the vm that this thread resumes now, for the signal handler */

/* ---- sandbox.c, coroutine.c ---- */

/* Opens the allowed libraries into the globals. Called under protection at creation. [-0, +0, e] */
void shim_open_sandbox(lua_State *L);
/* The same from the second state on, of what the first one had: sandbox_copy.c. False: the first way is needed.
 * [-0, +0, m] */
bool shim_copy_sandbox(lua_State *L);
/* The registry's tables, which both begin with. [-0, +0, m] */
void shim_open_registry(lua_State *L);
void shim_open_coroutine(lua_State *L);  /* leaves the library's table on the stack [-0, +1, m] */

/* Registry slots, by address: lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_...) */
extern const char shim_key_modules;   /* table: module name -> what require returned, script's modules and embedded ones */
extern const char shim_key_stdlib;    /* table: value of the embedded library -> its name (a string); see image.c */
extern const char shim_key_objects;   /* weak table: light userdata ref -> userdata */
extern const char shim_key_array;     /* the metatable that marks arrays: stream.array */
extern const char shim_key_parked;    /* weak table: coroutine -> the contexts that it was in when it yielded */
extern const char shim_key_missing;   /* table: global name -> kind, of what stayed in its worker */

/* JSON null in Lua is lua_pushlightuserdata(L, NULL). */
static inline bool shim_is_null(lua_State *L, int i) {
    return lua_type(L, i) == LUA_TLIGHTUSERDATA && lua_touserdata(L, i) == NULL;
}
/* What kind a value is, for error messages: "a function", "a coroutine", a host object's phrase, a table's
 * metatable's __stays ("a pipeline"). */
const char *shim_kind_phrase(lua_State *L, int index);
#endif
