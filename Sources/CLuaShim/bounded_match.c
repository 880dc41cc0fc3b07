/* See bounded_match.h. Written after the manual's section 6.4.1.
 *
 * A pattern is a row of items. An item that may match in several ways leaves a frame that says how to try the next way;
 * `(` and `)` leave frames that say what to take back. When an item does not match, the topmost frame is asked. The
 * number of frames is limited as Lua limits its recursion, so that the same patterns are refused. */
#include "bounded_match.h"
#include <limits.h>
#include <string.h>

enum { ESCAPE = '%' };
enum { MATCH_GREEDY, MATCH_LAZY, MATCH_OPTIONAL, MATCH_OPENED, MATCH_CLOSED };

/* ---- Classes of characters, as the C locale has them ---- */

enum {
    UPPER = 1, LOWER = 2, DIGIT = 4, SPACE = 8, PUNCTUATION = 16, CONTROL = 32, HEX = 64,
    LETTER = UPPER | LOWER, ALPHANUMERIC = LETTER | DIGIT, GRAPHIC = ALPHANUMERIC | PUNCTUATION
};

#define REPEAT_8(x) x, x, x, x, x, x, x, x
static const uint8_t kinds[256] = {
    REPEAT_8(CONTROL), CONTROL, CONTROL | SPACE, CONTROL | SPACE, CONTROL | SPACE, CONTROL | SPACE, CONTROL | SPACE,
    CONTROL, CONTROL, REPEAT_8(CONTROL), REPEAT_8(CONTROL),
    SPACE, REPEAT_8(PUNCTUATION), PUNCTUATION, PUNCTUATION, PUNCTUATION, PUNCTUATION, PUNCTUATION, PUNCTUATION,
    PUNCTUATION, /* to '/' */
    REPEAT_8(DIGIT | HEX), DIGIT | HEX, DIGIT | HEX,
    PUNCTUATION, PUNCTUATION, PUNCTUATION, PUNCTUATION, PUNCTUATION, PUNCTUATION, PUNCTUATION, /* to '@' */
    UPPER | HEX, UPPER | HEX, UPPER | HEX, UPPER | HEX, UPPER | HEX, UPPER | HEX,
    REPEAT_8(UPPER), REPEAT_8(UPPER), UPPER, UPPER, UPPER, UPPER,
    PUNCTUATION, PUNCTUATION, PUNCTUATION, PUNCTUATION, PUNCTUATION, PUNCTUATION, /* to '`' */
    LOWER | HEX, LOWER | HEX, LOWER | HEX, LOWER | HEX, LOWER | HEX, LOWER | HEX,
    REPEAT_8(LOWER), REPEAT_8(LOWER), LOWER, LOWER, LOWER, LOWER,
    PUNCTUATION, PUNCTUATION, PUNCTUATION, PUNCTUATION, CONTROL
};
#undef REPEAT_8

/* The kinds that the class letter stands for, small or capital; 0: it is no class. */
static inline int class_mask(uint8_t letter) {
    switch (letter | 0x20) {
    case 'a': return LETTER;
    case 'c': return CONTROL;
    case 'd': return DIGIT;
    case 'g': return GRAPHIC;
    case 'l': return LOWER;
    case 'p': return PUNCTUATION;
    case 's': return SPACE;
    case 'u': return UPPER;
    case 'w': return ALPHANUMERIC;
    case 'x': return HEX;
    default: return 0;
    }
}

/* Whether %`letter` matches `c`. */
static inline bool in_class(uint8_t c, uint8_t letter) {
    bool is_letter = kinds[letter] & LETTER;
    int mask = is_letter ? class_mask(letter) : 0;
    bool member;
    if (mask != 0) member = kinds[c] & mask;
    else if (is_letter && (letter | 0x20) == 'z') member = c == 0; /* of Lua 5.1 */
    else return letter == c;
    return (kinds[letter] & UPPER) ? !member : member;
}

/* ---- Sets ---- */

/* Calls for a look while something is gone through that no pause can interrupt. [-0, +0, v] */
static inline void count_bytes(matcher *m, const char *from, const char *at) {
    if (((at - from) & (BOUNDED_BYTES - 1)) >= BOUNDED_BYTES - 3) shim_look_up(m->L); /* `at` goes by up to three */
}

