/* Names of Kaggle and TensorFlow Hub, and where credentials are looked for. */
#include "config.h"

#include "fetch/kaggle-name.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/io.h"
#include "base/path.h"
#include "fetch/kaggle-api.h"
#include "fetch/tfhub-name.h"
#include "tests/unit/t.h"

static void frameworks(void)
{
	static const char *const all[][3] = {
		{ "tensorFlow1", "TENSOR_FLOW_1",
			"MODEL_FRAMEWORK_TENSOR_FLOW_1" },
		{ "tensorFlow2", "TensorFlow2",
			"MODEL_FRAMEWORK_TENSOR_FLOW_2" },
		{ "tfLite", "tflite", "MODEL_FRAMEWORK_TF_LITE" },
		{ "tfJs", "TF_JS", "MODEL_FRAMEWORK_TF_JS" },
		{ "pyTorch", "PyTorch", "MODEL_FRAMEWORK_PY_TORCH" },
		{ "jax", "JAX", "MODEL_FRAMEWORK_JAX" },
		{ "flax", "Flax", "MODEL_FRAMEWORK_FLAX" },
		{ "pax", "Pax", "MODEL_FRAMEWORK_PAX" },
		{ "maxText", "maxtext", "MODEL_FRAMEWORK_MAX_TEXT" },
		{ "gemmaCpp", "gemma_cpp", "MODEL_FRAMEWORK_GEMMA_CPP" },
		{ "ggml", "GGML", "MODEL_FRAMEWORK_GGML" },
		{ "gguf", "GGUF", "MODEL_FRAMEWORK_GGUF" },
		{ "coral", "Coral", "MODEL_FRAMEWORK_CORAL" },
		{ "scikitLearn", "scikit-learn",
			"MODEL_FRAMEWORK_SCIKIT_LEARN" },
		{ "mxnet", "MXNet", "MODEL_FRAMEWORK_MXNET" },
		{ "onnx", "ONNX", "MODEL_FRAMEWORK_ONNX" },
		{ "keras", "Keras", "MODEL_FRAMEWORK_KERAS" },
		{ "transformers", "Transformers",
			"MODEL_FRAMEWORK_TRANSFORMERS" },
		{ "api", "API", "MODEL_FRAMEWORK_API" },
		{ "other", "Other", "MODEL_FRAMEWORK_OTHER" },
		{ "tensorRtLlm", "TENSOR_RT_LLM",
			"MODEL_FRAMEWORK_TENSOR_RT_LLM" },
		{ "triton", "Triton", "MODEL_FRAMEWORK_TRITON" },
		{ "vllm", "vLLM", "MODEL_FRAMEWORK_VLLM" },
		/* not known when this was written */
		{ "coreMl3", "CORE_ML_3", "MODEL_FRAMEWORK_CORE_ML_3" },
	};
	char got[KAGGLE_FRAMEWORK_MAX];

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		for (int k = 0; k < 3; k++) {
			t_check(fetch_kaggle_framework(all[i][k],
				strlen(all[i][k]), got));
			t_str(got, all[i][0]);
			t_check(fetch_kaggle_framework_enum(all[i][k],
				strlen(all[i][k]), got));
			t_str(got, all[i][2]);
		}
	}
	t_check(!fetch_kaggle_framework("a.b", 3, got));
	t_check(!fetch_kaggle_framework("", 0, got));
	t_check(!fetch_kaggle_framework("_", 1, got));
}

