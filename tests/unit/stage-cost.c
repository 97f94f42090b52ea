/*
 * For the tests written in Python: what planning one staged file costs.
 *
 *     stage-cost DIR HUB PATH FILE...
 *
 * plans PATH of the repository whose FILEs lie in DIR, through a src that
 * counts, and prints one line of JSON: bytes of the files, of them read and in
 * how many reads, bytes of the staged file, milliseconds of CPU, and the peak
 * of this process's memory in KiB. The blueprints are those of
 * $OMNIHUB_DATADIR/blueprints. A failure is one line on stderr, and exit code
 * 1.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "stage/stage.h"

static uint64_t n_bytes, n_reads;

struct counted_src {
	struct src base;	/* must be first */
	int fd;
};

/* Reads, as a mapping would be counted as memory. */
static int counted_read(struct src *s, struct src_read *r)
{
	const struct counted_src *c = (const struct counted_src *)s;
	ssize_t n = pread(c->fd, r->buf, r->len, (off_t)r->off);

	n_bytes += r->len;
	n_reads++;
	return n == (ssize_t)r->len ? 0 : -EIO;
}

static void counted_free(struct src *s)
{
	close(((struct counted_src *)s)->fd);
	free(s);
}

static const struct src_ops counted_ops = {
	.name = "counted", .read = counted_read, .free = counted_free,
};

static int open_file(void *arg, const struct listing_entry *e,
	struct src **ret, struct error *why)
{
	cleanup_free char *path = path_join(arg, e->path);
	struct counted_src *c = calloc(1, sizeof(*c));

	if (!path || !c)
		return -ENOMEM;
	c->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (c->fd < 0) {
		free(c);
		return error_set(why, -EIO, "%s: cannot be read", e->path);
	}
	src_init(&c->base, &counted_ops, e->size);
	*ret = &c->base;
	return 0;
}

static uint64_t add(struct listing *l, const char *dir, const char *file)
{
	const struct objid none = { .alg = OBJID_NONE };
	cleanup_free char *path = path_join(dir, file);
	struct stat st;

	if (!path || stat(path, &st) || listing_add(l, file, LISTING_FILE,
		    (uint64_t)st.st_size, &none)) {
		fprintf(stderr, "%s: cannot be listed\n", file);
		exit(99);
	}
	return (uint64_t)st.st_size;
}

static double cpu_ms(void)
{
	struct timespec t;

	(void) clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Of this program alone: getrusage() counts what ran before exec(). A
 * sanitizer keeps what is freed and shadows all, so that its figure would say
 * nothing: 0. */
static long peak_kib(void)
{
	char line[256];
	long kib = 0;
	FILE *f = fopen("/proc/self/status", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmHWM: %ld", &kib) == 1)
			break;
	if (f)
		(void) fclose(f);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	kib = 0;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
	kib = 0;
#endif
#endif
	return kib;
}

int main(int argc, char **argv)
{
	const char *data = getenv("OMNIHUB_DATADIR");
	cleanup_free char *blueprints = path_join(data ? data : ".",
		"blueprints");
	const char *dirs[] = { blueprints, NULL };
	const struct stage_conf conf = { .opset = 13, .blueprint_dirs = dirs };
	struct listing own = { 0 };
	struct stage_input in = { .repo = { .repo = "org/model",
		.listing = &own }, .open = open_file };
	struct stage_recipe *recipe = NULL;
	struct error why = { 0 };
	struct stage *s = NULL;
	uint64_t total = 0;
	double before;
	int r;

	if (argc < 5)
		return 2;
	in.repo.hub = argv[2];
	in.arg = argv[1];
	for (int i = 4; i < argc; i++)
		total += add(&own, argv[1], argv[i]);
	listing_sort(&own);
	r = stage_new(&conf, &s, &why);
	before = cpu_ms();
	if (!r)
		r = stage_plan(s, &in, argv[3], &recipe, &why);
	if (r) {
		fprintf(stderr, "%s\n", error_text(&why, r));
		return 1;
	}
	printf("{\"total\": %llu, \"read\": %llu, \"reads\": %llu, "
		"\"size\": %llu, \"ms\": %.1f, \"kib\": %ld}\n",
		(unsigned long long)total, (unsigned long long)n_bytes,
		(unsigned long long)n_reads,
		(unsigned long long)stage_recipe_size(recipe),
		cpu_ms() - before, peak_kib());
	stage_recipe_unref(recipe);
	stage_free(s);
	listing_done(&own);
	return 0;
}
