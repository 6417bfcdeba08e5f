/* hob.h: a language model on this machine: the whole public C API.
 *
 * WHAT IT IS
 *   hob opens a model file (GGUF), compiles it for the device it finds, and answers. Handles are
 * opaque, options are structs that mean "default" where they are zero, errors are values. Nothing
 * here exits, prints or keeps a global; several models and sessions may live side by side. One
 * thread at a time calls into one hob_model and its sessions; hob_cancel alone may be called from
 * anywhere, a signal handler too.
 *
 * STEP BY STEP
 *     hob_error err = {0};
 *     hob_model *m = hob_open(&(hob_open_desc){.path = "model.gguf"}, &err);
 *     hob_session *s = hob_session_new(m, &err);
 *     hob_chat(s, "{\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}", &err);
 *     for (hob_event ev; hob_next(s, &ev);)
 *         fwrite(ev.text, 1, ev.text_len, stdout);
 *     hob_session_free(s);
 *     hob_close(m);
 *   A call that fails returns NULL or nonzero and fills the hob_error (which may be NULL).
 * examples/chat.c is a whole program.
 *
 * MEMORY
 *   What hob returns by pointer belongs to hob: an event's text lives until the next call on its
 * session, names as long as the model. hob_session_free and hob_close give everything back; close
 * sessions before their model.
 *
 * hob DOES NOT
 *   download models, send anything anywhere, train, or run more than it compiled itself.
 */
#ifndef HOB_H
#define HOB_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define HOB_API __attribute__((visibility("default")))
#else
#define HOB_API
#endif

#define HOB_VERSION "0.1.0"

typedef struct hob_model hob_model; /* a compiled model on a device */
typedef struct hob_session
    hob_session; /* one conversation: its answers share what the cache holds */

typedef struct hob_error {
    int id;            /* 0: none; compare hob_error_name(id), which no version changes */
    char message[640]; /* FILE@0xOFF SUBJECT: what is wrong; what to do */
} hob_error;

typedef struct hob_open_desc {
    const char *path;     /* model file */
    const char *device;   /* "cpu", "webgpu", "null"; NULL: "cpu" */
    const char *profile;  /* a device profile, by name or file; NULL: the device's own */
    const char *mode;     /* "fast": weights of 4 and 8 bits meet activations of 8 and 16 bits, as
                             integers; "reference": activations are f32. NULL: reference */
    const char *graph;    /* edited graph text (file), replaces the model's */
    const char *schedule; /* edited schedules (file) */
    const char *tuned;    /* schedules measured by `hob tune` (file); NULL: none. A file that is not
                             there or broken is not used, which the log says */
    int threads;          /* CPU threads; 0: all cores */
    int ctx;              /* context length; 0: the model's, at most 2,048 */
    /* Text that repeats what was said is drafted and several tokens tried at once: 0: where that is
     * measured to pay; 1 to 7: so many tokens, always; -1: never. The tokens are those of -1, but
     * for ties that the last digits of the logits decide. */
    int speculate;
    int rows; /* rows of logits that hob_eval may read at once; 0: 1 */
    /* progress while loading; return nonzero to stop */
    int (*progress)(void *user, uint64_t done, uint64_t total);
    void (*log)(void *user, const char *line); /* what is worth knowing; NULL: silent */
    void *user;
} hob_open_desc;

typedef struct hob_sample { /* for hob_complete; zero: greedy, until the context is full */
    int max_tokens;
    double temperature; /* 0: greedy */
    int top_k;          /* 0: all */
    uint64_t seed; /* the same draws the same answer; 0 is one like any other: hob draws none */
} hob_sample;

typedef struct hob_event {
    const char *text; /* whole UTF-8 characters, maybe none */
    size_t text_len;
    int32_t token;             /* id, or -1 */
    int done;                  /* 1: the last event; finish_reason is set */
    const char *finish_reason; /* "stop", "length", "cancel" or NULL */
} hob_event;

typedef struct hob_stats { /* of a session's last answer */
    int prompt_tokens, cached_tokens, answer_tokens;
    double load_ms, ttft_ms, prefill_tps, decode_tps; /* checking kernels, each at its first use,
                                                         is part of ttft_ms, not of prefill_tps */
    int drafted, accepted; /* tokens tried in advance, and those of them that were right */
} hob_stats;

HOB_API const char *hob_version(void);
HOB_API const char *hob_error_name(int id);

HOB_API hob_model *hob_open(const hob_open_desc *desc, hob_error *err); /* NULL on error */
HOB_API void hob_close(hob_model *m);
HOB_API const char *hob_device_name(const hob_model *m);
HOB_API int hob_context(const hob_model *m); /* its length in tokens */

HOB_API hob_session *hob_session_new(hob_model *m, hob_error *err);
HOB_API void hob_session_free(hob_session *s);
/* Starts an answer to an OpenAI chat-completions request (JSON, UTF-8); without "seed" it is 0.
 * 0 on success. */
HOB_API int hob_chat(hob_session *s, const char *request_json, hob_error *err);
/* Starts an answer that goes on from a text as it stands, without the model's chat template. */
HOB_API int hob_complete(hob_session *s, const char *text, size_t len, const hob_sample *o,
                         hob_error *err);
/* The next piece of the answer. 0 when there is no more (or an error happened: see
 * hob_session_error). */
HOB_API int hob_next(hob_session *s, hob_event *ev);
HOB_API void hob_cancel(hob_session *s); /* ends the answer at its next token */
HOB_API const hob_error *hob_session_error(const hob_session *s);
HOB_API void hob_session_stats(const hob_session *s, hob_stats *out);

/* Text to token ids: writes at most `max`, returns how many there are, or -1. */
HOB_API int hob_tokenize(hob_model *m, const char *text, size_t len, int add_bos, int32_t *ids,
                         int max, hob_error *err);
/* Forced decoding: after each of ids[0..n-2] the best next id and the log-probability of the id
 * that follows; arrays of n - 1. step_rows: ids fed at once, 0: as many as may be. */
HOB_API int hob_eval(hob_model *m, const int32_t *ids, size_t n, int step_rows, int32_t *top,
                     double *logprob, hob_error *err);

#ifdef __cplusplus
}
#endif
#endif
