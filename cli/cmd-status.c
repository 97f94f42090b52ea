/*
 * omnihub status: what the daemon says of itself when it is there, else what
 * the cache holds. A dead or silent mount is a failure; no mount is not.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/path.h"
#include "cli/cmd.h"
#include "cli/mounts.h"
#include "cli/status.h"

#define STATUS_MAX (1024 * 1024)	/* bytes of a control file */

static int control(struct cli *c, const char *dir, const char *name,
	struct buf *ret)
{
	cleanup_free char *path = path_join(dir, name);
	int r;

	if (!path)
		return cli_fail(c, dir, -ENOMEM, NULL);
	r = io_read_file(AT_FDCWD, path, ret);
	return r < 0 ? cli_fail(c, path, r, NULL) : CLI_DONE;
}

static int stats_json(struct cli *c, const char *dir, bool mounted,
	const struct buf *text)
{
	struct error why = { 0 };
	json_t *j = json_object(), *stats = NULL, *names = NULL;
	int r;

	if (json_parse(text->data, text->len, STATUS_MAX, &stats, &why) < 0) {
		json_decref(j);
		return cli_fail(c, dir, why.code, why.text);
	}
	(void) json_object_set_new(j, "mountpoint", json_bytes(dir));
	(void) json_object_set_new(j, "mounted", json_boolean(mounted));
	(void) json_object_set_new(j, "stats", stats);
	r = cli_status_news(c, &names);
	if (names)
		(void) json_object_set_new(j, "names", names);
	if (cli_print_json(c, j))
		r = CLI_FAILED;
	return r;
}

static int mounted(struct cli *c, const char *dir)
{
	cleanup_buf struct buf text = BUF_INIT(STATUS_MAX);
	cleanup_free char *root = NULL;
	bool json = c->given & CLI_OPT_JSON;
	int r = cli_tree_path(c, dir, &root);	/* with the mount's settings */

	if (!r)
		r = cli_fs_open(c);
	if (!r)
		r = control(c, dir, json ? ".omnihub/stats.json" :
			".omnihub/status", &text);
	if (r)
		return r;
	if (json)
		return stats_json(c, dir, true, &text);
	printf("mounted at %s\n", dir);
	(void) fwrite(text.data, 1, text.len, stdout);
	return cli_status_news(c, NULL);
}

static int not_mounted(struct cli *c, const char *dir)
{
	cleanup_buf struct buf text = BUF_INIT(STATUS_MAX);
	bool json = c->given & CLI_OPT_JSON;
	int r = cli_fs_open(c);

	if (r)
		return r;
	r = json ? fs_stats_json(c->fs, &text) : fs_status_text(c->fs, &text);
	if (r < 0)
		return cli_fail(c, dir, r, NULL);
	if (json)
		return stats_json(c, dir, false, &text);
	printf("not mounted at %s\n", dir);
	(void) fwrite(text.data, 1, text.len, stdout);
	return cli_status_news(c, NULL);
}

static int run(struct cli *c, int argc, char **argv)
{
	cleanup_free char *dir = NULL;
	int r;

	if (argc > 1)
		return cli_usage(c, "one MOUNTPOINT at most");
	dir = argc ? cli_path_clean(argv[0]) : conf_mountpoint();
	if (!dir)
		return cli_fail(c, NULL, -ENOMEM, NULL);
	r = cli_mount_probe(dir);
	if (!r)
		return mounted(c, dir);
	if (r == -ENODEV)
		return not_mounted(c, dir);
	return cli_fail(c, dir, r, r == -ENOTCONN ?
		"the daemon of this mount is gone; 'omnihub mount' mounts it "
		"again" : r == -ETIMEDOUT ? "the daemon of this mount does "
		"not answer; 'omnihub umount --lazy' gives it up" :
		r == -EACCES ? "the mount of another user, who has "
		"not given -o allow_other" : NULL);
}

const struct cli_cmd cli_cmd_status = {
	.name = "status",
	.args = "[OPTION]... [MOUNTPOINT]",
	.about = "Say whether the mount is up and what it does",
	.help = "When nothing is mounted there, the cache is shown. A mount "
		"whose daemon is gone\nor does not answer is a failure.\n\n"
		"At the end: names whose branch is at a newer revision at its "
		"hub, as far as is\nknown; --check asks. A name that is not "
		"locked moves by itself at a look-up\n(cache.fresh); one of a "
		"lock file stays.\n",
	.opts = CLI_OPT_COMMON | CLI_OPT_CHECK | CLI_OPT_JSON,
	.run = run,
};
