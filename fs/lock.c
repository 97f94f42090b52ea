#include "config.h"

#include "fs/lock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "fs/name.h"

/* ---- life -------------------------------------------------------------------- */

static void name_done(struct fs_lock_name *n)
{
	free(n->hub);
	free(n->repo);
	free(n->rev);
	*n = (struct fs_lock_name){ NULL, NULL, NULL };
}

static int name_set(struct fs_lock_name *n, const char *hub, const char *repo,
	const char *rev)
{
	*n = (struct fs_lock_name){ strdup(hub), strdup(repo), strdup(rev) };
	if (n->hub && n->repo && n->rev)
		return 0;
	name_done(n);
	return -ENOMEM;
}

static void model_free(struct fs_lock_model *m)
{
	name_done(&m->is);
	for (size_t i = 0; i < m->n_names; i++)
		name_done(&m->names[i]);
	for (size_t i = 0; i < m->n_staged; i++)
		free(m->staged[i].path);
	free(m->names);
	free(m->staged);
	listing_done(&m->files);
	listing_done(&m->found);
	free(m);
}

struct fs_lock *fs_lock_new(const char *file)
{
	struct fs_lock *l = calloc(1, sizeof(*l));

	if (l && file && !(l->file = strdup(file))) {
		free(l);
		return NULL;
	}
	return l;
}

void fs_lock_free(struct fs_lock *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n; i++)
		model_free(l->models[i]);
	free(l->models);
	map_done(&l->by_name);
	free(l->file);
	free(l);
}

/* ---- building ------------------------------------------------------------------ */

/* An array grows by half when its length reaches a power of two. */
static void *grown(void *v, size_t n, size_t size)
{
	if (n & (n - 1))
		return v;
	return reallocarray(v, n ? 2 * n : 1, size);
}

/* The revision itself is a name of what it is, of lower rank than `name`. */
static struct fs_lock_model *find_revision(const struct fs_lock *l,
	const char *hub, const char *repo, const char *revision)
{
	cleanup_free char *key = NULL;

	if (asprintf(&key, "=%s/%s@%s", hub, repo, revision) < 0)
		key = NULL;
	return key ? map_get(&l->by_name, key) : NULL;
}

int fs_lock_model_add(struct fs_lock *l, const char *hub, const char *repo,
	const char *revision, struct fs_lock_model **ret)
{
	cleanup_free char *key = NULL;
	struct fs_lock_model *m, **v;

	if (l->n == FS_LOCK_MODELS_MAX)
		return -EFBIG;
	if (find_revision(l, hub, repo, revision))
		return -EEXIST;
	v = grown(l->models, l->n, sizeof(*v));
	if (!v || asprintf(&key, "=%s/%s@%s", hub, repo, revision) < 0) {
		key = NULL;
		l->models = v ? v : l->models;
		return -ENOMEM;
	}
	l->models = v;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->lock = l;
	if (name_set(&m->is, hub, repo, revision) ||
		map_put(&l->by_name, key, m, NULL)) {
		name_done(&m->is);
		free(m);
		return -ENOMEM;
	}
	l->models[l->n++] = m;
	*ret = m;
	return 0;
}

struct fs_lock_model *fs_lock_model_get(struct fs_lock *l, const char *hub,
	const char *repo, const char *revision)
{
	return find_revision(l, hub, repo, revision);
}

int fs_lock_name_add(struct fs_lock *l, struct fs_lock_model *m,
	const char *hub, const char *repo, const char *rev)
{
	cleanup_free char *key = fs_name_key(hub, repo, rev);
	struct fs_lock_name *v;
	struct fs_lock_model *old;
	int r;

	if (!key)
		return -ENOMEM;
	old = map_get(&l->by_name, key);
	if (old)
		return old == m ? 0 : -EEXIST;
	if (m->n_names == FS_LOCK_NAMES_MAX)
		return -EFBIG;
	v = grown(m->names, m->n_names, sizeof(*v));
	if (!v)
		return -ENOMEM;
	m->names = v;
	r = name_set(&v[m->n_names], hub, repo, rev);
	if (!r && map_put(&l->by_name, key, m, NULL)) {
		name_done(&v[m->n_names]);
		r = -ENOMEM;
	}
	m->n_names += !r;
	return r;
}

int fs_lock_staged_add(struct fs_lock_model *m, const char *path,
	const char *key)
{
	struct fs_lock_staged *v = grown(m->staged, m->n_staged, sizeof(*v));
	char *copy = strdup(path);

	if (v)
		m->staged = v;
	if (!v || !copy) {
		free(copy);
		return -ENOMEM;
	}
	v[m->n_staged].path = copy;
	memcpy(v[m->n_staged].key, key, sizeof(v->key));
	m->n_staged++;
	return 0;
}

