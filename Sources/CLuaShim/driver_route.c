/* A route's predicates say by a number where a value goes. The value is forwarded as it came, and the number travels behind
 * it, in 8 bytes that belong to the message until whoever moves it there takes them off again (FanPump). */
#include "internal.h"

bool shim_route(lua_State *L, shim_driver *d) {
    int64_t number = lua_tointeger(L, -1);
    size_t size = d->message->size, start = d->out.used - size;
    if (!shim_buffer_append(&d->out, &number, sizeof number))
        return false;
    ((msg_header *)(d->out.bytes + start))->size = (uint32_t)(size + sizeof number);
    return true;
}
