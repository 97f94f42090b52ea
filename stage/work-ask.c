/*
 * Planning from the daemon's side: a job is written down, the worker's
 * questions are answered, and what comes back is read like the bytes of a
 * stranger.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "base/proc.h"
#include "stage/library.h"
#include "stage/work.h"

#define CPU_S 60
#define WALL_S 120
#define IDLE_MS 15000

/* ---- starting -------------------------------------------------------------------- */

static int write_setup(struct stage *s)
{
	int r = buf_append_le(&s->setup, STAGE_VERSION, 4);

	if (!r)
		r = buf_append_le(&s->setup, s->opset, 4);
	if (!r)
		r = buf_append(&s->setup, s->digest, sizeof(s->digest));
	return r ? r : buf_append(&s->setup, s->pack.data, s->pack.len);
}

int stage_work_start(struct stage *s, bool strict, struct error *why)
{
	cleanup_free char *program = proc_find("omnihub-worker");
	struct workers_conf c = { .strict = strict, .cpu_s = CPU_S,
		.wall_s = WALL_S, .idle_ms = IDLE_MS,
		.setup_kind = STAGE_WORK_SETUP };
	int r;

	if (!program)
		return error_set(why, -ENOENT, "omnihub-worker is not where it "
			"was installed");
	s->setup.max = STAGE_WORK_INPUT_MAX;
	r = write_setup(s);
	c.program = program;
	c.setup = s->setup.data;
	c.setup_len = s->setup.len;
	if (!r)
		r = workers_new(&c, &s->workers);
	return r ? error_set(why, r, "%s", strerror(-r)) : 0;
}

struct workers *stage_workers(struct stage *s)
{
	return s->workers;
}

/* ---- planning ---------------------------------------------------------------------- */

static int put_text(struct buf *b, const char *text)
{
	int r = buf_append_le(b, strlen(text), 4);

	return r ? r : buf_append_str(b, text);
}

static int put_file(struct buf *b, const struct listing_entry *e)
{
	uint8_t head[11];

	head[0] = (uint8_t)e->kind;
	for (unsigned i = 0; i < 8; i++)
		head[1 + i] = (uint8_t)(e->size >> (8 * i));
	head[9] = (uint8_t)e->id.alg;
	head[10] = (uint8_t)e->id.digits;
	if (buf_append(b, head, sizeof(head)) ||
		buf_append(b, e->id.raw, sizeof(e->id.raw)))
		return -EFBIG;
	return put_text(b, e->path);
}

static int put_repo(struct buf *b, const struct stage_repo *repo,
	const char *path)
{
	int r = put_text(b, repo->hub);

	if (!r)
		r = put_text(b, repo->repo);
	if (!r)
		r = put_text(b, path);
	if (!r)
		r = buf_append_le(b, repo->listing->n, 4);
	for (size_t i = 0; i < repo->listing->n && !r; i++)
		r = put_file(b, &repo->listing->v[i]);
	return r;
}

/* -EPROTO: no worker of ours would ask for it. */
static int open_for(const struct stage_input *in, const char *path,
	uint64_t size, struct src **ret, int *ret_err, struct error *why)
{
	const struct listing_entry *e = stage_source_of(in->repo.listing, path);

	if (!e)
		return -EPROTO;
	if (!stage_made_is(path))
		*ret_err = in->open(in->arg, e, ret, why);
	else if (in->make)
		*ret_err = in->make(in->arg, path, size, ret, why);
	else
		*ret_err = error_set(why, -ENOTSUP, "%s is compressed", e->path);
	return 0;
}

static int serve_open(struct worker_job *j, const struct stage_input *in,
	struct worker_msg *m, const char *path)
{
	struct error why = { 0 };
	struct src *src;

	if (open_for(in, path, m->b, &src, &m->err, &why))
		return -EPROTO;
	if (m->err) {
		memcpy(m->text, why.text, sizeof(m->text));
		return 0;
	}
	m->b = src->size;
	m->err = worker_job_src(j, src);
	if (m->err < 0) {
		src_unref(src);
		return 0;
	}
	m->a = (uint64_t)m->err;
	m->err = 0;
	return 0;
}

