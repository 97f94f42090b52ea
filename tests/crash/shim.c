/*
 * What changes a disk, seen from between a program and its C library
 * (LD_PRELOAD): counted, spoiled, or written to a log. Only what happens below
 * CRASH_ROOT counts, and not SQLite's files, which have their own tests.
 *
 *   CRASH_AT=N CRASH_DO=WHAT   at the Nth operation:
 *       kill    end the process before it
 *       after   end the process right after it
 *       torn    write half, then end the process
 *       short   write half and say so
 *       eio enospc edquot      refuse it
 *       full    refuse it and everything after it that needs room
 *   CRASH_HIT=FILE             gets the name of the operation that was met
 *   CRASH_LOG=FILE             every operation with its bytes, for replay.py
 *
 * Stores into mapped files are no operations; for the log each mapping is
 * compared with what it held before, and what differs is logged as a write.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAPS_MAX 64
#define PLACE_MAX 4096

enum what { OFF, KILL, AFTER, TORN, SHORT, REFUSE, FULL };

static struct {
	char root[PLACE_MAX];
	size_t root_len;
	enum what what;
	int err;
	long at, seen;		/* lock */
	bool full;		/* lock */
	int hit, log;		/* descriptors or -1 */
	pthread_mutex_t lock;
	struct shadow {
		char *mem, *was;
		size_t len;
		unsigned long long ino;
	} maps[MAPS_MAX];	/* lock */
} crash = { .hit = -1, .log = -1, .lock = PTHREAD_MUTEX_INITIALIZER };

#define NEXT(name) \
	static __typeof__(name) *next; \
	if (!next) \
		next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

/* ---- what is meant ----------------------------------------------------------- */

static int open_out(const char *key)
{
	const char *path = getenv(key);

	return path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
		0600) : -1;
}

static void __attribute__((constructor)) begin(void)
{
	static const struct {
		const char *name;
		enum what what;
		int err;
	} list[] = {
		{ "kill", KILL, 0 }, { "after", AFTER, 0 }, { "torn", TORN, 0 },
		{ "short", SHORT, 0 }, { "eio", REFUSE, EIO },
		{ "enospc", REFUSE, ENOSPC }, { "edquot", REFUSE, EDQUOT },
		{ "full", FULL, ENOSPC },
	};
	const char *root = getenv("CRASH_ROOT"), *at = getenv("CRASH_AT");
	const char *what = getenv("CRASH_DO");

	if (!root)
		return;
	crash.hit = open_out("CRASH_HIT");
	crash.log = open_out("CRASH_LOG");
	crash.at = at ? atol(at) : 0;
	for (size_t i = 0; what && i < sizeof(list) / sizeof(*list); i++) {
		if (!strcmp(what, list[i].name)) {
			crash.what = list[i].what;
			crash.err = list[i].err;
		}
	}
	(void) snprintf(crash.root, sizeof(crash.root), "%s", root);
	crash.root_len = strlen(crash.root);
}

/* The path below the root, or NULL: it is none of ours. */
static const char *ours(const char *full)
{
	if (!crash.root_len || strncmp(full, crash.root, crash.root_len) ||
	    (full[crash.root_len] && full[crash.root_len] != '/') ||
	    strstr(full, "/index.sqlite"))
		return NULL;
	return full[crash.root_len] ? full + crash.root_len + 1 : ".";
}

static const char *of_fd(int fd, char *buf)
{
	char link[64], *end;
	ssize_t n;

	if (!crash.root_len)
		return NULL;
	(void) snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, buf, PLACE_MAX - 1);
	if (n <= 0)
		return NULL;
	buf[n] = '\0';
	end = strstr(buf, " (deleted)");
	if (end)
		*end = '\0';
	return ours(buf);
}

static const char *of_path(int dir, const char *path, char *buf)
{
	size_t n;

	if (!crash.root_len)
		return NULL;
	if (*path == '/') {
		(void) snprintf(buf, PLACE_MAX, "%s", path);
		return ours(buf);
	}
	if (dir == AT_FDCWD) {
		if (!getcwd(buf, PLACE_MAX))
			return NULL;
	} else {
		char link[64];
		ssize_t got;

		(void) snprintf(link, sizeof(link), "/proc/self/fd/%d", dir);
		got = readlink(link, buf, PLACE_MAX - 1);
		if (got <= 0)
			return NULL;
		buf[got] = '\0';
	}
	n = strlen(buf);
	(void) snprintf(buf + n, PLACE_MAX - n, "/%s", path);
	return ours(buf);
}

