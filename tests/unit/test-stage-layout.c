/*
 * The door: what is laid out beside a repository's own files, which file a
 * plan reads and its key depends on, and which blueprint wins.
 */
#include "config.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/io.h"
#include "stage/stage.h"
#include "tests/unit/stage-src.h"

static char top[] = "/tmp/stage-layout-XXXXXX";

static const char bert_like[] =
	"family \"Tiny\" for \"tiny\"\n"
	"input x : f32[batch, 2]\n"
	"task \"feature-extraction\" for \"TinyModel\" {\n"
	"\toutput y : f32[batch, 2] = double(x) + @w\n"
	"}\n";
static const char in_parts[] =
	"family \"Parts\" for \"parts\"\n"
	"input x : f32[batch, 2]\n"
	"task \"text2text-generation\" for \"TwoParts\" as \"first_part\", "
	"\"second_part\" {\n"
	"\toutput y : f32[batch, 2] = x + (part == \"first_part\" ? @a : @w)\n"
	"}\n";
static const char lib[] = "def double(x) { return x + x }\n";

static void put(const char *path, const char *text)
{
	char full[256];

	(void) snprintf(full, sizeof(full), "%s/%s", top, path);
	t_int(io_publish(AT_FDCWD, full, text, strlen(text), 0644), 0);
}

static struct stage *stage_of(unsigned opset, const char *first,
	const char *second)
{
	char a[256], b[256];
	const char *dirs[] = { a, b, NULL };
	struct stage_conf conf = { .opset = opset,
		.blueprint_dirs = dirs };
	struct error why = { 0 };
	struct stage *s = NULL;

	(void) snprintf(a, sizeof(a), "%s/%s", top, first);
	(void) snprintf(b, sizeof(b), "%s/%s", top, second ? second : first);
	if (stage_new(&conf, &s, &why))
		fprintf(stderr, "%s\n", why.text);
	t_check(s);
	return s;
}

#define REPO(l) ((struct stage_repo){ .hub = "huggingface", .repo = "a/b", \
	.listing = (l) })

/* "config.json model.safetensors:100": paths with sizes (1 unless told). */
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
		t_int(listing_add(ret, word, LISTING_FILE,
			size ? strtoull(size, NULL, 10) : 1, &none), 0);
	}
	listing_sort(ret);
}

static void lays_out(struct stage *s, const char *repo, const char *want)
{
	struct listing in, out = { 0 };
	char text[2048] = "";
	size_t n = 0;

	listing_of(repo, &in);
	t_int(stage_layout(s, &REPO(&in), &out), 0);
	for (size_t i = 0; i < out.n; i++) {
		const struct listing_entry *e = &out.v[i];

		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s",
			i ? " " : "", e->path);
		if (e->kind == LISTING_DIR)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "/");
		else if (e->size != LISTING_SIZE_UNKNOWN)
			n += (size_t)snprintf(text + n, sizeof(text) - n,
				":%llu", (unsigned long long)e->size);
	}
	t_str(text, want);
	listing_done(&in);
	listing_done(&out);
}

#define VARIANTS_OF(x) x "_external.onnx " x "_external.onnx_data " \
	x "_fp16.onnx " x "_int8.onnx " x "_skeleton.onnx " x "_trainable.onnx"
#define VARIANTS VARIANTS_OF("pytorch/model")
#define STAGED "pytorch/model.onnx " VARIANTS
#define TENSORFLOW " tensorflow/ tensorflow/model.pb"
/* Of the repository's own files. */
#define FORMS(x) x "_clean.onnx " VARIANTS_OF(x)

