/* getattr, statfs and extended attributes. */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/path.h"

#include "fs/errors.h"
#include "fs/ll.h"
#include "fs/tree.h"

#define XATTR_MAX (64 * 1024)	/* bytes, Linux's own ceiling */
#define USER "user."

static void got_attr(void *arg, int err, struct fs_node *n,
	const struct fs_attr *a)
{
	struct ll_op *op = arg;

	if (ll_op_claim(op)) {
		if (err) {
			ll_reply_err(op->req, err);
		} else {
			struct stat st;

			ll_fill_stat(op->ll, a, &st);
			(void) fuse_reply_attr(op->req, &st,
				ll_attr_timeout(a));
		}
	}
	fs_node_unref(n);
	ll_op_put(op);
}

void ll_op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs_node *n = ll_node(req, ino);
	struct ll_op *op;

	(void) fi;
	if (!n)
		return;
	op = ll_op_new(req, n, sizeof(*op), 0);
	if (op)
		fs_getattr(op->ll->fs, n, got_attr, op);
}

/* The disk of the cache: what reading through the mount fills. */
void ll_op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st;

	(void) ino;
	if (statvfs(ll_of(req)->fs->cache_dir, &st)) {
		ll_reply_err(req, -errno);
		return;
	}
	st.f_namemax = PATH_NAME_MAX;
	st.f_flag |= ST_RDONLY;
	(void) fuse_reply_statfs(req, &st);
}

static void reply_xattr(fuse_req_t req, int r, const struct buf *b, size_t size)
{
	if (r)
		ll_reply_err(req, r);
	else if (!size)
		(void) fuse_reply_xattr(req, b->len);
	else if (b->len > size)
		ll_reply_err(req, -ERANGE);
	else
		(void) fuse_reply_buf(req, (const char *)b->data, b->len);
}

void ll_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
	size_t size)
{
	struct buf b = BUF_INIT(XATTR_MAX);
	struct fs_node *n;

	/* Who learns that there are none at all (security labels, ACLs) does
	 * not ask for those of the next file: `ls -l` asks for two. */
	if (strncmp(name, USER, strlen(USER))) {
		ll_reply_err(req, -EOPNOTSUPP);
		return;
	}
	n = ll_node(req, ino);
	if (!n)
		return;
	if (!strcmp(name, LL_REFRESH)) {
		ll_op_refresh(req, n, size);
		return;
	}
	reply_xattr(req, fs_xattr_get(ll_of(req)->fs, n, name, &b), &b, size);
	buf_done(&b);
	fs_node_unref(n);
}

void ll_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct fs_node *n = ll_node(req, ino);
	struct buf b = BUF_INIT(XATTR_MAX);

	if (!n)
		return;
	reply_xattr(req, fs_xattr_list(ll_of(req)->fs, n, &b), &b, size);
	buf_done(&b);
	fs_node_unref(n);
}
