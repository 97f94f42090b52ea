/*
 * What the files of the command line share: the table of commands, the table
 * of options, and how a failure is said.
 *
 * A command's run() returns the exit status of the program: CLI_DONE,
 * CLI_FAILED (after exactly one line on stderr for each thing that failed) or
 * CLI_USAGE. What was asked for goes to stdout, everything else to stderr.
 */
#ifndef CLI_CMD_H
#define CLI_CMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/error.h"
#include "base/json.h"
#include "fs/fs.h"

enum cli_exit { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/* Options a command may take beside the common ones; one bit each. */
enum cli_opt {
	CLI_OPT_JSON = 1 << 0,
	CLI_OPT_LONG = 1 << 1,
	CLI_OPT_REFRESH = 1 << 2,
	CLI_OPT_QUIET = 1 << 3,
	CLI_OPT_LAZY = 1 << 4,
	CLI_OPT_BYTES = 1 << 5,
	CLI_OPT_YES = 1 << 6,
	CLI_OPT_COMMON = 1 << 7,	/* --config --set --cache … */
	CLI_OPT_CHECK = 1 << 8,
	CLI_OPT_FILE = 1 << 9,
	CLI_OPT_HUB = 1 << 10,
	CLI_OPT_LIMIT = 1 << 11,
};

struct cli;

struct cli_cmd {
	const char *name;
	const char *args;	/* after the name in the usage line */
	const char *about;	/* one line, no full stop */
	const char *help;	/* paragraphs below it, or NULL */
	unsigned opts;		/* enum cli_opt */
	bool passes;		/* options are for another program: run() gets
				 * all arguments unparsed */
	int (*run)(struct cli *c, int argc, char **argv);
};

/* One run of the program. */
struct cli {
	const struct cli_cmd *cmd;
	struct conf *conf;	/* NULL for commands without CLI_OPT_COMMON */
	unsigned given;		/* enum cli_opt: options that were given */
	bool conf_given;	/* one of the common options was */
	char *mount;		/* whose settings conf has; NULL: our own */
	char *answered, *missing;	/* open.c's: directory of relative
					 * names that can be looked into; first
					 * part of one that is not there */
	const char *file, *hub, *limit;	/* of --file, --hub, --limit */
	struct fs *fs;		/* after cli_fs_open() */
};

/* NULL-ended, in the order of `omnihub --help`. */
extern const struct cli_cmd *const cli_cmds[];
extern const struct cli_cmd cli_cmd_mount, cli_cmd_umount, cli_cmd_status,
	cli_cmd_ls, cli_cmd_du, cli_cmd_get, cli_cmd_info, cli_cmd_cache,
	cli_cmd_doctor, cli_cmd_families, cli_cmd_pin,
	cli_cmd_search;

/* ---- options (opts.c) ------------------------------------------------------ */

/* Parse argv[1…] by the tables: fills c->given and c->conf. What is left are
 * argv[*ret_first…argc-1]. Returns -1 to go on, else the exit status (help
 * was printed, or the usage was wrong). */
int cli_opts_parse(struct cli *c, int argc, char **argv, int *ret_first);
void cli_help(const struct cli_cmd *cmd);

/* ---- opening the tree (open.c) ---------------------------------------------- */

/* Opens cache, engine and tree as c->conf says. 0, or the exit status. */
int cli_fs_open(struct cli *c);

/* `arg` as the user wrote it → path in the tree ("" is the root); the caller
 * frees. When it lies in a live mount and no common option was given, c->conf
 * becomes that mount's, so that both work on the same cache and hubs: call it
 * before cli_fs_open(). A path in another mount is then -EXDEV. 0, or the exit
 * status. */
int cli_tree_path(struct cli *c, const char *arg, char **ret);

/* A node's attribute without its "user.omnihub." as text. The caller frees;
 * NULL: not set. */
char *cli_attr(struct cli *c, struct fs_node *n, const char *name);

/* The repository that `path` is or lies in, as a path of the tree; *ret NULL:
 * in none. May ask the hub whether it is one. 0 or negative errno; the caller
 * frees. */
int cli_repo_of(struct cli *c, const char *path, char **ret);

/* Every regular file at or below `path`, depth first, in order: fn gets its
 * path and size. A failing name is reported and remembered (*ret_failed), the
 * walk goes on; fn's not-0 ends it and is returned. */
int cli_each_file(struct cli *c, const char *path,
	int (*fn)(void *arg, const char *path, struct fs_node *n,
		const struct fs_attr *attr), void *arg, bool *ret_failed);

/* omnihub-mount beside this program, as installed and built (cmd-mount.c). The
 * caller frees; NULL: not there. */
char *cli_daemon(void);

/* What `omnihub cache adopt` does (adopt.c). Returns the exit status. */
int cli_adopt(struct cli *c);

/* ---- saying (say.c) --------------------------------------------------------- */

/* "omnihub: CMD: what: ERRNO: why" on stderr, where `why` may repeat `what`;
 * why NULL or "": the newest reason the tree remembers for `what`, else
 * strerror's words. Returns CLI_FAILED. */
int cli_fail(const struct cli *c, const char *what, int err,
	const char *why);
/* "omnihub: CMD: text" and where help is. Returns CLI_USAGE. */
int cli_usage(const struct cli *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* "ENOENT", … for a negative or positive errno. */
const char *cli_errno_name(int err);

#define CLI_SIZE_MAX 24
/* "90.9 MiB", "512 B". Returns buf. */
const char *cli_size(char buf[CLI_SIZE_MAX], uint64_t bytes);
/* cli_size, or the plain number with --bytes. */
const char *cli_bytes(const struct cli *c, char buf[CLI_SIZE_MAX],
	uint64_t bytes);

/* Print a JSON value and a newline; takes the reference. */
int cli_print_json(struct cli *c, json_t *j);

#endif
