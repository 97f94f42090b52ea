/* Pickles written out opcode by opcode: values, the protocols' ways to say
 * them, and what is refused. Calls are never made. */
#include "config.h"

#include "stage/format/pickle.h"
#include "tests/unit/t.h"

#define PICKLE(text) text, sizeof(text) - 1

static struct stage_py *parse(const char *data, size_t len,
	struct stage_pickle **ret)
{
	struct error why = { 0 };
	size_t used = 0;
	int err = stage_pickle_parse(data, len, ret, &used, &why);

	if (err)
		fprintf(stderr, "%s\n", why.text);
	t_int(err, 0);
	t_int(used, len);
	return stage_pickle_root(*ret);
}

static const struct {
	const char *data;
	size_t len;
	int64_t value;
} ints[] = {
	{ PICKLE("K\xff."), 255 }, { PICKLE("M\x01\x02."), 513 },
	{ PICKLE("J\xfe\xff\xff\xff."), -2 }, { PICKLE("I-12\n."), -12 },
	{ PICKLE("L123L\n."), 123 }, { PICKLE("\x8a\x00."), 0 },
	{ PICKLE("\x8a\x01\xff."), -1 }, { PICKLE("\x8a\x02\xff\x00."), 255 },
	{ PICKLE("\x8a\x08\0\0\0\0\0\0\0\x80."), INT64_MIN },
	{ PICKLE("\x8b\x02\0\0\0\x01\x80."), -32767 },
	{ PICKLE("I9223372036854775807\n."), INT64_MAX },
};

static void test_ints(void)
{
	for (size_t i = 0; i < sizeof(ints) / sizeof(ints[0]); i++) {
		struct stage_pickle *p;
		int64_t v;

		t_check(stage_py_int(parse(ints[i].data, ints[i].len, &p),
			&v));
		t_int(v, ints[i].value);
		stage_pickle_free(p);
	}
}

static const struct {
	const char *data;
	size_t len;
	double value;
} floats[] = {
	{ PICKLE("G\x3f\xf8\0\0\0\0\0\0."), 1.5 },
	{ PICKLE("F1.5\n."), 1.5 }, { PICKLE("F-25e-1\n."), -2.5 },
	{ PICKLE("F1e3\n."), 1000 }, { PICKLE("F.25\n."), 0.25 },
};

static void test_floats(void)
{
	for (size_t i = 0; i < sizeof(floats) / sizeof(floats[0]); i++) {
		struct stage_pickle *p;
		struct stage_py *v = parse(floats[i].data, floats[i].len, &p);

		t_int(v->kind, STAGE_PY_FLOAT);
		t_check(!memcmp(&v->u.f, &floats[i].value, sizeof(double)));
		stage_pickle_free(p);
	}
}

static const struct {
	const char *data;
	size_t len;
	const char *value;
} strings[] = {
	{ PICKLE("X\2\0\0\0hi."), "hi" }, { PICKLE("\x8c\2hi."), "hi" },
	{ PICKLE("U\2hi."), "hi" }, { PICKLE("T\2\0\0\0hi."), "hi" },
	{ PICKLE("\x8d\2\0\0\0\0\0\0\0hi."), "hi" },
	{ PICKLE("S'it\\'s\\n'\n."), "it's\n" },
	{ PICKLE("S\"\\x41\"\n."), "A" },
	{ PICKLE("V\xe9\\u00e9\\U0001f600\n."), "éé😀" },
};

static void test_strings(void)
{
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
		struct stage_pickle *p;
		const char *s;

		t_check(stage_py_str(parse(strings[i].data, strings[i].len,
			&p), &s));
		t_str(s, strings[i].value);
		stage_pickle_free(p);
	}
}

