/* The C side of LuaVM: everything that may raise inside Lua, and nothing that knows streams.
 *
 * Rules that hold in every file of this target:
 *  - No Swift frame is ever on the stack below a call that can raise: Swift callbacks return a status to the
 *    trampoline, which raises or yields after they have returned.
 *  - A function that Swift calls never raises (class "-"): what can raise runs inside lua_pcall.
 *  - Each function states its stack effect and error class, [-pops, +pushes, class], as the Lua manual does.
 */
#ifndef CLUASHIM_H
#define CLUASHIM_H
#include <lua5.4/lua.h>
#include <lua5.4/lauxlib.h>
#include <lua5.4/lualib.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "CMessage.h"

typedef struct shim_vm shim_vm;

/* ---- Host functions ------------------------------------------------------------------------------------- */

/* A Swift function that Lua calls. Arguments are L's stack. It uses only API calls of class "-" and the
 * shim's own, and returns the number of results on top of the stack, or one of: */
typedef int (*shim_callback)(lua_State *L, shim_vm *vm);
enum {
    SHIM_RAISE = -1,  /* raise the value on top of the stack */
    SHIM_WAIT = -2,   /* yield to the host; later `finish` is called in the same way to give the results */
    SHIM_VALUE = -3,  /* decode the message at shim_set_inbox and return that one value */
    SHIM_CALL = -4    /* stack: guard, function, arguments: call it and return its results; however it ends, but for a
                       * task that is dropped, the guard's __close is called */
};

typedef struct shim_method {
    const char *name; /* NULL ends a list */
    shim_callback callback;
    bool holds;       /* the method is run(fn, ...), which calls fn while it holds what callback gives: hold.c */
    bool decides;     /* the method is allow([n]), which asks the object's word before callback is called: decide.c */
} shim_method;

/* What the host gives every state. All may be called on any executor thread. */
typedef struct shim_host {
    shim_callback print;       /* stack: one string, the whole line without its end. May wait. */
    shim_callback warn;        /* stack: one string. */
    shim_callback find_module; /* stack: module name. Returns 2: source, chunk name; or SHIM_RAISE. */
    shim_callback finish;      /* ends a SHIM_WAIT */
    shim_callback misuse;      /* stack: text. Makes it the error of the script's line and returns SHIM_RAISE. */
    void (*need_library)(lua_State *L); /* loads the embedded library into L; under protection, may raise */
    double (*now)(shim_vm *vm);      /* monotonic seconds, for os.clock */
    double (*wall)(shim_vm *vm);     /* seconds since 1970, for os.time and os.date */
    void (*retain)(void *object);    /* +1 on a shared host object */
    void (*release)(void *object);   /* -1 */
    const struct shim_type *(*type_of)(void *object); /* how the codec finds the type of an object that it decodes */
    /* A coroutine of a script's stops running with more contexts entered than the `depth` at which it was resumed: leaves
     * them. Where it only yielded (`keeps`) returns an object of one reference, from which `unpark` enters them again;
     * else NULL. Both may be NULL where there are no contexts. */
    void *(*park)(shim_vm *vm, int depth, bool keeps);
    void (*unpark)(shim_vm *vm, void *parked);
    int64_t (*clock)(shim_vm *vm);   /* monotonic nanoseconds, by which deadlines are */
    /* The value that a stage's function had is done with, and the host has made a context of it: driver_timeout.c. */
    void (*value_ended)(shim_vm *vm, int link);
} shim_host;

/* ---- A state -------------------------------------------------------------------------------------------- */

enum { /* bits of the control word, the only part of a vm that other threads may touch */
    SHIM_CONTROL_KILL = 1,    /* stop for good: yield, never to be resumed */
    SHIM_CONTROL_CANCEL = 2,  /* raise "canceled" at the current line, once */
    SHIM_CONTROL_DEADLINE = 8, /* with CANCEL: raise "deadline exceeded" instead */
    SHIM_CONTROL_MEMORY = 4   /* over the memory limit: collect, and kill when that does not help */
};
enum { /* why a resumed coroutine came back */
    SHIM_OP_NONE = 0, SHIM_OP_WAIT = 1, SHIM_OP_PREEMPT = 2, SHIM_OP_KILL = 3
};

