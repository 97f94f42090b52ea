#include "config.h"

#include "fs/handle.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "fs/lock.h"
#include "fs/measure.h"
#include "fs/node.h"
#include "fs/tree.h"

/* Is it of interest whether all of it is read? */
static void watch_parts(struct fs_handle *h)
{
	size_t n = (size_t)((h->src->size + FS_PART - 1) / FS_PART);

	if (!h->plan || !n ||
	    h->plan->plans->materialize == FS_MATERIALIZE_NEVER)
		return;
	h->unread = malloc(n);
	if (h->unread) {
		memset(h->unread, 1, n);
		h->n_unread = n;
	}
}

/* Under the lock. */
static void note_parts(struct fs_handle *h, uint64_t off, size_t len)
{
	for (uint64_t i = off / FS_PART; h->unread && len &&
	     i <= (off + len - 1) / FS_PART; i++) {
		h->n_unread -= h->unread[i];
		h->unread[i] = 0;
	}
}

/* Whoever asks how many files are open asks through one himself. */
static atomic_uint *counter_of(const struct fs_handle *h)
{
	return h->node->kind == FS_CTL ? &h->fs->open_controls :
		&h->fs->open_files;
}

struct fs_handle *fs_handle_new(struct fs *fs, struct fs_node *n,
	struct src *src, struct fs_plan *plan)
{
	struct fs_handle *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->fs = fs;
	h->node = fs_node_ref(n);
	h->src = src;
	h->plan = plan ? fs_plan_ref(plan) : NULL;
	h->epoch = src_epoch(src);
	atomic_init(&h->made, plan ? fs_plan_made_at(plan, src) : UINT_MAX);
	watch_parts(h);
	pthread_mutex_init(&h->lock, NULL);
	atomic_fetch_add(counter_of(h), 1);
	return h;
}

void fs_close(struct fs_handle *h)
{
	if (!h)
		return;
	if (h->unread && !h->n_unread)
		fs_plan_was_read(h->plan, h->src, h->epoch);
	free(h->unread);
	if (h->plan)
		fs_plan_close(h->plan, h->src);
	else
		src_unref(h->src);
	fs_plan_unref(h->plan);
	pthread_mutex_destroy(&h->lock);
	atomic_fetch_sub(counter_of(h), 1);
	fs_node_unref(h->node);
	free(h);
}

struct src *fs_handle_src(struct fs_handle *h)
{
	return h->src;
}

static bool other_digest(const struct fs_handle *h)
{
	const struct fs_node *n = h->node;
	const struct listing_entry *e;
	struct src_stat st;

	if (n->kind != FS_FILE)
		return false;
	e = fs_measured(n->snap, n->entry);
	src_stat(h->src, &st);
	return e->id.alg != OBJID_NONE && e->id.alg == st.id.alg &&
		!objid_match(&e->id, &st.id);
}

/* Is a file that it is made of another by now? Its own size need not tell. */
static bool other_source(struct fs_handle *h, unsigned now)
{
	const struct fs_node *n = h->node;
	struct fs_snap *s = n->snap;
	struct stage_recipe *recipe = NULL;
	unsigned made = atomic_load(&h->made);
	bool r = false;

	if (n->kind == FS_FILE)
		return fs_measure_nth(s, n->entry) > made;
	if (n->kind != FS_STAGED || made == now ||
	    fs_plan_recipe(h->plan, &recipe))
		return false;
	for (unsigned i = stage_recipe_sources(recipe); i-- && !r;) {
		const struct listing_entry *e = stage_source_of(&s->own,
			stage_recipe_source_path(recipe, i));

		r = e && fs_measure_nth(s, e) > made;
	}
	if (!r)
		atomic_store(&h->made, now);
	stage_recipe_unref(recipe);
	return r;
}

/* The kernel has one size and one set of pages for both, however often they are
 * open. */
bool fs_handle_outlived(struct fs_handle *h)
{
	unsigned now = atomic_load(&h->fs->resolver.changed);
	struct fs_attr a;

	if (now == atomic_load(&h->changed) || h->node->kind == FS_CTL)
		return false;
	if (other_source(h, now))
		return true;
	if (fs_attr_now(h->fs, h->node, &a))
		return false;
	if (a.size != h->src->size || other_digest(h))
		return true;
	atomic_store(&h->changed, now);
	return false;
}

void fs_handle_resumed(struct fs_handle *h)
{
	atomic_store(&h->made, 0);
}

/* Any part of it. */
static bool made_of(struct fs_node *n, const char *path)
{
	struct stage_recipe *recipe = NULL;
	bool r = false;

	if (fs_plan_recipe(n->plan, &recipe))
		return true;
	for (unsigned i = stage_recipe_sources(recipe); i-- && !r;) {
		const struct listing_entry *e = stage_source_of(&n->snap->own,
			stage_recipe_source_path(recipe, i));

		r = e && !strcmp(e->path, path);
	}
	stage_recipe_unref(recipe);
	return r;
}

bool fs_node_of_file(struct fs_node *n, const char *path)
{
	if (atomic_load(&n->snap->listed) && n->snap->archive)
		return !strcmp(fs_archive_path(n->snap->archive), path);
	return n->kind == FS_STAGED ? made_of(n, path) :
		!strcmp(n->entry->path, path);
}

int fs_handle_look(struct fs_handle *h, uint64_t off, size_t len,
	uint64_t *ret_off, uint64_t *ret_len)
{
	struct fs_ra_hint hint = { 0, 0 };

	if (src_epoch(h->src) != h->epoch || fs_handle_outlived(h))
		return -EIO;
	pthread_mutex_lock(&h->lock);
	note_parts(h, off, len);
	if (!fs_ra_touch(&h->ra, off, len, h->src->size, &hint))
		hint.len = 0;
	pthread_mutex_unlock(&h->lock);
	*ret_off = hint.off;
	*ret_len = hint.len;
	return 0;
}

int fs_handle_touch(struct fs_handle *h, uint64_t off, size_t len)
{
	uint64_t at, more;
	int r = fs_handle_look(h, off, len, &at, &more);

	if (!r && more)
		src_hint(h->src, at, more);
	return r;
}

void fs_handle_failed(struct fs_handle *h, int err)
{
	char *path = fs_node_path(h->node);
	const struct fs_snap *snap = h->node->snap;
	const char *text = NULL;
	struct error said = { 0 };
	struct src_stat st;

	src_stat(h->src, &st);
	if (st.last.code)
		text = st.last.text;
	else if (src_epoch(h->src) != h->epoch)
		text = "bytes read before contradict the digest; "
			"opened again, it has the right ones";
	else if (fs_handle_outlived(h))
		text = "the hub has another file there by now; opened again, "
			"it is that one";
	if (text && snap && snap->locked) {
		(void) error_set(&said, err, "%s: line %u: %s",
			snap->locked->lock->file, snap->locked->line, text);
		text = said.text;
	}
	if (path)
		fs_errors_add(&h->fs->errors, path, fs_errno(err), text);
	free(path);
}
