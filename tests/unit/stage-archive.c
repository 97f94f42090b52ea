/*
 * For the tests written in Python: lists one archive and prints a line a
 * member, "PATH SIZE HOW SHA256-of-the-bytes" (a directory: "PATH/"), then
 * "! NAME: REASON" for each that was refused. A member that cannot be read has
 * the name of the error in place of the digest. The list is taken through JSON
 * and back first. A failure is one line, "ERRNO-NAME text", and exit code 1.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stage/stage.h"

#define SHOWN 5000	/* members; more are only counted */

struct sink {
	struct digest *d;
	uint64_t left;
	unsigned dropped;
};

static int begin(void *arg, const char *path, uint64_t size)
{
	struct sink *k = arg;

	if (k->d || !*path)
		abort();
	k->d = digest_new(OBJID_SHA256, size);
	k->left = size;
	return k->d ? 0 : -ENOMEM;
}

static int data(void *arg, const void *buf, size_t len)
{
	struct sink *k = arg;

	if (!k->d || len > k->left)
		abort();
	digest_update(k->d, buf, len);
	k->left -= len;
	return 0;
}

static int end(void *arg, struct objid *ret)
{
	struct sink *k = arg;

	if (!k->d || k->left)
		abort();
	digest_final(k->d, ret);
	digest_free(k->d);
	k->d = NULL;
	return 0;
}

static void drop(void *arg)
{
	struct sink *k = arg;

	digest_free(k->d);
	k->d = NULL;
	k->dropped++;
}

static int fail(int err, const struct error *why)
{
	printf("%s %s\n", strerrorname_np(-err), error_text(why, err));
	return 1;
}

static int stored(struct src *s, const struct stage_member *m,
	struct objid *ret, struct error *why)
{
	uint64_t off = 0;
	void *bytes;
	int err = stage_member_place(s, m, &off, why);

	if (err)
		return err;
	bytes = malloc((size_t)m->size + 1);
	if (!bytes || src_read_wait(s, off, bytes, (size_t)m->size))
		exit(99);
	digest_sha256(bytes, (size_t)m->size, ret);
	free(bytes);
	return 0;
}

static void show(struct src *s, const struct stage_member *m,
	const struct stage_archive_sink *sink)
{
	static const char *const how[] = { "dir", "stored", "deflated",
		"stream" };
	struct objid id = m->id;
	char hex[OBJID_HEX_MAX];
	struct error why = { 0 };
	int err = 0;

	if (m->how == STAGE_MEMBER_DIR) {
		printf("%s/\n", m->path);
		return;
	}
	if (m->how == STAGE_MEMBER_STORED)
		err = stored(s, m, &id, &why);
	else if (m->how == STAGE_MEMBER_DEFLATED)
		err = stage_member_inflate(s, m, sink, &id, &why);
	if (err && !why.code)
		abort();
	objid_hex(&id, hex);
	printf("%s %llu %s %s\n", m->path, (unsigned long long)m->size,
		how[m->how], err ? strerrorname_np(-err) : hex);
}

static void again(struct stage_archive *a)
{
	char *json = stage_archive_to_json(a);
	struct stage_archive b = { 0 };

	if (!json || stage_archive_from_json(json, strlen(json), &b, NULL) ||
		b.n != a->n || b.n_refused != a->n_refused)
		exit(99);
	stage_archive_done(a);
	free(json);
	*a = b;
}

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
	struct sink k = { 0 };
	const struct stage_archive_sink sink = { begin, data, end, drop, &k };
	struct stage_archive a = { 0 };
	struct error why = { 0 };
	struct listing l = { 0 };
	struct src *s = NULL;
	struct stat st;
	int err;

	if (fd < 0 || fstat(fd, &st) < 0 ||
		src_from_fd(fd, (uint64_t)st.st_size, &s))
		return 99;
	err = stage_archive_read(s, &sink, &a, &why);
	if (err) {
		src_unref(s);
		return fail(err, &why);
	}
	again(&a);
	if (stage_archive_listing(&a, &l) || l.n != a.n || l.refused)
		return 99;
	for (size_t i = 0; i < a.n && i < SHOWN; i++) {
		if (stage_archive_find(&a, a.v[i].path) != &a.v[i])
			return 99;
		show(s, &a.v[i], &sink);
	}
	for (size_t i = 0; i < a.n_refused && i < STAGE_ARCHIVE_REASONS; i++)
		printf("! %s: %s\n", a.refused[i].name, a.refused[i].why);
	if (a.n > SHOWN || a.n_refused > STAGE_ARCHIVE_REASONS)
		printf("= %zu %zu\n", a.n, a.n_refused);
	listing_done(&l);
	stage_archive_done(&a);
	src_unref(s);
	return 0;
}
