// engine/speculate.c: drafts without a second model: an answer often repeats what is written
// already, so the tokens that followed the longest match of its end are tried as a draft.
//
// The draft and the last token go through the program as a few rows, each of which gets logits and
// a sampler of its own. A sampler's choice depends on logits, seed and position alone, so a drafted
// token is right exactly when the sampler chose it: the answer is the one without drafts, token for
// token, as far as the kernels of one row and of a few agree (they add in different orders: a
// choice that hangs on the sixth digit may fall otherwise). What was computed behind a wrong draft
// is forgotten, as after any roll-back.
//
// Where it pays is measured. Every token, drafted or not, is guessed first, which costs the host a
// look at the tokens and the device nothing: how often guesses come true, by the length of their
// match, is known before the first draft is handed over. What a step of n rows costs, beside one of
// one row, is known once it has run; until then it is taken from its neighbours. A draft is as long
// as gains most tokens for its time, and none where that is no gain. Trials may lose no more than
// right guesses would have gained before: text that repeats nothing pays for nothing.
#include "engine/engine_int.h"

enum {
    MATCH_LEAST = 2, // tokens: a shorter match says nothing
    TRIALS = 2,      // of a number of rows, before its time is believed: the first one warms up
    WINDOW = 8,      // tokens of one row each that are timed together, or more:
    BURSTS = 4,      // at most as many as come in so many times as late as answers are
    COUNTED = 64     // guesses after which older ones count half
};
#define GAIN_LEAST 1.1 // over one token at a time, or the change is not worth its risk

// How often a guess comes true after a match of 2, 3, ... tokens, until it was counted.
static const float usual[SPECULATE_MATCH] = {.2f, .3f, .4f, .5f, .6f, .7f, .75f, .8f};
enum { USUAL_COUNTS = 8 };

void speculate_begin(Engine *e) {
    Speculate *s = &e->spec;
    int most = s->drafts < 0 ? SPECULATE_MOST : MIN2(s->drafts, SPECULATE_MOST);
    for (int r; most > 0; most--)
        if ((r = engine_regime(e, (u32)most + 1)) >= 0 && (u32)most < e->p->regimes[r].m) break;
    s->most = most;
    s->left = s->want = 0;
    s->guess = -1;
    s->window = 0;
    s->price = -1;
    if (s->counted[0] != 0) return;
    for (int i = 0; i < SPECULATE_MATCH; i++) {
        s->counted[i] = USUAL_COUNTS;
        s->right[i] = USUAL_COUNTS * usual[i];
    }
}

// What the check of the kernels takes that only drafts use, going by those that were checked.
static double price_of(const Engine *e) {
    const Regime *r = &e->p->regimes[engine_regime(e, (u32)e->spec.most + 1)];
    int wanted = 0;
    for (u32 k = 0; e->nchecked && k < (u32)e->p->nkernels; k++)
        for (int i = 0; !e->checked[k] && i < r->nsteps; i++) {
            bool runs = i < r->greedy || (e->sample.temperature > 0) == (i >= r->sample);
            if (!runs || r->steps[i].kernel != k) continue;
            wanted++;
            break;
        }
    return wanted ? wanted * e->check_ms / e->nchecked : 0;
}

// The longest match of the end of tokens[0..n): how long, and which token followed it.
static u32 longest_match(const i32 *t, u32 n, u32 *after) {
    u32 best = 0;
    for (u32 i = n - 1; i-- > 0 && best < SPECULATE_LOOK;) {
        u32 len = 0;
        while (len <= i && len < SPECULATE_LOOK && t[i - len] == t[n - 1 - len]) len++;
        if (len <= best) continue;
        best = len;
        *after = i + 1;
    }
    return best;
}

static int row_of(u32 match) { return (int)MIN2(match - MATCH_LEAST, SPECULATE_MATCH - 1); }

// Milliseconds of a step of n rows, as far as anyone knows: measured, or between what was.
static double cost(const Speculate *s, int n) {
    int lo = 1, hi = n;
    double at_lo = s->ms[1];
    for (int i = 2; i <= n; i++)
        if (s->trials[i] >= TRIALS) lo = i, at_lo = s->ms[i];
    if (lo == n) return at_lo;
    while (hi <= s->most + 1 && s->trials[hi] < TRIALS) hi++;
    if (hi <= s->most + 1) return at_lo + (s->ms[hi] - at_lo) * (n - lo) / (hi - lo);
    return at_lo * (1 + 0.15 * (n - lo));
}

