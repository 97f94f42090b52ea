/*
 * omnihub: one table of commands and nothing else. Each command is a file
 * cmd-NAME.c that ends in its row.
 */
#include "config.h"

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "cli/cmd.h"

const struct cli_cmd *const cli_cmds[] = {
	&cli_cmd_mount, &cli_cmd_umount, &cli_cmd_status, &cli_cmd_ls,
	&cli_cmd_search, &cli_cmd_du, &cli_cmd_get, &cli_cmd_info,
	&cli_cmd_pin, &cli_cmd_cache, &cli_cmd_families, &cli_cmd_doctor,
	NULL,
};

static void help(FILE *to)
{
	const struct cli_cmd *const *cmd;

	fputs("Usage: omnihub COMMAND [OPTION]... [ARG]...\n"
	      "Model hubs as plain files: look at them, fetch, stage and keep "
	      "them.\n\nCommands:\n", to);
	for (cmd = cli_cmds; *cmd; cmd++)
		fprintf(to, "  %-10s %s\n", (*cmd)->name, (*cmd)->about);
	fputs("\nOptions:\n"
	      "  -h, --help     print this help\n"
	      "  -V, --version  print the version\n"
	      "\nA PATH is one in the mount, or the same without the "
	      "mountpoint:\n"
	      "huggingface/bert-base/pytorch/model.onnx. 'omnihub COMMAND "
	      "--help' says more.\n"
	      "Exit status: 0 done, 1 failed, 2 bad usage.\n", to);
}

static const struct cli_cmd *find(const char *name)
{
	const struct cli_cmd *const *cmd;

	for (cmd = cli_cmds; *cmd; cmd++)
		if (!strcmp((*cmd)->name, name))
			return *cmd;
	return NULL;
}

/* What was printed is worth something only when it arrived. */
static int finish(const struct cli *c, int status)
{
	errno = 0;
	if ((fflush(stdout) || ferror(stdout)) && status == CLI_DONE)
		return cli_fail(c, "standard output", errno ? -errno : -EIO,
			NULL);
	return status;
}

static int run(struct cli *c, int argc, char **argv)
{
	int first = 1, status;

	if (!c->cmd->passes) {
		status = cli_opts_parse(c, argc, argv, &first);
		if (status >= 0)
			return status;
	}
	return c->cmd->run(c, argc - first, argv + first);
}

int main(int argc, char **argv)
{
	struct cli c = { 0 };
	int status;

	io_hold_standard();
	(void) setlocale(LC_CTYPE, "");
	/* Ignored by who started us, nobody's end could be waited for. */
	(void) signal(SIGCHLD, SIG_DFL);
	if (argc < 2) {
		help(stderr);
		return CLI_USAGE;
	}
	if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help")) {
		help(stdout);
		return finish(&c, CLI_DONE);
	}
	if (!strcmp(argv[1], "-V") || !strcmp(argv[1], "--version")) {
		puts(PACKAGE_STRING);
		return finish(&c, CLI_DONE);
	}
	c.cmd = find(argv[1]);
	if (!c.cmd)
		return cli_usage(&c, "unknown %s '%s'",
			argv[1][0] == '-' ? "option" : "command", argv[1]);
	status = finish(&c, run(&c, argc - 1, argv + 1));
	fs_free(c.fs);
	conf_free(c.conf);
	free(c.mount);
	free(c.answered);
	free(c.missing);
	return status;
}
