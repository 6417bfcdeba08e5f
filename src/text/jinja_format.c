// text/jinja_format.c: text from a pattern: "%s" % x, "{}".format(x), and dates.
//
// The part of Python's formatting that templates use: the conversions s r d i f x %, fill,
// alignment, sign, width, thousands, precision; of strftime the fields below. Anything else is an
// error that names it. Attributes in format fields ("{0.x}") are refused, as a sandbox must.
#include "text/jinja_int.h"

typedef struct Spec {
    Str fill;
    char align; // < > ^ or 0
    char sign;  // + or a space, or 0
    bool comma;
    i64 width, precision; // precision -1: none
    char type;            // 0: by the value
} Spec;

enum { WIDEST = 10000 };

static bool number(Str s, size_t *i, i64 *out) {
    *out = 0;
    while (*i < s.len && s.ptr[*i] >= '0' && s.ptr[*i] <= '9') {
        *out = *out * 10 + (s.ptr[(*i)++] - '0');
        if (*out > WIDEST) return false;
    }
    return true;
}

static void add_repeated(Buf *b, Str s, i64 n) {
    for (; n > 0; n--) buf_add(b, s);
}

static void group_thousands(Buf *b, Str digits) {
    size_t whole = 0;
    while (whole < digits.len && digits.ptr[whole] >= '0' && digits.ptr[whole] <= '9') whole++;
    for (size_t i = 0; i < whole; i++) {
        if (i && (whole - i) % 3 == 0) buf_char(b, ',');
        buf_char(b, digits.ptr[i]);
    }
    buf_add(b, str_sub(digits, whole, digits.len));
}

static bool add_formatted(Jinja *j, JVal v, const Spec *s, Buf *b) {
    Buf t = jinja_buf(j);
    double f;
    char sign = 0, type = s->type;
    bool num = jval_num(v, &f) && !(v.type == J_BOOL && !type);
    if (type == 0)
        type = num && (v.type != J_FLOAT || s->precision < 0) ? (v.type == J_FLOAT ? 'r' : 'd')
               : num                                          ? 'f'
                                                              : 's';
    if (type == 's' || type == 'r') {
        if (!(type == 'r' ? jval_repr_add(j, v, &t) : jval_str_add(j, v, &t))) return false;
        if (s->precision >= 0 && !num) t.len = jstr_offset(buf_str(&t), (size_t)s->precision);
        num = num && type == 'r';
    } else {
        if (!num)
            return jinja_fail(j, ERR_JINJA_TYPE, "%%%c format: a number is required, not %s", type,
                              jval_type(v));
        if (type == 'd' && v.type == J_FLOAT) {
            if (!(f > -9e18 && f < 9e18))
                return jinja_fail(j, ERR_JINJA_RANGE, "this number does not fit in 64 bits");
            v = jval_int((i64)f);
        }
        if (type == 'd' || type == 'x' || type == 'X') {
            i64 i = jval_as_int(v);
            sign = i < 0 ? '-' : 0;
            buf_fmt(&t, type == 'd' ? "%U" : "%X", i < 0 ? 0 - (u64)i : (u64)i);
            for (size_t k = 0; type == 'X' && k < t.len; k++)
                t.ptr[k] = (char)jchar_upper((u8)t.ptr[k]);
        } else {
            i64 digits = s->precision < 0 ? 6 : s->precision;
            if (digits > 9)
                return jinja_fail(j, ERR_JINJA_RANGE, "at most 9 decimals can be printed");
            char fmt[] = {'%', '.', (char)('0' + digits), 'f', 0};
            f *= type == '%' ? 100 : 1;
            sign = f < 0 ? '-' : 0;
            buf_fmt(&t, fmt, f < 0 ? -f : f);
            if (type == '%') buf_char(&t, '%');
        }
    }
    if (num && t.len && t.ptr[0] == '-') {
        sign = '-';
        t.ptr++;
        t.len--;
    }
    if (num && !sign) sign = s->sign;
    Buf body = jinja_buf(j);
    if (s->comma)
        group_thousands(&body, buf_str(&t));
    else
        buf_add(&body, buf_str(&t));
    i64 room = s->width - (i64)jstr_count(buf_str(&body)) - (sign != 0);
    char align = s->align ? s->align : num ? '>' : '<';
    i64 before = align == '<' ? 0 : align == '^' ? room / 2 : room;
    if (align == '=' && sign) buf_char(b, sign);
    add_repeated(b, s->fill, before);
    if (align != '=' && sign) buf_char(b, sign);
    buf_add(b, buf_str(&body));
    add_repeated(b, s->fill, align == '<' || align == '^' ? room - MAX2(before, 0) : 0);
    return jinja_buf_ok(j, b) && jinja_step(j, (u64)(s->width / 16 + 1));
}

