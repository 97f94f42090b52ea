/*
 * The language of blueprints: what is no sentence of it, with the place; what
 * a sentence makes; what ends a run; and the budgets.
 */
#include "config.h"

#include "stage/blueprint-ast.h"
#include "tests/unit/stage-bp.h"

#define TASK "task \"test\" for \"T\" {}\n"
#define XY "input x : f32[n, 4]\n"

/* ---- texts that do not parse ----------------------------------------------- */

static const struct {
	const char *text, *why;
} broken[] = {
	{ "x = \"abc", "b.bp:1:5: a string that does not end" },
	{ "x = \"ab{c\"", "a string whose '{' is closed expected" },
	{ "x = \"ab{1 +}\"", "b.bp:1:12: an expression expected, not the end" },
	{ "x = \"ab{1 2}\"", "b.bp:1:11: '}' expected, not '2'" },
	{ "x = @", "b.bp:1:5: a weight's name must follow '@'" },
	{ "x = @a.{b", "a '{' that is not closed" },
	{ "\n\n  x = $", "b.bp:3:7: a character that means nothing here" },
	{ "x = 1e", "a number without its exponent" },
	{ "x = 12ab", "not a number" },
	{ "x = 99999999999999999999", "a number that is too large" },
	{ "x = ", "b.bp:1:5: an expression expected, not the end" },
	{ "x = (1 + 2", "b.bp:1:11: ')' expected, not the end" },
	{ "x = [1, 2", "expected, not the end" },
	{ "x = [1 2]", "b.bp:1:8: ',' expected, not '2'" },
	{ "x = 1 ? 2", "':' expected" },
	{ "1 + 2", "b.bp:1:1: a statement expected, not a value" },
	{ "for = 3", "b.bp:1:5: a name expected, not '='" },
	{ "if true { x = 1", "b.bp:1:16: an expression expected, not the end" },
	{ "match 1 { 1 { } else { } 2 { } }", "'}' expected, not '2'" },
	{ "return 1", "no return outside a def expected" },
	{ "refuse 1", "a string expected, not '1'" },
	{ "assume x = 1", "cfg expected" },
	{ "input x : f99[]", "f32, i64, i32 or bool expected, not 'f99'" },
	{ "input x : f32[1,1,1,1,1,1,1,1,1]", "fewer dimensions expected" },
	{ "output y : f32[1]", "'=' expected" },
	{ "a, b = 1", "an operator with several outputs expected" },
	{ "x = f(1)", "b.bp:1:5: f is not defined before this line" },
	{ "def f(a) { return f(a) }", "f is not defined before this line" },
	{ "def f() { return g() }\ndef g() { return 1 }",
		"b.bp:1:18: g is not defined before this line" },
	{ "def F() { }", "a name in lower case expected, not 'F'" },
	{ "def f(a, a) { }", "f has two parameters a" },
	{ "def f() { }\ndef f() { }", "b.bp:2:5: f is defined already in line 1" },
	{ "def f(a) { }\nf()", "b.bp:2:1: f needs a" },
	{ "def f(a) { }\nf(1, 2)", "f has no parameter so far to the right" },
	{ "def f(a) { }\nf(b=2)", "f has no parameter b" },
	{ "def f(a) { }\nf(1, a=2)", "f is given twice: a" },
	{ "def f(a, b) { }\nf(a=1, 2)", "a named argument expected, not '2'" },
	{ "x = has()", "has has another number of arguments" },
	{ "x = Odd(1)", "b.bp:1:5: Odd is no operator with a shape rule" },
	{ "x = Relu()", "Relu has another number of inputs" },
	{ "x = Relu(1, axis=1)", "Relu has no attribute axis" },
	{ "family \"a\"", "for expected, not the end" },
	{ "family \"a\", \"b\" for \"c\"", "one title expected" },
	{ "family \"a\" for mxnet \"b\"", "a string expected, not 'mxnet'" },
	{ "has(\"a\")", "b.bp:1:1: a statement expected, not a value" },
	{ "task \"a\" for b { }", "a string expected, not 'b'" },
	{ "x = 1\n(2)", "b.bp:2:1: a statement expected, not a value" },
};