const char *match_item_end(matcher *m, const char *p) {
    const char *begin = p;
    char c = *p++;
    if (c == ESCAPE) {
        if (p == m->pattern_end) luaL_error(m->L, "malformed pattern (ends with '%%')");
        return p + 1;
    }
    if (c != '[') return p;
    if (*p == '^') p++;
    do { /* a ']' that comes first is a member */
        if (p == m->pattern_end) luaL_error(m->L, "malformed pattern (missing ']')");
        if (*p++ == ESCAPE && p < m->pattern_end) p++;
        count_bytes(m, begin, p);
    } while (*p != ']');
    m->steps -= (p - begin) >> 6;
    return p + 1;
}

/* Whether the set from `p`, its '[', to `end`, its ']', holds `c`. */
static bool in_set(matcher *m, uint8_t c, const char *p, const char *end) {
    bool inside = true;
    const char *begin = p++;
    if (*p == '^') {
        inside = false;
        p++;
    }
    for (; p < end; p++) {
        count_bytes(m, begin, p);
        if (*p == ESCAPE) {
            p++;
            if (in_class(c, (uint8_t)*p)) return inside;
        } else if (p[1] == '-' && p + 2 < end) {
            if ((uint8_t)p[0] <= c && c <= (uint8_t)p[2]) return inside;
            p += 2;
        } else if ((uint8_t)*p == c) {
            return inside;
        }
    }
    return !inside;
}

static inline bool in_bits(const match_set *set, uint8_t c) { return set->bits[c >> 6] >> (c & 63) & 1; }

/* The set as bits. Pays off from a few dozen characters on. */
static const match_set *make_bits(matcher *m, const char *p, const char *end) {
    match_set *set = &m->set[m->sets];
    const char *begin = p++;
    bool inside = *p != '^';
    match_set named = {NULL, {0}}; /* the classes that it had: a pattern may be megabytes of them */
    memset(set->bits, 0, sizeof set->bits);
    for (p += !inside; p < end; p++) {
        count_bytes(m, begin, p);
        uint8_t c = (uint8_t)*p;
        if (c == ESCAPE) {
            c = (uint8_t)*++p;
            if (in_bits(&named, c)) continue;
            named.bits[c >> 6] |= 1ull << (c & 63);
            for (int i = 0; i < 256; i++)
                if (in_class((uint8_t)i, c)) set->bits[i >> 6] |= 1ull << (i & 63);
        } else if (p[1] == '-' && p + 2 < end) {
            int last = (uint8_t)p[2];
            for (int word = c >> 6; c <= last && word <= last >> 6; word++) {
                uint64_t from = word == c >> 6 ? ~0ull << (c & 63) : ~0ull;
                uint64_t to = word == last >> 6 ? ~0ull >> (63 - (last & 63)) : ~0ull;
                set->bits[word] |= from & to;
            }
            p += 2;
        } else {
            set->bits[c >> 6] |= 1ull << (c & 63);
        }
    }
    for (int i = 0; !inside && i < 4; i++) set->bits[i] = ~set->bits[i];
    set->p = begin;
    m->sets++;
    return set;
}

static inline const match_set *made_bits(const matcher *m, const char *p) {
    for (int i = 0; i < m->sets; i++)
        if (m->set[i].p == p) return &m->set[i];
    return NULL;
}

enum { FREQUENT = 24, MOST_SETS = sizeof ((matcher *)0)->set / sizeof(match_set) };

/* in_set, which after some uses makes bits of the set. `end`: behind the ']'. */
static bool in_frequent_set(matcher *m, uint8_t c, const char *p, const char *end) {
    const match_set *set = made_bits(m, p);
    if (set == NULL) {
        if (m->sets == MOST_SETS || ++m->set_uses < FREQUENT) return in_set(m, c, p, end - 1);
        m->set_uses = 0;
        set = make_bits(m, p, end - 1);
    }
    return in_bits(set, c);
}

/* Whether the single item from `p` to `end` matches the character at `s`. */
static inline bool matches_one(matcher *m, const char *s, const char *p, const char *end) {
    if (s >= m->subject_end) return false;
    uint8_t c = (uint8_t)*s;
    switch (*p) {
    case '.': return true;
    case ESCAPE: return in_class(c, (uint8_t)p[1]);
    case '[': return in_frequent_set(m, c, p, end);
    default: return (uint8_t)*p == c;
    }
}

