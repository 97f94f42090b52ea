/*
 * A repository of a stranger's on Hugging Face: what its JSON says of a model,
 * and names and shapes of weights. What becomes of it is a recipe that is right
 * in itself, and a refusal has its reason.
 *
 *	{"files": {"config.json": …, "modules.json": …},
 *	 "weights": {"model.safetensors": {"lm_head.weight": [4, 3], …}, …}}
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "stage/stager.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define DATA_MAX (1u << 20)	/* bytes of the weights of one file */
#define FILES_MAX 8

static const char *const staged[] = {
	"pytorch/model.onnx", "tensorflow/model.pb",
	"pytorch/encoder_model.onnx", "pytorch/decoder_model.onnx",
	"pytorch/decoder_with_past_model.onnx",
};

struct repository {
	struct listing own;
	const char *path[FILES_MAX];
	struct buf file[FILES_MAX];
	size_t n;
};

static struct stage *library(void)
{
	const char *src = getenv("SRCDIR");
	char dir[4096];
	const char *const dirs[] = { dir, NULL };
	const struct stage_conf conf = { .opset = 13, .blueprint_dirs = dirs };
	struct stage *s = NULL;
	struct error why = { 0 };

	(void) snprintf(dir, sizeof(dir), "%s/stage/blueprints",
		src ? src : ".");
	if (stage_new(&conf, &s, &why) ||
	    !stage_find_blueprint(s, "transformers", "bert")) {
		fprintf(stderr, "SRCDIR is to be the sources: %s\n", why.text);
		exit(99);
	}
	return s;
}

static bool refused(int err, const struct error *why)
{
	if (err && (!why->code || !why->text[0]))
		abort();
	return err != 0;
}

/* The next file, unless its name is none or stands there already. */
static struct buf *next_file(struct repository *r, const char *path)
{
	if (r->n == FILES_MAX)
		return NULL;
	for (size_t i = 0; i < r->n; i++)
		if (!strcmp(r->path[i], path))
			return NULL;
	r->path[r->n] = path;
	r->file[r->n] = (struct buf)BUF_INIT(1u << 26);
	return &r->file[r->n];
}

static void take_file(struct repository *r)
{
	const struct objid none = { .alg = OBJID_NONE };
	const size_t i = r->n;

	if (listing_add(&r->own, r->path[i], LISTING_FILE, r->file[i].len,
	    &none))
		buf_done(&r->file[i]);
	else
		r->n++;
}

static void add_text(struct repository *r, const char *path, const json_t *j)
{
	struct buf *b = next_file(r, path);
	char *text;

	if (!b)
		return;
	text = json_dumps(j, JSON_ENCODE_ANY);
	if (!text || buf_append_str(b, text))
		abort();
	free(text);
	take_file(r);
}

static uint64_t times(uint64_t size, json_int_t n)
{
	return n < 0 || (uint64_t)n > DATA_MAX || size > DATA_MAX ?
		DATA_MAX + 1 : size * (uint64_t)n;
}

/* As a safetensors file: what is no shape, or too much, is left out. */
static void add_weights(struct repository *r, const char *path,
	const json_t *shapes)
{
	static const uint8_t zeros[4096];
	struct buf *b = next_file(r, path);
	json_t *header = json_object(), *shape, *n;
	uint64_t at = 0;
	const char *name;
	char *text;
	size_t i;

	if (b && header) {
		json_object_foreach((json_t *)(uintptr_t)shapes, name, shape) {
			uint64_t size = 4;

			json_array_foreach(shape, i, n)
				size = times(size, json_integer_value(n));
			if (!json_is_array(shape) || size > DATA_MAX - at)
				continue;
			if (json_object_set_new(header, name, json_pack(
			    "{s:s, s:O, s:[I, I]}", "dtype", "F32", "shape",
			    shape, "data_offsets", (json_int_t)at,
			    (json_int_t)(at + size))))
				abort();
			at += size;
		}
		text = json_dumps(header, JSON_COMPACT);
		if (!text || buf_append_le(b, strlen(text), 8) ||
		    buf_append_str(b, text))
			abort();
		for (; at; at -= at < sizeof(zeros) ? at : sizeof(zeros))
			if (buf_append(b, zeros, at < sizeof(zeros) ?
			    (size_t)at : sizeof(zeros)))
				abort();
		free(text);
		take_file(r);
	}
	json_decref(header);
}

static int open_file(void *arg, const struct listing_entry *e,
	struct src **ret, struct error *why)
{
	const struct repository *r = arg;
	void *copy;
	size_t i = 0;

	(void) why;
	while (strcmp(r->path[i], e->path) != 0)
		i++;
	copy = malloc(r->file[i].len + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, r->file[i].data, r->file[i].len);
	*ret = src_from_memory(copy, r->file[i].len);
	return *ret ? 0 : -ENOMEM;
}

static void plan_all(struct stage *s, struct repository *r)
{
	struct stage_input in = { { .hub = "huggingface", .repo = "a/b",
		.listing = &r->own }, open_file, r, NULL };

	for (size_t i = 0; i < sizeof(staged) / sizeof(staged[0]); i++) {
		struct stage_recipe *recipe = NULL;
		struct error why = { 0 };

		if (refused(stage_plan(s, &in, staged[i], &recipe, &why),
		    &why))
			continue;
		if (stage_recipe_check(recipe, &why) ||
		    !stage_recipe_size(recipe))
			abort();
		stage_recipe_unref(recipe);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct stage *s;
	struct repository r = { .n = 0 };
	struct error why = { 0 };
	json_t *in = NULL, *one;
	const char *path;

	if (!s)
		s = library();
	if (refused(json_parse(data, len, 1u << 20, &in, &why), &why))
		return 0;
	json_object_foreach(json_object_get(in, "files"), path, one)
		add_text(&r, path, one);
	json_object_foreach(json_object_get(in, "weights"), path, one)
		add_weights(&r, path, one);
	listing_sort(&r.own);
	plan_all(s, &r);
	while (r.n)
		buf_done(&r.file[--r.n]);
	listing_done(&r.own);
	json_decref(in);
	return 0;
}
