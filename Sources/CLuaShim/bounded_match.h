/* The pattern matcher: Lua's patterns, matched by a loop with a stack of its own, which can pause. */
#ifndef CLUASHIM_BOUNDED_MATCH_H
#define CLUASHIM_BOUNDED_MATCH_H
#include "bounded.h"
#include <string.h>

enum {
    MATCH_DEPTH = 200,       /* as deep as Lua's own matcher goes before a pattern is "too complex" */
    MATCH_CAPTURES = 32,     /* as many as Lua's own has */
    CAPTURE_OPEN = -1,       /* in place of a capture's length: it has not ended yet */
    CAPTURE_POSITION = -2    /* it is a position */
};

typedef enum match_end { MATCH_FAILED, MATCH_FOUND, MATCH_PAUSED } match_end;

typedef struct match_capture { const char *start; ptrdiff_t length; } match_capture;

/* Where to go on when what follows does not match. */
typedef struct match_frame {
    const char *s;           /* what the item has matched ends here */
    const char *low;         /* MATCH_GREEDY: it may give back up to here */
    const char *p;           /* the pattern behind the item; MATCH_LAZY: the item */
    const char *end;         /* MATCH_LAZY: behind the item, before its '-' */
    int kind;
    int index;               /* MATCH_CLOSED: the capture's */
} match_frame;

typedef struct match_set { const char *p; uint64_t bits[4]; } match_set;

typedef struct matcher {
    lua_State *L;
    const char *subject, *subject_end, *pattern_end;
    const char *end;         /* of the match that was found */
    long steps;              /* until the next look at the control word */
    int captures;            /* begun */
    int depth;               /* frames in use */
    /* where a paused one goes on */
    const char *s, *p;
    const char *item_end;    /* NULL; else the item at `p` is being repeated from `low` on, and has come to `s` */
    const char *low;
    /* sets of the pattern that were matched often, as a bit for each byte */
    int sets, set_uses;
    match_set set[4];
    /* of a search for the first place that matches */
    const char *start, *pattern;
    bool anchored;
    int literal;             /* the character with which each match begins; -1: unknown */
    int first_kinds;         /* else the kinds of characters with which it does; 0: unknown */
    bool first_excludes;     /* of other kinds than those */
    match_capture capture[MATCH_CAPTURES];
    match_frame frames[MATCH_DEPTH];
} matcher;

/* Finds out with what each match begins. [-0, +0, -] */
void match_prepare(matcher *m);

static inline void matcher_init(matcher *m, lua_State *L, const char *s, size_t length, const char *p, size_t p_length) {
    m->L = L;
    m->subject = s;
    m->subject_end = s + length;
    m->pattern_end = p + p_length;
    m->steps = BOUNDED_STEPS;
    m->sets = 0;
    m->set_uses = 0;
    m->item_end = NULL;
    m->anchored = false;
    m->pattern = p;
    match_prepare(m);
}
/* The pattern's '^' is an anchor. */
static inline void matcher_anchor(matcher *m) {
    m->anchored = m->pattern != m->pattern_end && *m->pattern == '^';
    m->pattern += m->anchored;
}

/* Matches the pattern from `p` on, which has no anchor any more, at `s`. [-0, +0, v] */
match_end match_begin(matcher *m, const char *s, const char *p);
/* Goes on with one that paused. [-0, +0, v] */
match_end match_resume(matcher *m);
/* Searches the first match at or behind `start`; it is then at m->start. [-0, +0, v] */
match_end match_search(matcher *m, const char *start);
/* Goes on with a search that paused. [-0, +0, v] */
match_end match_search_on(matcher *m);
/* Pushes a copy of a matcher that paused, to go on with. [-0, +1, m] */
matcher *match_keep(const matcher *m);
/* The text of a capture, counted from 0, or the whole match from `s` on where there are none; *length may be CAPTURE_POSITION.
 * [-0, +0, v] */
const char *match_captured(matcher *m, int index, const char *s, ptrdiff_t *length);
/* Pushes all captures, or the whole match from `s` on if it is given and there are none; returns how many. [-0, +n, v] */
int match_push_captures(matcher *m, const char *s);
void match_push_capture(matcher *m, int index, const char *s);
#endif