typedef struct shim_usage { size_t used, peak, limit; } shim_usage;

/* Creates a state with the sandbox's libraries open. `limit` in bytes, 0 for none; `seed` for math.random; `hash_seed`
 * for the order of `pairs` over strings, NULL: any. NULL: no memory. */
shim_vm *shim_vm_create(const shim_host *host, void *owner, size_t limit, uint64_t seed, const uint32_t *hash_seed);
/* True if the state has the hash seed that it was given: the way to set it depends on Lua's version (hash_seed.c). */
bool shim_vm_hash_is_fixed(const shim_vm *vm);
/* Releases the host objects that the state holds and returns its memory. Runs no Lua code. */
void shim_vm_destroy(shim_vm *vm);
long shim_live_states(void); /* of the process: created and not destroyed */
void *shim_vm_owner(shim_vm *vm);
/* The owner of the state that this thread resumes now, or NULL. */
void *shim_running_owner(void);
shim_usage shim_vm_usage(const shim_vm *vm);
/* Fields of records that were taken out of their messages since the beginning. */
uint64_t shim_vm_decoded_fields(const shim_vm *vm);
lua_State *shim_vm_main(shim_vm *vm);
shim_vm *shim_vm_of(lua_State *L);
uint32_t shim_control_get(shim_vm *vm);
void shim_control_set(shim_vm *vm, uint32_t bits);
void shim_control_clear(shim_vm *vm, uint32_t bits);
/* Where the last SHIM_CONTROL_KILL found the script, "script.lua:12"; "" before the first. The traceback of a coroutine that
 * a hook has stopped may be an instruction behind. */
const char *shim_vm_stopped_at(const shim_vm *vm);
/* How many contexts the running task has entered: the host sets it before each resume and whenever it changes. */
void shim_set_entered(shim_vm *vm, int entered);
/* ---- Limits (limits.c) ---- */

enum shim_over { SHIM_OVER_NOTHING, SHIM_OVER_MEMORY, SHIM_OVER_CPU, SHIM_OVER_OUTPUT };
/* The limit for which the state was stopped: what runs in it then never goes on. */
int shim_vm_over(const shim_vm *vm);
/* True if memory was refused to it at four times its limit: what happened in it since is not to be relied on. */
bool shim_vm_is_spoilt(const shim_vm *vm);
/* The state may run what cleans up: with `more` bytes than it has, and no other limit. */
void shim_vm_reprieve(shim_vm *vm, size_t more);
/* Bytes that the host holds for the state count as its memory, until they are given back: the first two on the state's
 * thread, the third on any. */
void shim_vm_charge(shim_vm *vm, size_t bytes);
void shim_vm_uncharge(shim_vm *vm, size_t bytes);
void shim_vm_give_back(shim_vm *vm, size_t bytes);
/* So many bytes stand in channels of the state's own. */
void shim_vm_set_queued(shim_vm *vm, size_t bytes);
enum { SHIM_OBJECT_BYTES = 512 }; /* charged for each host object that a state has */
/* Calls `visit` for each host object of a type that the state has. */
void shim_each_object(shim_vm *vm, const struct shim_type *type, void (*visit)(void *ref, void *context), void *context);
/* Bytes of the largest message that a script here may make; 0: as large as messages can be. */
void shim_vm_set_max_value(shim_vm *vm, size_t bytes);

/* For tests: see strike.c. */
enum { SHIM_STRIKE_NONE, SHIM_STRIKE_OVERDUE, SHIM_STRIKE_MEMORY, SHIM_STRIKE_PREEMPT, SHIM_STRIKE_CPU };
/* After so many instructions of `co`, which does not run now: the value in hand is overdue, the memory is full, or the slice
 * is over. [-0, +0, -] */
