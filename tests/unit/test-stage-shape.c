/*
 * Every operator's rule: the type it gives, and what it refuses. Types are
 * written as stage_type_text() writes them.
 */
#include "config.h"

#include "stage/shape.h"
#include "tests/unit/stage-bp.h"

/* Inputs and the type of `y = expr`; NULL: refused with `why`. */
static const struct {
	const char *inputs, *expr, *type, *why;
} cases[] = {
	/* Element by element. */
	{ "x : f32[n, 4]", "Relu(x)", "f32[n, 4]", NULL },
	{ "x : i64[n]", "Relu(x)", NULL, "input 1 cannot be i64[n]" },
	{ "x : i64[n]", "Abs(x)", "i64[n]", NULL },
	{ "x : bool[n]", "Not(x)", "bool[n]", NULL },
	{ "x : f32[n]", "Not(x)", NULL, "input 1 cannot be f32[n]" },
	{ "x : bool[n]", "Identity(x)", "bool[n]", NULL },
	{ "x : f32[n]", "LeakyRelu(x, alpha=0.1)", "f32[n]", NULL },
	/* Broadcasting. */
	{ "x : f32[n, 1, 4]; z : f32[m, 1]", "x + z", "f32[n, m, 4]", NULL },
	{ "x : f32[n]; z : f32[m]", "x + z", NULL,
		"Add: f32[n] and f32[m] do not fit" },
	{ "x : f32[3]; z : f32[4]", "x * z", NULL, "do not fit" },
	{ "x : f32[n]; z : f32[4]", "x * z", NULL, "do not fit" },
	{ "x : f32[n]; z : i64[n]", "x - z", NULL, "input 2 cannot be i64" },
	{ "x : f32[]; z : f32[n]", "x / z", "f32[n]", NULL },
	{ "x : f32[2, 3]", "Pow(x, 2.0)", "f32[2, 3]", NULL },
	{ "x : bool[n]", "x + true", NULL, "input 1 cannot be bool[n]" },
	{ "x : i64[n, 1]; z : i64[m]", "Less(x, z)", "bool[n, m]", NULL },
	{ "x : bool[n]; z : bool[n]", "And(x, z)", "bool[n]", NULL },
	{ "x : f32[n]; z : f32[n]", "Or(x, z)", NULL, "cannot be f32[n]" },
	{ "x : bool[n, 1]; z : f32[m]", "Where(x, z, 0.0)", "f32[n, m]", NULL },
	{ "x : f32[n]; z : f32[n]", "Where(x, z, z)", NULL, "cannot be f32" },
	{ "x : bool[n]; z : f32[n]", "Where(x, z, 0)", NULL, "input 3" },
	{ "x : i64[n]", "Cast(x, to=f32)", "f32[n]", NULL },
	{ "x : i64[n]", "Cast(x, to=16)", NULL, "to 16 is not supported" },
	{ "x : i64[n]", "Cast(x)", NULL, "needs attribute to" },
	{ "x : f32[n]", "Clip(x, 0.0, _)", "f32[n]", NULL },
	{ "x : f32[n]", "Clip(x, [0.0])", NULL, "input 2 cannot be f32[1]" },
	/* Products. */
	{ "x : f32[b, s, 4]; w : f32[4, 7]", "MatMul(x, w)", "f32[b, s, 7]",
		NULL },
	{ "x : f32[b, 2, s, 4]; w : f32[b, 2, 4, s]", "MatMul(x, w)",
		"f32[b, 2, s, s]", NULL },
	{ "x : f32[b, 3]; w : f32[4, 7]", "MatMul(x, w)", NULL,
		"MatMul: f32[b, 3] times f32[4, 7]" },
	{ "x : f32[b, s]; w : f32[t, 7]", "MatMul(x, w)", NULL, "times" },
	{ "x : f32[4]; w : f32[4, 7]", "MatMul(x, w)", NULL, "times" },
	{ "x : i64[2, 4]; w : i64[4, 7]", "MatMul(x, w)", NULL, "times" },
	{ "x : f32[b, 4]; w : f32[7, 4]; c : f32[7]",
		"Gemm(x, w, c, transB=1)", "f32[b, 7]", NULL },
	{ "x : f32[4, b]; w : f32[4, 7]", "Gemm(x, w, transA=1)",
		"f32[b, 7]", NULL },
	{ "x : f32[b, 4]; w : f32[7, 4]", "Gemm(x, w)", NULL, "times" },
	{ "x : f32[b, 4]; w : f32[4, 7]; c : f32[6]", "Gemm(x, w, c)", NULL,
		"do not fit" },
	{ "x : f32[1, 4]; w : f32[4, 7]; c : f32[3, 7]", "Gemm(x, w, c)",
		NULL, "input 3 cannot be" },
	/* Along axes. */
	{ "x : f32[b, 4]", "Softmax(x, axis=-1)", "f32[b, 4]", NULL },
	{ "x : f32[b, 4]", "Softmax(x, axis=2)", NULL,
		"axis 2 of 2 dimensions" },
	{ "x : f32[b, 4, c]", "ReduceMean(x, axes=[-1])", "f32[b, 4, 1]",
		NULL },
	{ "x : f32[b, 4, c]", "ReduceMax(x, axes=[0, 2], keepdims=0)",
		"f32[4]", NULL },
	{ "x : f32[b, 4]", "ReduceSum(x, [1], keepdims=0)", "f32[b]", NULL },
	{ "x : f32[b, 4]", "ReduceSum(x, axes=[1])", NULL, "no attribute" },
	{ "x : f32[b, 4]; i : i64[1]", "ReduceSum(x, i)", NULL,
		"input 2 must be constant" },
	{ "x : f32[b, 4]", "ReduceMean(x, axes=[])", NULL, "needs axes" },
	{ "x : f32[b, 4]", "ReduceMean(x, axes=[5])", NULL, "axis 5" },
	{ "x : i64[b, s]", "CumSum(x, 1)", "i64[b, s]", NULL },
	{ "x : i64[b, s]", "CumSum(x, 2)", NULL, "axis 2" },
	{ "x : bool[b, s]", "CumSum(x, 1)", NULL, "cannot be bool" },
	{ "x : f32[b, 4]; w : f32[4]",
		"LayerNormalization(x, w, w, axis=-1, epsilon=1e-5)",
		"f32[b, 4]", NULL },
	{ "x : f32[b, 4]; w : f32[5]", "LayerNormalization(x, w)", NULL,
		"input 2 cannot be f32[5]" },
	/* Moving elements. */
	{ "x : f32[a, b, 3]", "Transpose(x, perm=[2, 0, 1])", "f32[3, a, b]",
		NULL },
	{ "x : f32[a, b]", "Transpose(x, perm=[0, 0])", NULL,
		"perm is no permutation" },
	{ "x : f32[a, b]", "Transpose(x, perm=[0])", NULL,
		"perm has 1 axes for 2 dimensions" },
	{ "x : f32[b, s, 12]", "Reshape(x, [0, 0, 3, 4])", "f32[b, s, 3, 4]",
		NULL },
	{ "x : f32[b, s, 3, 4]", "Reshape(x, [0, 0, 12])", "f32[b, s, 12]",
		NULL },
	{ "x : f32[b, s, 12]", "Reshape(x, [0, 0, 3, 5])", NULL,
		"f32[b, s, 12] does not fit f32[0, 0, 3, 5]" },
	{ "x : f32[b, s, 12]", "Reshape(x, [0, -1, 3])", "f32[b, 4*s, 3]",
		NULL },
	{ "x : f32[b, s, 12]", "Reshape(Reshape(x, [-1, 6]), [-1, 12])",
		"f32[b*s, 12]", NULL },
	{ "x : f32[b, s, 12]", "Reshape(Reshape(x, [-1, 7]), [-1, 12])", NULL,
		"does not fit" },
	{ "x : f32[b, 12]", "Reshape(x, [0, -1, 3])", "f32[b, 4, 3]", NULL },
	{ "x : f32[b, 12]", "Reshape(x, [-1, 12])", "f32[b, 12]", NULL },
	{ "x : f32[b, 12]", "Reshape(x, [-1, -1])", NULL, "does not fit" },
	{ "x : f32[b, 12]", "Reshape(x, [0, 5])", NULL, "does not fit" },
	{ "x : f32[b, 12]; i : i64[2]", "Reshape(x, i)", NULL,
		"to a shape that is not known" },
	{ "x : f32[b, 4]; z : f32[4, b]", "Reshape(x, Shape(z))", "f32[4, b]",
		NULL },
	{ "x : f32[b, 4]", "Unsqueeze(x, [1, -1])", "f32[b, 1, 4, 1]", NULL },
	{ "x : f32[b, 4]", "Unsqueeze(x, [1, 1])", NULL, "an axis twice" },
	{ "x : f32[b, 4]", "Unsqueeze(x, [3])", NULL, "axis 3" },
	{ "x : f32[b, 1, 4]", "Squeeze(x, [-2])", "f32[b, 4]", NULL },
	{ "x : f32[b, 1]", "Squeeze(x, [0])", NULL, "axis 0 is not 1" },
	{ "x : f32[b, 2]; z : f32[b, 3]", "Concat(x, z, axis=1)", "f32[b, 5]",
		NULL },
	{ "x : f32[b, 2]; z : f32[c, 3]", "Concat(x, z, axis=1)", NULL,
		"dimension 0 of input 2 differs" },
	{ "x : f32[b, 2]; z : f32[b]", "Concat(x, z, axis=1)", NULL,
		"input 2 is of another kind" },
	{ "x : f32[b]; z : f32[c]", "Concat(x, z, axis=0)", "f32[b + c]",
		NULL },
	{ "x : f32[\"p + s\"]; z : f32[p]; y : f32[s]",
		"x + Concat(z, y, axis=0)", "f32[p + s]", NULL },
	{ "x : f32[b]", "Concat(x, [1.0], axis=0)", "f32[b + 1]", NULL },
	{ "x : f32[b, 9]", "Slice(x, [2], [5], [1])", "f32[b, 3]", NULL },
	{ "x : f32[b, 9]", "Slice(x, [-4], [9223372036854775807], [1])",
		"f32[b, 4]", NULL },
	{ "x : f32[b, 9]", "Slice(x, [1], [7], [1], [2])", NULL, "in steps" },
	{ "x : f32[b, 9]", "Slice(x, [1], [7], [2])", NULL, "axis 2" },
	{ "x : f32[9, 4]; z : i64[b, s]",
		"Slice(x, [0], Slice(Shape(z), [1], [2], [0]), [0])",
		"f32[s, 4]", NULL },
	{ "x : f32[b, 9]; i : i64[1]", "Slice(x, i, [3], [1])", NULL,
		"input 2 must be constant" },
	{ "w : f32[9, 4]; i : i64[b, s]", "Gather(w, i, axis=0)",
		"f32[b, s, 4]", NULL },
	{ "x : f32[b, s, 4]", "Gather(x, 0, axis=1)", "f32[b, 4]", NULL },
	{ "x : f32[b, s, 4]; i : f32[b]", "Gather(x, i)", NULL,
		"indices must be integers" },
	{ "x : f32[b, s]", "Gather(Shape(x), 2)", NULL, "index 2 of 2" },
	{ "x : f32[1, 4]; z : f32[b, s]",
		"Expand(x, Concat(Slice(Shape(z), [1], [2], [0]), [4], axis=0))",
		"f32[s, 4]", NULL },
	{ "x : f32[3]", "Expand(x, [4])", NULL, "do not fit" },
	{ "x : f32[b, s]", "Shape(x)", "i64[2]", NULL },
	{ "x : f32[b, s]", "Range(0, Gather(Shape(x), 1), 1)", "i64[s]",
		NULL },
	{ "x : f32[b, s]", "Range(0, Gather(Shape(x), 1), 2)",
		"i64[unknown_1]", NULL },
	{ "x : f32[b]", "Range(0, 1.5, 1)", NULL, "three scalars" },
	{ "x : f32[b, 4, 9, 8]; w : f32[6, 4, 3, 2]",
		"Conv(x, w, strides=[2, 1], pads=[1, 0, 1, 0])",
		"f32[b, 6, 5, 7]", NULL },
	{ "x : f32[b, 4, 9]; w : f32[6, 2, 3]; c : f32[6]",
		"Conv(x, w, c, group=2, dilations=[2])", "f32[b, 6, 5]", NULL },
	{ "x : f32[b, 4, h, w]; k : f32[4, 4, 3, 3]",
		"Conv(x, k, pads=[1, 1, 1, 1])", "f32[b, 4, h, w]", NULL },
	{ "x : f32[b, 4, h]; k : f32[4, 4, 3]; l : f32[4, 4, 1]",
		"Conv(x, k, pads=[1, 1], strides=[2]) + "
		"Conv(x, l, strides=[2])",
		"f32[b, 4, ceil(h/2)]", NULL },
	{ "x : f32[b, 4, h]; k : f32[4, 4, 1]",
		"Conv(Conv(x, k, strides=[2]), k, strides=[3])",
		"f32[b, 4, ceil(h/6)]", NULL },
	{ "x : f32[b, 4, h]; k : f32[4, 4, 2]; l : f32[4, 4, 4]",
		"Conv(Conv(x, k, strides=[2]), l, strides=[4])",
		"f32[b, 4, floor(h/8)]", NULL },
	{ "x : f32[b, 4, h]; k : f32[4, 4, 2]; l : f32[4, 4, 1]",
		"Conv(Conv(x, k, strides=[2]), l, strides=[4])",
		"f32[b, 4, ceil(floor(h/2)/4)]", NULL },
	{ "x : f32[b, 4, h]; k : f32[4, 4, 3]; l : f32[4, 4, 2]",
		"Conv(Conv(Conv(x, k, strides=[2]), l, strides=[2]), l, "
		"strides=[2])",
		"f32[b, 4, floor((floor((h - 3)/2) + 1)/4)]", NULL },
	{ "x : f32[1, 1, h]; y : f32[1, 1, w]; k : f32[1, 1, 1]",
		"Conv(Concat(Conv(x, k, strides=[2]), Conv(y, k, strides=[2]),"
		" axis=2), k, strides=[2])",
		"f32[1, 1, ceil((ceil(h/2) + ceil(w/2))/2)]", NULL },
	{ "x : f32[b, 4, h]; k : f32[4, 4, 4]", "Conv(x, k, strides=[3])",
		"f32[b, 4, floor((h - 4)/3) + 1]", NULL },
	{ "x : f32[b, 4, h]; k : f32[4, 4, 1]",
		"Conv(x, k, strides=[3], pads=[2, 2])",
		"f32[b, 4, floor((h + 3)/3) + 1]", NULL },
	{ "x : f32[b, 4, h]", "MaxPool(x, kernel_shape=[2], strides=[2], "
		"ceil_mode=1)", "f32[b, 4, ceil(h/2)]", NULL },
	{ "x : f32[b, 4, h]", "MaxPool(x, kernel_shape=[3], strides=[2], "
		"ceil_mode=1)", "f32[b, 4, unknown_1]", NULL },
	{ "x : f32[b, 4, 7]", "AveragePool(x, kernel_shape=[2], strides=[2], "
		"ceil_mode=1)", "f32[b, 4, 4]", NULL },
	{ "x : f32[b, 4, h]; k : f32[4, 4, 5]",
		"Conv(x, k, strides=[2], auto_pad=\"SAME_UPPER\")",
		"f32[b, 4, ceil(h/2)]", NULL },
	{ "x : f32[b, 4, 9]; k : f32[4, 4, 5]",
		"Conv(x, k, strides=[2], auto_pad=\"SAME_UPPER\")",
		"f32[b, 4, 5]", NULL },
	{ "x : f32[b, 4, 9]; k : f32[4, 4, 5]",
		"Conv(x, k, auto_pad=\"SAME_UPPER\", pads=[1, 1])", NULL,
		"without pads" },
	{ "x : f32[b, 4, 9]; k : f32[4, 4, 5]",
		"Conv(x, k, auto_pad=\"VALID\")", NULL, "must be SAME_UPPER" },
	{ "x : f32[b, 4, 9]; k : f32[4, 4, 5]", "Conv(x, k, auto_pad=1)",
		NULL, "auto_pad cannot be" },
	{ "x : f32[b, 4, h]; k : f32[4, 4, 3]",
		"Conv(Pad(x, [0, 0, 1, 0, 0, 1], mode=\"reflect\"), k, "
		"strides=[2])", "f32[b, 4, ceil(h/2)]", NULL },
	{ "x : f32[b, 4, h]; k : f32[4, 4, 3]; l : f32[4, 4, 1]",
		"Conv(x, k, strides=[2]) + Conv(x, l, strides=[2])", NULL,
		"do not fit" },
	{ "x : f32[b, 4, 9]; w : f32[6, 3, 3]", "Conv(x, w)", NULL,
		"4 channels in 1 groups do not fit" },
	{ "x : f32[b, c, 9]; w : f32[6, 3, 3]", "Conv(x, w)", NULL,
		"do not fit the weight" },
	{ "x : f32[b, 4, 2]; w : f32[6, 4, 3]", "Conv(x, w)", NULL,
		"a window of 3 over 2" },
	{ "x : f32[b, 4, 9]; w : f32[6, 4, 3]", "Conv(x, w, pads=[1])", NULL,
		"pads has 1 numbers, not 2" },
	{ "x : f32[b, 4, 9]; w : f32[6, 4, 3]", "Conv(x, w, strides=[0])",
		NULL, "a window of nothing" },
	{ "x : f32[b, 4, 9]; w : f32[6, 4, 3]; c : f32[4]", "Conv(x, w, c)",
		NULL, "input 3 cannot be f32[4]" },
	{ "x : f32[b, 4, 9]; w : f32[6, 4, 3, 1]", "Conv(x, w)", NULL,
		"input 2 cannot be" },
	{ "x : f32[b, 4, 9, 9]", "MaxPool(x, kernel_shape=[3, 3], "
		"strides=[2, 2], pads=[1, 1, 1, 1])", "f32[b, 4, 5, 5]", NULL },
	{ "x : f32[b, 4, 8]", "MaxPool(x, kernel_shape=[3], strides=[2], "
		"ceil_mode=1)", NULL, "ceil_mode where it matters" },
	{ "x : f32[b, 4, 8]", "AveragePool(x, kernel_shape=[2, 2])", NULL,
		"kernel_shape has 2 numbers" },
	{ "x : f32[b, 4, h, w]", "GlobalAveragePool(x)", "f32[b, 4, 1, 1]",
		NULL },
	{ "x : f32[b, 4]", "GlobalAveragePool(x)", NULL, "input 1 cannot" },
	{ "x : f32[b, 4, 2]; v : f32[4]", "BatchNormalization(x, v, v, v, v)",
		"f32[b, 4, 2]", NULL },
	{ "x : f32[b, 4, 2]; v : f32[2]", "BatchNormalization(x, v, v, v, v)",
		NULL, "input 2 cannot be f32[2]" },
	{ "x : f32[b, 4, 2]", "Pad(x, [0, 1, 0, 0, 2, 3])", "f32[b, 7, 5]",
		NULL },
	{ "x : f32[b, 4]", "Pad(Pad(x, [1, 0, 0, 0]), [0, 0, 2, 0])",
		"f32[b + 3, 4]", NULL },
	{ "x : f32[b, 4]", "Pad(x, [0, 1, 0, 0], mode=\"wrap\")", NULL,
		"mode wrap" },
	{ "x : f32[b, 4, 3]; z : f32[h, w]", "Resize(x, _, _, Concat(Slice("
		"Shape(x), [0], [2], [0]), Slice(Shape(z), [1], [2], [0]), "
		"axis=0), mode=\"linear\", "
		"coordinate_transformation_mode=\"half_pixel\")",
		"f32[b, 4, w]", NULL },
	{ "x : f32[b, 4]; z : i64[2]", "Resize(x, _, _, z, mode=\"linear\", "
		"coordinate_transformation_mode=\"half_pixel\")", NULL,
		"to a shape that is not known" },
	{ "x : f32[b, 4]", "Resize(x, _, _, [2, 4], mode=\"cubic\", "
		"coordinate_transformation_mode=\"half_pixel\")", NULL,
		"cubic by half_pixel" },
	{ "x : f32[b, 4]", "Resize(x, _, [1.0], [2, 4], mode=\"linear\", "
		"coordinate_transformation_mode=\"half_pixel\")", NULL,
		"takes numbers and sizes" },
	{ "x : f32[b, 4]", "Pad(x, [1, 0, 0, 0])", "f32[b + 1, 4]", NULL },
	{ "x : f32[b, 4]", "Pad(Pad(x, [1, 0, 2, 0]), [0, 0, 1, 0])",
		"f32[b + 4, 4]", NULL },
	{ "x : f32[b, 4, h]; k : f32[4, 4, 7]",
		"Conv(Pad(x, [0, 0, 3, 0, 0, 3]), k, strides=[2])",
		"f32[b, 4, ceil(h/2)]", NULL },
	{ "x : f32[b, 4, h]; k : f32[4, 4, 4]",
		"Conv(x, k, strides=[2], auto_pad=\"SAME_UPPER\")",
		"f32[b, 4, ceil(h/2)]", NULL },
	{ "x : f32[b, 4, 9]",
		"MaxPool(x, kernel_shape=[4], strides=[2], auto_pad=\"VALID\")",
		NULL, "auto_pad must be" },
	{ "x : f32[b, 4, 9]; k : f32[4, 6, 3]",
		"ConvTranspose(x, k, strides=[2], output_padding=[1])",
		"f32[b, 6, 20]", NULL },
	{ "x : f32[b, 4, 9]; k : f32[4, 6, 3]",
		"ConvTranspose(x, k, pads=[9, 9])", NULL,
		"to less than nothing" },
	{ "x : f32[b, 4, 9]; k : f32[5, 6, 3]", "ConvTranspose(x, k)", NULL,
		"input 2 cannot be" },
	{ "x : f32[b, 4, 9]; k : f32[4, 6, 3]",
		"ConvTranspose(x, k, strides=[1, 1])", NULL,
		"its attributes do not fit" },
	{ "x : f32[t, b, 4]; w : f32[1, 20, 4]; r : f32[1, 20, 5]",
		"LSTM(x, w, r, hidden_size=5)", "f32[t, 1, b, 5]", NULL },
	{ "x : f32[t, b, 4]; w : f32[1, 20, 4]; r : f32[1, 20, 5]",
		"LSTM(x, w, r, hidden_size=4)", NULL, "input 2 cannot be" },
	{ "x : f32[t, b, 4]; w : f32[1, 15, 4]; r : f32[1, 15, 5]; "
		"h : f32[1, c, 5]", "GRU(x, w, r, _, _, h, hidden_size=5)",
		NULL, "input 6 cannot be" },
	{ "x : f32[b, 4]", "Pad(x, [0, 1])", NULL, "2 pads for 2 dimensions" },
	{ "x : f32[b, 4]", "Pad(x, [0, -1, 0, 0])", NULL, "cannot be" },
	{ "x : f32[b, s, 2]", "ArgMax(x, axis=1)", "i64[b, 1, 2]", NULL },
	{ "x : i64[b, s]", "ArgMax(x, axis=-1, keepdims=0)", "i64[b]", NULL },
	{ "x : i64[b, s]", "ArgMax(x, axis=2)", NULL, "axis 2" },
};

