/*
 * lookup, forget and reading directories. A directory is frozen at opendir, so
 * an offset is simply the number of the next entry; "." and ".." are 0 and 1.
 *
 * readdirplus gives attributes only where they cost nothing: an entry that
 * would need a plan or the hub goes out as a plain name, and the kernel asks
 * for it if somebody wants it. So does a name that is being looked up: the
 * kernel would hold the whole listing, deaf to signals, until that look-up is
 * answered.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/inode.h"
#include "fs/ll.h"

struct ll_lookup {
	struct ll_op op;
	struct ll_lookup *next, **link;		/* ll.asked_lock */
	char name[];
};

static void asked_add(struct ll_lookup *k)
{
	struct ll *ll = k->op.ll;

	pthread_mutex_lock(&ll->asked_lock);
	k->next = ll->asked;
	if (k->next)
		k->next->link = &k->next;
	k->link = &ll->asked;
	ll->asked = k;
	pthread_mutex_unlock(&ll->asked_lock);
}

static void asked_del(struct ll_lookup *k)
{
	struct ll *ll = k->op.ll;

	pthread_mutex_lock(&ll->asked_lock);
	*k->link = k->next;
	if (k->next)
		k->next->link = k->link;
	pthread_mutex_unlock(&ll->asked_lock);
}

static bool is_asked(struct ll *ll, fuse_ino_t dir, const char *name)
{
	struct ll_lookup *k;

	pthread_mutex_lock(&ll->asked_lock);
	for (k = ll->asked; k; k = k->next)
		if (k->op.node->ino == dir && !strcmp(k->name, name))
			break;
	pthread_mutex_unlock(&ll->asked_lock);
	return k;
}

static void reply_entry(struct ll_op *op, int err, struct fs_node *n,
	const struct fs_attr *a)
{
	struct fuse_entry_param e = { .entry_timeout = LL_NEGATIVE };

	if (err && err != -ENOENT) {
		ll_reply_err(op->req, err);
		return;
	}
	if (!err) {
		ll_fill_entry(op->ll, a, &e);
		ll_known(op->ll, n);
	}
	/* The kernel that did not get the answer does not count it. */
	if (fuse_reply_entry(op->req, &e) && !err)
		ll_forget(op->ll, e.ino, 1);
}

static void found(void *arg, int err, struct fs_node *n,
	const struct fs_attr *a)
{
	struct ll_lookup *k = arg;

	asked_del(k);
	if (err == -ENOENT)
		ll_note_missing(k->op.ll, k->op.node->ino, k->name);
	if (ll_op_claim(&k->op))
		reply_entry(&k->op, err, n, a);
	fs_node_unref(n);
	ll_op_put(&k->op);
}

void ll_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs_node *dir = ll_node(req, parent);
	size_t len = strlen(name) + 1;
	struct ll_lookup *k;

	if (!dir)
		return;
	k = (struct ll_lookup *)ll_op_new(req, dir, sizeof(*k), len);
	if (!k)
		return;
	memcpy(k->name, name, len);
	asked_add(k);
	fs_lookup(k->op.ll->fs, dir, k->name, found, k);
}

void ll_op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	ll_forget(ll_of(req), ino, n);
	fuse_reply_none(req);
}

void ll_op_forget_multi(fuse_req_t req, size_t count,
	struct fuse_forget_data *v)
{
	for (size_t i = 0; i < count; i++)
		ll_forget(ll_of(req), v[i].ino, v[i].nlookup);
	fuse_reply_none(req);
}

/* ---- directories ------------------------------------------------------------------ */

struct opendir_op {
	struct ll_op op;
	struct fuse_file_info fi;
};

static void opened(void *arg, int err, struct fs_dir *d)
{
	struct opendir_op *o = arg;

	if (!ll_op_claim(&o->op)) {
		fs_dir_free(d);
	} else if (err) {
		ll_reply_err(o->op.req, err);
	} else {
		o->fi.fh = ll_handle_out(o->op.ll, d);
		o->fi.cache_readdir = fs_dir_fixed(d);
		o->fi.keep_cache = fs_dir_fixed(d);
		atomic_fetch_add(&o->op.ll->dirs, 1);
		if (fuse_reply_open(o->op.req, &o->fi)) {
			atomic_fetch_sub(&o->op.ll->dirs, 1);
			fs_dir_free(d);
		}
	}
	ll_op_put(&o->op);
}

