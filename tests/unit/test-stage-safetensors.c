/* safetensors: headers written here by hand, each with its answer; and what
 * the writer makes, read back. */
#include "config.h"

#include "stage/format/safetensors.h"
#include "stage/safetensors-write.h"
#include "tests/unit/stage-src.h"

/* A file with this header and `data` bytes behind it. */
static struct src *file_of(const char *header, size_t data)
{
	size_t n = strlen(header);
	uint8_t *p = calloc(1, 8 + n + data + 1);
	struct src *s;

	t_check(p);
	for (unsigned i = 0; i < 8; i++)
		p[i] = (uint8_t)((uint64_t)n >> (8 * i));
	memcpy(p + 8, header, n);
	s = src_from_memory(p, 8 + n + data);
	t_check(s);
	return s;
}

static int read_file(struct src *s, struct stage_weights *w)
{
	struct error why = { 0 };
	int err;

	t_int(stage_weights_file(w, "model.safetensors", s->size), 0);
	err = stage_safetensors_read(s, 0, w, &why);
	t_check(!err || why.code == err);
	if (!err)
		err = stage_weights_sort(w, &why);
	return err;
}

#define A(off) "\"a\":{\"dtype\":\"F32\",\"shape\":[2,2]," \
	"\"data_offsets\":[" off "]}"
#define B(off) "\"b\":{\"dtype\":\"I64\",\"shape\":[]," \
	"\"data_offsets\":[" off "]}"

static void test_good(void)
{
	const char *header = "{" B("16,24") "," A("0,16") ","
		"\"__metadata__\":{\"format\":\"pt\"}}   ";
	struct src *s = file_of(header, 24);
	struct stage_weights w = { 0 };
	const struct stage_tensor *t;

	t_int(read_file(s, &w), 0);
	t_int(w.n, 2);
	t = stage_weights_find(&w, "a");
	t_check(t);
	t_int(t->dtype, STAGE_F32);
	t_int(t->rank, 2);
	t_int(t->dim[1], 2);
	t_int(t->off, 8 + strlen(header));
	t_int(t->len, 16);
	t = stage_weights_find(&w, "b");
	t_check(t);
	t_int(t->rank, 0);
	t_int(t->off, 8 + strlen(header) + 16);
	t_check(!stage_weights_find(&w, "c"));
	stage_weights_done(&w);
	src_unref(s);
}

static const struct {
	const char *name, *header;
	size_t data;
	int answer;
} cases[] = {
	{ "good: no tensor", "{}", 0, 0 },
	{ "good: a tensor without elements", "{\"e\":{\"dtype\":\"F32\","
		"\"shape\":[0,7],\"data_offsets\":[0,0]}," A("0,16") "}", 16,
		0 },
	{ "bad: hole", "{" A("8,24") "}", 24, -EBADMSG },
	{ "bad: overlap", "{" A("0,16") "," B("8,16") "}", 16, -EBADMSG },
	{ "bad: bytes behind the last", "{" A("0,16") "}", 17, -EBADMSG },
	{ "bad: file too short", "{" A("0,16") "}", 15, -EBADMSG },
	{ "bad: length and shape differ", "{" A("0,15") "}", 15, -EBADMSG },
	{ "bad: offsets the wrong way", "{" A("16,0") "}", 16, -EBADMSG },
	{ "bad: three offsets", "{" A("0,16,16") "}", 16, -EBADMSG },
	{ "bad: negative offset", "{" A("-16,0") "}", 16, -EBADMSG },
	{ "bad: name twice", "{" A("0,16") "," A("16,32") "}", 32, -EBADMSG },
	{ "bad: no name", "{\"\":{\"dtype\":\"U8\",\"shape\":[1],"
		"\"data_offsets\":[0,1]}}", 1, -EBADMSG },
	{ "bad: name not in UTF-8", "{\"\xff\":{\"dtype\":\"U8\","
		"\"shape\":[1],\"data_offsets\":[0,1]}}", 1, -EBADMSG },
	{ "bad: shape overflows", "{\"a\":{\"dtype\":\"F32\",\"shape\":"
		"[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0,
		-EBADMSG },
	{ "bad: fractional shape", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1.0],"
		"\"data_offsets\":[0,1]}}", 1, -EBADMSG },
	{ "bad: no dtype", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}",
		1, -EBADMSG },
	{ "bad: not JSON", "{\"a\":", 0, -EBADMSG },
	{ "bad: metadata of numbers", "{\"__metadata__\":{\"a\":1}}", 0,
		-EBADMSG },
	{ "bad: no object", "[]", 0, -EBADMSG },
	{ "unsupported: element type", "{\"a\":{\"dtype\":\"F4\",\"shape\":"
		"[2],\"data_offsets\":[0,1]}}", 1, -ENOTSUP },
	{ "unsupported: nine dimensions", "{\"a\":{\"dtype\":\"U8\",\"shape\":"
		"[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1, -EFBIG },
};

static void test_cases(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct src *s = file_of(cases[i].header, cases[i].data);
		struct stage_weights w = { 0 };
		int err = read_file(s, &w);

		if (err != cases[i].answer) {
			fprintf(stderr, "%s: %d\n", cases[i].name, err);
			exit(1);
		}
		stage_weights_done(&w);
		src_unref(s);
	}
}

