/* What the fuzz targets share: a sandboxed state with a small host of C functions, and comparing values. A target states
 * what must hold with `must`: a violation stops the fuzzer, which then writes the input down. */
#ifndef FUZZ_STATE_H
#define FUZZ_STATE_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"
#include "record.h"

#define must(condition, ...)                                                                                           \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: must hold: %s\n  ", __FILE__, __LINE__, #condition);                               \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_OBJECTS = 4 };
/* Host objects lie at addresses that are the same in each process, FUZZ_OBJECT_BASE + 64 * n, so that a kept input may
 * hold one. The even ones may cross to other states. */
#define FUZZ_OBJECT_BASE 0x200000000000ull
/* The object's address; made at the first call. */
void *fuzz_object(int number);
bool fuzz_is_object(const void *pointer);
/* How often objects are held, of all together. */
int fuzz_references(void);
void fuzz_retain(void *object);
void fuzz_release(void *object);

/* A state with a limit in bytes, 0: none; NULL: no memory. Globals beside the sandbox's: copy(v), json(text), to_json(v), array(t),
 * shared(), own(), wait(), raise_signal(), image(...), record(text), describe(v), choose(cases): what a host of ours gives to scripts, without Swift. */
shim_vm *fuzz_state(size_t limit);
/* Runs the function on top of the main stack, which it pops, as a task, resuming it until it ends, is stopped, or has come
 * back `rounds` times. Then frees the task. Lua's status; -1: there was no memory for a task. */
int fuzz_run(shim_vm *vm, int rounds);
/* What the last task raised, in words; "" */
const char *fuzz_error(void);
/* Lets the state go. It must give back every byte that it took, and every object. */
void fuzz_end(shim_vm *vm);

/* Equal to the type and the bit, tables by their fields, whatever the order. Makes records plain tables. */
bool fuzz_same(lua_State *L, int a, int b, int depth);
#endif
