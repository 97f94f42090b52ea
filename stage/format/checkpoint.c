/*
 * The table of formats, and sharded checkpoints. An index says which shard
 * holds which tensor; the shards say the rest themselves, so the index is
 * only compared with them.
 */
#include "config.h"

#include "stage/format/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/path.h"
#include "stage/format/hdf5.h"
#include "stage/format/safetensors.h"
#include "stage/format/torch.h"
#include "stage/window.h"

#define HEAD_LEN 64	/* bytes that every probe is content with */

static const struct {
	int (*probe)(const void *head, size_t n, uint64_t size);
	int (*read)(struct src *s, unsigned file, struct stage_weights *w,
		struct error *why);
} formats[] = {
	{ stage_safetensors_probe, stage_safetensors_read },
	{ stage_torch_probe, stage_torch_read },
	{ stage_hdf5_probe, stage_hdf5_read },
};

int stage_weights_read(struct src *s, unsigned file, struct stage_weights *w,
	struct error *why)
{
	uint8_t head[HEAD_LEN];
	size_t n = s->size < HEAD_LEN ? (size_t)s->size : HEAD_LEN;
	int err = src_read_wait(s, 0, head, n);

	if (err)
		return stage_read_error(s, err, "reading its first bytes",
			why);
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (formats[i].probe(head, n, s->size))
			return formats[i].read(s, file, w, why);
	}
	return 1;
}

static int open_file(const struct stage_input *in, const char *path,
	struct src **ret, struct error *why)
{
	const struct listing_entry *e = listing_find(in->repo.listing, path);

	if (!e || e->kind != LISTING_FILE)
		return error_set(why, -ENOENT, "%s is not in the repository",
			path);
	return in->open(in->arg, e, ret, why);
}

static int read_weights(const struct stage_input *in, const char *path,
	struct stage_weights *w, struct error *why)
{
	struct src *s = NULL;
	int err, file;

	err = open_file(in, path, &s, why);
	if (err)
		return err;
	file = stage_weights_file(w, path, s->size);
	if (file < 0)
		err = error_set(why, file, "%s: %s", path, strerror(-file));
	else
		err = stage_weights_read(s, (unsigned)file, w, why);
	src_unref(s);
	if (err > 0)
		err = error_set(why, -ENOTSUP,
			"%s is of no format that is read", path);
	else if (err)
		(void) error_wrap(why, "%s", path);
	return err;
}

/* ---- sharded --------------------------------------------------------------- */

static int read_index(const struct stage_input *in, const char *path,
	json_t **ret, struct error *why)
{
	cleanup_free char *text = NULL;
	struct src *s = NULL;
	size_t len = 0;
	int err;

	err = open_file(in, path, &s, why);
	if (err)
		return err;
	if (s->size > STAGE_INDEX_MAX) {
		err = error_set(why, -EFBIG, "%s is too long for an index",
			path);
	} else {
		len = (size_t)s->size;
		text = malloc(len + 1);
		err = text ? src_read_wait(s, 0, text, len) : -ENOMEM;
		if (err)
			(void) stage_read_error(s, err, path, why);
	}
	src_unref(s);
	if (err)
		return err;
	err = json_parse(text, len, STAGE_INDEX_MAX, ret, why);
	if (err)
		(void) error_wrap(why, "%s", path);
	return err;
}

/* The index of a shard among w->files; -1: not yet there. */
static int find_file(const struct stage_weights *w, const char *path)
{
	for (unsigned i = 0; i < w->n_files; i++) {
		if (!strcmp(w->files[i], path))
			return (int)i;
	}
	return -1;
}

/* Path of a shard, which lies beside the index. */
static char *shard_path(const char *index, const char *shard)
{
	size_t dir = (size_t)(path_base(index) - index);
	cleanup_free char *base = strndup(index, dir ? dir - 1 : 0);

	return base ? path_join(base, shard) : NULL;
}

static int read_shard(const struct stage_input *in, const char *index,
	const char *shard, struct stage_weights *w, struct error *why)
{
	cleanup_free char *path = NULL;

	if (!path_rel_ok(shard))
		return error_set(why, -EBADMSG, "%s: bad name of a shard",
			index);
	path = shard_path(index, shard);
	if (!path)
		return -ENOMEM;
	if (find_file(w, path) >= 0)
		return 0;
	if (w->n_files >= STAGE_SHARDS_MAX)
		return error_set(why, -EFBIG, "%s: more than %u shards",
			index, STAGE_SHARDS_MAX);
	return read_weights(in, path, w, why);
}

/* Is it this file, or made of it? */
static bool is_of(const char *file, const char *path)
{
	size_t len = strlen(path);

	return !strncmp(file, path, len) && (!file[len] ||
		!strncmp(file + len, "//", 2));
}

/* Every tensor of the map has to be in the shard it names. */
static int check_map(json_t *map, const char *index,
	const struct stage_weights *w, struct error *why)
{
	const char *name;
	json_t *shard;

	json_object_foreach(map, name, shard) {
		const struct stage_tensor *t = stage_weights_find(w, name);
		cleanup_free char *path = NULL;

		if (!t)
			return error_set(why, -EBADMSG,
				"%s: %s is in none of the shards", index,
				name);
		path = shard_path(index, json_string_value(shard));
		if (!path)
			return -ENOMEM;
		if (!is_of(w->files[t->file], path))
			return error_set(why, -EBADMSG,
				"%s: %s is in %s, not in %s", index, name,
				w->files[t->file], path);
	}
	return 0;
}

static int read_sharded(const struct stage_input *in, const char *path,
	struct stage_weights *w, struct error *why)
{
	cleanup_json json_t *index = NULL;
	json_t *map, *shard;
	const char *name;
	int err = read_index(in, path, &index, why);

	if (err)
		return err;
	map = json_object_get(index, "weight_map");
	if (!json_is_object(map) || !json_object_size(map))
		return error_set(why, -EBADMSG, "%s has no weight_map", path);
	json_object_foreach(map, name, shard) {
		if (!json_is_string(shard))
			return error_set(why, -EBADMSG,
				"%s: %s names no shard", path, name);
		err = read_shard(in, path, json_string_value(shard), w, why);
		if (err)
			return err;
	}
	err = stage_weights_sort(w, why);
	return err ? err : check_map(map, path, w, why);
}

static bool is_index(const char *path)
{
	size_t len = strlen(path);

	return len > 5 && !strcmp(path + len - 5, ".json");
}

int stage_checkpoint_read(const struct stage_input *in, const char *path,
	struct stage_weights *ret, struct error *why)
{
	int err = is_index(path) ? read_sharded(in, path, ret, why) :
		read_weights(in, path, ret, why);

	return err ? err : stage_weights_sort(ret, why);
}
