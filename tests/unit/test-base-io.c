/* Files that are whole or not there. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "tests/unit/t.h"

static int top;

static void text_is(const char *path, const char *want)
{
	cleanup_buf struct buf b = BUF_INIT(1 << 20);

	t_int(io_read_file(top, path, &b), 0);
	t_str((char *)b.data, want);
}

static int count(const char *path)
{
	int fd = openat(top, path, O_RDONLY | O_DIRECTORY);
	DIR *d = fdopendir(fd);
	int n = 0;

	t_check(d);
	while (readdir(d))
		n++;
	(void) closedir(d);
	return n - 2;
}

static void publish(void)
{
	struct stat st;

	t_int(io_mkdirs(top, "a/b/c"), 0);
	t_int(io_mkdirs(top, "a/b/c"), 0);
	t_int(io_mkdirs(top, "a//b/./d/"), 0);
	t_int(fstatat(top, "a/b", &st, 0), 0);
	t_int(st.st_mode & 0777, 0700);
	t_int(io_publish(top, "a/b/f", "one", 3, 0444), 0);
	text_is("a/b/f", "one");
	t_int(fstatat(top, "a/b/f", &st, 0), 0);
	t_int(st.st_mode & 0777, 0444);
	t_int(io_publish(top, "a/b/f", "second", 6, 0600), 0);
	text_is("a/b/f", "second");
	t_int(io_publish(top, "plain", "x", 1, 0600), 0);
	t_int(io_publish(top, "no/such/dir", "x", 1, 0600), -ENOENT);
	t_int(io_publish(top, "a/b/c", "x", 1, 0600), -EISDIR);
	t_int(io_mkdirs(top, "plain/x"), -ENOTDIR);
	t_int(io_mkdirs(top, "plain"), -ENOTDIR);
	t_int(count("a/b"), 3);		/* c d f: no temporary file */
	t_int(io_fsync_dir(top), 0);
}

