/* What timm makes of its config.json, before a blueprint looks at it. */
#include "config.h"

#include "stage/timm.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"

bool stage_timm_is(const json_t *config)
{
	return json_str(config, "architecture") &&
		!json_object_get(config, "model_type");
}

const json_t *stage_timm_told(const json_t *config)
{
	const json_t *told = json_object_get(config, "model_args");

	return json_is_object(told) ? told : NULL;
}

/* Files of timm before 0.8 have the keys of pretrained_cfg at the top. */
static const json_t *pretrained(const json_t *config)
{
	const json_t *p = json_object_get(config, "pretrained_cfg");

	return p ? p : config;
}

static bool is_size(const json_t *size)
{
	if (json_array_size(size) != 3)
		return false;
	for (size_t i = 0; i < 3; i++)
		if (!json_is_integer(json_array_get(size, i)))
			return false;
	return true;
}

/* input_size is [channels, height, width]; the last two are an argument where
 * the model is built for them alone. */
static int add_size(const json_t *config, json_t *cfg, struct error *why)
{
	const json_t *told = stage_timm_told(config);
	const json_t *p = pretrained(config);
	json_t *size = json_object_get(p, "input_size");
	bool fixed = json_is_true(json_object_get(p, "fixed_input_size")) &&
		!json_is_true(json_object_get(told, "dynamic_img_size")) &&
		!json_is_false(json_object_get(told, "strict_img_size"));

	if (!size || json_is_null(size))
		return 0;
	if (!is_size(size))
		return error_set(why, -ENOTSUP, "config.json: input_size is "
			"no list of three numbers");
	if (json_object_set(cfg, "in_chans", json_array_get(size, 0)))
		return -ENOMEM;
	if (fixed && json_object_set_new(cfg, "img_size", json_pack("[O, O]",
	    json_array_get(size, 1), json_array_get(size, 2))))
		return -ENOMEM;
	return 0;
}

/* num_classes stands at the top or in pretrained_cfg; below 0 it is what the
 * architecture has by itself. */
static int add_classes(const json_t *config, json_t *cfg)
{
	json_t *v = json_object_get(config, "num_classes");

	if (!v)
		v = json_object_get(pretrained(config), "num_classes");
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return 0;
	return json_object_set(cfg, "num_classes", v) ? -ENOMEM : 0;
}

/* What is null keeps its default. */
static int add_argument(json_t *cfg, const char *key, json_t *v)
{
	if (json_is_null(v))
		return 0;
	return json_object_set(cfg, key, v) ? -ENOMEM : 0;
}

int stage_timm_config(const json_t *config, json_t **ret, struct error *why)
{
	cleanup_json json_t *cfg = json_pack("{s:O}", "architecture",
		json_object_get(config, "architecture"));
	const json_t *told = json_object_get(config, "model_args");
	const json_t *offset;
	const char *key;
	int r;

	if (!cfg)
		return -ENOMEM;
	if (told && !json_is_null(told) && !json_is_object(told))
		return error_set(why, -ENOTSUP, "config.json: model_args is "
			"no object");
	r = add_size(config, cfg, why);
	if (!r)
		r = add_classes(config, cfg);
	offset = json_object_get(pretrained(config), "label_offset");
	if (!r && json_is_integer(offset) && json_integer_value(offset))
		r = error_set(why, -ENOTSUP, "config.json: label_offset is "
			"%lld, which is not handled",
			(long long)json_integer_value(offset));
	told = stage_timm_told(config);
	for (void *it = json_object_iter((json_t *)(uintptr_t)told); it && !r;
	     it = json_object_iter_next((json_t *)(uintptr_t)told, it)) {
		key = json_object_iter_key(it);
		if (!strcmp(key, "architecture"))
			r = error_set(why, -ENOTSUP, "config.json: model_args "
				"has an architecture");
		else
			r = add_argument(cfg, key, json_object_iter_value(it));
	}
	if (!r)
		*ret = json_incref(cfg);
	return r;
}

const char *stage_timm_arch(const json_t *cfg)
{
	const json_t *classes = json_object_get(cfg, "num_classes");

	if (json_is_integer(classes) && !json_integer_value(classes))
		return "features";
	return json_str(cfg, "architecture");
}