static void test_broken(void)
{
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		struct stage_blueprint *bp = NULL;
		struct error why = { 0 };

		t_int(stage_blueprint_parse("b.bp", broken[i].text,
			strlen(broken[i].text), NULL, &bp, &why), -EINVAL);
		t_has(why.text, broken[i].why);
		t_has(why.text, "b.bp:");
		t_check(!bp);
	}
}

/* n times `open`, then n times `shut`. */
static char *nested(size_t n, const char *head, const char *open,
	const char *mid, const char *shut)
{
	size_t a = strlen(open), b = strlen(shut);
	char *text = malloc(strlen(head) + n * (a + b) + strlen(mid) + 1);
	char *p = text;

	t_check(text);
	p = stpcpy(p, head);
	for (size_t i = 0; i < n; i++)
		p = stpcpy(p, open);
	p = stpcpy(p, mid);
	for (size_t i = 0; i < n; i++)
		p = stpcpy(p, shut);
	return text;
}

static void test_nesting(void)
{
	static const char *const kinds[][4] = {
		{ "x = ", "(", "1", ")" }, { "x = ", "[", "1", "]" },
		{ "x = ", "-", "1", "" }, { "x = ", "true ? 1 : ", "1", "" },
		{ "", "if true { ", "x = 1", " }" },
		{ "", "if true { } else ", "if true { }", "" },
		{ "x = ", "Relu(", "1", ")" },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		char *text = nested(30000, kinds[i][0], kinds[i][1],
			kinds[i][2], kinds[i][3]);
		struct stage_blueprint *bp = NULL;
		struct error why = { 0 };

		t_int(stage_blueprint_parse("b.bp", text, strlen(text), NULL,
			&bp, &why), -EINVAL);
		t_has(why.text, "nested too deeply");
		free(text);
	}
}

/* ---- what expressions are -------------------------------------------------- */