static void test_layout(void)
{
	struct stage *s = stage_of(13, "installed", NULL);

	lays_out(s, "README.md model.safetensors:5", "");
	lays_out(s, "config.json README.md", "");
	lays_out(s, "config.json tf_model.h5:4", "pytorch/ " STAGED
		" pytorch/tf_model.h5:4 pytorch/weights.safetensors"
		TENSORFLOW);
	lays_out(s, "config.json model.safetensors:5 pytorch_model.bin:6",
		"pytorch/ pytorch/model.onnx pytorch/model.safetensors:5 "
		VARIANTS TENSORFLOW);
	lays_out(s, "config.json pytorch_model.bin:6",
		"pytorch/ " STAGED " pytorch/pytorch_model.bin:6 "
		"pytorch/weights.safetensors" TENSORFLOW);
	lays_out(s, "config.json model.safetensors.index.json "
		"model-00001-of-00002.safetensors:7 "
		"model-00002-of-00002.safetensors:8 "
		"model-x-of-00002.safetensors:9 pytorch_model.bin:6",
		"pytorch/ pytorch/model-00001-of-00002.safetensors:7 "
		"pytorch/model-00002-of-00002.safetensors:8 " STAGED TENSORFLOW);
	lays_out(s, "config.json pytorch_model.bin.index.json "
		"pytorch_model-00001-of-00001.bin:7", "pytorch/ " STAGED
		" pytorch/pytorch_model-00001-of-00001.bin:7 "
		"pytorch/weights.safetensors" TENSORFLOW);
	lays_out(s, "config.json pytorch_model.bin:6 "
		"pytorch/weights.safetensors:7", "pytorch/ " STAGED
		" pytorch/pytorch_model.bin:6" TENSORFLOW);
	/* What the repository has itself is left out. */
	lays_out(s, "config.json model.safetensors:5 pytorch/model.onnx:3 "
		"onnx/model.onnx:4", FORMS("onnx/model")
		" onnx/weights.safetensors pytorch/ "
		"pytorch/model.safetensors:5 " FORMS("pytorch/model") TENSORFLOW);
	lays_out(s, "config.json model.safetensors:5 "
		"pytorch/model_fp16.onnx:3", "pytorch/ pytorch/model.onnx "
		"pytorch/model.safetensors:5 pytorch/model_external.onnx "
		"pytorch/model_external.onnx_data "
		"pytorch/model_fp16_skeleton.onnx pytorch/model_int8.onnx "
		"pytorch/model_skeleton.onnx pytorch/model_trainable.onnx"
		TENSORFLOW);
	lays_out(s, "config.json model.safetensors:5 pytorch:3",
		"tensorflow/ tensorflow/model.pb");
	lays_out(s, "config.json model.safetensors:5 pytorch:3 tensorflow/x:1",
		"");
	/* ONNX files of its own, wherever they are. */
	lays_out(s, "model.onnx:3 a/b.onnx:2 a/b_uint8.onnx:1", "a/b.safeten"
		"sors " FORMS("a/b") " a/b_uint8_skeleton.onnx "
		FORMS("model") " weights.safetensors");
	lays_out(s, "x.onnx:3 y.safetensors:1 x_int8.onnx/y:1", "x_clean.onnx "
		"x_external.onnx x_external.onnx_data x_fp16.onnx "
		"x_skeleton.onnx x_trainable.onnx");
	/* SavedModels, at the root and below. */
	lays_out(s, "saved_model.pb variables/variables.index:2",
		"tensorflow/ tensorflow/model.pb");
	lays_out(s, "a/b/saved_model.pb a/b/variables/variables.index "
		"saved_model.pb", "a/b/frozen/ a/b/frozen/serving_default.pb");
	lays_out(s, "saved_model.pb variables/variables.index "
		"tensorflow/x.pb", "");
	stage_free(s);
}

static void test_original(void)
{
	struct stage *s = stage_of(13, "installed", NULL);
	struct listing in;

	listing_of("config.json model.safetensors:5", &in);
	t_str(stage_layout_original(s, &REPO(&in),
		"pytorch/model.safetensors"),
		"model.safetensors");
	t_check(!stage_layout_original(s, &REPO(&in),
		"pytorch/model.onnx"));
	t_check(!stage_layout_original(s, &REPO(&in),
		"pytorch/config.json"));
	t_check(!stage_layout_original(s, &REPO(&in),
		"model.safetensors"));
	listing_done(&in);
	listing_of("config.json model.safetensors:5 "
		"pytorch/model.safetensors:6", &in);
	t_check(!stage_layout_original(s, &REPO(&in),
		"pytorch/model.safetensors"));
	listing_done(&in);
	stage_free(s);
}

