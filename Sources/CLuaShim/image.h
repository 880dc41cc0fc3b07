/* A worker's image: what a stage's functions reach, as bytes. The bytes never leave the process: native byte order,
 * function pointers and host objects as they are. What the image files share.
 *
 * Layout: image_header; `refs` pointers to retained host objects; then three sections.
 *   create  one record for each object, in the order of their numbers (1, 2, ...): its kind, then
 *             TABLE     u32 array size, u32 pairs              LIBRARY, STDLIB  u32 length, name
 *             FUNCTION  u64 length, lua_dump's bytes, u8 upvalues, u32 cell for each
 *             STRING    u64 length, bytes                      CALLBACK         the pointer
 *             HOST      shim_type *, u32 position in refs
 *   meta    pairs of values: a table, its metatable. Set before any table is filled: see image_decode.c.
 *   fill    records, below; every object exists by then
 * A string of up to IMAGE_SHORT bytes is written where it stands; a longer one is an object, so that a text which
 * many tables share is there once. */
#ifndef CLUASHIM_IMAGE_H
#define CLUASHIM_IMAGE_H
#include "internal.h"

enum { IMAGE_MAGIC = 0x496d6731, IMAGE_SHORT = 40 };
enum { /* a value's tag, and what follows */
    IMAGE_NIL, IMAGE_FALSE, IMAGE_TRUE, IMAGE_NULL,
    IMAGE_INTEGER, IMAGE_FLOAT,
    IMAGE_STRING,     /* u32 length, bytes */
    IMAGE_CFUNCTION,  /* the pointer of a function without upvalues */
    IMAGE_OBJECT,     /* u32 number */
    IMAGE_GLOBALS, IMAGE_MODULES, IMAGE_ARRAY /* the state's own table of that kind */
};
enum { /* an object's kind */
    IMAGE_TABLE = 1, IMAGE_FUNCTION, IMAGE_LONG_STRING,
    IMAGE_LIBRARY,    /* "string" or "_G.print": in every fresh state, see image_pristine.c */
    IMAGE_STDLIB,     /* a name of the embedded standard library */
    IMAGE_CALLBACK, IMAGE_HOST
};
enum { /* records of the fill section */
    IMAGE_FILL_TABLE = 1, /* u32 number, u32 n, values 1...n, u32 pairs, key and value of each */
    IMAGE_FILL_CELL,      /* u32 cell, value: an upvalue, which several functions may share */
    IMAGE_FILL_SET,       /* table, key, value: a global, an addition to a library, a required module */
    IMAGE_FILL_ROOT,      /* value */
    IMAGE_FILL_MISSING    /* two strings: a global that stayed in its worker, its kind */
};

typedef struct image_header {
    uint32_t magic, objects, cells, roots, refs, missing;
    uint64_t create, meta, fill; /* bytes of each section */
} image_header;

/* ---- image_pristine.c: what is in every fresh state ---- */

/* Registry: table, both ways: "string" -> that library's table of this state, which -> "string"; and for functions
 * that are no plain pointers, function -> "string.gmatch". Globals are the library "_G". */
extern const char shim_key_libraries;

typedef struct pristine_entry {
    char *key;
    size_t key_length;
    int type;              /* a LUA_T... */
    bool integer;          /* of a number */
    bool named;            /* of a table or function: known in shim_key_libraries as `text` */
    union { bool boolean; lua_Integer integer; lua_Number number; lua_CFunction function; } value;
    char *text;            /* a string, or a name */
    size_t text_length;
} pristine_entry;
typedef struct pristine_library { char *name; pristine_entry *entries; size_t count; } pristine_library;
typedef struct pristine { pristine_library *libraries; size_t count; } pristine;

/* Under this name, which no library has, the metatable of strings is recorded too. */
#define IMAGE_STRING_METATABLE "#string"

/* What shim_pristine_record found; empty before it ran. */
const pristine *shim_image_pristine(void);
/* The same for a thread that has not made a state yet; NULL: nothing is recorded. */
const pristine *shim_image_pristine_ready(void);
/* The entry of that key, or NULL. */
const pristine_entry *shim_image_pristine_find(const pristine_library *library, const char *key, size_t length);
/* Whether the value at `index` is what a fresh state has there; `libraries` is the index of the table at
 * shim_key_libraries. [-0, +0, -] */
bool shim_image_is_pristine(lua_State *L, int index, int libraries, const pristine_entry *entry);

/* Once a state, right after the sandbox was opened. [-0, +0, m] */
void shim_libraries_record(lua_State *L);
/* After shim_libraries_record in every state; the first call of the process does the work. [-0, +0, e] */
void shim_pristine_record(lua_State *L);

/* ---- image_decode.c ---- */

/* The __index of the globals where something is missing. [-2, +1, e] */
int shim_image_read_missing(lua_State *L);
/* Loads the embedded library, so that the table at shim_key_stdlib is filled; elsewhere. [-0, +0, e] */
void shim_need_stdlib(lua_State *L);
#endif
