/* string.find, match, gmatch, gsub. They can be preempted while they match, and gsub's function may wait. */
#include "bounded_match.h"

/* ---- Searching for a text as it is ---- */

/* Where the text `p` is in `s` of this length; NULL: nowhere. The lengths are small or the text is. */
static const char *find_text(const char *s, size_t length, const char *p, size_t p_length) {
    if (p_length == 1) return memchr(s, *p, length);
    const char *last = s + length - p_length; /* where it can begin at the latest */
    while (s <= last) {
        s = memchr(s, *p, (size_t)(last - s) + 1);
        if (s == NULL || memcmp(s, p, p_length) == 0) return s;
        s++;
    }
    return NULL;
}

static int find_plain_on(lua_State *L, int status, lua_KContext from);

/* find(s, p, ...) without a pattern, from the offset `from` on. [-0, +2/1, v] */
static int find_plain(lua_State *L, size_t from) {
    size_t length, p_length;
    const char *s = lua_tolstring(L, 1, &length), *p = lua_tolstring(L, 2, &p_length);
    const char *found = NULL;
    size_t offset = from;
    if (p_length == 0) {
        found = s + from;
    } else if (length - from <= BOUNDED_STEPS) { /* short enough for one go */
        if (length - from >= p_length) found = find_text(s + from, length - from, p, p_length);
        offset = length;
    }
    while (found == NULL && length - offset >= p_length) {
        /* a window holds so many places where the text can begin that they and its length stay in proportion */
        size_t places = BOUNDED_BYTES / (p_length / 64 + 1) + 1, all = length - offset - p_length + 1;
        if (places > all) places = all;
        found = find_text(s + offset, places + p_length - 1, p, p_length);
        offset += places;
        if (found == NULL && places < all && shim_look_up(L)) return shim_give_way(L, (lua_KContext)offset, find_plain_on);
    }
    if (found == NULL) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, found - s + 1);
    lua_pushinteger(L, found - s + (lua_Integer)p_length);
    return 2;
}

static int find_plain_on(lua_State *L, int status, lua_KContext from) {
    (void)status;
    return find_plain(L, (size_t)from);
}

/* No character of the pattern is special. [-0, +0, v] */
static bool is_plain(lua_State *L, const char *p, size_t length) {
    for (size_t i = 0; i < length; i++) {
        switch (p[i]) {
        case '^': case '$': case '*': case '+': case '?': case '.': case '(': case '[': case '%': case '-': return false;
        default: break;
        }
        if ((i & (BOUNDED_BYTES - 1)) == BOUNDED_BYTES - 1) shim_look_up(L);
    }
    return true;
}

/* ---- find, match ---- */

enum { FIND, MATCH };
static int search_on(lua_State *L, int status, lua_KContext kind);

/* What find or match return. [-0, +n, v] */
static int searched(lua_State *L, matcher *m, match_end end, int kind) {
    switch (end) {
    case MATCH_PAUSED:
        if (lua_touserdata(L, 5) != m) {
            lua_settop(L, 4);
            match_keep(m);
        }
        return shim_give_way(L, kind, search_on);
    case MATCH_FAILED:
        lua_pushnil(L);
        return 1;
    default:
        if (kind == MATCH) return match_push_captures(m, m->start);
        lua_pushinteger(L, m->start - m->subject + 1);
        lua_pushinteger(L, m->end - m->subject);
        return match_push_captures(m, NULL) + 2;
    }
}

static int search_on(lua_State *L, int status, lua_KContext kind) {
    (void)status;
    matcher *m = lua_touserdata(L, 5);
    return searched(L, m, match_search_on(m), (int)kind);
}

/* [-n, +n, v] */
static int search(lua_State *L, int kind) {
    size_t length, p_length;
    const char *s = luaL_checklstring(L, 1, &length), *p = luaL_checklstring(L, 2, &p_length);
    size_t from = bounded_start(luaL_optinteger(L, 3, 1), length) - 1;
    if (from > length) {
        lua_pushnil(L);
        return 1;
    }
    if (kind == FIND && (lua_toboolean(L, 4) || is_plain(L, p, p_length))) return find_plain(L, from);
    matcher m;
    matcher_init(&m, L, s, length, p, p_length);
    matcher_anchor(&m);
    return searched(L, &m, match_search(&m, s + from), kind);
}

/* string.find(s, pattern [, init [, plain]]) [-n, +n, v] */
static int find(lua_State *L) { return search(L, FIND); }

/* string.match(s, pattern [, init]) [-n, +n, v] */
static int match(lua_State *L) { return search(L, MATCH); }

