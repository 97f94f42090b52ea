/* Between the parts of the walk: expressions, calls, statements. */
#ifndef STAGE_SCRIPT_WALK_H
#define STAGE_SCRIPT_WALK_H

#include "stage/script.h"

#define TS_RETURNED 1	/* not an error: the function is over */

/* script-eval.c: one of TS_STEPS_MAX; line 0: the one before. */
int stage_ts_step(struct ts *c, unsigned line);
/* One of TS_DEPTH_MAX; who enters takes one off c->depth when he leaves. */
int stage_ts_enter(struct ts *c);
/* The class of an object, in the archive's code; NULL after an error. */
const struct ts_class *stage_ts_class(struct ts *c, struct ts_object *o);
/* An attribute, or a constant of the class. */
int stage_ts_object_attr(struct ts *c, struct ts_object *o, const char *name,
	struct ts_value *ret);

/* script-invoke.c: o.name(args), and a.b.c(args). */
int stage_ts_call_method(struct ts *c, struct ts_object *o, const char *name,
	struct ts_list *args, const char *const *keys, struct ts_value *ret);
int stage_ts_call_path(struct ts *c, const char *path, struct ts_list *args,
	const char *const *keys, struct ts_value *ret);

/* script-exec.c: name = v */
int stage_ts_assign(struct ts *c, struct map *env, const char *name,
	struct ts_value v);
/* TS_RETURNED: with ret. */
int stage_ts_exec(struct ts *c, const struct ts_block *b, struct map *env,
	struct ts_value *ret);

/* script-choice.c: walks both ways of an if; TS_RETURNED as stage_ts_exec(). */
int stage_ts_choose(struct ts *c, const struct ts_value *cond,
	const struct ts_stmt *s, struct map *env, struct ts_value *ret);
/* yes if cond else no */
int stage_ts_choose_value(struct ts *c, const struct ts_value *cond,
	const struct ts_expr *yes, const struct ts_expr *no, struct map *env,
	struct ts_value *ret);

#endif
