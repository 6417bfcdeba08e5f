// program/program.h: the compiled thing as plain data, where the compile wing and the run wing
// meet.
//
// A Program is: kernels (loop IR and its text in the device's language), buffers, and for each
// regime a list of steps. n and t never appear in an offset; a step's grid is affine in n or
// constant. Everything a device needs is here; everything the compiler knew and the device does not
// need is not.
#ifndef HOB_PROGRAM_H
#define HOB_PROGRAM_H

#include "base/base.h"
#include "quant/quant.h"

// ---- profile.c ----------------------------------------------------------------------------------
typedef struct Profile {
    Str name;
#define P(field, def, lo, hi, power, doc) i64 field;
#include "program/profile.def"
#undef P
} Profile;

// Built in: "cpu" (AVX2 sizes), "cpu4" (SIMD128 sizes), "cpu16" (AVX-512), "gpu" (shared
// memory and subgroups), "software" (one row a thread, no barriers: SwiftShader). false: no such
// profile.
bool profile_named(Str name, Profile *out);
// A GPU where a barrier costs a round through all of a workgroup's threads.
bool profile_in_software(const Profile *p);
// There, what all threads load alike is loaded once for the lanes of a subgroup (share_loads.c).
bool profile_shares_loads(const Profile *p);
#define PROFILE_NAMES "cpu, cpu4, cpu16, gpu, software"
bool profile_read(Arena *a, Str text, Str file, Profile *io, Err *err); // overrides fields of *io
void profile_print(const Profile *p, Buf *out);                         // reads back
u64 profile_hash(const Profile *p);

// ---- The parameter block: the one thing written for each token ----------------------------------
// i32 words: PARAM_*, then from PARAM_ROWS + ROW_WORDS*i on row i: {pos, seq, base, ring} of the
// i-th row of the step, and {index, next} of the i-th row that gets logits: which row it is, and
// that row's position + 1, where the token chosen from its logits goes. A kernel's view of the
// block thus depends on n or m only. Read only, a binding like any other.
enum {
    PARAM_N = 0, // rows in this step, 1..chunk
    PARAM_M = 1, // rows that get logits, 0..m_max
    PARAM_T = 2, // cache length after this step's rows are appended, 1..ctx
    PARAM_SEED_LO = 3,
    PARAM_SEED_HI = 4,
    PARAM_TOP_K = 5,    // 0: all
    PARAM_INV_TEMP = 6, // round(65536 / temperature); sampling only
    PARAM_FLAGS = 7,
    PARAM_ROWS = 16,
    ROW_POS = 0,
    ROW_SEQ = 1,
    ROW_BASE = 2,
    ROW_RING = 3,
    ROW_INDEX = 4,
    ROW_NEXT = 5,
    ROW_WORDS = 8,
};
// The token ring: ids by position, ring[pos & (RING - 1)]. The host writes prompt tokens there; the
// sampler writes the token after a row to ring[row.next & (RING - 1)], so the next decode step
// reads it GPU to GPU.
enum { TOKEN_RING = 4096, PARAM_SLOTS = 8 };

// ---- buffers ------------------------------------------------------------------------------------
typedef enum BufferKind { // ORDER BUFFER_KIND
    BUF_ARENA,            // activations and scratch; one buffer a colour
    BUF_WEIGHT,           // repacked weights
    BUF_CONST,            // small constants made by the compiler (inverse frequencies, exp2 table)
    BUF_KV,               // one a layer: keys [kv head][slot][d], then values
    BUF_PARAMS,           // PARAM_SLOTS parameter blocks
    BUF_RING,             // the token ring, TOKEN_RING i32
    BUF_LOGITS,           // [m_max][vocab] f32, readable by the host
} BufferKind;

typedef struct ProgBuffer {
    Str name;
    BufferKind kind;
    u64 size;         // bytes
    const void *init; // BUF_CONST: its contents
} ProgBuffer;

// ---- weights: the record {encoding, layout map, segments} ---------------------------------------
// A weight matrix in device memory: `rows` x `cols` of one encoding, rows padded to a multiple of
// `interleave`; segments are the file's tensors stacked along the rows (q, k, v; gate, up row by
// row).
typedef struct WeightSegment {
    Str tensor; // name in the file
    u32 row;    // first row here
    u32 rows;
    u32 row_step; // 1; 2 when two tensors alternate row by row (gate, up)
} WeightSegment;

typedef struct Weight {
    Str name;
    QuantId encoding; // execution encoding
    u32 rows, cols;   // cols = k, contiguous
    u32 interleave; // rows woven word by word: word j of row r sits at ((r / R) * words + j) * R +
                    // r % R
    int nseg;
    WeightSegment seg[4];
    u32 buffer;       // index into Program.buffers
    u64 offset, size; // bytes in it
} Weight;