/* All true, or the run is refused. */
static const char truths[] =
	"def check(b, what) { refuse \"{what}\" if !b }\n"
	"check(1 + 2 * 3 == 7, 1)\n"
	"check((1 + 2) * 3 == 9, 2)\n"
	"check(7 - 2 - 1 == 4, 3)\n"
	"check(6 / 3 == 2, 4)\n"
	"check(7 % 4 == 3, 5)\n"
	"check(1.0 / 4 == 0.25, 6)\n"
	"check(-3 + 1 == -2, 7)\n"
	"check(1 == 1.0, 8)\n"
	"check(1 < 2 && 2 <= 2 && 3 > 2 && 3 >= 3, 9)\n"
	"check(false || !false, 10)\n"
	"check(none ?? 3 == 3, 11)\n"
	"check(cfg.no ?? cfg.nor ?? 5 == 5, 12)\n"
	"check(cfg.a.b[1] == \"z\", 13)\n"
	"check(\"a\" in [\"b\", \"a\"], 14)\n"
	"check(\"b\" in cfg.a, 15)\n"
	"check(len(0..5) == 5 && len(5..2) == 0, 16)\n"
	"check(len(cfg.a) == 1 && len(\"abc\") == 3, 17)\n"
	"check(split(\"a b c\", \" \") == [\"a\", \"b\", \"c\"], 18)\n"
	"check(contains(\"abc\", \"bc\") && starts(\"abc\", \"ab\"), 19)\n"
	"check(sqrt(16) == 4 && int(\"12\") == 12 && int(2.0) == 2, 20)\n"
	"check(\"x{1 + 1}\\{{true}\\\"\" == \"x2\\{true\\\"\", 21)\n"
	"check(has(\"l.0.w\") && !has(\"l.9.w\"), 22)\n"
	"check(shape(\"l.0.w\") == [2, 3], 23)\n"
	"check(count(\"l.*.w\") == 2 && last(\"l.*.w\") == 6, 24)\n"
	"check(true ? true : 1 / 0, 25)\n"
	"check(opset == 13 && sentence == none, 26)\n"
	"n = 0\n"
	"for i in 1..4 { for c in [10, 20] { n = n + i * c } }\n"
	"check(n == 180, 27)\n"
	"match n { 1, 2 { n = 0 } 180 { n = 1 } else { n = 2 } }\n"
	"check(n == 1, 28)\n"
	"match n { 7 { n = 0 } else { n = 2 } }\n"
	"check(n == 2, 29)\n"
	"def later(a, b=a, c=3) { return a + b * c }\n"
	"a = 100\n"
	"check(later(1, c=2, b=5) == 11, 30)\n"
	"def first(l) { for x in l { if x > 2 { return x } } return 0 }\n"
	"check(first([1, 2, 3, 4]) == 3, 31)\n"
	"def hides(n) { n = n + 1  return n }\n"
	"check(hides(5) == 6 && n == 2, 32)\n"
	"if n == 1 { n = 0 } else if n == 2 { n = 7 } else { n = 9 }\n"
	"check(n == 7, 33)\n"
	"check(cfg.f == 1e-12 && cfg.yes && cfg.big == 4000000000, 34)\n"
	"check([1] + [] + [\"a\", 2.0] == [1, \"a\", 2], 35)\n"
	"check(pair(3) == [3, 3] && pair([1, 2]) == [1, 2], 36)\n"
	"check(each(3, 1) == [3] && each([1, 2, 3], 3) == [1, 2, 3], 37)\n"
	"turn = rope_frequencies(4, 10000, none)\n"
	"check(len(turn) == 2 && turn[0] == 1.0, 37)\n"
	"check(turn[1] > 0.0099999 && turn[1] < 0.0100001, 38)\n"
	"check(rope_frequencies(2, 9.0, cfg.linear) == [0.25], 39)\n"
	"turn = rope_frequencies(6, 1e6, cfg.llama3)\n"
	"check(turn[0] == 1.0 && turn[2] > 1.24e-5 && turn[2] < 1.26e-5, "
	"40)\n"
	"check(turn[1] < 0.01 && turn[1] > 0.00125, 41)\n"
	XY "check(dim(x, 0) == 7 && dim(x, 1) == 4, 42)\n"
	"output y : f32[dim(x, 0), 4] = Relu(given(\"x\"))\n"
	"ignore \"l.*\"\n" TASK;

static void test_truths(void)
{
	const struct bp_test t = {
		.text = truths, .weights = "l.0.w f32 2 3\nl.1.w f32 2\n"
			"l.5.w f32 1\nl.x.w f32 1",
		.config = "{\"a\": {\"b\": [1, \"z\"]}, \"f\": 1e-12, "
			"\"yes\": true, \"big\": 4000000000, "
			"\"linear\": {\"type\": \"linear\", "
			"\"factor\": 4}, \"llama3\": {\"rope_type\": "
			"\"llama3\", \"factor\": 8, \"low_freq_factor\": "
			"1, \"high_freq_factor\": 4, "
			"\"original_max_position_embeddings\": 1000}}",
	};

	bp_makes(t, "y = Relu(x)\n");
}

/* ---- what ends a run ------------------------------------------------------- */

