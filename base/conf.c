/*
 * The keys are data: adding one is a line in the table. A value is checked
 * when it is set, by its kind, so that nobody who reads one has to; what the
 * environment holds cannot be refused by conf_new() and is therefore
 * reported by conf_load().
 */
#include "config.h"

#include "base/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf-table.h"
#include "base/map.h"
#include "base/path.h"

#define OWN_ENV "OMNIHUB_"
#define ALIAS_PREFIX "alias."
#define ALIAS_ENV OWN_ENV "ALIAS_"

extern char **environ;

struct value {
	char *text;		/* NULL: unset */
	enum conf_origin from;
};

struct conf {
	struct value *values;	/* conf_table_n, in the table's order */
	char **demo;		/* the same; NULL where demo changes nothing */
	struct map aliases;	/* "alias.NAME" → struct value */
	struct error bad_env;	/* the first wrong variable of conf_new() */
};

static const struct {
	const char *key, *value;
} builtin_aliases[] = {
	/* Names that the hub itself redirects (bert-base-uncased, gpt2,
	 * roberta-base, …) need no entry, and the name of an owner
	 * (distilbert, google, …) must not be one: it would hide him. */
	{ "alias.bert-base", "google-bert/bert-base-uncased" },
	{ "alias.bert-large", "google-bert/bert-large-uncased" },
	{ "alias.distilbert-base", "distilbert/distilbert-base-uncased" },
	{ "alias.electra-base", "google/electra-base-discriminator" },
	{ "alias.minilm", "sentence-transformers/all-MiniLM-L6-v2" },
};

/* The index in the table, or -1. */
static int key_index(const char *key)
{
	for (size_t i = 0; i < conf_table_n; i++)
		if (!strcmp(conf_table[i].key, key))
			return (int)i;
	return -1;
}

static bool is_alias(const char *key)
{
	return !strncmp(key, ALIAS_PREFIX, strlen(ALIAS_PREFIX));
}

/* Takes `text` over. */
static void replace(struct value *v, char *text, enum conf_origin from)
{
	free(v->text);
	v->text = text;
	v->from = from;
}

static int set_alias(struct conf *c, const char *key, const char *value,
	enum conf_origin from, struct error *why)
{
	const char *name = key + strlen(ALIAS_PREFIX);
	struct value *v = map_get(&c->aliases, key);
	const char *slash = strchr(value, '/');
	char *copy;

	if (!path_name_ok(name, strlen(name)))
		return error_set(why, -EINVAL, "\"%s\" names no alias", key);
	if (!path_rel_ok(value) || (slash && strchr(slash + 1, '/')))
		return error_set(why, -EINVAL,
			"%s: \"%s\" is not ORG/REPO", key, value);
	if (v && v->from > from)
		return 0;
	copy = strdup(value);
	if (copy && !v) {
		v = calloc(1, sizeof(*v));
		if (v && map_put(&c->aliases, key, v, NULL)) {
			free(v);
			v = NULL;
		}
	}
	if (!copy || !v) {
		free(copy);
		return error_set(why, -ENOMEM, "out of memory");
	}
	replace(v, copy, from);
	return 0;
}

static int set_at(struct conf *c, size_t i, const char *value,
	enum conf_origin from, struct error *why)
{
	char *text = NULL;
	int r = conf_table_check(&conf_table[i], value, from, &text, why);

	if (r)
		return r;
	if (c->values[i].text && c->values[i].from > from)
		free(text);
	else
		replace(&c->values[i], text, from);
	return 0;
}

int conf_set(struct conf *c, const char *key, const char *value,
	enum conf_origin from, struct error *why)
{
	int i = key_index(key);

	if (is_alias(key))
		return set_alias(c, key, value, from, why);
	if (i < 0)
		return error_set(why, -EINVAL, "unknown key \"%s\"", key);
	return set_at(c, (size_t)i, value, from, why);
}

