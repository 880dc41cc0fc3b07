/* What the driver of a stage asks of its neighbours. */
#ifndef CLUASHIM_DRIVER_H
#define CLUASHIM_DRIVER_H
#include "record.h"

/* True if the function at `index` surely does not keep what it gets as parameter number `parameter`, the first is 0.
 * `returns`: it may return it. [-0, +0, -] */
bool shim_lets_go(lua_State *L, int index, unsigned parameter, bool returns);
#endif