// ---- kernels and steps --------------------------------------------------------------------------
typedef struct Kernel Kernel; // loop/loop.h: the IR; the run wing sees only its text and key

enum { STEP_MAX_BINDINGS = 8, STEP_MAX_DIMS = 8 };

typedef struct ProgKernel {
    Str name;       // matmul_row_q4_1_576x1536
    u64 nest_key;   // hash(naive loop IR, profile)
    u64 kernel_key; // hash(nest key, schedule, dialect version)
    Str schedule;   // the primitives, replayable
    Str text;       // in the device's language; empty for the CPU menu
    u32 wg[3];      // workgroup size
    int nbind;
    bool writes[STEP_MAX_BINDINGS]; // read_write rather than read
    const Kernel *ir;
    const struct Formula *formula; // what it computes, for the check on the device
    const struct Nest *naive;      // its nest before any schedule; NULL where it was not kept
} ProgKernel;

// A number of workgroups: ceil(max(n*a + b, 1) / c) * d, with n = PARAM_N (or m where `by_m`).
typedef struct GridDim {
    u32 a, b, c, d;
    bool by_m;
} GridDim;

typedef struct Binding {
    u32 buffer;
    u64 offset, size; // bytes
} Binding;

typedef struct Step {
    Str name;   // blk.3.attn_q
    u32 kernel; // index
    Binding bind[STEP_MAX_BINDINGS];
    GridDim grid[3]; // GPU: workgroups; CPU: grid[0] is the outermost loop's extent, shared by the
                     // threads
    i32 dims[STEP_MAX_DIMS]; // CPU menu kernels: the model's dimensions, in the kernel's order
    u64 bytes, flops; // read + written, and arithmetic, at the regime's largest n: `inspect --cost`
    int layer;        // -1: none
    // Arguments: the matrix that a product reads, and what it multiplies that with. -1: the step
    // has no product, or makes what is multiplied itself.
    int matrix, factor;
} Step;

typedef struct PlanItem { // one activation in the arena: `inspect --plan`
    Str name;
    u32 colour;
    u64 offset, size;
    int first, last; // steps, inclusive
} PlanItem;

// Which steps run: the trunk up to the residual stream's end, then (m > 0) the head, then one of
// the samplers.
typedef struct Regime {
    u32 n;      // its largest n: 1, 8, chunk
    u32 m;      // rows that get logits in one of its steps, at most
    int nsteps; // [0, head): trunk; [head, greedy): head; [greedy, sample): argmax; [sample,
                // nsteps): sampler
    int head, greedy, sample;
    Step *steps;
    u64 arena_bytes, lower_bound_bytes;
    int nitems;
    PlanItem *items;
} Regime;

enum { REGIME_ROW, REGIME_FEW, REGIME_MANY, REGIME_COUNT };

typedef struct Program {
    Profile profile;
    u32 ctx, chunk, m_max, vocab, layers;
    int nkernels, nbuffers, nweights;
    ProgKernel *kernels;
    ProgBuffer *buffers;
    Weight *weights;
    Regime regimes[REGIME_COUNT];
    u32 buf_params, buf_ring, buf_logits; // indices
    u64 weight_bytes, kv_bytes;
} Program;

static inline u32 program_param_words(const Program *p) {
    return PARAM_ROWS + ROW_WORDS * p->chunk;
}
// Bytes from one parameter block to the next: the buffer is PARAM_SLOTS of them (blocks aligned for
// a binding).
static inline u64 program_param_stride(const Program *p) {
    return p->buffers[p->buf_params].size / PARAM_SLOTS;
}
u32 grid_count(const GridDim *g, u32 n, u32 m);
// A device that takes few workgroups in x takes them in rows of max_grid: what is too many is
// folded into y, if the kernel has no y of its own. The printed kernel counts on it (emit/wgsl.c)
// and skips the last row's tail. The most that fit in x so:
i64 grid_most(const Profile *p);
// The workgroups of a step as the device gets them.
void step_grid(const Program *p, const Step *s, u32 n, u32 m, u32 out[3]);
// What a step of a regime costs with so many rows and so long a cache; the plan's figures are those
// of the most of each.
typedef struct StepCost {
    u64 bytes, flops;
} StepCost;
StepCost step_cost(const Program *p, int regime, int step, u32 n, u32 m, u32 t);
// Every step's ranges inside its buffers for all n <= its regime's n; grids within limits. For
// programs from outside.
bool program_verify(const Program *p, Err *err);
void program_print(const Program *p, Buf *out);

#endif
