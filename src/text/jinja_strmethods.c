// text/jinja_strmethods.c: the methods of strings, as rows of the methods' table.
//
// They are Python's, over characters and not bytes; each counts its steps by the length of what it
// reads.
#include "text/jinja_int.h"

#define METHOD(name)                                                                               \
    static bool name(Jinja *j, JVal self, const JVal *v, const JArgs *args, JVal *out)
#define UNUSED_ARGS (void)j, (void)self, (void)v, (void)args

static bool give(JVal *out, JVal v) {
    *out = v;
    return true;
}

static bool give_str(JVal self, Str s, JVal *out) {
    *out = jval_str(s);
    out->markup = self.markup;
    return true;
}

static bool given(JVal v) { return v.type != J_MISSING; }

static bool want_str(Jinja *j, JVal v, Str *out) {
    if (v.type == J_UNDEFINED) return jinja_use_undefined(j, v);
    if (v.type != J_STR)
        return jinja_fail(j, ERR_JINJA_TYPE, "a string is wanted, not '%s'", jval_type(v));
    *out = v.s;
    return true;
}

static bool strip(Jinja *j, JVal self, JVal chars, bool left, bool right, JVal *out) {
    Str set = {0};
    bool some = given(chars) && chars.type != J_NONE;
    if (some && !want_str(j, chars, &set)) return false;
    if (!jinja_step(j, self.s.len / 16 + set.len * 4)) return false;
    if (some && set.len > 64 && !jinja_step(j, self.s.len * (set.len / 64))) return false;
    return give_str(self, jstr_strip(self.s, some ? &set : NULL, left, right), out);
}

METHOD(str_strip_both) {
    UNUSED_ARGS;
    return strip(j, self, v[0], true, true, out);
}
METHOD(str_strip_left) {
    UNUSED_ARGS;
    return strip(j, self, v[0], true, false, out);
}
METHOD(str_strip_right) {
    UNUSED_ARGS;
    return strip(j, self, v[0], false, true, out);
}

static bool change_case(Jinja *j, JVal self, int how, JVal *out) {
    Str s;
    return jstr_case(j, self.s, how, &s) && give_str(self, s, out);
}

METHOD(str_upper) {
    UNUSED_ARGS;
    return change_case(j, self, CASE_UPPER, out);
}
METHOD(str_lower) {
    UNUSED_ARGS;
    return change_case(j, self, CASE_LOWER, out);
}
METHOD(str_capitalize) {
    UNUSED_ARGS;
    return change_case(j, self, CASE_CAPITALIZE, out);
}
METHOD(str_title) {
    UNUSED_ARGS;
    return change_case(j, self, CASE_TITLE, out);
}
METHOD(str_swapcase) {
    UNUSED_ARGS;
    return change_case(j, self, CASE_SWAP, out);
}

// By runs of white space; what is left when `most` splits are done keeps its far end.
static bool split_space(Jinja *j, Str s, i64 most, bool right, JList *l) {
    s = jstr_strip(s, NULL, !right, right);
    while (s.len) {
        size_t i = right ? s.len : 0, next = 0;
        if (!jinja_step(j, 1)) return false;
        if (most-- == 0) {
            i = right ? 0 : s.len;
        } else if (right) {
            size_t after = 0;
            for (size_t k = 0; k < s.len;
                 k = next) // the last space: found from the left, as UTF-8 reads
                if (jchar_space(jstr_char(s, k, &next))) after = next;
            i = after;
            if (!jinja_step(j, s.len / 16)) return false;
        } else {
            while (i < s.len && !jchar_space(jstr_char(s, i, &next))) i = next;
        }
        if (!jinja_push(j, l, jval_str(right ? str_sub(s, i, s.len) : str_sub(s, 0, i))))
            return false;
        s = right ? jstr_strip(str_sub(s, 0, i), NULL, false, true)
                  : jstr_strip(str_sub(s, i, s.len), NULL, true, false);
    }
    return true;
}

