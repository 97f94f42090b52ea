/* omnihub mount: the daemon under a second name, so that one program's help
 * leads everywhere. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/cmd.h"

#define DAEMON "omnihub-mount"

char *cli_daemon(void)
{
	cleanup_free char *self = realpath("/proc/self/exe", NULL);
	char *slash = self ? strrchr(self, '/') : NULL;
	char *path = NULL;

	if (!slash)
		return NULL;
	if (asprintf(&path, "%.*s/" DAEMON, (int)(slash - self), self) < 0)
		return NULL;
	if (!access(path, X_OK))
		return path;
	free(path);
	return NULL;
}

static int run(struct cli *c, int argc, char **argv)
{
	cleanup_free char *path = NULL;
	cleanup_free char **args = NULL;
	int i;

	for (i = 0; i < argc && strcmp(argv[i], "--"); i++) {
		if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) {
			cli_help(c->cmd);
			return CLI_DONE;
		}
	}
	path = cli_daemon();
	args = calloc((size_t)argc + 2, sizeof(*args));
	if (!args)
		return cli_fail(c, NULL, -ENOMEM, NULL);
	args[0] = (char[]){ DAEMON };
	for (i = 0; i < argc; i++)
		args[i + 1] = argv[i];
	if (path)
		(void) execv(path, args);
	else
		(void) execvp(DAEMON, args);
	return cli_fail(c, DAEMON, -errno, NULL);
}

const struct cli_cmd cli_cmd_mount = {
	.name = "mount",
	.args = "[OPTION]... [MOUNTPOINT]",
	.about = "Mount the hubs (runs omnihub-mount)",
	.help = "MOUNTPOINT is $MODELHUB_PATH, $OMNIHUB_HOME or ~/.modelhub "
		"when not given.\n"
		"Beside the options below, all of omnihub-mount(1):\n\n"
		"  -f, --foreground         stay, and log to stderr\n"
		"      --cache-size SIZE    what the cache may take, as 20G\n"
		"  -o OPTS                  mount options of FUSE\n"
		"  -v, --verbose            say more\n",
	.opts = CLI_OPT_COMMON,
	.passes = true,
	.run = run,
};