/* How far the single item matches from `s` on, at most to `limit`. */
static const char *span(matcher *m, const char *s, const char *limit, const char *p, const char *end) {
    uint8_t c = (uint8_t)*p;
    if (c == '.') return limit;
    if (c == ESCAPE) {
        uint8_t letter = (uint8_t)p[1];
        int mask = kinds[letter] & LETTER ? class_mask(letter) : 0;
        if (mask != 0) {
            if (kinds[letter] & UPPER) while (s < limit && !(kinds[(uint8_t)*s] & mask)) s++;
            else while (s < limit && kinds[(uint8_t)*s] & mask) s++;
        } else {
            while (s < limit && in_class((uint8_t)*s, letter)) s++;
        }
        return s;
    }
    if (c != '[') {
        while (s < limit && (uint8_t)*s == c) s++;
        return s;
    }
    if (p[1] == '^' && (p[2] != ESCAPE ? end - p == 4 : end - p == 5 && !(kinds[(uint8_t)p[3]] & LETTER))) {
        /* all but one, [^x] or [^%x]: the most frequent set */
        const char *found = memchr(s, end[-2], (size_t)(limit - s));
        return found != NULL ? found : limit;
    }
    const match_set *set = made_bits(m, p);
    for (; set == NULL; s++) {
        if (m->sets < MOST_SETS && ++m->set_uses >= FREQUENT) {
            m->set_uses = 0;
            set = make_bits(m, p, end - 1);
            break;
        }
        if (s >= limit || !in_set(m, (uint8_t)*s, p, end - 1)) return s;
    }
    while (s < limit && in_bits(set, (uint8_t)*s)) s++;
    return s;
}

/* ---- Captures ---- */

/* The capture that \1 ... \9 in a pattern names. */
static int named_capture(matcher *m, char digit) {
    int index = digit - '1';
    if (index < 0 || index >= m->captures || m->capture[index].length == CAPTURE_OPEN)
        return luaL_error(m->L, "invalid capture index %%%d", index + 1);
    return index;
}

/* The capture that a ')' ends. */
static int open_capture(matcher *m) {
    for (int index = m->captures - 1; index >= 0; index--)
        if (m->capture[index].length == CAPTURE_OPEN) return index;
    return luaL_error(m->L, "invalid pattern capture");
}

const char *match_captured(matcher *m, int index, const char *s, ptrdiff_t *length) {
    if (index >= m->captures) {
        if (index != 0) luaL_error(m->L, "invalid capture index %%%d", index + 1);
        *length = m->end - s;
        return s;
    }
    *length = m->capture[index].length;
    if (*length == CAPTURE_OPEN) luaL_error(m->L, "unfinished capture");
    return m->capture[index].start;
}

void match_push_capture(matcher *m, int index, const char *s) {
    ptrdiff_t length;
    const char *text = match_captured(m, index, s, &length);
    if (length == CAPTURE_POSITION) lua_pushinteger(m->L, text - m->subject + 1);
    else lua_pushlstring(m->L, text, (size_t)length);
}

int match_push_captures(matcher *m, const char *s) {
    int count = m->captures == 0 && s != NULL ? 1 : m->captures;
    luaL_checkstack(m->L, count, "too many captures");
    for (int i = 0; i < count; i++) match_push_capture(m, i, s);
    return count;
}

/* ---- Matching ---- */

static inline match_frame *push_frame(matcher *m, int kind) {
    if (m->depth == MATCH_DEPTH - 1) luaL_error(m->L, "pattern too complex");
    match_frame *frame = &m->frames[m->depth++];
    frame->kind = kind;
    return frame;
}

/* Behind the text that %b, with its two characters at `p`, matches at `s`; NULL: none. */
static const char *balanced(matcher *m, const char *s, const char *p) {
    if (p >= m->pattern_end - 1) luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
    if (*s != *p) return NULL;
    char opening = p[0], closing = p[1];
    size_t open = 1;
    for (const char *begin = s++; s < m->subject_end; s++) {
        count_bytes(m, begin, s);
        if (*s == closing) {
            if (--open == 0) {
                m->steps -= (s - begin) >> 6;
                return s + 1;
            }
        } else if (*s == opening) {
            open++;
        }
        if (((s - begin) & 63) == 63) m->steps--;
    }
    return NULL;
}

