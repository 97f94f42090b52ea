/*
 * A worker that was taken over by the model it reads: the input is what it says
 * to its parent. Whatever that is, the daemon keeps its own rules: only files
 * that are there are opened, a recipe is made of those alone, members come whole
 * and one after the other, and nothing stays open. Processes are pretended here
 * (base/proc.h), the rest is the daemon's own.
 *
 *	u8 job  u8 the signal or status it ends with, then in any order
 *	u8 below 64: a message of this kind: i16 err, u32 a, b and c (2^32 - 1
 *	         is 2^64 - 1), u8 length and text
 *	u8 from 64 on: u16 length and bytes for its window; the parent finds the
 *	         first there, the next when it has asked its own side
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/map.h"
#include "base/path.h"
#include "base/proc.h"
#include "base/worker-wire.h"
#include "stage/made.h"
#include "stage/stage.h"
#include "stage/work.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define NOBODY 0x3fffffff	/* a pid that no process has */
#define RECORDS 64		/* a socket holds so many messages */
#define MADE_MAX 65536u		/* bytes */

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* ---- processes --------------------------------------------------------------- */

struct started {
	int fd;			/* its end of the talk */
	uint8_t *map;		/* the windows */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static struct started ready = { -1, NULL };	/* lock */
static struct started now;			/* whose words are the input */
static struct proc_end ends;

static void say(int fd, const struct worker_msg *m)
{
	must(send(fd, m, sizeof(*m), MSG_DONTWAIT) == (ssize_t)sizeof(*m));
}

/* It says hello, and that it has set itself up. */
int proc_start(const struct proc_spec *spec, pid_t *ret)
{
	const struct worker_msg done = { .what = WORKER_DONE };
	struct worker_msg hello = { .what = WORKER_HELLO, .a = WORKER_WIRE };
	struct started s;

	s.fd = fcntl(spec->fds[WORKER_FD_TALK], F_DUPFD_CLOEXEC, 0);
	s.map = mmap(NULL, 2 * WORKER_WINDOW, PROT_READ | PROT_WRITE,
		MAP_SHARED, spec->fds[WORKER_FD_WINDOW], 0);
	must(s.fd >= 0 && s.map != MAP_FAILED);
	strcpy(hello.text, PACKAGE_VERSION);
	say(s.fd, &hello);
	say(s.fd, &done);
	pthread_mutex_lock(&lock);
	must(ready.fd < 0);
	ready = s;
	pthread_cond_signal(&cond);
	pthread_mutex_unlock(&lock);
	*ret = NOBODY;
	return 0;
}

struct proc_end proc_kill(pid_t pid)
{
	must(pid == NOBODY);
	return ends;
}

/* When all it had to say was heard. */
bool proc_gone(pid_t pid, struct proc_end *ret)
{
	int left = 0;

	must(pid == NOBODY && !ioctl(now.fd, SIOCOUTQ, &left));
	*ret = ends;
	return !left;
}

bool proc_gone_within(pid_t pid, uint64_t ms, struct proc_end *ret)
{
	for (uint64_t n = 0; !proc_gone(pid, ret); n++) {
		if (n == ms)
			return false;
		(void) usleep(1000);
	}
	return true;
}

uint64_t proc_cpu_ms(pid_t pid)
{
	(void) pid;
	return 0;
}

/* So much that each has one job only. */
uint64_t proc_resident(pid_t pid)
{
	(void) pid;
	return UINT64_MAX;
}

char *proc_find(const char *name)
{
	return strdup(name);
}

int proc_ask(int (*ask)(const char *what), const char *what)
{
	return ask(what);
}

/* ---- its words ---------------------------------------------------------------- */

static struct {
	const uint8_t *bytes;
	uint16_t len;
} windows[RECORDS];
static unsigned n_windows, shown;

/* The hash at the end of a recipe is made right first, or nothing would be seen
 * of what is before it. */
static void show(void)
{
	uint8_t *out = now.map + WORKER_WINDOW;
	size_t len;
	uint64_t hash;

	if (shown == n_windows)
		return;
	len = windows[shown].len;
	memcpy(out, windows[shown++].bytes, len);
	if (len < 16 || memcmp(out, "omnircp\n", 8) != 0)
		return;
	hash = map_hash(out, len - 8);
	for (unsigned i = 0; i < 8; i++)
		out[len - 8 + i] = (uint8_t)(hash >> (8 * i));
}

static uint64_t number(struct bytes *in)
{
	uint32_t v = bytes_le32(in);

	return v == UINT32_MAX ? UINT64_MAX : v;
}

static void take_message(struct bytes *in, uint8_t what)
{
	struct worker_msg m = { .what = what };
	const uint8_t *text;
	uint8_t len;

	m.err = (int16_t)bytes_le16(in);
	m.a = number(in);
	m.b = number(in);
	m.c = number(in);
	len = bytes_u8(in);
	text = bytes_take(in, len);
	if (text)
		memcpy(m.text, text, len);
	say(now.fd, &m);
}

static void take_window(struct bytes *in)
{
	uint16_t len = bytes_le16(in);
	const uint8_t *p = bytes_take(in, len);

	if (p) {
		windows[n_windows].bytes = p;
		windows[n_windows++].len = len;
	}
}

/* The next worker has all that to say, and then hangs up. */
static void speak(struct bytes *in)
{
	const struct worker_msg nothing = { .what = WORKER_HINT };
	unsigned said = 0;

	pthread_mutex_lock(&lock);
	while (ready.fd < 0)
		pthread_cond_wait(&cond, &lock);
	now = ready;
	ready.fd = -1;
	pthread_mutex_unlock(&lock);
	n_windows = shown = 0;
	for (unsigned i = 0; i < RECORDS && bytes_left(in); i++) {
		uint8_t what = bytes_u8(in);

		if (what >= 64)
			take_window(in);
		else if (++said)
			take_message(in, what);
	}
	if (!said)
		say(now.fd, &nothing);
	show();
	must(!shutdown(now.fd, SHUT_WR));
}

static void hush(void)
{
	(void) close(now.fd);
	(void) munmap(now.map, 2 * WORKER_WINDOW);
}

/* ---- the daemon's side ----------------------------------------------------------- */

static struct listing files;

static struct src *zeros(uint64_t size)
{
	return src_from_memory(calloc(1, size + 1), size);
}

static int open_file(void *arg, const struct listing_entry *e,
	struct src **ret, struct error *why)
{
	(void) arg;
	show();
	must(e == listing_find(&files, e->path) && e->kind == LISTING_FILE);
	if (!strcmp(e->path, "sick.bin"))
		return error_set(why, -EIO, "the hub is down");
	*ret = zeros(e->size == LISTING_SIZE_UNKNOWN ? 9 : e->size);
	return 0;
}

static int make_file(void *arg, const char *path, uint64_t size,
	struct src **ret, struct error *why)
{
	(void) arg;
	show();
	must(stage_made_ok(path) && !path_rel_ok(path));
	if (size > MADE_MAX)
		return error_set(why, -EFBIG, "that is too much");
	*ret = zeros(size);
	return 0;
}

static bool preferred(const void *arg, const char *path)
{
	(void) arg;
	(void) path;
	show();
	return true;
}

struct sink {
	bool open;
	uint64_t size, left, all;
	unsigned begun, ended;
	char path[PATH_LEN_MAX + 1];	/* of the last */
};

static int begin(void *arg, const char *path, uint64_t size)
{
	struct sink *k = arg;

	show();
	must(!k->open && strlen(path) <= PATH_LEN_MAX);
	if (!strcmp(path, "full"))
		return -ENOSPC;
	k->open = true;
	k->begun++;
	k->size = k->left = size;
	strcpy(k->path, path);
	return 0;
}

static int take(void *arg, const void *buf, size_t len)
{
	struct sink *k = arg;

	show();
	must(k->open && buf && len <= k->left);
	k->left -= len;
	k->all += len;
	return 0;
}

/* Of its name and size, instead of its bytes. */
static void id_of(const char *path, uint64_t size, struct objid *ret)
{
	char text[PATH_LEN_MAX + 32];
	int n = snprintf(text, sizeof(text), "%" PRIu64 " %s", size, path);

	digest_sha256(text, (size_t)n, ret);
}

static int end(void *arg, struct objid *ret)
{
	struct sink *k = arg;

	show();
	must(k->open && !k->left);
	k->open = false;
	k->ended++;
	id_of(k->path, k->size, ret);
	return 0;
}

static void drop(void *arg)
{
	struct sink *k = arg;

	show();
	must(k->open);
	k->open = false;
}

/* ---- jobs ------------------------------------------------------------------------- */

static const struct stage_input input = {
	.repo = { .hub = "huggingface", .repo = "a/b", .listing = &files,
		.preferred = preferred },
	.open = open_file, .make = make_file,
};

static int plan(struct stage *s, struct error *why)
{
	struct stage_recipe *recipe = NULL;
	int r = stage_work_plan(s, &input, "pytorch/model.onnx", &recipe, why);

	must(!r == !!recipe);
	for (unsigned i = 0; !r && i < stage_recipe_sources(recipe); i++)
		must(stage_source_of(&files, stage_recipe_source_path(recipe,
			i)));
	must(r || !stage_recipe_check(recipe, NULL));
	stage_recipe_unref(recipe);
	return r;
}

static int names(struct stage *s, const char *dir, struct error *why)
{
	struct listing got = { 0 };
	size_t n = strlen(dir);
	int r = stage_work_names(s, &input, dir, &got, why);

	must(!r || !got.n);
	for (size_t i = 0; i < got.n; i++)
		must(path_rel_ok(got.v[i].path) &&
			!strncmp(got.v[i].path, dir, n) &&
			got.v[i].path[n] == '/' &&
			!strchr(got.v[i].path + n + 1, '/') &&
			!listing_find(&files, got.v[i].path));
	listing_done(&got);
	return r;
}

static void check_member(const struct stage_member *m, const struct sink *k)
{
	struct objid id;

	must(path_rel_ok(m->path));
	id_of(m->path, m->size, &id);
	if (k && m->how == STAGE_MEMBER_STREAM)
		must(m->id.alg == OBJID_SHA256 && objid_match(&m->id, &id));
	else
		must(m->id.alg == OBJID_NONE);
}

static int list(struct stage *s, struct src *src, struct sink *k,
	const struct stage_archive_sink *sink, struct error *why)
{
	struct stage_archive got = { 0 };
	int r = stage_work_list(s, "a/b", src, k ? sink : NULL, &got, why);

	must(!r || !got.n);
	for (size_t i = 0; i < got.n; i++) {
		check_member(&got.v[i], k);
		must(!i || strcmp(got.v[i - 1].path, got.v[i].path) < 0);
	}
	stage_archive_done(&got);
	return r;
}

static char one[] = "one";
static const struct stage_member member = { .path = one, .size = 3,
	.packed = 5, .how = STAGE_MEMBER_DEFLATED };
static const struct stage_made made = { .file = one, .group = one,
	.name = one };

/* Which one it is, and all of it. */
static int make_one(struct stage *s, struct src *src, bool decode,
	struct sink *k, const struct stage_archive_sink *sink,
	struct error *why)
{
	struct objid id = { .alg = OBJID_NONE };
	int r = decode ? stage_work_decode(s, "a/b", src, &made, 3, sink, &id,
		why) : stage_work_inflate(s, "a/b", src, &member, sink, &id,
		why);