/* ---- the log ------------------------------------------------------------------- */

/* OP, inode, offset, bytes that follow, path, other path. */
static void put(const char *op, unsigned long long ino, unsigned long long off,
	const void *data, size_t len, const char *a, const char *b)
{
	char line[2 * PLACE_MAX + 128];
	int n = snprintf(line, sizeof(line), "%s\t%llu\t%llu\t%zu\t%s\t%s\n",
		op, ino, off, len, a ? a : "", b ? b : "");

	if (syscall(SYS_write, crash.log, line, (size_t)n) < 0 ||
	    (len && syscall(SYS_write, crash.log, data, len) < 0))
		abort();
}

/* Threads change a map meanwhile, a word at a time. Has this one changed? */
static bool take_word(struct shadow *m, size_t at)
{
	uint64_t is = __atomic_load_n((uint64_t *)(void *)(m->mem + at),
		__ATOMIC_RELAXED), was;

	memcpy(&was, m->was + at, 8);
	memcpy(m->was + at, &is, 8);
	return is != was;
}

static void put_maps(void)
{
	for (size_t i = 0; i < MAPS_MAX; i++) {
		struct shadow *m = &crash.maps[i];

		for (size_t at = 0; m->mem && at < m->len; at += 8) {
			size_t end = at;

			while (end < m->len && take_word(m, end))
				end += 8;
			if (end == at)
				continue;
			put("write", m->ino, at, m->was + at, end - at, NULL,
				NULL);
		}
	}
}

static unsigned long long ino_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : st.st_ino;
}

/* ---- the Nth operation ----------------------------------------------------------- */

static __thread bool dies;	/* when what it is at is done */

enum { GO = 0, HALF = -1, HALF_THEN_DIE = -2 };

/* GO, HALF, HALF_THEN_DIE, or the errno to fail with. In the log's time the
 * lock is held from here to done(). */
static int step(const char *op, const char *rel, bool writes, bool room)
{
	int r = GO;

	if (!rel)
		return GO;
	pthread_mutex_lock(&crash.lock);
	if (crash.log >= 0) {
		put_maps();
		return GO;
	}
	crash.seen++;
	if (crash.full && room) {
		r = crash.err;
	} else if (crash.seen == crash.at) {
		if (crash.hit >= 0) {
			char text[PLACE_MAX + 32];
			int n = snprintf(text, sizeof(text), "%s %s\n", op, rel);

			(void) !syscall(SYS_write, crash.hit, text, (size_t)n);
		}
		switch (crash.what) {
		case TORN:
			r = writes ? HALF_THEN_DIE : GO;
			if (writes)
				break;
			__attribute__((fallthrough));
		case KILL:
			(void) kill(getpid(), SIGKILL);
			pause();
			break;
		case AFTER:
			dies = true;
			break;
		case SHORT:
			r = writes ? HALF : GO;
			break;
		case FULL:
			crash.full = true;
			r = room ? crash.err : GO;
			break;
		case REFUSE:
			r = crash.err;
			break;
		case OFF:
			break;
		}
	}
	pthread_mutex_unlock(&crash.lock);
	return r;
}

/* Before it returns to the program: what was done, if it was. */
static void done(const char *rel, bool well, const char *op,
	unsigned long long ino, unsigned long long off, const void *data,
	size_t len, const char *to)
{
	int keep = errno;

	if (dies) {
		(void) kill(getpid(), SIGKILL);
		pause();
	}
	if (!rel || crash.log < 0)
		return;
	if (well)
		put(op, ino, off, data, len, rel, to);
	pthread_mutex_unlock(&crash.lock);
	errno = keep;
}

static int refuse(int err)
{
	errno = err;
	return -1;
}

/* ---- files ------------------------------------------------------------------------ */

static int do_open(int (*next)(int, const char *, int, ...), int dir,
	const char *path, int flags, mode_t mode)
{
	char buf[PLACE_MAX];
	const char *rel = flags & O_CREAT ? of_path(dir, path, buf) : NULL;
	bool fresh = rel && faccessat(dir, path, F_OK, AT_SYMLINK_NOFOLLOW);
	int r, fd;

	if (!fresh)
		return next(dir, path, flags, mode);
	r = step("create", rel, false, true);
	if (r > 0)
		return refuse(r);
	fd = next(dir, path, flags, mode);
	done(rel, fd >= 0, "create", fd >= 0 ? ino_of(fd) : 0, 0, NULL, 0,
		NULL);
	return fd;
}

