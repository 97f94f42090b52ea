/* The verdict on another tool's file, on a file system that can share blocks and
 * on one that cannot: ioctl() here says which. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "cache/store.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

#define SIZE (5 * MIB + 3)

static atomic_bool can_clone, hold;

static int copy_file(int to, int from)
{
	uint8_t *all = malloc(SIZE);
	struct stat st;
	int r;

	t_check(all && !fstat(from, &st) && st.st_size <= (off_t)SIZE);
	r = io_pread(from, all, (size_t)st.st_size, 0);
	if (!r)
		r = io_pwrite(to, all, (size_t)st.st_size, 0);
	free(all);
	t_int(r, 0);
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list more;
	int from;

	if (request != FICLONE) {
		errno = ENOTTY;
		return -1;
	}
	va_start(more, request);
	from = va_arg(more, int);
	va_end(more);
	while (atomic_load(&hold))
		usleep(1000);
	if (atomic_load(&can_clone))
		return copy_file(fd, from);
	errno = EOPNOTSUPP;
	return -1;
}

/* Where a program ends that is to be killed. */
static bool dies;

int fchmod(int fd, mode_t mode)
{
	if (dies)
		(void) raise(SIGKILL);
	return (int)syscall(SYS_fchmod, fd, mode);
}

struct rig {
	char *dir, *root, *path;	/* path: of the tool's file */
	uint8_t *bytes;
	struct cache *c;
	struct cache_name n;
	struct upstream *u;
};

static struct rig rig_new(uint64_t budget, enum objid_alg alg)
{
	struct rig r = { .dir = upstream_dir("adopt"),
		.root = upstream_dir("adopt-keras"),
		.bytes = upstream_bytes(SIZE, 60) };
	const struct cache_conf conf = { .dir = r.dir, .budget = budget,
		.chunk = 64 * 1024, .connections = 2,
		.tools = { [CONF_TOOL_KERAS] = r.root } };

	t_int(cache_open(&conf, &r.c, NULL), 0);
	r.path = t_join(r.root, "X-y.h5");
	r.n = t_name_of("M/X-y.h5", r.bytes, SIZE, alg);
	r.n.hub = "keras";
	r.n.repo = "models";
	r.u = upstream_new(r.bytes, SIZE, 1);
	return r;
}

static void rig_done(struct rig *r)
{
	cache_close(r->c);
	upstream_free(r->u);
	free(r->bytes);
	free(r->path);
	free(r->dir);
	free(r->root);
}

static void put(const struct rig *r, const char *path, bool wrong)
{
	r->bytes[7] ^= wrong;
	t_int(io_publish(AT_FDCWD, path, r->bytes, SIZE, 0644), 0);
	r->bytes[7] ^= wrong;
}

static unsigned names_in(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	unsigned n = 0;

	t_check(d);
	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	(void) closedir(d);
	return n;
}

static unsigned in_tmp(const struct rig *r)
{
	char *tmp = t_join(r->dir, "tmp");
	unsigned n = names_in(tmp);

	free(tmp);
	return n;
}

/* Until there are no more open files than that: the pool lets go last. */
static void expect_open(unsigned want)
{
	for (int i = 0; i < 4000 && names_in("/proc/self/fd") > want; i++)
		usleep(1000);
	t_int(names_in("/proc/self/fd"), want);
}

static uint64_t adopted(const struct rig *r)
{
	struct cache_stats st;

	cache_stats(r->c, &st);
	return st.adopted_bytes;
}

/* An object that shares the file's blocks, is counted, and needs the file no
 * more. */
static void test_cloned(void)
{
	struct rig r = rig_new(0, OBJID_MD5);
	struct cache_totals t;
	struct stat st;
	struct src *s;

	atomic_store(&can_clone, true);
	put(&r, r.path, false);
	s = t_open_src(r.c, &r.n, NULL);
	t_expect(s, r.bytes, 0, SIZE);
	t_int(fstat(t_wait_fd(s), &st), 0);
	t_int(st.st_mode & 07777, 0444);
	t_int(cache_totals(r.c, &t), 0);
	t_int(t.objects, 1);
	t_int(cache_used(r.c), SIZE);
	t_int(adopted(&r), SIZE);
	t_int(in_tmp(&r), 0);
	src_unref(s);
	t_int(unlink(r.path), 0);
	s = t_open_src(r.c, &r.n, NULL);
	t_expect(s, r.bytes, 0, SIZE);
	src_unref(s);
	rig_done(&r);
}

/* A program of its own, which adopts the file in its rig when it is told where
 * that is. */
