/* From a node to an open file. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "fs/handle.h"
#include "fs/measure.h"
#include "fs/tree.h"

struct opening {
	struct pool_job job;
	struct fs *fs;
	struct fs_node *node;	/* a reference */
	fs_open_cb *cb;
	void *arg;
};

static void note(struct fs *fs, const struct fs_node *n, int err,
	const struct error *why)
{
	char *path = fs_node_path(n);

	if (path)
		fs_errors_add(&fs->errors, path, fs_errno(err), why->text);
	free(path);
}

/* src is taken over. */
static void answer(struct fs *fs, struct fs_node *n, int err, struct src *src,
	fs_open_cb *cb, void *arg)
{
	struct fs_handle *h = NULL;

	if (!err) {
		h = fs_handle_new(fs, n, src, n->plan);
		if (!h && n->plan)
			fs_plan_close(n->plan, src);
		else if (!h)
			src_unref(src);
		err = h ? 0 : -ENOMEM;
	}
	cb(arg, fs_errno(err), h);
}

static void opened(struct opening *o, int err, struct src *src)
{
	answer(o->fs, o->node, err, src, o->cb, o->arg);
	fs_node_unref(o->node);
	free(o);
}

static void staged_opened(void *arg, int err, struct src *src)
{
	opened(arg, err, src);
}

static void member_opened(void *arg, int err, struct src *src,
	const struct error *why)
{
	struct opening *o = arg;

	if (err)
		note(o->fs, o->node, err, why);
	opened(o, err, src);
}

static void show_ctl(struct pool_job *job)
{
	struct opening *o = (struct opening *)job;
	struct buf b = BUF_INIT(FS_CTL_MAX);
	struct src *src = NULL;
	int r = o->node->ctl->show(o->fs, &b);

	if (!r) {
		src = src_from_memory(b.data, b.len);
		r = src ? 0 : -ENOMEM;
	}
	if (r)
		buf_done(&b);
	opened(o, r, src);
}

static void open_file(struct fs *fs, struct fs_node *n, fs_open_cb *cb,
	void *arg)
{
	struct error why = { 0 };
	struct src *src = NULL;
	int r = fs_stack_file(&fs->plans.stack, n->snap, n->entry, &src, &why);

	if (r)
		note(fs, n, r, &why);
	answer(fs, n, r, src, cb, arg);
}

static void file_measured(void *arg, int err, const struct error *why,
	const struct listing_entry *e)
{
	struct opening *o = arg;

	(void) e;
	if (err) {
		note(o->fs, o->node, err, why);
		opened(o, err, NULL);
		return;
	}
	open_file(o->fs, o->node, o->cb, o->arg);
	fs_node_unref(o->node);
	free(o);
}

static void open_later(struct fs *fs, struct fs_node *n, fs_open_cb *cb,
	void *arg)
{
	struct opening *o = calloc(1, sizeof(*o));
	char *path = fs_node_path(n);
	struct fs_plan_for whom = { n->snap, n->inner, path };

	if (!o || !path) {
		free(o);
		free(path);
		cb(arg, -ENOMEM, NULL);
		return;
	}
	o->fs = fs;
	o->node = fs_node_ref(n);
	o->cb = cb;
	o->arg = arg;
	if (n->kind == FS_STAGED) {
		fs_plan_open(n->plan, &whom, staged_opened, o);
	} else if (n->kind == FS_FILE && !fs_archive_of(n->snap, n->entry)) {
		fs_measure(n->snap, n->entry, file_measured, o);
	} else if (n->kind == FS_FILE) {
		fs_archive_open(n->snap, n->entry, member_opened, o);
	} else {
		o->job.run = show_ctl;
		pool_add(fs->work, &o->job);
	}
	free(path);
}

void fs_open(struct fs *fs, struct fs_node *n, fs_open_cb *cb, void *arg)
{
	if (n->kind == FS_FILE && !fs_archive_of(n->snap, n->entry) &&
	    !fs_measure_due(n->snap, n->entry))
		open_file(fs, n, cb, arg);
	else if (fs_node_is_dir(n))
		cb(arg, -EISDIR, NULL);
	else
		open_later(fs, n, cb, arg);
}
