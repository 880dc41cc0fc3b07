/* Records: tables whose fields stay in the message that brought them until a script asks for them.
 *
 * To a script a record is a table. It carries the record metatable, and under a key that no script can make
 * (SHIM_RECORD_KEY) a shim_record. Reads of absent keys come to `__index`, which takes the one field out of the message;
 * scalars are not kept in the table. A write goes to the table, and a bit says that for this field the table tells the
 * truth from now on, also when it says nil. A nested table is put into the table when it is read first, so that it is the
 * same one each time. What looks at a table as a whole (next, pairs, the encoders) has all fields put in first.
 *
 * The metatable stays for the record's life: by it the encoders find the text from which a record came, and give each
 * field that has not changed as it was written there (record_encode.c).
 *
 * An owned record has its message's bytes in its shim_record. A driver that knows that the script's function keeps no
 * record (escape.c) uses one table for all its messages: a transient one, whose message lies in the batch. */
#ifndef CLUASHIM_RECORD_H
#define CLUASHIM_RECORD_H
#include "internal.h"
#include "json.h"

struct shim_record {
    const msg_header *message; /* MSG_JSON, an object or array, or MSG_TABLE without array part and objects */
    uint64_t owned;            /* a bit for each field (by its position) for which the table tells the truth */
    bool filled;               /* for all fields */
    bool changed;              /* a script has written to the table */
    bool written;              /* its text is being written: met again, it is a cycle */
    bool searched;             /* the shape of a MSG_JSON without MSG_INDEXED was looked for */
    const msg_shape *shape;    /* of a MSG_JSON; NULL: none, any access fills */
    const uint32_t *offsets;   /* of its values in the text */
    uint32_t own_offsets[];    /* MSG_SHAPE_FIELDS of them where the message is not MSG_INDEXED */
};

/* Registry slots. */
/* In the registry the record metatable, in a record's table its shim_record. A number, no address as the other keys: where
 * it lies among a record's fields decides the order of `pairs`, which a seed is to repeat in another process. Scripts
 * have no light userdata but NULL. */
#define SHIM_RECORD_KEY ((const void *)(uintptr_t)8)
extern const char shim_key_names;       /* table: symbol + 1 -> the name as a string */

/* Makes the metatable. [-0, +0, m] */
void shim_open_records(lua_State *L);

/* The record at `index`, or NULL. [-0, +0, -] */
shim_record *shim_record_of(lua_State *L, int index);
/* Puts all fields of the record at `index` into its table. [-0, +0, m] */
void shim_record_fill(lua_State *L, int index, shim_record *r);
/* The same, protected; false: no memory. [-0, +0, -] */
bool shim_record_fill_protected(lua_State *L, int index, shim_record *r);
/* Makes the record at `index` a plain table. [-0, +0, m] */
void shim_record_settle(lua_State *L, int index, shim_record *r);

/* Whether a record is made of a message, rather than a table at once. */
bool shim_is_record(const msg_header *message);
/* Pushes an owned record. [-0, +1, m] */
void shim_push_record(lua_State *L, const msg_header *message);
/* Pushes a record of a text, which is copied. [-0, +1, m] */
void shim_push_json_record(lua_State *L, const char *text, uint32_t length);
/* Pushes a transient record's table, without a message yet. [-0, +1, m] */
shim_record *shim_push_transient(lua_State *L);
/* Lets the transient record at `index` be that of `message`; what a script put into its table goes. [-0, +0, m] */
void shim_renew_transient(lua_State *L, int index, shim_record *r, const msg_header *message);

/* True if the table still says what its message says. */
static inline bool shim_record_is_untouched(const shim_record *r) {
    return r->owned == 0 && !r->filled && !r->changed;
}
/* True at the key under which a table has its shim_record: to be passed over by whoever goes through a table.
 * [-0, +0, -] */
static inline bool shim_is_record_key(lua_State *L, int index) {
    return lua_type(L, index) == LUA_TLIGHTUSERDATA && lua_touserdata(L, index) == SHIM_RECORD_KEY;
}

/* ---- Names (names.c) ---- */

typedef struct shim_symbol_entry { const char *text; uint32_t symbol; } shim_symbol_entry;
enum { SHIM_CACHED_SYMBOLS = 256 };
struct shim_symbols { shim_symbol_entry entries[SHIM_CACHED_SYMBOLS]; };

static inline shim_symbol_entry *shim_cached_symbol(shim_vm *vm, const char *text) {
    uintptr_t address = (uintptr_t)text;
    return &vm->symbols->entries[(address >> 4 ^ address >> 12) % SHIM_CACHED_SYMBOLS];
}

/* shim_symbol_of, of a string that is not in the cache. */
uint32_t shim_find_symbol(lua_State *L, int index, const char *text, size_t length, bool make);

/* The symbol of the string at `index`; MSG_NO_SYMBOL: it has none. `make`: unless there are too many, it gets one.
 * [-0, +0, m], but - where vm->may_raise is false. */
static inline uint32_t shim_symbol_of(lua_State *L, int index, bool make) {
    shim_vm *vm = vm_of(L);
    size_t length;
    const char *text = lua_tolstring(L, index, &length);
    if (vm->symbols != NULL) {
        const shim_symbol_entry *entry = shim_cached_symbol(vm, text);
        if (entry->text == text) return entry->symbol;
    }
    return shim_find_symbol(L, index, text, length, make);
}
/* Pushes a symbol's name; `names` is the index of the table at shim_key_names. [-0, +1, m] */
void shim_push_name(lua_State *L, int names, uint32_t symbol);

/* ---- The text of a record (record_encode.c) ---- */

/* Appends the JSON text of the record at `index`, which came from JSON: what is unchanged as it came. 0, or -1: a value
 * in it has no JSON text, or there is no memory; *problem says which. `form.exact`: or it has one that would come back
 * as another value. [-0, +0, -] */
int shim_record_text(lua_State *L, int index, shim_record *r, shim_buffer *out, shim_problem *problem, json_form form);

/* ---- What stands in the globals in place of Lua's own: they know records ---- */

int shim_next_field(lua_State *L);   /* next [-n, +2/1, e] */
int shim_rawget(lua_State *L);       /* [-n, +1, e] */
int shim_rawset(lua_State *L);       /* [-n, +1, e] */
int shim_rawlen(lua_State *L);       /* [-n, +1, e] */
int shim_getmetatable(lua_State *L); /* [-n, +1, e] */
#endif
