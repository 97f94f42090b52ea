/* Doubles for the tests of blueprints: checkpoints without bytes, and a run
 * of a text over one. */
#ifndef TESTS_UNIT_STAGE_BP_H
#define TESTS_UNIT_STAGE_BP_H

#include <stdlib.h>
#include <string.h>

#include "stage/blueprint.h"
#include "stage/graph-data.h"
#include "tests/unit/t.h"

/* "a.weight f32 2 3\nb f16 4": tensors one after the other in one file. Two
 * tensors whose names end in the same "=tag" have the same bytes. */
static inline void weights_of(const char *text, struct stage_weights *ret)
{
	uint64_t at = 0;
	char line[256], name[128], type[8];

	t_int(stage_weights_file(ret, "model.safetensors", 1u << 20), 0);
	while (*text) {
		struct stage_tensor t = { .name = name };
		struct error why = { 0 };
		size_t n = strcspn(text, "\n");
		int used = 0, more = 0;
		unsigned d;
		char *p = line, *tag;

		t_check(n < sizeof(line));
		memcpy(line, text, n);
		line[n] = '\0';
		text += n + (text[n] == '\n');
		t_int(sscanf(p, "%127s %7s%n", name, type, &used), 2);
		for (p += used; sscanf(p, " %u%n", &d, &more) == 1; p += more)
			t.dim[t.rank++] = d;
		for (unsigned i = 1; i < 20; i++)
			if (!strcmp(stage_dtype_name((enum stage_dtype)i),
			    type))
				t.dtype = (enum stage_dtype)i;
		t.len = stage_dtype_size(t.dtype);
		for (unsigned i = 0; i < t.rank; i++)
			t.len *= t.dim[i];
		tag = strchr(name, '=');
		t.off = tag ? 1u << 16 : at;
		if (tag)
			*tag = '\0';
		else
			at += t.len;
		t_int(stage_weights_add(ret, &t, &why), 0);
	}
	t_int(stage_weights_sort(ret, NULL), 0);
}

struct bp_test {
	const char *lib;	/* text of lib.bp, or NULL */
	const char *text;
	const char *weights;
	const char *config;	/* JSON, or NULL: {} */
	const char *sentence;	/* JSON, or NULL */
	unsigned opset;		/* 0: 13 */
};

/* The text is the body of a file with one task. */
static inline int bp_run(const struct bp_test *t, struct stage_graph **ret,
	struct error *why)
{
	const char *config = t->config ? t->config : "{}";
	struct stage_blueprint *lib = NULL, *bp = NULL;
	struct stage_weights w = { 0 };
	struct stage_blueprint_args args = {
		.weights = &w, .task = "test",
		.opset = t->opset ? t->opset : 13,
	};
	json_t *cfg = json_loads(config, 0, NULL);
	json_t *sentence = t->sentence ? json_loads(t->sentence, 0, NULL) :
		NULL;
	int r = 0;

	t_check(cfg && (sentence || !t->sentence));
	weights_of(t->weights ? t->weights : "", &w);
	args.config = cfg;
	args.sentence = sentence;
	if (t->lib)
		r = stage_blueprint_parse("lib.bp", t->lib, strlen(t->lib),
			NULL, &lib, why);
	if (!r)
		r = stage_blueprint_parse("t.bp", t->text, strlen(t->text),
			lib, &bp, why);
	if (!r)
		r = stage_blueprint_run(bp, &args, ret, why);
	stage_blueprint_free(bp);
	stage_blueprint_free(lib);
	stage_weights_done(&w);
	json_decref(cfg);
	json_decref(sentence);
	return r;
}

/* The operators as text, one a line: "y = Add(a, b) axis=1". */
static inline char *graph_text(const struct stage_graph *g)
{
	size_t room = 1u << 16, n = 0;
	char *s = malloc(room);

	t_check(s);
	*s = '\0';
	for (size_t i = 0; i < g->n_nodes; i++) {
		const struct stage_graph_node *o = &g->nodes[i];

		for (size_t k = 0; k < o->n_outputs; k++)
			n += (size_t)snprintf(s + n, room - n, "%s%s",
				k ? ", " : "", o->outputs[k]);
		n += (size_t)snprintf(s + n, room - n, " = %s(", o->op);
		for (size_t k = 0; k < o->n_inputs; k++)
			n += (size_t)snprintf(s + n, room - n, "%s%s",
				k ? ", " : "", o->inputs[k]);
		n += (size_t)snprintf(s + n, room - n, ")");
		for (size_t k = 0; k < o->n_attrs; k++)
			if (o->attrs[k].kind == STAGE_ATTR_INT)
				n += (size_t)snprintf(s + n, room - n,
					" %s=%lld", o->attrs[k].name,
					(long long)o->attrs[k].i);
		for (size_t k = 0; k < o->n_attrs; k++)
			for (size_t j = 0; o->attrs[k].kind == STAGE_ATTR_INTS
				&& j < o->attrs[k].n; j++)
				n += (size_t)snprintf(s + n, room - n,
					" %s[%zu]=%lld", o->attrs[k].name, j,
					(long long)o->attrs[k].ints[j]);
		n += (size_t)snprintf(s + n, room - n, "\n");
		t_check(n < room);
	}
	return s;
}

static inline void fail_at(int line, const char *got, const char *want)
{
	fprintf(stderr, "line %d: \"%s\", not \"%s\"\n", line, got, want);
	exit(1);
}

#define t_has(got, part) \
	do { \
		if (!strstr(got, part)) \
			fail_at(__LINE__, got, part); \
	} while (0)

static inline void makes_at(int line, const struct bp_test *t,
	const char *want)
{
	struct error why = { 0 };
	struct stage_graph *g = NULL;
	char *is;

	if (bp_run(t, &g, &why))
		fail_at(line, why.text, want);
	is = graph_text(g);
	if (strcmp(is, want) != 0)
		fail_at(line, is, want);
	free(is);
	stage_graph_free(g);
}

static inline void refused_at(int line, const struct bp_test *t, int err,
	const char *want)
{
	struct error why = { 0 };
	struct stage_graph *g = NULL;
	int r = bp_run(t, &g, &why);

	if (!strstr(why.text, want))
		fail_at(line, why.text, want);
	t_int(r, err);
	t_int(why.code, err);
	t_check(!g);
}

/* It must make a graph with these operators. */
#define bp_makes(test, text) makes_at(__LINE__, &(test), text)
/* It must end with this error, whose text has this in it. */
#define bp_refused(test, err, text) refused_at(__LINE__, &(test), err, text)

#endif