static void adopt_and_die(int from)
{
	char dir[2][4096];
	const struct cache_conf conf = { .dir = dir[0], .chunk = 64 * 1024,
		.tools = { [CONF_TOOL_KERAS] = dir[1] } };
	uint8_t *bytes = upstream_bytes(SIZE, 60);
	struct cache_name n = t_name_of("M/X-y.h5", bytes, SIZE, OBJID_MD5);
	struct cache *c;

	n.hub = "keras";
	n.repo = "models";
	dies = true;
	t_int(read(from, dir, sizeof(dir)), sizeof(dir));
	t_int(cache_open(&conf, &c, NULL), 0);
	t_expect(t_open_src(c, &n, NULL), bytes, 0, SIZE);
	_exit(0);
}

/* Who is killed over a clone leaves nothing that stays counted. */
static void test_killed(void)
{
	char dir[2][4096];
	int tell[2], status;
	struct src *s;
	struct rig r;
	pid_t pid;

	atomic_store(&can_clone, true);
	t_int(pipe(tell), 0);
	pid = fork();
	if (!pid)
		adopt_and_die(tell[0]);
	r = rig_new(0, OBJID_MD5);
	put(&r, r.path, false);
	(void) snprintf(dir[0], sizeof(dir[0]), "%s", r.dir);
	(void) snprintf(dir[1], sizeof(dir[1]), "%s", r.root);
	t_int(write(tell[1], dir, sizeof(dir)), sizeof(dir));
	t_int(waitpid(pid, &status, 0), pid);
	(void) close(tell[0]);
	(void) close(tell[1]);
	t_check(WIFSIGNALED(status));
	t_int(cache_used(r.c), SIZE);
	cache_reap(r.c);
	t_int(cache_used(r.c), 0);
	s = t_open_src(r.c, &r.n, NULL);
	t_expect(s, r.bytes, 0, SIZE);
	t_int(cache_used(r.c), SIZE);
	src_unref(s);
	rig_done(&r);
}

/* A clone of wrong bytes goes again, and so does one that there is no room
 * for. */
static void test_not_cloned(void)
{
	struct rig r = rig_new(0, OBJID_MD5);
	struct src *s;

	atomic_store(&can_clone, true);
	put(&r, r.path, true);
	s = t_open_src(r.c, &r.n, r.u);
	t_expect(s, r.bytes, 0, SIZE);
	(void) t_wait_fd(s);
	t_int(atomic_load(&r.u->sent), SIZE);
	t_int(adopted(&r), 0);
	t_int(cache_used(r.c), SIZE);
	t_int(in_tmp(&r), 0);
	src_unref(s);
	rig_done(&r);

	r = rig_new(SIZE - 1, OBJID_MD5);
	put(&r, r.path, false);
	s = t_open_src(r.c, &r.n, NULL);
	t_expect(s, r.bytes, 0, SIZE);
	t_int(src_fd(s), -EAGAIN);
	t_int(adopted(&r), SIZE);
	t_int(cache_used(r.c), 0);
	t_int(in_tmp(&r), 0);
	src_unref(s);
	rig_done(&r);
}

/* The first place has wrong bytes, the next the right ones. Neither a name nor
 * an open file is left over, though it is no clone. */
static void test_next_place(void)
{
	struct rig r = rig_new(0, OBJID_MD5);
	char *next = t_join(r.root, "x_y.h5");
	unsigned files = names_in("/proc/self/fd");
	struct src *s;

	atomic_store(&can_clone, false);
	put(&r, r.path, true);
	put(&r, next, false);
	s = t_open_src(r.c, &r.n, NULL);
	t_expect(s, r.bytes, 0, SIZE);
	t_int(adopted(&r), SIZE);
	t_int(in_tmp(&r), 0);
	src_unref(s);
	expect_open(files);
	free(next);
	rig_done(&r);
}

/* The tool makes it anew, and it is the same: used. But not for ever: whose file
 * changes again and again is left alone. */
static void test_made_anew(void)
{
	struct rig r = rig_new(0, OBJID_MD5);
	unsigned files = names_in("/proc/self/fd");
	struct src *s;

	put(&r, r.path, false);
	s = t_open_src(r.c, &r.n, r.u);
	for (uint64_t i = 1; i < 5; i++) {
		t_expect(s, r.bytes, 0, 1000);
		t_int(adopted(&r), i * SIZE);
		put(&r, r.path, false);
	}
	t_int(atomic_load(&r.u->sent), 0);
	t_expect(s, r.bytes, 0, SIZE);
	t_int(atomic_load(&r.u->sent), SIZE);
	(void) t_wait_fd(s);
	src_unref(s);
	expect_open(files);
	rig_done(&r);
}

/* What came before of the hub's bytes is there, also offline, when the tool's
 * turn out wrong. */