static void kaggle_names(void)
{
	static const struct {
		const char *path;
		enum fetch_name what;
	} rows[] = {
		{ "google", FETCH_NAME_GROUP },
		{ "google/nnlm", FETCH_NAME_GROUP },
		{ "google/nnlm/tensorFlow2", FETCH_NAME_GROUP },
		{ "google/nnlm/tensorFlow2/en-dim128", FETCH_NAME_NEWEST },
		{ "google/nnlm/tensorFlow2/1.1-2b_it/12",
			FETCH_NAME_VERSION },
		{ "google/nnlm/tensorFlow2/x/0", FETCH_NAME_NONE },
		{ "google/nnlm/tensorFlow2/x/01", FETCH_NAME_NONE },
		{ "google/nnlm/tensorFlow2/x/latest", FETCH_NAME_NONE },
		{ "google/nnlm/tensorFlow2/x/1234567890", FETCH_NAME_NONE },
		{ "google/nnlm/tensorFlow2/x/1/saved_model.pb",
			FETCH_NAME_NONE },
		{ "autorun.inf", FETCH_NAME_NONE },
		{ ".git", FETCH_NAME_NONE },
		{ "google/.git", FETCH_NAME_NONE },
		{ "google//x", FETCH_NAME_NONE },
		{ "google/", FETCH_NAME_NONE },
		{ "", FETCH_NAME_NONE },
		{ "a b", FETCH_NAME_NONE },
		{ "a?owner=b", FETCH_NAME_NONE },
		{ "a/../b", FETCH_NAME_NONE },
	};
	size_t len = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		t_int(fetch_kaggle_name(rows[i].path, &len), rows[i].what);
	t_int(len, strlen("google/nnlm/tensorFlow2/1.1-2b_it"));
}

static void tfhub_names(void)
{
	static const struct {
		const char *path;
		enum fetch_name what;
		size_t len;
	} rows[] = {
		{ "google", FETCH_NAME_GROUP, 0 },
		{ "google/nnlm-en-dim128", FETCH_NAME_NEWEST, 0 },
		{ "google/nnlm-en-dim128/2", FETCH_NAME_VERSION, 21 },
		{ "google/imagenet/mobilenet_v2_100_224/classification/5",
			FETCH_NAME_VERSION, 51 },
		{ "google/5", FETCH_NAME_NEWEST, 0 },
		{ "google/5/5", FETCH_NAME_VERSION, 8 },
		{ "google/x/5/y", FETCH_NAME_NONE, 0 },
		{ "google/collection/bert/1", FETCH_NAME_NONE, 0 },
		{ "google/collections/bert/1", FETCH_NAME_VERSION, 23 },
		{ "google/x/../1", FETCH_NAME_NONE, 0 },
		{ "google/x?tf-hub-format=compressed", FETCH_NAME_NONE, 0 },
		{ "autorun.inf", FETCH_NAME_NONE, 0 },
		{ "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q", FETCH_NAME_NONE, 0 },
	};
	char *place = NULL;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		size_t len = 0;

		t_int(fetch_tfhub_name(rows[i].path, &len), rows[i].what);
		t_int(len, rows[i].len);
	}
	t_check(fetch_tfhub_handle_ok("google/x") &&
		!fetch_tfhub_handle_ok("google") &&
		!fetch_tfhub_handle_ok("google/x/1"));
	t_int(fetch_tfhub_gs("gs://b/p/1/uncompressed/\n", 25, &place), 0);
	t_str(place, "b/p/1/uncompressed");
	free(place);
	t_int(fetch_tfhub_gs("gs://b", 6, &place), -EINVAL);
	t_int(fetch_tfhub_gs("gs://b/../c", 11, &place), -EINVAL);
	t_int(fetch_tfhub_gs("https://b/c", 11, &place), -EINVAL);
	t_int(fetch_tfhub_gs("", 0, &place), -EINVAL);
}