/* Goes on at `s` and `p`, or, where `s` is NULL, with the topmost frame. */
static match_end run(matcher *m, const char *s, const char *p) {
    const char *const pattern_end = m->pattern_end;
    const char *end, *low, *limit;
    match_frame *frame;
    if (s == NULL) goto failed;
    if (m->item_end != NULL) {
        end = m->item_end;
        low = m->low;
        m->item_end = NULL;
        goto repeat;
    }

next:
    if (--m->steps < 0) {
        m->steps = BOUNDED_STEPS;
        if (shim_look_up(m->L)) {
            m->s = s;
            m->p = p;
            return MATCH_PAUSED;
        }
    }
    if (p == pattern_end) {
        m->end = s;
        return MATCH_FOUND;
    }
    switch (*p) {
    case '(':
        if (m->captures >= MATCH_CAPTURES) luaL_error(m->L, "too many captures");
        m->capture[m->captures].start = s;
        if (p[1] == ')') {
            m->capture[m->captures].length = CAPTURE_POSITION;
            p += 2;
        } else {
            m->capture[m->captures].length = CAPTURE_OPEN;
            p++;
        }
        m->captures++;
        push_frame(m, MATCH_OPENED);
        goto next;
    case ')': {
        int index = open_capture(m);
        m->capture[index].length = s - m->capture[index].start;
        push_frame(m, MATCH_CLOSED)->index = index;
        p++;
        goto next;
    }
    case '$':
        if (p + 1 != pattern_end) break;
        if (s != m->subject_end) goto failed;
        m->end = s;
        return MATCH_FOUND;
    case ESCAPE:
        switch (p[1]) {
        case 'b':
            s = balanced(m, s, p + 2);
            if (s == NULL) goto failed;
            p += 4;
            goto next;
        case 'f': {
            p += 2;
            if (*p != '[') luaL_error(m->L, "missing '[' after '%%f' in pattern");
            end = match_item_end(m, p);
            uint8_t before = s == m->subject ? 0 : (uint8_t)s[-1];
            if (in_frequent_set(m, before, p, end) || !in_frequent_set(m, (uint8_t)*s, p, end)) goto failed;
            p = end;
            goto next;
        }
        case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9': {
            const match_capture *capture = &m->capture[named_capture(m, p[1])];
            size_t length = (size_t)capture->length;
            if ((size_t)(m->subject_end - s) < length || memcmp(capture->start, s, length) != 0) goto failed;
            m->steps -= (long)(length >> 10);
            s += length;
            p += 2;
            goto next;
        }
        default: break;
        }
        break;
    default: break;
    }
    /* a single character, and what is behind it */
    {
        const uint8_t c = (uint8_t)*p;
        end = c == ESCAPE || c == '[' ? match_item_end(m, p) : p + 1;
    }
    switch (*end) { /* at the pattern's end stands a zero */
    case '?':
        if (matches_one(m, s, p, end)) {
            frame = push_frame(m, MATCH_OPTIONAL);
            frame->s = s;
            frame->p = end + 1;
            s++;
        }
        p = end + 1;
        goto next;
    case '+':
        if (!matches_one(m, s, p, end)) goto failed;
        s++;
        low = s;
        goto repeat;
    case '*':
        if (!matches_one(m, s, p, end)) {
            p = end + 1;
            goto next;
        }
        low = s++;
        goto repeat;
    case '-':
        if (!matches_one(m, s, p, end)) {
            p = end + 1;
            goto next;
        }
        frame = push_frame(m, MATCH_LAZY);
        frame->s = s;
        frame->p = p;
        frame->end = end;
        p = end + 1;
        goto next;
    default:
        if (!matches_one(m, s, p, end)) goto failed;
        s++;
        p = end;
        goto next;
    }

repeat: /* the item from p to end, as often as it matches; it has, from low to s */
    for (;;) {
        limit = m->subject_end - s > BOUNDED_BYTES ? s + BOUNDED_BYTES : m->subject_end;
        const char *from = s;
        s = span(m, s, limit, p, end);
        m->steps -= (s - from) >> 6;
        if (s < limit || s == m->subject_end) break;
        if (m->steps < 0) {
            m->steps = BOUNDED_STEPS;
            if (shim_look_up(m->L)) {
                m->s = s;
                m->p = p;
                m->low = low;
                m->item_end = end;
                return MATCH_PAUSED;
            }
        }
    }
    p = end + 1;
    frame = push_frame(m, MATCH_GREEDY);
    frame->s = s;
    frame->low = low;
    frame->p = p;
    goto next;

