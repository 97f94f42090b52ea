/*
 * A name in the tree. Nodes are made when somebody asks for them and vanish
 * with their last user; a child keeps its parent, nothing keeps the children.
 *
 *   FS_ROOT ── FS_CTL_DIR ── FS_CTL                  /.omnihub/status
 *      ├────── FS_PLACE ── …                          /pytorch: of hubs
 *      ├────── FS_HUB ── FS_OWNER ── FS_REPO          /huggingface/ORG/REPO
 *      │          └───────────────── FS_REPO          /huggingface/NAME
 *      ├──────────────── FS_OWNER ── FS_REPO          /pytorch/timm/MODEL
 *      ├──────────────────────────── FS_REPO          /onnx, all of the hub
 *      └────── FS_HUB ── FS_GROUP … ── FS_SERIES … ── FS_REPO
 *                                          │        /kaggle/OWNER/…/VERSION
 *                                          ├─ FS_FILE   VERSION.tar.gz
 *                                          └─ what FS_REPO has, of the newest
 *
 *   FS_REPO or FS_SERIES ── FS_DIR …
 *                        ├─ FS_ARCHIVE ── FS_DIR …   what is in an archive
 *                        ├─ FS_FILE     of the repository
 *                        └─ FS_STAGED   made by a stager
 *
 * FS_REPO is a name that may move (a branch): it holds no revision. What is
 * below it belongs to one snapshot and never changes; when the branch moves,
 * FS_REPO's children are found in another snapshot and are other nodes.
 * FS_SERIES moves to the newest version in the same way.
 *
 * Locks of this room, outermost first. A thread that holds one takes only
 * those further down, calls no other room but base, and calls nobody back:
 *
 *   ll open state (ll-file.c)   which way an inode is open in the kernel
 *   plans (plan.c)              who plans what, open staged sources
 *   resolver (resolve.c)        names, snapshots, owners and who waits for them
 *   archives (archive.c)        who unpacks what
 *   handle (handle.c)           read-ahead of one open file
 *   inodes (inode.c)            number ↔ node, counts
 *   errors (errors.c), notes (ctl.c)
 */
#ifndef FS_NODE_H
#define FS_NODE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fs_inodes;
struct fs_snap;
struct fs_hub;
struct fs_plan;
struct fs_ctl;
struct listing_entry;

enum fs_kind {
	FS_ROOT, FS_CTL_DIR, FS_CTL, FS_PLACE, FS_HUB, FS_OWNER, FS_GROUP,
	FS_SERIES, FS_REPO, FS_DIR, FS_ARCHIVE, FS_FILE, FS_STAGED,
};

/* What the FUSE shell keeps with a file; fs itself never looks at it. */
struct fs_node_shell {
	unsigned opens;		/* ll open state lock */
	int backing;		/* ll open state lock; passthrough id or 0 */
	bool drop;		/* ll open state lock; next open drops pages */
	uint64_t epochs;	/* ll open state lock; fs_epochs() when
				 * pages were last dropped or there were none */
	bool seated;		/* ll open state lock; what a server before us
				 * left of it was looked at */
	atomic_bool paged;	/* the kernel may hold pages of it */
	atomic_bool sure;	/* its bytes are known to be right */
};

struct fs_node {
	uint64_t ino;			/* constant */
	uint64_t key;			/* constant: what ino comes from */
	unsigned refs;			/* inodes.lock */
	uint64_t lookups;		/* inodes.lock; > 0 holds one ref */
	struct fs_node *chain;		/* inodes.lock */

	/* Constant from here on. */
	struct fs_inodes *table;
	struct fs_node *parent;		/* counted; NULL for the root */
	enum fs_kind kind;
	const struct fs_hub *hub;	/* from a hub.s place down */
	struct fs_snap *snap;		/* DIR, FILE, STAGED: counted; ARCHIVE:
					 * its own, listed or not */
	const struct listing_entry *entry; /* FILE: in snap's own listing */
	const struct fs_ctl *ctl;	/* CTL */
	struct fs_plan *plan;		/* STAGED: counted */
	const char *repo;		/* as asked of the hub; REPO, SERIES;
					 * OWNER, GROUP: whom to list */
	const char *rev;		/* REPO, SERIES: as asked of the hub */
	const char *inner;		/* DIR, FILE, STAGED: path in snap */
	const char *name;		/* last component */

	atomic_bool touched;		/* REPO, SERIES: written to the index;
					 * OWNER, GROUP: known to exist */
	struct fs_node_shell shell;
	char text[];			/* name, repo, rev, inner */
};

/* What a node is made from; strings are copied, references taken over by the
 * new node, or given back when there was one already. */
struct fs_node_spec {
	enum fs_kind kind;
	const char *name;
	const struct fs_hub *hub;
	struct fs_snap *snap;		/* a reference */
	const struct listing_entry *entry;
	const struct fs_ctl *ctl;
	struct fs_plan *plan;		/* a reference */
	const char *repo, *rev, *inner;	/* NULL where the kind has none */
	bool still;			/* FILE: the name alone says of which
					 * snapshot it is */
};

/* The child of `parent` that spec describes: the one in the table, or a new
 * one. A reference; NULL: out of memory (the spec's references are gone). */
struct fs_node *fs_node_get(struct fs_inodes *t, struct fs_node *parent,
	const struct fs_node_spec *spec);

/* The number that child would have, without making it (collisions aside). */
uint64_t fs_node_number(const struct fs_node *parent, enum fs_kind kind,
	const char *name, const struct fs_snap *snap);

static inline bool fs_node_is_dir(const struct fs_node *n)
{
	return n->kind != FS_FILE && n->kind != FS_STAGED && n->kind != FS_CTL;
}

/* Does it stand in the mount whatever a hub says? */
static inline bool fs_node_is_place(const struct fs_node *n)
{
	return !n->parent || n->parent->kind == FS_ROOT ||
		n->parent->kind == FS_PLACE;
}

/* Are its children those of one snapshot at a time? */
static inline bool fs_node_is_repo(const struct fs_node *n)
{
	return n->kind == FS_REPO || n->kind == FS_SERIES;
}

/* Path in the mount, "" for the root. The caller frees; NULL: no memory. */
char *fs_node_path(const struct fs_node *n);

/* The FS_REPO or FS_SERIES above or at n, borrowed; NULL: none. */
struct fs_node *fs_node_repo(struct fs_node *n);

#endif
