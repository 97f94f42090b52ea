/*
 * Plug-in converters: programs of the user's that stage what OmniHub cannot.
 * Those in the directory that the key `plugins` names, one directory each; what
 * they say of themselves (plugin.json) and what they are given is described in
 * contrib/plugins/README.md.
 *
 * A plug-in NAME adds a directory NAME to every repository that has what it
 * needs. Nothing is run by looking at it; the first stat or open of a file in
 * it runs the plug-in, behind the walls of base/sandbox.h, and its outputs
 * become objects of the cache. The key of such a plan is made of the plug-in's
 * files and of path, size and digest of every input.
 */
#ifndef FS_PLUGIN_H
#define FS_PLUGIN_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/listing.h"
#include "base/pool.h"
#include "stage/stage.h"

#define FS_PLUGINS_MAX 32
#define FS_PLUGIN_WORDS 32	/* globs or names in one list */

struct fs_stack;
struct fs_snap;

struct fs_plugin {
	char *name, *dir, *program, *version;
	char digest[65];	/* hex SHA-256 of plugin.json and the program */
	/* NULL-ended. */
	char *hubs[FS_PLUGIN_WORDS + 1];	/* none: all */
	char *needs[FS_PLUGIN_WORDS + 1];	/* globs */
	char *inputs[FS_PLUGIN_WORDS + 1];	/* globs */
	char *outputs[FS_PLUGIN_WORDS + 1];	/* names */
	char *reads[FS_PLUGIN_WORDS + 1];	/* more absolute paths */
	uint64_t seconds;	/* it may take */
	uint64_t memory;	/* bytes of address space */
	uint64_t bytes;		/* of one output */
};

/* All constant after fs_plugins_read(), but closing. */
struct fs_plugins {
	struct fs_plugin v[FS_PLUGINS_MAX];
	size_t n;
	struct pool *pool;	/* of one thread: one runs at a time */
	char *tmp;		/* directory for what they work on */
	char *jail;		/* the program that walls them in, or NULL */
	atomic_bool closing;	/* end what runs */
};

/* dir NULL or "": there are none. -EINVAL: one is not right, with the file in
 * `why`; -ENOENT: no such directory. */
int fs_plugins_read(struct fs_plugins *p, const char *dir, struct error *why);
void fs_plugins_done(struct fs_plugins *p);

/* Adds the directories of all that apply to a layout. */
int fs_plugins_layout(const struct fs_plugins *p,
	const struct stage_repo *repo, struct listing *layout);
/* The plug-in that makes what stands at `path` beside a repository's files;
 * NULL: none. */
const struct fs_plugin *fs_plugin_of(const struct fs_plugins *p,
	const struct stage_repo *repo, const char *path);
bool fs_plugin_takes(const struct fs_plugin *p,
	const struct listing_entry *e);
/* As stage_key(). */
int fs_plugin_key(const struct fs_plugin *p, const struct stage_repo *repo,
	const char *revision, const char *path, char ret[65]);

/* ---- plugin-run.c ------------------------------------------------------------ */

struct fs_plugin_made {
	char *name;		/* of p->outputs */
	uint64_t size;		/* bytes */
	struct objid id;
};

/* Runs it; waits. Its outputs are objects then: at most FS_PLUGIN_WORDS in
 * ret, *ret_n of them, names to be freed. -ENOTSUP: it cannot, in its own
 * words; -EIO: not this time. */
int fs_plugin_run(struct fs_plugins *all, const struct fs_plugin *p,
	const struct fs_stack *k, struct fs_snap *s,
	struct fs_plugin_made ret[FS_PLUGIN_WORDS], size_t *ret_n,
	struct error *why);

#endif
