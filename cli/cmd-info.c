/*
 * omnihub info: everything known of one path. For files of models, staged ones
 * included, the structure of the model too; reading it fetches no weights.
 */
#include "config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/plain.h"
#include "cli/cmd.h"

#define NAME_WIDTH 14

/* The attributes shown, in order. */
static const char *const attrs[] = {
	"state", "cached_bytes", "hub", "repo", "revision", "url", "what",
	"sha256", "sources", "made_by", "materialized", "error",
};

/* Much of it are a model's own words. */
static void row(const char *name, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void row(const char *name, const char *fmt, ...)
{
	cleanup_free char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0) {
		text = NULL;
		return;
	}
	plain_line(text);
	printf("%-*s%s\n", NAME_WIDTH, name, text);
}

static void line(const char *name, const char *value)
{
	const char *nl;

	for (;;) {	/* further lines of a value stand under the first */
		nl = strchr(value, '\n');
		row(name, "%.*s", nl ? (int)(nl - value) : (int)strlen(value),
			value);
		if (!nl || !nl[1])
			return;
		value = nl + 1;
		name = "";
	}
}

static void attrs_json(struct cli *c, struct fs_node *n, json_t *out)
{
	size_t i;

	for (i = 0; i < sizeof(attrs) / sizeof(attrs[0]); i++) {
		cleanup_free char *v = cli_attr(c, n, attrs[i]);

		if (v && !strcmp(attrs[i], "cached_bytes"))
			(void) json_object_set_new(out, attrs[i],
				json_integer(strtoll(v, NULL, 10)));
		else if (v)
			(void) json_object_set_new(out, attrs[i],
				json_bytes(v));
	}
}

static void attrs_text(struct cli *c, struct fs_node *n)
{
	char size[CLI_SIZE_MAX];
	size_t i;

	for (i = 0; i < sizeof(attrs) / sizeof(attrs[0]); i++) {
		cleanup_free char *v = cli_attr(c, n, attrs[i]);

		if (v && !strcmp(attrs[i], "cached_bytes"))
			line("here", cli_bytes(c, size, strtoull(v, NULL, 10)));
		else if (v)
			line(attrs[i], v);
	}
}

/* "float32 [batch, sequence]" of one input or output. */
static void value_line(const char *kind, const json_t *v)
{
	cleanup_free char *shape = NULL;
	const json_t *dims = json_object_get(v, "shape");
	const char *name = json_str(v, "name"), *type = json_str(v, "type");
	char *p;

	shape = dims ? json_dumps(dims, JSON_ENCODE_ANY | JSON_ENSURE_ASCII) :
		NULL;
	for (p = shape; p && *p; p++)	/* names of axes without quotes */
		if (*p == '"')
			memmove(p, p + 1, strlen(p)), p--;
	row(kind, "%s  %s %s", name ? name : "?", type ? type : "",
		shape ? shape : "");
}

static void values(const char *kind, const json_t *list)
{
	json_t *v;
	size_t i;

	json_array_foreach (list, i, v)
		value_line(i ? "" : kind, v);
}

/* "Add×7 Cast×2": operators, or types of numbers. */
static void counts(const char *kind, const json_t *ops)
{
	char count[CLI_SIZE_MAX];
	const char *name;
	const json_t *n;
	size_t width = 0, len;

	if (!json_object_size(ops))
		return;
	printf("%-*s", NAME_WIDTH, kind);
	json_object_foreach ((json_t *)(uintptr_t)ops, name, n) {
		cleanup_free char *shown = strdup(name);

		if (!shown)
			continue;
		plain_line(shown);
		(void) snprintf(count, sizeof(count), "%" JSON_INTEGER_FORMAT,
			json_integer_value(n));
		len = strlen(shown) + strlen(count) + 2;	/* " Add×7" */
		if (width && NAME_WIDTH + width + len > 79) {
			printf("\n%-*s", NAME_WIDTH, "");
			width = 0;
		}
		printf("%s%s×%s", width ? " " : "", shown, count);
		width += len;
	}
	putchar('\n');
}

