/*
 * Positions that are no weights. Rotary ones: the frequencies by which a
 * position turns a pair of numbers, which transformers computes from
 * config.json in f32 (modeling_rope_utils.py). Sinusoids, in f64. Buckets of
 * distances, in f32. This rounds where it does.
 */
#include "config.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "stage/blueprint-run.h"

#define PAIRS_MAX STAGE_KNOWN_MAX
#define PI 3.14159265358979323846

static int object_number(struct bp_run *r, const struct bp_expr *e,
	const json_t *o, const char *key, double *ret)
{
	const json_t *j = json_object_get(o, key);

	if (!json_is_number(j) || !(json_number_value(j) > 0))
		return stage_bp_fail(r, &e->at, "config.json: the scaling of "
			"rope has no %s", key);
	*ret = json_number_value(j);
	return 0;
}

static int linear(struct bp_run *r, const struct bp_expr *e, const json_t *o,
	float *v, size_t n)
{
	double factor;
	int err = object_number(r, e, o, "factor", &factor);

	for (size_t i = 0; i < n && !err; i++)
		v[i] /= (float)factor;
	return err;
}

/* Long waves are stretched, short ones stay, those between are mixed. */
static int llama3(struct bp_run *r, const struct bp_expr *e, const json_t *o,
	float *v, size_t n)
{
	double factor, low, high, length;
	int err = object_number(r, e, o, "factor", &factor);

	if (!err)
		err = object_number(r, e, o, "low_freq_factor", &low);
	if (!err)
		err = object_number(r, e, o, "high_freq_factor", &high);
	if (!err)
		err = object_number(r, e, o,
			"original_max_position_embeddings", &length);
	if (!err && !(high > low))
		err = stage_bp_fail(r, &e->at, "config.json: high_freq_factor "
			"is not above low_freq_factor");
	for (size_t i = 0; i < n && !err; i++) {
		float wave = (float)(2 * PI) / v[i];
		float mix = ((float)length / wave - (float)low) /
			(float)(high - low);

		if (wave > (float)(length / low))
			v[i] /= (float)factor;
		else if (wave >= (float)(length / high))
			v[i] = (1 - mix) * v[i] / (float)factor + mix * v[i];
	}
	return err;
}

/* "rope_type", which older files call "type"; none: default. */
static int scale(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *scaling, float *v, size_t n)
{
	const json_t *o = scaling->kind == BP_V_OBJECT ? scaling->object :
		NULL;
	const char *type = json_str(o, "rope_type");

	if (scaling->kind != BP_V_NONE && !o)
		return stage_bp_fail(r, &e->at, "the scaling of rope is %s",
			stage_bp_kind_name(scaling));
	if (!type)
		type = json_str(o, "type");
	if (!o || (type && !strcmp(type, "default")))
		return 0;
	if (!type && !json_object_get(o, "factor"))
		return 0;
	if (type && !strcmp(type, "linear"))
		return linear(r, e, o, v, n);
	if (type && !strcmp(type, "llama3"))
		return llama3(r, e, o, v, n);
	return stage_bp_fail(r, &e->at, "config.json: rope of type \"%s\" is "
		"not handled", type ? type : "");
}

static int to_list(struct bp_run *r, const float *v, size_t n,
	struct bp_value *ret)
{
	struct bp_value *list = stage_arena_array(&r->arena, n + 1,
		sizeof(*list));

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		list[i] = (struct bp_value){ .kind = BP_V_FLOAT,
			.f = (double)v[i] };
	*ret = (struct bp_value){ .kind = BP_V_LIST, .n = n, .list = list };
	return 0;
}

int stage_bp_rope_frequencies(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	double base = args[1].kind == BP_V_INT ? (double)args[1].i : args[1].f;
	float v[PAIRS_MAX];
	size_t n;
	int err;

	if (args[0].kind != BP_V_INT || args[0].i < 2 || args[0].i % 2 ||
	    args[0].i / 2 > PAIRS_MAX)
		return stage_bp_fail(r, &e->at, "%s() needs an even number of "
			"up to %d", e->name, 2 * PAIRS_MAX);
	if ((args[1].kind != BP_V_INT && args[1].kind != BP_V_FLOAT) ||
	    !(base > 0))
		return stage_bp_fail(r, &e->at, "%s() needs a base above 0",
			e->name);
	n = (size_t)args[0].i / 2;
	for (size_t i = 0; i < n; i++) {
		float exponent = (float)(2 * i) / (float)args[0].i;

		v[i] = 1.0f / (float)pow((float)base, (double)exponent);
	}
	err = scale(r, e, &args[2], v, n);
	return err ? err : to_list(r, v, n, ret);
}

/* sin and cos are taken of position times frequency. In f32 the product would
 * be wrong by a part of the position: so each frequency comes as two, of which
 * the first has few enough bits that the product is exact. */
int stage_bp_sinusoid_frequencies(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	struct bp_value *list;
	size_t n;

	if (args[0].kind != BP_V_INT || args[0].i < 2 || args[0].i % 2 ||
	    args[0].i > BP_LIST_MAX)
		return stage_bp_fail(r, &e->at, "%s() needs an even number of "
			"up to %d", e->name, BP_LIST_MAX);
	n = (size_t)args[0].i / 2;
	list = stage_arena_array(&r->arena, 2 * n, sizeof(*list));
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		double f = 1 / pow(10000, 2.0 * (double)i / (double)(2 * n));
		double high = floor(f * 4096) / 4096;

		list[i] = (struct bp_value){ .kind = BP_V_FLOAT, .f = high };
		list[n + i] = (struct bp_value){ .kind = BP_V_FLOAT,
			.f = f - high };
	}
	*ret = (struct bp_value){ .kind = BP_V_LIST, .n = 2 * n,
		.list = list };
	return 0;
}

/* T5's: half of the buckets for distances one by one, the others for what is
 * logarithmically wider. */
int stage_bp_relative_buckets(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	int64_t n = args[0].i, far = args[1].i;
	struct bp_value *list;

	if (args[0].kind != BP_V_INT || args[1].kind != BP_V_INT || n < 2 ||
	    far <= n / 2 || far >= STAGE_KNOWN_MAX)
		return stage_bp_fail(r, &e->at, "%s() needs two buckets and a "
			"distance above half of them and below %d", e->name,
			STAGE_KNOWN_MAX);
	list = stage_arena_array(&r->arena, (size_t)far + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	for (int64_t i = 0; i <= far; i++) {
		float wide = logf((float)i / (float)(n / 2)) /
			(float)log((double)far / (double)(n / 2)) *
			(float)(n - n / 2);
		int64_t bucket = i < n / 2 ? i : n / 2 + (int64_t)wide;

		list[i] = stage_bp_int(bucket < n ? bucket : n - 1);
	}
	*ret = (struct bp_value){ .kind = BP_V_LIST, .n = (size_t)far + 1,
		.list = list };
	return 0;
}