void shim_strike(shim_vm *vm, lua_State *co, int kind, int instructions);
/* How many of this thread's have stopped a worker so far. */
unsigned shim_strikes_landed(void);

/* ---- Bytes ---------------------------------------------------------------------------------------------- */

typedef struct shim_buffer { uint8_t *bytes; size_t used, capacity; } shim_buffer; /* malloc'd */
bool shim_buffer_reserve(shim_buffer *b, size_t more);  /* room for `more` bytes after `used`; false: no memory */
bool shim_buffer_append(shim_buffer *b, const void *bytes, size_t n);
void shim_buffer_free(shim_buffer *b);

enum { SHIM_PROBLEM_SIZE = 512 };
typedef struct shim_problem { char text[SHIM_PROBLEM_SIZE]; } shim_problem; /* a C string: what is wrong */

/* ---- Values and messages (codec.c) ---------------------------------------------------------------------- */

/* Appends the value at `index` as one message. 0, or -1 with `problem` filled ("cannot send value.a: ...") and
 * `out` unchanged. Metatables are left behind and no metamethod runs. Retains the objects it writes. [-0, +0, -] */
int shim_encode(lua_State *L, int index, shim_buffer *out, shim_problem *problem);
/* Pushes the value of one message; objects are retained anew. A record keeps a copy of it. [-0, +1, m] Only under
 * protection. */
void shim_decode(lua_State *L, const msg_header *message);
/* The same, protected: false with an error value pushed instead. [-0, +1, -] */
bool shim_decode_protected(lua_State *L, const msg_header *message);
/* Releases the objects of one message that has MSG_HAS_OBJECTS / retains them once more. */
void shim_message_release(const msg_header *message, void (*release)(void *));
void shim_message_retain(const msg_header *message, void (*retain)(void *));

/* ---- JSON (json_decode.c, json_encode.c) ----------------------------------------------------------------------------------- */

/* Pushes the value of a JSON text (RFC 8259, UTF-8 checked). On failure returns false, pushes nothing and fills
 * `problem`, "byte 17: expected ...". Depth limit MSG_MAX_DEPTH... [-0, +1/0, m] Only under protection. */
bool shim_json_decode(lua_State *L, const char *text, size_t length, shim_problem *problem);
/* Appends the value at `index` as JSON text, keys sorted by bytes. 0, or -1 with `problem`
 * ("cannot write value.a as JSON: nan ...") and `out` unchanged. [-0, +0, -] */
int shim_json_encode(lua_State *L, int index, shim_buffer *out, shim_problem *problem);

/* ---- Shared host objects (object.c) --------------------------------------------------------------------- */

typedef struct shim_type {
    const char *name;          /* "channel": tostring() and error messages */
    const char *phrase;        /* "a channel" */
    bool shared;               /* may cross to another worker */
    const shim_method *methods;
    const shim_method *metamethods; /* __len, __call, __close ...; NULL: none */
    void *(*word)(void *object);    /* the limiter_word of an object, which lives as long as it; NULL: they have none */
} shim_type;

/* Pushes the userdata of `ref` in this state, always the same one for the same ref while it is alive; retains
 * ref if it makes a new one. [-0, +1, m] */
void shim_push_object(lua_State *L, const shim_type *type, void *ref);
/* The same, protected: false and an error value pushed. [-0, +1, -] */
bool shim_push_object_protected(lua_State *L, const shim_type *type, void *ref);
/* The ref at `index` if it is an object of this type, else NULL. [-0, +0, -] */
void *shim_test_object(lua_State *L, int index, const shim_type *type);
/* The object of any type at `index`, its type in *type; NULL if it is none. [-0, +0, -] */
void *shim_any_object(lua_State *L, int index, const shim_type **type);

/* ---- select (select.c) ---------------------------------------------------------------------------------- */

typedef struct shim_selection shim_selection;
typedef struct shim_case { /* a receive or a send that is not disabled */
    void *channel;         /* kept by the script's table during the host's call */
    int index;             /* in the script's table, from 1 */
    int64_t offset;        /* of its message; -1: it receives */
} shim_case;