static const struct {
	const char *text, *why;
} refusals[] = {
	{ "refuse \"no {1 + 1}\"", "t.bp:1:1: no 2" },
	{ "x = 7 / 2", "t.bp:1:7: 7 / 2 is no whole number" },
	{ "x = 7 / 0", "division by 0" },
	{ "x = 1.0 / 0", "a result that is not finite" },
	{ "x = 9223372036854775807 + 1", "an integer that is too large" },
	{ "x = cfg.a + 1", "none and an integer cannot be put together" },
	{ "x = 1 + \"a\"", "an integer and a string cannot be put together" },
	{ "x = true < 1", "a bool and an integer cannot" },
	{ "x = -\"a\"", "'-' before a string" },
	{ "x = !1", "'!' before an integer" },
	{ "x = y", "t.bp:1:5: y is not set" },
	{ "x = [1][1]", "item 1 of a list of 1" },
	{ "x = [1][0 - 1]", "item -1 of a list of 1" },
	{ "x = 1[0]", "an integer has no [an integer]" },
	{ "x = cfg.a.b", "none has no .b" },
	{ "if 1 { }", "a condition that is an integer" },
	{ "x = 1 && true", "a condition that is an integer" },
	{ "for i in 3 { }", "a loop over an integer" },
	{ "x = \"{[1]}\"", "a list in a string" },
	{ "x = int(1.5)", "int() of what is no whole number" },
	{ "x = int(\"1x\")", "int() of what is no whole number" },
	{ "x = sqrt(0 - 1)", "sqrt() needs a number that is not negative" },
	{ "x = has(1)", "has() needs a string, not an integer" },
	{ "x = split(\"a\", \"\")", "split() by nothing" },
	{ "x = count(\"a.b\")", "count() needs one '*' in the name" },
	{ "x = shape(\"no\")", "the checkpoint has no weight \"no\"" },
	{ "x = @no.{1}.w", "t.bp:1:5: the checkpoint has no weight \"no.1.w\"" },
	{ "x = 0..100000", "a range of more than 65536" },
	{ "input x : f32[2]\ninput x : f32[2]", "x is taken already" },
	{ "input x : f32[true]", "a dimension that is a bool" },
	{ XY "output y : f32[m, 4] = Relu(x)", "no input has a dimension m" },
	{ "x = [1] - [1]", "a list and a list cannot be put together" },
	{ "x = each([1, 2], 3)", "each() needs an integer or 3 of them" },
	{ "x = each(1, 0)", "each() of 0" },
	{ "x = pair([1])", "pair() needs an integer or 2 of them" },
	{ XY "y = dim(x, 2)", "dim() of axis 2 of 2" },
	{ "x = dim(1, 0)", "dim() needs a tensor, not an integer" },
	{ "x = given(\"x\")", "the graph has no input x" },
	{ "input \"x.1\" : f32[2]\ninput \"x.{1}\" : f32[2]",
		"x.1 is taken already" },
	{ "x = rope_frequencies(3, 10000, none)", "needs an even number" },
	{ "x = rope_frequencies(4, 0, none)", "needs a base above 0" },
	{ "x = rope_frequencies(4, 1, cfg.rope)",
		"rope of type \"longrope\" is not handled" },
	{ "x = rope_frequencies(4, 1, cfg.yarn)", "YaRN needs a base above 1" },
	{ "x = rope_frequencies(4, 10000, cfg.yarn)",
		"has no original_max_position_embeddings" },
	{ "x = relative_buckets(1, 9)", "needs two buckets and a distance" },
	{ "x = relative_buckets(8, 4)", "needs two buckets and a distance" },
	{ "x = relative_buckets(8, 256)", "needs two buckets and a distance" },
	{ "x = sinusoid_frequencies(7)", "needs an even number" },
	{ "x = rope_frequencies(4, 1, cfg.bare)",
		"the scaling of rope has no factor" },
	{ XY "output y : f32[\"n + m\", 4] = Relu(x)",
		"output y is f32[n, 4], not f32[n + m, 4]" },
	{ XY "output y : f32[n, 5] = Relu(x)",
		"output y is f32[n, 4], not f32[n, 5]" },
	{ XY "output y : i64[n, 4] = Relu(x)",
		"output y is f32[n, 4], not i64[n, 4]" },
	{ XY "output x : f32[n, 4] = Relu(x)", "x is taken already" },
	{ XY "output y : f32[n, 4] = 3", "an output that is an integer" },
	{ XY "y = HardSwish(x)", "HardSwish needs opset 14, this is 13" },
	/* said with other operators, but refused as they are */
	{ XY "a, b = Split(x, [1, 2], axis=1)", "Split" },
	{ XY "y = Gather(x, 0, axis=2)", "Gather" },
	{ XY "y = Not(x)", "Not" },
	{ XY "y = Where(x, x, x)", "Where" },
	{ XY "y = GlobalAveragePool(x)", "GlobalAveragePool" },
	{ XY "y = MaxPool(x, kernel_shape=[2])", "MaxPool" },
	{ XY "y = Transpose(x, perm=1)",
		"Transpose: attribute perm cannot be an integer" },
	{ XY "y = Transpose(x, perm=[0, 0.5])", "attribute perm cannot be" },
	{ XY "y = LeakyRelu(x, alpha=\"a\")", "alpha cannot be a string" },
	{ XY "y = x + 1 == x", "t.bp" },
	{ XY "y = x % 2", "a tensor and an integer cannot be put together" },
	{ XY "y = x * \"a\"", "a string where f32 is needed" },
	{ "input i : i64[n]\ny = i + 0.5", "a number where i64 is needed" },
	{ "input i : i64[n]\nb = i == 3\nrefuse \"same\" if b", "without" },
	{ XY "y = x * 1e300", "a constant too large for f32" },
	{ "assume cfg.kind = \"a\"",
		"config.json: kind is \"b\", which is not handled" },
	{ "assume cfg.kind = [\"a\", \"c\"]", "kind is \"b\"" },
	{ "def f(@p) { return 1 }\nx = f(1)", "f: p must be a path" },
};