/* ---- gmatch ---- */

typedef struct iteration { size_t from, last; } iteration; /* offsets; `last`: of the end of the last match */
enum { NOWHERE = -1 };

static int iterate_on(lua_State *L, int status, lua_KContext context);

/* The next match, or the one that is being searched (`on`: the matcher is at 1). A match that ends where the one before
 * ended is none. [-0, +n, v] */
static int iterate(lua_State *L, matcher *m, iteration *i, bool on) {
    for (;;) {
        match_end end = on ? match_search_on(m) : match_search(m, m->subject + i->from);
        on = false;
        if (end == MATCH_PAUSED) {
            if (lua_touserdata(L, 1) != m) {
                lua_settop(L, 0);
                match_keep(m);
            }
            return shim_give_way(L, 0, iterate_on);
        }
        if (end == MATCH_FAILED) {
            i->from = (size_t)(m->subject_end - m->subject) + 1;
            return 0;
        }
        if ((size_t)(m->end - m->subject) == i->last) {
            i->from = (size_t)(m->start - m->subject) + 1;
            if (m->start == m->subject_end) return 0;
            continue;
        }
        i->from = i->last = (size_t)(m->end - m->subject);
        return match_push_captures(m, m->start);
    }
}

static int iterate_on(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    return iterate(L, lua_touserdata(L, 1), lua_touserdata(L, lua_upvalueindex(3)), true);
}

/* What gmatch returns; upvalues: subject, pattern, iteration. [-n, +n, v] */
static int next_match(lua_State *L) {
    size_t length, p_length;
    const char *s = lua_tolstring(L, lua_upvalueindex(1), &length);
    const char *p = lua_tolstring(L, lua_upvalueindex(2), &p_length);
    iteration *i = lua_touserdata(L, lua_upvalueindex(3));
    if (i->from > length) return 0;
    matcher m;
    lua_settop(L, 0);
    matcher_init(&m, L, s, length, p, p_length);
    return iterate(L, &m, i, false);
}

/* string.gmatch(s, pattern [, init]) [-n, +1, v] */
static int gmatch(lua_State *L) {
    size_t length;
    luaL_checklstring(L, 1, &length);
    luaL_checkstring(L, 2);
    size_t from = bounded_start(luaL_optinteger(L, 3, 1), length) - 1;
    lua_settop(L, 2);
    iteration *i = lua_newuserdatauv(L, sizeof *i, 0);
    *i = (iteration){from > length ? length + 1 : from, (size_t)NOWHERE};
    lua_pushcclosure(L, next_match, 3);
    return 1;
}

/* ---- gsub ---- */

enum { SUBJECT = 1, PATTERN, REPLACEMENT, MOST, BUILDER, MATCHER }; /* gsub's stack */

/* Adds the replacement string for the match. [-0, +0, v] */
static builder *add_string(matcher *m, builder *b) {
    lua_State *L = m->L;
    size_t length;
    const char *text = lua_tolstring(L, REPLACEMENT, &length), *end = text + length, *escape;
    while ((escape = memchr(text, '%', (size_t)(end - text))) != NULL) {
        b = builder_add(L, b, text, (size_t)(escape - text));
        char c = *++escape;
        text = escape + 1;
        if (c == '%') {
            b = builder_add(L, b, "%", 1);
        } else if (c == '0') {
            b = builder_add(L, b, m->start, (size_t)(m->end - m->start));
        } else if (c >= '1' && c <= '9') {
            ptrdiff_t captured;
            const char *bytes = match_captured(m, c - '1', m->start, &captured);
            if (captured == CAPTURE_POSITION) {
                lua_pushinteger(L, bytes - m->subject + 1);
                size_t digits;
                const char *number = lua_tolstring(L, -1, &digits);
                b = builder_add(L, b, number, digits);
                lua_pop(L, 1);
            } else {
                b = builder_add(L, b, bytes, (size_t)captured);
            }
        } else {
            luaL_error(L, "invalid use of '%c' in replacement string", '%');
        }
        if (m->steps-- < 0) {
            m->steps = BOUNDED_STEPS;
            shim_look_up(L);
        }
    }
    return builder_add(L, b, text, (size_t)(end - text));
}

/* Adds the value on top, which replaces the subject from b->offset to b->last. [-1, +0, v] */
static builder *add_value(lua_State *L, builder *b, const char *subject) {
    size_t length;
    if (!lua_toboolean(L, -1)) {
        b = builder_add(L, b, subject + b->offset, b->last - b->offset);
    } else {
        if (!lua_isstring(L, -1)) luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
        const char *text = lua_tolstring(L, -1, &length);
        b = builder_add(L, b, text, length);
        b->at = true;
    }
    lua_pop(L, 1);
    return b;
}

