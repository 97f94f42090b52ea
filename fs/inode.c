/*
 * A file has three names here, and each can do what the others cannot:
 *
 *   path    what the user types. It may come to mean other bytes (a branch
 *           moves), and making it from a node means walking to the root.
 *   node    a pointer: everything we know. It dies with its last user and
 *           means nothing to the kernel.
 *   number  what stat shows and what the kernel sends with every request. The
 *           kernel holds it as long as it likes and says so by counting: each
 *           answer to a look-up adds one, FORGET takes some away.
 *
 * From path to number: the number is a hash of the path from the root, where
 * the commit stands behind the repository's name. So it needs no table on
 * disk, is the same after the daemon was restarted (a backup does not believe
 * that every file is new), and differs between two revisions of one path, as
 * it must: the kernel caches bytes by number.
 *
 * From number to node: this table. Two live paths may have one hash; the later
 * then takes the next free number. That number is not stable, but the case is
 * one in 2^31 for a tree of 2^16 live files, and nothing else breaks.
 *
 * From node to path: by its parents, which it keeps.
 *
 * Number 1 is the root's in FUSE's protocol; small numbers are never given.
 */
#include "config.h"

#include "fs/inode.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/map.h"
#include "fs/fs.h"
#include "fs/node.h"
#include "fs/plan.h"
#include "fs/resolve.h"

#define FIRST_ROOM 256
#define FIRST_INO 16

void fs_inodes_init(struct fs_inodes *t)
{
	memset(t, 0, sizeof(*t));
	pthread_mutex_init(&t->lock, NULL);
}

void fs_inodes_done(struct fs_inodes *t)
{
	free(t->slots);
	pthread_mutex_destroy(&t->lock);
}

size_t fs_inodes_count(struct fs_inodes *t)
{
	size_t n;

	pthread_mutex_lock(&t->lock);
	n = t->n;
	pthread_mutex_unlock(&t->lock);
	return n;
}

/* ---- the table, under the lock --------------------------------------------- */

static struct fs_node **slot_of(struct fs_inodes *t, uint64_t ino)
{
	return &t->slots[ino & (t->room - 1)];
}

static struct fs_node *find(struct fs_inodes *t, uint64_t ino)
{
	struct fs_node *n = t->room ? *slot_of(t, ino) : NULL;

	while (n && n->ino != ino)
		n = n->chain;
	return n;
}

static int make_room(struct fs_inodes *t)
{
	struct fs_inodes bigger = { .room = t->room ? 2 * t->room : FIRST_ROOM };

	if (t->n < t->room)
		return 0;
	bigger.slots = calloc(bigger.room, sizeof(struct fs_node *));
	if (!bigger.slots)
		return t->room ? 0 : -1; /* long chains are only slow */
	for (size_t i = 0; i < t->room; i++) {
		while (t->slots[i]) {
			struct fs_node *n = t->slots[i];

			t->slots[i] = n->chain;
			n->chain = *slot_of(&bigger, n->ino);
			*slot_of(&bigger, n->ino) = n;
		}
	}
	free(t->slots);
	t->slots = bigger.slots;
	t->room = bigger.room;
	return 0;
}

static void take_out(struct fs_inodes *t, struct fs_node *n)
{
	struct fs_node **at = slot_of(t, n->ino);

	while (*at != n)
		at = &(*at)->chain;
	*at = n->chain;
	t->n--;
}

/* ---- counts ---------------------------------------------------------------- */

static void node_free(struct fs_node *n)
{
	fs_snap_unref(n->snap);
	fs_plan_unref(n->plan);
	free(n);
}

/* Give back `refs` references; parents whose last child went go too. */
static void put(struct fs_inodes *t, struct fs_node *n, unsigned refs)
{
	while (n) {
		struct fs_node *parent = n->parent;
		bool last;

		pthread_mutex_lock(&t->lock);
		n->refs -= refs;
		last = n->refs == 0;
		if (last)
			take_out(t, n);
		pthread_mutex_unlock(&t->lock);
		if (!last)
			return;
		node_free(n);
		n = parent;
		refs = 1;
	}
}

