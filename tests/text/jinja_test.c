// tests/text/jinja_test.c: guards chat templates: the golden cases of the reference, and what it
// cannot say: limits.
//
// jinja_cases.json is made by tools/gen_jinja_cases.py with Jinja itself. The tables below are
// ours: results where a reader should see what is meant, errors with their ids and places, and
// templates that mean harm.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "chat.h"

static Str read_file(Arena *a, const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("%s cannot be opened", path);
    fseek(f, 0, SEEK_END);
    size_t n = (size_t)ftell(f);
    rewind(f);
    char *p = arena_alloc(a, n + 1);
    assert_int_equal(fread(p, 1, n, f), n);
    fclose(f);
    return (Str){p, n};
}

static JVal field(JVal dict, const char *name) {
    JVal v = {0};
    jval_dict_get(dict, str_c(name), &v);
    return v;
}

static bool render(Arena *a, Str text, JVal vars, const TemplateLimits *limits, Buf *out,
                   Err *err) {
    static const ChatTime now = {2024, 7, 4, 9, 5, 3};
    const Template *t;
    TemplateEnv env = {.vars = vars, .now = &now};
    if (limits) env.limits = *limits;
    *out = (Buf){.arena = a};
    *err = (Err){0};
    return template_compile(a, S("t.jinja"), text, &t, err) &&
           template_render(a, t, &env, out, err);
}

static int complaints; // so that one run shows them all

static void complain(Str what, bool ok, const Buf *out, const Err *err, Str want) {
    Arena *a = arena_new(NULL);
    Buf b = {.arena = a};
    buf_fmt(&b, "\n  %S\n  wants %S\n  gives ", what, want);
    if (ok)
        buf_add(&b, buf_str(out));
    else
        err_print(err, &b);
    print_error("%s\n", b.ptr);
    complaints++;
    arena_free(a);
}

static void no_complaints(void) {
    int n = complaints;
    complaints = 0;
    assert_int_equal(n, 0);
}

// ---- the reference's cases ----------------------------------------------------------------------

static void golden_cases_render_as_jinja_does(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    JVal root;
    Err err = {0};
    assert_true(
        jval_from_json(a, read_file(a, "tests/text/fixtures/jinja_cases.json"), &root, &err));
    JVal cases = field(root, "cases"), values = field(root, "values"), clock = field(root, "now");
    ChatTime now = {(int)jval_list_at(clock, 0).i, (int)jval_list_at(clock, 1).i,
                    (int)jval_list_at(clock, 2).i, (int)jval_list_at(clock, 3).i,
                    (int)jval_list_at(clock, 4).i, (int)jval_list_at(clock, 5).i};
    assert_true(jval_len(cases) > 1000);
    for (size_t i = 0; i < jval_len(cases); i++) {
        Arena *mine = arena_new(NULL);
        JVal c = jval_list_at(cases, i), expect = field(c, "expect"), refused = field(c, "refused"),
             name = field(c, "template");
        Str text = field(c, "text").s, what = text;
        const Template *t;
        Buf out = {.arena = mine};
        bool ok;
        err = (Err){0};
        if (name.type == J_STR) {
            Buf path = {.arena = mine};
            buf_fmt(&path, "tests/text/templates/%S.jinja", name.s);
            text = read_file(mine, path.ptr);
            ChatMessages m = {mine, field(field(root, "conversations"),
                                          arena_cstr(mine, field(c, "conversation").s))};
            ChatVars vars = {.extra = field(c, "more"), .now = &now};
            if (field(c, "tools").type == J_BOOL) vars.tools = field(root, "tools");
            what = str_fmt(mine, "%S with %S", name.s, field(c, "conversation").s);
            ok = template_compile(mine, name.s, text, &t, &err) &&
                 template_render_chat(mine, t, &m, S("<s>"), S("</s>"), field(c, "prompt").b, &vars,
                                      &out, &err);
        } else {
            TemplateEnv env = {.vars = values, .now = &now};
            ok = template_compile(mine, S("case"), text, &t, &err) &&
                 template_render(mine, t, &env, &out, &err);
        }
        if (expect.type == J_STR && !(ok && str_eq(buf_str(&out), expect.s)))
            complain(what, ok, &out, &err, expect.s);
        if (refused.type == J_STR &&
            (ok || err.id != ERR_JINJA_RAISED || !str_eq(str_c(err.msg), refused.s)))
            complain(what, ok, &out, &err, refused.s);
        if (expect.type != J_STR && (ok || err.line == 0 || err.msg[0] == 0))
            complain(what, ok, &out, &err, S("an error with its place"));
        arena_free(mine);
    }
    arena_free(a);
    no_complaints();
}

