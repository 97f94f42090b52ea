/* Reading everything again, to find what the disk has changed. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cache/partial.h"
#include "cache/store.h"

struct verify {
	struct cache *c;
	cache_verify_fn *fn;
	void *arg;
	uint64_t bad;
};

static int object_right(int fd, const struct cache_entry *e)
{
	struct objid want, got;
	struct stat st;
	int r;

	if (fd < 0)
		return fd;
	if (objid_parse(OBJID_SHA256, e->hex, &want))
		return -EBADMSG;
	/* Since it was listed another may have come in its place. */
	if (fstat(fd, &st) < 0)
		return -errno;
	r = cache_hash_file(fd, (uint64_t)st.st_size, &want, &got);
	return r < 0 ? r : r ? 0 : -EBADMSG;
}

static int partial_right(struct cache *c, const struct cache_entry *e)
{
	struct partial *p;
	int r = cache_partial_open(c, e->hex, "", 0, 0, false, false, &p);

	if (r)
		return r;
	for (uint64_t i = 0; i < p->n; i++) {
		if (atomic_load(&p->entry[i]) && !cache_partial_has(p, i))
			r = -EBADMSG;
	}
	cache_partial_close(p);
	return r;
}

static int recipe_right(struct cache *c, const struct cache_entry *e)
{
	cleanup_buf struct buf b = BUF_INIT(1UL << 30);

	return cache_recipe_get(c, e->hex, &b);
}

static int link_right(struct cache *c, const struct cache_entry *e)
{
	struct objid to;

	if (!cache_link_get(c, e->hex, &to))
		return 0;
	return faccessat(c->dir, e->rel, F_OK, AT_SYMLINK_NOFOLLOW) < 0 ?
		-errno : -EBADMSG;
}

static int odd_right(struct cache *c, const struct cache_entry *e)
{
	struct stat st;

	if (fstatat(c->dir, e->rel, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	/* It has made way for what should be there. */
	if (e->err == -EINVAL && (st.st_mode & S_IFMT) == e->type)
		return -ENOENT;
	return e->err;
}

/* It is the file's fault, not of this moment. */
static bool is_lasting(const struct cache_entry *e, int err)
{
	switch (err) {
	case 0:
	case -ENOENT:	/* evicted while we were looking at it */
	case -EUCLEAN:
	case -ENOMEM:
	case -EMFILE:
	case -ENFILE:
	case -ENOLCK:
	case -EAGAIN:
	case -EINTR:
		return false;
	default:
		return e->kind != CACHE_FILE_ODD || err == -EINVAL;
	}
}

/* What is large is looked at without the lock. */
static int check_file(struct cache *c, const struct cache_entry *e,
	bool *ret_removed)
{
	cleanup_fd int fd = cache_store_open(c, e->rel, O_RDONLY);
	int r = e->kind == CACHE_FILE_OBJECT ? object_right(fd, e) :
		recipe_right(c, e);

	if (is_lasting(e, r))
		*ret_removed = cache_store_drop_judged(c, e->rel, fd);
	return r;
}

/* What may be replaced at any time is judged and dropped in one go. */
static int check_note(struct cache *c, const struct cache_entry *e,
	bool *ret_removed)
{
	int r;

	cache_store_enter(c);
	switch (e->kind) {
	case CACHE_FILE_LINK:
		r = link_right(c, e);
		break;
	case CACHE_FILE_REF:
		r = cache_ref_check(c, e->hex);
		break;
	case CACHE_FILE_PIN:
		r = cache_pin_check(c, e->hex);
		break;
	default:
		r = odd_right(c, e);
		break;
	}
	if (is_lasting(e, r))
		*ret_removed = cache_store_drop(c, e->rel);
	cache_store_leave(c);
	return r;
}

static int check(void *arg, const struct cache_entry *e)
{
	struct verify *v = arg;
	bool removed = false;
	int r = 0;

	switch (e->kind) {
	case CACHE_FILE_OBJECT:
	case CACHE_FILE_RECIPE:
		r = check_file(v->c, e, &removed);
		break;
	case CACHE_FILE_PARTIAL:
		/* It has lost what was wrong of it. */
		r = partial_right(v->c, e);
		removed = is_lasting(e, r);
		break;
	default:
		r = check_note(v->c, e, &removed);
		break;
	}
	if (r == -ENOENT)
		return 0;
	v->bad += r != 0;
	if (v->fn)
		v->fn(v->arg, e->rel, r, removed);
	return 0;
}

int cache_verify(struct cache *c, cache_verify_fn *fn, void *arg,
	uint64_t *ret_bad)
{
	struct verify v = { .c = c, .fn = fn, .arg = arg };
	int r;

	/* First of all, or what hangs on it is judged by what is wrong. */
	r = cache_index_check(c->index);
	if (r) {
		v.bad++;
		if (fn)
			fn(arg, "index.sqlite", r, r == -EBADMSG);
	}
	r = cache_scan(c, check, &v);
	if (!r)
		r = cache_scan_notes(c, check, &v);
	if (!r && ret_bad)
		*ret_bad = v.bad;
	return r;
}
