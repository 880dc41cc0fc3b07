/* What the two halves of the encoder share: image_encode.c walks, image_globals.c says where else to begin. */
#ifndef CLUASHIM_IMAGE_ENCODE_H
#define CLUASHIM_IMAGE_ENCODE_H
#include "image.h"

enum { EDGE_ROOT, EDGE_FIELD, EDGE_INDEX, EDGE_OTHER, EDGE_KEY, EDGE_META, EDGE_UPVALUE };

typedef struct item { /* an object in the queue, and how it was reached */
    union { const char *name; lua_Integer index; } at; /* a name is the text of a Lua string that is in use */
    uint32_t parent;                                   /* the number of the table */
    uint8_t edge, kind;
} item;
typedef struct cell { uint32_t function; uint8_t upvalue; } cell;
typedef struct map { struct { const void *key; uint32_t number; } *slots; size_t capacity, count; } map;

typedef struct encoder {
    lua_State *L;
    shim_problem *problem;
    int roots;
    bool lenient;          /* the roots are done */
    const char *phrase;    /* the kind of what was refused last */
    map seen, seen_cells;  /* lua_topointer, lua_upvalueid -> number */
    item *items;           /* [number - 1] */
    uint32_t item_count, item_capacity, item_done;
    cell *cells;
    uint32_t cell_count, cell_capacity, cell_done;
    shim_buffer refs, create, meta, fill;
    uint32_t missing;
    const void *globals, *array;
    /* stack indices */
    int list;              /* number -> object */
    int stdlib, libraries; /* the registry's tables; nil where there is none */
    int stays;             /* the string "__stays" */
} encoder;

/* These end the encoding when there is no memory. */
void shim_image_put_byte(encoder *e, shim_buffer *to, uint8_t byte); /* [-0, +0, e] */
void shim_image_put_name(encoder *e, shim_buffer *to, const char *name); /* a string value [-0, +0, e] */
/* Appends the value at `index`, reached by `at`. False: refused, and nothing was written; e->phrase is its kind.
 * Where the encoder is not lenient a refusal ends the encoding. [-0, +0, e] */
bool shim_image_put_value(encoder *e, shim_buffer *to, int index, const item *at);
/* Whether `table`, a registry table's index, has a string for the value at `index`. [-0, +0, -] */
bool shim_image_is_named(encoder *e, int table, int index);
void shim_image_put_surroundings(encoder *e); /* globals, libraries, modules [-0, +0, e] */
#endif
