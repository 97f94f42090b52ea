/*
 * The FUSE shell: from here on the kernel's verbs. An operation finds its node
 * by number, asks fs, and answers when fs calls back, on whatever thread that
 * is; the worker that took the request goes back for the next one at once.
 *
 * A request that may wait is an op. Two may want to answer it: fs, and the
 * kernel's INTERRUPT. The first to claim it answers; what comes later is
 * dropped. Nothing below is cancelled: the bytes stay in the cache.
 */
#ifndef FS_LL_H
#define FS_LL_H

#define FUSE_USE_VERSION 312

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/fs.h"
#include "fs/node.h"

#define LL_FOREVER 3600.0	/* seconds: what belongs to a revision */
#define LL_MOVING 60.0		/* names that may come to mean other things */
#define LL_NEGATIVE 3.0		/* names that are not there */
#define LL_MISSING 256		/* of them remembered, for a refresh */
#define LL_BLOCK (128 * 1024)	/* bytes; what cp reads at once */

struct fs_inodes;
struct fs_handover;
struct ll_resume;

struct ll {
	struct fs *fs;
	struct fs_inodes *inodes;	/* of fs */
	struct fuse_session *se;
	int device;			/* /dev/fuse, our own descriptor */
	bool taken_over;		/* the mount is older than this program */
	uid_t uid;
	gid_t gid;
	atomic_uint ops;		/* requests not answered yet */
	atomic_uint dirs;		/* open ones */
	pthread_mutex_t asked_lock;
	struct ll_lookup *asked;	/* asked_lock; not answered yet */

	/* From the INIT exchange (ll-init.c); constant afterwards. */
	_Atomic uint64_t init_unique;	/* 0: not seen */
	atomic_bool init_done;
	bool init_known;		/* by the kernel: our answer is dropped */
	uint64_t kernel_flags;
	uint32_t kernel_minor;		/* of its protocol */
	bool no_passthrough;		/* constant; not wanted */

	atomic_bool passthrough;	/* the kernel would, and we may */
	pthread_mutex_t open_lock;	/* ll open state: outermost of fs */

	/* The thread that tells the kernel to drop pages (ll-notify.c). */
	pthread_t notifier;
	pthread_mutex_t notify_lock;
	pthread_cond_t notify_cond;
	bool notify;			/* notify_lock */
	struct ll_refresh *refresh;	/* notify_lock */
	/* Names the kernel was told of late that they are not there, round. */
	struct ll_missing {
		fuse_ino_t dir;
		char *name;		/* NULL: free */
	} missing[LL_MISSING];		/* notify_lock */
	unsigned next_missing;		/* notify_lock */
	bool stopping;			/* notify_lock */

	/* What the next server needs to go on (ll-resume.c). */
	struct fs_handover *handover;
	uint16_t generation;		/* of this server; marks its handles */
	atomic_uint handed;		/* handles, to the kernel */
	struct ll_resume *resume;	/* NULL: the first server of a mount */
};

extern const struct fuse_lowlevel_ops fs_ll_ops;

/* ---- ll.c ----------------------------------------------------------------- */

static inline struct ll *ll_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* The node of a number, a reference; NULL: the request is answered. */
struct fs_node *ll_node(fuse_req_t req, fuse_ino_t ino);
/* err: negative errno or 0. */
void ll_reply_err(fuse_req_t req, int err);

struct ll_op {
	struct ll *ll;
	fuse_req_t req;
	struct fs_node *node;	/* a reference, or NULL */
	atomic_int state;	/* enum ll_op_state of ll.c */
};

/* An op for `req`, first member of a struct of `size` bytes, with room for
 * `more` behind it that are not zeroed; node's reference is taken over in every
 * case. NULL: the request is answered (no memory, or it was interrupted
 * before). */
struct ll_op *ll_op_new(fuse_req_t req, struct fs_node *node, size_t size,
	size_t more);
/* True: the caller must answer now, and only it. False: it was interrupted,
 * drop the result. Either way ll_op_put() comes last. */