/* ---- asking ---------------------------------------------------------------------- */

const struct fs_lock_model *fs_lock_find(const struct fs_lock *l,
	const char *hub, const char *repo, const char *rev)
{
	cleanup_free char *key = NULL;
	const struct fs_lock_model *m;

	if (!l)
		return NULL;
	key = fs_name_key(hub, repo, rev);
	m = key ? map_get(&l->by_name, key) : NULL;
	return m ? m : find_revision(l, hub, repo, rev);
}

int fs_lock_word(const struct fs_lock *l, const char *hub, const char *word)
{
	size_t len = strlen(word);
	int got = 0;

	for (size_t i = 0; l && i < l->n; i++) {
		const struct fs_lock_model *m = l->models[i];

		for (size_t k = 0; k < m->n_names; k++) {
			const struct fs_lock_name *n = &m->names[k];

			if (strcmp(n->hub, hub) || strncmp(n->repo, word, len))
				continue;
			if (!n->repo[len] && !*n->rev)
				return 2;
			if (n->repo[len] == '/')
				got = 1;
		}
	}
	return got;
}

int fs_lock_owner(const struct fs_lock *l, const char *hub,
	const char *owner, struct listing *ret)
{
	static const struct objid none = { .alg = OBJID_NONE };
	size_t len = strlen(owner);
	int r = 0;

	for (size_t i = 0; i < l->n && !r; i++) {
		const struct fs_lock_model *m = l->models[i];

		for (size_t k = 0; k < m->n_names && !r; k++) {
			const struct fs_lock_name *n = &m->names[k];

			if (!strcmp(n->hub, hub) && !*n->rev &&
				!strncmp(n->repo, owner, len) &&
				n->repo[len] == '/')
				r = listing_add(ret, n->repo, LISTING_DIR, 0,
					&none);
		}
	}
	listing_sort(ret);
	return r;
}

struct objid fs_lock_id(const struct fs_lock_model *m,
	const struct listing_entry *e)
{
	const struct listing_entry *k = NULL;

	if (m)
		k = listing_find(&m->found, e->path);
	if (m && !k)
		k = listing_find(&m->files, e->path);
	return k && k->id.alg != OBJID_NONE ? k->id : e->id;
}

static int differs(const struct fs_lock_model *m, struct error *why,
	const char *path, const char *what)
{
	return error_set(why, -EIO, "%s: line %u: %s/%s: %.200s: %s",
		m->lock->file ? m->lock->file : "lock file", m->line,
		m->is.hub, m->is.repo, path, what);
}

static int compare_file(const struct fs_lock_model *m,
	const struct listing_entry *locked, const struct listing_entry *now,
	struct error *why)
{
	char hex[OBJID_HEX_MAX], text[256];

	if (!now || now->kind != LISTING_FILE)
		return differs(m, why, locked->path,
			"is in the lock file and not at the hub");
	if (locked->size != LISTING_SIZE_UNKNOWN &&
		now->size != LISTING_SIZE_UNKNOWN &&
		locked->size != now->size) {
		(void) snprintf(text, sizeof(text), "has %" PRIu64
			" bytes at the hub and %" PRIu64 " in the lock file",
			now->size, locked->size);
		return differs(m, why, locked->path, text);
	}
	if (locked->id.alg == now->id.alg && now->id.alg != OBJID_NONE &&
		!objid_match(&locked->id, &now->id)) {
		objid_hex(&now->id, hex);
		(void) snprintf(text, sizeof(text), "has the digest %s at the"
			" hub and another one in the lock file", hex);
		return differs(m, why, locked->path, text);
	}
	return 0;
}

int fs_lock_compare(const struct fs_lock_model *m, const struct listing *l,
	struct error *why)
{
	int r = 0;

	for (size_t i = 0; i < m->files.n && !r; i++)
		r = compare_file(m, &m->files.v[i],
			listing_find(l, m->files.v[i].path), why);
	for (size_t i = 0; i < l->n && !r; i++)
		if (l->v[i].kind == LISTING_FILE &&
			!listing_find(&m->files, l->v[i].path))
			r = differs(m, why, l->v[i].path,
				"is at the hub and not in the lock file");
	return r;
}

int fs_lock_staged_check(const struct fs_lock_model *m, const char *path,
	const char *key, struct error *why)
{
	for (size_t i = 0; i < m->n_staged; i++) {
		const struct fs_lock_staged *s = &m->staged[i];

		if (strcmp(s->path, path))
			continue;
		if (!strcmp(s->key, key))
			return 0;
		return differs(m, why, path, "would be made in another way "
			"than when it was locked (other version, blueprint or "
			"stage.* key)");
	}
	return 0;	/* its sources are fixed all the same */
}