static bool split(Jinja *j, JVal self, const JVal *v, bool right, JVal *out) {
    Str s = self.s, sep;
    i64 most;
    JList *l = jinja_list(j, 0);
    if (!l || !jinja_arg_int(j, v[1], -1, &most) || !jinja_step(j, s.len / 16)) return false;
    if (!given(v[0]) || v[0].type == J_NONE) {
        if (!split_space(j, s, most, right, l)) return false;
    } else {
        if (!want_str(j, v[0], &sep)) return false;
        if (sep.len == 0) return jinja_fail(j, ERR_JINJA_ARGS, "empty separator");
        for (;;) {
            size_t at = 0;
            bool found = false;
            if (most-- != 0 && !jstr_find(j, s, sep, 0, right, &at, &found)) return false;
            Str part = !found ? s : right ? str_sub(s, at + sep.len, s.len) : str_sub(s, 0, at);
            if (!jinja_step(j, 1) || !jinja_push(j, l, jval_str(part))) return false;
            if (!found) break;
            s = right ? str_sub(s, 0, at) : str_sub(s, at + sep.len, s.len);
        }
    }
    for (size_t i = 0; right && i < l->n / 2; i++) {
        JVal t = l->at[i];
        l->at[i] = l->at[l->n - 1 - i];
        l->at[l->n - 1 - i] = t;
    }
    return give(out, jval_seq(j, J_LIST, l));
}

METHOD(str_split) {
    UNUSED_ARGS;
    return split(j, self, v, false, out);
}
METHOD(str_rsplit) {
    UNUSED_ARGS;
    return split(j, self, v, true, out);
}

