/*
 * What a reader of graphs has to know of operators by name: which of their
 * outputs is which (bodies of functions name outputs, graphs number them),
 * which attributes a SavedModel leaves out because they are the default, and
 * which operators a frozen graph cannot have.
 *
 * Source: the operator registry of TensorFlow (tensorflow/core/ops).
 */
#include "config.h"

#include "stage/tf.h"

#include <stdlib.h>
#include <string.h>

/* Operators with several outputs; "*": a list, behind which numbers depend on
 * its length. */
static const struct {
	const char *op, *outputs;
} several[] = {
	{ "ApproxTopK", "values,indices" },
	{ "BatchSelfAdjointEigV2", "e,v" },
	{ "BatchSvd", "s,u,v" },
	{ "BlockLSTM", "i,cs,f,o,ci,co,h" },
	{ "BlockLSTMV2", "i,cs,f,o,ci,co,h" },
	{ "CSRSparseMatrixComponents", "row_ptrs,col_inds,values" },
	{ "CSRSparseMatrixToSparseTensor", "indices,values,dense_shape" },
	{ "CTCBeamSearchDecoder",
		"decoded_indices*,decoded_values*,decoded_shape*,"
		"log_probability" },
	{ "CTCGreedyDecoder",
		"decoded_indices,decoded_values,decoded_shape,"
		"log_probability" },
	{ "CTCLoss", "loss,gradient" },
	{ "CTCLossV2", "loss,gradient" },
	{ "CollectiveAssignGroupV2", "group_size,group_key" },
	{ "CombinedNonMaxSuppression",
		"nmsed_boxes,nmsed_scores,nmsed_classes,valid_detections" },
	{ "ComputeAccidentalHits", "indices,ids,weights" },
	{ "CudnnRNN", "output,output_h,output_c,reserve_space" },
	{ "CudnnRNNBackprop",
		"input_backprop,input_h_backprop,input_c_backprop,"
		"params_backprop" },
	{ "CudnnRNNBackpropV2",
		"input_backprop,input_h_backprop,input_c_backprop,"
		"params_backprop" },
	{ "CudnnRNNBackpropV3",
		"input_backprop,input_h_backprop,input_c_backprop,"
		"params_backprop" },
	{ "CudnnRNNParamsToCanonical", "weights*,biases*" },
	{ "CudnnRNNParamsToCanonicalV2", "weights*,biases*" },
	{ "CudnnRNNV2",
		"output,output_h,output_c,reserve_space,host_reserved" },
	{ "CudnnRNNV3",
		"output,output_h,output_c,reserve_space,host_reserved" },
	{ "DecodeWav", "audio,sample_rate" },
	{ "DenseCountSparseOutput",
		"output_indices,output_values,output_dense_shape" },
	{ "DenseToDenseSetOperation",
		"result_indices,result_values,result_shape" },
	{ "DenseToSparseSetOperation",
		"result_indices,result_values,result_shape" },
	{ "DeserializeManySparse",
		"sparse_indices,sparse_values,sparse_shape" },
	{ "DeserializeSparse", "sparse_indices,sparse_values,sparse_shape" },
	{ "Eig", "e,v" },
	{ "FractionalAvgPool",
		"output,row_pooling_sequence,col_pooling_sequence" },
	{ "FractionalMaxPool",
		"output,row_pooling_sequence,col_pooling_sequence" },
	{ "FusedBatchNorm",
		"y,batch_mean,batch_variance,reserve_space_1,"
		"reserve_space_2" },
	{ "FusedBatchNormV2",
		"y,batch_mean,batch_variance,reserve_space_1,"
		"reserve_space_2" },
	{ "FusedBatchNormV3",
		"y,batch_mean,batch_variance,reserve_space_1,"
		"reserve_space_2,reserve_space_3" },
	{ "GRUBlockCell", "r,u,c,h" },
	{ "GenerateBoundingBoxProposals", "rois,roi_probabilities" },
	{ "IsotonicRegression", "output,segments" },
	{ "LSTMBlockCell", "i,cs,f,o,ci,co,h" },
	{ "ListDiff", "out,idx" },
	{ "LogMatrixDeterminant", "sign,log_abs_determinant" },
	{ "Lu", "lu,p" },
	{ "MaxPoolWithArgmax", "output,argmax" },
	{ "Merge", "output,value_index" },
	{ "NearestNeighbors",
		"nearest_center_indices,nearest_center_distances" },
	{ "NonMaxSuppressionV4", "selected_indices,valid_outputs" },
	{ "NonMaxSuppressionV5",
		"selected_indices,selected_scores,valid_outputs" },
	{ "Qr", "q,r" },
	{ "QuantizeDownAndShrinkRange", "output,output_min,output_max" },
	{ "QuantizeV2", "output,output_min,output_max" },
	{ "QuantizedAdd", "z,min_z,max_z" },
	{ "QuantizedAvgPool", "output,min_output,max_output" },
	{ "QuantizedBatchNormWithGlobalNormalization",
		"result,result_min,result_max" },
	{ "QuantizedBiasAdd", "output,min_out,max_out" },
	{ "QuantizedConcat", "output,output_min,output_max" },
	{ "QuantizedConcatV2", "output,output_min,output_max" },
	{ "QuantizedConv2D", "output,min_output,max_output" },
	{ "QuantizedConv2DAndRelu", "output,min_output,max_output" },
	{ "QuantizedConv2DAndReluAndRequantize",
		"output,min_output,max_output" },
	{ "QuantizedConv2DAndRequantize", "output,min_output,max_output" },
	{ "QuantizedConv2DPerChannel", "output,min_output,max_output" },
	{ "QuantizedConv2DWithBias", "output,min_output,max_output" },
	{ "QuantizedConv2DWithBiasAndRelu", "output,min_output,max_output" },
	{ "QuantizedConv2DWithBiasAndReluAndRequantize",
		"output,min_output,max_output" },
	{ "QuantizedConv2DWithBiasAndRequantize",
		"output,min_output,max_output" },
	{ "QuantizedConv2DWithBiasSignedSumAndReluAndRequantize",
		"output,min_output,max_output" },
	{ "QuantizedConv2DWithBiasSumAndRelu", "output,min_output,max_output" },
	{ "QuantizedConv2DWithBiasSumAndReluAndRequantize",
		"output,min_output,max_output" },
	{ "QuantizedDepthwiseConv2D", "output,min_output,max_output" },
	{ "QuantizedDepthwiseConv2DWithBias", "output,min_output,max_output" },
	{ "QuantizedDepthwiseConv2DWithBiasAndRelu",
		"output,min_output,max_output" },
	{ "QuantizedDepthwiseConv2DWithBiasAndReluAndRequantize",
		"output,min_output,max_output" },
	{ "QuantizedInstanceNorm", "y,y_min,y_max" },
	{ "QuantizedMatMul", "out,min_out,max_out" },
	{ "QuantizedMatMulWithBias", "out,min_out,max_out" },
	{ "QuantizedMatMulWithBiasAndRelu", "out,min_out,max_out" },
	{ "QuantizedMatMulWithBiasAndReluAndRequantize",
		"out,min_out,max_out" },
	{ "QuantizedMatMulWithBiasAndRequantize", "out,min_out,max_out" },
	{ "QuantizedMaxPool", "output,min_output,max_output" },
	{ "QuantizedMul", "z,min_z,max_z" },
	{ "QuantizedRelu", "activations,min_activations,max_activations" },
	{ "QuantizedRelu6", "activations,min_activations,max_activations" },
	{ "QuantizedReluX", "activations,min_activations,max_activations" },
	{ "QuantizedReshape", "output,output_min,output_max" },
	{ "QuantizedResizeBilinear", "resized_images,out_min,out_max" },
	{ "RaggedCountSparseOutput",
		"output_indices,output_values,output_dense_shape" },
	{ "RaggedCross", "output_values,output_row_splits" },
	{ "RaggedFillEmptyRows",
		"output_value_rowids,output_values,empty_row_indicator,"
		"reverse_index_map" },
	{ "RaggedGather", "output_nested_splits*,output_dense_values" },
	{ "RaggedRange", "rt_nested_splits,rt_dense_values" },
	{ "RaggedTensorFromVariant",
		"output_nested_splits*,output_dense_values" },
	{ "RaggedTensorToSparse",
		"sparse_indices,sparse_values,sparse_dense_shape" },
	{ "RequantizationRange", "output_min,output_max" },
	{ "RequantizationRangePerChannel", "output_min,output_max" },
	{ "Requantize", "output,output_min,output_max" },
	{ "RequantizePerChannel", "output,output_min,output_max" },
	{ "SampleDistortedBoundingBox", "begin,size,bboxes" },
	{ "SampleDistortedBoundingBoxV2", "begin,size,bboxes" },
	{ "SelfAdjointEigV2", "e,v" },
	{ "SoftmaxCrossEntropyWithLogits", "loss,backprop" },
	{ "SparseAdd", "sum_indices,sum_values,sum_shape" },
	{ "SparseConcat", "output_indices,output_values,output_shape" },
	{ "SparseCountSparseOutput",
		"output_indices,output_values,output_dense_shape" },
	{ "SparseCross", "output_indices,output_values,output_shape" },
	{ "SparseCrossHashed", "output_indices,output_values,output_shape" },
	{ "SparseCrossV2", "output_indices,output_values,output_shape" },
	{ "SparseFillEmptyRows",
		"output_indices,output_values,empty_row_indicator,"
		"reverse_index_map" },
	{ "SparseReduceMaxSparse",
		"output_indices,output_values,output_shape" },
	{ "SparseReduceSumSparse",
		"output_indices,output_values,output_shape" },
	{ "SparseReorder", "output_indices,output_values" },
	{ "SparseReshape", "output_indices,output_shape" },
	{ "SparseSlice", "output_indices,output_values,output_shape" },
	{ "SparseSoftmaxCrossEntropyWithLogits", "loss,backprop" },
	{ "SparseSparseMaximum", "output_indices,output_values" },
	{ "SparseSparseMinimum", "output_indices,output_values" },
	{ "SparseSplit", "output_indices*,output_values*,output_shape*" },
	{ "SparseToSparseSetOperation",
		"result_indices,result_values,result_shape" },
	{ "StatelessRandomGetKeyCounter", "key,counter" },
	{ "StatelessRandomGetKeyCounterAlg", "key,counter,alg" },
	{ "StatelessSampleDistortedBoundingBox", "begin,size,bboxes" },
	{ "Svd", "s,u,v" },
	{ "Switch", "output_false,output_true" },
	{ "TakeManySparseFromTensorsMap",
		"sparse_indices,sparse_values,sparse_shape" },
	{ "TensorArrayConcat", "value,lengths" },
	{ "TensorArrayConcatV2", "value,lengths" },
	{ "TensorArrayConcatV3", "value,lengths" },
	{ "TensorArrayV3", "handle,flow" },
	{ "TensorListConcat", "tensor,lengths" },
	{ "TensorListConcatV2", "tensor,lengths" },
	{ "TensorListPopBack", "output_handle,tensor" },
	{ "TopK", "values,indices" },
	{ "TopKUnique", "topk,topk_indices" },
	{ "TopKV2", "values,indices" },
	{ "TopKWithUnique", "topk,topk_indices" },
	{ "Unique", "y,idx" },
	{ "UniqueV2", "y,idx" },
	{ "UniqueWithCounts", "y,idx,count" },
	{ "UniqueWithCountsV2", "y,idx,count" },
};