// How many tokens to draft after a match: the number that gains most, 0 where none gains.
static int worth(const Engine *e, u32 match, int most) {
    const Speculate *s = &e->spec;
    double best = GAIN_LEAST, reached = 1, tokens = 1;
    int n = 0;
    if (s->drafts > 0) return most;
    if (s->ms[1] <= 0 || s->credit <= s->price) return 0;
    for (int k = 1; k <= most; k++) {
        int i = row_of(match + (u32)k - 1);
        reached *= (double)s->right[i] / (double)s->counted[i];
        tokens += reached;
        // what is in flight must be waited for: a token's time more
        double gain = tokens * s->ms[1] / (cost(s, k + 1) + (e->nflight ? s->ms[1] : 0));
        if (gain > best) best = gain, n = k;
    }
    return n;
}

void speculate_saw(Engine *e) {
    Speculate *s = &e->spec;
    if (s->most == 0) return;
    if (s->price < 0) s->price = price_of(e); // the prompt's kernels are checked now
    if (s->guess >= 0) {
        if (s->counted[s->row] >= COUNTED) {
            s->counted[s->row] /= 2;
            s->right[s->row] /= 2;
        }
        s->counted[s->row] += 1;
        bool right = e->tokens[e->known - 1] == s->guess;
        s->right[s->row] += right;
        // what a draft would have gained, cautiously; what one did gain is counted where it ends
        if (!s->drafting) s->credit += right ? s->ms[1] / 4 : -s->ms[1] / 16;
        s->credit = MAX2(MIN2(s->credit, s->price + 16 * s->ms[1]), 0);
    }
    u32 match = longest_match(e->tokens, e->known, &s->from);
    s->guess = -1;
    s->want = 0;
    if (match < MATCH_LEAST) return;
    s->guess = e->tokens[s->from];
    s->row = row_of(match);
    // the token behind the draft is chosen too, and nothing is at `limit` or past it
    i64 room = MIN2((i64)e->limit - e->known - 1, s->most);
    // the ring is written and read in one piece
    room = MIN2(room, TOKEN_RING - 1 - (i64)(e->known & (TOKEN_RING - 1)));
    if (room > 0) s->want = worth(e, match, (int)room);
}

// The machine's other work makes steps slower and never faster.
static void learn(double *ms, double now) {
    *ms = *ms <= 0 || now < *ms ? now : *ms + (now - *ms) / 8;
}

// Answers may come in bursts, on a tick of the device's: a time ends where the next burst begins.
void speculate_time(Engine *e) {
    Speculate *s = &e->spec;
    double now = clock_ms();
    s->drafting = false;
    if (s->window++ == 0) s->window_ms = now;
    bool burst =
        now - e->stats.last_ms < e->late_ms / 2 && now - s->window_ms < BURSTS * e->late_ms;
    if (s->window <= WINDOW || burst) return;
    learn(&s->ms[1], (now - s->window_ms) / (s->window - 1));
    s->window = 1;
    s->window_ms = now;
}

// Hands over the last token and the draft behind it, and asks for what the samplers choose.
bool speculate_submit(Engine *e, RunSampler sampler, Err *err) {
    Speculate *s = &e->spec;
    u32 pos = e->known - 1, n = (u32)s->want;
    // a draft may go on into itself: what repeats is then shorter than the draft
    for (u32 i = 0; i < n; i++)
        s->draft[i] =
            s->from + i < e->known ? e->tokens[s->from + i] : s->draft[s->from + i - e->known];
    s->start_ms = clock_ms();
    s->credit -= s->price; // paid
    s->price = 0;
    s->window = 0;
    u64 at = (u64)((pos + 1) & (TOKEN_RING - 1)) * 4;
    BufferHandle ring = e->buffers[e->p->buf_ring];
    if (!device_buffer_write(e->d.device, ring, at, s->draft, n * 4, err) ||
        !engine_submit(e, pos, n + 1, n + 1, sampler, err))
        return false;
    Ticket t = device_buffer_read(e->d.device, ring, at, s->chosen, (n + 1) * 4, err);
    if (!t) return false;
    e->flight[e->nflight++] = (Flight){t, (i32)pos + 1};
    s->rows = (int)n + 1;
    return true;
}

void speculate_take(Engine *e) {
    Speculate *s = &e->spec;
    int n = s->rows, right = 0;
    double ms = clock_ms() - s->start_ms;
    while (right < n - 1 && s->chosen[right] == s->draft[right]) right++;
    s->drafting = true;
    s->credit += (right + 1) * s->ms[1] - ms;
    s->left = right + 1;
    s->next = 0;
    s->rows = 0;
    e->nflight = 0;
    e->asked = e->known + (u32)s->left;
    e->stats.drafted += (u32)n - 1;
    e->stats.accepted += (u32)right;
    if (s->trials[n] < TRIALS) s->ms[n] = 0;
    learn(&s->ms[n], ms);
    s->trials[n] = (u8)MIN2(s->trials[n] + 1, TRIALS);
}
