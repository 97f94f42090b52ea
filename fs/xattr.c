/*
 * Extended attributes: what a file is, where it comes from and how much of it
 * is here. They look at memory, index and disk, never at the network.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fs/lock.h"
#include "fs/measure.h"
#include "fs/tree.h"

#define PREFIX "user.omnihub."

/* What is on this disk of a file that may not be open. */
static int stat_file(struct fs *fs, struct fs_node *n, struct src_stat *ret)
{
	struct cache_name name = fs_stack_name(n->snap, n->entry);

	if (fs_archive_of(n->snap, n->entry))
		return fs_archive_stat(n->snap->archive, n->entry, ret);
	return cache_name_stat(fs->cache, &name, ret);
}

static int stat_staged(struct fs *fs, struct fs_node *n, struct src_stat *ret)
{
	struct fs_stack here = { fs->cache, true, true };
	struct stage_recipe *recipe = NULL;
	struct src *src = NULL;
	uint64_t size;
	int r = fs_plan_known(n->plan, &size);

	if (!r && n->plan->plugin) {
		struct cache_name made = fs_plan_made(n->plan, size);

		return cache_name_stat(fs->cache, &made, ret);
	}
	if (!r && fs_plan_whole(n->plan, &src))
		r = fs_plan_recipe(n->plan, &recipe);
	if (recipe)
		r = fs_stack_staged(&here, n->snap, recipe, &src, NULL);
	if (!r)
		src_stat(src, ret);
	src_unref(src);
	stage_recipe_unref(recipe);
	return r;
}

/* A file nothing is known of is remote. */
static void stat_node(struct fs *fs, struct fs_node *n, struct src_stat *ret)
{
	struct src_stat st = { .state = SRC_REMOTE };
	int r = -ENODATA;

	if (n->kind == FS_FILE)
		r = stat_file(fs, n, &st);
	else if (n->kind == FS_STAGED)
		r = stat_staged(fs, n, &st);
	if (r)
		st = (struct src_stat){ .state = SRC_REMOTE };
	*ret = st;
}

static int show_state(struct fs *fs, struct fs_node *n, struct buf *ret)
{
	static const char *const text[] = {
		[SRC_REMOTE] = "remote", [SRC_PARTIAL] = "partial",
		[SRC_CACHED] = "cached", [SRC_VERIFIED] = "verified",
	};
	struct src_stat st;

	if (fs_node_is_dir(n) || n->kind == FS_CTL)
		return -ENODATA;
	stat_node(fs, n, &st);
	return buf_append_str(ret, text[st.state]);
}

static int show_cached_bytes(struct fs *fs, struct fs_node *n,
	struct buf *ret)
{
	struct src_stat st;

	if (fs_node_is_dir(n) || n->kind == FS_CTL)
		return -ENODATA;
	stat_node(fs, n, &st);
	return buf_printf(ret, "%" PRIu64, st.cached_bytes);
}

/* Of what the cache has never room for. */
static int show_kept(struct fs *fs, struct fs_node *n, struct buf *ret)
{
	struct src_stat st;

	if (fs_node_is_dir(n) || n->kind == FS_CTL)
		return -ENODATA;
	stat_node(fs, n, &st);
	if (!st.passes)
		return -ENODATA;
	return buf_append_str(ret, st.passed_right ?
		"no: larger than the cache may be; read whole, it was right" :
		"no: larger than the cache may be");
}

static int show_hub(struct fs *fs, struct fs_node *n, struct buf *ret)
{
	(void) fs;
	return n->hub ? buf_append_str(ret, n->hub->name) : -ENODATA;
}

/* Of what is in a repository, and of one that was looked into. A reference. */
static struct fs_snap *snap_of(struct fs *fs, struct fs_node *n)
{
	if (n->snap)
		return fs_snap_ref(n->snap);
	if (fs_node_is_repo(n))
		return fs_resolve_known(&fs->resolver, n->hub, n->repo,
			n->rev);
	return NULL;
}