static void test_refusals(void)
{
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		char text[1024];
		struct bp_test t = { .text = text,
			.config = "{\"kind\": \"b\", \"rope\": {"
				"\"rope_type\": \"longrope\"}, "
				"\"yarn\": {\"type\": \"yarn\", "
				"\"factor\": 4}, \"bare\": {"
				"\"type\": \"linear\"}}" };
		struct error why = { 0 };
		struct stage_graph *g = NULL;

		(void) snprintf(text, sizeof(text), "%s\n" TASK,
			refusals[i].text);
		if (!strcmp(refusals[i].why, "without") ||
		    !strcmp(refusals[i].why, "t.bp")) {
			t_int(bp_run(&t, &g, &why), -ENOTSUP);
			t_has(why.text, "the graph has no output");
			continue;
		}
		bp_refused(t, -ENOTSUP, refusals[i].why);
	}
}

static void test_budgets(void)
{
	struct bp_test t = { .text =
		"n = 0\nfor a in 0..60000 { for b in 0..60000 { n = n + 1 } }"
		TASK };
	char *deep;

	bp_refused(t, -EFBIG, "over the limit of steps");
	t.text = XY "for a in 0..60000 { for b in 0..10 { x2 = Relu(x) } }"
		TASK;
	bp_refused(t, -EFBIG, "t.bp:2:43: over the limit of 200000 operators");
	t.text = "s = \"0123456789\"\nfor i in 0..60 { s = \"{s}{s}\" }" TASK;
	bp_refused(t, -ENOTSUP, "a string of more than 4096 bytes");
	t.text = "s = 0\nfor i in 0..60000 { s = [s, 0..60000] }" TASK;
	bp_refused(t, -EFBIG, "t.bp: over the limit of memory");
	/* A chain of operators nests to the left, whatever the parser does. */
	deep = nested(5000, "x = 1", " + 1", "\n" TASK, "");
	t.text = deep;
	bp_refused(t, -EFBIG, "over the limit of expressions in each other");
	free(deep);
}

/* ---- graphs ---------------------------------------------------------------- */

