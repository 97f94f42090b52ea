/* JSON as hubs and strangers write it. */
#include "config.h"

#include "base/buf.h"
#include "base/json.h"
#include "tests/unit/t.h"

static int parse(const char *text, json_t **ret, struct error *why)
{
	*why = (struct error){ 0 };
	return json_parse(text, strlen(text), 1 << 20, ret, why);
}

static void good(void)
{
	cleanup_json json_t *j = NULL;
	struct error why;
	uint64_t v = 5;

	t_int(parse("{\"a\":\"x\",\"n\":7,\"neg\":-1,\"r\":1.5}", &j, &why),
		0);
	t_str(json_str(j, "a"), "x");
	t_check(!json_str(j, "n"));
	t_check(!json_str(j, "none"));
	t_check(!json_str(NULL, "a"));
	t_int(json_u64(j, "n", &v), 0);
	t_int(v, 7);
	t_int(json_u64(j, "none", &v), -ENOENT);
	t_int(json_u64(j, "neg", &v), -EBADMSG);
	t_int(json_u64(j, "r", &v), -EBADMSG);
	t_int(json_u64(j, "a", &v), -EBADMSG);
	t_int(v, 7);
}

static void bad(void)
{
	static const char *const texts[] = {
		"", " ", "{", "[1,]", "{\"a\":1,\"a\":2}", "nul", "5",
		"[\"\xff\"]", "[\"\xed\xa0\x80\"]", "[\"a\\u0000b\"]",
		"[\"\\ud800\"]", "[99999999999999999999]", "[1e999]", "[NaN]",
		"[] []", "[\"a\nb\"]", "{\"a\" 1}",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		json_t *j = NULL;
		struct error why;

		t_int(parse(texts[i], &j, &why), -EBADMSG);
		t_check(!j);
		t_int(why.code, -EBADMSG);
		t_check(why.text[0]);
	}
}

static void nested(size_t depth, int want)
{
	cleanup_buf struct buf b = BUF_INIT(1 << 21);
	struct error why;
	json_t *j = NULL;

	for (size_t i = 0; i < depth; i++)
		t_int(buf_append_str(&b, "[\"]\\\"]\","), 0);
	t_int(buf_append_str(&b, "0"), 0);
	for (size_t i = 0; i < depth; i++)
		t_int(buf_append_str(&b, "]"), 0);
	t_int(json_parse(b.data, b.len, b.max, &j, &why), want);
	json_decref(j);
}

static void bytes(const char *in, const char *want)
{
	cleanup_json json_t *j = json_bytes(in);

	t_str(json_string_value(j), want);
}

static void any_bytes(void)
{
	bytes("", "");
	bytes("/a/\xc3\xa9\n", "/a/\xc3\xa9\n");
	bytes("/\xff/\xc3\xa9", "/\xef\xbf\xbd/\xc3\xa9");
	bytes("\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd");
	bytes("\xf0\x9f\xa4\x97\xc3", "\xf0\x9f\xa4\x97\xef\xbf\xbd");
}

int main(void)
{
	struct error why;
	json_t *j = NULL;

	good();
	bad();
	any_bytes();
	nested(JSON_DEPTH_MAX, 0);
	nested(JSON_DEPTH_MAX + 1, -EBADMSG);
	nested(100000, -EBADMSG);
	t_int(json_parse("[1]", 3, 2, &j, &why), -EFBIG);
	t_int(json_parse("[1]", 3, 3, &j, NULL), 0);
	json_decref(j);
	return 0;
}