/* The text of a run over these inputs. An output of a type that cannot be is
 * refused with the type that is. */
static void run_case(size_t i)
{
	char text[1024], want[256];
	struct bp_test t = { .text = text, .opset = 17 };
	struct stage_graph *g = NULL;
	struct error why = { 0 };
	char inputs[256], *part, *at = inputs;
	size_t n = 0;

	(void) snprintf(inputs, sizeof(inputs), "%s", cases[i].inputs);
	while ((part = strsep(&at, ";")) != NULL)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "input %s\n",
			part);
	(void) snprintf(text + n, sizeof(text) - n, "output y : bool"
		"[9, 9, 9, 9, 9, 9] = %s\ntask \"test\" for \"T\" {}",
		cases[i].expr);
	(void) snprintf(want, sizeof(want), "output y is %s, not",
		cases[i].type ? cases[i].type : "");
	t_check(bp_run(&t, &g, &why) < 0);
	if (!strstr(why.text, cases[i].type ? want : cases[i].why))
		fail_at((int)i, why.text, cases[i].expr);
}

static void test_table(void)
{
	static const char *const names[] = {
		"Abs", "Where", "LayerNormalization", "Softplus",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		t_str(stage_op_find(names[i])->name, names[i]);
	t_check(!stage_op_find("Einsum"));
	t_check(!stage_op_find(""));
	t_check(stage_op_attr(stage_op_find("Gemm"), "transB"));
	t_check(!stage_op_attr(stage_op_find("Gemm"), "axis"));
}

static void test_text(void)
{
	struct stage_type t = { .dtype = STAGE_F32, .rank = 2,
		.dim = { { -1, "batch_size" }, { 384, NULL } } };
	char text[64], small[12];

	stage_type_text(&t, text, sizeof(text));
	t_str(text, "f32[batch_size, 384]");
	stage_type_text(&t, small, sizeof(small));
	t_str(small, "f32[batch_s");
	t.rank = 0;
	stage_type_text(&t, text, sizeof(text));
	t_str(text, "f32[]");
}

int main(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		run_case(i);
	test_table();
	test_text();
	return 0;
}
