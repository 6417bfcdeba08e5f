// tune/tuned.c: the list of schedules that were found best, and its file.
//
// The file is JSON that anyone may have written: {"hob_tuned": 1, "schedules": [{"adapter", "nest",
// "schedule"}]}. An entry that is none is passed over. A schedule is text that the primitives check
// as they check a user's, so the worst that a wrong one can do is to be slow; one that fits its
// nest no more is not used.
#include "tune/tune.h"

enum { VERSION = 1, FILE_MAX = 8 << 20, ADAPTER_MAX = 512 };

static Str text_of(JVal o, Str key) {
    JVal v;
    return jval_dict_get(o, key, &v) && v.type == J_STR ? v.s : (Str){0};
}

static bool key_of(Str hex, u64 *out) {
    *out = 0;
    for (size_t i = 0; i < hex.len; i++) {
        u32 c = (u8)hex.ptr[i], d = c - '0' < 10 ? c - '0' : c - 'a' < 6 ? c - 'a' + 10 : 16;
        if (d > 15) return false;
        *out = *out << 4 | d;
    }
    return hex.len > 0 && hex.len <= 16;
}

// What is wrong with an entry; NULL: nothing.
static const char *read_entry(JVal one, Tuned *out) {
    if (one.type != J_DICT) return "it is no object";
    *out = (Tuned){.adapter = text_of(one, S("adapter")), .schedule = text_of(one, S("schedule"))};
    if (!key_of(text_of(one, S("nest")), &out->nest_key))
        return "its nest is not 1 to 16 hexadecimal digits";
    if (!out->adapter.ptr || out->adapter.len > ADAPTER_MAX)
        return "its adapter is no text, or too long";
    if (!out->schedule.ptr || out->schedule.len > TUNED_SCHEDULE_MAX)
        return "its schedule is no text, or too long";
    return NULL;
}

bool tuned_read(Arena *a, Str text, TunedList *out, Err *bad, Err *err) {
    JVal root = {0}, version = {0}, list = {0};
    bool ok = text.len <= FILE_MAX && jval_from_json(a, text, &root, err) && root.type == J_DICT &&
              jval_dict_get(root, S("hob_tuned"), &version) && version.type == J_INT &&
              version.i == VERSION && jval_dict_get(root, S("schedules"), &list) &&
              list.type == J_LIST && jval_len(list) <= TUNED_MOST;
    if (!ok) return err_set(err, ERR_TUNED, "no list of schedules of this version");
    for (size_t i = 0; i < jval_len(list); i++) {
        Tuned t;
        const char *wrong = read_entry(jval_list_at(list, i), &t);
        if (!wrong) {
            tuned_put(a, out, &t);
        } else if (bad->id == ERR_NONE) {
            err_set(bad, ERR_TUNED_ENTRY, "%s", wrong);
            err_subject(bad, str_fmt(a, "schedules[%U]", (u64)i));
        }
    }
    return true;
}

static size_t place_of(const TunedList *l, u64 nest_key, Str adapter) {
    size_t i = 0;
    while (i < l->all.n &&
           !(l->all.at[i].nest_key == nest_key && str_eq(l->all.at[i].adapter, adapter)))
        i++;
    return i;
}

void tuned_put(Arena *a, TunedList *l, const Tuned *t) {
    size_t at = place_of(l, t->nest_key, t->adapter);
    if (at == l->all.n && at == TUNED_MOST) at = 0;
    if (at < l->all.n) {
        l->all.n--;
        memmove(l->all.at + at, l->all.at + at + 1, (l->all.n - at) * sizeof *l->all.at);
    }
    vec_push(a, &l->all,
             ((Tuned){arena_str(a, t->adapter), t->nest_key, arena_str(a, t->schedule)}));
}

void tuned_print(const TunedList *l, Buf *out) {
    buf_fmt(out, "{\"hob_tuned\": %d, \"schedules\": [", (i32)VERSION);
    for (size_t i = 0; i < l->all.n; i++) {
        buf_add(out, i ? S(",\n{\"adapter\": ") : S("\n{\"adapter\": "));
        json_str(out, l->all.at[i].adapter);
        buf_fmt(out, ", \"nest\": \"%X\", \"schedule\": ", l->all.at[i].nest_key);
        json_str(out, l->all.at[i].schedule);
        buf_char(out, '}');
    }
    buf_add(out, S("]}\n"));
}

const Tuned *tuned_find(const TunedList *l, u64 nest_key) {
    size_t i = place_of(l, nest_key, l->adapter);
    return i < l->all.n ? &l->all.at[i] : NULL;
}

Str tuned_schedule(const void *list, u64 nest_key) {
    const Tuned *t = tuned_find(list, nest_key);
    return t ? t->schedule : (Str){0};
}