static mode_t mode_of(int flags, va_list ap)
{
	return flags & (O_CREAT | __O_TMPFILE) ? (mode_t)va_arg(ap, int) : 0;
}

/* With 64-bit offsets the C library has each of these twice; they are one. */
#define OPENAT(name) \
	int name(int dir, const char *path, int flags, ...) \
	{ \
		mode_t mode; \
		va_list ap; \
		NEXT(name); \
		va_start(ap, flags); \
		mode = mode_of(flags, ap); \
		va_end(ap); \
		return do_open(next, dir, path, flags, mode); \
	}
OPENAT(openat)
OPENAT(openat64)

static ssize_t do_write(int fd, const void *buf, size_t len, off_t off,
	ssize_t (*next)(int, const void *, size_t, off_t))
{
	char place[PLACE_MAX];
	const char *rel = of_fd(fd, place);
	int r = step("write", rel, true, true);
	ssize_t n;

	if (r > 0)
		return refuse(r);
	n = next(fd, buf, r && len > 1 ? len / 2 : len, off);
	if (r == HALF_THEN_DIE) {
		(void) kill(getpid(), SIGKILL);
		pause();
	}
	done(rel, n > 0, "write", ino_of(fd), (unsigned long long)off, buf,
		n > 0 ? (size_t)n : 0, NULL);
	return n;
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t off)
{
	NEXT(pwrite);
	return do_write(fd, buf, len, off, next);
}

ssize_t pwrite64(int fd, const void *buf, size_t len, off_t off)
{
	NEXT(pwrite64);
	return do_write(fd, buf, len, off, next);
}

static ssize_t append(int fd, const void *buf, size_t len, off_t off)
{
	(void) off;
	return syscall(SYS_write, fd, buf, len);
}

ssize_t write(int fd, const void *buf, size_t len)
{
	char place[PLACE_MAX];
	struct stat st;

	NEXT(write);
	if (!of_fd(fd, place) || fstat(fd, &st))
		return next(fd, buf, len);
	return do_write(fd, buf, len, fcntl(fd, F_GETFL) & O_APPEND ?
		st.st_size : lseek(fd, 0, SEEK_CUR), append);
}

static int do_truncate(int fd, off_t len, int (*next)(int, off_t))
{
	char place[PLACE_MAX];
	const char *rel = of_fd(fd, place);
	int r = step("truncate", rel, false, false);

	if (r > 0)
		return refuse(r);
	r = next(fd, len);
	done(rel, !r, "truncate", ino_of(fd), (unsigned long long)len, NULL, 0,
		NULL);
	return r;
}

int ftruncate(int fd, off_t len)
{
	NEXT(ftruncate);
	return do_truncate(fd, len, next);
}

int ftruncate64(int fd, off_t len)
{
	NEXT(ftruncate64);
	return do_truncate(fd, len, next);
}

static int do_allocate(int fd, off_t off, off_t len,
	int (*next)(int, off_t, off_t))
{
	char place[PLACE_MAX];
	const char *rel = of_fd(fd, place);
	int r = step("allocate", rel, false, true);
	struct stat st;

	if (r > 0)
		return r;
	r = next(fd, off, len);
	done(rel, !r, "truncate", ino_of(fd), !fstat(fd, &st) ?
		(unsigned long long)st.st_size : 0, NULL, 0, NULL);
	return r;
}

int posix_fallocate(int fd, off_t off, off_t len)
{
	NEXT(posix_fallocate);
	return do_allocate(fd, off, len, next);
}

int posix_fallocate64(int fd, off_t off, off_t len)
{
	NEXT(posix_fallocate64);
	return do_allocate(fd, off, len, next);
}

static int do_sync(int fd, int (*next)(int))
{
	char place[PLACE_MAX];
	const char *rel = of_fd(fd, place);
	int r = step("sync", rel, false, false);

	if (r > 0)
		return refuse(r);
	r = next(fd);
	done(rel, !r, "sync", ino_of(fd), 0, NULL, 0, NULL);
	return r;
}