/* Names the registry gives the output of operators with one. */
static const char *const only[] = {
	"activations", "average", "backprops", "band", "c", "contents",
	"crops", "dense", "diagonal", "elem", "element_shape", "flow_out",
	"gradient", "graph",
	"handle", "image", "index", "initialized", "item", "length", "logits",
	"logsoftmax", "max", "merged", "num_elements", "out", "output",
	"output_handle", "output_matrix", "output_shape", "patches",
	"precision", "product", "ref", "resized_images", "resource",
	"resource_handle", "result", "samples", "selected_indices", "size",
	"softmax", "spectrogram", "stacked_gradients", "sum", "tensor",
	"tensors", "transformed_images", "unbatched_tensor", "value", "values",
	"y", "z",
};

/* key=KIND:VALUE; b bool, n int, f float, s string, t type, i list of ints,
 * l empty list. Attributes newer than TensorFlow 2.4 are not put back: who
 * reads without them takes the default, and older readers refuse them. */
static const struct {
	const char *op, *attrs;
} defaults[] = {
	{ "All", "keep_dims=b:0 Tidx=t:3" },
	{ "Any", "keep_dims=b:0 Tidx=t:3" },
	{ "ArgMax", "Tidx=t:3 output_type=t:9" },
	{ "ArgMin", "Tidx=t:3 output_type=t:9" },
	{ "AudioSpectrogram", "magnitude_squared=b:0" },
	{ "AvgPool", "data_format=s:NHWC" },
	{ "AvgPool3D", "data_format=s:NDHWC" },
	{ "BatchMatMul", "adj_x=b:0 adj_y=b:0" },
	{ "BatchMatMulV2", "adj_x=b:0 adj_y=b:0" },
	{ "BatchMatMulV3", "adj_x=b:0 adj_y=b:0" },
	{ "BiasAdd", "data_format=s:NHWC" },
	{ "Cast", "Truncate=b:0" },
	{ "CombinedNonMaxSuppression", "pad_per_class=b:0 clip_boxes=b:1" },
	{ "ConcatV2", "Tidx=t:3" },
	{ "Conv2D",
		"use_cudnn_on_gpu=b:1 explicit_paddings=l: "
		"data_format=s:NHWC dilations=i:1,1,1,1" },
	{ "Conv2DBackpropInput",
		"use_cudnn_on_gpu=b:1 explicit_paddings=l: "
		"data_format=s:NHWC dilations=i:1,1,1,1" },
	{ "Conv3D", "data_format=s:NDHWC dilations=i:1,1,1,1,1" },
	{ "Conv3DBackpropInputV2",
		"data_format=s:NDHWC dilations=i:1,1,1,1,1 Tshape=t:3" },
	{ "CropAndResize", "method=s:bilinear extrapolation_value=f:0" },
	{ "Cumprod", "exclusive=b:0 reverse=b:0 Tidx=t:3" },
	{ "Cumsum", "exclusive=b:0 reverse=b:0 Tidx=t:3" },
	{ "DataFormatVecPermute", "T=t:3 src_format=s:NHWC dst_format=s:NCHW" },
	{ "DepthToSpace", "data_format=s:NHWC" },
	{ "DepthwiseConv2dNative",
		"explicit_paddings=l: data_format=s:NHWC "
		"dilations=i:1,1,1,1" },
	{ "Equal", "incompatible_shape_error=b:1" },
	{ "EuclideanNorm", "keep_dims=b:0 Tidx=t:3" },
	{ "FakeQuantWithMinMaxArgs",
		"min=f:-6 max=f:6 num_bits=n:8 narrow_range=b:0" },
	{ "FakeQuantWithMinMaxVars", "num_bits=n:8 narrow_range=b:0" },
	{ "Fill", "index_type=t:3" },
	{ "FusedBatchNorm",
		"epsilon=f:9.99999975e-05 exponential_avg_factor=f:1 "
		"data_format=s:NHWC is_training=b:1" },
	{ "FusedBatchNormV2",
		"epsilon=f:9.99999975e-05 exponential_avg_factor=f:1 "
		"data_format=s:NHWC is_training=b:1" },
	{ "FusedBatchNormV3",
		"epsilon=f:9.99999975e-05 exponential_avg_factor=f:1 "
		"data_format=s:NHWC is_training=b:1" },
	{ "Gather", "validate_indices=b:1" },
	{ "GatherV2", "batch_dims=n:0" },
	{ "IRFFT", "Treal=t:1 Tcomplex=t:8" },
	{ "InTopKV2", "T=t:3" },
	{ "LRN", "depth_radius=n:5 bias=f:1 alpha=f:1 beta=f:0.5 T=t:1" },
	{ "LeakyRelu", "alpha=f:0.200000003 T=t:1" },
	{ "ListDiff", "out_idx=t:3" },
	{ "MatMul", "transpose_a=b:0 transpose_b=b:0" },
	{ "MatrixBandPart", "Tindex=t:9" },
	{ "MatrixDiagV3", "align=s:RIGHT_LEFT" },
	{ "MatrixInverse", "adjoint=b:0" },
	{ "Max", "keep_dims=b:0 Tidx=t:3" },
	{ "MaxPool", "T=t:1 explicit_paddings=l: data_format=s:NHWC" },
	{ "MaxPool3D", "data_format=s:NDHWC" },
	{ "MaxPoolV2", "T=t:1 data_format=s:NHWC" },
	{ "MaxPoolWithArgmax", "Targmax=t:9 include_batch_in_index=b:0" },
	{ "Mean", "keep_dims=b:0 Tidx=t:3" },
	{ "Mfcc",
		"upper_frequency_limit=f:4000 lower_frequency_limit=f:20 "
		"filterbank_channel_count=n:40 dct_coefficient_count=n:13" },
	{ "Min", "keep_dims=b:0 Tidx=t:3" },
	{ "MirrorPad", "Tpaddings=t:3" },
	{ "NonMaxSuppressionV3", "T=t:1 T_threshold=t:1" },
	{ "NonMaxSuppressionV4",
		"T=t:1 T_threshold=t:1 pad_to_max_output_size=b:0" },
	{ "NonMaxSuppressionV5", "T=t:1 pad_to_max_output_size=b:0" },
	{ "NotEqual", "incompatible_shape_error=b:1" },
	{ "OneHot", "axis=n:-1 TI=t:9" },
	{ "Pack", "axis=n:0" },
	{ "Pad", "Tpaddings=t:3" },
	{ "PadV2", "Tpaddings=t:3" },
	{ "Prod", "keep_dims=b:0 Tidx=t:3" },
	{ "Qr", "full_matrices=b:0" },
	{ "QuantizeAndDequantizeV2",
		"signed_input=b:1 num_bits=n:8 range_given=b:0 "
		"round_mode=s:HALF_TO_EVEN narrow_range=b:0 axis=n:-1" },
	{ "QuantizeAndDequantizeV3",
		"signed_input=b:1 range_given=b:1 narrow_range=b:0 "
		"axis=n:-1" },
	{ "RFFT", "Treal=t:1 Tcomplex=t:8" },
	{ "RandomStandardNormal", "seed=n:0 seed2=n:0" },
	{ "RandomUniform", "seed=n:0 seed2=n:0" },
	{ "Range", "Tidx=t:3" },
	{ "ResizeArea", "align_corners=b:0" },
	{ "ResizeBicubic", "align_corners=b:0 half_pixel_centers=b:0" },
	{ "ResizeBilinear", "align_corners=b:0 half_pixel_centers=b:0" },
	{ "ResizeNearestNeighbor", "align_corners=b:0 half_pixel_centers=b:0" },
	{ "ReverseSequence", "batch_dim=n:0 Tlen=t:9" },
	{ "ReverseV2", "Tidx=t:3" },
	{ "Shape", "out_type=t:3" },
	{ "ShapeN", "out_type=t:3" },
	{ "Size", "out_type=t:3" },
	{ "SpaceToBatchND", "Tblock_shape=t:3 Tpaddings=t:3" },
	{ "SpaceToDepth", "data_format=s:NHWC" },
	{ "SparseSegmentMean", "Tidx=t:3 Tsegmentids=t:3 sparse_gradient=b:0" },
	{ "SparseToDense", "validate_indices=b:1" },
	{ "SplitV", "Tlen=t:9" },
	{ "Squeeze", "squeeze_dims=l:" },
	{ "StridedSlice",
		"begin_mask=n:0 end_mask=n:0 ellipsis_mask=n:0 "
		"new_axis_mask=n:0 shrink_axis_mask=n:0" },
	{ "Sum", "keep_dims=b:0 Tidx=t:3" },
	{ "Svd", "compute_uv=b:1 full_matrices=b:0" },
	{ "Tile", "Tmultiples=t:3" },
	{ "TopKV2", "sorted=b:1" },
	{ "Transpose", "Tperm=t:3" },
	{ "Unique", "out_idx=t:3" },
	{ "UniqueV2", "Taxis=t:9 out_idx=t:3" },
	{ "UniqueWithCounts", "out_idx=t:3" },
	{ "Unpack", "axis=n:0" },
	{ "UnsortedSegmentSum", "Tnumsegments=t:3" },
	{ "Where", "T=t:10" },
};

