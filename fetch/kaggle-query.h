/*
 * Questions of the file system put to Kaggle: which version is the newest,
 * which files has it, what is below a name. Engine thread. Each ends in
 * fetch_query_answer().
 */
#ifndef FETCH_KAGGLE_QUERY_H
#define FETCH_KAGGLE_QUERY_H

#include "fetch/kaggle-api.h"
#include "fetch/query.h"

/* For who knows the same under another name. Strings are copied. */
struct fetch_kaggle_alias {
	const char *repo, *revision, *place;	/* of the snapshot */
	/* MAY. Called instead of answering the question with a failure: it
	 * does. */
	void (*failed)(struct fetch_query *q, int err,
		const struct error *why);
};

/* `instance` (canonical) in `version`, or in its newest when that is "".
 * alias NULL: the answer has the names of Kaggle. */
void fetch_kaggle_resolve(struct fetch_query *q, struct fetch_kaggle *k,
	const char *instance, const char *version,
	const struct fetch_kaggle_alias *alias);
void fetch_kaggle_list(struct fetch_query *q, struct fetch_kaggle *k,
	const char *instance, const char *version,
	const struct fetch_kaggle_alias *alias);
/* What is below `name`, of one to four parts, as if it were q->name. */
void fetch_kaggle_below(struct fetch_query *q, struct fetch_kaggle *k,
	const char *name);

#endif