/* {"a": (1, [2, 3]), "b": None} and the last of two equal keys. */
static void test_containers(void)
{
	struct stage_pickle *p;
	struct stage_py *v = parse(PICKLE("\x80\2}q\0(U\1aK\1](K\2K\3e\x86"
		"U\1bNU\1bI01\nu."), &p), *a;
	int64_t i;

	t_int(v->kind, STAGE_PY_DICT);
	t_check(stage_py_dict(v) == v);
	a = stage_py_get(v, "a");
	t_check(a);
	t_int(stage_py_count(a), 2);
	t_check(stage_py_int(stage_py_item(a, 0), &i) && i == 1);
	t_int(stage_py_count(stage_py_item(a, 1)), 2);
	t_check(!stage_py_item(a, 2));
	t_int(stage_py_get(v, "b")->kind, STAGE_PY_BOOL);
	t_check(!stage_py_get(v, "c"));
	stage_pickle_free(p);
}

/* The same object from the memo, in each of its spellings. */
static void test_memo(void)
{
	struct stage_pickle *p;
	struct stage_py *v = parse(PICKLE("\x80\4]\x94h\0h\0\x87."), &p);

	t_check(stage_py_item(v, 0) == stage_py_item(v, 1));
	t_check(stage_py_item(v, 0) == stage_py_item(v, 2));
	stage_pickle_free(p);
	v = parse(PICKLE("]p1\ng1\nr\7\0\0\0j\7\0\0\0\x87."), &p);
	t_check(stage_py_item(v, 0) == stage_py_item(v, 2));
	stage_pickle_free(p);
	/* A list that holds itself. */
	v = parse(PICKLE("]q\0h\0a."), &p);
	t_check(stage_py_item(v, 0) == v);
	stage_pickle_free(p);
}

/* OrderedDict() filled with SETITEMS and given a state with BUILD. */
static void test_calls(void)
{
	struct stage_pickle *p;
	struct stage_py *v = parse(PICKLE("ccollections\nOrderedDict\n)R"
		"(U\1aK\1u}U\1sK\2sb."), &p);

	t_str(stage_py_callee(v), "collections OrderedDict");
	t_check(stage_py_get(stage_py_dict(v), "a"));
	t_check(stage_py_get(v->u.call.state, "s"));
	stage_pickle_free(p);
	/* As Python 2 wrote it: OrderedDict([["a", 1]]) */
	v = parse(PICKLE("ccollections\nOrderedDict\n((l(lS'a'\naI1\naatR."),
		&p);
	t_check(stage_py_get(stage_py_dict(v), "a"));
	stage_pickle_free(p);
	v = parse(PICKLE("\x8c\2os\x8c\6system\x93\x8c\4echo\x85R."), &p);
	t_str(stage_py_callee(v), "os system");
	t_check(!stage_py_dict(v));
	stage_pickle_free(p);
	v = parse(PICKLE("(ios\nsystem\n."), &p);
	t_str(stage_py_callee(v), "os system");
	stage_pickle_free(p);
	v = parse(PICKLE("(cos\nsystem\nK\1o."), &p);
	t_int(stage_py_count(v), 1);
	stage_pickle_free(p);
}

static void test_persids(void)
{
	struct stage_pickle *p;
	struct stage_py *v = parse(PICKLE("U\1a\x85QPword\n\x86."), &p);
	const char *s;

	t_int(stage_py_item(v, 0)->kind, STAGE_PY_PERSID);
	t_check(stage_py_str(stage_py_item(stage_py_item(v, 0), 0), &s));
	t_str(s, "a");
	t_int(stage_py_count(stage_pickle_persids(p)), 2);
	t_check(stage_py_item(stage_pickle_persids(p), 1) ==
		stage_py_item(v, 1));
	stage_pickle_free(p);
}

/* What follows STOP is left; two pickles in a row are two reads. */
static void test_used(void)
{
	struct stage_pickle *p;
	size_t used;

	t_int(stage_pickle_parse("N.K\1.", 5, &p, &used, NULL), 0);
	t_int(used, 2);
	stage_pickle_free(p);
}