struct fs_node *fs_node_ref(struct fs_node *n)
{
	pthread_mutex_lock(&n->table->lock);
	n->refs++;
	pthread_mutex_unlock(&n->table->lock);
	return n;
}

void fs_node_unref(struct fs_node *n)
{
	if (n)
		put(n->table, n, 1);
}

struct fs_node *fs_inode_find(struct fs_inodes *t, uint64_t ino)
{
	struct fs_node *n;

	pthread_mutex_lock(&t->lock);
	n = find(t, ino);
	if (n)
		n->refs++;
	pthread_mutex_unlock(&t->lock);
	return n;
}

void fs_inode_looked_up(struct fs_node *n)
{
	pthread_mutex_lock(&n->table->lock);
	if (n->lookups++ == 0)
		n->refs++;
	pthread_mutex_unlock(&n->table->lock);
}

void fs_inode_forget(struct fs_inodes *t, uint64_t ino, uint64_t times)
{
	struct fs_node *n;
	bool gone = false;

	pthread_mutex_lock(&t->lock);
	n = find(t, ino);
	if (n && n->lookups) {
		n->lookups -= times < n->lookups ? times : n->lookups;
		gone = n->lookups == 0;
	}
	pthread_mutex_unlock(&t->lock);
	if (gone)
		put(t, n, 1);
}

/* A node the kernel still knows; a reference is taken for the caller. */
static struct fs_node *any_looked_up(struct fs_inodes *t)
{
	struct fs_node *n = NULL;

	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < t->room && !n; i++)
		for (n = t->slots[i]; n && !n->lookups;)
			n = n->chain;
	if (n)
		n->lookups = 0; /* its reference is now the caller's */
	pthread_mutex_unlock(&t->lock);
	return n;
}

void fs_inodes_forget_all(struct fs_inodes *t)
{
	struct fs_node *n;

	while ((n = any_looked_up(t)))
		put(t, n, 1);
}

/* The numbers of those that are wanted, or NULL; the caller frees. */
static size_t numbers(struct fs_inodes *t,
	bool (*wanted)(struct fs_node *n, const void *arg),
	const void *arg, uint64_t **ret)
{
	size_t n = 0;

	pthread_mutex_lock(&t->lock);
	*ret = t->n ? calloc(t->n, sizeof(**ret)) : NULL;
	for (size_t i = 0; i < t->room && *ret; i++)
		for (struct fs_node *f = t->slots[i]; f; f = f->chain)
			if (wanted(f, arg))
				(*ret)[n++] = f->ino;
	pthread_mutex_unlock(&t->lock);
	return n;
}

static bool is_paged(struct fs_node *n, const void *arg)
{
	(void) arg;
	return atomic_load(&n->shell.paged);
}

size_t fs_inodes_paged(struct fs_inodes *t, uint64_t **ret)
{
	return numbers(t, is_paged, NULL, ret);
}

static bool is_measured(struct fs_node *n, const void *repo)
{
	return n->kind == FS_FILE && n->lookups &&
		n->entry->size == LISTING_SIZE_UNKNOWN &&
		fs_node_repo(n) == repo;
}

size_t fs_inodes_measured(struct fs_inodes *t, const struct fs_node *repo,
	uint64_t **ret)
{
	return numbers(t, is_measured, repo, ret);
}

/* What is in an archive is a snapshot of its own, of the same revision. */
static bool is_of(struct fs_node *n, const void *snap)
{
	const struct fs_snap *s = snap;

	return (n->kind == FS_FILE || n->kind == FS_STAGED) && n->lookups &&
		n->snap->hub == s->hub && !strcmp(n->snap->repo, s->repo) &&
		!strcmp(n->snap->revision, s->revision);
}

size_t fs_inodes_of(struct fs_inodes *t, const struct fs_snap *s,
	uint64_t **ret)
{
	return numbers(t, is_of, s, ret);
}