static void test_names(void)
{
	const struct bp_test t = {
		.lib = "def linear(x, @p) {\n"
			"y = MatMul(x, Transpose(@{p}.weight, perm=[1, 0]))\n"
			"return y + @{p}.bias }\n",
		.text = XY "x = linear(x, \"enc.layer.0.self.key\")\n"
			"dead = Tanh(x)\n"
			"y = Relu(x) + Relu(x)\n"
			"output y : f32[n, 2] = y\n"
			"output z : f32[n, 2] = y\n" TASK,
		.weights = "enc.layer.0.self.key.weight f32 2 4\n"
			"enc.layer.0.self.key.bias f32 2",
		.opset = 17,
	};

	bp_makes(t,
		"/enc/layer.0/self/key/Transpose = "
		"Transpose(enc.layer.0.self.key.weight) perm[0]=1 perm[1]=0\n"
		"/enc/layer.0/self/key/MatMul = "
		"MatMul(x, /enc/layer.0/self/key/Transpose)\n"
		"/enc/layer.0/self/key/Add = "
		"Add(/enc/layer.0/self/key/MatMul, enc.layer.0.self.key.bias)\n"
		"/Relu = Relu(/enc/layer.0/self/key/Add)\n"
		"/Relu_1 = Relu(/enc/layer.0/self/key/Add)\n"
		"y = Add(/Relu, /Relu_1)\n"
		"z = Identity(y)\n");
}

/* What importers of opset 13 do not understand is written for them. */
static void test_portable(void)
{
	const struct bp_test u = {
		.text = "input x : f32[b, s]\n"
			"y = ReduceMean(Unsqueeze(x, [2, -3]), axes=[-1])\n"
			"y = ReduceSum(y, [-1], keepdims=0)\n"
			"output z : f32[b, 1, 1] = y\n" TASK,
	};
	const struct bp_test one = {
		.text = "input x : f32[b, 6]\n"
			"output z : f32[b, 2, 3] = Reshape(x, [0, 2, 3])\n" TASK,
	};
	struct bp_test v = {
		.text = "input x : f32[b, s, 4]\n"
			"y = MatMul(x, Transpose(@w, perm=[1, 0]))\n"
			"output z : f32[b, s, 2, 1] = Reshape(y, [0, 0, 2, 1])\n"
			TASK,
		.weights = "w f32 2 4",
	};

	bp_makes(v,
		"/Reshape = Reshape(x, const)\n"
		"/Gemm = Gemm(/Reshape, w) transB=1 transA=0\n"
		"/Shape = Shape(x)\n"
		"/Slice = Slice(/Shape, const_1, const_2, const_1)\n"
		"/Concat = Concat(/Slice, const_2) axis=0\n"
		"/Reshape_1 = Reshape(/Gemm, /Concat)\n"
		"/Shape_1 = Shape(/Reshape_1)\n"
		"/Slice_1 = Slice(/Shape_1, const_1, const_2, const_1)\n"
		"/Concat_1 = Concat(/Slice_1, const_3) axis=0\n"
		"z = Reshape(/Reshape_1, /Concat_1)\n");
	bp_makes(u,
		"/Unsqueeze = Unsqueeze(x, const)\n"
		"/Unsqueeze_1 = Unsqueeze(/Unsqueeze, const_1)\n"
		"/ReduceMean = ReduceMean(/Unsqueeze_1) keepdims=1 axes[0]=3\n"
		"z = ReduceSum(/ReduceMean, const_2) keepdims=0\n");
	bp_makes(one, "z = Reshape(x, const)\n");
	v.opset = 17;
	bp_makes(v,
		"/Transpose = Transpose(w) perm[0]=1 perm[1]=0\n"
		"/MatMul = MatMul(x, /Transpose)\n"
		"z = Reshape(/MatMul, const)\n");
}

