/* Names of fields as numbers, one table for the whole program: a key that travels as a symbol keeps its meaning in
 * every worker, and comparing two of them is comparing two numbers.
 *
 * Symbols are never given back, so their number is bounded: past it, and for long names, there is no symbol, and the
 * name itself travels. All functions may be called on any thread; only the making of a new symbol takes a lock. */
#ifndef CMESSAGE_SYMBOL_H
#define CMESSAGE_SYMBOL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MSG_SYMBOLS = 1 << 14, MSG_SYMBOL_LENGTH = 40 };
#define MSG_NO_SYMBOL UINT32_MAX

/* The symbol of a name, made if there is none yet; MSG_NO_SYMBOL: too long, or too many. */
uint32_t msg_symbol(const char *name, size_t length);
/* The symbol of a name if it has one. */
uint32_t msg_symbol_find(const char *name, size_t length);
/* The name of a symbol; valid for ever. */
const char *msg_symbol_name(uint32_t symbol, size_t *length);
/* False: no symbol has that number. */
bool msg_symbol_exists(uint32_t symbol);
#endif