/* Its name at the hub, after aliases and renames. */
static int show_repo(struct fs *fs, struct fs_node *n, struct buf *ret)
{
	struct fs_snap *s = snap_of(fs, n);
	int r = s ? buf_append_str(ret, s->repo) : -ENODATA;

	fs_snap_unref(s);
	return r;
}

static int show_revision(struct fs *fs, struct fs_node *n, struct buf *ret)
{
	struct fs_snap *s = snap_of(fs, n);
	int r = s ? buf_append_str(ret, s->revision) : -ENODATA;

	fs_snap_unref(s);
	return r;
}

/* The words of a catalogue, such as the name of the weights. */
static int show_what(struct fs *fs, struct fs_node *n, struct buf *ret)
{
	struct fetch_known k;

	(void) fs;
	if (n->kind != FS_FILE || !fetch_known(n->hub->fetch, n->entry->path,
			&k) || !k.what)
		return -ENODATA;
	return buf_printf(ret, "%s%s", k.what, k.preferred ? " (default)" : "");
}

static int show_url(struct fs *fs, struct fs_node *n, struct buf *ret)
{
	char *url;
	int r;

	(void) fs;
	if (n->kind != FS_FILE)
		return -ENODATA;
	url = fetch_url(n->hub->fetch, n->snap->repo, n->snap->revision,
		fs_archive_of(n->snap, n->entry) ?
			fs_archive_path(n->snap->archive) : n->entry->path);
	r = url ? buf_append_str(ret, url) : -ENOMEM;
	free(url);
	return r;
}

static int show_sha256(struct fs *fs, struct fs_node *n, struct buf *ret)
{
	char hex[OBJID_HEX_MAX];
	struct src_stat st;
	const struct objid *id;
	uint64_t size;

	if (n->kind == FS_STAGED && n->plan->plugin &&
		!fs_plan_known(n->plan, &size)) {
		struct cache_name made = fs_plan_made(n->plan, size);

		objid_hex(&made.id, hex);
		return buf_append_str(ret, hex);
	}
	if (n->kind != FS_FILE && n->kind != FS_STAGED)
		return -ENODATA;
	stat_node(fs, n, &st);
	id = n->kind == FS_FILE ? &fs_measured(n->snap, n->entry)->id : &st.id;
	if (!objid_is_sha256(id))
		id = &st.id;
	if (!objid_is_sha256(id))
		return -ENODATA;
	objid_hex(id, hex);
	return buf_append_str(ret, hex);
}

static int show_inputs(const struct fs_node *n, struct buf *ret)
{
	const struct listing *l = &n->snap->own;
	int r = 0;
	bool any = false;

	for (size_t i = 0; i < l->n && !r; i++) {
		if (!fs_plugin_takes(n->plan->plugin, &l->v[i]))
			continue;
		r = buf_printf(ret, "%s%s", any ? "\n" : "", l->v[i].path);
		any = true;
	}
	return r;
}

/* Of what a plug-in makes: all of it at once, and by which. */
static int show_made_by(struct fs *fs, struct fs_node *n, struct buf *ret)
{
	const struct fs_plugin *p;

	(void) fs;
	if (n->kind != FS_STAGED || !n->plan->plugin)
		return -ENODATA;
	p = n->plan->plugin;
	return buf_printf(ret, "plug-in %s %s (sha256:%s), materialized",
		p->name, p->version, p->digest);
}

/* One source a line, also of what is made of it (FILE//…). */
static int list_sources(const struct stage_recipe *recipe, struct buf *ret)
{
	size_t len, last = 0;
	const char *before = "";
	int r = 0;

	for (unsigned i = 0; i < stage_recipe_sources(recipe) && !r; i++) {
		const char *path = stage_recipe_source_path(recipe, i);
		const char *mark = strstr(path, "//");

		len = mark ? (size_t)(mark - path) : strlen(path);
		if (len == last && !strncmp(before, path, len))
			continue;
		r = buf_printf(ret, "%s%.*s", i ? "\n" : "", (int)len, path);
		before = path;
		last = len;
	}
	return r;
}