static void key_of(struct stage *s, const char *repo, const char *revision,
	const char *path, char ret[65])
{
	struct listing in;

	listing_of(repo, &in);
	t_int(stage_key(s, &REPO(&in), revision, path, ret), 0);
	t_int(strlen(ret), 64);
	listing_done(&in);
}

static void test_key(void)
{
	static const char repo[] = "config.json README.md model.safetensors:5";
	struct stage *s = stage_of(13, "installed", NULL);
	struct stage *s17 = stage_of(17, "installed", NULL);
	struct stage *user = stage_of(13, "user", "installed");
	char key[65], other[65];
	struct listing in;

	key_of(s, repo, "r", "pytorch/model.onnx", key);
	key_of(s, repo, "r", "pytorch/model.onnx", other);
	t_str(other, key);
	/* A file no planner reads does not matter. */
	key_of(s, "config.json README.md:9 model.safetensors:5", "r",
		"pytorch/model.onnx", other);
	t_str(other, key);
	key_of(s, "config.json model.safetensors:6", "r",
		"pytorch/model.onnx", other);
	t_check(strcmp(key, other) != 0);
	key_of(s, "config.json modules.json model.safetensors:5", "r",
		"pytorch/model.onnx", other);
	t_check(strcmp(key, other) != 0);
	key_of(s, repo, "other", "pytorch/model.onnx", other);
	t_check(strcmp(key, other) != 0);
	key_of(s, repo, "r", "pytorch/model_skeleton.onnx", other);
	t_check(strcmp(key, other) != 0);
	key_of(s17, repo, "r", "pytorch/model.onnx", other);
	t_check(strcmp(key, other) != 0);
	key_of(user, repo, "r", "pytorch/model.onnx", other);
	t_check(strcmp(key, other) != 0);
	listing_of(repo, &in);
	t_int(stage_key(s, &REPO(&in), "r", "README.md", other), -ENOENT);
	listing_done(&in);
	stage_free(s);
	stage_free(s17);
	stage_free(user);
}

/* With digests of all its inputs, a plan is that of any revision. */
static void test_key_digests(void)
{
	struct stage *s = stage_of(13, "installed", NULL);
	struct listing in = { 0 };
	struct objid id;
	char key[65], other[65];

	digest_sha256("x", 1, &id);
	t_int(listing_add(&in, "config.json", LISTING_FILE, 1, &id), 0);
	t_int(listing_add(&in, "model.safetensors", LISTING_FILE, 5, &id), 0);
	listing_sort(&in);
	t_int(stage_key(s, &REPO(&in), "a", "pytorch/model.onnx", key), 0);
	t_int(stage_key(s, &REPO(&in), "b", "pytorch/model.onnx", other), 0);
	t_str(other, key);
	listing_done(&in);
	stage_free(s);
}

/* ---- plans ----------------------------------------------------------------- */

struct file {
	const char *path, *text;
	size_t len;
};

static int open_text(void *arg, const struct listing_entry *e,
	struct src **ret, struct error *why)
{
	const struct file *f = arg;

	(void) why;
	while (f->path && strcmp(f->path, e->path) != 0)
		f++;
	t_check(f->path);
	*ret = src_of(f->text, f->len);
	return 0;
}

static int plan(struct stage *s, struct file *files, const char *path,
	struct error *why, struct stage_recipe **ret)
{
	const struct objid none = { .alg = OBJID_NONE };
	struct listing in = { 0 };
	struct stage_input input = { REPO(&in), open_text, files, NULL };
	int r;

	for (struct file *f = files; f->path; f++) {
		if (!f->len)
			f->len = strlen(f->text);
		t_int(listing_add(&in, f->path, LISTING_FILE, f->len, &none),
			0);
	}
	listing_sort(&in);
	r = stage_plan(s, &input, path, ret, why);
	listing_done(&in);
	return r;
}

