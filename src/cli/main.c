// cli/main.c: `hob COMMAND ...`: finds the command's row and runs it.
#include "cli/cli.h"

static const Command *const commands[] = {
    &cmd_run, &cmd_chat, &cmd_tokenize, &cmd_eval, &cmd_bake, &cmd_bench, &cmd_tune, &cmd_inspect,
};

static void print_overview(FILE *f) {
    fprintf(f, "hob " HOB_VERSION
               " - a language model on this machine, through a compiler of its own\n\n"
               "USE\n    hob COMMAND [options]\n\nCOMMANDS\n");
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        fprintf(f, "    %-10s %s\n", commands[i]->name, commands[i]->brief);
    fprintf(f, "\n    hob COMMAND --help explains one; hob --version says the version.\n\n"
               "EXAMPLES\n"
               "    hob run -m model.gguf -p \"Why is the sky blue?\"\n"
               "    echo \"A haiku about rain\" | hob run -m model.gguf -p - -n 40\n"
               "    hob chat -m model.gguf\n"
               "    hob inspect -m model.gguf --walk blk.0.attn_q\n");
}

static int unknown(const char *word) {
    fprintf(stderr, "hob: `%s` is not a command; see `hob --help`\n", word);
    return EXIT_USAGE;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_overview(stderr);
        return EXIT_USAGE;
    }
    Str word = str_c(argv[1]);
    if (str_eq(word, S("--version")) || str_eq(word, S("version"))) {
        printf("hob " HOB_VERSION "\n");
        return out_finish() ? EXIT_DONE : EXIT_FAILED;
    }
    if (str_eq(word, S("--help")) || str_eq(word, S("-h")) || str_eq(word, S("help"))) {
        for (size_t i = 0; argc > 2 && i < COUNT_OF(commands); i++)
            if (str_eq(str_c(argv[2]), str_c(commands[i]->name)))
                return commands[i]->run(commands[i], 2, (char *[]){argv[2], "--help", NULL});
        if (argc > 2) return unknown(argv[2]);
        print_overview(stdout);
        return out_finish() ? EXIT_DONE : EXIT_FAILED;
    }
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        if (str_eq(word, str_c(commands[i]->name)))
            return commands[i]->run(commands[i], argc - 1, argv + 1);
    return unknown(argv[1]);
}