failed:
    for (;;) {
        if (m->depth == 0) return MATCH_FAILED;
        frame = &m->frames[m->depth - 1];
        switch (frame->kind) {
        case MATCH_GREEDY:
            if (frame->s > frame->low) {
                s = --frame->s;
                p = frame->p;
                goto next;
            }
            m->depth--;
            break;
        case MATCH_LAZY:
            s = frame->s;
            if (matches_one(m, s, frame->p, frame->end)) {
                frame->s = ++s;
                p = frame->end + 1;
                goto next;
            }
            m->depth--;
            break;
        case MATCH_OPTIONAL:
            s = frame->s;
            p = frame->p;
            m->depth--;
            goto next;
        case MATCH_OPENED:
            m->captures--;
            m->depth--;
            break;
        default: /* MATCH_CLOSED */
            m->capture[frame->index].length = CAPTURE_OPEN;
            m->depth--;
            break;
        }
    }
}

match_end match_begin(matcher *m, const char *s, const char *p) {
    m->captures = 0;
    m->depth = 0;
    return run(m, s, p);
}

match_end match_resume(matcher *m) { return run(m, m->s, m->p); }

/* ---- Searching ---- */

void match_prepare(matcher *m) {
    const char *p = m->pattern;
    m->literal = -1;
    m->first_kinds = 0;
    if (p == m->pattern_end) return;
    switch (*p) {
    case '^': case '$': case '*': case '+': case '?': case '.': case '(': case ')': case '[': case '-': return;
    case ESCAPE: {
        uint8_t letter = (uint8_t)p[1];
        if (p[1] == '\0' || !(kinds[letter] & LETTER) || letter == 'b' || letter == 'f' || p[2] == '*' || p[2] == '?' ||
            p[2] == '-')
            return;
        m->first_kinds = class_mask(letter);
        m->first_excludes = kinds[letter] & UPPER;
        return;
    }
    default:
        if (p[1] != '*' && p[1] != '?' && p[1] != '-') m->literal = (uint8_t)*p;
    }
}

/* candidate, by the kind of the first character. */
static const char *candidate_of_kind(matcher *m, const char *s) {
    const int mask = m->first_kinds;
    for (;;) {
        const char *limit = m->subject_end - s > BOUNDED_BYTES ? s + BOUNDED_BYTES : m->subject_end;
        if (m->first_excludes) while (s < limit && kinds[(uint8_t)*s] & mask) s++;
        else while (s < limit && !(kinds[(uint8_t)*s] & mask)) s++;
        if (s < limit) return s;
        if (s == m->subject_end) return NULL;
        shim_look_up(m->L);
    }
}

/* The first place from `s` on where a match can begin; NULL: none. */
static const char *candidate(matcher *m, const char *s) {
    if (m->anchored) return s;
    if (m->first_kinds != 0) return candidate_of_kind(m, s);
    if (m->literal < 0) return s;
    for (;;) {
        size_t rest = (size_t)(m->subject_end - s), length = rest < BOUNDED_BYTES ? rest : BOUNDED_BYTES;
        const char *found = memchr(s, m->literal, length);
        if (found != NULL || length == rest) return found;
        s += length;
        shim_look_up(m->L);
    }
}

static match_end search(matcher *m, match_end end) {
    while (end == MATCH_FAILED) {
        if (m->anchored || m->start == m->subject_end) return MATCH_FAILED;
        m->start = candidate(m, m->start + 1);
        if (m->start == NULL) return MATCH_FAILED;
        end = match_begin(m, m->start, m->pattern);
    }
    return end;
}

match_end match_search(matcher *m, const char *start) {
    m->start = candidate(m, start);
    return m->start == NULL ? MATCH_FAILED : search(m, match_begin(m, m->start, m->pattern));
}

match_end match_search_on(matcher *m) { return search(m, match_resume(m)); }

matcher *match_keep(const matcher *m) {
    luaL_checkstack(m->L, 2, "too many values");
    matcher *kept = lua_newuserdatauv(m->L, sizeof *kept, 0);
    memcpy(kept, m, offsetof(matcher, frames) + (size_t)m->depth * sizeof(match_frame));
    return kept;
}