#define BRANCH "it chooses one of several variables"
#define LOOP "it is a loop of a kind that has no other form"
#define TABLE "it looks up in a table that has to be filled first"
#define PYTHON "it runs Python"
#define TEXT "it works on strings or files"
#define STATE "it changes a variable"
#define INPUT "it reads or writes data"
#define DEVICE "it is for one kind of device"
#define FUNCTION "it calls a function by value"

/* "NAME*": a prefix. The first that fits gives the reason. */
static const struct {
	const char *op, *why;
} refused[] = {
	{ "RefSelect", BRANCH },
	{ "For", LOOP },
	{ "ParallelFor", LOOP },
	{ "HashTable*", TABLE },
	{ "MutableHashTable*", TABLE },
	{ "MutableDenseHashTable*", TABLE },
	{ "AnonymousHashTable*", TABLE },
	{ "AnonymousMutable*", TABLE },
	{ "LookupTable*", TABLE },
	{ "InitializeTable*", TABLE },
	{ "PyFunc*", PYTHON },
	{ "EagerPyFunc*", PYTHON },
	{ "Decode*", TEXT },
	{ "Encode*", TEXT },
	{ "Parse*", TEXT },
	{ "AsString", TEXT },
	{ "String*", TEXT },
	{ "Regex*", TEXT },
	{ "Unicode*", TEXT },
	{ "StaticRegex*", TEXT },
	{ "ReadFile", TEXT },
	{ "WriteFile", TEXT },
	{ "MatchingFiles", TEXT },
	{ "SentencepieceOp", TEXT },
	{ "Substr", TEXT },
	{ "ReduceJoin*", TEXT },
	{ "UnsortedSegmentJoin", TEXT },
	{ "Assign*", STATE },
	{ "ScatterAdd", STATE },
	{ "ScatterSub", STATE },
	{ "ScatterUpdate", STATE },
	{ "ScatterMul", STATE },
	{ "ScatterDiv", STATE },
	{ "ScatterMin", STATE },
	{ "ScatterMax", STATE },
	{ "ScatterNdUpdate", STATE },
	{ "ScatterNdAdd", STATE },
	{ "ScatterNdSub", STATE },
	{ "ResourceScatter*", STATE },
	{ "ResourceApply*", STATE },
	{ "Apply*", STATE },
	{ "ResourceSparse*", STATE },
	{ "ResourceStrided*", STATE },
	{ "CountUpTo", STATE },
	{ "ResourceCountUpTo", STATE },
	{ "Iterator*", INPUT },
	{ "OneShotIterator", INPUT },
	{ "MakeIterator", INPUT },
	{ "QueueDequeue*", INPUT },
	{ "FIFOQueue*", INPUT },
	{ "RandomShuffleQueue*", INPUT },
	{ "Save*", INPUT },
	{ "Restore*", INPUT },
	{ "MergeV2Checkpoints", INPUT },
	{ "TPU*", DEVICE },
	{ "Xla*", DEVICE },
	{ "SymbolicGradient", FUNCTION },
	{ "RemoteCall", FUNCTION },
	{ "MapDefun", FUNCTION },
};

