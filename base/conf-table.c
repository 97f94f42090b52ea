#include "config.h"

#include "base/conf-table.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"

#define HF "https://huggingface.co"
#define URL_MAX 4096

#define KEY(name, of_kind, preset) \
	.key = (name), .kind = CONF_##of_kind, .value = (preset)

const struct conf_key conf_table[] = {
	{ KEY("huggingface.endpoint", URL, HF), .foreign = { "HF_ENDPOINT" },
		.demo = "huggingface" },
	{ KEY("huggingface.token", SECRET, NULL),
		.foreign = { "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN" } },
	{ KEY("onnx.endpoint", URL, HF), .demo = "onnx" },
	{ KEY("onnx.manifest", URL, "https://raw.githubusercontent.com/onnx/"
		"models/main/ONNX_HUB_MANIFEST.json"),
		.demo = "onnx/ONNX_HUB_MANIFEST.json" },
	{ KEY("onnx.media", URL, "https://media.githubusercontent.com"),
		.demo = "onnx" },
	{ KEY("onnx.lfs", URL, "https://github.com"), .demo = "onnx" },
	{ KEY("tfhub.endpoint", URL, "https://tfhub.dev"), .demo = "tfhub" },
	{ KEY("tfhub.storage", URL, "https://storage.googleapis.com"),
		.demo = "tfhub-storage" },
	{ KEY("kaggle.endpoint", URL, "https://www.kaggle.com"),
		.demo = "kaggle" },
	{ KEY("kaggle.api", CHOICE, "rest"), .choices = "rest rpc" },
	{ KEY("kaggle.username", TEXT, NULL),
		.foreign = { "KAGGLE_USERNAME" } },
	{ KEY("kaggle.key", SECRET, NULL), .foreign = { "KAGGLE_KEY" } },
	{ KEY("kaggle.token", SECRET, NULL),
		.foreign = { "KAGGLE_API_TOKEN" } },
	{ KEY("torchvision.endpoint", URL, "https://download.pytorch.org"),
		.demo = "torchvision" },
	{ KEY("torchserve.endpoint", URL, "https://torchserve.pytorch.org"),
		.demo = "torchserve" },
	{ KEY("torchserve.s3", URL, "https://torchserve.s3.amazonaws.com"),
		.demo = "torchserve" },
	{ KEY("torchhub.endpoint", URL, "https://github.com"),
		.demo = "torchhub" },
	{ KEY("torchhub.api", URL, "https://api.github.com"),
		.demo = "torchhub-api" },
	{ KEY("keras.endpoint", URL, "https://storage.googleapis.com"),
		.demo = "keras" },
	{ KEY("cache.dir", PATH, NULL), .own = "OMNIHUB_CACHE" },
	{ KEY("cache.size", SIZE, NULL), .max = INT64_MAX },
	{ KEY("cache.verify", CHOICE, "complete"),
		.choices = "complete before-read" },
	{ KEY("cache.fresh", COUNT, "60"), .min = 1, .max = 31536000 },
	{ KEY("fetch.connections", COUNT, "4"), .min = 1, .max = 64 },
	{ KEY("fetch.chunk", SIZE, "128K"), .min = 4096, .max = 64 << 20 },
	{ KEY("fetch.http", CHOICE, "1.1"), .choices = "1.1 2" },
	{ KEY("fetch.rate", SIZE, "0"), .max = INT64_MAX },
	{ KEY("fetch.retries", COUNT, "5"), .max = 100 },
	{ KEY("fetch.timeout", COUNT, "30"), .min = 1, .max = 3600 },
	{ KEY("stage.opset", CHOICE, "13"), .choices = "13 17" },
	{ KEY("stage.materialize", CHOICE, "hot"),
		.choices = "never hot always" },
	{ KEY("stage.flow", CHOICE, "frames"), .choices = "frames functions" },
	{ KEY("mount.passthrough", FLAG, "1") },
	{ KEY("sandbox", CHOICE, "auto"), .choices = "auto require off" },
	{ KEY("plugins", PLACE, NULL) },
	{ KEY("lock", PLACE, NULL) },
	{ KEY("lock.strict", FLAG, "0") },
	{ KEY("offline", FLAG, "0"), .foreign = { "HF_HUB_OFFLINE" } },
	{ KEY("demo", FLAG, "0") },
};

const size_t conf_table_n = sizeof(conf_table) / sizeof(conf_table[0]);

static bool one_of(const char *value, const char *words)
{
	size_t len = strlen(value);

	for (const char *w = words; len && w; w = strchr(w, ' ')) {
		w += *w == ' ';
		if (strcspn(w, " ") == len && !strncasecmp(w, value, len))
			return true;
	}
	return false;
}

static bool printable(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (s[i] <= 0x20 || s[i] >= 0x7f)
			return false;
	return true;
}

static int keep(const char *value, size_t len, char **ret, struct error *why)
{
	*ret = strndup(value, len);
	return *ret ? 0 : error_set(why, -ENOMEM, "out of memory");
}

static int bad(const struct conf_key *k, const char *value, struct error *why,
	const char *what)
{
	return error_set(why, -EINVAL, "%s: \"%s\" is not %s", k->key, value,
		what);
}