void ll_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs_node *n = ll_node(req, ino);
	struct opendir_op *o;

	if (!n)
		return;
	o = (struct opendir_op *)ll_op_new(req, n, sizeof(*o), 0);
	if (!o)
		return;
	o->fi = *fi;
	fs_readdir(o->op.ll->fs, n, opened, o);
}

struct listing_page {
	fuse_req_t req;
	fuse_ino_t ino;
	struct fs_dir *dir;
	bool plus;
	char *buf;
	size_t size, used;
};

static size_t add_plain(struct listing_page *p, const char *name, bool dir,
	uint64_t ino, off_t next)
{
	struct fuse_entry_param e = {
		.attr = { .st_ino = ino, .st_mode = dir ? S_IFDIR : S_IFREG },
	};
	char *at = p->buf + p->used;
	size_t room = p->size - p->used;

	if (p->plus)
		return fuse_add_direntry_plus(p->req, at, room, name, &e, next);
	return fuse_add_direntry(p->req, at, room, name, &e.attr, next);
}

/* With attributes, and a look-up counted, if that needs no waiting. */
static bool add_full(struct listing_page *p, size_t i, const char *name,
	off_t next, size_t *ret)
{
	struct fuse_entry_param e;
	struct fs_node *n = NULL;
	struct fs_attr a;

	if (!p->plus || is_asked(ll_of(p->req), p->ino, name) ||
		fs_dir_node(p->dir, i, &n, &a))
		return false;
	ll_fill_entry(ll_of(p->req), &a, &e);
	*ret = fuse_add_direntry_plus(p->req, p->buf + p->used,
		p->size - p->used, name, &e, next);
	if (*ret <= p->size - p->used)
		ll_known(ll_of(p->req), n);
	fs_node_unref(n);
	return true;
}

/* Entry number `at`; false: the page is full. */
static bool add_entry(struct listing_page *p, size_t at)
{
	struct fs_dirent e;
	off_t next = (off_t)at + 1;
	size_t len;

	if (at < 2) {
		/* Of the parent's number nobody asks here: the kernel has it. */
		len = add_plain(p, at ? ".." : ".", true, p->ino,
			next);
	} else {
		fs_dir_at(p->dir, at - 2, &e);
		if (!add_full(p, at - 2, e.name, next, &len))
			len = add_plain(p, e.name, e.dir, e.ino, next);
	}
	if (len > p->size - p->used)
		return false;
	p->used += len;
	return true;
}

static void read_page(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi, bool plus)
{
	struct listing_page p = { .req = req, .ino = ino, .plus = plus,
		.size = size };
	size_t at = off > 0 ? (size_t)off : 0, n;

	p.dir = ll_handle_in(ll_of(req), fi->fh);
	if (!p.dir) {
		ll_reply_err(req, -ESTALE);
		return;
	}
	p.buf = malloc(size);
	if (!p.buf) {
		ll_reply_err(req, -ENOMEM);
		return;
	}
	n = fs_dir_count(p.dir) + 2;
	while (at < n && add_entry(&p, at))
		at++;
	(void) fuse_reply_buf(req, p.buf, p.used);
	free(p.buf);
}

void ll_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	read_page(req, ino, size, off, fi, false);
}

void ll_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	read_page(req, ino, size, off, fi, true);
}

void ll_op_releasedir(fuse_req_t req, fuse_ino_t ino,
	struct fuse_file_info *fi)
{
	struct fs_dir *d = ll_handle_last(ll_of(req), fi->fh);

	(void) ino;
	if (d) {
		fs_dir_free(d);
		atomic_fetch_sub(&ll_of(req)->dirs, 1);
	}
	ll_reply_err(req, 0);
}
