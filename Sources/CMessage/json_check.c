/* One pass over a text: containers as bits of a stack instead of a recursion, strings sixteen bytes at a time, and the
 * keys of the outermost object compared with those of the object before. */
#include "CMessage.h"
#include <math.h>

typedef const uint8_t *place;

typedef struct scanner {
    place end;
    place at;         /* of a problem */
    const char *what; /* NULL: none */
} scanner;

/* Always NULL. */
static place refuse(scanner *s, place at, const char *what) {
    s->at = at;
    s->what = what;
    return NULL;
}

/* p is behind a backslash at p - 1. Returns what follows the escape. */
static __attribute__((noinline)) place check_escape(scanner *s, place p) {
    place start = p - 1;
    if (p == s->end || memchr("\"\\/bfnrtu", *p, 9) == NULL) {
        return refuse(s, p, "expected one of \"\\/bfnrtu after \\");
    }
    if (*p++ != 'u') return p;
    unsigned unit = 0;
    for (int i = 0; i < 4; i++, p++) {
        int digit = p < s->end ? msg_hex_digit(*p) : -1;
        if (digit < 0) return refuse(s, p, "expected a hex digit");
        unit = unit << 4 | (unsigned)digit;
    }
    if (unit < 0xD800 || unit >= 0xE000) return p;
    if (unit >= 0xDC00 || s->end - p < 2 || p[0] != '\\' || p[1] != 'u') {
        return refuse(s, start, "expected a surrogate pair");
    }
    p += 2;
    unit = 0;
    for (int i = 0; i < 4; i++, p++) {
        int digit = p < s->end ? msg_hex_digit(*p) : -1;
        if (digit < 0) return refuse(s, p, "expected a hex digit");
        unit = unit << 4 | (unsigned)digit;
    }
    return unit >= 0xDC00 && unit < 0xE000 ? p : refuse(s, start, "expected a surrogate pair");
}

/* p is at the first byte of a string that is not plain, and no quote. Returns what follows the closing quote. */
static __attribute__((noinline)) place check_string_on(scanner *s, place p) {
    for (;; p = msg_skip_plain(p, s->end)) {
        if (p == s->end) return refuse(s, p, "expected '\"' at the end of the string");
        if (*p == '"') return p + 1;
        if (*p == '\\') {
            if ((p = check_escape(s, p + 1)) == NULL) return NULL;
        } else if (*p < 0x20) {
            return refuse(s, p, "expected an escape in place of a control character");
        } else {
            int length = msg_utf8_length(p, s->end);
            if (length == 0) return refuse(s, p, "expected valid UTF-8");
            p += length;
        }
    }
}

/* p is behind the opening quote. Returns what follows the closing one. */
static inline __attribute__((always_inline)) place check_string(scanner *s, place p) {
    p = msg_skip_plain(p, s->end);
    return p < s->end && *p == '"' ? p + 1 : check_string_on(s, p);
}

/* Whether a number of these digits and of this text is in range: only a long or a scaled one can be out of it. */
static __attribute__((noinline)) bool in_range(place start, place end) { return isfinite(msg_json_double(start, end)); }

static inline __attribute__((always_inline)) place check_number(scanner *s, place start) {
    place p = start, end = s->end;
    p += *p == '-';
    if (!msg_is_digit(p, end)) return refuse(s, p, "expected a digit");
    place first = p;
    if (*p == '0') p++;
    else while (msg_is_digit(p, end)) p++;
    bool doubtful = p - first > 300;
    if (p < end && *p == '.') {
        p++;
        if (!msg_is_digit(p, end)) return refuse(s, p, "expected a digit");
        while (msg_is_digit(p, end)) p++;
    }
    if (p < end && (*p | 0x20) == 'e') {
        p++;
        if (p < end && (*p == '-' || *p == '+')) p++;
        if (!msg_is_digit(p, end)) return refuse(s, p, "expected a digit");
        while (msg_is_digit(p, end)) p++;
        doubtful = true;
    }
    if (doubtful && !in_range(start, p)) return refuse(s, start, "number out of range");
    return p;
}

static inline place check_word(scanner *s, place p, const char *word, size_t length, const char *expected) {
    if ((size_t)(s->end - p) < length || memcmp(p, word, length) != 0) return refuse(s, p, expected);
    return p + length;
}

/* A value that is no container begins at p. */
static inline __attribute__((always_inline)) place check_scalar(scanner *s, place p, const char *expected) {
    if (*p == '"') return check_string(s, p + 1);
    switch (*p) {
    case 't': return check_word(s, p, "true", 4, expected);
    case 'f': return check_word(s, p, "false", 5, expected);
    case 'n': return check_word(s, p, "null", 4, expected);
    case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9':
        return check_number(s, p);
    default: return refuse(s, p, expected);
    }
}