static int check_url(const struct conf_key *k, const char *value, char **ret,
	struct error *why)
{
	static const char *const schemes[] = {
		"https://", "http://", "file:///",
	};
	size_t len = strlen(value);

	while (len && value[len - 1] == '/')
		len--;
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		size_t n = strlen(schemes[i]);

		if (strncasecmp(value, schemes[i], n) || len <= n ||
			!printable(value, len) || strpbrk(value, "?#") ||
			len > URL_MAX)
			continue;
		return keep(value, len, ret, why);
	}
	return bad(k, value, why,
		"an http://, https:// or file:/// address");
}

/* It ends up in a header line; `export HF_TOKEN=$(cat file)` and its like
 * leave blanks around it. The value must not get into the message. */
static int check_secret(const struct conf_key *k, const char *value,
	char **ret, struct error *why)
{
	static const char blank[] = " \t\r\n";
	size_t len;

	value += strspn(value, blank);
	len = strlen(value);
	while (len && strchr(blank, value[len - 1]))
		len--;
	if (!len || !printable(value, len))
		return error_set(why, -EINVAL,
			"%s: a secret is one printable word", k->key);
	return keep(value, len, ret, why);
}

static int check_number(const struct conf_key *k, const char *value,
	char **ret, struct error *why)
{
	char text[32];
	uint64_t v;
	bool plain = strspn(value, "0123456789") == strlen(value);

	if ((k->kind == CONF_COUNT && !plain) || conf_parse_size(value, &v))
		return bad(k, value, why, k->kind == CONF_COUNT ?
			"a whole number" : "a size such as 512M or 20G");
	if (v < k->min || v > k->max)
		return error_set(why, -EINVAL, "%s: %s is not between %" PRIu64
			" and %" PRIu64, k->key, value, k->min, k->max);
	(void) snprintf(text, sizeof(text), "%" PRIu64, v);
	return keep(text, strlen(text), ret, why);
}

/* huggingface_hub takes whatever it does not know for "no"; so do we for
 * variables that are not ours. */
static int check_flag(const struct conf_key *k, const char *value,
	enum conf_origin from, char **ret, struct error *why)
{
	if (one_of(value, "1 on yes true"))
		return keep("1", 1, ret, why);
	if (from == CONF_ECOSYSTEM || one_of(value, "0 off no false"))
		return keep("0", 1, ret, why);
	return bad(k, value, why, "yes or no");
}

int conf_table_check(const struct conf_key *k, const char *value,
	enum conf_origin from, char **ret, struct error *why)
{
	switch (k->kind) {
	case CONF_TEXT:
		break;
	case CONF_SECRET:
		return check_secret(k, value, ret, why);
	case CONF_URL:
		return check_url(k, value, ret, why);
	case CONF_PATH:
		if (!*value)
			return bad(k, value, why, "a directory");
		*ret = conf_absolute(value);
		return *ret ? 0 : error_set(why, -ENOMEM, "out of memory");
	case CONF_PLACE:
		*ret = *value ? conf_absolute(value) : strdup("");
		return *ret ? 0 : error_set(why, -ENOMEM, "out of memory");
	case CONF_SIZE:
	case CONF_COUNT:
		return check_number(k, value, ret, why);
	case CONF_FLAG:
		return check_flag(k, value, from, ret, why);
	case CONF_CHOICE:
		if (!one_of(value, k->choices))
			return error_set(why, -EINVAL,
				"%s: \"%s\" is not one of: %s", k->key, value,
				k->choices);
		break;
	}
	return keep(value, strlen(value), ret, why);
}

int conf_parse_size(const char *text, uint64_t *ret)
{
	static const char units[] = "KMGTPE";
	uint64_t v = 0;
	const char *unit;
	unsigned shift;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	for (; isdigit((unsigned char)*text); text++)
		if (__builtin_mul_overflow(v, 10, &v) ||
			__builtin_add_overflow(v, (uint64_t)(*text - '0'), &v))
			return -EINVAL;
	if (!*text || !strcmp(text, "B")) {
		*ret = v;
		return 0;
	}
	unit = strchr(units, toupper((unsigned char)*text));
	if (!unit)
		return -EINVAL;
	text++;
	if (*text && strcasecmp(text, "B") && strcasecmp(text, "iB"))
		return -EINVAL;
	shift = 10 * (unsigned)(unit - units + 1);
	if (v >> (64 - shift))
		return -EINVAL;
	*ret = v << shift;
	return 0;
}

char *conf_table_demo_url(const char *dir)
{
	cleanup_buf struct buf b = BUF_INIT(64 * 1024);
	char *data = conf_absolute(conf_datadir());
	int r = data ? buf_append_str(&b, "file://") : -ENOMEM;

	for (const char *p = data; !r && *p; p++) {
		if (isalnum((unsigned char)*p) || strchr("/-._~", *p))
			r = buf_append(&b, p, 1);
		else
			r = buf_printf(&b, "%%%02X", (unsigned char)*p);
	}
	if (!r)
		r = buf_printf(&b, "/demo/%s", dir);
	free(data);
	return r ? NULL : strdup((const char *)b.data);
}