bool jinja_percent(Jinja *j, Str fmt, JVal arg, Str *out) {
    Buf b = jinja_buf(j);
    size_t used = 0, have = arg.type == J_TUPLE ? arg.list->n : 1;
    for (size_t i = 0; i < fmt.len; i++) {
        if (fmt.ptr[i] != '%') {
            buf_char(&b, fmt.ptr[i]);
            continue;
        }
        Spec s = {.fill = S(" "), .precision = -1};
        JVal v = arg;
        bool keyed = false;
        if (!jinja_step(j, 1)) return false;
        i++;
        if (i < fmt.len && fmt.ptr[i] == '(' && arg.type == J_DICT) { // %(key)s
            size_t from = ++i;
            while (i < fmt.len && fmt.ptr[i] != ')') i++;
            if (!jval_dict_get(arg, str_sub(fmt, from, i), &v))
                return jinja_fail(j, ERR_JINJA_ARGS, "%% names a key that is not given: %S",
                                  str_sub(fmt, from, i));
            keyed = true;
            i++;
        }
        for (; i < fmt.len && fmt.ptr[i] && strchr("-+ 0#", fmt.ptr[i]); i++) {
            if (fmt.ptr[i] == '-')
                s.align = '<';
            else if (fmt.ptr[i] == '0' && s.align != '<') {
                s.align = '=';
                s.fill = S("0");
            } else if (fmt.ptr[i] == '+' || fmt.ptr[i] == ' ')
                s.sign = fmt.ptr[i];
        }
        if (!s.align) s.align = '>';
        if (!number(fmt, &i, &s.width))
            return jinja_fail(j, ERR_JINJA_RANGE, "a width over %d", WIDEST);
        if (i < fmt.len && fmt.ptr[i] == '.') {
            i++;
            if (!number(fmt, &i, &s.precision))
                return jinja_fail(j, ERR_JINJA_RANGE, "a precision over %d", WIDEST);
        }
        char c = i < fmt.len ? fmt.ptr[i] : 0;
        if (c == '%') {
            buf_char(&b, '%');
            continue;
        }
        if (!c || !strchr("srdifxX", c))
            return jinja_fail(j, ERR_JINJA_ARGS, "%% wants one of s r d i f x after it");
        if (!keyed) {
            if (used >= have)
                return jinja_fail(j, ERR_JINJA_ARGS, "not enough arguments for format string");
            v = arg.type == J_TUPLE ? arg.list->at[used] : arg;
            used++;
        }
        s.type = c == 'i' ? 'd' : c;
        if (!add_formatted(j, v, &s, &b)) return false;
    }
    // Python asks only whether it could be a mapping
    if (used < have && arg.type != J_DICT && arg.type != J_LIST && arg.type != J_UNDEFINED)
        return jinja_fail(j, ERR_JINJA_ARGS,
                          "not all arguments converted during string formatting");
    *out = buf_str(&b);
    return jinja_buf_ok(j, &b);
}

static bool parse_spec(Jinja *j, Str t, Spec *s) {
    size_t i = 0, next = 0;
    *s = (Spec){.fill = S(" "), .precision = -1};
    if (t.len) jstr_char(t, 0, &next);
    if (next && next < t.len && strchr("<>^=", t.ptr[next]) && t.ptr[next]) {
        s->fill = str_sub(t, 0, next);
        s->align = t.ptr[next];
        i = next + 1;
    } else if (t.len && t.ptr[0] && strchr("<>^=", t.ptr[0])) {
        s->align = t.ptr[0];
        i = 1;
    }
    if (i < t.len && (t.ptr[i] == '+' || t.ptr[i] == ' ' || t.ptr[i] == '-')) {
        s->sign = t.ptr[i] == '-' ? 0 : t.ptr[i];
        i++;
    }
    if (i < t.len && t.ptr[i] == '0' && !s->align) {
        s->align = '=';
        s->fill = S("0");
    }
    bool fits = number(t, &i, &s->width);
    if (fits && i < t.len && t.ptr[i] == ',') {
        s->comma = true;
        i++;
    }
    if (fits && i < t.len && t.ptr[i] == '.') {
        i++;
        fits = number(t, &i, &s->precision);
    }
    if (fits && i < t.len && t.ptr[i] && strchr("sdfxX%", t.ptr[i])) s->type = t.ptr[i++];
    return (fits && i == t.len) || jinja_fail(j, ERR_JINJA_ARGS, "the format %S is not known", t);
}