/* One tensor "w" of two floats. */
static const char weights[] = "\100\0\0\0\0\0\0\0"
	"{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}"
	"          " "\0\0\0\0\0\0\0\0";

static void test_plan(void)
{
	struct stage *s = stage_of(13, "installed", NULL);
	struct file files[] = {
		{ "config.json", "{\"model_type\": \"tiny\"}", 0 },
		{ "model.safetensors", weights, sizeof(weights) - 1 },
		{ NULL, NULL, 0 },
	};
	const struct {
		const char *config;
		int err;
		const char *why;
	} bad[] = {
		{ "{", -EBADMSG, "config.json" },
		{ "[]", -ENOTSUP, "config.json is no object" },
		{ "{}", -ENOTSUP, "config.json has no model_type" },
		{ "{\"model_type\": \"odd\"}", -ENOTSUP,
			"there is no blueprint for model_type \"odd\"" },
		{ "{\"model_type\": \"tiny\", \"architectures\": [\"X\"]}",
			-ENOTSUP, "the architecture \"X\" of model_type" },
	};
	struct stage_recipe *recipe = NULL;
	struct error why = { 0 };

	t_int(sizeof(weights) - 1, 8 + 64 + 8);
	t_int(plan(s, files, "pytorch/model.onnx", &why, &recipe), 0);
	t_int(stage_recipe_sources(recipe), 1);
	t_str(stage_recipe_source_path(recipe, 0), "model.safetensors");
	stage_recipe_unref(recipe);
	recipe = NULL;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		files[0].text = bad[i].config;
		files[0].len = 0;
		memset(&why, 0, sizeof(why));
		t_int(plan(s, files, "pytorch/model.onnx", &why, &recipe),
			bad[i].err);
		if (!strstr(why.text, bad[i].why))
			fprintf(stderr, "%s\n", why.text);
		t_check(strstr(why.text, bad[i].why));
		t_check(!recipe);
	}
	stage_free(s);
}

/* Two tensors "a" and "w" of two floats. */
static const char two[] = "\200\0\0\0\0\0\0\0"
	"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
	"\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}"
	"                    " "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

static void names(const char *config, const char *want)
{
	struct stage *s = stage_of(13, "installed", NULL);
	struct file files[] = {
		{ "config.json", config, strlen(config) },
		{ "model.safetensors", two, sizeof(two) - 1 },
		{ NULL, NULL, 0 },
	};
	struct listing in, out = { 0 };
	struct stage_input input = { REPO(&in), open_text, files, NULL };
	struct error why = { 0 };
	char text[2048] = "", key[65];

	listing_of("config.json pytorch_model.bin:5 pytorch/second_part.onnx",
		&in);
	t_check(!stage_asks(s, &REPO(&in), ""));
	t_check(stage_asks(s, &REPO(&in), "pytorch"));
	t_int(stage_key(s, &REPO(&in), "r", "pytorch", key), 0);
	t_int(stage_names(s, &input, "pytorch", &out, &why), 0);
	t_check(!why.code);
	for (size_t i = 0; i < out.n; i++)
		(void) snprintf(text + strlen(text),
			sizeof(text) - strlen(text), "%s%s", i ? " " : "",
			out.v[i].path + strlen("pytorch/"));
	t_str(text, want);
	listing_done(&in);
	listing_done(&out);
	stage_free(s);
}

static void test_names(void)
{
	static const char one[] = "model.onnx " VARIANTS_OF("model")
		" pytorch_model.bin " FORMS("second_part")
		" weights.safetensors";

	names("{\"model_type\": \"tiny\"}", one);
	/* What cannot be staged has a file that says why. */
	names("{\"model_type\": \"odd\"}", one);
	names("{", one);
	names("{\"model_type\": \"parts\", \"architectures\": "
		"[\"TwoParts\"]}", "first_part.onnx " VARIANTS_OF("first_part")
		" pytorch_model.bin " FORMS("second_part")
		" weights.safetensors");
}

/* What a .pt is stands in it. A directory asks those whose size is known; of the
 * others only who wants what they may hold. */
