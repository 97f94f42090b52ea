/*
 * For the tests written in Python: reads one checkpoint (or, with a second
 * argument, the index FILE of a sharded one below the directory TOP) and
 * prints "name type [dims] sha256-of-the-bytes" for each tensor, in order.
 * A failure is one line, "ERRNO-NAME text", and exit code 1.
 *
 *     stage-tensors FILE
 *     stage-tensors TOP FILE
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/path.h"
#include "stage/format/checkpoint.h"

static struct src *open_src(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct src *s = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 ||
	    src_from_fd(fd, (uint64_t)st.st_size, &s)) {
		perror(path);
		exit(99);
	}
	return s;
}

static int fail(int err, const struct error *why)
{
	printf("%s %s\n", strerrorname_np(-err), error_text(why, err));
	return 1;
}

static void print_tensor(struct src *s, const struct stage_tensor *t)
{
	void *data = malloc(t->len + 1);
	char hex[OBJID_HEX_MAX];
	struct objid id;

	if (!data || src_read_wait(s, t->off, data, t->len))
		exit(99);
	digest_sha256(data, t->len, &id);
	objid_hex(&id, hex);
	printf("%s %s [", t->name, stage_dtype_name(t->dtype));
	for (unsigned i = 0; i < t->rank; i++)
		printf("%s%llu", i ? "," : "", (unsigned long long)t->dim[i]);
	printf("] %s\n", hex);
	free(data);
}

static int one_file(const char *path)
{
	struct src *s = open_src(path);
	struct stage_weights w = { 0 };
	struct error why = { 0 };
	int err;

	if (stage_weights_file(&w, "file", s->size))
		exit(99);
	err = stage_weights_read(s, 0, &w, &why);
	if (!err)
		err = stage_weights_sort(&w, &why);
	for (size_t i = 0; !err && i < w.n; i++)
		print_tensor(s, &w.v[i]);
	stage_weights_done(&w);
	src_unref(s);
	if (err > 0)
		return fail(-ENOTSUP, NULL);
	return err ? fail(err, &why) : 0;
}

/* ---- a repository of one directory ----------------------------------------- */

static int open_entry(void *arg, const struct listing_entry *e,
	struct src **ret, struct error *why)
{
	char *path = path_join(arg, e->path);

	(void) why;
	*ret = open_src(path);
	free(path);
	return 0;
}

static int sharded(char *top, const char *index)
{
	struct listing l = { 0 };
	struct stage_input in = { { .hub = "huggingface", .repo = "a/b",
		.listing = &l }, open_entry,
		top, NULL };
	struct stage_weights w = { 0 };
	struct error why = { 0 };
	char list[4096];
	int err;

	/* What there is comes on standard input, a path a line. */
	while (fgets(list, sizeof(list), stdin)) {
		list[strcspn(list, "\n")] = 0;
		if (listing_add(&l, list, LISTING_FILE, 0, NULL))
			exit(99);
	}
	listing_sort(&l);
	err = stage_checkpoint_read(&in, index, &w, &why);
	for (size_t i = 0; !err && i < w.n; i++) {
		struct listing_entry e = { .path = w.files[w.v[i].file] };
		struct src *s = NULL;

		(void) open_entry(top, &e, &s, NULL);
		print_tensor(s, &w.v[i]);
		src_unref(s);
	}
	stage_weights_done(&w);
	listing_done(&l);
	return err ? fail(err, &why) : 0;
}

int main(int argc, char **argv)
{
	if (argc == 3)
		return sharded(argv[1], argv[2]);
	return argc == 2 ? one_file(argv[1]) : 99;
}