/* Pushes the function select(cases). It reads the cases and calls `callback` with what `after` says at index 2 of the
 * stack. That returns as host functions do, with the index of a case (or nil) as its first result; for SHIM_VALUE the
 * index is on top. [-0, +1, -] false: error pushed */
bool shim_push_select(lua_State *L, shim_callback callback, const shim_type *channel);
/* What was read last: valid during the call of `callback`, to which the objects of the messages belong. */
const shim_case *shim_selection_cases(shim_vm *vm, int *count);
const shim_buffer *shim_selection_messages(shim_vm *vm, bool *objects);
/* The number of the case with `after`, and of the one with `default`; 0: none. */
int shim_selection_after(shim_vm *vm);
int shim_selection_default(shim_vm *vm);
/* Pushes a function that calls `callback` with the object before its arguments (hold.c). [-0, +1, -] false: an error value */
bool shim_push_bound(lua_State *L, shim_callback callback, const shim_type *type, void *ref);

/* ---- Images (image.c) ----------------------------------------------------------------------------------- */

/* Encodes the top `count` stack values, and all that they reach, with the globals the script has set, additions
 * to library tables, and required modules. 0; or -1 with problem: "captures 'reader', a coroutine, which cannot
 * leave its worker". Runs no Lua code, raises nothing. [-0, +0, -] */
int shim_image_encode(lua_State *L, int count, shim_buffer *out, shim_problem *problem);
/* Rebuilds an image in a fresh state; pushes its roots. false: an error value is pushed. [-0, +count/1, -] */
bool shim_image_decode(lua_State *L, const uint8_t *bytes, size_t length);
/* Releases the host objects an image holds. */
void shim_image_release(const uint8_t *bytes, size_t length, void (*release)(void *));

/* ---- Assignments to captured variables (image_assignments.c) ---------------------------------------------- */

typedef struct shim_assignment {
    const void *variable;  /* as lua_upvalueid */
    int line;              /* of the first assignment */
    char name[64], file[LUA_IDSIZE];
} shim_assignment;
/* Appends to `found`, which holds `count` of at most `capacity`, the captured variables that are not there yet and that
 * the function at `index` assigns: itself, in functions nested in it, or in functions that its captured variables hold
 * (of a function of the embedded library: also those in lists that they hold). Returns the new count. Not a function of Lua's: none. [-0, +0, -] */
int shim_find_assignments(lua_State *L, int index, shim_assignment *found, int count, int capacity);

/* ---- Calls from the host -------------------------------------------------------------------------------- */

/* All [.., -]: they do not raise. Those that return bool push an error value on false. */
bool shim_push_bytes(lua_State *L, const void *bytes, size_t length);
bool shim_push_function(lua_State *L, shim_callback callback);
bool shim_new_table(lua_State *L);
bool shim_set_field(lua_State *L, int table, const char *name);   /* raw; pops the value */
int shim_get_field(lua_State *L, int table, const char *name);    /* raw; pushes, returns the type */
bool shim_next(lua_State *L, int table);                          /* as lua_next, false at the end */
/* Makes a record at `index` a plain table, for those who read it raw: next, count, elements. */
bool shim_settle(lua_State *L, int index);
/* Text only. LUA_OK and the function, or a status and the message. */
int shim_load(lua_State *L, const char *source, size_t length, const char *chunk_name);
/* Appends the Lua function on top, which stays there, in compiled form, debug information kept; false: no memory. Only
 * for chunks of the embedded library: compiled.c. [-0, +0, -] */
