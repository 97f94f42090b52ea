/* Which hubs there are, and where in the mount each stands. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/measure.h"
#include "fs/tree.h"

/* Several rows may be of one hub: then they share whatever is known of it, and
 * the first is its name. */
static const struct hub_row {
	const char *path, *kind;
	const char *owner;	/* only what this owner has */
	bool aliases, archives;
	bool flat;	/* the one directory in an archive is not shown */
} hub_table[] = {
	{ .path = "huggingface", .kind = "huggingface", .aliases = true },
	{ .path = "onnx", .kind = "onnx", .archives = true,
		.flat = true },
	{ .path = "tensorflow", .kind = "tensorflow", .archives = true },
	{ .path = "kaggle", .kind = "kaggle", .archives = true },
	{ .path = "pytorch/torchvision", .kind = "torchvision" },
	{ .path = "pytorch/torchserve", .kind = "torchserve",
		.archives = true },
	{ .path = "pytorch/hub", .kind = "torchhub" },
	{ .path = "pytorch/timm", .kind = "huggingface", .owner = "timm" },
	{ .path = "keras", .kind = "keras" },
};

#define ROWS (sizeof(hub_table) / sizeof(hub_table[0]))
_Static_assert(ROWS <= FS_HUBS_MAX, "a place for every row");

/* Tokens are found in many places. */
static bool has_token(const struct conf *conf, const char *kind)
{
	struct conf_kaggle kaggle = { 0 };
	char *token = NULL;
	bool has;

	if (!strcmp(kind, "huggingface"))
		token = conf_hf_token(conf);
	else if (!strcmp(kind, "torchhub"))
		token = conf_github_token();
	else if (!strcmp(kind, "kaggle") || !strcmp(kind, "tensorflow"))
		conf_kaggle_login(conf, &kaggle);
	has = token || kaggle.token || kaggle.key;
	conf_kaggle_done(&kaggle);
	free(token);
	return has;
}

static const struct fs_hub *hub_of_kind(const struct fs *fs, const char *kind)
{
	for (unsigned i = 0; i < fs->n_hubs; i++)
		if (!strcmp(fetch_hub_name(fs->hubs[i].fetch), kind))
			return &fs->hubs[i];
	return NULL;
}

static int open_hub(struct fs *fs, const struct hub_row *row,
	const struct fs_hub **ret, struct error *why)
{
	struct fs_hub *h = &fs->hubs[fs->n_hubs];
	int r = fetch_hub_open(fs->fetch, row->kind, fs->conf, &h->fetch, why);

	if (r)
		return r;
	h->name = row->path;
	h->grammar = fetch_grammar(h->fetch);
	h->has_token = has_token(fs->conf, row->kind);
	h->aliases = row->aliases;
	h->archives = row->archives;
	h->flat = row->flat;
	fs->n_hubs++;
	*ret = h;
	return 0;
}

static void contradicted(void *arg, const struct fetch_hub *h,
	const char *repo, const char *revision, const char *path,
	uint64_t size)
{
	struct fs *fs = arg;

	for (unsigned i = 0; i < fs->n_hubs; i++)
		if (fs->hubs[i].fetch == h)
			fs_measure_contradicted(&fs->resolver, &fs->hubs[i],
				repo, revision, path, size);
}

int fs_hubs_open(struct fs *fs, struct error *why)
{
	int r = fetch_new(fs->conf, &fs->fetch, why);

	if (!r) {
		fetch_keep_in(fs->fetch, fs->cache);
		fetch_on_contradicted(fs->fetch, contradicted, fs);
	}
	for (size_t i = 0; i < ROWS && !r; i++) {
		const struct hub_row *row = &hub_table[i];
		const struct fs_hub *h = hub_of_kind(fs, row->kind);

		if (!h)
			r = open_hub(fs, row, &h, why);
		if (!r)
			fs->places[fs->n_places++] = (struct fs_place){
				row->path, h, row->owner };
	}
	return r;
}