#ifndef __wasm__ // there are no files as sources there
// The default model's own template, from its file.
static void the_default_model_is_prompted_as_jinja_would(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    JVal root;
    Err err = {0};
    assert_true(
        jval_from_json(a, read_file(a, "tests/text/fixtures/jinja_cases.json"), &root, &err));
    JVal cases = field(root, "model_cases");
    Str path = field(root, "model").s, text;
    Source src;
    Gguf *g;
    const Template *t;
    if (!source_file_open(a, path, &src, &err)) {
        print_message("SKIP the_default_model_is_prompted_as_jinja_would: %.*s is not there; make "
                      "setup fetches it\n",
                      STR_ARG(path));
        arena_free(a);
        skip();
        return;
    }
    assert_true(gguf_open(a, &src, &g, &err) &&
                gguf_get_str(g, S("tokenizer.chat_template"), &text, &err));
    assert_true(template_compile(a, path, text, &t, &err));
    assert_true(jval_len(cases) > 20);
    for (size_t i = 0; i < jval_len(cases); i++) {
        JVal c = jval_list_at(cases, i), expect = field(c, "expect");
        ChatMessages m = {
            a, field(field(root, "conversations"), arena_cstr(a, field(c, "conversation").s))};
        Buf out = {.arena = a};
        err = (Err){0};
        bool ok = template_render_chat(a, t, &m, S("<|im_start|>"), S("<|im_end|>"),
                                       field(c, "prompt").b, NULL, &out, &err);
        if (expect.type == J_STR ? !ok || !str_eq(buf_str(&out), expect.s) : ok)
            complain(field(c, "conversation").s, ok, &out, &err, expect.s);
    }
    source_file_close(&src);
    arena_free(a);
    no_complaints();
}
#endif

// ---- our own ------------------------------------------------------------------------------------

typedef struct Case {
    const char *text, *want;
} Case;

