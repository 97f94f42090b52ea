/* stage_onnx_info(): what comes out is JSON with the keys that are promised. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "stage/stage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len + 1);
	struct error why = { 0 };
	struct src *s;
	char *text = NULL;
	json_t *j;
	int err;

	memcpy(copy, data, len);
	s = src_from_memory(copy, len);
	err = stage_onnx_info(s, &text, &why);
	if (!err) {
		if (json_parse(text, strlen(text), SIZE_MAX, &j, NULL) ||
			!json_is_array(json_object_get(j, "inputs")) ||
			!json_is_array(json_object_get(j, "outputs")) ||
			!json_is_integer(json_object_get(j, "parameters")))
			abort();
		json_decref(j);
	} else if (text) {
		abort();
	}
	free(text);
	src_unref(s);
	return 0;
}
