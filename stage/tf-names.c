/*
 * tf_model.h5: the checkpoints of transformers' TensorFlow classes, whose names
 * and layouts are those of Keras layers. Names become those of the PyTorch
 * classes, by the rules of transformers' own converter:
 *
 *	bert/tf_bert_model/bert/encoder/layer_._0/output/dense/kernel:0
 *	     encoder.layer.0.output.dense.weight, stored as [in, out]
 *
 * The first two levels are the group in the file and the class; a level
 * "old___new" is new, and "_._" separates levels.
 */
#include "config.h"

#include "stage/tf-names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define LEVELS_MAX 64

/* Every "_._" a separator, no ":0", no empty level. */
static void plain(char *name)
{
	char *to = name;

	for (const char *p = name; *p;) {
		if (!strncmp(p, "_._", 3)) {
			*to++ = '/';
			p += 3;
		} else if (!strncmp(p, ":0", 2)) {
			p += 2;
		} else {
			*to++ = *p++;
		}
	}
	*to = '\0';
	to = name;
	for (const char *p = name; *p; p++)
		if (*p != '/' || (to > name && to[-1] != '/'))
			*to++ = *p;
	*to = '\0';
}

/* A level between two others: what stands behind its last "___". */
static const char *behind(const char *level)
{
	const char *p;

	while ((p = strstr(level, "___")) != NULL)
		level = p + 3;
	return level;
}

static const char *last_name(const char *level)
{
	static const char *const names[][2] = {
		{ "kernel", "weight" }, { "embeddings", "weight" },
		{ "gamma", "weight" }, { "beta", "bias" },
		{ "moving_mean", "running_mean" },
		{ "moving_variance", "running_var" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(level, names[i][0]))
			return names[i][1];
	return level;
}

static void turn(struct stage_tensor *t)
{
	static const struct {
		enum stage_order order;
		unsigned char dim[4];	/* of ours: which of the stored */
	} turned[] = {
		[2] = { STAGE_ORDER_10, { 1, 0 } },
		[3] = { STAGE_ORDER_210, { 2, 1, 0 } },
		[4] = { STAGE_ORDER_2310, { 3, 2, 0, 1 } },
	};
	uint64_t dim[STAGE_RANK_MAX];

	if (t->rank < 2 || t->rank > 4)
		return;
	memcpy(dim, t->dim, sizeof(dim));
	for (unsigned i = 0; i < t->rank; i++)
		t->dim[i] = dim[turned[t->rank].dim[i]];
	t->order = turned[t->rank].order;
}

static int rename_one(struct stage_tensor *t, struct error *why)
{
	const char *start = strchr(t->name, '/'), *levels[LEVELS_MAX], *last;
	cleanup_free char *name = strdup(start ? start + 1 : t->name);
	char *save = NULL, *to, *ret;
	size_t n = 0;

	if (!name)
		return -ENOMEM;
	/* Separators become dots: no longer than it was. */
	ret = malloc(strlen(name) + sizeof("running_mean"));
	if (!ret)
		return -ENOMEM;
	plain(name);
	for (char *p = strtok_r(name, "/", &save); p && n < LEVELS_MAX;
	     p = strtok_r(NULL, "/", &save))
		levels[n++] = p;
	if (!n || n == LEVELS_MAX) {
		free(ret);
		return error_set(why, -EBADMSG, "%s has no name of a weight",
			t->name);
	}
	last = levels[n - 1];
	to = ret;
	for (size_t i = n > 1; i < n; i++) {
		const char *level = i + 1 == n ? last_name(last) :
			behind(levels[i]);

		if (to > ret)
			*to++ = '.';
		to = stpcpy(to, level);
	}
	if (!strcmp(last, "kernel"))
		turn(t);
	/* GPT-2's are [1, n]. */
	if (!strcmp(last, "bias") && t->rank == 2 && t->dim[0] == 1) {
		t->rank = 1;
		t->dim[0] = t->dim[1];
	}
	free(t->name);
	t->name = ret;
	return 0;
}

int stage_tf_weight_names(struct stage_weights *w, struct error *why)
{
	int err = 0;

	for (size_t i = 0; i < w->n && !err; i++)
		err = rename_one(&w->v[i], why);
	return err ? err : stage_weights_sort(w, why);
}
