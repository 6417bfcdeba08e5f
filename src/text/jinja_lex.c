// text/jinja_lex.c: the characters of a template as tokens, on demand.
//
// Text outside tags is one token; white space around it is cut here, by the signs at the tags and
// by trim_blocks and lstrip_blocks, which are always on, as transformers sets them. Comments
// vanish, raw blocks become text. Line ends are made \n and one at the very end is dropped, as
// Jinja does. Positions are offsets into that normalised source; a place (line, column) is worked
// out only when an error needs it.
#include "text/jinja_int.h"

void jinja_place(Str src, u32 pos, int *line, int *col) {
    *line = *col = 1;
    for (size_t i = 0; i < src.len && i < pos; i++) {
        if (src.ptr[i] == '\n') {
            *line += 1;
            *col = 1;
        } else if (((u8)src.ptr[i] & 0xC0) != 0x80) {
            *col += 1;
        }
    }
}

bool jlex_fail(const JLex *l, u32 pos, ErrId id, const char *fmt, ...) {
    int line, col;
    char text[300];
    Buf b = {.ptr = text, .cap = sizeof text};
    va_list ap;
    va_start(ap, fmt);
    buf_vfmt(&b, fmt, ap);
    va_end(ap);
    err_set(l->err, id, "%S", buf_str(&b));
    jinja_place(l->src, pos, &line, &col);
    err_line(l->err, line, col);
    return err_file(l->err, l->name);
}

void jlex_init(JLex *l, Arena *a, Str name, Str src, Err *err) {
    *l = (JLex){.arena = a, .name = name, .err = err, .line_start = true};
    char *p = arena_alloc(a, src.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < src.len; i++) {
        if (src.ptr[i] == '\r') {
            p[n++] = '\n';
            if (i + 1 < src.len && src.ptr[i + 1] == '\n') i++;
        } else {
            p[n++] = src.ptr[i];
        }
    }
    if (n > 0 && p[n - 1] == '\n') n--;
    l->src = (Str){p, n};
}

static char at(const JLex *l, size_t i) { return i < l->src.len ? l->src.ptr[i] : 0; }

static bool seen(const JLex *l, size_t i, const char *what) {
    for (; *what; what++, i++)
        if (at(l, i) != *what) return false;
    return true;
}

static size_t skip_space(const JLex *l, size_t i) {
    while (i < l->src.len) {
        size_t next;
        if (!jchar_space(jstr_char(l->src, i, &next))) break;
        i = next;
    }
    return i;
}

// Moves past the end of a tag that ended at i, and what its sign or trim_blocks takes with it.
static void after_tag(JLex *l, size_t i, char sign, bool trim) {
    if (sign == '-')
        i = skip_space(l, i);
    else if (trim && sign != '+' && at(l, i) == '\n')
        i++;
    l->pos = i;
    l->line_start = i > 0 && at(l, i - 1) == '\n';
}

// The text before a tag, less what the tag's sign or lstrip_blocks takes.
static Str text_before(const JLex *l, size_t from, size_t to, char sign, bool block) {
    Str text = str_sub(l->src, from, to);
    if (sign == '-') return jstr_strip(text, NULL, false, true);
    if (sign == '+' || !block) return text;
    size_t line = text.len;
    while (line > 0 && text.ptr[line - 1] != '\n') line--;
    Str last = str_sub(text, line, text.len);
    if ((line > 0 || l->line_start) && jstr_strip(last, NULL, true, true).len == 0) text.len = line;
    return text;
}

// `{% raw %}` at i (the sign already passed): true with *end behind it.
static bool raw_word(const JLex *l, size_t i, const char *word, size_t *end, char *sign) {
    i = skip_space(l, i);
    if (!seen(l, i, word)) return false;
    i = skip_space(l, i + strlen(word));
    *sign = 0;
    if (at(l, i) == '-' || at(l, i) == '+') *sign = at(l, i++);
    *end = i + 2;
    return seen(l, i, "%}");
}

static char sign_at(const JLex *l, size_t i) {
    return at(l, i) == '-' || at(l, i) == '+' ? at(l, i) : 0;
}

// Leaves the text of a raw block in out; l->pos is behind its opening tag.
static bool lex_raw(JLex *l, size_t opened, JToken *out) {
    size_t from = l->pos, end;
    for (size_t i = from; i + 1 < l->src.len; i++) {
        char sign, close;
        if (!seen(l, i, "{%")) continue;
        sign = sign_at(l, i + 2);
        if (!raw_word(l, i + 2 + (sign != 0), "endraw", &end, &close)) continue;
        *out =
            (JToken){.kind = T_DATA, .pos = (u32)from, .text = text_before(l, from, i, sign, true)};
        after_tag(l, end, close, true);
        return true;
    }
    return jlex_fail(l, (u32)opened, ERR_JINJA_SYNTAX,
                     "this raw block has no end; add {%% endraw %%}");
}

