/* What ThreadSanitizer wants to see of Lua's jumps; nothing in other builds. */
#include "internal.h"
#include <setjmp.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
/* Debian's Lua jumps by glibc's fortified longjmp, which ThreadSanitizer does not know: it would take each function of ours
 * that is jumped over for one that never returns, until its own stack of calls overflows. It knows this one. */
_Noreturn void __longjmp_chk(struct __jmp_buf_tag *environment, int value) { longjmp(environment, value); }
#endif
#endif