static void number_line(const json_t *m, const char *key)
{
	const json_t *v = json_object_get(m, key);

	if (json_is_integer(v))
		row(key, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
}

/* What a model's maker noted in it: which family, which task. */
static void notes(const json_t *metadata)
{
	const char *name, *kind = "metadata";
	json_t *v;

	json_object_foreach ((json_t *)(uintptr_t)metadata, name, v) {
		if (!json_is_string(v))
			continue;
		row(kind, "%s = %s", name, json_string_value(v));
		kind = "";
	}
}

static void model_text(const json_t *m)
{
	const char *format = json_str(m, "format");
	const json_t *signatures = json_object_get(m, "signatures");
	json_t *v;
	size_t i;

	if (format)
		line("format", format);
	number_line(m, "opset");
	number_line(m, "tensors");
	number_line(m, "parameters");
	counts("types", json_object_get(m, "types"));
	notes(json_object_get(m, "metadata"));
	json_array_foreach (signatures, i, v) {
		line("signature", json_str(v, "name"));
		values("inputs", json_object_get(v, "inputs"));
		values("outputs", json_object_get(v, "outputs"));
	}
	values("inputs", json_object_get(m, "inputs"));
	values("outputs", json_object_get(m, "outputs"));
	counts("layers", json_object_get(m, "layers"));
	counts("operators", json_object_get(m, "operators"));
}

static bool ends(const char *s, const char *ending)
{
	size_t n = strlen(s), tail = strlen(ending);

	return n > tail && !strcmp(s + n - tail, ending);
}

/* The structure of a model's file; *ret stays NULL when it cannot be read, or
 * is no model although its name could be that of one. */
static int model(struct cli *c, const char *path, struct fs_node *n,
	json_t **ret)
{
	cleanup_free char *text = NULL;
	struct fs_handle *h = NULL;
	struct error why = { 0 };
	int r;

	r = fs_open_wait(c->fs, n, &h);
	if (!r) {
		r = fs_look(c->fs, h, &text, &why);
		fs_close(h);
	}
	if (!r)
		r = json_parse(text, strlen(text), SIZE_MAX, ret, &why);
	if ((r == -EBADMSG || r == -ENOTSUP) && !ends(path, ".onnx"))
		return CLI_DONE;
	return r < 0 ? cli_fail(c, path, r, why.text) : CLI_DONE;
}

/* Could it be the file of a model? */
static bool is_model(const char *path)
{
	static const char *const endings[] = { ".onnx", ".safetensors",
		".pth", ".pt", ".bin", ".ckpt", ".pb", ".h5", ".hdf5",
		".keras" };

	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
		if (ends(path, endings[i]))
			return true;
	return false;
}

static int info_json(struct cli *c, const char *path, struct fs_node *n,
	const struct fs_attr *a, json_t *m)
{
	json_t *out = json_pack("{ss ss sI}", "path", path, "type",
		a->dir ? "directory" : "file", "mtime", (json_int_t)a->mtime);

	if (!a->dir)
		(void) json_object_set_new(out, "size",
			json_integer((json_int_t)a->size));
	attrs_json(c, n, out);
	if (m)
		(void) json_object_set(out, "model", m);
	return cli_print_json(c, out);
}

static int info(struct cli *c, const char *path)
{
	cleanup_json json_t *m = NULL;
	struct fs_node *n = NULL;
	char size[CLI_SIZE_MAX];
	struct fs_dir *dir;
	struct fs_attr a;
	int r, status = CLI_DONE;

	r = fs_walk_wait(c->fs, path, &n, &a);
	if (r < 0)
		return cli_fail(c, path, r, NULL);
	/* The revision of a repository is known after it was listed. */
	if (a.dir && !fs_readdir_wait(c->fs, n, &dir))
		fs_dir_free(dir);
	if (c->given & CLI_OPT_JSON) {
		if (!a.dir && is_model(path))
			status = model(c, path, n, &m);
		r = info_json(c, path, n, &a, m);
	} else {
		line("path", *path ? path : "/");
		if (!a.dir)
			line("size", cli_bytes(c, size, a.size));
		attrs_text(c, n);
		if (!a.dir && is_model(path))
			status = model(c, path, n, &m);
		if (m)
			model_text(m);
	}
	fs_node_unref(n);
	return r ? r : status;
}

static int run(struct cli *c, int argc, char **argv)
{
	cleanup_free char *path = NULL;
	int r;

	if (argc != 1)
		return cli_usage(c, "one PATH is needed");
	r = cli_tree_path(c, argv[0], &path);
	if (!r)
		r = cli_fs_open(c);
	return r ? r : info(c, path);
}

const struct cli_cmd cli_cmd_info = {
	.name = "info",
	.args = "[OPTION]... PATH",
	.about = "Tell what a file is, where its bytes come from, or why not",
	.help = "State, revision, digest, address and sources; of a model's "
		"file (ONNX,\nsafetensors, .pth, .bin, SavedModel, GraphDef) "
		"also what it has of inputs,\noutputs, opset, operators and "
		"parameters, for which no weights are fetched.\n",
	.opts = CLI_OPT_COMMON | CLI_OPT_BYTES | CLI_OPT_JSON,
	.run = run,
};