static bool lex_data(JLex *l, JToken *out) {
    for (;;) {
        size_t from = l->pos, i = from;
        while (i < l->src.len && !(at(l, i) == '{' && (at(l, i + 1) == '{' || at(l, i + 1) == '%' ||
                                                       at(l, i + 1) == '#')))
            i++;
        if (i == l->src.len) {
            l->pos = i;
            *out = (JToken){.kind = i > from ? T_DATA : T_EOF,
                            .pos = (u32)from,
                            .text = str_sub(l->src, from, i)};
            return true;
        }
        char kind = at(l, i + 1), sign = sign_at(l, i + 2);
        Str text = text_before(l, from, i, sign, kind != '{');
        JToken data = {.kind = T_DATA, .pos = (u32)from, .text = text};
        l->pos = i + 2 + (sign != 0);
        if (kind == '#') {
            size_t e = l->pos;
            while (e < l->src.len && !seen(l, e, "#}")) e++;
            if (e >= l->src.len)
                return jlex_fail(l, (u32)i, ERR_JINJA_SYNTAX, "this comment has no end; add #}");
            after_tag(l, e + 2, e > l->pos ? sign_at(l, e - 1) : 0, true);
        } else {
            size_t end;
            char close;
            if (kind == '%' && raw_word(l, l->pos, "raw", &end, &close) && close != '+') {
                after_tag(l, end, close, false);
                if (!lex_raw(l, i, &l->pending)) return false;
                l->has_pending = true;
            } else {
                l->mode = kind == '{' ? LEX_VAR : LEX_BLOCK;
                l->pending =
                    (JToken){.kind = kind == '{' ? T_VAR_BEGIN : T_BLOCK_BEGIN, .pos = (u32)i};
                l->has_pending = true;
                l->open = 0;
            }
        }
        if (text.len) {
            *out = data;
            return true;
        }
        if (l->has_pending) {
            l->has_pending = false;
            *out = l->pending;
            return true;
        }
    }
}

static bool name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (u8)c >= 0x80;
}

static int digit_value(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : 99;
}

static bool lex_digits(const JLex *l, size_t *i, int base) // digits with single _ between them
{
    size_t p = *i;
    while (digit_value(at(l, p)) < base ||
           (at(l, p) == '_' && p > *i && digit_value(at(l, p + 1)) < base))
        p++;
    bool any = p > *i;
    *i = p;
    return any;
}

static bool lex_number(JLex *l, JToken *out) {
    size_t from = l->pos, i = from;
    int base = 10;
    char x = (char)(at(l, i + 1) | 32);
    bool based = at(l, i) == '0' && (x == 'x' || x == 'o' || x == 'b');
    if (based) {
        base = x == 'x' ? 16 : x == 'o' ? 8 : 2;
        i += 2;
        from = i;
    }
    if (!lex_digits(l, &i, base))
        return jlex_fail(l, (u32)l->pos, ERR_JINJA_SYNTAX, "this number has no digits");
    bool real = false;
    if (!based && !(l->pos > 0 && at(l, l->pos - 1) == '.')) {
        size_t p = i + 1;
        if (at(l, i) == '.' && digit_value(at(l, p)) < 10) {
            lex_digits(l, &p, 10);
            i = p;
            real = true;
        }
        if (at(l, i) == 'e' || at(l, i) == 'E') {
            p = i + 1 + (at(l, i + 1) == '+' || at(l, i + 1) == '-');
            if (lex_digits(l, &p, 10)) {
                i = p;
                real = true;
            }
        }
    }
    *out = (JToken){.kind = real ? T_FLOAT : T_INT, .pos = (u32)l->pos};
    Buf b = {.arena = l->arena};
    for (size_t k = from; k < i; k++) {
        char c = at(l, k);
        if (c == '_') continue;
        if (real)
            buf_char(&b, c);
        else if (__builtin_mul_overflow(out->i, base, &out->i) ||
                 __builtin_add_overflow(out->i, digit_value(c), &out->i))
            return jlex_fail(l, out->pos, ERR_JINJA_RANGE, "this number does not fit in 64 bits");
    }
    if (real && !str_to_f64(buf_str(&b), &out->f))
        return jlex_fail(l, out->pos, ERR_JINJA_SYNTAX, "%S is not a number", buf_str(&b));
    l->pos = i;
    return true;
}

