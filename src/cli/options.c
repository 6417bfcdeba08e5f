// cli/options.c: reading a command's options from its table, and printing its help page from the
// same table.
//
// `--name value`, `--name=value`, `-n value` and `-nvalue` all work, `--` ends the options. A
// number is checked against its range here, so that commands never see one outside it. What is not
// known is named, and nothing is guessed.
#include "cli/cli.h"

#include <stdlib.h>

static void print_page(const Command *c, const Opt *opts, int nopts) {
    printf("hob %s - %s\n\nUSE\n    hob %s %s\n\n", c->name, c->brief, c->name, c->use);
    printf("%s\nOPTIONS\n", c->page);
    for (int i = 0; i < nopts; i++) {
        char left[64];
        snprintf(left, sizeof left, "%s%s%s%s%s", opts[i].alias ? opts[i].alias : "",
                 opts[i].alias ? ", " : "", opts[i].name, opts[i].arg ? " " : "",
                 opts[i].arg ? opts[i].arg : "");
        printf("    %-22s %s\n", left, opts[i].doc);
    }
    printf("    %-22s %s\n\nEXIT STATUS\n    0 done, 1 failed, 2 wrong use.\n", "--help",
           "this page");
}

int usage_error(const Command *c, const char *fmt, ...) {
    char text[512];
    Buf b = {.ptr = text, .cap = sizeof text};
    va_list ap;
    va_start(ap, fmt);
    buf_vfmt(&b, fmt, ap);
    va_end(ap);
    fprintf(stderr, "hob %s: %.*s; see `hob %s --help`\n", c->name, (int)b.len, b.ptr, c->name);
    return EXIT_USAGE;
}

static bool set_value(const Command *c, const Opt *o, Str v) {
    if (o->kind == OPT_DEVICE && !device_known(v)) {
        char names[128];
        Buf b = {.ptr = names, .cap = sizeof names};
        device_names(&b);
        usage_error(c, "%s takes one of the devices of this build (%S), not `%S`", o->name,
                    buf_str(&b), v);
        return false;
    }
    if (o->kind == OPT_STR || o->kind == OPT_DEVICE) {
        *(Str *)o->to = v;
        return true;
    }
    double d = 0;
    i64 i = 0;
    // limits are exact as doubles; a whole number is compared before it is rounded to one
    bool ok = o->kind == OPT_INT ? str_to_i64(v, &i) && i >= (i64)o->lo && i <= (i64)o->hi
                                 : str_to_f64(v, &d) && d >= o->lo && d <= o->hi;
    if (!ok) {
        usage_error(c, "%s takes %s from %g to %g, not `%S`", o->name,
                    o->kind == OPT_INT ? "a whole number" : "a number", o->lo, o->hi, v);
        return false;
    }
    if (o->kind == OPT_INT)
        *(i64 *)o->to = i;
    else
        *(double *)o->to = d;
    return true;
}

Parsed options_parse(const Command *c, const Opt *opts, int nopts, int argc, char **argv,
                     Str *words, int max_words, int *nwords) {
    bool only_words = false;
    int n = 0;
    for (int i = 1; i < argc; i++) {
        Str arg = str_c(argv[i]);
        if (!only_words && str_eq(arg, S("--"))) {
            only_words = true;
            continue;
        }
        if (only_words || arg.len < 2 || arg.ptr[0] != '-') {
            if (n == max_words) {
                usage_error(c, "`%S` is one word too many", arg);
                return PARSED_WRONG;
            }
            words[n++] = arg;
            continue;
        }
        if (str_eq(arg, S("--help")) || str_eq(arg, S("-h"))) {
            print_page(c, opts, nopts);
            return out_finish() ? PARSED_HELP : PARSED_WRONG;
        }
        Str value = {0}, name = arg;
        if (str_starts(arg, S("--")) && memchr(arg.ptr, '=', arg.len)) {
            name = str_cut(arg, '=', &value);
            if (!value.ptr) value = S("");
        } else if (arg.ptr[1] != '-' && arg.len > 2) {
            name = str_sub(arg, 0, 2);
            value = str_sub(arg, 2, arg.len);
        }
        const Opt *o = NULL;
        for (int k = 0; k < nopts; k++)
            if (str_eq(name, str_c(opts[k].name)) ||
                (opts[k].alias && str_eq(name, str_c(opts[k].alias))))
                o = &opts[k];
        if (!o) {
            usage_error(c, "`%S` is not an option", str_starts(arg, S("--")) ? name : arg);
            return PARSED_WRONG;
        }
        if (o->kind == OPT_FLAG) {
            if (value.ptr) {
                usage_error(c, "%s takes no value", o->name);
                return PARSED_WRONG;
            }
            *(bool *)o->to = true;
            continue;
        }
        if (!value.ptr) {
            if (i + 1 == argc) {
                usage_error(c, "%s needs a value (%s)", o->name, o->arg);
                return PARSED_WRONG;
            }
            value = str_c(argv[++i]);
        }
        if (!set_value(c, o, value)) return PARSED_WRONG;
    }
    if (nwords) *nwords = n;
    return PARSED_OK;
}
