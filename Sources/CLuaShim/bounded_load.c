/* Compiling a text: Lua's compiler gets it in pieces, with looks between them. */
#include "bounded.h"

enum { PIECE = 32 << 10 }; /* a few milliseconds of compiling */

typedef struct text {
    const char *at;
    size_t left;
    bool looks; /* in a look: what is raised is no mistake of the text's */
} text;

/* A lua_Reader. Nothing can wait in the compiler: where the script is to end this raises. [-0, +0, v] */
static const char *next_piece(lua_State *L, void *data, size_t *size) {
    text *t = data;
    const char *piece = t->at;
    t->looks = true;
    shim_look_up(L);
    t->looks = false;
    *size = t->left < PIECE ? t->left : PIECE;
    t->at += *size;
    t->left -= *size;
    return *size == 0 ? NULL : piece;
}

int shim_load_text(lua_State *L, const char *source, size_t length, const char *name) {
    text t = {source, length, false};
    int status = lua_load(L, next_piece, &t, name, "t");
    if (status != LUA_OK && t.looks) lua_error(L);
    return status;
}