bool ll_op_claim(struct ll_op *op);
void ll_op_put(struct ll_op *op);

void ll_fill_stat(const struct ll *ll, const struct fs_attr *a,
	struct stat *ret);
double ll_attr_timeout(const struct fs_attr *a);
double ll_entry_timeout(const struct fs_attr *a);
void ll_fill_entry(const struct ll *ll, const struct fs_attr *a,
	struct fuse_entry_param *ret);

/* ---- ll-resume.c ------------------------------------------------------------ */

/* The kernel is told of n: instead of fs_inode_looked_up(). */
void ll_known(struct ll *ll, struct fs_node *n);
void ll_forget(struct ll *ll, fuse_ino_t ino, uint64_t times);

/* Names the kernel knows in a directory, each with its NUL. Appends. */
void ll_known_names(struct ll *ll, const struct fs_node *dir, struct buf *ret);

/* A handle as the kernel holds it, and back: NULL, it is of a server before us
 * and was never made again here. */
uint64_t ll_handle_out(struct ll *ll, void *p);
void *ll_handle_in(struct ll *ll, uint64_t fh);
/* The same for RELEASE: the kernel will not ask with it again. */
void *ll_handle_last(struct ll *ll, uint64_t fh);

/* Before the first request, in a server that follows another one. */
int ll_resume_start(struct ll *ll);
void ll_resume_stop(struct ll *ll);
/* A request as it came. True: it is about what a server before us told the
 * kernel, and comes again through libfuse when that is made again here. */
bool ll_resume_take(struct ll *ll, const void *buf, size_t len);

/* ---- ll-dir.c --------------------------------------------------------------- */

void ll_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void ll_op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n);
void ll_op_forget_multi(fuse_req_t req, size_t count,
	struct fuse_forget_data *v);
void ll_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ll_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi);
void ll_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi);
void ll_op_releasedir(fuse_req_t req, fuse_ino_t ino,
	struct fuse_file_info *fi);

/* ---- ll-file.c -------------------------------------------------------------- */

void ll_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ll_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi);
void ll_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
/* A file that was opened by a server before us, made again; f is what its
 * handle stands for. */
struct ll_file;
typedef void ll_file_cb(void *arg, struct ll_file *f);
void ll_file_again(struct ll *ll, struct fs_node *n, ll_file_cb *cb, void *arg);
void ll_file_drop(struct ll_file *f);	/* nobody needs it */
/* Every open from now on of a file the kernel may hold pages of drops them. */
void ll_files_drop(struct ll *ll);
/* That file of ino's repository is about to be another one. */
void ll_file_another(struct ll *ll, fuse_ino_t ino, const char *path);

/* ---- ll-attr.c -------------------------------------------------------------- */

void ll_op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ll_op_statfs(fuse_req_t req, fuse_ino_t ino);
void ll_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
	size_t size);
void ll_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);

/* ---- ll-init.c -------------------------------------------------------------- */

void ll_op_init(void *userdata, struct fuse_conn_info *conn);
/* After fuse_session_mount(): put ourselves between libfuse and the device. */
int ll_custom_io(struct ll *ll);
/* What the kernel said to the first server of this mount is told to libfuse
 * again; then the kernel repeats what nobody has answered. */
int ll_init_again(struct ll *ll);
/* The kernel's number for `fd`, > 0; or negative errno. */
int ll_backing_open(struct ll *ll, int fd);
void ll_backing_close(struct ll *ll, int id);

/* ---- ll-notify.c ------------------------------------------------------------ */

/* The attribute that is no attribute: whoever reads it has the hub asked again
 * at the next look-up, the kernel's names below included. n is taken over. */
#define LL_REFRESH "user.omnihub.refresh"
void ll_op_refresh(fuse_req_t req, struct fs_node *n, size_t size);
/* The kernel is told that dir has no such name. */
void ll_note_missing(struct ll *ll, fuse_ino_t dir, const char *name);
int ll_notify_start(struct ll *ll);
void ll_notify_stop(struct ll *ll);

#endif