static void touch_in(const char *before, pid_t pid, const char *after)
{
	char name[64];
	int fd;

	(void) snprintf(name, sizeof(name), "%s%ld%s", before, (long)pid,
		after);
	fd = openat(top, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	t_check(fd >= 0 && !close(fd));
}

static void touch(const char *before, pid_t pid, const char *after)
{
	char name[64];

	(void) snprintf(name, sizeof(name), "left/%s", before);
	touch_in(name, pid, after);
}

/* Who was killed while it published leaves a file: the next one takes it away,
 * and nobody else's. */
static void leftovers(void)
{
	static const char *const others[][2] = { { ".tmp-", "-0x" },
		{ ".tmp-", "" }, { ".tmp-+", "-0" }, { ".tmp-0", "-0" },
		{ "tmp-", "-0" } };
	pid_t dead = fork();
	char name[64];
	int fd;

	if (!dead)
		_exit(0);
	t_int(waitpid(dead, NULL, 0), dead);
	t_int(io_mkdirs(top, "left"), 0);
	touch(".tmp-", dead, "-0");
	touch(".tmp-", dead, "-71");
	t_int(io_publish(top, "left/f", "x", 1, 0600), 0);
	t_int(count("left"), 1);
	for (size_t i = 0; i < 5; i++)
		touch(others[i][0], dead, others[i][1]);
	touch(".tmp-", getpid(), "-7000");
	touch(".tmp-", 1, "-7000");
	(void) snprintf(name, sizeof(name), "left/.tmp-%ld-5", (long)dead);
	t_int(mkdirat(top, name, 0700), 0);
	(void) snprintf(name, sizeof(name), "left/.tmp-%ld-6", (long)dead);
	t_int(symlinkat("f", top, name), 0);
	t_int(io_publish(top, "left/f", "x", 1, 0600), 0);
	t_int(count("left"), 10);
	/* Its number means nobody here, and yet it is at it. */
	touch(".tmp-", dead, "-8");
	(void) snprintf(name, sizeof(name), "left/.tmp-%ld-8", (long)dead);
	fd = openat(top, name, O_RDONLY | O_CLOEXEC);
	t_check(fd >= 0 && !flock(fd, LOCK_EX));
	t_int(io_publish(top, "left/f", "x", 1, 0600), 0);
	t_int(count("left"), 11);
	t_int(close(fd), 0);
	t_int(io_publish(top, "left/f", "x", 1, 0600), 0);
	t_int(count("left"), 10);
	t_int(io_remove_tree(top, "left"), 0);
}

/* Who has our number in another container is at it, too. */
static void namesakes(void)
{
	char after[16];

	t_int(io_mkdirs(top, "same"), 0);
	for (int i = 0; i < 60; i++) {
		(void) snprintf(after, sizeof(after), "-%d", i);
		touch_in("same/.tmp-", getpid(), after);
	}
	t_int(io_publish(top, "same/f", "x", 1, 0600), 0);
	t_int(count("same"), 61);
	t_int(io_remove_tree(top, "same"), 0);
}

static void positions(void)
{
	int fd = openat(top, "p", O_RDWR | O_CREAT, 0600);
	char got[8];

	t_check(fd >= 0);
	t_int(io_pwrite(fd, "abcdef", 6, 2), 0);
	t_int(io_pread(fd, got, 4, 4), 0);
	t_check(!memcmp(got, "cdef", 4));
	t_int(io_pread(fd, got, 5, 4), -ENODATA);
	t_int(io_pread(fd, got, 0, 100), 0);
	t_int(io_pread(-1, got, 1, 0), -EBADF);
	t_int(io_pwrite(-1, got, 1, 0), -EBADF);
	t_int(close(fd), 0);
}

static void ceilings(void)
{
	cleanup_buf struct buf b = BUF_INIT(5);

	t_int(io_read_file(top, "a/b/f", &b), -EFBIG);
	t_int(io_read_file(top, "none", &b), -ENOENT);
	t_int(io_read_file(top, "a", &b), -EISDIR);
}

/* Whoever reads while others publish sees one of the texts, whole. */
static atomic_bool stop_writing;

static void *writer(void *arg)
{
	const char *text = arg;

	while (!atomic_load(&stop_writing))
		t_int(io_publish(top, "shared", text, strlen(text), 0600), 0);
	return NULL;
}

static void no_half_files(void)
{
	static char long_text[70000], short_text[] = "short";
	pthread_t t[2];

	memset(long_text, 'l', sizeof(long_text) - 1);
	t_int(io_publish(top, "shared", short_text, 5, 0600), 0);
	t_int(pthread_create(&t[0], NULL, writer, long_text), 0);
	t_int(pthread_create(&t[1], NULL, writer, short_text), 0);
	for (int i = 0; i < 100; i++) {
		cleanup_buf struct buf b = BUF_INIT(1 << 20);

		t_int(io_read_file(top, "shared", &b), 0);
		t_check(b.len == 5 || b.len == sizeof(long_text) - 1);
	}
	atomic_store(&stop_writing, true);
	t_int(pthread_join(t[0], NULL), 0);
	t_int(pthread_join(t[1], NULL), 0);
}

static void removal(void)
{
	t_int(io_mkdirs(top, "keep"), 0);
	t_int(io_publish(top, "keep/me", "x", 1, 0600), 0);
	t_int(io_mkdirs(top, "tree/with/many/levels"), 0);
	t_int(io_publish(top, "tree/with/file", "x", 1, 0600), 0);
	t_int(symlinkat("../keep", top, "tree/link"), 0);
	t_int(io_remove_tree(top, "tree"), 0);
	t_int(faccessat(top, "tree", F_OK, 0), -1);
	text_is("keep/me", "x");
	t_int(io_remove_tree(top, "tree"), 0);
	t_int(symlinkat("keep", top, "alias"), 0);
	t_int(io_remove_tree(top, "alias"), 0);
	text_is("keep/me", "x");
	t_int(io_remove_tree(top, "keep/me"), 0);
	t_int(count("keep"), 0);
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	t_int(fstatat(top, path, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st.st_mode & 07777;
}

/* Directories of ours that let nobody in go all the same, and nothing that is
 * only linked to gets another mode. */
static void locked(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0, 0, 0 }, { 0, 0, 0 } };

	/* Root is let in everywhere. */
	t_int(syscall(SYS_capset, &head, none), 0);
	t_int(io_mkdirs(top, "out/shut"), 0);
	t_int(io_publish(top, "out/file", "x", 1, 0400), 0);
	t_int(io_mkdirs(top, "lock/none/below"), 0);
	t_int(io_mkdirs(top, "lock/read/below"), 0);
	t_int(symlinkat("../../out/shut", top, "lock/none/link"), 0);
	t_int(linkat(top, "out/file", top, "lock/read/file", 0), 0);
	t_int(symlinkat("out/shut", top, "to-shut"), 0);
	t_int(fchmodat(top, "lock/none/below", 0, 0), 0);
	t_int(fchmodat(top, "lock/none", 0, 0), 0);
	t_int(fchmodat(top, "lock/read", 0500, 0), 0);
	t_int(fchmodat(top, "lock", 0300, 0), 0);
	t_int(fchmodat(top, "out/shut", 0, 0), 0);
	t_int(io_remove_tree(top, "lock"), 0);
	t_int(faccessat(top, "lock", F_OK, 0), -1);
	t_int(io_remove_tree(top, "to-shut"), 0);
	t_int(mode_of("out/shut"), 0);
	t_int(mode_of("out/file"), 0400);
	/* What is not to be removed is left as it is. */
	t_int(fchmodat(top, "out", 0500, 0), 0);
	t_int(io_remove_tree(top, "out/file"), -EACCES);
	t_int(mode_of("out/file"), 0400);
	t_int(io_remove_tree(top, "out"), 0);
}

static void without_rights(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	t_check(pid >= 0);
	if (!pid) {
		fn();
		exit(0);
	}
	t_check(waitpid(pid, &status, 0) == pid);
	t_int(status, 0);
}

int main(void)
{
	char dir[] = "/tmp/test-base-io-XXXXXX";

	(void) umask(022);
	t_check(mkdtemp(dir));
	top = open(dir, O_RDONLY | O_DIRECTORY);
	t_check(top >= 0);
	publish();
	namesakes();
	leftovers();
	positions();
	ceilings();
	no_half_files();
	removal();
	without_rights(locked);
	t_int(close(top), 0);
	t_int(io_remove_tree(AT_FDCWD, dir), 0);
	t_int(access(dir, F_OK), -1);
	return 0;
}