// The escapes of a Python string literal.
static bool unescape(JLex *l, Str s, Str *out) {
    Buf b = {.arena = l->arena};
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != '\\' || i + 1 == s.len) {
            buf_char(&b, s.ptr[i]);
            continue;
        }
        const char *start = s.ptr + i;
        char c = s.ptr[++i];
        static const char from[] = "ntr\\'\"abfv", to[] = "\n\t\r\\'\"\a\b\f\v";
        const char *hit = c ? strchr(from, c) : NULL;
        int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
        if (hit) {
            buf_char(&b, to[hit - from]);
        } else if (digits) {
            u32 code = 0;
            for (int k = 0; k < digits; k++) {
                int d = i + 1 < s.len ? digit_value(s.ptr[i + 1]) : 99;
                if (d > 15)
                    return jlex_fail(l, (u32)(start - l->src.ptr), ERR_JINJA_SYNTAX,
                                     "\\%c wants %d hexadecimal digits", c, digits);
                code = code << 4 | (u32)d;
                i++;
            }
            buf_utf8(&b, code);
        } else if (c >= '0' && c <= '7') {
            u32 code = 0;
            for (int k = 0; k < 3 && i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '7'; k++, i++)
                code = code * 8 + (u32)(s.ptr[i] - '0');
            i--;
            buf_utf8(&b, code);
        } else if (c != '\n') {
            buf_char(&b, '\\');
            buf_char(&b, c);
        }
    }
    *out = buf_str(&b);
    return true;
}

static bool lex_string(JLex *l, JToken *out) {
    size_t from = l->pos + 1, i = from;
    char quote = at(l, l->pos);
    bool escapes = false;
    for (; i < l->src.len && at(l, i) != quote; i++) {
        if (at(l, i) == '\\') {
            escapes = true;
            i++;
        }
    }
    if (i >= l->src.len)
        return jlex_fail(l, (u32)l->pos, ERR_JINJA_SYNTAX, "this string has no end; add %c", quote);
    *out = (JToken){.kind = T_STR, .pos = (u32)l->pos, .text = str_sub(l->src, from, i)};
    l->pos = i + 1;
    return !escapes || unescape(l, out->text, &out->text);
}

static bool lex_operator(JLex *l, JToken *out) {
    char c = at(l, l->pos), d = at(l, l->pos + 1);
    *out = (JToken){.kind = T_OP, .pos = (u32)l->pos, .op = JOP1(c)};
    if ((c == '/' && d == '/') || (c == '*' && d == '*') || (d == '=' && strchr("=!<>", c) && c)) {
        out->op = JOP2(c, d);
        l->pos += 2;
        return true;
    }
    if (!c || !strchr("+-/*%~[](){}<>=.:|,;", c)) {
        if ((u8)c < 0x20 || (u8)c == 0x7F)
            return jlex_fail(l, (u32)l->pos, ERR_JINJA_SYNTAX, "byte 0x%02x cannot stand here",
                             (u32)(u8)c);
        return jlex_fail(l, (u32)l->pos, ERR_JINJA_SYNTAX, "%c cannot stand here", c);
    }
    if (c == '(' || c == '[' || c == '{') {
        if (l->open == COUNT_OF(l->brackets))
            return jlex_fail(l, (u32)l->pos, ERR_JINJA_DEPTH, "brackets nest deeper than %d",
                             JINJA_DEPTH);
        l->brackets[l->open++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
        if (l->open == 0 || l->brackets[l->open - 1] != c)
            return l->open ? jlex_fail(l, (u32)l->pos, ERR_JINJA_SYNTAX,
                                       "%c stands where %c is wanted", c, l->brackets[l->open - 1])
                           : jlex_fail(l, (u32)l->pos, ERR_JINJA_SYNTAX, "%c closes nothing", c);
        l->open--;
    }
    l->pos++;
    return true;
}

bool jlex_next(JLex *l, JToken *out) {
    if (l->has_pending) {
        l->has_pending = false;
        *out = l->pending;
        return true;
    }
    if (l->mode == LEX_DATA) return lex_data(l, out);
    size_t i = l->pos = skip_space(l, l->pos);
    if (l->open == 0) {
        char sign = sign_at(l, i);
        bool block = l->mode == LEX_BLOCK;
        if (sign == '+' && !block) sign = 0;
        if (seen(l, i + (sign != 0), block ? "%}" : "}}")) {
            *out = (JToken){.kind = block ? T_BLOCK_END : T_VAR_END, .pos = (u32)i};
            after_tag(l, i + 2 + (sign != 0), sign, block);
            l->mode = LEX_DATA;
            return true;
        }
    }
    char c = at(l, i);
    if (i >= l->src.len)
        return jlex_fail(l, (u32)i, ERR_JINJA_SYNTAX,
                         "the template ends inside a tag; close it by %s",
                         l->mode == LEX_BLOCK ? "%}" : "}}");
    if (c >= '0' && c <= '9') return lex_number(l, out);
    if (c == '"' || c == '\'') return lex_string(l, out);
    if (name_char(c)) {
        while (i < l->src.len && name_char(at(l, i))) i++;
        *out = (JToken){.kind = T_NAME, .pos = (u32)l->pos, .text = str_sub(l->src, l->pos, i)};
        l->pos = i;
        return true;
    }
    return lex_operator(l, out);
}
