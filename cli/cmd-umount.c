/*
 * omnihub umount. fusermount3 does it for who is not root; root's umount2(2)
 * also works where fusermount3 is not installed. A mount whose daemon is gone
 * is always detached lazily: nobody can wait for its open files.
 */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/cmd.h"
#include "cli/mounts.h"

extern char **environ;

/* Runs argv, its stderr into the first `room` bytes of said. 0 when it
 * succeeded, -ENOENT when there is no such program, else -EIO. */
static int spawn(char *const argv[], char *said, size_t room)
{
	posix_spawn_file_actions_t io;
	size_t n = 0;
	ssize_t got;
	int fds[2], status = -1, r;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	(void) posix_spawn_file_actions_init(&io);
	(void) posix_spawn_file_actions_adddup2(&io, fds[1], STDERR_FILENO);
	r = posix_spawnp(&pid, argv[0], &io, NULL, argv, environ);
	(void) posix_spawn_file_actions_destroy(&io);
	(void) close(fds[1]);
	if (r) {
		(void) close(fds[0]);
		return -r;
	}
	while (n + 1 < room && (got = read(fds[0], said + n, room - 1 - n)) > 0)
		n += (size_t)got;
	(void) close(fds[0]);
	said[n] = '\0';
	said[strcspn(said, "\n")] = '\0';
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EIO;
}

static int detach(const char *dir, bool lazy, char *said, size_t room)
{
	char *argv[] = { (char[]){ "fusermount3" }, (char[]){ "-u" },
		(char[]){ "-z" }, NULL, NULL };
	cleanup_free char *copy = strdup(dir);
	int r;

	*said = '\0';
	if (!copy)
		return -ENOMEM;
	if (!geteuid()) {
		r = umount2(dir, lazy ? MNT_DETACH : 0) < 0 ? -errno : 0;
		if (r != -EPERM)
			return r;
	}
	argv[lazy ? 3 : 2] = copy;
	return spawn(argv, said, room);
}

static int run(struct cli *c, int argc, char **argv)
{
	cleanup_free char *given = NULL;
	cleanup_free char *dir = NULL;
	bool lazy = c->given & CLI_OPT_LAZY;
	char said[256];
	int r;

	if (argc > 1)
		return cli_usage(c, "one MOUNTPOINT at most");
	given = argc ? strdup(argv[0]) : conf_mountpoint();
	if (!given)
		return cli_fail(c, NULL, -ENOMEM, NULL);
	dir = cli_mount_real(given);
	r = dir ? cli_mount_probe(dir) : -ENODEV;
	if (r == -ENODEV)
		return cli_fail(c, given, -EINVAL, "OmniHub is not mounted "
			"there");
	r = detach(dir, lazy || r == -ENOTCONN, said, sizeof(said));
	if (r == -EBUSY || (r == -EIO && strstr(said, "busy")))
		return cli_fail(c, given, -EBUSY, "files in it are open; "
			"--lazy detaches it all the same");
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