static int serve_planner(struct worker_job *j, struct worker_msg *m,
	const uint8_t *out)
{
	const struct stage_input *in = j->arg;
	char path[PATH_LEN_MAX + 1];

	if (worker_job_text(out, m->a, path, sizeof(path)))
		return -EPROTO;
	if (m->what == STAGE_ASK_OPEN)
		return serve_open(j, in, m, path);
	if (m->what != STAGE_ASK_PREFERRED)
		return -EPROTO;
	m->a = in->repo.preferred && in->repo.preferred(in->repo.arg, path);
	return 0;
}

/* The text of the result is j->result, to be freed. */
static int plan(const struct stage *s, const struct stage_input *in,
	const char *path, struct worker_job *j, struct error *why)
{
	cleanup_buf struct buf input = BUF_INIT(STAGE_WORK_INPUT_MAX);
	cleanup_buf struct buf whose = BUF_INIT(65536);
	int r = put_repo(&input, &in->repo, path);

	if (!r)
		r = buf_printf(&whose, "%s/%s", in->repo.hub, in->repo.repo);
	if (r)
		return r;
	j->what = "the planner";
	j->whose = (const char *)whose.data;
	j->input = input.data;
	j->len = input.len;
	j->serve = serve_planner;
	j->arg = (void *)(uintptr_t)in;
	return workers_run(s->workers, j, why);
}

/* A stranger's recipe may only be made of what the repository has. */
static int check_sources(const struct stage_recipe *recipe,
	const struct listing *files, struct error *why)
{
	for (unsigned i = 0; i < stage_recipe_sources(recipe); i++) {
		const char *path = stage_recipe_source_path(recipe, i);
		const struct listing_entry *e = stage_source_of(files, path);

		if (!e || (!stage_made_is(path) &&
		     e->size != LISTING_SIZE_UNKNOWN &&
		     e->size != stage_recipe_source_size(recipe, i)))
			return error_set(why, -ENOTSUP, "the planner speaks of "
				"files that are not there");
	}
	return 0;
}

int stage_work_plan(const struct stage *s, const struct stage_input *in,
	const char *path, struct stage_recipe **ret, struct error *why)
{
	struct worker_job j = { .kind = STAGE_WORK_PLAN,
		.result = BUF_INIT(STAGE_WORK_RECIPE_MAX) };
	struct stage_recipe *recipe = NULL;
	int r = plan(s, in, path, &j, why);

	if (!r && stage_recipe_parse(j.result.data, j.result.len, &recipe,
			NULL))
		r = error_set(why, -ENOTSUP, "what the planner made is no "
			"recipe");
	buf_done(&j.result);
	if (!r)
		r = check_sources(recipe, in->repo.listing, why);
	if (r) {
		stage_recipe_unref(recipe);
		return r;
	}
	*ret = recipe;
	return 0;
}

/* Files of `dir` itself, or of where it lies if it is a file that holds a name,
 * and that the repository has not. */
static bool names_ok(const struct listing *got, const struct listing *own,
	const char *dir)
{
	size_t n = strlen(dir), above = (size_t)(path_base(dir) - dir);

	if (listing_find(own, dir))
		n = above ? above - 1 : 0;
	for (size_t i = 0; i < got->n; i++) {
		const char *path = got->v[i].path;

		if (n && (strncmp(path, dir, n) != 0 || path[n] != '/'))
			return false;
		if (strchr(path + n + (n != 0), '/') ||
			got->v[i].kind != LISTING_FILE ||
			listing_find(own, path))
			return false;
	}
	return true;
}

int stage_work_names(const struct stage *s, const struct stage_input *in,
	const char *dir, struct listing *ret, struct error *why)
{
	struct worker_job j = { .kind = STAGE_WORK_NAMES,
		.result = BUF_INIT(STAGE_WORK_JSON_MAX) };
	struct listing got = { 0 };
	int r = plan(s, in, dir, &j, why);

	if (!r && listing_from_json((const char *)j.result.data, j.result.len,
			&got, NULL))
		r = -EBADMSG;
	buf_done(&j.result);
	if (r == -EBADMSG)
		r = error_set(why, -ENOTSUP, "what the planner made is no "
			"list of names");
	if (!r) {
		listing_sort(&got);
		if (!names_ok(&got, in->repo.listing, dir))
			r = error_set(why, -ENOTSUP, "the planner speaks of "
				"names it was not asked for");
	}
	if (r) {
		listing_done(&got);
		return r;
	}
	*ret = got;
	return 0;
}
