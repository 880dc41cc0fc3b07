#include "CMessage.h"

_Static_assert(sizeof(msg_header) == MSG_HEADER_SIZE, "the header is 8 bytes");
_Static_assert(sizeof(void *) == 8, "object pointers take 8 bytes");
