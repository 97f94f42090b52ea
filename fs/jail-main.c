/*
 * omnihub-jail: puts up the walls and becomes another program. What has to
 * happen between fork and exec happens here, where there is one thread.
 *
 *   omnihub-jail MEMORY CPU_S FILE_BYTES [-r PATH | -w PATH]... -- PROGRAM ARG...
 *
 * Descriptors, environment and directory are those it was given. Exit 126: the
 * walls could not be put up, 127: there is no such program.
 */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/sandbox.h"

#define PATHS_MAX 64
#define FILES 256

int main(int argc, char **argv)
{
	struct sandbox_path paths[PATHS_MAX];
	struct sandbox_limits limits = { .files = FILES };
	struct sandbox_walls walls = { false, 0 };
	size_t n = 0;
	int i = 4;

	if (argc < 6)
		return 126;
	limits.memory = strtoull(argv[1], NULL, 10);
	limits.cpu_s = strtoull(argv[2], NULL, 10);
	limits.file_bytes = strtoull(argv[3], NULL, 10);
	for (; i + 1 < argc && strcmp(argv[i], "--") != 0; i += 2) {
		if (n == PATHS_MAX)
			return 126;
		paths[n++] = (struct sandbox_path){ argv[i + 1],
			!strcmp(argv[i], "-w") };
	}
	if (i + 1 >= argc || prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL,
			0UL, 0UL, 0UL))
		return 126;
	if (sandbox_program(&limits, paths, n, &walls) || !walls.seccomp ||
		!walls.landlock) {
		(void) fprintf(stderr, "the sandbox cannot be closed here "
			"(seccomp %s, Landlock %s)\n", walls.seccomp ? "yes" :
			"no", walls.landlock ? "yes" : "no");
		return 126;
	}
	execv(argv[i + 1], argv + i + 1);
	perror(argv[i + 1]);
	return 127;
}
