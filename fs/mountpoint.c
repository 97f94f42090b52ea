/*
 * What is at a mountpoint. The kernel's list of mounts is asked first, because
 * looking at the path itself can fail (ENOTCONN), wait (a daemon that is
 * stopped) or lie (attributes of a dead mount come from the kernel's cache).
 * Whether the daemon lives is asked with statfs, which always goes to it. Dead is
 * only what the kernel calls so: a daemon that is silent may have its readers.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/path.h"
#include "base/proc.h"
#include "fs/session.h"

#define READ_AHEAD_KB 2048
#define MOUNTINFO_MAX (16 << 20)
#define FUSERMOUNT_MS 10000

struct mount_line {
	unsigned major, minor;
	char *point;
	char *type;
};

/* mountinfo writes blanks and backslashes of a path as \ooo. */
static void unescape(char *s)
{
	char *out = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
			*out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 |
				(s[3] - '0'));
			s += 3;
		} else {
			*out++ = *s;
		}
	}
	*out = '\0';
}

/* "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw" */
static bool parse_line(char *line, struct mount_line *ret)
{
	char *save = NULL, *f = strtok_r(line, " ", &save);
	int field = 0;

	*ret = (struct mount_line){ 0 };
	for (; f; f = strtok_r(NULL, " ", &save), field++) {
		if (field == 2 &&
			sscanf(f, "%u:%u", &ret->major, &ret->minor) != 2)
			return false;
		if (field == 4)
			ret->point = f;
		if (field > 5 && !strcmp(f, "-")) {
			ret->type = strtok_r(NULL, " ", &save);
			break;
		}
	}
	if (!ret->point || !ret->type)
		return false;
	unescape(ret->point);
	return true;
}

/* The topmost mount at exactly this path. `text` holds the strings. */
static bool find_mount(const char *point, struct buf *text,
	struct mount_line *ret)
{
	char *save = NULL;
	bool found = false;

	if (io_read_file(AT_FDCWD, "/proc/self/mountinfo", text) || !text->len)
		return false;
	for (char *l = strtok_r((char *)text->data, "\n", &save); l;
		l = strtok_r(NULL, "\n", &save)) {
		struct mount_line m;

		if (parse_line(l, &m) && !strcmp(m.point, point)) {
			*ret = m;
			found = true;
		}
	}
	return found;
}

static int ask_statfs(const char *point)
{
	struct statfs st;

	return statfs(point, &st) ? -errno : 0;
}

/* One that says nothing within PROC_ANSWER_MS is not dead for that. */
static enum fs_mount_state state_of(const struct mount_line *m)
{
	bool ours = !strcmp(m->type, "fuse.omnihub");

	if (strncmp(m->type, "fuse", 4) != 0)
		return FS_MOUNT_OTHER;
	switch (proc_ask(ask_statfs, m->point)) {
	case 0:
		return ours ? FS_MOUNT_LIVE : FS_MOUNT_OTHER;
	case -ENOTCONN:
	case -ECONNABORTED:	/* it went while it was asked */
		return FS_MOUNT_DEAD;
	default:
		return FS_MOUNT_SILENT;
	}
}

enum fs_mount_state fs_mount_state(const char *point)
{
	struct buf text = BUF_INIT(MOUNTINFO_MAX);
	enum fs_mount_state s = FS_MOUNT_NONE;
	struct mount_line m;

	if (find_mount(point, &text, &m))
		s = state_of(&m);
	buf_done(&text);
	return s;
}

/* ---- its path ----------------------------------------------------------------------- */

/* Of what is missing, and may be made, its place. */
static int resolve_missing(const char *path, char **ret)
{
	cleanup_free char *copy = strdup(path);
	cleanup_free char *dir = NULL;
	size_t n = strlen(path);
	const char *name;
	char *slash;
	int r;

	if (!copy)
		return -ENOMEM;
	while (n > 1 && copy[n - 1] == '/')
		copy[--n] = '\0';
	slash = strrchr(copy, '/');
	name = slash ? slash + 1 : copy;
	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return -ENOENT;
	if (slash)
		*slash = '\0';
	r = fs_mount_resolve(!slash ? "." : slash == copy ? "/" : copy, &dir);
	if (r)
		return r;
	*ret = path_join(dir, name);
	return *ret ? 0 : -ENOMEM;
}

int fs_mount_resolve(const char *path, char **ret)
{
	int r = proc_real_path(path, ret);

	return r == -ENOENT ? resolve_missing(path, ret) : r;
}

/* ---- taking it away ------------------------------------------------------------------- */

int fs_mount_detach(const char *point)
{
	const char *const argv[] = { "fusermount3", "-u", "-z", "--", point,
		NULL };
	char said[256];
	int r;

	if (umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		return 0;
	r = proc_run(argv, FUSERMOUNT_MS, said, sizeof(said));
	return !r || r == -ENOENT ? r : -EBUSY;
}

unsigned fs_mount_tune(const char *point)
{
	struct buf text = BUF_INIT(MOUNTINFO_MAX);
	struct mount_line m;
	char path[96];
	unsigned kb = 0;

	if (find_mount(point, &text, &m)) {
		cleanup_file FILE *out = NULL, *in = NULL;

		(void) snprintf(path, sizeof(path),
			"/sys/class/bdi/%u:%u/read_ahead_kb", m.major, m.minor);
		out = geteuid() == 0 ? fopen(path, "we") : NULL;
		if (out && fprintf(out, "%d\n", READ_AHEAD_KB) > 0)
			(void) fflush(out);
		in = fopen(path, "re");
		if (!in || fscanf(in, "%u", &kb) != 1)
			kb = 0;
	}
	buf_done(&text);
	return kb;
}