bool shim_dump(lua_State *L, shim_buffer *out);
/* As shim_load, of what shim_dump made. */
int shim_load_compiled(lua_State *L, const void *bytes, size_t length, const char *chunk_name);
/* lua_pcall for calls that run no script code (loading the embedded library). */
int shim_pcall(lua_State *L, int arguments, int results);
void shim_pop(lua_State *L, int count);
int shim_ref(lua_State *L);          /* registry reference of the popped value; 0 on no memory */
void shim_unref(lua_State *L, int reference);
void shim_push_ref(lua_State *L, int reference);
/* t[index] = the popped value, raw. */
bool shim_set_index(lua_State *L, int table, lua_Integer index);
/* The globals table, pushed. */
void shim_push_globals(lua_State *L);
/* Records the table on top, which it leaves there, as module `name` of the embedded library, with its functions: images
 * name them instead of copying them. Also makes it what require(name) returns. */
bool shim_record_library(lua_State *L, const char *name);
/* Marks the table on top as an array (stream.array). */
void shim_mark_array(lua_State *L);
/* shim_json_decode, protected: 0 and the value pushed; 1: `problem`; -1: an error value pushed. */
int shim_json_decode_protected(lua_State *L, const char *text, size_t length, shim_problem *problem);
/* A string for a person, no metamethod run: strings as they are, others with their type; a table's fields in
 * short. Appends to `out`. [-0, +0, -] */
void shim_describe(lua_State *L, int index, size_t limit, shim_buffer *out);
/* Tasks: a host coroutine. New one anchored in the registry; its reference in *reference. NULL: no memory. */
lua_State *shim_task_new(shim_vm *vm, int *reference);
/* Pushes what a task's function is called by, so that its `<close>` variables run when it raises. [-0, +1, -] */
void shim_push_task_body(lua_State *co);
/* Resumes with `arguments` values on co's stack. Returns LUA_OK, LUA_YIELD or an error status; *op tells why it
 * came back. After LUA_OK *results values are on co's stack. */
int shim_task_resume(shim_vm *vm, lua_State *co, int arguments, int *op, int *results);
void shim_task_free(shim_vm *vm, int reference);
/* True if a wait can reach the host from here. [-0, +0, -] */
bool shim_can_wait(lua_State *L);
/* Where the innermost Lua function of `co` is: "script.lua:12". Fills text. [-0, +0, -] */
void shim_where(lua_State *co, char *text, size_t size);
/* Encodes the value at `index` alone in the state's scratch buffer. NULL: shim_encode_problem says why not. */
const msg_header *shim_encode_scratch(lua_State *L, int index, shim_vm *vm);
const char *shim_encode_problem(shim_vm *vm);
void shim_set_inbox(shim_vm *vm, const msg_header *message);
/* A buffer of the state for the message that a host function is about to send. */
shim_buffer *shim_scratch(shim_vm *vm);

/* ---- Preemption (interrupt.c) --------------------------------------------------------------------------- */

/* Once a process: installs the SIGURG handler. */
void shim_interrupt_install(void);
/* Once a thread that resumes tasks: unblocks SIGURG there. */
void shim_interrupt_attach(void);

/* ---- For tests: memory that is refused (failures.c) ------------------------------------------------------ */

/* States that are made from now on take part. */
void shim_failures_enable(bool on);
/* Counts growths from now on, over all those states; those from number `from` to `from + count - 1` are refused. 0: none.
 * Lua tries again after a collection: of one that is refused alone nobody but the collector hears. */
void shim_failures_set(uint64_t from, uint64_t count);
uint64_t shim_failures_growths(void);

/* ---- Stage driver (driver.c) ---------------------------------------------------------------------------- */