static const Case results[] = {
    // white space, as transformers sets it
    {"{% if true %}\nx\n{% endif %}\n", "x\n"},
    {"  {% if true %}\n  x\n  {% endif %}\n", "  x\n"},
    {"a {%- if true -%} b {%- endif %} c", "ab c"},
    {"  {{ 1 }}\n\n", "  1\n"},
    {"{# gone #}\nx", "x"},
    {"\r\n{{ 1 }}\r\n2\r\n", "\n1\n2"},
    {"{% raw %}{{ x }}{% endraw %}", "{{ x }}"},
    {"{%+ if true %}x{% endif +%}\ny", "x\ny"},
    // values print as Python prints them
    {"{{ true }} {{ none }} {{ 1.0 }} {{ 1e16 }} {{ 0.1 + 0.2 }}",
     "True None 1.0 1e+16 0.30000000000000004"},
    {"{{ [1, 'a', \"it's\", none, (1,), {'k': 1.5}] }}",
     "[1, 'a', \"it's\", None, (1,), {'k': 1.5}]"},
    {"{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }}", "3 -4 2 3.5 1024"},
    {"{{ 1 + 2 ~ 'x' }}", NULL}, // ~ binds tighter than +
    {"{{ (1 + 2) ~ 'x' ~ true }}", "3xTrue"},
    {"{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 == true }}", "True False True"},
    {"{{ 'a' in 'abc' }} {{ 4 not in [1, 2] }} {{ 'k' in {'k': 1} }}", "True True True"},
    {"{{ 'x' if false }}|{{ 'x' if false else 'y' }}", "|y"},
    {"{{ 'h\xC3\xA9llo'[1] }}{{ 'h\xC3\xA9llo'[::-1] }}{{ 'h\xC3\xA9llo'|length }}",
     "\xC3\xA9oll\xC3\xA9h5"},
    {"{{ 'stra\xC3\x9F"
     "e'|upper }} {{ '\xC3\x84\xD0\x9F\xCE\xA9'|lower }}",
     "STRASSE \xC3\xA4\xD0\xBF\xCF\x89"},
    {"{{ '\xC2\xA0\xE3\x80\x80 x \xE2\x80\xA9'|trim }}", "x"},
    // scopes
    {"{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}", "1"},
    {"{% set n = namespace(x=1) %}{% for i in [1] %}{% set n.x = 2 %}{% endfor %}{{ n.x }}", "2"},
    {"{% if true %}{% set x = 2 %}{% endif %}{{ x }}", "2"},
    {"{% macro m(a, b='B') %}{{ a }}{{ b }}{% endmacro %}{{ m('x') }}{{ m('x', b='y') }}", "xBxy"},
    {"{% macro m() %}[{{ caller('z') }}]{% endmacro %}{% call(v) m() %}{{ v }}{% endcall %}",
     "[z]"},
    {"{% set t %}a{{ 1 }}{% endset %}{{ t|upper }}", "A1"},
    {"{% for x in 'ab' %}{{ loop.index }}{{ x }}{{ ',' if not loop.last }}{% endfor %}", "1a,2b"},
    {"{% for x in [] %}{% else %}none{% endfor %}", "none"},
    {"{% for x in range(9) if x is odd %}{% if x > 5 %}{% break %}{% endif %}{{ x }}{% endfor %}",
     "135"},
    {"{% generation %}said{% endgeneration %}", "said"},
    // undefined prints as nothing and is false
    {"[{{ nope }}{{ {}.nope }}{{ [][5] }}]{{ nope is defined }}{{ nope or 1 }}", "[]False1"},
    {"{{ nope|default('d') }}{{ ''|default('e', true) }}{{ nope|length }}", "de0"},
    // the sandbox: looking is allowed
    {"[{{ ''.__class__ }}{{ [].append }}]", "[]"},
    {"{{ {'a': '<é>'} | tojson }}{{ [1, 2] | tojson(indent=1) }}", "{\"a\": \"<é>\"}[\n 1,\n 2\n]"},
    {"{{ strftime_now('%d %b %Y') }}", "04 Jul 2024"},
    {"{{ [3, 1, 2] | sort | join('-') }} {{ ['b', 'A'] | sort }} {{ [1, 2, 3] | select('odd') | "
     "list }}",
     "1-2-3 ['A', 'b'] [1, 3]"},
    {"{% if [] | select %}a generator is true{% endif %}", "a generator is true"},
    // text that grows in a loop, and is cut and lengthened again, never changes what others hold
    {"{% set n = namespace(a='x') %}{% for i in range(4) %}{% set n.b = n.a %}{% set n.a = n.b ~ i "
     "%}{% set n.c = n.b ~ 'z' %}"
     "{{ n.a }},{{ n.b }},{{ n.c }};{% endfor %}",
     "x0,x,xz;x01,x0,x0z;x012,x01,x01z;x0123,x012,x012z;"},
    {"{% set a = 'ab' ~ 'cd' %}{% set p = a[:3] %}{% set q = p ~ 'X' %}{{ a }}{{ q }}", "abcdabcX"},
};

static void results_are_what_a_reader_expects(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(results); i++) {
        Arena *a = arena_new(NULL);
        Buf out;
        Err err;
        bool ok = render(a, str_c(results[i].text), jval_dict(a), NULL, &out, &err);
        if (results[i].want ? !ok || !str_eq(buf_str(&out), str_c(results[i].want)) : ok)
            complain(str_c(results[i].text), ok, &out, &err, str_c(results[i].want));
        arena_free(a);
    }
    no_complaints();
}

