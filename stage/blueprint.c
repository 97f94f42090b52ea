/* A run from beginning to end, and what a blueprint says about itself. */
#include "config.h"

#include "stage/blueprint.h"

#include <stdlib.h>
#include <string.h>

#include "stage/blueprint-run.h"

/* ---- what it is for -------------------------------------------------------- */

bool stage_blueprint_has_type(const struct stage_blueprint *bp,
	const char *library, const char *type)
{
	for (const struct bp_family *f = bp->families; f; f = f->next)
		for (size_t i = 0; i < f->n_types; i++)
			if (!strcmp(f->types[i], type) &&
			    !strcmp(f->library, library))
				return true;
	return false;
}

static const struct bp_task *find_task(const struct stage_blueprint *bp,
	const char *arch)
{
	for (const struct bp_task *t = bp->tasks; t; t = t->next) {
		if (!t->n_archs)
			return t;
		for (size_t i = 0; i < t->n_archs; i++)
			if (!strcmp(t->archs[i], arch))
				return t;
	}
	return NULL;
}

const char *stage_blueprint_task(const struct stage_blueprint *bp,
	const char *arch)
{
	const struct bp_task *t = find_task(bp, arch);

	return t ? t->name : NULL;
}

static json_t *words_json(const char *const *v, size_t n)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < n; i++)
		if (json_array_append_new(list, json_string(v[i])))
			break;
	return list;
}

static json_t *tasks_json(const struct stage_blueprint *bp)
{
	json_t *all = json_object();

	for (const struct bp_task *t = bp->tasks; all && t; t = t->next)
		if (json_object_set_new(all, t->name, words_json(
		    (const char *const *)t->archs, t->n_archs)))
			break;
	return all;
}

json_t *stage_blueprint_families(const struct stage_blueprint *bp)
{
	json_t *all = json_array();

	for (const struct bp_family *f = bp->families; all && f; f = f->next) {
		json_t *one = json_object();
		int r = json_object_set_new(one, "family",
			json_string(f->title));

		r |= json_object_set_new(one, "library",
			json_string(f->library));
		r |= json_object_set_new(one, "model_types", words_json(
			(const char *const *)f->types, f->n_types));
		r |= json_object_set_new(one, "blueprint",
			json_string(bp->file));
		r |= json_object_set_new(one, "tasks", tasks_json(bp));
		r |= json_array_append_new(all, one);
		if (r) {
			json_decref(all);
			return NULL;
		}
	}
	return all;
}

/* ---- a run ----------------------------------------------------------------- */

static const struct bp_place no_place = { "", 0, 0 };

static int set_int(struct bp_run *r, const char *name, int64_t i)
{
	const struct bp_value v = stage_bp_int(i);

	return stage_bp_set_global(r, &no_place, name, &v);
}

/* The variables every run starts with. */
static int set_globals(struct bp_run *r)
{
	struct bp_value cfg = { .kind = BP_V_OBJECT,
		.object = r->args->config };
	struct bp_value sentence;
	int err = stage_bp_from_json(r, &no_place, r->args->sentence,
		&sentence);

	if (!err)
		err = stage_bp_set_global(r, &no_place, "cfg", &cfg);
	if (!err)
		err = stage_bp_set_global(r, &no_place, "sentence", &sentence);
	if (!err)
		err = set_int(r, "opset", r->args->opset);
	if (!err)
		err = set_int(r, "f32", STAGE_F32);
	if (!err)
		err = set_int(r, "i64", STAGE_I64);
	if (!err)
		err = set_int(r, "i32", STAGE_I32);
	return err ? err : set_int(r, "bool", STAGE_BOOL);
}

static const struct bp_task *task_named(const struct stage_blueprint *bp,
	const char *name)
{
	const struct bp_task *t = bp->tasks;

	while (t && strcmp(t->name, name) != 0)
		t = t->next;
	return t;
}

size_t stage_blueprint_parts(const struct stage_blueprint *bp,
	const char *task, const char *const **ret)
{
	static const char *const one[] = { "model" };
	const struct bp_task *t = task_named(bp, task);

	*ret = t && t->n_parts ? (const char *const *)t->parts : one;
	return t && t->n_parts ? t->n_parts : 1;
}

static int run_all(struct bp_run *r, const struct bp_task *task,
	const char *part)
{
	const struct bp_value name = { .kind = BP_V_TEXT, .s = part };
	int err;

	stage_bp_find_prefix(r);
	err = set_globals(r);
	if (!err)
		err = stage_bp_set_global(r, &no_place, "part", &name);
	if (!err)
		err = stage_bp_exec(r, &r->bp->body);
	return err ? err : stage_bp_exec(r, &task->body);
}

/* What all parts of one task have in common. */
struct seen {
	struct map keys;
	bool *used;
};

/* ret NULL: only for what it looks at. */
static int run_part(const struct stage_blueprint *bp,
	const struct stage_blueprint_args *args, const char *part,
	struct seen *seen, struct stage_graph **ret, struct error *why)
{
	struct bp_run r = {
		.bp = bp, .args = args, .why = why, .path = "",
		.arena = STAGE_ARENA_INIT(BP_RUN_ARENA_MAX),
		.keys = &seen->keys, .used = seen->used,
	};
	int err = run_all(&r, task_named(bp, args->task), part);

	if (!err && ret)
		err = stage_bp_check(&r);
	if (!err && ret)
		err = stage_bp_write(&r, ret);
	if (err == -ENOMEM && r.arena.total > r.arena.max / 2)
		err = error_set(why, -EFBIG, "%s: over the limit of memory",
			bp->file);
	else if (err == -ENOMEM)
		err = error_set(why, -ENOMEM, "out of memory");
	map_done(&r.names);
	map_done(&r.constants);
	map_done(&r.ranges);
	map_done(&r.shapes);
	map_done(&r.kept);
	stage_arena_done(&r.arena);
	return err;
}

int stage_blueprint_run(const struct stage_blueprint *bp,
	const struct stage_blueprint_args *args, struct stage_graph **ret,
	struct error *why)
{
	struct seen seen = { .used = calloc(args->weights->n + 1,
		sizeof(*seen.used)) };
	const char *const *parts, *mine = NULL;
	size_t n = stage_blueprint_parts(bp, args->task, &parts);
	int err = 0;

	if (!seen.used)
		return error_set(why, -ENOMEM, "out of memory");
	if (!task_named(bp, args->task))
		err = error_set(why, -ENOTSUP, "%s: no task %s", bp->file,
			args->task);
	for (size_t i = 0; i < n && !err; i++) {
		if (!strcmp(parts[i], args->part ? args->part : parts[0]))
			mine = parts[i];
		else
			err = run_part(bp, args, parts[i], &seen, NULL, why);
	}
	if (!err && !mine)
		err = error_set(why, -ENOENT, "%s: %s is not made of %s",
			bp->file, args->part, args->task);
	if (!err)
		err = run_part(bp, args, mine, &seen, args->layers ? NULL :
			ret, why);
	map_done(&seen.keys);
	free(seen.used);
	return err;
}