static void test_holder(void)
{
	struct stage *s = stage_of(13, "installed", NULL);
	struct stage_repo repo;
	struct listing in;
	char key[65];

	listing_of("d/far.pt:-1 d/own.onnx d/own.pt:-1 e/near.pt:7 "
		"e/sure.pt2:-1 far.pt:-1", &in);
	repo = REPO(&in);
	t_check(!stage_asks(s, &repo, ""));
	t_check(!stage_asks(s, &repo, "d"));
	t_check(stage_asks(s, &repo, "e"));
	t_str(stage_holder(s, &repo, "d/far.onnx"), "d/far.pt");
	t_str(stage_holder(s, &repo, "d/far_fp16.onnx"), "d/far.pt");
	t_str(stage_holder(s, &repo, "far.onnx"), "far.pt");
	t_check(!stage_holder(s, &repo, "d/own.onnx"));
	t_check(!stage_holder(s, &repo, "e/near.onnx"));
	t_check(!stage_holder(s, &repo, "e/sure.onnx"));
	t_check(!stage_holder(s, &repo, "d/none.onnx"));
	t_check(stage_asks(s, &repo, "d/far.pt"));
	t_int(stage_key(s, &repo, "r", "d/far.pt", key), 0);
	t_check(!stage_asks(s, &repo, "e/near.pt"));
	t_int(stage_key(s, &repo, "r", "e/near.pt", key), -ENOENT);
	listing_done(&in);
	stage_free(s);
}

/* Each part takes its own weights; together they must take all. */
static void test_parts(void)
{
	struct stage *s = stage_of(13, "installed", NULL);
	struct file files[] = {
		{ "config.json", "{\"model_type\": \"parts\", "
			"\"architectures\": [\"TwoParts\"]}", 0 },
		{ "model.safetensors", two, sizeof(two) - 1 },
		{ NULL, NULL, 0 },
	};
	struct stage_recipe *recipe = NULL;
	struct error why = { 0 };

	t_int(plan(s, files, "pytorch/second_part.onnx", &why, &recipe), 0);
	stage_recipe_unref(recipe);
	recipe = NULL;
	t_int(plan(s, files, "pytorch/model.onnx", &why, &recipe), -ENOENT);
	files[1].text = weights;
	files[1].len = sizeof(weights) - 1;
	t_int(plan(s, files, "pytorch/second_part.onnx", &why, &recipe),
		-ENOTSUP);
	t_check(strstr(why.text, "no weight \"a\""));
	t_check(!recipe);
	stage_free(s);
}

/* A checkpoint of three gigabytes, of which only the header is there: from
 * 2 GiB on the model is the graph alone, with the weights beside it. */
struct big_src {
	struct src base;	/* must be first */
	char head[256];		/* then zeros */
};

static int big_read(struct src *s, struct src_read *r)
{
	struct big_src *b = (struct big_src *)s;

	for (size_t i = 0; i < r->len; i++)
		((char *)r->buf)[i] = r->off + i < sizeof(b->head) ?
			b->head[r->off + i] : 0;
	return 0;
}

static void big_free(struct src *s)
{
	(void) s;
}

static const struct src_ops big_ops = {
	.name = "big", .read = big_read, .free = big_free,
};
static struct big_src big;

static int open_big(void *arg, const struct listing_entry *e,
	struct src **ret, struct error *why)
{
	(void) why;
	*ret = strcmp(e->path, "config.json") ? src_ref(&big.base) :
		src_of(arg, strlen(arg));
	return 0;
}