static const struct {
    const char *text;
    ErrId id;
    int line, col;
    const char *word; // stands in the message
} errors[] = {
    {"{{ x", ERR_JINJA_SYNTAX, 1, 5, "}}"},
    {"a\nb {{ 1 + }}", ERR_JINJA_SYNTAX, 2, 10, "expression"},
    {"{% if x %}\n", ERR_JINJA_SYNTAX, 1, 11, "endif"},
    {"\n{% endfor %}", ERR_JINJA_SYNTAX, 2, 4, "endfor"},
    {"{% frob %}", ERR_JINJA_SYNTAX, 1, 4, "frob"},
    {"{# x", ERR_JINJA_SYNTAX, 1, 1, "#}"},
    {"{{ 'x }}", ERR_JINJA_SYNTAX, 1, 4, "string"},
    {"{{ (1] }}", ERR_JINJA_SYNTAX, 1, 6, "]"},
    {"{{ '\\u12' }}", ERR_JINJA_SYNTAX, 1, 5, "hexadecimal"},
    {"{% raw %}", ERR_JINJA_SYNTAX, 1, 1, "endraw"},
    {"{{ x|frob }}", ERR_JINJA_NAME, 1, 6, "frob"},
    {"{{ x is frob }}", ERR_JINJA_NAME, 1, 9, "frob"},
    {"{{ x.y }}", ERR_JINJA_UNDEFINED, 1, 6, "'x' is undefined"},
    {"é {{ {}.a.b }}", ERR_JINJA_UNDEFINED, 1, 11, "'dict object' has no attribute 'a'"},
    {"{{ x() }}", ERR_JINJA_UNDEFINED, 1, 4, "'x' is undefined"},
    {"{{ 1 + 'a' }}", ERR_JINJA_TYPE, 1, 6, "'int' and 'str'"},
    {"{{ 'a' + 1 }}", ERR_JINJA_TYPE, 1, 8, "concatenate"},
    {"{{ 1 < 'a' }}", ERR_JINJA_TYPE, 1, 6, "not supported"},
    {"{% for x in 3 %}{% endfor %}", ERR_JINJA_TYPE, 1, 13, "not iterable"},
    {"{{ 1 / 0 }}", ERR_JINJA_RANGE, 1, 6, "zero"},
    {"{{ 9223372036854775807 + 1 }}", ERR_JINJA_RANGE, 1, 24, "64 bits"},
    {"{{ 9223372036854775808 }}", ERR_JINJA_RANGE, 1, 4, "64 bits"},
    {"{{ 'a'|replace('b') }}", ERR_JINJA_ARGS, 1, 8, "new"},
    {"{{ 'a'|upper(1) }}", ERR_JINJA_ARGS, 1, 8, "at most 0"},
    {"{{ 'a'|trim(x=1) }}", ERR_JINJA_ARGS, 1, 8, "no argument named x"},
    {"{{ raise_exception('No, \\'never\\' {{ }}!') }}", ERR_JINJA_RAISED, 1, 4,
     "No, 'never' {{ }}!"},
    {"{{ [].append(1) }}", ERR_JINJA_SECURITY, 1, 7, "append"},
    {"{{ ''.__class__.__mro__ }}", ERR_JINJA_SECURITY, 1, 17, "__class__"},
    {"{{ ''.__class__.__mro__[1].__subclasses__() }}", ERR_JINJA_SECURITY, 1, 17, "unsafe"},
    {"{{ ''['__class__']['__base__'] }}", ERR_JINJA_SECURITY, 1, 19, "unsafe"},
    {"{{ (''|attr('__class__'))() }}", ERR_JINJA_SECURITY, 1, 8, "unsafe"},
    {"{{ '{0.__class__}'.format(1) }}", ERR_JINJA_ARGS, 1, 20, "__class__"},
    {"{% for x in ''.__class__ %}{% endfor %}", ERR_JINJA_SECURITY, 1, 16, "unsafe"},
    {"{% set x.y = 1 %}", ERR_JINJA_TYPE, 1, 8, "namespace"},
    {"{{ nope|tojson }}", ERR_JINJA_TYPE, 1, 9, "JSON"},
};

static void errors_name_the_place_and_the_matter(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(errors); i++) {
        Arena *a = arena_new(NULL);
        Buf out;
        Err err;
        bool ok = render(a, str_c(errors[i].text), jval_dict(a), NULL, &out, &err);
        if (ok || err.id != errors[i].id || err.line != errors[i].line ||
            err.col != errors[i].col || !str_has(str_c(err.msg), str_c(errors[i].word)))
            complain(str_c(errors[i].text), ok, &out, &err,
                     str_fmt(a, "%s %d:%d %s", err_name(errors[i].id), errors[i].line,
                             errors[i].col, errors[i].word));
        arena_free(a);
    }
    no_complaints();
}