static void test_portable_operators(void)
{
	const struct bp_test u = {
		.text = "input x : f32[n, 4]\n"
			"a, b = Split(x, [1, 3], axis=1)\n"
			"c = Not(Greater(Gather(x, -1, axis=1), 0.5))\n"
			"c = Unsqueeze(c, [1])\n"
			"output z : f32[n, 1] = Where(c, a, 2.0)\n" TASK,
	};
	const struct bp_test pool = {
		.text = "input x : f32[n, 2, 6]\n"
			"y = Conv(x, @w)\n"
			"y = MaxPool(y, kernel_shape=[2], pads=[0, 1])\n"
			"output z : f32[n, 3, 1] = GlobalAveragePool(y)\n" TASK,
		.weights = "w f32 3 2 2",
	};

	bp_makes(u,
		"/Slice = Slice(x, const, const_1, const_1, const_1)\n"
		"/Gather = Gather(x, const_2) axis=1\n"
		"/Squeeze = Squeeze(/Gather, const_1)\n"
		"/Greater = Greater(/Squeeze, const_3)\n"
		"/Cast = Cast(/Greater) to=1\n"
		"/Less = Less(/Cast, const_3)\n"
		"/Unsqueeze = Unsqueeze(/Less, const_1)\n"
		"/Cast_1 = Cast(/Unsqueeze) to=1\n"
		"/Sub = Sub(const_4, /Cast_1)\n"
		"/Mul = Mul(/Slice, /Cast_1)\n"
		"/Mul_1 = Mul(const_5, /Sub)\n"
		"z = Add(/Mul, /Mul_1)\n");
	bp_makes(pool,
		"/Unsqueeze = Unsqueeze(x, const)\n"
		"/Unsqueeze_1 = Unsqueeze(w, const)\n"
		"/Conv = Conv(/Unsqueeze, /Unsqueeze_1) group=1 "
		"kernel_shape[0]=1 kernel_shape[1]=2 "
		"pads[0]=0 pads[1]=0 pads[2]=0 pads[3]=0 "
		"strides[0]=1 strides[1]=1 dilations[0]=1 dilations[1]=1\n"
		"/Squeeze = Squeeze(/Conv, const)\n"
		"/Slice = Slice(/Squeeze, const_1, const_2, const, const_3)\n"
		"/Concat = Concat(/Squeeze, /Slice) axis=2\n"
		"/MaxPool = MaxPool(/Concat) ceil_mode=0 pads[0]=0 pads[1]=0 "
		"kernel_shape[0]=2\n"
		"z = ReduceMean(/MaxPool) keepdims=1 axes[0]=2\n");
}

static void test_constants(void)
{
	const struct bp_test t = {
		.text = "input i : i64[n]\n"
			"a = Cast(i + 2, to=f32) * 2 + 2.0\n"
			"b, c = Split(Reshape(a, [-1, 1]) * 2, [2], axis=0)\n"
			TASK,
	};
	const struct bp_test same = {
		.text = "input i : i64[n]\n"
			"output y : f32[n] = Cast(i + 2, to=f32) * 2 + 2.0\n"
			TASK,
	};

	bp_refused(t, -ENOTSUP, "Split: 1 parts for 2 names");
	/* 2 as i64 and 2 as f32 are two constants, 2 and 2.0 in f32 one. */
	bp_makes(same, "/Add = Add(i, const)\n/Cast = Cast(/Add) to=1\n"
		"/Mul = Mul(/Cast, const_1)\ny = Add(/Mul, const_1)\n");
}

static void test_tied(void)
{
	const struct bp_test t = {
		.text = XY "output y : f32[n, 4] = x + @a + @b + @c\n" TASK,
		.weights = "a=1 f32 4\nb=1 f32 4\nc f16 4",
	};

	bp_makes(t, "/Add = Add(x, a)\n/Add_1 = Add(/Add, a)\n"
		"/c/Cast = Cast(c) to=1\ny = Add(/Add_1, /c/Cast)\n");
}

/* ---- guards ---------------------------------------------------------------- */

