/*
 * stage-dir DIR OPSET OUTDIR [PATH [HUB]]: stage a local repository by the stage
 * room alone, as the file system would: every file of the layout, or PATH
 * alone ("": no), is written to OUTDIR, staged ones through their recipe. The
 * blueprints are those of $OMNIHUB_DATADIR/blueprints, $OMNIHUB_STAGE_FLOW is
 * the key of that name. Exit 0; 3 with the
 * reason on stderr when staging refuses.
 */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/path.h"
#include "base/src.h"
#include "stage/stage.h"

#define CHUNK (4u << 20)

struct repo {
	const char *dir;
	struct listing listing;
	const char *only;	/* of the layout; NULL: all */
	const char *hub;
	struct stage *stage;
};

static int add_dir(struct repo *repo, const char *rel)
{
	const struct objid none = { .alg = OBJID_NONE };
	cleanup_free char *dir = path_join(repo->dir, rel);
	DIR *d = opendir(*rel ? dir : repo->dir);
	const struct dirent *e;
	int r = d ? 0 : -errno;

	while (!r && (e = readdir(d)) != NULL) {
		cleanup_free char *path = path_join(rel, e->d_name);
		cleanup_free char *full = path_join(repo->dir, path);
		struct stat st;

		if (e->d_name[0] == '.')
			continue;
		if (stat(full, &st))
			r = -errno;
		else if (S_ISDIR(st.st_mode))
			r = add_dir(repo, path);
		else
			r = listing_add(&repo->listing, path, LISTING_FILE,
				(uint64_t)st.st_size, &none);
	}
	if (d)
		closedir(d);
	return r;
}

static int open_file(void *arg, const struct listing_entry *e,
	struct src **ret, struct error *why)
{
	const struct repo *repo = arg;
	cleanup_free char *path = path_join(repo->dir, e->path);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return error_set(why, -errno, "%s: %s", e->path,
			strerror(errno));
	r = src_from_fd(fd, e->size, ret);
	if (r)
		close(fd);
	return r;
}

/* ---- what is made of files ------------------------------------------------- */

/* A file without name: what is made is written here. */
struct made {
	int fd;
	uint64_t at;
};

static int made_begin(void *arg, const char *path, uint64_t size)
{
	(void) arg;
	(void) path;
	(void) size;
	return 0;
}

static int made_data(void *arg, const void *buf, size_t len)
{
	struct made *m = arg;
	int r = io_pwrite(m->fd, buf, len, m->at);

	m->at += len;
	return r;
}

static int made_end(void *arg, struct objid *ret)
{
	(void) arg;
	(void) ret;
	return 0;
}

static void made_drop(void *arg)
{
	(void) arg;
}

static int open_path(struct repo *repo, const char *path, uint64_t size,
	struct src **ret, struct error *why);

/* The member of a zip; stored ones are copied too. */
static int unpack(struct repo *repo, const struct stage_made *d,
	const struct stage_archive_sink *sink, struct error *why)
{
	struct stage_archive list = { 0 };
	struct objid id;
	struct src *zip;
	int r = open_path(repo, d->file, 0, &zip, why);
	const struct stage_member *m;
	uint64_t off = 0;

	if (r)
		return r;
	r = stage_archive_read(zip, NULL, &list, why);
	m = r ? NULL : stage_archive_find(&list, d->member);
	if (!r && !m)
		r = -ENOENT;
	if (!r && m->how == STAGE_MEMBER_DEFLATED)
		r = stage_member_inflate(zip, m, sink, &id, why);
	else if (!r)
		r = stage_member_place(zip, m, &off, why);
	if (!r && m->how == STAGE_MEMBER_STORED) {
		cleanup_free void *all = malloc(m->size + 1);

		r = all ? src_read_wait(zip, off, all, m->size) : -ENOMEM;
		if (!r)
			r = sink->data(sink->arg, all, m->size);
	}
	src_unref(zip);
	stage_archive_done(&list);
	return r;
}

