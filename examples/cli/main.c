/* SPDX-License-Identifier: MIT
 * The command `nibble`: finds the command in the first argument and runs it. */
#include "cli.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: nibble COMMAND -m MODEL [options]\n"
    "\n"
    "  complete   continue a text, or fill in the middle of a file\n"
    "  tokenize   text to token ids, and back\n"
    "  logits     what the model predicts after each of some token ids\n"
    "  info       what is in a model file, without loading its weights\n"
    "  quantize   write a model in another form\n"
    "  bench      speed of prompt and generation on this machine\n"
    "\n"
    "nibble COMMAND --help tells more, nibble --version what was built in. MODEL is a GGUF file\n"
    "or a Hugging Face directory.\n"
    "Exit status: 0, 1 if something failed, 2 for wrong usage, 130 after Ctrl-C.\n";

typedef struct command {
    const char *name;
    int (*run)(int argc, char **argv);
} command;

static const command commands[] = {
    {"complete", cmd_complete}, {"tokenize", cmd_tokenize}, {"logits", cmd_logits},
    {"info", cmd_info},         {"bench", cmd_bench},       {"quantize", cmd_quantize},
};

static int version(void)
{
    puts(nib_build_info());
    return cli_close_stdout();
}

int main(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN); /* a file beyond the limit is an error with a message, then */
    if (argc < 2) return cli_usage("no command; see nibble --help");
    const char *name = argv[1];
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
        fputs(help, stdout);
        return cli_close_stdout();
    }
    if (!strcmp(name, "--version") || !strcmp(name, "version")) return version();
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (!strcmp(name, commands[i].name)) return commands[i].run(argc - 1, argv + 1);
    }
    if (!strcmp(name, "eval")) return cli_usage("%s: not in this version", name);
    return cli_usage("unknown command '%s'; see nibble --help", name);
}