static void test_guards(void)
{
	struct bp_test t = {
		.text = XY "output y : f32[n, 4] = x + @a\n" TASK,
		.weights = "a f32 4\nb f32 4\nc f32 4\nd f32 4\ne f32 4",
	};

	bp_refused(t, -ENOTSUP, "t.bp: 4 weights of the checkpoint without a "
		"place in test: \"b\", \"c\", \"d\", …");
	t.weights = "a f32 4\nb f32 4";
	bp_refused(t, -ENOTSUP, "t.bp: 1 weight of the checkpoint without");
	t.text = XY "output y : f32[n, 4] = x + @a\nignore \"b*\"\n" TASK;
	bp_makes(t, "y = Add(x, a)\n");
	t.weights = "model.a f32 4\nmodel.b f32 4";
	bp_makes(t, "y = Add(x, model.a)\n");
	t.weights = "a i64 4";
	bp_refused(t, -ENOTSUP, "weight \"a\" is i64; f32, f16 and bf16 are");
	t.weights = "a f32 5";
	bp_refused(t, -ENOTSUP, "t.bp:2:26: Add: f32[n, 4] and f32[5] do not");
	t.weights = "a f32 4";
	t.config = "{\"rope_scaling\": null, \"harmless\": 1}";
	bp_makes(t, "y = Add(x, a)\n");
	t.config = "{\"rope_scaling\": {}}";
	bp_refused(t, -ENOTSUP, "t.bp: config.json has rope_scaling, which");
	t.text = XY "output y : f32[n, 4] = x + @a\n"
		"ignore cfg.rope_scaling\n" TASK;
	bp_makes(t, "y = Add(x, a)\n");
	t.text = "x = 1\n" TASK;
	t.weights = NULL;
	t.config = NULL;
	bp_refused(t, -ENOTSUP, "t.bp: the graph has no output");
}

static void test_families(void)
{
	static const char text[] =
		"family \"A\" for \"a\", \"aa\"\n"
		"family \"B\" for torchvision \"b\"\n"
		"task \"one\" for \"X\", \"Y\" { }\ntask \"two\" for \"Z\" { }";
	struct stage_blueprint *bp = NULL;
	json_t *all;
	char *s;

	t_int(stage_blueprint_parse("f.bp", text, strlen(text), NULL, &bp,
		NULL), 0);
	t_check(stage_blueprint_has_type(bp, "transformers", "aa"));
	t_check(!stage_blueprint_has_type(bp, "transformers", "b"));
	t_check(stage_blueprint_has_type(bp, "torchvision", "b"));
	t_check(!stage_blueprint_has_type(bp, "torchvision", "a"));
	t_check(!stage_blueprint_has_type(bp, "transformers", "c"));
	t_str(stage_blueprint_task(bp, "Y"), "one");
	t_str(stage_blueprint_task(bp, "Z"), "two");
	t_check(!stage_blueprint_task(bp, "A"));
	all = stage_blueprint_families(bp);
	s = json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
	t_str(s, "[{\"blueprint\":\"f.bp\",\"family\":\"A\",\"library\":"
		"\"transformers\",\"model_types\":["
		"\"a\",\"aa\"],\"tasks\":{\"one\":[\"X\",\"Y\"],\"two\":"
		"[\"Z\"]}},{\"blueprint\":\"f.bp\",\"family\":\"B\","
		"\"library\":\"torchvision\",\"model_types\":[\"b\"],"
		"\"tasks\":{\"one\":[\"X\",\"Y\"],"
		"\"two\":[\"Z\"]}}]");
	free(s);
	json_decref(all);
	stage_blueprint_free(bp);
}

int main(void)
{
	test_broken();
	test_nesting();
	test_truths();
	test_refusals();
	test_budgets();
	test_names();
	test_portable();
	test_portable_operators();
	test_constants();
	test_tied();
	test_guards();
	test_families();
	return 0;
}