/* A key's string and its colon; p is at what should be its quote. Returns what follows the colon. */
static inline place check_key(scanner *s, place p, const char *expected) {
    if (p == s->end || *p != '"') return refuse(s, p, expected);
    if ((p = check_string(s, p + 1)) == NULL) return NULL;
    p = msg_skip_space(p, s->end);
    if (p == s->end || *p != ':') return refuse(s, p, "expected ':'");
    return p + 1;
}

/* A container begins at p, inside `depth` others. */
static __attribute__((noinline)) place check_container(scanner *s, place p, int depth) {
    uint64_t objects[(MSG_MAX_DEPTH + 64) / 64] = {0}; /* a bit for each open container, set for an object */
    int outer = depth;
    bool in_object = false;
    for (;;) { /* a container begins at p */
        if (++depth > MSG_MAX_DEPTH) return refuse(s, p, "nested deeper than 200");
        in_object = *p == '{';
        if (in_object) objects[depth >> 6] |= 1ull << (depth & 63);
        else objects[depth >> 6] &= ~(1ull << (depth & 63));
        const char *expected = in_object ? "expected a key or '}'" : "expected a value or ']'";
        p = msg_skip_space(p + 1, s->end);
        bool empty = p < s->end && *p == (in_object ? '}' : ']');
        for (;;) { /* a member, or the container's end, is at p */
            if (!empty) {
                if (in_object) {
                    if ((p = check_key(s, p, expected)) == NULL) return NULL;
                    p = msg_skip_space(p, s->end);
                    expected = "expected a value";
                }
                if (p == s->end) return refuse(s, p, expected);
                if (*p == '{' || *p == '[') break;
                if ((p = check_scalar(s, p, expected)) == NULL) return NULL;
                p = msg_skip_space(p, s->end);
            }
            empty = false;
            while (p < s->end && *p == (in_object ? '}' : ']')) {
                p++;
                if (--depth == outer) return p;
                in_object = (objects[depth >> 6] >> (depth & 63)) & 1;
                p = msg_skip_space(p, s->end);
            }
            if (p == s->end || *p != ',') {
                return refuse(s, p, in_object ? "expected ',' or '}'" : "expected ',' or ']'");
            }
            p = msg_skip_space(p + 1, s->end);
            expected = in_object ? "expected a key" : "expected a value";
        }
    }
}

static inline __attribute__((always_inline)) place check_value(scanner *s, place p, int depth, const char *expected) {
    if (p == s->end) return refuse(s, p, expected);
    return *p == '{' || *p == '[' ? check_container(s, p, depth) : check_scalar(s, p, expected);
}

/* The keys of an object that is not of the shape that was guessed. */
typedef struct fields {
    uint32_t symbols[MSG_SHAPE_FIELDS];
    const char *keys[MSG_SHAPE_FIELDS];
    uint32_t lengths[MSG_SHAPE_FIELDS];
    size_t count; /* past MSG_SHAPE_FIELDS: it gets no shape */
} fields;

/* Notes the key whose text, with its quotes, is [p, end), and whose value begins at `offset`. */
static __attribute__((noinline)) void note_key(msg_json_checker *c, fields *f, place p, place end, uint32_t offset) {
    uint8_t name[6 * MSG_SYMBOL_LENGTH];
    if (f->count >= MSG_SHAPE_FIELDS) {
        f->count = MSG_SHAPE_FIELDS + 1;
        return;
    }
    size_t length = (size_t)(end - p) - 2;
    uint32_t symbol = MSG_NO_SYMBOL;
    if (length <= sizeof name) {
        length = msg_json_unescape(name, p + 1, end - 1);
        symbol = msg_symbol((const char *)name, length);
    }
    if (symbol == MSG_NO_SYMBOL) {
        f->count = MSG_SHAPE_FIELDS + 1;
        return;
    }
    f->symbols[f->count] = symbol;
    f->keys[f->count] = (const char *)p;
    f->lengths[f->count] = (uint32_t)(end - p);
    c->offsets[f->count++] = offset;
}

/* Takes over the first `count` keys of the guess, which were the object's. */
static __attribute__((noinline)) void take_guess(const msg_shape *guess, fields *f, size_t count) {
    memcpy(f->symbols, guess->symbols, count * sizeof *f->symbols);
    memcpy(f->keys, guess->keys, count * sizeof *f->keys);
    memcpy(f->lengths, guess->key_lengths, count * sizeof *f->lengths);
    f->count = count;
}