static void test_after_partial(void)
{
	struct rig r = rig_new(0, OBJID_MD5);
	struct src *s = t_open_src(r.c, &r.n, r.u);

	t_expect(s, r.bytes, 0, 65536);
	src_unref(s);
	while (atomic_load(&r.u->s.refs) > 1)	/* its pull ends */
		usleep(1000);
	put(&r, r.path, true);
	s = t_open_src(r.c, &r.n, NULL);
	t_expect(s, r.bytes, 0, 65536);
	src_unref(s);
	rig_done(&r);
}

static struct rig *changing;
static atomic_uint answers;
static atomic_bool spoilt;
static bool is_cut;

struct asked {
	struct src_read r;	/* must be first */
	uint8_t byte;
	atomic_int over;	/* 1 - err */
};

/* The first to be answered spoils the file for the others. */
static void asked_done(struct src_read *r, int err)
{
	struct asked *a = (struct asked *)(void *)r;
	const uint8_t wrong = 0x55;
	int fd;

	if (!atomic_fetch_add(&answers, 1)) {
		fd = open(changing->path, O_WRONLY | O_CLOEXEC);
		t_check(fd >= 0);
		t_int(io_pwrite(fd, &wrong, 1, 7), 0);
		t_int(is_cut ? ftruncate(fd, 1000) : 0, 0);
		(void) close(fd);
		atomic_store(&hold, !is_cut);
		atomic_store(&spoilt, true);
	}
	atomic_store(&a->over, 1 - err);
}

/* The file changes when many are about to be answered from it, and is compared
 * again meanwhile, or is cut and not compared: each gets the right bytes in the
 * end. */
static void test_changes_under_many(bool cut)
{
	struct rig r = rig_new(0, OBJID_MD5);
	struct asked a[8] = { 0 };
	struct src *s;

	changing = &r;
	is_cut = cut;
	atomic_store(&answers, 0);
	atomic_store(&spoilt, false);
	put(&r, r.path, false);
	atomic_store(&hold, true);
	s = t_open_src(r.c, &r.n, r.u);
	for (unsigned i = 0; i < 8; i++) {
		a[i].r = (struct src_read){ .off = 1000 * i + 2000, .len = 1,
			.buf = &a[i].byte, .done = asked_done };
		t_int(src_read(s, &a[i].r), -EINPROGRESS);
	}
	atomic_store(&hold, false);
	while (!atomic_load(&spoilt))
		usleep(1000);
	usleep(20000);
	if (!cut)
		t_int(atomic_load(&answers), 1);
	atomic_store(&hold, false);
	for (unsigned i = 0; i < 8; i++) {
		for (int k = 0; k < 30000 && !atomic_load(&a[i].over); k++)
			usleep(1000);
		t_int(atomic_load(&a[i].over), 1);
		t_int(a[i].byte, r.bytes[a[i].r.off]);
	}
	t_int(atomic_load(&answers), 8);
	t_expect(s, r.bytes, 0, SIZE);
	src_unref(s);
	rig_done(&r);
}

/* A verdict without a reader: what is right is used without another comparison,
 * what is wrong is not used. */
static void test_check(void)
{
	struct rig r = rig_new(0, OBJID_MD5);
	unsigned files = names_in("/proc/self/fd");
	struct cache_name any = r.n;
	uint64_t size = 77;
	struct src *s;

	any.size = CACHE_SIZE_ANY;
	put(&r, r.path, true);
	t_int(cache_foreign_check(r.c, &r.n, &size), -ENOENT);
	t_int(cache_foreign_check(r.c, &any, &size), -ENOENT);
	t_int(size, 77);
	s = t_open_src(r.c, &r.n, r.u);
	t_expect(s, r.bytes, 0, SIZE);
	t_int(atomic_load(&r.u->sent), SIZE);
	src_unref(s);
	rig_done(&r);

	r = rig_new(0, OBJID_MD5);
	any.path = r.n.path;
	put(&r, r.path, false);
	t_int(cache_foreign_check(r.c, &any, &size), 1);
	t_int(size, SIZE);
	t_int(cache_foreign_check(r.c, &r.n, &size), 1);
	expect_open(files);
	s = t_open_src(r.c, &r.n, NULL);
	t_expect(s, r.bytes, 0, SIZE);
	t_int(adopted(&r), 0);
	src_unref(s);
	/* Without a digest there is its size, or nothing. */
	r.n.id.alg = any.id.alg = OBJID_NONE;
	t_int(cache_foreign_check(r.c, &r.n, &size), 0);
	t_int(cache_foreign_check(r.c, &any, &size), -ENOENT);
	any.id = t_name_of("", r.bytes, SIZE, OBJID_GITSHA1).id;
	t_int(cache_foreign_check(r.c, &any, &size), -ENOENT);
	rig_done(&r);
}

int main(void)
{
	test_killed();
	test_cloned();
	test_not_cloned();
	test_next_place();
	test_made_anew();
	test_after_partial();
	test_changes_under_many(false);
	test_changes_under_many(true);
	test_check();
	return 0;
}
