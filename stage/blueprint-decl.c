/*
 * Declarations of a blueprint, which stand beside its statements: families,
 * tasks and defs; and the file as a whole.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "stage/blueprint-parse.h"
#include "stage/blueprint.h"

/* "a", "b", … without interpolation. */
static int parse_words(struct bp_parser *p, const char ***ret, size_t *ret_n)
{
	struct bp_items items = { NULL, 0, 0 };
	int r = 0;

	for (;;) {
		const char **word = stage_bp_item(p, &items, sizeof(*word),
			&r);

		if (!word)
			return r;
		if (p->tok.kind != BP_T_STRING)
			return stage_bp_expected(p, "a string");
		*word = stage_arena_copy(&p->bp->arena, p->tok.at,
			p->tok.len);
		if (!*word)
			return stage_bp_no_memory(p);
		r = stage_bp_advance(p);
		if (r || !stage_bp_is(p, BP_P1(',')))
			break;
		r = stage_bp_advance(p);
		if (r)
			break;
	}
	*ret = items.v;
	*ret_n = items.n;
	return r;
}

/* The library whose names follow; transformers needs not be told. */
static int parse_library(struct bp_parser *p, const char **ret)
{
	static const char *const libraries[] = {
		"transformers", "keras", "timm", "torchvision",
	};

	*ret = libraries[0];
	for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++) {
		if (stage_bp_is_word(p, libraries[i])) {
			*ret = libraries[i];
			return stage_bp_advance(p);
		}
	}
	return 0;
}

/* family "Title" for "model_type", …; for torchvision "builder", … */
static int parse_family(struct bp_parser *p)
{
	struct bp_family *f = stage_arena_alloc(&p->bp->arena, sizeof(*f));
	struct bp_family **last = &p->bp->families;
	const char **title;
	size_t n;
	int r;

	if (!f)
		return stage_bp_no_memory(p);
	f->at = stage_bp_place(p);
	r = parse_words(p, &title, &n);
	if (!r && n != 1)
		r = stage_bp_expected(p, "one title");
	if (!r)
		r = stage_bp_expect_word(p, "for");
	if (!r)
		r = parse_library(p, &f->library);
	if (!r)
		r = parse_words(p, &f->types, &f->n_types);
	if (r)
		return r;
	f->title = title[0];
	while (*last)
		last = &(*last)->next;
	*last = f;
	return 0;
}

/* task "name" for "Architecture", … as "part", … { … }; without `for` it is
 * that of all the families. */
static int parse_task(struct bp_parser *p)
{
	struct bp_task *t = stage_arena_alloc(&p->bp->arena, sizeof(*t));
	struct bp_task **last = &p->bp->tasks;
	const char **name;
	size_t n;
	int r;

	if (!t)
		return stage_bp_no_memory(p);
	t->at = stage_bp_place(p);
	r = parse_words(p, &name, &n);
	if (!r && n != 1)
		r = stage_bp_expected(p, "one name");
	if (!r && stage_bp_is_word(p, "for")) {
		r = stage_bp_advance(p);
		if (!r)
			r = parse_words(p, &t->archs, &t->n_archs);
	}
	if (!r && stage_bp_is_word(p, "as")) {
		r = stage_bp_advance(p);
		if (!r)
			r = parse_words(p, &t->parts, &t->n_parts);
	}
	if (!r)
		r = stage_bp_parse_block(p, &t->body);
	if (r)
		return r;
	t->name = name[0];
	while (*last)
		last = &(*last)->next;
	*last = t;
	return 0;
}

static int parse_param(struct bp_parser *p, struct bp_param *q)
{
	int r;

	if (p->tok.kind == BP_T_WEIGHT) {
		q->path = true;
		p->tok.kind = BP_T_NAME;
		if (memchr(p->tok.at, '{', p->tok.len) ||
		    memchr(p->tok.at, '.', p->tok.len))
			return stage_bp_expected(p, "a parameter");
	}
	r = stage_bp_name(p, &q->name);
	if (!r && stage_bp_is(p, BP_P1('='))) {
		r = stage_bp_advance(p);
		if (!r)
			r = stage_bp_parse_expr(p, &q->dflt);
	}
	if (!r && !stage_bp_is(p, BP_P1(')')))
		r = stage_bp_expect(p, BP_P1(','));
	return r;
}