static void an_error_prints_file_line_and_column(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Buf out, text = {.arena = a};
    Err err;
    assert_false(render(a, S("a\n  {{ x.y }}"), jval_dict(a), NULL, &out, &err));
    err_print(&err, &text);
    assert_string_equal(text.ptr,
                        "t.jinja:2:8: 'x' is undefined; ask without the template, or take another "
                        "conversion of the model");
    arena_free(a);
}

// `before`, then `each` many times, then `after`.
static const struct {
    const char *before, *each;
    int times;
    const char *after;
    ErrId id;
} harm[] = {
    {"{{ range(10**9) }}", "", 0, "", ERR_JINJA_RANGE},
    {"{{ 'x' * 10**9 }}", "", 0, "", ERR_JINJA_MEMORY},
    {"{{ [0] * 10**9 }}", "", 0, "", ERR_JINJA_MEMORY},
    {"{{ [0] * 9223372036854775807 }}", "", 0, "", ERR_JINJA_MEMORY},
    {"{{ 'x'.center(10**9) }}", "", 0, "", ERR_JINJA_FUEL},
    {"{{ '%999999999d' % 1 }}", "", 0, "", ERR_JINJA_RANGE},
    {"{{ 2 ** 2 ** 62 }}", "", 0, "", ERR_JINJA_RANGE},
    {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "", 0, "", ERR_JINJA_DEPTH},
    {"{% macro m(x) %}{{ x(x) }}{% endmacro %}{{ m(m) }}", "", 0, "", ERR_JINJA_DEPTH},
    {"{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "", 0, "", ERR_JINJA_DEPTH},
    {"{% macro m() %}{{ caller() }}{% endmacro %}{% macro r() %}{% call m() %}{{ r() }}{% endcall "
     "%}{% endmacro %}{{ r() }}",
     "", 0, "", ERR_JINJA_DEPTH},
    {"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "", 0, "",
     ERR_JINJA_FUEL},
    {"{% for a in range(99999) %}{{ "
     "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'"
     " }}{% endfor %}",
     "", 0, "", ERR_JINJA_OUTPUT},
    {"{% set n = namespace(s='x') %}{% for a in range(99999) %}{% set n.s = n.s ~ n.s %}{% endfor "
     "%}",
     "", 0, "", ERR_JINJA_MEMORY},
    {"{% set n = namespace(l=[1]) %}{% for a in range(99999) %}{% set n.l = n.l + n.l %}{% endfor "
     "%}",
     "", 0, "", ERR_JINJA_MEMORY},
    {"{% set n = namespace(l=[1]) %}{% for a in range(9999) %}{% set n.l = [n.l] %}{% endfor %}{{ "
     "n.l }}",
     "", 0, "", ERR_JINJA_DEPTH},
    {"{% set n = namespace(l=[1]) %}{% for a in range(9999) %}{% set n.l = [n.l] %}{% endfor %}{{ "
     "n.l == [n.l] }}",
     "", 0, "", ERR_JINJA_DEPTH},
    {"{% set n = namespace(l=[1]) %}{% for a in range(9999) %}{% set n.l = [n.l] %}{% endfor %}{{ "
     "n.l < [n.l] }}",
     "", 0, "", ERR_JINJA_DEPTH},
    {"{% set n = namespace(l=[1]) %}{% for a in range(9999) %}{% set n.l = {'k': n.l} %}{% endfor "
     "%}{{ n.l | tojson }}",
     "", 0, "", ERR_JINJA_DEPTH},
    {"{% set n = namespace() %}{% set n.me = n %}{{ n }}", "", 0, "", ERR_JINJA_DEPTH},
    {"{% set n = namespace(l=[1]) %}{% for a in range(60) %}{% set n.l = [n.l, n.l] %}{% endfor "
     "%}{{ n.l }}",
     "", 0, "", ERR_JINJA_FUEL},
    {"{% set n = namespace(l=[1], k=[1]) %}{% for a in range(60) %}{% set n.l = [n.l, n.l] %}{% "
     "set n.k = [n.k, n.k] %}{% endfor %}{{ n.l == n.k }}",
     "", 0, "", ERR_JINJA_FUEL},
    {"{% set a = 'a' * 1000000 %}{{ a.find('a' * 500000 ~ 'b' ~ 'a' * 400000) }}", "", 0, "",
     ERR_JINJA_FUEL},
    {"{% set a = 'a' * 1000000 %}{{ a.replace('', a) }}", "", 0, "", ERR_JINJA_MEMORY},
    {"{% set a = 'a b ' * 1000000 %}{{ a.rsplit() }}", "", 0, "", ERR_JINJA_FUEL},
    {"{{ ", "(", 6000, "1", ERR_JINJA_DEPTH},
    {"{{ ", "[", 6000, "1", ERR_JINJA_DEPTH},
    {"{{ ", "{1:", 6000, "1", ERR_JINJA_DEPTH},
    {"{{ ", "x(", 6000, "1", ERR_JINJA_DEPTH},
    {"{{ ", "x[", 6000, "1", ERR_JINJA_DEPTH},
    {"{{ ", "not ", 6000, "1 }}", ERR_JINJA_DEPTH},
    {"{{ ", "-", 6000, "1 }}", ERR_JINJA_DEPTH},
    {"{{ 1", " + 1", 6000, " }}", ERR_JINJA_DEPTH},
    {"{{ 1", " and 1", 6000, " }}", ERR_JINJA_DEPTH},
    {"{{ 1", " if 1 else 1", 6000, " }}", ERR_JINJA_DEPTH},
    {"{{ 1", " if 1", 6000, " }}", ERR_JINJA_DEPTH},
    {"{{ 1", "|abs", 6000, " }}", ERR_JINJA_DEPTH},
    {"{{ x", ".x", 6000, " }}", ERR_JINJA_DEPTH},
    {"{{ x", "[0]", 6000, " }}", ERR_JINJA_DEPTH},
    {"{{ x", "()", 6000, " }}", ERR_JINJA_DEPTH},
    {"", "{% if 1 %}", 6000, "", ERR_JINJA_DEPTH},
    {"", "{% for x in [1] %}", 6000, "", ERR_JINJA_DEPTH},
    {"", "{% macro m() %}", 6000, "", ERR_JINJA_DEPTH},
    {"", "{% set x %}", 6000, "", ERR_JINJA_DEPTH},
    {"{% for ", "(", 6000, "x in y %}{% endfor %}", ERR_JINJA_DEPTH},
    {"{% set x ", "|upper", 6000, " %}{% endset %}", ERR_JINJA_DEPTH},
};

static void harmful_templates_end_in_errors(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(harm); i++) {
        Arena *a = arena_new(NULL);
        Buf out, text = {.arena = a};
        Err err;
        TemplateLimits limits = {.fuel = 2000000, .memory = 32 << 20, .output = 1 << 20};
        buf_add(&text, str_c(harm[i].before));
        for (int k = 0; k < harm[i].times; k++) buf_add(&text, str_c(harm[i].each));
        buf_add(&text, str_c(harm[i].after));
        bool ok = render(a, buf_str(&text), jval_dict(a), &limits, &out, &err);
        if (ok || err.id != harm[i].id || err.line == 0)
            complain(str_sub(buf_str(&text), 0, 60), ok, &(Buf){.ptr = "text", .len = 4}, &err,
                     str_c(err_name(harm[i].id)));
        assert_true(arena_used(a) < (size_t)64 << 20);
        arena_free(a);
    }
    no_complaints();
}