static int make(struct repo *repo, const struct stage_made *d, uint64_t size,
	struct made *made, struct error *why)
{
	const struct stage_archive_sink sink = { made_begin, made_data,
		made_end, made_drop, made };
	cleanup_free char *member = NULL;
	struct objid id;
	struct src *h5;
	int r;

	if (!d->group)
		return unpack(repo, d, &sink, why);
	if (d->member && asprintf(&member, "%s//%s", d->file, d->member) < 0)
		return -ENOMEM;
	r = open_path(repo, member ? member : d->file, 0, &h5, why);
	if (r)
		return r;
	r = stage_work_decode(repo->stage, "repo", h5, d, size, &sink, &id,
		why);
	src_unref(h5);
	return r;
}

static int make_file(void *arg, const char *path, uint64_t size,
	struct src **ret, struct error *why)
{
	struct made made = { -1, 0 };
	struct stage_made d;
	FILE *f = tmpfile();
	int r = f ? stage_made_parse(path, &d) : -errno;

	if (r)
		return r;
	made.fd = dup(fileno(f));
	fclose(f);
	r = made.fd < 0 ? -errno : make(arg, &d, size, &made, why);
	stage_made_done(&d);
	if (!r)
		r = src_from_fd(made.fd, made.at, ret);
	if (r && made.fd >= 0)
		close(made.fd);
	return r;
}

static int open_path(struct repo *repo, const char *path, uint64_t size,
	struct src **ret, struct error *why)
{
	if (stage_made_is(path))
		return make_file(repo, path, size, ret, why);
	return open_file(repo, listing_find(&repo->listing, path), ret, why);
}

/* ---- writing ---------------------------------------------------------------- */

static int copy(struct src *src, const char *out, const char *path)
{
	cleanup_free char *full = path_join(out, path);
	cleanup_free char *buf = malloc(CHUNK);
	cleanup_fd int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, 0666);
	int r = fd < 0 ? -errno : 0;

	for (uint64_t off = 0; !r && off < src->size; off += CHUNK) {
		size_t n = src->size - off < CHUNK ? src->size - off : CHUNK;

		r = src_read_wait(src, off, buf, n);
		if (!r)
			r = io_pwrite(fd, buf, n, off);
	}
	return r;
}

/* The src of a path of the layout. */
static int open_staged(struct stage *s, const struct stage_input *in,
	const char *path, struct src **ret, struct error *why)
{
	const char *original = stage_layout_original(s, &in->repo, path);
	struct src *sources[64] = { NULL };
	struct stage_recipe *recipe;
	unsigned n;
	int r;

	if (original)
		return in->open(in->arg, listing_find(in->repo.listing, original),
			ret, why);
	r = stage_plan(s, in, path, &recipe, why);
	if (r)
		return r;
	n = stage_recipe_sources(recipe);
	if (n > 64)
		r = -EFBIG;
	for (unsigned i = 0; i < n && !r; i++)
		r = open_path(in->arg, stage_recipe_source_path(recipe, i),
			stage_recipe_source_size(recipe, i), &sources[i], why);
	if (!r)
		r = stage_recipe_src(recipe, sources, ret, why);
	for (unsigned i = 0; i < n && i < 64; i++)
		src_unref(sources[i]);
	stage_recipe_unref(recipe);
	return r;
}

static int ask(struct stage *s, const struct stage_input *in, const char *dir,
	struct listing *ret, struct error *why)
{
	struct listing names = { 0 };
	int r = 0;

	if (!stage_asks(s, &in->repo, dir))
		return 0;
	r = stage_names(s, in, dir, &names, why);
	for (size_t k = 0; k < names.n && !r; k++)
		r = listing_add(ret, names.v[k].path, LISTING_FILE,
			names.v[k].size, &names.v[k].id);
	listing_done(&names);
	return r;
}

/* The layout, with the names for certain where directories ask. */
static int all_names(struct stage *s, const struct stage_input *in,
	struct listing *ret, struct error *why)
{
	struct listing layout = { 0 };
	int r = stage_layout(s, &in->repo, &layout);