static int check_def(struct bp_parser *p, const struct bp_def *d)
{
	for (size_t i = 0; i < d->n_params; i++)
		for (size_t k = 0; k < i; k++)
			if (!strcmp(d->params[i].name, d->params[k].name))
				return error_set(p->why, -EINVAL, "%s:%u:%u: "
					"%s has two parameters %s",
					d->at.file, d->at.line, d->at.col,
					d->name, d->params[i].name);
	for (const struct bp_def *o = p->bp->defs; o; o = o->before)
		if (!strcmp(o->name, d->name))
			return error_set(p->why, -EINVAL, "%s:%u:%u: %s is "
				"defined already in line %u", d->at.file,
				d->at.line, d->at.col, d->name, o->at.line);
	return 0;
}

static int parse_def(struct bp_parser *p)
{
	struct bp_def *d = stage_arena_alloc(&p->bp->arena, sizeof(*d));
	struct bp_items params = { NULL, 0, 0 };
	int r;

	if (!d)
		return stage_bp_no_memory(p);
	d->at = stage_bp_place(p);
	if (p->tok.kind == BP_T_NAME && p->tok.at[0] >= 'A' &&
	    p->tok.at[0] <= 'Z')
		return stage_bp_expected(p, "a name in lower case");
	r = stage_bp_name(p, &d->name);
	if (!r)
		r = stage_bp_expect(p, BP_P1('('));
	while (!r && !stage_bp_is(p, BP_P1(')'))) {
		struct bp_param *q = stage_bp_item(p, &params, sizeof(*q), &r);

		if (q)
			r = parse_param(p, q);
	}
	d->params = params.v;
	d->n_params = params.n;
	if (!r)
		r = stage_bp_advance(p);
	if (!r)
		r = check_def(p, d);
	p->in_def = true;
	if (!r)
		r = stage_bp_parse_block(p, &d->body);
	p->in_def = false;
	d->before = p->bp->defs;
	p->bp->defs = d;
	return r;
}

static int parse_file(struct bp_parser *p)
{
	static const struct {
		const char *word;
		int (*parse)(struct bp_parser *p);
	} words[] = {
		{ "def", parse_def }, { "family", parse_family },
		{ "task", parse_task },
	};
	struct bp_items items = { NULL, 0, 0 };
	int r = stage_bp_advance(p);

	if (!r)
		r = stage_bp_advance(p);
	while (!r && p->tok.kind != BP_T_END) {
		size_t i = 0;

		while (i < 3 && !stage_bp_is_word(p, words[i].word))
			i++;
		if (i < 3) {
			r = stage_bp_advance(p);
			if (!r)
				r = words[i].parse(p);
		} else {
			struct bp_stmt *s = stage_bp_item(p, &items,
				sizeof(*s), &r);

			if (s)
				r = stage_bp_parse_stmt(p, s);
		}
		if (!r)
			r = stage_bp_skip_semicolon(p);
	}
	p->bp->body.v = items.v;
	p->bp->body.n = items.n;
	return r;
}

int stage_blueprint_parse(const char *file, const char *text, size_t len,
	const struct stage_blueprint *lib, struct stage_blueprint **ret,
	struct error *why)
{
	struct stage_blueprint *bp;
	struct bp_parser p = { .why = why };
	int r = -ENOMEM;

	if (len > BP_TEXT_MAX)
		return error_set(why, -EINVAL, "%s: over %u bytes", file,
			BP_TEXT_MAX);
	bp = calloc(1, sizeof(*bp));
	if (!bp)
		return error_set(why, -ENOMEM, "out of memory");
	bp->arena.max = BP_ARENA_MAX;
	bp->lib = lib;
	bp->file = stage_arena_copy(&bp->arena, file, strlen(file));
	p.bp = bp;
	p.lex = (struct bp_lexer){ bp->file, text, text + len, 1, 1, true,
		why };
	if (bp->file)
		r = parse_file(&p);
	if (r) {
		stage_blueprint_free(bp);
		return r;
	}
	*ret = bp;
	return 0;
}

void stage_blueprint_free(struct stage_blueprint *bp)
{
	if (!bp)
		return;
	stage_arena_done(&bp->arena);
	free(bp);
}
