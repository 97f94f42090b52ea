#include "config.h"

#include "fetch/kaggle-query.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fetch/kaggle-json.h"
#include "fetch/kaggle-name.h"
#include "fetch/snapshot.h"

struct job {
	struct fetch_query *query;
	struct fetch_kaggle_call call;
	char *name;			/* Kaggle's, canonical */
	struct fetch_snapshot *as;	/* the alias; NULL: none */
	void (*failed)(struct fetch_query *q, int err,
		const struct error *why);
	char version[KAGGLE_DIGITS_MAX + 1];
	struct listing listing;
	int64_t mtime;
	/* of what is below a name */
	int (*add)(const json_t *page, const char *name, struct listing *l,
		struct error *why);
};

static struct job *job_of(struct fetch_kaggle_call *c)
{
	return (struct job *)(void *)((char *)c - offsetof(struct job, call));
}

/* Ends the job. */
static void answer(struct job *j, int err, const struct error *why,
	struct fetch_snapshot *snap)
{
	struct listing l = j->listing;

	if (err || snap)
		listing_done(&l);
	else
		listing_sort(&l);
	if (err && j->failed)
		j->failed(j->query, err, why);
	else
		fetch_query_answer(j->query, err, why, snap,
			err || snap ? NULL : &l);
	fetch_kaggle_call_done(&j->call);
	fetch_snapshot_free(j->as);
	free(j->name);
	free(j);
}

static void start(struct job *j)
{
	struct error why = { 0 };
	int r = fetch_kaggle_call_start(&j->call);

	if (!r)
		return;
	error_set(&why, r, "this cannot be asked of Kaggle");
	answer(j, r, &why, NULL);
}

static int set_alias(struct job *j, const struct fetch_kaggle_alias *alias)
{
	if (!alias)
		return 0;
	j->failed = alias->failed;
	if (!alias->repo)
		return 0;
	j->as = fetch_snapshot_new(alias->repo, alias->revision);
	if (j->as)
		j->as->place = strdup(alias->place);
	return j->as && j->as->place ? 0 : -ENOMEM;
}

static struct job *job_new(struct fetch_query *q, struct fetch_kaggle *k,
	const char *name, const char *version,
	const struct fetch_kaggle_alias *alias)
{
	struct job *j = calloc(1, sizeof(*j));
	struct error why = { 0 };

	if (j)
		j->name = strdup(name);
	if (!j || !j->name || set_alias(j, alias)) {
		if (j) {
			fetch_snapshot_free(j->as);
			free(j->name);
		}
		free(j);
		error_set(&why, -ENOMEM, "out of memory");
		fetch_query_answer(q, -ENOMEM, &why, NULL, NULL);
		return NULL;
	}
	j->query = q;
	j->call.kaggle = k;
	j->call.name = j->name;
	snprintf(j->version, sizeof(j->version), "%s", version);
	return j;
}

static void on_listing(struct fetch_kaggle_call *c, int err,
	const struct error *why)
{
	answer(job_of(c), err, why, NULL);
}

/* ---- files ---- */

static int page_of_files(struct fetch_kaggle_call *c, const json_t *page,
	struct error *why)
{
	struct job *j = job_of(c);

	return fetch_kaggle_files(page, &j->listing, &j->mtime, why);
}

void fetch_kaggle_list(struct fetch_query *q, struct fetch_kaggle *k,
	const char *instance, const char *version,
	const struct fetch_kaggle_alias *alias)
{
	struct job *j = job_new(q, k, instance, version, alias);

	if (!j)
		return;
	j->call.method = KAGGLE_FILES;
	j->call.version = j->version;
	j->call.page = page_of_files;
	j->call.done = on_listing;
	start(j);
}

/* ---- a version ---- */

static void on_first_file(struct fetch_kaggle_call *c, int err,
	const struct error *why)
{
	struct job *j = job_of(c);
	struct fetch_snapshot *snap = NULL;
	struct error mine = { 0 };

	if (err) {
		answer(j, err, why, NULL);
		return;
	}
	snap = j->as ? steal_ptr(j->as) : fetch_snapshot_new(j->name,
		j->version);
	if (snap)
		snap->mtime = j->mtime;
	else
		err = error_set(&mine, -ENOMEM, "out of memory");
	answer(j, err, &mine, snap);
}

/* Is the version there, and since when? Its first file tells. */
static void ask_first_file(struct job *j)
{
	j->call.method = KAGGLE_FILES;
	j->call.version = j->version;
	j->call.peek = true;
	j->call.page = page_of_files;
	j->call.done = on_first_file;
	start(j);
}

static int page_of_instance(struct fetch_kaggle_call *c, const json_t *page,
	struct error *why)
{
	struct job *j = job_of(c);
	uint64_t v = 0;
	int r = fetch_kaggle_newest(page, &v, why);

	if (!r)
		snprintf(j->version, sizeof(j->version), "%u", (unsigned)v);
	return r;
}

static void on_newest(struct fetch_kaggle_call *c, int err,
	const struct error *why)
{
	struct job *j = job_of(c);

	if (err)
		answer(j, err, why, NULL);
	else
		ask_first_file(j);
}

void fetch_kaggle_resolve(struct fetch_query *q, struct fetch_kaggle *k,
	const char *instance, const char *version,
	const struct fetch_kaggle_alias *alias)
{
	struct job *j = job_new(q, k, instance, version, alias);

	if (!j)
		return;
	if (*version) {
		ask_first_file(j);
		return;
	}
	j->call.method = KAGGLE_INSTANCE;
	j->call.page = page_of_instance;
	j->call.done = on_newest;
	start(j);
}

/* ---- names ---- */

static int page_of_names(struct fetch_kaggle_call *c, const json_t *page,
	struct error *why)
{
	struct job *j = job_of(c);

	return j->add(page, j->query->name, &j->listing, why);
}

void fetch_kaggle_below(struct fetch_query *q, struct fetch_kaggle *k,
	const char *name)
{
	static const struct {
		enum fetch_kaggle_method method;
		int (*add)(const json_t *page, const char *name,
			struct listing *l, struct error *why);
	} by_parts[] = {
		[1] = { KAGGLE_MODELS, fetch_kaggle_models },
		[2] = { KAGGLE_INSTANCES, fetch_kaggle_frameworks },
		[3] = { KAGGLE_INSTANCES, fetch_kaggle_variations },
		[4] = { KAGGLE_VERSIONS, fetch_kaggle_versions },
	};
	unsigned parts = fetch_kaggle_parts(name);
	struct job *j = job_new(q, k, name, "", NULL);

	if (!j)
		return;
	/* instances are asked for by model */
	if (parts == 3)
		*strrchr(j->name, '/') = '\0';
	j->call.method = by_parts[parts].method;
	j->add = by_parts[parts].add;
	j->call.page = page_of_names;
	j->call.done = on_listing;
	start(j);
}
