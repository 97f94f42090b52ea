/* The notes of what a revision uses, and many who write, read and check them. */
#include "config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/map.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

/* The note of a revision of t_name_of()'s repository. */
static char *ref_of(const char *refs, unsigned i)
{
	char name[100], hex[OBJID_HEX_MAX], *path;
	struct objid id;

	(void) snprintf(name, sizeof(name), "huggingface/org/name@r%u", i);
	digest_sha256(name, strlen(name), &id);
	objid_hex(&id, hex);
	t_check(asprintf(&path, "%s/%.2s/%s", refs, hex, hex + 2) > 0);
	return path;
}

/* Its lines, which may be there twice. */
static unsigned lines_of(const char *refs, unsigned i)
{
	struct map seen = { NULL, 0, 0 };
	struct buf text = BUF_INIT(MIB);
	char *path = ref_of(refs, i);
	char *at, *line;
	unsigned n;

	t_int(io_read_file(AT_FDCWD, path, &text), 0);
	free(path);
	at = (char *)text.data;
	line = strsep(&at, "\n");
	t_check(strstr(line, "huggingface/org/name@r"));
	while ((line = strsep(&at, "\n")) && *line)
		t_int(map_put(&seen, line, line, NULL), 0);
	n = (unsigned)seen.n;
	map_done(&seen);
	buf_done(&text);
	return n;
}

/* Without a digest each path is a key of its own. */
static void note(struct cache *c, struct upstream *u, const char *revision,
	const char *path)
{
	struct cache_name n = t_name_of(path, u->bytes, u->s.size, OBJID_NONE);

	n.revision = revision;
	src_unref(t_open_src(c, &n, u));
}

static void note_one(const char *dir, const char *path)
{
	uint8_t byte = 1;
	struct upstream *u = upstream_new(&byte, 1, 1);
	struct cache *c = t_open_cache(dir, 0);

	note(c, u, "r0", path);
	cache_close(c);
	upstream_free(u);
}

/* What is noted once there are bytes is noted of all who waited for it. */
static void test_all_later(void)
{
	static const char *const paths[] = { "a", "b", "c", "d", "e" };
	char *dir = upstream_dir("notes-later"), *refs = t_join(dir, "refs");
	uint8_t byte = 1;
	struct upstream *u = upstream_new(&byte, 1, 1);
	struct cache *c = t_open_cache(dir, 0);
	struct src *s[5];

	for (unsigned i = 0; i < 5; i++) {
		struct cache_name n = t_name_of(paths[i], &byte, 1,
			OBJID_NONE);

		n.revision = "r0";
		s[i] = t_open_src(c, &n, u);
	}
	(void) alarm(60);
	t_expect(s[0], &byte, 0, 1);
	for (unsigned i = 0; i < 5; i++)
		src_unref(s[i]);
	cache_close(c);
	(void) alarm(0);
	t_int(lines_of(refs, 0), 5);
	upstream_free(u);
	free(refs);
	free(dir);
}

/* A note that could not be written is written at the next use. */
static void test_note_again(void)
{
	char *dir = upstream_dir("note-again"), *refs = t_join(dir, "refs");
	char *path = ref_of(refs, 0), *away = t_join(dir, "away");

	note_one(dir, "a");
	t_int(lines_of(refs, 0), 1);
	t_int(rename(path, away), 0);
	t_int(mkfifo(path, 0600), 0);
	note_one(dir, "b");
	t_int(rename(away, path), 0);
	t_int(lines_of(refs, 0), 1);
	note_one(dir, "b");
	t_int(lines_of(refs, 0), 2);
	free(path);
	free(away);
	free(refs);
	free(dir);
}

static void check_right(const char *dir)
{
	struct cache *c = t_open_cache(dir, 0);
	uint64_t bad = 9;

	t_int(cache_verify(c, NULL, NULL, &bad), 0);
	t_int(bad, 0);
	cache_close(c);
}

/* A power cut may leave zeros in the place of what was not written yet: of the
 * beginning, of a line, of the end. What follows them is noted again, and nothing
 * is called damaged. */
static void test_zeros(void)
{
	static const char zeros[16];
	char *dir = upstream_dir("note-zeros"), *refs = t_join(dir, "refs");
	char *path = ref_of(refs, 0);
	struct stat st;

	note_one(dir, "a");
	t_int(stat(path, &st), 0);
	for (off_t at = 0; at < st.st_size; at += 20) {
		int fd = open(path, O_WRONLY | O_CLOEXEC);

		t_check(fd >= 0);
		t_int(io_pwrite(fd, zeros, sizeof(zeros), (uint64_t)at), 0);
		(void) close(fd);
		check_right(dir);
		note_one(dir, "a");
		note_one(dir, "b");
		t_int(lines_of(refs, 0), 2);
		check_right(dir);
	}
	free(path);
	free(refs);
	free(dir);
}

/* A kill may leave any beginning of a note. What is noted after that is a line
 * of its own, and nothing is called damaged. */
static void test_half_note(void)
{
	char *dir = upstream_dir("half-note"), *refs = t_join(dir, "refs");
	char *path = ref_of(refs, 0);
	struct stat st;
	off_t first;

	note_one(dir, "a");
	t_int(stat(path, &st), 0);
	first = st.st_size;
	note_one(dir, "b");
	t_int(truncate(path, first + 20), 0);
	note_one(dir, "c");
	t_int(lines_of(refs, 0), 2);
	check_right(dir);
	t_int(truncate(path, 7), 0);
	note_one(dir, "d");
	t_int(lines_of(refs, 0), 1);
	check_right(dir);
	free(path);
	free(refs);
	free(dir);
}

enum { REVISIONS = 60, PATHS = 6 };

struct noter {
	struct cache *c;
	unsigned first;		/* of its paths */
	atomic_uint *busy;
};

static void *note_all(void *arg)
{
	struct noter *p = arg;
	uint8_t byte = 1;
	struct upstream *u = upstream_new(&byte, 1, 1);

	for (unsigned i = 0; i < REVISIONS * PATHS; i++) {
		char revision[20], path[20];

		(void) snprintf(revision, sizeof(revision), "r%u", i / PATHS);
		(void) snprintf(path, sizeof(path), "f%u",
			p->first + i % PATHS);
		note(p->c, u, revision, path);
	}
	cache_close(p->c);
	upstream_free(u);
	atomic_fetch_sub(p->busy, 1);
	return NULL;
}

/* Two programs note what they use, and a third looks at the notes: none is
 * called damaged, and none is lost. */
static void test_notes(void)
{
	char *dir = upstream_dir("notes"), *refs = t_join(dir, "refs");
	struct cache *c = t_open_cache(dir, 0);
	atomic_uint busy = 2;
	struct noter p[2];
	pthread_t t[2];
	uint64_t bad = 9;

	for (unsigned i = 0; i < 2; i++) {
		p[i] = (struct noter){ t_open_cache(dir, 0), i * PATHS, &busy };
		t_check(!pthread_create(&t[i], NULL, note_all, &p[i]));
	}
	do {
		t_int(cache_verify(c, NULL, NULL, &bad), 0);
		t_int(bad, 0);
	} while (atomic_load(&busy));
	for (unsigned i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	for (unsigned i = 0; i < REVISIONS; i++)
		t_int(lines_of(refs, i), 2 * PATHS);
	cache_close(c);
	free(refs);
	free(dir);
}

int main(void)
{
	test_all_later();
	test_note_again();
	test_half_note();
	test_zeros();
	test_notes();
	return 0;
}