static void test_length(void)
{
	static const uint8_t huge[16] = { 0, 0, 0, 0, 0, 0, 0, 1, '{' };
	struct stage_weights w = { 0 };
	struct src *s = src_of(huge, 16);

	t_int(read_file(s, &w), -EBADMSG);
	stage_weights_done(&w);
	src_unref(s);
	s = src_of("\2\0\0", 3);
	t_int(read_file(s, &w), -EBADMSG);
	stage_weights_done(&w);
	src_unref(s);
}

/* A header longer than the first read comes whole, in one more. */
static void test_long_header(void)
{
	size_t n = 400, len = 0;
	char *header = malloc(n * 120);
	struct stage_weights w = { 0 };
	struct src *s;

	t_check(header);
	header[len++] = '{';
	for (size_t i = 0; i < n; i++)
		len += (size_t)sprintf(header + len, "%s\"layer.%zu.weight\":"
			"{\"dtype\":\"F16\",\"shape\":[2,1],"
			"\"data_offsets\":[%zu,%zu]}", i ? "," : "", i, 4 * i,
			4 * i + 4);
	strcpy(header + len, "}");
	s = file_of(header, 4 * n);
	t_int(read_file(s, &w), 0);
	t_int(w.n, n);
	t_int(stage_weights_find(&w, "layer.399.weight")->off,
		9 + len + 4 * 399);
	stage_weights_done(&w);
	src_unref(s);
	free(header);
}

static void test_probe(void)
{
	t_int(stage_safetensors_probe("\2\0\0\0\0\0\0\0{}", 10, 10), 1);
	t_int(stage_safetensors_probe("\3\0\0\0\0\0\0\0{}", 10, 10), 0);
	t_int(stage_safetensors_probe("\2\0\0\0\0\0\0\0[]", 10, 10), 0);
	t_int(stage_safetensors_probe("\2\0\0", 3, 3), 0);
}

/* ---- the writer ------------------------------------------------------------ */

static void add(struct stage_weights *w, const char *name,
	enum stage_dtype dtype, unsigned file, uint64_t off, uint64_t n)
{
	char copy[32];
	struct stage_tensor t = { .name = copy, .dtype = dtype, .rank = 1,
		.dim = { n }, .file = file, .off = off,
		.len = n * stage_dtype_size(dtype) };

	(void) snprintf(copy, sizeof(copy), "%s", name);
	t_int(stage_weights_add(w, &t, NULL), 0);
}

static void check_bytes(struct src *s, const struct stage_weights *w,
	const char *name, const char *want)
{
	const struct stage_tensor *t = stage_weights_find(w, name);
	char got[32] = "";

	t_check(t && t->len == strlen(want));
	t_int(src_read_wait(s, t->off, got, t->len), 0);
	t_str(got, want);
	t_int(t->off % stage_dtype_size(t->dtype), 0);
}

/* Two files; two names for the same bytes, types of every width, nothing. */
static void test_write(void)
{
	/* In the order of the recipe: the widest type lies in b.bin. */
	struct src *files[2] = { src_of("01234567", 8),
		src_of("..abcdefgh-mnop", 15) };
	struct stage_weights w = { 0 }, back = { 0 };
	struct stage_recipe *r = NULL;
	struct error why = { 0 };
	struct src *s;

	t_int(stage_weights_file(&w, "d/a.bin", 15), 0);
	t_int(stage_weights_file(&w, "b.bin", 8), 1);
	add(&w, "bytes", STAGE_U8, 0, 11, 3);
	add(&w, "halves", STAGE_BF16, 0, 3, 3);
	add(&w, "floats", STAGE_F32, 0, 2, 2);
	add(&w, "again", STAGE_F32, 0, 2, 2);
	add(&w, "nothing", STAGE_F32, 0, 15, 0);
	add(&w, "long \"name\"", STAGE_I64, 1, 0, 1);
	t_int(stage_weights_sort(&w, NULL), 0);
	t_int(stage_safetensors_write(&w, &r, &why), 0);
	t_str(stage_recipe_source_path(r, 1), "d/a.bin");
	t_int(stage_recipe_src(r, files, &s, &why), 0);
	t_int(read_file(s, &back), 0);
	t_int(back.n, 6);
	check_bytes(s, &back, "bytes", "mno");
	check_bytes(s, &back, "halves", "bcdefg");
	check_bytes(s, &back, "floats", "abcdefgh");
	check_bytes(s, &back, "again", "abcdefgh");
	check_bytes(s, &back, "nothing", "");
	check_bytes(s, &back, "long \"name\"", "01234567");
	stage_weights_done(&back);
	src_unref(s);
	stage_recipe_unref(r);
	r = NULL;
	add(&w, "__metadata__", STAGE_U8, 1, 0, 1);
	t_int(stage_safetensors_write(&w, &r, &why), -ENOTSUP);
	t_check(!r && strstr(why.text, "__metadata__"));
	stage_weights_done(&w);
	src_unref(files[0]);
	src_unref(files[1]);
}

int main(void)
{
	test_good();
	test_cases();
	test_length();
	test_long_header();
	test_probe();
	test_write();
	return 0;
}