int fsync(int fd)
{
	NEXT(fsync);
	return do_sync(fd, next);
}

int fdatasync(int fd)
{
	NEXT(fdatasync);
	return do_sync(fd, next);
}

int fchmod(int fd, mode_t mode)
{
	char place[PLACE_MAX];
	const char *rel = of_fd(fd, place);
	int r = step("chmod", rel, false, false);

	NEXT(fchmod);
	if (r > 0)
		return refuse(r);
	r = next(fd, mode);
	done(rel, false, NULL, 0, 0, NULL, 0, NULL);
	return r;
}

/* ---- names -------------------------------------------------------------------------- */

int renameat(int from, const char *a, int to, const char *b)
{
	char one[PLACE_MAX], two[PLACE_MAX];
	const char *rel = of_path(from, a, one), *there = of_path(to, b, two);
	int r = step("rename", rel ? there : NULL, false, false);

	NEXT(renameat);
	if (r > 0)
		return refuse(r);
	r = next(from, a, to, b);
	done(there ? rel : NULL, !r, "rename", 0, 0, NULL, 0, there);
	return r;
}

int unlinkat(int dir, const char *path, int flags)
{
	char buf[PLACE_MAX];
	const char *rel = of_path(dir, path, buf);
	int r = step("unlink", rel, false, false);

	NEXT(unlinkat);
	if (r > 0)
		return refuse(r);
	r = next(dir, path, flags);
	done(rel, !r, "unlink", 0, 0, NULL, 0, NULL);
	return r;
}

int mkdirat(int dir, const char *path, mode_t mode)
{
	char buf[PLACE_MAX];
	const char *rel = of_path(dir, path, buf);
	int r;

	NEXT(mkdirat);
	if (rel && !faccessat(dir, path, F_OK, AT_SYMLINK_NOFOLLOW))
		rel = NULL;
	r = step("mkdir", rel, false, true);
	if (r > 0)
		return refuse(r);
	r = next(dir, path, mode);
	done(rel, !r, "mkdir", 0, 0, NULL, 0, NULL);
	return r;
}

int symlinkat(const char *text, int dir, const char *path)
{
	char buf[PLACE_MAX];
	const char *rel = of_path(dir, path, buf);
	int r = step("symlink", rel, false, true);

	NEXT(symlinkat);
	if (r > 0)
		return refuse(r);
	r = next(text, dir, path);
	done(rel, !r, "symlink", 0, 0, NULL, 0, text);
	return r;
}

/* ---- mappings ------------------------------------------------------------------------ */

static void follow(int fd, char *mem, size_t len)
{
	for (size_t i = 0; i < MAPS_MAX; i++) {
		struct shadow *m = &crash.maps[i];

		if (m->mem)
			continue;
		m->was = malloc(len);
		if (!m->was)
			abort();
		memcpy(m->was, mem, len);
		m->len = len;
		m->ino = ino_of(fd);
		m->mem = mem;
		return;
	}
	abort();
}

static void *do_map(void *at, size_t len, int prot, int flags, int fd,
	off_t off, void *(*next)(void *, size_t, int, int, int, off_t))
{
	void *m = next(at, len, prot, flags, fd, off);
	char place[PLACE_MAX];

	if (crash.log < 0 || m == MAP_FAILED || fd < 0 ||
	    !(flags & MAP_SHARED) || !(prot & PROT_WRITE) ||
	    !of_fd(fd, place))
		return m;
	pthread_mutex_lock(&crash.lock);
	follow(fd, m, len);
	pthread_mutex_unlock(&crash.lock);
	return m;
}

void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
	NEXT(mmap);
	return do_map(at, len, prot, flags, fd, off, next);
}

void *mmap64(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
	NEXT(mmap64);
	return do_map(at, len, prot, flags, fd, off, next);
}

int munmap(void *mem, size_t len)
{
	NEXT(munmap);
	if (crash.log >= 0) {
		pthread_mutex_lock(&crash.lock);
		for (size_t i = 0; i < MAPS_MAX; i++) {
			if (crash.maps[i].mem != mem || !mem)
				continue;
			put_maps();
			free(crash.maps[i].was);
			crash.maps[i] = (struct shadow){ 0 };
		}
		pthread_mutex_unlock(&crash.lock);
	}
	return next(mem, len);
}