enum shim_stage {
    SHIM_STAGE_MAP, SHIM_STAGE_FILTER, SHIM_STAGE_EACH, SHIM_STAGE_FLAT_MAP, SHIM_STAGE_SCAN, SHIM_STAGE_REDUCE,
    SHIM_STAGE_SINK, SHIM_STAGE_COLLECT, SHIM_STAGE_KEY, SHIM_STAGE_ROUTE
};
enum { /* what a driver that yields with SHIM_OP_WAIT asks of the host */
    SHIM_WANT_NOTHING, SHIM_WANT_INPUT, SHIM_WANT_OUTPUT, SHIM_WANT_JUDGEMENT
};
typedef struct shim_link {  /* one of several stages that run in one worker, value by value: driver_chain.c */
    int stage;
    uint64_t received, filtered, failed;
} shim_link;
typedef struct shim_limit { /* of one value in a stage, in nanoseconds and bytes; 0: none: driver_timeout.c, limits.c */
    int64_t timeout, cpu, output;
    int64_t deadline;       /* of the value that its function has; 0: it has none, or there is no timeout */
    bool active;            /* its function has a value; only where the function is wrapped */
    uint64_t turn;          /* counts those */
    uint64_t seen;          /* the value whose use is below */
    /* Written by the thread that runs the state, read by any: in one piece, without order. */
    int64_t cpu_used, cpu_peak, output_used, output_peak, time_used, time_peak;
} shim_limit;
typedef struct shim_keep {  /* of a stage whose values may be tried again: driver_keep.c */
    bool on;
    bool holds;             /* a flat_map: what it emits goes on when its function has returned, if that has not failed */
    bool gone;              /* in a chain: that has begun, so the value is not to be tried again */
    char value, state;      /* their addresses are the registry's slots of what is kept */
} shim_keep;
enum { SHIM_USE_CPU, SHIM_USE_OUTPUT, SHIM_USE_TIME };
/* What the value in hand has used so far, and the most that one used. Any thread. */
void shim_limit_use(const shim_limit *limit, int what, int64_t *used, int64_t *peak);
typedef struct shim_driver {
    /* input: the messages of the batch in hand that were not read yet */
    const uint8_t *cursor, *end;
    bool ended;             /* no input follows: return */
    /* output */
    shim_buffer out;
    uint32_t count, grant;  /* messages in out, and how many may be there before the host must be asked */
    bool objects;           /* messages in out may hold host objects */
    bool rendezvous;        /* each message is handed over before the next is made */
    bool closed;            /* nobody reads the output any more */
    bool drained;           /* a generator is to end: its emit says so, and what it has made goes on */
    bool generates;         /* the script's function has no input: it ends by itself, or when emit says that nobody listens */
    bool told;              /* emit has said so */
    /* state */
    int stage, want;
    int step;               /* where the driver goes on: driver.c */
    const msg_header *message; /* the value in hand, or NULL */
    struct shim_record *record; /* the transient record, or NULL: record.h */
    uint64_t received, emitted, filtered, failed;
    uint64_t created;       /* values that `emit` made */
    uint64_t consumed;      /* values that a flat_map, a reduce or a sink has taken and done with */
    uint64_t dropped;       /* values for whose results nobody was there any more */
    uint64_t held;          /* of a chain: values inside it, of which none of that is known yet */
    uint64_t marks;         /* MSG_MARK read: passed on, and neither received nor emitted */
    shim_problem problem;
    lua_State *owner;       /* the task that drives it now; only that one may emit, since only it is served */
    uint32_t lanes;         /* SHIM_STAGE_KEY: among how many workers its keys are dealt */
    /* a chain of stages */
    shim_link *links;       /* NULL: no chain */
    int length;
    int fault;              /* whose function failed */
    int current;            /* whose function was called last */
    /* limits */
    shim_limit *limits;     /* one for each stage; NULL: there are none but the state's own */
    bool process;           /* the script's function takes its values itself: `turn` counts them, and all tasks work on them */
    uint64_t turn;
    int64_t since;          /* when its task was resumed last after a wait */
    int entered;            /* stages in front, up to the last of which the host has made a context for their values */
    bool fresh;             /* a value has come since the host made contexts */
    bool overdue;           /* its value is over a limit, or the state is: the task is being stopped */
    int late;               /* emit waited, and the context in which it did has ended: 1 canceled, 2 deadline exceeded */
    /* second tries */
    shim_keep *keeps;       /* one for each stage; NULL: no stage has any */
    bool judging;           /* a failure that was counted is taken back: the host has not decided yet what follows */
    bool retry;             /* the host has decided that the value in hand is tried again */
    bool holding;           /* a flat_map's function runs, and what it emits is held */
    bool held_objects;      /* messages in `retained` hold host objects, which `release` lets go of */
    shim_buffer retained;   /* what it has emitted */
    size_t held_at;         /* where that which has not gone out begins */
    void (*release)(void *object);
} shim_driver;

