/*
 * Questions of the file system put to Kaggle: which version is the newest,
 * which files has it, what is below a name. Engine thread. Each ends in
 * fetch_query_answer().
 */
#ifndef FETCH_KAGGLE_QUERY_H
#define FETCH_KAGGLE_QUERY_H

#include "fetch/kaggle-api.h"
#include "fetch/query.h"

/* `instance` (canonical) in `version`, or in its newest when that is "". The
 * answer calls it q->name, if `place`, and lies at `place`; else it has the
 * name of the instance. */
void fetch_kaggle_resolve(struct fetch_query *q, struct fetch_kaggle *k,
	const char *instance, const char *version, const char *place);
void fetch_kaggle_list(struct fetch_query *q, struct fetch_kaggle *k,
	const char *instance, const char *version);
/* What is below `name`, of one to four parts, as if it were q->name. */
void fetch_kaggle_below(struct fetch_query *q, struct fetch_kaggle *k,
	const char *name);

#endif