/* Whether the text at p begins with the key at that position of the shape. */
static inline bool has_key(const msg_shape *shape, size_t position, place p, place end) {
    size_t length = shape->key_lengths[position], left = (size_t)(end - p);
    if (left < 16) return left >= length && memcmp(p, shape->keys[position], length) == 0;
    const msg_key_words *words = &shape->words[position];
    uint64_t first, second;
    memcpy(&first, p, 8);
    memcpy(&second, p + 8, 8);
    if ((((first ^ words->word[0]) & words->mask[0]) | ((second ^ words->word[1]) & words->mask[1])) != 0) return false;
    return length <= 16 || (left >= length && memcmp(p + 16, shape->keys[position] + 16, length - 16) == 0);
}

/* The outermost object, at p: with the offsets of its values. */
static place check_record(msg_json_checker *c, scanner *s, place text, place p) {
    const msg_shape *guess = c->guess;
    fields found;
    bool guessed = guess != NULL; /* so far its keys are those of the guess */
    size_t position = 0;
    const char *expected = "expected a key or '}'";
    if (!guessed) found.count = 0;
    p = msg_skip_space(p + 1, s->end);
    if (p < s->end && *p == '}') {
        p++;
        if (guessed) take_guess(guess, &found, 0);
        guessed = false;
        goto ended;
    }
    for (;; position++) {
        place key = p, value;
        if (guessed && position < guess->count && has_key(guess, position, p, s->end)) {
            p = msg_skip_space(p + guess->key_lengths[position], s->end);
            if (p == s->end || *p != ':') return refuse(s, p, "expected ':'");
            value = p = msg_skip_space(p + 1, s->end);
            c->offsets[position] = (uint32_t)(value - text);
        } else {
            if (p == s->end || *p != '"') return refuse(s, p, expected);
            place end = check_string(s, p + 1);
            if (end == NULL) return NULL;
            p = msg_skip_space(end, s->end);
            if (p == s->end || *p != ':') return refuse(s, p, "expected ':'");
            value = p = msg_skip_space(p + 1, s->end);
            if (guessed) take_guess(guess, &found, position);
            guessed = false;
            note_key(c, &found, key, end, (uint32_t)(value - text));
        }
        if ((p = check_value(s, p, 1, "expected a value")) == NULL) return NULL;
        p = msg_skip_space(p, s->end);
        if (p < s->end && *p == '}') {
            p++;
            break;
        }
        if (p == s->end || *p != ',') return refuse(s, p, "expected ',' or '}'");
        p = msg_skip_space(p + 1, s->end);
        expected = "expected a key";
    }
    if (guessed) {
        if (position + 1 == guess->count) {
            c->shape = guess;
            return p;
        }
        take_guess(guess, &found, position + 1);
    }
ended:
    if (found.count <= MSG_SHAPE_FIELDS) {
        c->shape = msg_shape_of(found.symbols, found.keys, found.lengths, found.count);
        if (c->shape != NULL) c->guess = c->shape;
    }
    return p;
}

bool msg_json_check(msg_json_checker *c, const char *text, size_t length, msg_json_problem *problem) {
    place start = text != NULL ? (place)text : (place)"", p;
    scanner s = {start + length, start, NULL};
    c->shape = NULL;
    p = msg_skip_space(start, s.end);
    if (p < s.end && *p == '{') p = check_record(c, &s, start, p);
    else p = check_value(&s, p, 0, "expected a value");
    if (p != NULL) {
        p = msg_skip_space(p, s.end);
        if (p != s.end) p = refuse(&s, p, "expected the end of the text");
    }
    if (p != NULL) return true;
    c->shape = NULL;
    problem->position = (size_t)(s.at - start) + 1;
    problem->text = s.what;
    return false;
}

const char *msg_json_skip(const char *from, const char *limit) {
    place p = (place)from, end = (place)limit;
    int depth = 0;
    for (;;) {
        switch (*p) {
        case '"':
            for (p++;; p++) {
                p = msg_skip_plain(p, end);
                if (*p == '"') break;
                if (*p == '\\') p++;
            }
            p++;
            break;
        case '{': case '[':
            depth++;
            p++;
            break;
        case '}': case ']':
            depth--;
            p++;
            break;
        default: /* a number, a word, or what stands between values */
            p++;
            while (p < end && *p != ',' && *p != '}' && *p != ']' && *p != '"' && *p != '{' && *p != '[' &&
                   !(depth == 0 && (msg_is_space(*p) || *p == ':'))) p++;
        }
        if (depth == 0) return (const char *)p;
    }
}