/* ---- making nodes ----------------------------------------------------------- */

static uint64_t key_of(const struct fs_node *parent, enum fs_kind kind,
	const char *name, const struct fs_snap *snap)
{
	struct {
		uint64_t parent, revision, dir;
		char name[256];
	} in = { 0 };
	size_t len = strnlen(name, sizeof in.name - 1);

	/* Below the first level inside a repository the parent's key already
	 * holds the revision. */
	in.parent = parent ? parent->key : 0;
	if (snap && fs_node_is_repo(parent))
		in.revision = map_hash(snap->revision, strlen(snap->revision));
	in.dir = kind;
	memcpy(in.name, name, len);
	return map_hash(&in, offsetof(__typeof__(in), name) + len);
}

static uint64_t first_number(uint64_t key)
{
	uint64_t ino = key & INT64_MAX;

	return ino < FIRST_INO ? ino + FIRST_INO : ino;
}

uint64_t fs_node_number(const struct fs_node *parent, enum fs_kind kind,
	const char *name, const struct fs_snap *snap)
{
	return first_number(key_of(parent, kind, name, snap));
}

static bool same(const struct fs_node *n, const struct fs_node *parent,
	const struct fs_node_spec *s)
{
	return n->parent == parent && n->kind == s->kind &&
		n->snap == s->snap && n->entry == s->entry &&
		!strcmp(n->name, s->name);
}

static const char *keep(char **at, const char *s)
{
	char *here = *at;
	size_t len;

	if (!s)
		return NULL;
	len = strlen(s) + 1;
	memcpy(here, s, len);
	*at += len;
	return here;
}

static size_t text_len(const char *s)
{
	return s ? strlen(s) + 1 : 0;
}

/* Without number, references to it or place in the table. */
static struct fs_node *build(struct fs_inodes *t, struct fs_node *parent,
	const struct fs_node_spec *s)
{
	struct fs_node *n = calloc(1, sizeof(*n) + text_len(s->name) +
		text_len(s->repo) + text_len(s->rev) + text_len(s->inner));
	char *at;

	if (!n)
		return NULL;
	at = n->text;
	n->table = t;
	n->parent = parent;
	n->kind = s->kind;
	n->hub = s->hub;
	n->snap = s->snap;
	n->entry = s->entry;
	n->ctl = s->ctl;
	n->plan = s->plan;
	n->name = keep(&at, s->name);
	n->repo = keep(&at, s->repo);
	n->rev = keep(&at, s->rev);
	n->inner = keep(&at, s->inner);
	n->key = key_of(parent, s->kind, s->name, s->still ? NULL : s->snap);
	n->refs = 1;
	return n;
}

/* Under the lock: the node that is there already, or `n` put in. */
static struct fs_node *find_or_add(struct fs_inodes *t, struct fs_node *n,
	const struct fs_node_spec *s)
{
	uint64_t ino = n->parent ? first_number(n->key) : FS_INO_ROOT;
	struct fs_node *there;

	for (; (there = find(t, ino)); ino++) {
		if (same(there, n->parent, s)) {
			there->refs++;
			return there;
		}
	}
	if (make_room(t))
		return NULL;
	n->ino = ino;
	n->chain = *slot_of(t, ino);
	*slot_of(t, ino) = n;
	t->n++;
	if (n->parent)
		n->parent->refs++;
	return n;
}

struct fs_node *fs_node_get(struct fs_inodes *t, struct fs_node *parent,
	const struct fs_node_spec *spec)
{
	struct fs_node *n = build(t, parent, spec), *got = NULL;

	if (n) {
		pthread_mutex_lock(&t->lock);
		got = find_or_add(t, n, spec);
		pthread_mutex_unlock(&t->lock);
	}
	if (got != n || !n) {
		fs_snap_unref(spec->snap);
		fs_plan_unref(spec->plan);
		free(n);
	}
	return got;
}
