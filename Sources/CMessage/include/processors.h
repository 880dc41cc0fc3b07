/* How many processors the process may run on: fewer than there are where a container or taskset says so. In C, since
 * Swift does not see glibc's extensions, and here, since this is the only C below the scheduler. At least 1. */
#ifndef CMESSAGE_PROCESSORS_H
#define CMESSAGE_PROCESSORS_H
int msg_processors(void);
#endif