METHOD(str_splitlines) {
    UNUSED_ARGS;
    JList *l = jinja_list(j, 0);
    Str s = self.s;
    bool keep = given(v[0]) && jval_truth(v[0]);
    if (!l || !jinja_step(j, s.len / 16)) return false;
    for (size_t from = 0, i = 0, next; i < s.len;) {
        u32 c = jstr_char(s, i, &next);
        bool end = (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
                   c == 0x2029;
        size_t stop = end ? i : next;
        if (c == '\r' && next < s.len && s.ptr[next] == '\n') next++;
        i = next;
        if ((end || i == s.len) && !jinja_push(j, l, jval_str(str_sub(s, from, keep ? i : stop))))
            return false;
        if (end) from = i;
    }
    return give(out, jval_seq(j, J_LIST, l));
}

METHOD(str_replace) {
    UNUSED_ARGS;
    Str from, to, s;
    i64 count;
    return want_str(j, v[0], &from) && want_str(j, v[1], &to) &&
           jinja_arg_int(j, v[2], -1, &count) && jstr_replace(j, self.s, from, to, count, &s) &&
           give_str(self, s, out);
}

// s[start:end] by characters, as the string methods take it; *base is how many characters were left
// out in front.
static bool window(Jinja *j, Str s, JVal start, JVal end, Str *out, i64 *base) {
    i64 from, to, n = given(start) || given(end) ? (i64)jstr_count(s) : 0;
    start = start.type == J_NONE ? (JVal){.type = J_MISSING} : start;
    end = end.type == J_NONE ? (JVal){.type = J_MISSING} : end;
    if (!jinja_step(j, (u64)n / 16) || !jinja_arg_int(j, start, 0, &from) ||
        !jinja_arg_int(j, end, n, &to))
        return false;
    from = MAX2(from < 0 ? from + n : from, 0);
    to = MAX2(to < 0 ? to + n : to, 0);
    *base = from;
    *out = n == 0      ? s
           : from > to ? (Str){s.ptr, 0}
                       : str_sub(s, jstr_offset(s, (size_t)from), jstr_offset(s, (size_t)to));
    return true;
}

static bool affix(Jinja *j, JVal self, const JVal *v, bool front, JVal *out) {
    Str s, what;
    i64 base;
    bool hit = false;
    size_t n = v[0].type == J_TUPLE ? v[0].list->n : 1;
    if (!window(j, self.s, v[1], v[2], &s, &base)) return false;
    for (size_t i = 0; i < n; i++) {
        if (!want_str(j, v[0].type == J_TUPLE ? v[0].list->at[i] : v[0], &what) ||
            !jinja_step(j, what.len / 64))
            return false;
        hit = hit || (front ? str_starts(s, what) : str_ends(s, what));
    }
    return give(out, jval_bool(hit));
}

METHOD(str_startswith) {
    UNUSED_ARGS;
    return affix(j, self, v, true, out);
}
METHOD(str_endswith) {
    UNUSED_ARGS;
    return affix(j, self, v, false, out);
}

static bool find(Jinja *j, JVal self, const JVal *v, bool last, bool must_be, JVal *out) {
    Str s, what;
    i64 base;
    size_t at;
    bool found;
    if (!want_str(j, v[0], &what) || !window(j, self.s, v[1], v[2], &s, &base) ||
        !jstr_find(j, s, what, 0, last, &at, &found))
        return false;
    if (!found && must_be) return jinja_fail(j, ERR_JINJA_ARGS, "substring not found");
    return give(out, jval_int(found ? base + (i64)jstr_count(str_sub(s, 0, at)) : -1));
}

METHOD(str_find) {
    UNUSED_ARGS;
    return find(j, self, v, false, false, out);
}
METHOD(str_rfind) {
    UNUSED_ARGS;
    return find(j, self, v, true, false, out);
}
METHOD(str_index) {
    UNUSED_ARGS;
    return find(j, self, v, false, true, out);
}
METHOD(str_rindex) {
    UNUSED_ARGS;
    return find(j, self, v, true, true, out);
}

METHOD(str_count) {
    UNUSED_ARGS;
    Str s, what;
    i64 base, n = 0;
    bool found = true;
    if (!want_str(j, v[0], &what) || !window(j, self.s, v[1], v[2], &s, &base)) return false;
    if (what.len == 0) return give(out, jval_int((i64)jstr_count(s) + 1));
    for (size_t at = 0, from = 0; found; from = at + what.len) {
        if (!jinja_step(j, 1) || !jstr_find(j, s, what, from, false, &at, &found)) return false;
        n += found;
    }
    return give(out, jval_int(n));
}

METHOD(str_join) {
    UNUSED_ARGS;
    JVal seq;
    size_t n;
    Buf b = jinja_buf(j);
    if (!jinja_seq(j, v[0], &seq, &n)) return false;
    for (size_t i = 0; i < n; i++) {
        Str s;
        JVal x = jinja_seq_at(seq, i);
        if (x.type != J_STR)
            return jinja_fail(j, ERR_JINJA_TYPE,
                              "sequence item %D: expected str instance, %s found", (i64)i,
                              jval_type(x));
        s = x.s;
        if (i) buf_add(&b, self.s);
        buf_add(&b, s);
        if (!jinja_step(j, 1 + (s.len + self.s.len) / 64) || !jinja_buf_ok(j, &b)) return false;
    }
    return give(out, jval_str(buf_str(&b)));
}

METHOD(str_format) {
    UNUSED_ARGS;
    Str s;
    return jinja_format(j, self.s, args, &s) && give_str(self, s, out);
}

static bool remove_affix(Jinja *j, JVal self, JVal what, bool front, JVal *out) {
    Str s = self.s, w;
    if (!want_str(j, what, &w)) return false;
    if (front && str_starts(s, w))
        s = str_sub(s, w.len, s.len);
    else if (!front && w.len && str_ends(s, w))
        s = str_sub(s, 0, s.len - w.len);
    return give_str(self, s, out);
}

METHOD(str_removeprefix) {
    UNUSED_ARGS;
    return remove_affix(j, self, v[0], true, out);
}
METHOD(str_removesuffix) {
    UNUSED_ARGS;
    return remove_affix(j, self, v[0], false, out);
}

static bool partition(Jinja *j, JVal self, JVal sep, bool last, JVal *out) {
    Str w, s = self.s, none = {s.ptr, 0};
    size_t at;
    bool found;
    JList *l = jinja_list(j, 3);
    if (!l || !want_str(j, sep, &w)) return false;
    if (w.len == 0) return jinja_fail(j, ERR_JINJA_ARGS, "empty separator");
    if (!jstr_find(j, s, w, 0, last, &at, &found)) return false;
    l->n = 3;
    l->at[0] = jval_str(found ? str_sub(s, 0, at) : last ? none : s);
    l->at[1] = jval_str(found ? w : none);
    l->at[2] = jval_str(found ? str_sub(s, at + w.len, s.len) : last ? s : none);
    return give(out, jval_seq(j, J_TUPLE, l));
}

METHOD(str_partition) {
    UNUSED_ARGS;
    return partition(j, self, v[0], false, out);
}
METHOD(str_rpartition) {
    UNUSED_ARGS;
    return partition(j, self, v[0], true, out);
}

static bool justify(Jinja *j, JVal self, const JVal *v, int before_of_two, JVal *out) {
    i64 width, n = (i64)jstr_count(self.s);
    Str fill = S(" ");
    Buf b = jinja_buf(j);
    if (!jinja_arg_int(j, v[0], 0, &width) || (given(v[1]) && !want_str(j, v[1], &fill)))
        return false;
    if (jstr_count(fill) != 1)
        return jinja_fail(j, ERR_JINJA_ARGS,
                          "the fill character must be exactly one character long");
    i64 room = MAX2(width - n, 0);
    if (!jinja_step(j, (u64)room)) return false;
    i64 before = before_of_two == 1 ? room / 2 + (room & width & 1) : before_of_two ? room : 0;
    for (i64 i = 0; i < before && !b.full; i++) buf_add(&b, fill);
    buf_add(&b, self.s);
    for (i64 i = before; i < room && !b.full; i++) buf_add(&b, fill);
    return jinja_buf_ok(j, &b) && give_str(self, buf_str(&b), out);
}

METHOD(str_ljust) {
    UNUSED_ARGS;
    return justify(j, self, v, 0, out);
}
METHOD(str_center) {
    UNUSED_ARGS;
    return justify(j, self, v, 1, out);
}
METHOD(str_rjust) {
    UNUSED_ARGS;
    return justify(j, self, v, 2, out);
}

METHOD(str_zfill) {
    UNUSED_ARGS;
    i64 width, n = (i64)jstr_count(self.s);
    Buf b = jinja_buf(j);
    if (!jinja_arg_int(j, v[0], 0, &width) || !jinja_step(j, (u64)MAX2(width, 0))) return false;
    size_t sign = self.s.len && (self.s.ptr[0] == '-' || self.s.ptr[0] == '+');
    buf_add(&b, str_sub(self.s, 0, sign));
    for (; n < width && !b.full; n++) buf_char(&b, '0');
    buf_add(&b, str_sub(self.s, sign, self.s.len));
    return jinja_buf_ok(j, &b) && give_str(self, buf_str(&b), out);
}

enum { IS_DIGIT, IS_ALPHA, IS_ALNUM, IS_SPACE };

static bool letter(u32 c) {
    UniKind k = unicode_kind(c);
    return k == UC_LU || k == UC_LL || k == UC_LT || k == UC_LM || k == UC_LO;
}

static bool all_are(Jinja *j, Str s, int what, JVal *out) {
    bool all = s.len > 0;
    for (size_t i = 0, next; all && i < s.len; i = next) {
        u32 c = jstr_char(s, i, &next);
        bool digit = unicode_kind(c) == UC_ND;
        all = what == IS_DIGIT   ? digit
              : what == IS_SPACE ? jchar_space(c)
                                 : letter(c) || (what == IS_ALNUM && digit);
    }
    return jinja_step(j, s.len / 16) && give(out, jval_bool(all));
}

METHOD(str_isdigit) {
    UNUSED_ARGS;
    return all_are(j, self.s, IS_DIGIT, out);
}
METHOD(str_isalpha) {
    UNUSED_ARGS;
    return all_are(j, self.s, IS_ALPHA, out);
}
METHOD(str_isalnum) {
    UNUSED_ARGS;
    return all_are(j, self.s, IS_ALNUM, out);
}
METHOD(str_isspace) {
    UNUSED_ARGS;
    return all_are(j, self.s, IS_SPACE, out);
}

static bool one_case(Jinja *j, Str s, bool upper,
                     JVal *out) // at least one letter with case, and none of the other
{
    bool some = false, other = false;
    for (size_t i = 0, next; i < s.len; i = next) {
        u32 c = jstr_char(s, i, &next);
        bool is_upper = jchar_lower(c) != c, is_lower = jchar_upper(c) != c || c == 0xDF;
        some = some || (upper ? is_upper : is_lower);
        other = other || (upper ? is_lower : is_upper);
    }
    return jinja_step(j, s.len / 4) && give(out, jval_bool(some && !other));
}

METHOD(str_isupper) {
    UNUSED_ARGS;
    return one_case(j, self.s, true, out);
}
METHOD(str_islower) {
    UNUSED_ARGS;
    return one_case(j, self.s, false, out);
}

const JMethodRow jinja_string_methods[] = {
    {J_STR, "strip", "chars", 0, str_strip_both},
    {J_STR, "lstrip", "chars", 0, str_strip_left},
    {J_STR, "rstrip", "chars", 0, str_strip_right},
    {J_STR, "split", "sep,maxsplit", 0, str_split},
    {J_STR, "rsplit", "sep,maxsplit", 0, str_rsplit},
    {J_STR, "splitlines", "keepends", 0, str_splitlines},
    {J_STR, "replace", "old,new,count", 2, str_replace},
    {J_STR, "startswith", "prefix,start,end", 1, str_startswith},
    {J_STR, "endswith", "suffix,start,end", 1, str_endswith},
    {J_STR, "upper", "", 0, str_upper},
    {J_STR, "lower", "", 0, str_lower},
    {J_STR, "casefold", "", 0, str_lower},
    {J_STR, "title", "", 0, str_title},
    {J_STR, "capitalize", "", 0, str_capitalize},
    {J_STR, "swapcase", "", 0, str_swapcase},
    {J_STR, "join", "iterable", 1, str_join},
    {J_STR, "find", "sub,start,end", 1, str_find},
    {J_STR, "rfind", "sub,start,end", 1, str_rfind},
    {J_STR, "index", "sub,start,end", 1, str_index},
    {J_STR, "rindex", "sub,start,end", 1, str_rindex},
    {J_STR, "count", "sub,start,end", 1, str_count},
    {J_STR, "format", "*", 0, str_format},
    {J_STR, "removeprefix", "prefix", 1, str_removeprefix},
    {J_STR, "removesuffix", "suffix", 1, str_removesuffix},
    {J_STR, "partition", "sep", 1, str_partition},
    {J_STR, "rpartition", "sep", 1, str_rpartition},
    {J_STR, "ljust", "width,fillchar", 1, str_ljust},
    {J_STR, "rjust", "width,fillchar", 1, str_rjust},
    {J_STR, "center", "width,fillchar", 1, str_center},
    {J_STR, "zfill", "width", 1, str_zfill},
    {J_STR, "isdigit", "", 0, str_isdigit},
    {J_STR, "isnumeric", "", 0, str_isdigit},
    {J_STR, "isdecimal", "", 0, str_isdigit},
    {J_STR, "isalpha", "", 0, str_isalpha},
    {J_STR, "isalnum", "", 0, str_isalnum},
    {J_STR, "isspace", "", 0, str_isspace},
    {J_STR, "isupper", "", 0, str_isupper},
    {J_STR, "islower", "", 0, str_islower},
};
const size_t jinja_string_method_count = COUNT_OF(jinja_string_methods);