static void web_addresses(void)
{
	static const struct {
		const char *url, *instance, *version;
	} rows[] = {
		{ "https://www.kaggle.com/models/deepmind/i3d-kinetics/"
			"TensorFlow1/400/1?tfhub-redirect=true",
			"deepmind/i3d-kinetics/tensorFlow1/400", "1" },
		{ "http://127.0.0.1:80/models/google/nnlm/TensorFlow2/x",
			"google/nnlm/tensorFlow2/x", "" },
		{ "/models/google/nnlm/tfLite/x/3#top",
			"google/nnlm/tfLite/x", "3" },
		{ "https://www.kaggle.com/models?tfhub-redirect=true", NULL,
			NULL },
		{ "https://www.kaggle.com/models/google/nnlm", NULL, NULL },
		{ "https://www.kaggle.com/models/a/b/c/d/latest", NULL, NULL },
		{ "https://www.kaggle.com/models/a/b/../d/1", NULL, NULL },
		{ "https://www.kaggle.com/a/models/a/b/c/d", NULL, NULL },
		{ "https://www.kaggle.com", NULL, NULL },
	};
	char version[KAGGLE_DIGITS_MAX + 1];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char *name = NULL;
		int r = fetch_kaggle_of_url(rows[i].url, &name, version);

		t_int(r, rows[i].instance ? 0 : -ENOENT);
		if (!r) {
			t_str(name, rows[i].instance);
			t_str(version, rows[i].version);
		}
		free(name);
	}
}

/* ---- credentials ---- */

static const char *const variables[] = {
	"KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY",
	"KAGGLE_CONFIG_DIR",
};

static void shown(const char *want)
{
	struct conf *c = conf_new();
	char *got = fetch_kaggle_credentials(c);

	if (want)
		t_str(got, want);
	else
		t_check(!got);
	free(got);
	conf_free(c);
}

static void put(const char *path, const char *text)
{
	t_int(io_publish(AT_FDCWD, path, text, strlen(text), 0600), 0);
}

/* Each place that counts less than the one before it. */
static void credentials(void)
{
	char dir[] = "/tmp/test-fetch-kaggle-XXXXXX";
	char *dot, *path;
	struct conf *c;
	char *got;

	t_check(mkdtemp(dir));
	for (size_t i = 0; i < 4; i++)
		unsetenv(variables[i]);
	setenv("HOME", dir, 1);
	shown(NULL);
	dot = path_join(dir, ".kaggle");
	t_int(mkdir(dot, 0700), 0);
	path = path_join(dot, "kaggle.json");
	put(path, "{\"username\": \"joe\", \"key\": \"pw\"}");
	shown("Basic am9lOnB3");
	put(path, "{\"username\": \"joe\"}");
	free(path);
	shown(NULL);
	setenv("KAGGLE_CONFIG_DIR", dir, 1);
	path = path_join(dir, "kaggle.json");
	put(path, "{\"username\": \"ann\", \"key\": \"k\"}");
	free(path);
	shown("Basic YW5uOms=");
	setenv("KAGGLE_USERNAME", "u", 1);
	shown("Basic YW5uOms=");
	setenv("KAGGLE_KEY", "v", 1);
	shown("Basic dTp2");
	path = path_join(dot, "access_token.txt");
	put(path, "txt\n");
	free(path);
	shown("Bearer txt");
	path = path_join(dot, "access_token");
	put(path, "two words");
	shown("Bearer txt");
	put(path, "plain\n");
	shown("Bearer plain");
	setenv("KAGGLE_API_TOKEN", "value", 1);
	shown("Bearer value");
	put(path, "of-file\n");
	setenv("KAGGLE_API_TOKEN", path, 1);
	shown("Bearer of-file");
	c = conf_new();
	t_int(conf_set(c, "kaggle.username", "a", CONF_ARG, NULL), 0);
	got = fetch_kaggle_credentials(c);
	t_str(got, "Bearer of-file");	/* a key of theirs is not for ours */
	free(got);
	t_int(conf_set(c, "kaggle.key", "b", CONF_ARG, NULL), 0);
	got = fetch_kaggle_credentials(c);
	t_str(got, "Basic YTpi");
	free(got);
	t_int(conf_set(c, "kaggle.token", "ours", CONF_FILE, NULL), 0);
	got = fetch_kaggle_credentials(c);
	t_str(got, "Bearer ours");
	free(got);
	conf_free(c);
	t_int(io_remove_tree(AT_FDCWD, dir), 0);
	free(path);
	free(dot);
}

int main(void)
{
	frameworks();
	kaggle_names();
	tfhub_names();
	web_addresses();
	credentials();
	return 0;
}
