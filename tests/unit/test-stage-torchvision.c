/* What is staged of torchvision's weights, by names alone. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage/stage.h"
#include "tests/unit/t.h"

#define HUB "pytorch/torchvision"

static bool is_it(const void *arg, const char *path)
{
	return !strcmp(arg, path);
}

/* "a/b.pth:4": paths with sizes (unknown unless told). */
static void listing_of(const char *text, struct listing *ret)
{
	const struct objid none = { .alg = OBJID_NONE };
	char copy[1024], *at = copy, *word;

	memset(ret, 0, sizeof(*ret));
	(void) snprintf(copy, sizeof(copy), "%s", text);
	while ((word = strsep(&at, " ")) != NULL) {
		char *size = strchr(word, ':');

		if (size)
			*size++ = '\0';
		t_int(listing_add(ret, word, LISTING_FILE, size ?
			strtoull(size, NULL, 10) : LISTING_SIZE_UNKNOWN,
			&none), 0);
	}
	listing_sort(ret);
}

static struct stage *stage_bare(void)
{
	const struct stage_conf conf = { .opset = 13 };
	struct stage *s = NULL;

	t_int(stage_new(&conf, &s, NULL), 0);
	return s;
}

/* Those have a test of their own. */
static bool is_variant(const char *path)
{
	return strchr(path, '_') || strstr(path, ".safetensors");
}

static void lays_out(const char *hub, const char *files, const char *preferred,
	const char *want)
{
	struct stage *s = stage_bare();
	struct listing own, out = { 0 };
	struct stage_repo repo = { .hub = hub, .repo = "x", .listing = &own,
		.preferred = preferred ? is_it : NULL, .arg = preferred };
	char text[1024] = "";
	char key[65];
	size_t n = 0;

	listing_of(files, &own);
	t_int(stage_layout(s, &repo, &out), 0);
	for (size_t i = 0; i < out.n; i++) {
		if (!is_variant(out.v[i].path))
			n += (size_t)snprintf(text + n, sizeof(text) - n,
				"%s%s", n ? " " : "", out.v[i].path);
		t_check(out.v[i].size == LISTING_SIZE_UNKNOWN);
		t_int(stage_key(s, &repo, "r", out.v[i].path, key), 0);
	}
	t_str(text, want);
	listing_done(&own);
	listing_done(&out);
	stage_free(s);
}

static void test_layout(void)
{
	lays_out(HUB, "a/x.pth", NULL, "a/model.onnx a/x.onnx");
	lays_out(HUB, "a/x.pth a/y.pth b/z.pth", NULL,
		"a/x.onnx a/y.onnx b/model.onnx b/z.onnx");
	lays_out(HUB, "a/x.pth a/y.pth b/z.pth", "a/y.pth",
		"a/model.onnx a/x.onnx a/y.onnx b/model.onnx b/z.onnx");
	/* Of its own name, when nothing else is meant by it. */
	lays_out(HUB, "a/model.pth a/y.pth", NULL, "a/model.onnx a/y.onnx");
	lays_out(HUB, "a/model.pth a/y.pth", "a/y.pth",
		"a/model.onnx a/y.onnx");
	/* What is there already, and what is no weights file of a model. */
	lays_out(HUB, "a/x.pth a/x.onnx", NULL, "a/model.onnx");
	lays_out(HUB, "x.pth a/b/x.pth a/.pth a/x.pt a/README.md", NULL, "");
	lays_out("huggingface", "a/x.pth", NULL, "");
}

static void key_of(const char *files, const char *preferred, const char *path,
	char ret[65])
{
	struct stage *s = stage_bare();
	struct listing own;
	struct stage_repo repo = { .hub = HUB, .repo = "x", .listing = &own,
		.preferred = is_it, .arg = preferred };

	listing_of(files, &own);
	t_int(stage_key(s, &repo, "r", path, ret), 0);
	listing_done(&own);
	stage_free(s);
}

/* A plan depends on the one file it is made of. */
static void test_keys(void)
{
	char a[65], b[65];

	key_of("a/x.pth:1 a/y.pth:2", "a/x.pth", "a/x.onnx", a);
	key_of("a/x.pth:1 a/y.pth:3 c/z.pth", "a/y.pth", "a/x.onnx", b);
	t_str(a, b);
	key_of("a/x.pth:2 a/y.pth:2", "a/x.pth", "a/x.onnx", b);
	t_check(strcmp(a, b) != 0);
	key_of("a/x.pth:1 a/y.pth:2", "a/x.pth", "a/model.onnx", a);
	key_of("a/x.pth:1 a/y.pth:5", "a/x.pth", "a/model.onnx", b);
	t_str(a, b);
	key_of("a/x.pth:1 a/y.pth:2", "a/y.pth", "a/model.onnx", b);
	t_check(strcmp(a, b) != 0);
}

static int never(void *arg, const struct listing_entry *e, struct src **ret,
	struct error *why)
{
	(void) arg;
	(void) ret;
	return error_set(why, -EIO, "%s was opened", e->path);
}

static void refuses(const char *files, const char *path, int want,
	const char *reason)
{
	struct stage *s = stage_bare();
	struct listing own;
	struct stage_input in = { .repo = { .hub = HUB, .repo = "x",
		.listing = &own }, .open = never };
	struct stage_recipe *r = NULL;
	struct error why = { 0 };

	listing_of(files, &own);
	t_int(stage_plan(s, &in, path, &r, &why), want);
	t_check(strstr(why.text, reason));
	t_check(!r);
	listing_done(&own);
	stage_free(s);
}

/* By name, before a byte is read. */
static void test_refusals(void)
{
	refuses("quantized_resnet18/x.pth", "quantized_resnet18/x.onnx",
		-ENOTSUP, "quantized_resnet18: quantized weights");
	refuses("raft_small/x.pth", "raft_small/model.onnx", -ENOTSUP,
		"raft_small: optical flow is not handled");
	refuses("ssd300_vgg16/x.pth", "ssd300_vgg16/x.onnx", -ENOTSUP,
		"ssd300_vgg16: detection is not handled");
	refuses("s3d/x.pth", "s3d/x.onnx", -ENOTSUP,
		"s3d: models of video are not handled");
	refuses("resnet/x.pth", "resnet/model.onnx", -ENOTSUP,
		"no blueprint for torchvision's \"resnet\"");
	refuses("a/x.pth a/y.pth", "a/model.onnx", -ENOENT, "is not staged");
}

int main(void)
{
	test_layout();
	test_keys();
	test_refusals();
	return 0;
}