/* True if the function at `index` surely does not keep what it gets as parameter number `parameter`, the first is 0:
 * escape.c. `returns`: it may return it. [-0, +0, -] */
bool shim_lets_go(lua_State *L, int index, unsigned parameter, bool returns);
/* Pushes the driver's function: call it with fn [, initial state] as a task. [-0, +1, -] false: error pushed */
bool shim_push_driver(lua_State *L, shim_driver *driver);
/* Values that were taken and of which nothing is known yet: their functions have them, or their results wait for room. When
 * its task has ended they are lost. */
uint64_t shim_values_in_hand(const shim_driver *driver);
/* The task was stopped: the value in hand has failed (of a chain the one that stage `fault` has). */
void shim_give_up_value(shim_driver *driver);
/* Pushes the traceback of `co` as a string, "" on no memory. [-0, +1, -] */
void shim_push_traceback(lua_State *L, lua_State *co);
#define SHIM_NOBODY_LISTENS "emit: nobody wants more values, and it has been told so"
/* Pushes `emit` of this driver for setup, flush and generate. */
bool shim_push_emit(lua_State *L, shim_driver *driver);

/* ---- Stages fused into one worker (driver_chain.c) ------------------------------------------------------ */

/* Makes the chain's table of `driver->length` functions and initial states, which are the top values of the stack:
 * function, state or nil for each stage, in order. Pops them. [-2n, +0/1, -] false: an error value pushed */
bool shim_chain_set(lua_State *L, shim_driver *driver);
/* Pushes the chain's task function; it takes no arguments. [-0, +1, -] false: error pushed */
bool shim_push_chain(lua_State *L, shim_driver *driver);
/* Pushes the `emit` of one stage: it takes a value through the stages behind it. [-0, +1, -] false: error pushed */
bool shim_push_chain_emit(lua_State *L, shim_driver *driver, int stage);
/* Pushes the state that a scan or a reduce has come to. [-0, +1, -] */
void shim_push_chain_state(lua_State *L, shim_driver *driver, int stage);
/* Pushes the function of one stage. [-0, +1, -] */
void shim_push_chain_function(lua_State *L, shim_driver *driver, int stage);
/* Pushes the value that the overdue function of a chain has. [-0, +1, -] */
void shim_push_limited_value(lua_State *L, shim_driver *driver);
/* Pushes the value that the function of the faulty stage had, as `co`, which is stopped, has it. [-0, +1, -] */
void shim_push_stopped_value(lua_State *L, lua_State *co, const shim_driver *driver);
/* From now on what the state uses is this driver's, whose stage is stopped where it is over a limit; NULL: nobody's. */
void shim_vm_limit(shim_vm *vm, shim_driver *driver);
/* The running task has put out so many bytes more. False: too many; it is stopped at its next instruction. [-0, +0, -] */
bool shim_count_output(shim_vm *vm, size_t bytes);
/* True if a function with a timeout has a value now. Only where there are limits. */
bool shim_has_value(const shim_driver *driver);
/* Pushes the value that the failed function of one stage of a chain got, not of the first; only of one that keeps it.
 * [-0, +1, -] */
void shim_push_kept_value(lua_State *L, shim_driver *driver, int stage);
/* Drops what a flat_map has emitted and was not passed on. */
void shim_drop_held(shim_driver *driver);
/* Pushes the error that the host is asked to judge, and the value that the function had. Wants four free slots. [-0, +2, -] */
void shim_push_chain_fault(lua_State *L, shim_driver *driver);

const char *shim_lua_release(void); /* "Lua 5.4.4", from lua_ident */
#endif
