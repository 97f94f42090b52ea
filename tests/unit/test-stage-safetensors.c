/* safetensors: headers written here by hand, each with its answer. */
#include "config.h"

#include "stage/format/safetensors.h"
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

int main(void)
{
	test_good();
	test_cases();
	test_length();
	test_long_header();
	test_probe();
	return 0;
}