// What is wide but not deep must not meet a depth limit.
static void wide_templates_are_fine(void **state) {
    (void)state;
    static const char *const wide[][3] = {
        {"{{ ''", " ~ ''", " }}"},
        {"{{ 1", " == 1", " }}"},
        {"{{ [1", ",1", "]|length > 0 }}"},
        {"{% if 0 %}", "{% elif 0 %}", "{% endif %}"},
        {"", "{% if 1 %}{% endif %}", ""},
        {"", "{# {% #}", ""},
        {"{{ ''", " ''", " }}"},
        {"{% set a", ", a", " = x %}"},
    };
    for (size_t i = 0; i < COUNT_OF(wide); i++) {
        Arena *a = arena_new(NULL);
        Buf out, text = {.arena = a};
        Err err;
        JVal vars = jval_dict(a), ones = jval_list(a);
        for (int k = 0; k < 5001; k++) jval_list_add(a, ones, jval_int(1));
        jval_dict_put(a, vars, S("x"), ones);
        buf_add(&text, str_c(wide[i][0]));
        for (int k = 0; k < 5000; k++) buf_add(&text, str_c(wide[i][1]));
        buf_add(&text, str_c(wide[i][2]));
        if (!render(a, buf_str(&text), vars, NULL, &out, &err))
            complain(str_sub(buf_str(&text), 0, 40), false, &out, &err, S("no error"));
        arena_free(a);
    }
    no_complaints();
}

