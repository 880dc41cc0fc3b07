/* Chunks of the embedded library in compiled form: a process parses each once, and every state after that loads the
 * result. The bytes never leave the process, and nothing of a script's is ever loaded this way: nothing checks them. */
#include "internal.h"

/* A lua_Writer. [-0, +0, -] */
static int append(lua_State *L, const void *piece, size_t size, void *buffer) {
    (void)L;
    return shim_buffer_append(buffer, piece, size) ? 0 : 1;
}

bool shim_dump(lua_State *L, shim_buffer *out) {
    size_t before = out->used;
    if (lua_dump(L, append, out, 0) == 0) return true;
    out->used = before;
    return false;
}

int shim_load_compiled(lua_State *L, const void *bytes, size_t length, const char *chunk_name) {
    return luaL_loadbufferx(L, bytes, length, chunk_name, "b");
}