/* Of a member, the archive. */
static int show_sources(struct fs *fs, struct fs_node *n, struct buf *ret)
{
	struct stage_recipe *recipe = NULL;
	uint64_t size;
	int r;

	(void) fs;
	if (n->kind == FS_FILE && fs_archive_of(n->snap, n->entry))
		return buf_append_str(ret, fs_archive_path(n->snap->archive));
	if (n->kind == FS_STAGED && n->plan->plugin)
		return show_inputs(n, ret);
	if (n->kind != FS_STAGED || fs_plan_known(n->plan, &size) ||
		fs_plan_recipe(n->plan, &recipe))
		return -ENODATA;
	r = list_sources(recipe, ret);
	stage_recipe_unref(recipe);
	return r;
}

/* Is the staged file an object of its own, or are sources of it? */
static int show_materialized(struct fs *fs, struct fs_node *n,
	struct buf *ret)
{
	struct stage_recipe *recipe = NULL;
	struct src *src = NULL;
	const char *answer = "no";
	uint64_t size;

	(void) fs;
	if (n->kind != FS_STAGED || fs_plan_known(n->plan, &size))
		return -ENODATA;
	if (!fs_plan_whole(n->plan, &src))
		answer = "yes";
	else if (!fs_plan_recipe(n->plan, &recipe) && fs_plan_parts(recipe))
		answer = "parts";
	src_unref(src);
	stage_recipe_unref(recipe);
	return buf_append_str(ret, answer);
}

static int show_error(struct fs *fs, struct fs_node *n, struct buf *ret)
{
	struct src_stat st = { 0 };
	char *path;
	int r = -ENODATA;

	if (n->kind == FS_STAGED)
		r = fs_plan_why(n->plan, ret);
	if (r == -ENODATA && n->kind == FS_FILE) {
		stat_node(fs, n, &st);
		if (st.last.code && n->snap->locked)
			r = buf_printf(ret, "%s: line %u: ",
				n->snap->locked->lock->file,
				n->snap->locked->line);
		else
			r = st.last.code ? 0 : -ENODATA;
		if (st.last.code && !r)
			r = buf_append_str(ret, st.last.text);
	}
	if (r == -ENODATA) {
		path = fs_node_path(n);
		if (path)
			r = fs_errors_find(&fs->errors, path, ret);
		free(path);
	}
	return r;
}

static const struct {
	const char *name;
	int (*show)(struct fs *fs, struct fs_node *n, struct buf *ret);
} table[] = {
	{ "state", show_state },
	{ "hub", show_hub },
	{ "repo", show_repo },
	{ "revision", show_revision },
	{ "url", show_url },
	{ "what", show_what },
	{ "sha256", show_sha256 },
	{ "cached_bytes", show_cached_bytes },
	{ "kept", show_kept },
	{ "sources", show_sources },
	{ "made_by", show_made_by },
	{ "materialized", show_materialized },
	{ "error", show_error },
};

#define TABLE_N (sizeof(table) / sizeof(table[0]))

int fs_xattr_get(struct fs *fs, struct fs_node *n, const char *name,
	struct buf *ret)
{
	if (strncmp(name, PREFIX, strlen(PREFIX)))
		return -ENODATA;
	name += strlen(PREFIX);
	for (size_t i = 0; i < TABLE_N; i++)
		if (!strcmp(table[i].name, name))
			return table[i].show(fs, n, ret);
	return -ENODATA;
}

int fs_xattr_list(struct fs *fs, struct fs_node *n, struct buf *ret)
{
	struct buf value = BUF_INIT(1 << 20);
	int r = 0;

	for (size_t i = 0; i < TABLE_N && !r; i++) {
		buf_clear(&value);
		if (table[i].show(fs, n, &value))
			continue;
		r = buf_append_str(ret, PREFIX);
		if (!r)
			r = buf_append(ret, table[i].name,
				strlen(table[i].name) + 1);
	}
	buf_done(&value);
	return r;
}
