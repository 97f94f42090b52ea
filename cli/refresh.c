/* Telling the daemons that share our cache to look again. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/path.h"
#include "cli/mounts.h"

#define STATUS_MAX (1024 * 1024)	/* bytes of a control file */

struct told {
	const char *cache, *path;
};

/* Is the "cache" row of the mount's status this directory? */
static bool same_cache(const char *dir, const char *cache)
{
	cleanup_buf struct buf text = BUF_INIT(STATUS_MAX);
	cleanup_free char *file = path_join(dir, ".omnihub/status");
	char *line, *save = NULL;

	if (!file || io_read_file(AT_FDCWD, file, &text) || !text.data)
		return false;
	for (line = strtok_r((char *)text.data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (!strncmp(line, "cache ", 6))
			return !strcmp(line + 6 + strspn(line + 6, " "), cache);
	return false;
}

static int tell(void *arg, const char *dir)
{
	const struct told *t = arg;
	cleanup_free char *path = NULL;
	size_t root = strlen(dir);
	char said[256];

	if (cli_mount_probe(dir) || !same_cache(dir, t->cache))
		return 0;
	path = *t->path ? path_join(dir, t->path) : strdup(dir);
	/* Of what is not there, what is above it has to be looked at. */
	while (path && lgetxattr(path, "user.omnihub.refresh", said,
			sizeof(said)) < 0 && strlen(path) > root)
		*strrchr(path, '/') = '\0';
	return 0;
}

void cli_mounts_refresh(const char *cache, const char *path)
{
	struct told t = { cache, path };

	(void) cli_mounts_each(tell, &t);
}