static void a_template_is_compiled_once_and_rendered_often(void **state) {
    (void)state;
    Arena *a = arena_new(NULL), *scratch = arena_new(NULL);
    const Template *t;
    Err err = {0};
    char text[] = "{% set n = namespace(x=0) %}{% for m in messages %}{% set n.x = n.x + 1 %}{{ "
                  "m.content }}{% endfor %}{{ n.x }}{{ bos_token }}";
    assert_true(template_compile(a, S("t"), str_c(text), &t, &err));
    memset(text, '#', sizeof text - 1); // the template keeps no pointer into it
    for (int i = 0; i < 3; i++) {
        ChatMessages m = {.arena = scratch};
        Buf out = {.arena = scratch};
        chat_add(&m, S("user"), S("a"));
        chat_add(&m, S("assistant"), S("b"));
        assert_true(template_render_chat(scratch, t, &m, S("<s>"), S(""), true, NULL, &out, &err));
        assert_string_equal(out.ptr, "ab2<s>");
        arena_reset(scratch);
    }
    arena_free(scratch);
    arena_free(a);
}

static void output_that_is_there_is_kept_and_not_counted(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    const Template *t;
    Err err = {0};
    Buf out = {.arena = a};
    TemplateEnv env = {.limits.output = 4};
    buf_add(&out, S("before"));
    assert_true(template_compile(a, S("t"), S("1234"), &t, &err));
    assert_true(template_render(a, t, &env, &out, &err));
    assert_string_equal(out.ptr, "before1234");
    env.limits.output = 3;
    assert_false(template_render(a, t, &env, &out, &err));
    assert_int_equal(err.id, ERR_JINJA_OUTPUT);
    arena_free(a);
}