	if (!r)
		r = ask(s, in, "", ret, why);
	for (size_t i = 0; i < layout.n && !r; i++) {
		const struct listing_entry *e = &layout.v[i];
		cleanup_free char *dir = strdup(e->path);

		if (e->kind == LISTING_DIR)
			r = listing_add(ret, e->path, e->kind, 0, &e->id);
		if (e->kind == LISTING_DIR && !r)
			r = ask(s, in, e->path, ret, why);
		if (e->kind == LISTING_DIR)
			continue;
		dir[path_base(dir) - dir - (path_base(dir) > dir)] = '\0';
		if (!r && !stage_asks(s, &in->repo, dir))
			r = listing_add(ret, e->path, e->kind, e->size,
				&e->id);
	}
	listing_done(&layout);
	listing_sort(ret);
	return r;
}

/* Not every graph can be trained; who means that one names it. */
static bool ends(const char *path, const char *ending)
{
	size_t len = strlen(path), tail = strlen(ending);

	return len > tail && !strcmp(path + len - tail, ending);
}

static int stage_all(struct stage *s, struct repo *repo, const char *out,
	struct error *why)
{
	struct stage_input in = {
		{ .hub = repo->hub, .repo = "local/repo",
			.listing = &repo->listing }, open_file, repo,
		make_file
	};
	struct listing layout = { 0 };
	char key[65];
	int r = all_names(s, &in, &layout, why);

	for (size_t i = 0; i < layout.n && !r; i++) {
		const struct listing_entry *e = &layout.v[i];
		struct src *src;

		if (e->kind == LISTING_DIR) {
			r = io_mkdirs(AT_FDCWD, out);
			if (!r) {
				cleanup_free char *d = path_join(out, e->path);

				r = io_mkdirs(AT_FDCWD, d);
			}
			continue;
		}
		if (repo->only ? strcmp(repo->only, e->path) != 0 :
		    ends(e->path, "_trainable.pb"))
			continue;
		r = open_staged(s, &in, e->path, &src, why);
		if (r)
			break;
		r = copy(src, out, e->path);
		if (!r && !stage_layout_original(s, &in.repo, e->path))
			r = stage_key(s, &in.repo, "local", e->path,
				key);
		if (!r)
			printf("%s %llu\n", e->path,
				(unsigned long long)src->size);
		src_unref(src);
	}
	if (!r && !layout.n)
		r = error_set(why, -ENOENT, "nothing to stage");
	listing_done(&layout);
	return r;
}

int main(int argc, char **argv)
{
	const char *data = getenv("OMNIHUB_DATADIR");
	const char *flow = getenv("OMNIHUB_STAGE_FLOW");
	struct repo repo = { 0 };
	struct error why = { 0 };
	struct stage_conf conf = { 0 };
	struct stage *s = NULL;
	int r;

	if (argc < 4 || argc > 6 || !data) {
		fprintf(stderr, "usage: OMNIHUB_DATADIR=… stage-dir DIR OPSET "
			"OUTDIR [PATH [HUB]]\n");
		return 2;
	}
	cleanup_free char *blueprints = path_join(data, "blueprints");
	const char *dirs[] = { blueprints, NULL };

	repo.dir = argv[1];
	repo.only = argc > 4 && *argv[4] ? argv[4] : NULL;
	repo.hub = argc > 5 ? argv[5] : "huggingface";
	conf.opset = (unsigned)atoi(argv[2]);
	conf.functions = flow && !strcmp(flow, "functions");
	conf.blueprint_dirs = dirs;
	r = add_dir(&repo, "");
	listing_sort(&repo.listing);
	if (!r)
		r = stage_new(&conf, &s, &why);
	repo.stage = s;
	if (!r)
		r = stage_all(s, &repo, argv[3], &why);
	if (r)
		fprintf(stderr, "%s\n", error_text(&why, r));
	stage_free(s);
	listing_done(&repo.listing);
	return r == 0 ? 0 : r == -ENOTSUP ? 3 : 1;
}
