/*
 * The texts are kept, packed one behind the other: workers are given the same
 * blueprints as this process has, whatever happens to the files meanwhile.
 */
#include "config.h"

#include "stage/library.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/path.h"
#include "stage/blueprint-ast.h"

#define BLUEPRINTS_MAX 1000

/* The files of all directories by name; of one name the first directory's. */
struct found {
	struct found_file {
		char *name;
		char *path;
	} *v;
	size_t n, room;
};

static void found_done(struct found *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->v[i].name);
		free(f->v[i].path);
	}
	free(f->v);
}

static int found_add(struct found *f, const char *dir, const char *name)
{
	size_t room = f->room ? f->room * 2 : 16;
	struct found_file *v;

	for (size_t i = 0; i < f->n; i++)
		if (!strcmp(f->v[i].name, name))
			return 0;
	if (f->n >= BLUEPRINTS_MAX)
		return -EFBIG;
	if (f->n == f->room) {
		v = realloc(f->v, room * sizeof(*v));
		if (!v)
			return -ENOMEM;
		f->v = v;
		f->room = room;
	}
	v = &f->v[f->n++];
	v->name = strdup(name);
	v->path = path_join(dir, name);
	return v->name && v->path ? 0 : -ENOMEM;
}

static bool is_blueprint(const struct dirent *d)
{
	size_t len = strlen(d->d_name);

	return d->d_name[0] != '.' && len > 3 &&
		!strcmp(d->d_name + len - 3, ".bp");
}

static int is_blueprint_entry(const struct dirent *d)
{
	return is_blueprint(d);
}

/* A directory that is not there adds nothing. */
static int find_in(struct found *f, const char *dir)
{
	struct dirent **names;
	int n = scandir(dir, &names, is_blueprint_entry, alphasort);
	int r = 0;

	if (n < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		if (!r)
			r = found_add(f, dir, names[i]->d_name);
		free(names[i]);
	}
	free(names);
	return r;
}

static int add_blueprint(struct stage *s, struct stage_blueprint *bp)
{
	size_t room = s->room ? s->room * 2 : 16;
	struct stage_blueprint **v;

	if (s->n == s->room) {
		v = realloc(s->v, room * sizeof(*v));
		if (!v) {
			stage_blueprint_free(bp);
			return -ENOMEM;
		}
		s->v = v;
		s->room = room;
	}
	s->v[s->n++] = bp;
	return 0;
}

/* "u32 length, name, NUL, u32 length, text", libraries first. */
static int pack(struct stage *s, const char *name, const struct buf *text)
{
	int r = buf_append_le(&s->pack, strlen(name) + 1, 4);

	if (!r)
		r = buf_append(&s->pack, name, strlen(name) + 1);
	if (!r)
		r = buf_append_le(&s->pack, text->len, 4);
	return r ? r : buf_append(&s->pack, text->data, text->len);
}

static bool is_lib(const char *name)
{
	return !strcmp(name, "lib.bp") || !strncmp(name, "lib-", 4);
}

/* The last library is the one that is asked first; it knows those before it,
 * which are kept among the blueprints as they have no family. */
static int set_lib(struct stage *s, struct stage_blueprint *bp)
{
	int r = 0;

	if (s->lib)
		r = add_blueprint(s, s->lib);
	s->lib = bp;
	return r;
}

static int parse(struct stage *s, const char *name, const char *text,
	size_t len, struct error *why)
{
	struct stage_blueprint *bp;
	int r = stage_blueprint_parse(name, text, len, s->lib, &bp, why);

	if (r)
		return r;
	return is_lib(name) ? set_lib(s, bp) : add_blueprint(s, bp);
}

static int load(struct stage *s, const struct found_file *f, struct digest *d,
	struct error *why)
{
	cleanup_buf struct buf text = BUF_INIT(BP_TEXT_MAX);
	int r = io_read_file(AT_FDCWD, f->path, &text);

	if (r)
		return error_set(why, r, "%s: %s", f->path, strerror(-r));
	digest_update(d, f->name, strlen(f->name) + 1);
	digest_update(d, &text.len, sizeof(text.len));
	digest_update(d, text.data, text.len);
	r = pack(s, f->name, &text);
	return r ? r : parse(s, f->name, (const char *)text.data, text.len,
		why);
}

static int load_all(struct stage *s, const struct found *f, struct digest *d,
	struct error *why)
{
	int r = 0;

	for (size_t i = 0; i < f->n && !r; i++)
		if (is_lib(f->v[i].name))
			r = load(s, &f->v[i], d, why);
	for (size_t i = 0; i < f->n && !r; i++)
		if (!is_lib(f->v[i].name))
			r = load(s, &f->v[i], d, why);
	return r;
}

int stage_library_read(struct stage *s, const char *const *dirs,
	struct error *why)
{
	struct digest *d = digest_new(OBJID_SHA256, 0);
	struct found f = { NULL, 0, 0 };
	struct objid id;
	int r = d ? 0 : -ENOMEM;

	for (size_t i = 0; dirs && dirs[i] && !r; i++) {
		r = find_in(&f, dirs[i]);
		if (r)
			error_set(why, r, "%s: %s", dirs[i], strerror(-r));
	}
	if (!r)
		r = load_all(s, &f, d, why);
	if (!r) {
		digest_final(d, &id);
		objid_hex(&id, s->digest);
	}
	digest_free(d);
	found_done(&f);
	return r;
}

int stage_library_take(struct stage *s, struct bytes *b, struct error *why)
{
	int r = 0;

	while (!r && bytes_left(b)) {
		uint64_t n = bytes_le(b, 4), len;
		const char *name = (const char *)bytes_take(b, n);
		const char *text;

		len = bytes_le(b, 4);
		text = (const char *)bytes_take(b, len);
		if (b->bad || !n || name[n - 1])
			return -EBADMSG;
		r = parse(s, name, text, (size_t)len, why);
	}
	return r;
}