bool stage_tf_is_frame(const char *op)
{
	static const char *const frame[] = {
		"Switch", "Merge", "Enter", "Exit", "NextIteration",
		"LoopCond",
	};
	const char *base = strncmp(op, "Ref", 3) ? op : op + 3;

	for (size_t i = 0; i < sizeof(frame) / sizeof(frame[0]); i++)
		if (!strcmp(base, frame[i]))
			return true;
	return false;
}

static bool fits(const char *pattern, const char *op)
{
	size_t len = strlen(pattern);

	if (pattern[len - 1] == '*')
		return !strncmp(pattern, op, len - 1);
	return !strcmp(pattern, op);
}

const char *stage_tf_refused(const char *op)
{
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (fits(refused[i].op, op))
			return refused[i].why;
	return NULL;
}

const char *stage_tf_defaults(const char *op)
{
	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
		if (!strcmp(defaults[i].op, op))
			return defaults[i].attrs;
	return NULL;
}

/* Where in "a,b*,c" the output called `name` begins. */
static int place(const char *outputs, const char *name)
{
	size_t len = strlen(name);
	int at = 0;

	for (const char *p = outputs; p; at++) {
		size_t n = strcspn(p, ",*");

		if (n == len && !strncmp(p, name, n))
			return at;
		if (p[n] == '*')
			return -ENOTSUP;
		p = p[n] ? p + n + 1 : NULL;
	}
	return -ENOTSUP;
}

int stage_tf_output(const char *op, const char *name)
{
	for (size_t i = 0; i < sizeof(several) / sizeof(several[0]); i++)
		if (!strcmp(several[i].op, op))
			return place(several[i].outputs, name);
	for (size_t i = 0; i < sizeof(only) / sizeof(only[0]); i++)
		if (!strcmp(only[i], name))
			return 0;
	return -ENOTSUP;
}
