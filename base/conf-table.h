/* The table of keys and what each kind of value must look like; conf's own. */
#ifndef BASE_CONF_TABLE_H
#define BASE_CONF_TABLE_H

#include "base/conf.h"

enum conf_kind {
	CONF_TEXT,
	CONF_SECRET,	/* printable ASCII, never shown */
	CONF_URL,	/* http, https or file; no '/' at the end */
	CONF_PATH,	/* absolute; "~/" is the home directory */
	CONF_PLACE,	/* a file, in the same way; "" is none */
	CONF_SIZE,	/* conf_parse_size(), kept as decimal bytes */
	CONF_COUNT,	/* min..max */
	CONF_FLAG,	/* kept as "0" or "1" */
	CONF_CHOICE,	/* one of `choices` */
};

#define CONF_FOREIGN_MAX 2

struct conf_key {
	const char *key;
	enum conf_kind kind;
	const char *value;	/* the default, or NULL */
	const char *own;	/* a second variable of ours, or NULL */
	/* The ecosystem's variables, the first that is set counts. */
	const char *foreign[CONF_FOREIGN_MAX];
	const char *demo;	/* directory of the demo hub, or NULL */
	uint64_t min, max;	/* of CONF_SIZE and CONF_COUNT */
	const char *choices;	/* separated by spaces */
};

extern const struct conf_key conf_table[];
extern const size_t conf_table_n;

/* 0 and the text to keep (the caller frees), -EINVAL, -ENOMEM. */
int conf_table_check(const struct conf_key *k, const char *value,
	enum conf_origin from, char **ret, struct error *why);

/* "file://DATADIR/demo/<dir>", percent-encoded. NULL: out of memory. */
char *conf_table_demo_url(const char *dir);

/* The first wrong environment variable of conf_new(): its -EINVAL, or 0. */
int conf_bad_env(const struct conf *c, struct error *why);

/* The path as absolute one; "~/" is the home directory. NULL: no memory. */
char *conf_absolute(const char *path);

/* The one printable word a file holds. NULL: none. The caller frees. */
char *conf_token_in(const char *path);

#endif
