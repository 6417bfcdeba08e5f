// cli/inspect.c: `hob inspect`: everything hob knows about a model, stage by stage, as text.
#include "cli/cli.h"

static int run(const Command *c, int argc, char **argv)
{
    Str model = {0};
    const Opt opts[] = {
        {"--model", "-m", OPT_STR, &model, 0, 0, "FILE", "model file (GGUF)"},
    };
    Parsed p = options_parse(c, opts, COUNT_OF(opts), argc, argv, NULL, 0, NULL);
    if (p != PARSED_OK)
        return p == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
    if (!model.len)
        return usage_error(c, "name the model file: -m FILE");
    Arena *a = arena_new(NULL);
    Err err = {0};
    Source src = {0};
    Gguf *g;
    int status = EXIT_FAILED;
    if (!source_file_open(a, model, &src, &err) || !gguf_open(a, &src, &g, &err)) {
        err_file(&err, model);
        status = report(&err);
    } else {
        Buf b = {.arena = a};
        gguf_print(g, &b);
        out_str(buf_str(&b));
        status = out_finish() ? EXIT_DONE : EXIT_FAILED;
    }
    source_file_close(&src);
    arena_free(a);
    return status;
}

const Command cmd_inspect = {
    "inspect",
    "-m FILE",
    "what is in a model file, and what hob makes of it",
    "Prints the file's keys and tensors.\n",
    run,
};
