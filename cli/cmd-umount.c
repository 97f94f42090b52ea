/*
 * omnihub umount. fusermount3 does it for who is not root; root's umount2(2)
 * also works where fusermount3 is not installed. A mount in use whose daemon is
 * gone is detached lazily: nobody can wait for its open files. One whose daemon
 * stands still may go on. Whoever asks a daemon uses its mount, and may do so
 * for long: so it is asked only when it must be.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/proc.h"
#include "cli/cmd.h"
#include "cli/mounts.h"

#define FUSERMOUNT_MS 10000

static int detach(const char *dir, bool lazy, char *said, size_t room)
{
	const char *const argv[] = { "fusermount3", lazy ? "-uz" : "-u", "--",
		dir, NULL };
	int r;

	*said = '\0';
	if (!geteuid()) {
		r = umount2(dir, lazy ? MNT_DETACH : 0) < 0 ? -errno : 0;
		if (r != -EPERM)
			return r;
	}
	r = proc_run(argv, FUSERMOUNT_MS, said, room);
	said[strcspn(said, "\n")] = '\0';
	return r;
}

static bool is_busy(int err, const char *said)
{
	return err == -EBUSY || (err == -EIO && strstr(said, "busy"));
}

static int run(struct cli *c, int argc, char **argv)
{
	cleanup_free char *given = NULL;
	cleanup_free char *dir = NULL;
	bool lazy = c->given & CLI_OPT_LAZY;
	char said[256];
	int asked = 0, r;

	if (argc > 1)
		return cli_usage(c, "one MOUNTPOINT at most");
	given = argc ? strdup(argv[0]) : conf_mountpoint();
	if (!given)
		return cli_fail(c, NULL, -ENOMEM, NULL);
	r = proc_real_path(given, &dir);
	if (r == -ETIMEDOUT)
		return cli_fail(c, given, r, "in a mount that does not answer");
	if (r || !cli_mount_at(dir))
		return cli_fail(c, given, -EINVAL, "OmniHub is not mounted "
			"there");
	r = detach(dir, lazy, said, sizeof(said));
	if (!lazy && is_busy(r, said)) {
		asked = cli_mount_probe(dir);
		if (asked == -ENOTCONN)
			r = detach(dir, true, said, sizeof(said));
	}
	if (is_busy(r, said))
		return cli_fail(c, given, -EBUSY, asked == -ETIMEDOUT ?
			"files in it are open, and its daemon does not answer; "
			"--lazy detaches it all the same" :
			"files in it are open; --lazy detaches it all the same");
	if (r == -ENOENT)
		return cli_fail(c, given, r, "fusermount3 is not installed "
			"(package fuse3)");
	return r < 0 ? cli_fail(c, given, r, said) : CLI_DONE;
}

const struct cli_cmd cli_cmd_umount = {
	.name = "umount",
	.args = "[OPTION]... [MOUNTPOINT]",
	.about = "Unmount, also what a killed daemon left behind",
	.help = "MOUNTPOINT is $MODELHUB_PATH, $OMNIHUB_HOME or ~/.modelhub "
		"when not given.\n",
	.opts = CLI_OPT_LAZY,
	.run = run,
};
