// cli/bench_speculate.c: `hob bench --speculate`: what tokens tried in advance gain where an answer
// repeats its prompt, and what they cost where nothing repeats.
//
// Both answers are forced by the prompt, not asked for: a text twice and its beginning once more,
// which a model goes on copying; and tokens drawn as if all were alike. Runs with drafts and
// without take turns, and the best of each counts.
#include "cli/cli.h"

static const char passage[] =
    "The lighthouse keeper wrote down every ship that passed, its name, its flag and the hour. On "
    "the third of March a small boat without a name came in from the north, carrying two men and "
    "a dog. Nobody on the island knew them, and they did not say where they had come from. They "
    "asked for water, bread and a map of the coast, paid with old silver, and left before dark. ";

typedef struct Kind {
    const char *name, *says;
    const i32 *prompt;
    size_t n;
    double temperature;
} Kind;

typedef struct Figures {
    double tps;
    u32 drafted, accepted;
} Figures;

static bool one(Engine *e, const Kind *k, i64 answer, int drafts, Figures *best, Err *err) {
    EngineRequest r = {.prompt = k->prompt,
                       .n = k->n,
                       .max_tokens = answer,
                       .sample = {.temperature = k->temperature, .seed = 1}};
    engine_forget(e);
    engine_speculate(e, drafts);
    if (!engine_start(e, &r, err)) return false;
    for (EngineState s; (s = engine_step(e, err)) != ENGINE_DONE;) {
        if (s == ENGINE_FAILED) return false;
        if (s == ENGINE_WAITING) clock_nap();
    }
    const EngineStats *st = engine_stats(e);
    double tps = timing_of(st).decode_tps;
    if (tps > best->tps) *best = (Figures){tps, st->drafted, st->accepted};
    return true;
}

bool bench_speculate(Model *m, i64 answer, i64 runs, bool json, Err *err) {
    Arena *a = m->arena;
    Buf text = {.arena = a}, b = {.arena = a};
    TokenIds copied = {0};
    i32 mixed[32];
    if (!model_tokenizer(m, err)) return false;
    buf_fmt(&text, "%s\n%s\nThe lighthouse keeper wrote", passage, passage);
    if (!tokenizer_encode(m->tok, a, buf_str(&text), 0, &copied, err)) return false;
    for (size_t i = 0; i < COUNT_OF(mixed); i++)
        mixed[i] = (i32)((i * 2654435761u >> 4) % m->program->vocab);
    const Kind kinds[] = {{"copying", "an answer that copies", copied.at, copied.n, 0},
                          {"fresh", "nothing repeats", mixed, COUNT_OF(mixed), 100}};
    if (json) buf_add(&b, S("{"));
    for (size_t k = 0; k < COUNT_OF(kinds); k++) {
        Figures f[2] = {0};
        // once before it counts: kernels are checked, and what pays is found
        for (i64 i = -1; i < runs; i++) {
            if (i == 0) memset(f, 0, sizeof f);
            for (int on = 0; on < 2; on++)
                if (!one(m->engine, &kinds[k], answer, on ? -1 : 0, &f[on], err)) return false;
        }
        double ratio = f[0].tps > 0 ? f[1].tps / f[0].tps : 0;
        if (json)
            buf_fmt(&b,
                    "%s\"%s\": {\"plain_tps\": %.2f, \"drafted_tps\": %.2f, \"ratio\": %.3f, "
                    "\"drafted\": %u, \"accepted\": %u}",
                    k ? ", " : "", kinds[k].name, f[0].tps, f[1].tps, ratio, f[1].drafted,
                    f[1].accepted);
        else
            buf_fmt(&b,
                    "%s: %.1f tokens/s one by one, %.1f with drafts where they pay (%.2f); %u of "
                    "%u drafted tokens right\n",
                    kinds[k].says, f[0].tps, f[1].tps, ratio, f[1].accepted, f[1].drafted);
    }
    if (json) buf_add(&b, S("}\n"));
    out_str(buf_str(&b));
    return true;
}