	must(k->ended <= k->begun && (r || k->ended == 1));
	must(!k->begun || !strcmp(k->path, one));
	must(r || (k->all >= 3 && id.alg == OBJID_SHA256));
	return r;
}

static int look(struct stage *s, struct src *src, struct error *why)
{
	char *json = NULL;
	int r = stage_work_look(s, NULL, src, &json, why);

	must(!r == !!json && (r || *json));
	free(json);
	return r;
}

static int run(struct stage *s, uint8_t job, struct error *why)
{
	struct src *src = zeros(4096);
	struct sink k = { .open = false };
	const struct stage_archive_sink sink = { begin, take, end, drop, &k };
	int r;

	switch (job % 7) {
	case 0: r = plan(s, why); break;
	case 1: r = names(s, "pytorch", why); break;
	case 2: r = list(s, src, &k, &sink, why); break;
	case 3: r = list(s, src, NULL, &sink, why); break;
	case 4: r = make_one(s, src, false, &k, &sink, why); break;
	case 5: r = make_one(s, src, true, &k, &sink, why); break;
	default: r = look(s, src, why); break;
	}
	must(!k.open);
	src_unref(src);
	return r;
}

static struct stage *daemon_side(void)
{
	static const char *const dirs[] = { NULL };
	const struct stage_conf conf = { .opset = 13, .blueprint_dirs = dirs };
	const struct objid none = { .alg = OBJID_NONE };
	struct stage *s;

	must(!stage_new(&conf, &s, NULL) && !stage_work_start(s, false, NULL));
	must(!listing_add(&files, "model.safetensors", LISTING_FILE, 64,
		&none) && !listing_add(&files, "sick.bin", LISTING_FILE, 5,
		&none) && !listing_add(&files, "a/w.h5", LISTING_FILE,
		LISTING_SIZE_UNKNOWN, &none) && !listing_add(&files, "a",
		LISTING_DIR, 0, &none));
	listing_sort(&files);
	workers_expect(stage_workers(s));
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const int signals[] = { 0, SIGSEGV, SIGABRT, SIGXCPU, SIGSYS };
	static struct stage *s;
	struct bytes in = bytes_of(data, len);
	struct error why = { 0 };
	uint8_t job = bytes_u8(&in), how = bytes_u8(&in);
	int r;

	if (!s)
		s = daemon_side();
	ends = (struct proc_end){ signals[how % 5], how / 5 };
	speak(&in);
	r = run(s, job, &why);
	must(r <= 0 && r > -4096 && (!why.code || why.code == r));
	hush();
	return 0;
}
