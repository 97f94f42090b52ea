/* What plug-ins there are, and what they say of themselves. */
#include "config.h"

#include "fs/plugin.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/conf.h"
#include "base/io.h"
#include "base/json.h"
#include "base/path.h"
#include "base/proc.h"

#define MANIFEST "plugin.json"
#define MANIFEST_MAX (64u << 10)	/* bytes */
#define PROGRAM_MAX (64u << 20)
#define SECONDS 900
#define SECONDS_MAX 86400
#define MEMORY (16ull << 30)
#define BYTES (64ull << 30)

/* ---- manifests ----------------------------------------------------------------- */

static int bad(const struct fs_plugin *p, struct error *why, const char *what)
{
	return error_set(why, -EINVAL, "%s/" MANIFEST ": %s", p->dir, what);
}

static int take_words(const struct fs_plugin *p, const json_t *j,
	const char *key, char *ret[FS_PLUGIN_WORDS + 1], struct error *why)
{
	const json_t *list = json_object_get(j, key), *w;
	size_t i;

	if (!list)
		return 0;
	if (!json_is_array(list) || json_array_size(list) > FS_PLUGIN_WORDS)
		return error_set(why, -EINVAL, "%s/" MANIFEST ": \"%s\" is not "
			"a list of at most %d words", p->dir, key,
			FS_PLUGIN_WORDS);
	json_array_foreach(list, i, w) {
		const char *text = json_string_value(w);

		if (!text || !*text)
			return error_set(why, -EINVAL, "%s/" MANIFEST ": \"%s\""
				" has what is no word", p->dir, key);
		ret[i] = strdup(text);
		if (!ret[i])
			return -ENOMEM;
	}
	return 0;
}

static int take_number(const struct fs_plugin *p, const json_t *j,
	const char *key, uint64_t preset, uint64_t max, uint64_t *ret,
	struct error *why)
{
	const char *text = json_str(j, key);
	int r = text ? conf_parse_size(text, ret) : json_u64(j, key, ret);

	if (r == -ENOENT) {
		*ret = preset;
		return 0;
	}
	if (r || !*ret || *ret > max)
		return error_set(why, -EINVAL, "%s/" MANIFEST ": \"%s\" is not "
			"a number that can be", p->dir, key);
	return 0;
}

static int check_words(const struct fs_plugin *p, struct error *why)
{
	if (!p->needs[0] || !p->inputs[0] || !p->outputs[0])
		return bad(p, why, "needs, inputs and outputs must name "
			"something");
	for (char *const *w = p->outputs; *w; w++)
		if (!path_rel_ok(*w) || strchr(*w, '/'))
			return bad(p, why, "an output is a file name, without "
				"directory");
	for (char *const *w = p->reads; *w; w++)
		if (**w != '/')
			return bad(p, why, "what it reads are absolute paths");
	return 0;
}

/* What others can change is not the user's word. */
static int check_owner(const char *path, bool run, struct error *why)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return error_set(why, -EINVAL, "%s: %s", path,
			strerror(errno));
	if ((st.st_uid && st.st_uid != geteuid()) || (st.st_mode & 022))
		return error_set(why, -EINVAL, "%s: others can write it", path);
	if (run && (!S_ISREG(st.st_mode) || !(st.st_mode & 0111)))
		return error_set(why, -EINVAL, "%s: not a program", path);
	return 0;
}