static int gsub_called(lua_State *L, int status, lua_KContext context);
static int gsub_paused(lua_State *L, int status, lua_KContext context);

/* Goes on behind the last match; `on`: in the search of the matcher. b->offset is what was copied so far, b->last the end
 * of the last match, b->count their number, b->at whether anything is changed. [-0, +2, v] */
static int substitute(lua_State *L, matcher *m, builder *b, bool on) {
    lua_Integer most = luaL_optinteger(L, MOST, (lua_Integer)(m->subject_end - m->subject) + 1);
    int type = lua_type(L, REPLACEMENT);
    const char *from = m->subject + b->offset;
    while (b->count < most) {
        match_end end;
        if (on) {
            end = match_search_on(m);
            on = false;
        } else {
            end = match_search(m, from);
        }
        if (end == MATCH_FAILED) break;
        if (end == MATCH_PAUSED) {
            b = builder_anchor(L, b);
            if (lua_touserdata(L, MATCHER) != m) {
                match_keep(m);
                lua_replace(L, MATCHER);
            }
            return shim_give_way(L, 0, gsub_paused);
        }
        if ((size_t)(m->end - m->subject) == b->last) { /* an empty one where the last one ended */
            if (m->start == m->subject_end || m->anchored) break;
            from = m->start + 1;
            continue;
        }
        b->count++;
        b = builder_add(L, b, m->subject + b->offset, (size_t)(m->start - m->subject) - b->offset);
        b->offset = (size_t)(m->start - m->subject);
        b->last = (size_t)(m->end - m->subject);
        if (type == LUA_TFUNCTION) {
            lua_pushvalue(L, REPLACEMENT);
            int captures = match_push_captures(m, m->start);
            lua_callk(L, captures, 1, 0, gsub_called);
            b = add_value(L, b, m->subject);
        } else if (type == LUA_TTABLE) {
            match_push_capture(m, 0, m->start);
            lua_gettable(L, REPLACEMENT);
            b = add_value(L, b, m->subject);
        } else {
            b = add_string(m, b);
            b->at = true;
        }
        b->offset = b->last;
        from = m->subject + b->last;
        if (m->anchored) break;
    }
    if (!b->at) {
        lua_pushvalue(L, SUBJECT);
    } else {
        b = builder_add(L, b, m->subject + b->offset, (size_t)(m->subject_end - m->subject) - b->offset);
        builder_finish(L, b);
    }
    lua_pushinteger(L, b->count);
    return 2;
}

static void begin_matcher(lua_State *L, matcher *m) {
    size_t length, p_length;
    const char *s = lua_tolstring(L, SUBJECT, &length), *p = lua_tolstring(L, PATTERN, &p_length);
    matcher_init(m, L, s, length, p, p_length);
    matcher_anchor(m);
}

/* The function has returned, after a wait. stack: ..., its result (top) */
static int gsub_called(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    matcher m;
    begin_matcher(L, &m);
    builder *b = add_value(L, builder_at(L, BUILDER), m.subject);
    b->offset = b->last;
    if (!m.anchored) return substitute(L, &m, b, false);
    lua_pushinteger(L, b->count); /* no second match: only what is left is added */
    lua_replace(L, MOST);
    return substitute(L, &m, b, false);
}

static int gsub_paused(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    return substitute(L, lua_touserdata(L, MATCHER), builder_at(L, BUILDER), true);
}

/* string.gsub(s, pattern, replacement [, most]) [-n, +2, v] */
static int gsub(lua_State *L) {
    luaL_checkstring(L, SUBJECT);
    luaL_checkstring(L, PATTERN);
    luaL_optinteger(L, MOST, 0);
    int type = lua_type(L, REPLACEMENT);
    luaL_argexpected(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE,
                     REPLACEMENT, "string/function/table");
    lua_settop(L, MOST);
    lua_pushnil(L);
    lua_pushnil(L);
    matcher m;
    begin_matcher(L, &m);
    builder small, *b = &small;
    builder_init(b, BUILDER);
    b->at = false;
    b->count = 0;
    b->offset = 0;
    b->last = (size_t)NOWHERE;
    /* The bytes of one that is called may be needed after the C stack is gone. */
    if (type == LUA_TFUNCTION) b = builder_anchor(L, b);
    return substitute(L, &m, b, false);
}

const luaL_Reg shim_bounded_pattern[] = {
    {"find", find}, {"gmatch", gmatch}, {"gsub", gsub}, {"match", match}, {NULL, NULL}
};