static void test_big(void)
{
	static char config[] = "{\"model_type\": \"big\"}";
	const uint64_t rows = 400000000;
	const struct objid none = { .alg = OBJID_NONE };
	struct stage *s = stage_of(13, "installed", NULL);
	struct listing in = { 0 };
	struct stage_input input = { REPO(&in), open_big, config, NULL };
	struct stage_recipe *recipe = NULL;
	struct error why = { 0 };
	int n = snprintf(big.head + 8, sizeof(big.head) - 8,
		"{\"w\":{\"dtype\":\"F32\",\"shape\":[%llu,2],"
		"\"data_offsets\":[0,%llu]}}", (unsigned long long)rows,
		(unsigned long long)rows * 8);

	big.head[0] = (char)n;
	src_init(&big.base, &big_ops, 8 + (uint64_t)n + rows * 8);
	t_int(listing_add(&in, "config.json", LISTING_FILE,
		strlen(config), &none), 0);
	t_int(listing_add(&in, "model.safetensors", LISTING_FILE,
		big.base.size, &none), 0);
	listing_sort(&in);
	t_int(stage_plan(s, &input, "pytorch/model.onnx", &recipe, &why), 0);
	t_int(stage_recipe_sources(recipe), 0);
	t_check(stage_recipe_size(recipe) < 1000);
	stage_recipe_unref(recipe);
	/* Half of three gigabytes fit. */
	recipe = NULL;
	t_int(stage_plan(s, &input, "pytorch/model_fp16.onnx", &recipe, &why),
		0);
	t_check(stage_recipe_size(recipe) - rows * 4 < 1000);
	stage_recipe_unref(recipe);
	/* A file of its own stands where the weights would be shown. */
	recipe = NULL;
	t_int(listing_add(&in, "pytorch/model.safetensors", LISTING_FILE, 9,
		&none), 0);
	listing_sort(&in);
	t_int(stage_plan(s, &input, "pytorch/model.onnx", &recipe, &why),
		-ENOTSUP);
	t_check(strstr(why.text, "a file pytorch/model.safetensors of its"));
	t_check(!recipe);
	listing_done(&in);
	stage_free(s);
}

static void test_dirs(void)
{
	char broken[256];
	const char *dirs[] = { broken, NULL };
	struct stage_conf conf = { .opset = 13, .blueprint_dirs = dirs };
	struct stage *s = stage_of(13, "user", "installed");
	struct error why = { 0 };
	char *text = stage_families_json(s);

	/* The user's tiny.bp instead of the installed one; both others. */
	t_check(strstr(text, "Tiny of the user"));
	t_check(!strstr(text, "\"Tiny\""));
	t_check(strstr(text, "\"Other\""));
	free(text);
	stage_free(s);
	s = NULL;
	(void) snprintf(broken, sizeof(broken), "%s/broken", top);
	t_int(stage_new(&conf, &s, &why), -EINVAL);
	t_check(strstr(why.text, "bad.bp:2:5"));
	t_check(!s);
	conf.opset = 14;
	t_int(stage_new(&conf, &s, &why), -EINVAL);
	(void) snprintf(broken, sizeof(broken), "%s/none", top);
	conf.opset = 13;
	t_int(stage_new(&conf, &s, &why), 0);
	stage_free(s);
}

int main(void)
{
	t_check(mkdtemp(top));
	t_int(io_mkdirs(AT_FDCWD, top), 0);
	for (size_t i = 0; i < 3; i++) {
		static const char *const names[] = {
			"installed", "user", "broken",
		};
		char dir[256];

		(void) snprintf(dir, sizeof(dir), "%s/%s", top, names[i]);
		t_int(io_mkdirs(AT_FDCWD, dir), 0);
	}
	put("installed/lib.bp", lib);
	put("installed/tiny.bp", bert_like);
	put("installed/other.bp", "family \"Other\" for \"other\"\n");
	put("installed/big.bp", "family \"Big\" for \"big\"\n"
		"input i : i64[n]\ntask \"feature-extraction\" for \"B\" "
		"{ output y : f32[n, 2] = Gather(@w, i) }\n");
	put("installed/parts.bp", in_parts);
	put("installed/.hidden.bp", "(");
	put("installed/notes.txt", "(");
	put("user/tiny.bp", "family \"Tiny of the user\" for \"tiny\"\n");
	put("broken/bad.bp", "a = 1\nb = )\n");
	test_layout();
	test_original();
	test_key();
	test_key_digests();
	test_plan();
	test_names();
	test_holder();
	test_parts();
	test_big();
	test_dirs();
	t_int(io_remove_tree(AT_FDCWD, top), 0);
	return 0;
}