static int take(struct fs_plugin *p, const json_t *j, struct error *why)
{
	const char *version = json_str(j, "version"), *run = json_str(j, "run");
	int r;

	if (!version || !run || strchr(run, '/') || !path_rel_ok(run))
		return bad(p, why, "\"version\" and \"run\", a file beside it, "
			"are needed");
	p->version = strdup(version);
	p->program = path_join(p->dir, run);
	if (!p->version || !p->program)
		return -ENOMEM;
	r = check_owner(p->program, true, why);
	if (!r)
		r = take_words(p, j, "hubs", p->hubs, why);
	if (!r)
		r = take_words(p, j, "needs", p->needs, why);
	if (!r)
		r = take_words(p, j, "inputs", p->inputs, why);
	if (!r)
		r = take_words(p, j, "outputs", p->outputs, why);
	if (!r)
		r = take_words(p, j, "reads", p->reads, why);
	if (!r)
		r = take_number(p, j, "seconds", SECONDS, SECONDS_MAX,
			&p->seconds, why);
	if (!r)
		r = take_number(p, j, "memory", MEMORY, INT64_MAX, &p->memory,
			why);
	if (!r)
		r = take_number(p, j, "bytes", BYTES, INT64_MAX, &p->bytes,
			why);
	return r ? r : check_words(p, why);
}

static int digest_of(struct fs_plugin *p, const struct buf *manifest,
	struct error *why)
{
	cleanup_buf struct buf program = BUF_INIT(PROGRAM_MAX);
	struct digest *d;
	struct objid id;
	int r = io_read_file(AT_FDCWD, p->program, &program);

	if (r)
		return error_set(why, -EINVAL, "%s: %s", p->program,
			strerror(-r));
	d = digest_new(OBJID_SHA256, 0);
	if (!d)
		return -ENOMEM;
	digest_update(d, &manifest->len, sizeof(manifest->len));
	digest_update(d, manifest->data, manifest->len);
	digest_update(d, program.data, program.len);
	digest_final(d, &id);
	digest_free(d);
	objid_hex(&id, p->digest);
	return 0;
}

static int read_one(struct fs_plugin *p, const char *dir, const char *name,
	struct error *why)
{
	cleanup_buf struct buf text = BUF_INIT(MANIFEST_MAX);
	cleanup_free char *file = NULL;
	cleanup_json json_t *j = NULL;
	int r;

	p->name = strdup(name);
	p->dir = path_join(dir, name);
	file = p->dir ? path_join(p->dir, MANIFEST) : NULL;
	if (!p->name || !file)
		return -ENOMEM;
	r = check_owner(p->dir, false, why);
	if (!r)
		r = check_owner(file, false, why);
	if (r)
		return r;
	r = io_read_file(AT_FDCWD, file, &text);
	if (r)
		return error_set(why, -EINVAL, "%s: %s", file, strerror(-r));
	r = json_parse(text.data, text.len, MANIFEST_MAX, &j, why);
	if (r) {
		(void) error_wrap(why, "%s", file);
		return -EINVAL;
	}
	r = take(p, j, why);
	return r ? r : digest_of(p, &text, why);
}

static void words_free(char **list)
{
	for (size_t i = 0; list[i]; i++)
		free(list[i]);
}

void fs_plugins_done(struct fs_plugins *p)
{
	for (size_t i = 0; i < p->n; i++) {
		struct fs_plugin *one = &p->v[i];

		words_free(one->hubs);
		words_free(one->needs);
		words_free(one->inputs);
		words_free(one->outputs);
		words_free(one->reads);
		free(one->name);
		free(one->dir);
		free(one->program);
		free(one->version);
	}
	free(p->tmp);
	free(p->jail);
}

static int is_plugin(const struct dirent *d)
{
	return d->d_name[0] != '.' && path_rel_ok(d->d_name);
}

static int read_all(struct fs_plugins *p, const char *dir,
	struct dirent **names, int n, struct error *why)
{
	int r = 0;

	for (int i = 0; i < n && !r; i++) {
		cleanup_free char *at = path_join(dir, names[i]->d_name);
		struct stat st;

		if (!at)
			return -ENOMEM;
		/* A README is no plug-in. */
		if (stat(at, &st) || !S_ISDIR(st.st_mode))
			continue;
		if (p->n == FS_PLUGINS_MAX)
			return error_set(why, -EINVAL, "%s: more than %d "
				"plug-ins", dir, FS_PLUGINS_MAX);
		r = read_one(&p->v[p->n++], dir, names[i]->d_name, why);
	}
	return r;
}