int conf_set_arg(struct conf *c, const char *assignment, struct error *why)
{
	const char *eq = strchr(assignment, '=');
	char *key;
	int r;

	if (!eq || eq == assignment)
		return error_set(why, -EINVAL, "\"%s\" is not KEY=VALUE",
			assignment);
	key = strndup(assignment, (size_t)(eq - assignment));
	if (!key)
		return error_set(why, -ENOMEM, "out of memory");
	r = conf_set(c, key, eq + 1, CONF_ARG, why);
	free(key);
	return r;
}

/* ---- the environment ----------------------------------------------------- */

static const char *env(const char *name)
{
	const char *v = getenv(name);

	return v && *v ? v : NULL;
}

/* -ENOMEM, or 0: what is wrong with a value goes to bad_env. */
static int set_env(struct conf *c, const char *key, const char *name,
	const char *value, enum conf_origin from)
{
	struct error e = { 0 };
	int r = conf_set(c, key, value, from, &e);

	if (r == -ENOMEM)
		return r;
	if (r && !c->bad_env.code) {
		c->bad_env = e;
		(void) error_wrap(&c->bad_env, "environment variable %s",
			name);
	}
	return 0;
}

/* "huggingface.endpoint" → "OMNIHUB_HUGGINGFACE_ENDPOINT" */
static void own_name(const char *key, char *ret, size_t room)
{
	(void) snprintf(ret, room, OWN_ENV "%s", key);
	for (char *p = ret; *p; p++)
		*p = *p == '.' ? '_' :
			*p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p;
}

static int env_of_key(struct conf *c, const struct conf_key *k)
{
	char name[64];
	const char *v;
	int r = 0;

	own_name(k->key, name, sizeof(name));
	v = env(name);
	if (!v && k->own) {
		(void) snprintf(name, sizeof(name), "%s", k->own);
		v = env(name);
	}
	if (v)
		r = set_env(c, k->key, name, v, CONF_ENV);
	for (size_t i = 0; !r && i < CONF_FOREIGN_MAX && k->foreign[i]; i++) {
		v = env(k->foreign[i]);
		if (!v)
			continue;
		return set_env(c, k->key, k->foreign[i], v, CONF_ECOSYSTEM);
	}
	return r;
}

/* OMNIHUB_ALIAS_MY_BERT=ORG/REPO is alias.my-bert. */
static int env_of_alias(struct conf *c, const char *entry)
{
	size_t skip = strlen(ALIAS_ENV);
	size_t n = strcspn(entry, "=");
	char name[PATH_NAME_MAX + sizeof(ALIAS_PREFIX)];
	char var[PATH_NAME_MAX];

	if (strncmp(entry, ALIAS_ENV, skip) || n <= skip ||
		n >= sizeof(var) || !entry[n] || !entry[n + 1])
		return 0;
	(void) snprintf(var, sizeof(var), "%.*s", (int)n, entry);
	(void) snprintf(name, sizeof(name), ALIAS_PREFIX "%s", var + skip);
	for (char *p = name + strlen(ALIAS_PREFIX); *p; p++)
		*p = *p == '_' ? '-' :
			*p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
	return set_env(c, name, var, entry + n + 1, CONF_ENV);
}

static int read_environment(struct conf *c)
{
	int r = 0;

	for (size_t i = 0; !r && i < conf_table_n; i++)
		r = env_of_key(c, &conf_table[i]);
	for (char **e = environ; !r && e && *e; e++)
		r = env_of_alias(c, *e);
	return r;
}

static int set_defaults(struct conf *c)
{
	int r = 0;

	for (size_t i = 0; !r && i < conf_table_n; i++) {
		const struct conf_key *k = &conf_table[i];

		if (k->value)
			r = set_at(c, i, k->value, CONF_DEFAULT, NULL);
		if (k->demo) {
			c->demo[i] = conf_table_demo_url(k->demo);
			if (!c->demo[i])
				return -ENOMEM;
		}
	}
	for (size_t i = 0; !r && i < sizeof(builtin_aliases) /
			sizeof(builtin_aliases[0]); i++)
		r = conf_set(c, builtin_aliases[i].key,
			builtin_aliases[i].value, CONF_DEFAULT, NULL);
	return r;
}