static const struct {
	const char *what, *data;
	size_t len;
	int answer;
} bad[] = {
	{ "cut: nothing", PICKLE(""), -ENODATA },
	{ "cut: no stop", PICKLE("N"), -ENODATA },
	{ "cut: argument", PICKLE("J\1\2"), -ENODATA },
	{ "cut: line", PICKLE("I12"), -ENODATA },
	{ "cut: long string", PICKLE("X\xff\xff\xff\xff" "ab."), -ENODATA },
	{ "cut: absurd string", PICKLE("\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
		"ab."), -ENODATA },
	{ "stop on nothing", PICKLE("."), -EBADMSG },
	{ "reduce on one", PICKLE("NR."), -EBADMSG },
	{ "below the mark", PICKLE("N(a."), -EBADMSG },
	{ "no mark", PICKLE("Nt."), -EBADMSG },
	{ "pop on nothing", PICKLE("0."), -EBADMSG },
	{ "key without value", PICKLE("}(Nu."), -EBADMSG },
	{ "items for a number", PICKLE("K\1NNs."), -EBADMSG },
	{ "items below a mark", PICKLE("}((NNu."), -EBADMSG },
	{ "list items in a dict", PICKLE("}Na."), -EBADMSG },
	{ "state for a number", PICKLE("K\1Nb."), -EBADMSG },
	{ "arguments no tuple", PICKLE("cos\nsystem\nNR."), -EBADMSG },
	{ "memo unset", PICKLE("h\1."), -EBADMSG },
	{ "memo far away", PICKLE("Nr\xff\xff\xff\xff."), -EBADMSG },
	{ "memo out of proportion", PICKLE("Nr\0\1\0\0."), -EBADMSG },
	{ "memo negative", PICKLE("Np-1\n."), -EBADMSG },
	{ "global of numbers", PICKLE("K\1K\2\x93."), -EBADMSG },
	{ "number of letters", PICKLE("Iabc\n."), -EBADMSG },
	{ "float of nothing", PICKLE("F\n."), -EBADMSG },
	{ "float with a tail", PICKLE("F1.5x\n."), -EBADMSG },
	{ "open quote", PICKLE("S'ab\n."), -EBADMSG },
	{ "bad escape", PICKLE("S'\\q'\n."), -EBADMSG },
	{ "short escape", PICKLE("S'\\x4'\n."), -EBADMSG },
	{ "no code point", PICKLE("V\\U00110000\n."), -EBADMSG },
	{ "unknown opcode", PICKLE("\xff."), -ENOTSUP },
	{ "extension registry", PICKLE("\x82\1."), -ENOTSUP },
};

static void test_bad(void)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct stage_pickle *p = NULL;
		struct error why = { 0 };
		int err = stage_pickle_parse(bad[i].data, bad[i].len, &p, NULL,
			&why);

		if (err != bad[i].answer || p || why.code != err) {
			fprintf(stderr, "%s: %d\n", bad[i].what, err);
			exit(1);
		}
	}
}

/* n times `op`, then `tail`. */
static int repeated(const char *head, char op, size_t n, const char *tail)
{
	size_t at = strlen(head);
	char *data = malloc(at + n + strlen(tail) + 1);
	struct stage_pickle *p = NULL;
	int err;

	t_check(data);
	memcpy(data, head, at);
	memset(data + at, op, n);
	strcpy(data + at + n, tail);
	err = stage_pickle_parse(data, at + n + strlen(tail), &p, NULL, NULL);
	stage_pickle_free(p);
	free(data);
	return err;
}

static void test_ceilings(void)
{
	t_int(repeated("", '(', STAGE_PICKLE_DEPTH_MAX, "N."), 0);
	t_int(repeated("", '(', STAGE_PICKLE_DEPTH_MAX + 1, "N."), -EFBIG);
	t_int(repeated("(", 'N', 100000, "t."), 0);
	t_int(repeated("", 'N', STAGE_PICKLE_VALUES_MAX + 1, "."), -EFBIG);
	t_int(repeated("N", '2', STAGE_PICKLE_VALUES_MAX + 1, "."), -EFBIG);
	/* ((((...),),),): deep, and freed all the same. */
	t_int(repeated("N", '\x85', 1000000, "."), 0);
}

int main(void)
{
	test_ints();
	test_floats();
	test_strings();
	test_containers();
	test_memo();
	test_calls();
	test_persids();
	test_used();
	test_bad();
	test_ceilings();
	return 0;
}