int fs_plugins_read(struct fs_plugins *p, const char *dir, struct error *why)
{
	struct dirent **names;
	int n, r;

	if (!dir || !*dir)
		return 0;
	n = scandir(dir, &names, is_plugin, alphasort);
	if (n < 0)
		return error_set(why, -errno, "plugins: %s: %s", dir,
			strerror(errno));
	r = read_all(p, dir, names, n, why);
	for (int i = 0; i < n; i++)
		free(names[i]);
	free(names);
	p->jail = proc_find("omnihub-jail");
	return r;
}

/* ---- repositories --------------------------------------------------------------- */

static bool matches(char *const *globs, const char *path)
{
	for (; *globs; globs++)
		if (!fnmatch(*globs, path, FNM_PATHNAME | FNM_PERIOD))
			return true;
	return false;
}

bool fs_plugin_takes(const struct fs_plugin *p, const struct listing_entry *e)
{
	return e->kind == LISTING_FILE && matches(p->inputs, e->path);
}

static bool has_one(const struct listing *l, const char *glob)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].kind == LISTING_FILE &&
			!fnmatch(glob, l->v[i].path, FNM_PATHNAME | FNM_PERIOD))
			return true;
	return false;
}

static bool applies(const struct fs_plugin *p, const struct stage_repo *repo)
{
	if (p->hubs[0] && !matches(p->hubs, repo->hub))
		return false;
	for (char *const *g = p->needs; *g; g++)
		if (!has_one(repo->listing, *g))
			return false;
	/* The repository's own wins. */
	return !listing_find(repo->listing, p->name) &&
		!listing_is_dir(repo->listing, p->name);
}

int fs_plugins_layout(const struct fs_plugins *p,
	const struct stage_repo *repo, struct listing *layout)
{
	const struct objid none = { .alg = OBJID_NONE };
	bool any = false;
	int r = 0;

	for (size_t i = 0; i < p->n && !r; i++) {
		const struct fs_plugin *one = &p->v[i];

		/* So do stagers. */
		if (!applies(one, repo) || listing_is_dir(layout, one->name))
			continue;
		for (char *const *o = one->outputs; *o && !r; o++) {
			cleanup_free char *path = path_join(one->name, *o);

			r = path ? listing_add(layout, path, LISTING_FILE,
				LISTING_SIZE_UNKNOWN, &none) : -ENOMEM;
		}
		any = true;
	}
	if (any)
		listing_sort(layout);
	return r;
}

const struct fs_plugin *fs_plugin_of(const struct fs_plugins *p,
	const struct stage_repo *repo, const char *path)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct fs_plugin *one = &p->v[i];
		size_t n = strlen(one->name);

		if (strncmp(path, one->name, n) != 0 || path[n] != '/')
			continue;
		for (char *const *o = one->outputs; *o; o++)
			if (!strcmp(path + n + 1, *o) && applies(one, repo))
				return one;
	}
	return NULL;
}

int fs_plugin_key(const struct fs_plugin *p, const struct stage_repo *repo,
	const char *revision, const char *path, char ret[65])
{
	cleanup_buf struct buf b = BUF_INIT(LISTING_BYTES_MAX * 2);
	char hex[OBJID_HEX_MAX];
	bool named = true;
	struct objid id;
	int r = buf_printf(&b, "plugin\n%s\n%s\n", p->digest, path);

	for (size_t i = 0; i < repo->listing->n && !r; i++) {
		const struct listing_entry *e = &repo->listing->v[i];

		if (!fs_plugin_takes(p, e))
			continue;
		objid_hex(&e->id, hex);
		named = named && e->id.alg != OBJID_NONE;
		r = buf_printf(&b, "%llu %d %s %s\n",
			(unsigned long long)e->size, (int)e->id.alg, hex,
			e->path);
	}
	if (!r && !named && revision)
		r = buf_append_str(&b, revision);
	if (r)
		return r;
	digest_sha256(b.data, b.len, &id);
	objid_hex(&id, ret);
	return 0;
}