struct conf *conf_new(void)
{
	struct conf *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->values = calloc(conf_table_n, sizeof(*c->values));
	c->demo = calloc(conf_table_n, sizeof(*c->demo));
	if (c->values && c->demo && !set_defaults(c) && !read_environment(c))
		return c;
	conf_free(c);
	return NULL;
}

static int free_alias(void *arg, const char *key, void *value)
{
	struct value *v = value;

	(void) arg;
	(void) key;
	free(v->text);
	free(v);
	return 0;
}

void conf_free(struct conf *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < conf_table_n; i++) {
		if (c->values)
			free(c->values[i].text);
		if (c->demo)
			free(c->demo[i]);
	}
	(void) map_each(&c->aliases, free_alias, NULL);
	map_done(&c->aliases);
	free(c->values);
	free(c->demo);
	free(c);
}

int conf_bad_env(const struct conf *c, struct error *why)
{
	if (c->bad_env.code && why)
		*why = c->bad_env;
	return c->bad_env.code;
}

/* ---- asking -------------------------------------------------------------- */

static int must_index(const char *key)
{
	int i = key_index(key);

	if (i < 0) {
		(void) fprintf(stderr, "conf: no key \"%s\"\n", key);
		abort();
	}
	return i;
}

/* Does `demo` decide this endpoint? Not when the endpoint was chosen at least
 * as explicitly as demo was. */
static bool demo_rules(const struct conf *c, int i)
{
	const struct value *demo = &c->values[must_index("demo")];

	return c->demo[i] && !strcmp(demo->text, "1") &&
		c->values[i].from < demo->from;
}

const char *conf_get(const struct conf *c, const char *key)
{
	int i;

	if (is_alias(key)) {
		const struct value *v = map_get(&c->aliases, key);

		return v ? v->text : NULL;
	}
	i = must_index(key);
	return demo_rules(c, i) ? c->demo[i] : c->values[i].text;
}

uint64_t conf_u64(const struct conf *c, const char *key)
{
	const char *text = conf_get(c, key);
	uint64_t v = 0;

	if (text)
		(void) conf_parse_size(text, &v);
	return v;
}

bool conf_flag(const struct conf *c, const char *key)
{
	const char *text = conf_get(c, key);

	return text && !strcmp(text, "1");
}

enum conf_origin conf_where(const struct conf *c, const char *key)
{
	int i;

	if (is_alias(key)) {
		const struct value *v = map_get(&c->aliases, key);

		return v ? v->from : CONF_DEFAULT;
	}
	i = must_index(key);
	return demo_rules(c, i) ? c->values[must_index("demo")].from :
				  c->values[i].from;
}

struct names {
	const char **v;
	size_t n;
};

static int add_name(void *arg, const char *key, void *value)
{
	struct names *names = arg;

	(void) value;
	names->v[names->n++] = key;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int each_alias(const struct conf *c,
	int (*fn)(void *arg, const char *key, const char *shown,
		enum conf_origin from), void *arg)
{
	struct names names = { 0 };
	int r = 0;

	if (!c->aliases.n)
		return 0;
	names.v = calloc(c->aliases.n, sizeof(*names.v));
	if (!names.v)
		return -ENOMEM;
	(void) map_each(&c->aliases, add_name, &names);
	qsort(names.v, names.n, sizeof(*names.v), by_name);
	for (size_t i = 0; !r && i < names.n; i++)
		r = fn(arg, names.v[i], conf_get(c, names.v[i]),
			conf_where(c, names.v[i]));
	free(names.v);
	return r;
}

int conf_each(const struct conf *c,
	int (*fn)(void *arg, const char *key, const char *shown,
		enum conf_origin from), void *arg)
{
	for (size_t i = 0; i < conf_table_n; i++) {
		const char *key = conf_table[i].key;
		const char *text = conf_get(c, key);
		int r;

		if (!text)
			continue;
		if (conf_table[i].kind == CONF_SECRET)
			text = "***";
		r = fn(arg, key, text, conf_where(c, key));
		if (r)
			return r;
	}
	return each_alias(c, fn, arg);
}