bool jinja_format(Jinja *j, Str fmt, const JArgs *args, Str *out) {
    Buf b = jinja_buf(j);
    size_t automatic = 0;
    for (size_t i = 0; i < fmt.len; i++) {
        char c = fmt.ptr[i];
        if ((c == '{' || c == '}') && i + 1 < fmt.len && fmt.ptr[i + 1] == c) {
            buf_char(&b, c);
            i++;
            continue;
        }
        if (c != '{') {
            if (c == '}') return jinja_fail(j, ERR_JINJA_ARGS, "single } in a format string");
            buf_char(&b, c);
            continue;
        }
        size_t from = i + 1, end = from;
        while (end < fmt.len && fmt.ptr[end] != '}' && fmt.ptr[end] != '{') end++;
        if (end >= fmt.len || fmt.ptr[end] != '}')
            return jinja_fail(j, ERR_JINJA_ARGS, "a { in a format string wants its } ");
        Str spec, field = str_cut(str_sub(fmt, from, end), ':', &spec);
        char conversion = 0;
        if (field.len >= 2 && field.ptr[field.len - 2] == '!') {
            conversion = field.ptr[field.len - 1];
            field.len -= 2;
        }
        JVal v = {.type = J_MISSING};
        i64 at = (i64)automatic;
        if (field.len == 0) automatic++;
        if (field.len == 0 || str_to_i64(field, &at)) {
            if (at >= 0 && (u64)at < args->n) v = args->pos[at];
        }
        for (size_t k = 0; k < args->nkw; k++)
            if (str_eq(args->kw[k], field)) v = args->kwval[k];
        if (v.type == J_MISSING)
            return jinja_fail(j, ERR_JINJA_ARGS, "no value is given for {%S}", field);
        Spec s;
        if (!parse_spec(j, spec, &s)) return false;
        if (conversion == 's' || conversion == 'r') s.type = conversion;
        if (!add_formatted(j, v, &s, &b)) return false;
        i = end;
    }
    *out = buf_str(&b);
    return jinja_buf_ok(j, &b) && jinja_step(j, fmt.len / 16);
}

// ---- dates --------------------------------------------------------------------------------------

static const char *const months[] = {"January",   "February", "March",    "April",
                                     "May",       "June",     "July",     "August",
                                     "September", "October",  "November", "December"};
static const char *const days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                   "Thursday", "Friday", "Saturday"};

static int day_of_year(const ChatTime *t) {
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    bool leap = (t->year % 4 == 0 && t->year % 100 != 0) || t->year % 400 == 0;
    return before[t->month - 1] + t->day + (leap && t->month > 2);
}

static int day_of_week(const ChatTime *t) // Sunday 0; Sakamoto's rule
{
    static const int shift[] = {0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4};
    int y = t->year - (t->month < 3);
    return (y + y / 4 - y / 100 + y / 400 + shift[t->month - 1] + t->day) % 7;
}

static bool date_field(char c, bool bare, const ChatTime *t, Buf *b) {
    int n = 0, width = 2, hour = t->hour % 12 ? t->hour % 12 : 12;
    switch (c) {
    case '%': buf_char(b, '%'); return true;
    case 'B': buf_fmt(b, "%s", months[t->month - 1]); return true;
    case 'b':
    case 'h': buf_add(b, str_sub(str_c(months[t->month - 1]), 0, 3)); return true;
    case 'A': buf_fmt(b, "%s", days[day_of_week(t)]); return true;
    case 'a': buf_add(b, str_sub(str_c(days[day_of_week(t)]), 0, 3)); return true;
    case 'p': buf_fmt(b, "%s", t->hour < 12 ? "AM" : "PM"); return true;
    case 'F': buf_fmt(b, "%d-%02d-%02d", t->year, t->month, t->day); return true;
    case 'T': buf_fmt(b, "%02d:%02d:%02d", t->hour, t->minute, t->second); return true;
    case 'R': buf_fmt(b, "%02d:%02d", t->hour, t->minute); return true;
    case 'D': buf_fmt(b, "%02d/%02d/%02d", t->month, t->day, t->year % 100); return true;
    case 'e': buf_fmt(b, "%2d", t->day); return true;
    case 'n': buf_char(b, '\n'); return true;
    case 't': buf_char(b, '\t'); return true;
    case 'Z':
    case 'z': return true; // a time without a zone
    case 'Y': n = t->year, width = 4; break;
    case 'y': n = t->year % 100; break;
    case 'm': n = t->month; break;
    case 'd': n = t->day; break;
    case 'H': n = t->hour; break;
    case 'I': n = hour; break;
    case 'M': n = t->minute; break;
    case 'S': n = t->second; break;
    case 'j': n = day_of_year(t), width = 3; break;
    case 'w': n = day_of_week(t), width = 1; break;
    case 'u': n = day_of_week(t) ? day_of_week(t) : 7, width = 1; break;
    default: return false;
    }
    buf_fmt(b, bare || width == 1 ? "%d" : width == 2 ? "%02d" : width == 3 ? "%03d" : "%04d", n);
    return true;
}

bool jinja_strftime(Jinja *j, Str fmt, const ChatTime *t, Str *out) {
    Buf b = jinja_buf(j);
    if (t->month < 1 || t->month > 12 || t->day < 1 || t->day > 31 || t->year < 1 || t->year > 9999)
        return jinja_fail(j, ERR_JINJA_RANGE, "the clock shows no date");
    for (size_t i = 0; i < fmt.len; i++) {
        if (fmt.ptr[i] != '%' || i + 1 == fmt.len) {
            buf_char(&b, fmt.ptr[i]);
            continue;
        }
        bool bare = fmt.ptr[i + 1] == '-' && i + 2 < fmt.len; // %-d: no leading zero
        i += bare ? 2 : 1;
        if (!date_field(fmt.ptr[i], bare, t, &b))
            return jinja_fail(j, ERR_JINJA_ARGS, "strftime_now does not know %%%S",
                              str_sub(fmt, i, i + 1));
    }
    *out = buf_str(&b);
    return jinja_buf_ok(j, &b) && jinja_step(j, fmt.len / 16);
}
