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

/* A number that may be missing, null or, where transformers takes it for that,
 * 0: then `dflt`. */
static double number_or(const json_t *o, const char *key, double dflt)
{
	double f = json_number_value(json_object_get(o, key));

	return f != 0 ? f : dflt;
}

/* The pair that turns so often over the length. */
static double pair_of(double turns, size_t n, double base, double length)
{
	return (double)n * log(length / (turns * 2 * PI)) / log(base);
}

/* Pairs that turn often stay, those that turn seldom are stretched. */
static int yarn(struct bp_run *r, const struct bp_expr *e, const json_t *o,
	double base, float *v, size_t n)
{
	bool whole = !json_is_false(json_object_get(o, "truncate"));
	double factor, length, low, high;
	int err = object_number(r, e, o, "factor", &factor);

	if (!err && !(base > 1))
		err = stage_bp_fail(r, &e->at, "YaRN needs a base above 1");
	if (!err)
		err = object_number(r, e, o,
			"original_max_position_embeddings", &length);
	if (err)
		return err;
	low = pair_of(number_or(o, "beta_fast", 32), n, base, length);
	high = pair_of(number_or(o, "beta_slow", 1), n, base, length);
	if (whole) {
		low = floor(low);
		high = ceil(high);
	}
	low = low > 0 ? low : 0;
	high = high < (double)(2 * n - 1) ? high : (double)(2 * n - 1);
	if (low == high)
		high += 0.001;
	for (size_t i = 0; i < n; i++) {
		float exponent = (float)(2 * i) / (float)(2 * n);
		float wide = (float)pow((float)base, (double)exponent);
		float ramp = ((float)i - (float)low) / (float)(high - low);
		float keep = 1 - (ramp < 0 ? 0 : ramp > 1 ? 1 : ramp);

		v[i] = 1 / ((float)factor * wide) * (1 - keep) +
			1 / wide * keep;
	}
	return 0;
}

/* "rope_type", which older files call "type"; NULL: none. */
static const char *type_of(const json_t *o)
{
	const char *type = json_str(o, "rope_type");

	return type ? type : json_str(o, "type");
}

static int scale(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *scaling, double base, float *v, size_t n)
{
	const json_t *o = scaling->kind == BP_V_OBJECT ? scaling->object :
		NULL;
	const char *type = type_of(o);

	if (scaling->kind != BP_V_NONE && !o)
		return stage_bp_fail(r, &e->at, "the scaling of rope is %s",
			stage_bp_kind_name(scaling));
	if (!o || (type && !strcmp(type, "default")))
		return 0;
	if (!type && !json_object_get(o, "factor"))
		return 0;
	if (type && !strcmp(type, "linear"))
		return linear(r, e, o, v, n);
	if (type && !strcmp(type, "llama3"))
		return llama3(r, e, o, v, n);
	if (type && !strcmp(type, "yarn"))
		return yarn(r, e, o, base, v, n);
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
	err = scale(r, e, &args[2], base, v, n);
	return err ? err : to_list(r, v, n, ret);
}

static double yarn_factor(double factor, double by)
{
	return factor <= 1 ? 1 : 0.1 * by * log(factor) + 1;
}

int stage_bp_rope_attention(struct bp_run *r, const struct bp_expr *e,
	const struct bp_value *args, struct bp_value *ret)
{
	const json_t *o = args[0].kind == BP_V_OBJECT ? args[0].object : NULL;
	const char *type = type_of(o);
	double factor = number_or(o, "factor", 1);
	double one = number_or(o, "mscale", 0);
	double all = number_or(o, "mscale_all_dim", 0);
	double f = 1;

	(void) r;
	(void) e;
	if (type && !strcmp(type, "yarn"))
		f = one != 0 && all != 0 ? yarn_factor(factor, one) /
			yarn_factor(factor, all) : yarn_factor(factor, 1);
	if (type && !strcmp(type, "yarn"))
		f = number_or(o, "attention_factor", f);
	*ret = (struct bp_value){ .kind = BP_V_FLOAT, .f = f };
	return 0;
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