static void a_clock_shows_the_date_of_its_seconds(void **state) {
    (void)state;
    static const struct {
        i64 seconds;
        ChatTime want;
    } rows[] = {
        {-1, {1970, 1, 1, 0, 0, 0}},
        {0, {1970, 1, 1, 0, 0, 0}},
        {951782400, {2000, 2, 29, 0, 0, 0}},
        {951868799, {2000, 2, 29, 23, 59, 59}},
        {951868800, {2000, 3, 1, 0, 0, 0}},
        {1773500966, {2026, 3, 14, 15, 9, 26}},
        {4107542399, {2100, 2, 28, 23, 59, 59}},
        {4107542400, {2100, 3, 1, 0, 0, 0}},
        {253402300799, {9999, 12, 31, 23, 59, 59}},
        {INT64_MAX, {9999, 12, 31, 23, 59, 59}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        ChatTime t = chat_time(rows[i].seconds);
        assert_memory_equal(&t, &rows[i].want, sizeof t);
    }
    int month = 1; // every day of four hundred years is the day after another
    for (i64 day = 1, last = 1; day < 146097; day++, last++) {
        ChatTime t = chat_time(day * 86400);
        if (t.day == 1) {
            assert_true(last >= 28 && last <= 31);
            month = month % 12 + 1;
            last = 0;
        } else {
            assert_int_equal(t.day, last + 1);
        }
        assert_int_equal(t.month, month);
    }
}

static void without_a_clock_the_date_function_is_not_defined(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    const Template *t;
    Err err = {0};
    Buf out = {.arena = a};
    TemplateEnv env = {0};
    assert_true(template_compile(a, S("t"), S("{{ strftime_now is defined }}"), &t, &err));
    assert_true(template_render(a, t, &env, &out, &err));
    assert_string_equal(out.ptr, "False");
    assert_true(template_compile(a, S("t"), S("{{ strftime_now('%Y') }}"), &t, &err));
    assert_false(template_render(a, t, &env, &out, &err));
    assert_int_equal(err.id, ERR_JINJA_UNDEFINED);
    arena_free(a);
}

static void long_conversations_stay_cheap(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    const Template *t;
    Err err = {0};
    Buf out = {.arena = a};
    ChatMessages m = {.arena = a};
    char words[1001];
    memset(words, 'w', 1000);
    words[1000] = 0;
    for (int i = 0; i < 2000; i++) chat_add(&m, i % 2 ? S("assistant") : S("user"), str_c(words));
    // text that is collected in a namespace: 2 MB, which copying at each step would make 2 GB
    assert_true(template_compile(a, S("t"),
                                 S("{% set n = namespace(s='') %}{% for m in messages %}{% set n.s "
                                   "= n.s + '<' + m.role + '>' + m.content %}"
                                   "{% endfor %}{{ n.s }}"),
                                 &t, &err));
    assert_true(template_render_chat(a, t, &m, S(""), S(""), true, NULL, &out, &err));
    assert_int_equal(out.len, 2000 * 1000 + 1000 * 6 + 1000 * 11);
    arena_free(a);
}

static void json_is_read_strictly(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    JVal v, x;
    Err err = {0};
    assert_true(jval_from_json(a,
                               S("{\"a\": [1, -2.5, true, null, \"\\ud83d\\ude42\"], \"a\": "
                                 "18446744073709551615, \"b\": {}}"),
                               &v, &err));
    assert_int_equal(jval_len(v), 2);
    assert_true(jval_dict_get(v, S("a"), &x));
    assert_int_equal(x.type, J_FLOAT);
    assert_false(jval_from_json(a, S("{\"a\": [1,\n2,]}"), &v, &err));
    assert_int_equal(err.id, ERR_JSON);
    assert_int_equal(err.line, 2);
    Buf deep = {.arena = a};
    for (int i = 0; i < 100000; i++) buf_char(&deep, '[');
    for (int i = 0; i < 100000; i++) buf_char(&deep, ']');
    err = (Err){0};
    assert_false(jval_from_json(a, buf_str(&deep), &v, &err));
    assert_int_equal(err.id, ERR_JSON);
    assert_false(jval_from_json(a, S(""), &v, NULL));
    arena_free(a);
}

static void large_dicts_find_their_keys(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    JVal d = jval_dict(a), v;
    for (int i = 0; i < 5000; i++) jval_dict_put(a, d, str_fmt(a, "k%d", i % 2500), jval_int(i));
    assert_int_equal(jval_len(d), 2500);
    for (int i = 0; i < 2500; i++) {
        assert_true(jval_dict_get(d, str_fmt(a, "k%d", i), &v));
        assert_int_equal(v.i, i + 2500);
    }
    assert_false(jval_dict_get(d, S("k2500"), &v));
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_cases_render_as_jinja_does),
#ifndef __wasm__
        cmocka_unit_test(the_default_model_is_prompted_as_jinja_would),
#endif
        cmocka_unit_test(results_are_what_a_reader_expects),
        cmocka_unit_test(errors_name_the_place_and_the_matter),
        cmocka_unit_test(an_error_prints_file_line_and_column),
        cmocka_unit_test(harmful_templates_end_in_errors),
        cmocka_unit_test(wide_templates_are_fine),
        cmocka_unit_test(a_template_is_compiled_once_and_rendered_often),
        cmocka_unit_test(output_that_is_there_is_kept_and_not_counted),
        cmocka_unit_test(a_clock_shows_the_date_of_its_seconds),
        cmocka_unit_test(without_a_clock_the_date_function_is_not_defined),
        cmocka_unit_test(long_conversations_stay_cheap),
        cmocka_unit_test(json_is_read_strictly),
        cmocka_unit_test(large_dicts_find_their_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
