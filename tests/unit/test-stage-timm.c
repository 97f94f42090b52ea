/* What a blueprint sees of timm's config.json. */
#include "config.h"

#include <errno.h>
#include <jansson.h>

#include "stage/timm.h"
#include "tests/unit/t.h"

#define FIXED "\"input_size\":[3,224,192],\"fixed_input_size\":true"

static const struct {
	const char *config, *cfg;	/* NULL: refused */
	const char *arch;		/* or the reason */
} cases[] = {
	{ "{\"architecture\":\"a\"}", "{\"architecture\":\"a\"}", "a" },
	{ "{\"architecture\":\"a\",\"num_classes\":7,\"global_pool\":\"avg\","
		"\"pretrained_cfg\":{\"num_classes\":9,"
		"\"input_size\":[1,64,64],\"crop_pct\":0.9}}",
		"{\"architecture\":\"a\",\"in_chans\":1,\"num_classes\":7}",
		"a" },
	{ "{\"architecture\":\"a\",\"pretrained_cfg\":{\"num_classes\":0,"
		FIXED "}}",
		"{\"architecture\":\"a\",\"img_size\":[224,192],\"in_chans\":3,"
		"\"num_classes\":0}", "features" },
	{ "{\"architecture\":\"a\",\"num_classes\":-1," FIXED "}",
		"{\"architecture\":\"a\",\"img_size\":[224,192],"
		"\"in_chans\":3}", "a" },
	{ "{\"architecture\":\"a\",\"pretrained_cfg\":{" FIXED "},"
		"\"model_args\":{\"img_size\":32,\"in_chans\":4,\"depth\":null}}",
		"{\"architecture\":\"a\",\"img_size\":32,\"in_chans\":4}",
		"a" },
	{ "{\"architecture\":\"a\",\"pretrained_cfg\":{" FIXED "},"
		"\"model_args\":{\"dynamic_img_size\":true}}",
		"{\"architecture\":\"a\",\"dynamic_img_size\":true,"
		"\"in_chans\":3}", "a" },
	{ "{\"architecture\":\"a\",\"model_args\":[1]}", NULL,
		"model_args is no object" },
	{ "{\"architecture\":\"a\",\"model_args\":{\"architecture\":\"b\"}}",
		NULL, "model_args has an architecture" },
	{ "{\"architecture\":\"a\",\"input_size\":[3,\"x\",2]}", NULL,
		"input_size is no list" },
	{ "{\"architecture\":\"a\",\"input_size\":3}", NULL,
		"input_size is no list" },
	{ "{\"architecture\":\"a\",\"label_offset\":1}", NULL,
		"label_offset is 1" },
	{ "{\"architecture\":\"a\",\"label_offset\":0}",
		"{\"architecture\":\"a\"}", "a" },
};

static void test_config(size_t i)
{
	json_t *config = json_loads(cases[i].config, 0, NULL), *cfg = NULL;
	struct error why = { 0 };
	char *text;
	int r;

	t_check(config && stage_timm_is(config));
	r = stage_timm_config(config, &cfg, &why);
	t_int(r, cases[i].cfg ? 0 : -ENOTSUP);
	if (cases[i].cfg) {
		text = json_dumps(cfg, JSON_COMPACT | JSON_SORT_KEYS);
		t_str(text, cases[i].cfg);
		t_str(stage_timm_arch(cfg), cases[i].arch);
		free(text);
	} else {
		t_check(strstr(why.text, cases[i].arch));
		t_check(!cfg);
	}
	json_decref(cfg);
	json_decref(config);
}

static void test_is(void)
{
	json_t *other = json_pack("{s:s, s:s}", "architecture", "a",
		"model_type", "timm_wrapper");
	json_t *none = json_pack("{s:i}", "architecture", 1);

	t_check(!stage_timm_is(other));
	t_check(!stage_timm_is(none));
	json_decref(other);
	json_decref(none);
}

int main(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		test_config(i);
	test_is();
	return 0;
}
