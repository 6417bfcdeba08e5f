// text/template.c: a chat template from its text to a prompt.
//
// Compiling parses; rendering walks the tree within limits (jinja_eval.c). A conversation is given
// to the template under the names that Hugging Face's transformers uses, because templates were
// written against those.
#include "text/jinja_int.h"

static bool pass_on(const Err *from, Err *to) {
    if (to && to->id == ERR_NONE) *to = *from;
    return false;
}

bool template_compile(Arena *a, Str name, Str text, const Template **out, Err *err) {
    Err e = {0};
    Template *t = NEW(a, Template);
    *out = t;
    return jinja_parse(a, arena_str(a, name), text, t, &e) || pass_on(&e, err);
}

bool template_render(Arena *a, const Template *t, const TemplateEnv *env, Buf *out, Err *err) {
    Err e = {0};
    const TemplateLimits *l = &env->limits;
    Jinja j = {
        .arena = a,
        .t = t,
        .env = env,
        .err = &e,
        .out = out,
        .out_final = out,
        .out_base = out->len,
        .out_limit = l->output ? l->output : (u64)8 << 20,
        .fuel = l->fuel ? l->fuel : 10000000,
        .memory = l->memory ? l->memory : (u64)64 << 20,
        .memory_base = arena_used(a),
        .depth_limit = l->depth ? MIN2(l->depth, JINJA_DEPTH) : JINJA_DEPTH,
    };
    return jinja_run(&j) || pass_on(&e, err);
}

ChatTime chat_time(i64 seconds) {
    // years that begin in March: the leap day is a year's last, so months have one pattern of
    // lengths
    const i64 era_days = 146097, last = 253402300799; // of 400 years; the end of the year 9999
    seconds = MIN2(MAX2(seconds, 0), last);
    i64 days = seconds / 86400 + 719468, rest = seconds % 86400; // since 0000-03-01
    i64 day = days % era_days;
    i64 year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    day -= 365 * year + year / 4 - year / 100;
    i64 month = (5 * day + 2) / 153;
    ChatTime t = {.day = (int)(day - (153 * month + 2) / 5 + 1),
                  .month = (int)(month < 10 ? month + 3 : month - 9),
                  .hour = (int)(rest / 3600),
                  .minute = (int)(rest / 60 % 60),
                  .second = (int)(rest % 60)};
    t.year = (int)(days / era_days * 400 + year + (t.month <= 2));
    return t;
}

static JVal or_none(JVal v) { return v.type == J_UNDEFINED ? jval_none() : v; }

bool template_render_chat(Arena *a, const Template *t, const ChatMessages *m, Str bos, Str eos,
                          bool add_generation_prompt, const ChatVars *vars, Buf *out, Err *err) {
    static const ChatVars no_vars;
    TemplateEnv env = {.vars = jval_dict(a)};
    vars = vars ? vars : &no_vars;
    env.now = vars->now;
    env.limits = vars->limits;
    jval_dict_put(a, env.vars, S("messages"), m->list.type == J_LIST ? m->list : jval_list(a));
    jval_dict_put(a, env.vars, S("tools"), or_none(vars->tools));
    jval_dict_put(a, env.vars, S("documents"), or_none(vars->documents));
    jval_dict_put(a, env.vars, S("add_generation_prompt"), jval_bool(add_generation_prompt));
    if (bos.ptr) jval_dict_put(a, env.vars, S("bos_token"), jval_str(bos));
    if (eos.ptr) jval_dict_put(a, env.vars, S("eos_token"), jval_str(eos));
    for (size_t i = 0; vars->extra.type == J_DICT && i < vars->extra.dict->n; i++)
        jdict_put(a, env.vars.dict, vars->extra.dict->at[i].key, vars->extra.dict->at[i].val);
    return template_render(a, t, &env, out, err);
}
