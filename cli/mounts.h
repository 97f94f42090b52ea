/* Our mounts, as the kernel lists them. */
#ifndef CLI_MOUNTS_H
#define CLI_MOUNTS_H

#include <stdbool.h>

/* The mountpoint in one line of /proc/self/mountinfo (proc(5)) when its type
 * is fuse.omnihub, unescaped, in place; else NULL. */
char *cli_mountinfo_parse(char *line);

/* Who mounted what stands in one such line; -1: it does not say. */
long long cli_mountinfo_user(const char *line);

/* Is the mount at `dir`, as the kernel knows it, this user's? The kernel says
 * so: what is in the mount may say anything. */
bool cli_mount_is_own(const char *dir);

/* Every mountpoint of ours. fn's not 0 ends it and is returned. */
int cli_mounts_each(int (*fn)(void *arg, const char *dir), void *arg);

/* The mountpoint that `path` (absolute, lexically clean) lies in, the deepest
 * one; NULL: none. The caller frees. */
char *cli_mount_of(const char *path);

/* Is something of ours mounted there? `real` is what proc_real_path() gives. */
bool cli_mount_at(const char *real);

/* Does somebody answer there? 0, or negative errno: -ENOTCONN when the daemon
 * is gone, -EACCES when it is another user's, which not even root may look
 * into, -ETIMEDOUT when the daemon stands still (PROC_ANSWER_MS later), -ENODEV
 * when nothing of ours is mounted at dir (any path). */
int cli_mount_probe(const char *dir);

/* Every live mount that keeps its bytes in `cache` looks again at its hubs for
 * what `path`, one of the tree, means. */
void cli_mounts_refresh(const char *cache, const char *path);

/* What of `path` lies behind `dir`, without a leading slash; NULL: nothing.
 * "" when they are the same. */
const char *cli_below(const char *path, const char *dir);

/* Absolute, without ".", ".." and double slashes; the file system is not
 * asked. The caller frees; NULL: out of memory or no working directory. */
char *cli_path_clean(const char *path);

#endif
