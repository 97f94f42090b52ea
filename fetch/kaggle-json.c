#include "config.h"

#include "fetch/kaggle-json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "fetch/document.h"
#include "fetch/kaggle-name.h"
#include "fetch/search.h"
#include "fetch/status.h"

#define REFUSAL_MAX 65536	/* bytes; a longer reply is no error */

static const struct objid none = { .alg = OBJID_NONE };

unsigned fetch_kaggle_refusal(const void *text, size_t len, char *words,
	size_t room)
{
	static const struct fetch_reply plain = { .status = 200 };
	json_t *j cleanup_json = NULL;
	const json_t *in;
	uint64_t code;

	if (len > REFUSAL_MAX || json_parse(text, len, REFUSAL_MAX, &j, NULL))
		return 0;
	in = json_object_get(j, "error");
	if (!json_is_object(in))
		in = j;
	if (json_u64(in, "code", &code) || code < 400 || code > 599)
		return 0;
	fetch_status_words(&plain, text, len, words, room);
	return (unsigned)code;
}

int fetch_kaggle_page(const void *text, size_t len, json_t **ret,
	char **ret_next, struct error *why)
{
	json_t *j cleanup_json = NULL;
	const char *next;
	int r = json_parse(text, len, DOCUMENT_MAX, &j, why);

	if (r == -EBADMSG) {
		error_wrap(why, "Kaggle's answer is no JSON");
		return -EIO;
	}
	if (r)
		return r;
	if (!json_is_object(j))
		return error_set(why, -EIO, "Kaggle's answer is no object");
	next = json_str(j, "nextPageToken");
	if (next && *next) {
		*ret_next = strdup(next);
		if (!*ret_next)
			return error_set(why, -ENOMEM, "out of memory");
	}
	*ret = steal_ptr(j);
	return 0;
}

/* An empty list may be left out. */
static int list_of(const json_t *page, const char *key, const json_t **ret,
	struct error *why)
{
	const json_t *v = json_object_get(page, key);

	if (v && !json_is_null(v) && !json_is_array(v))
		return error_set(why, -EIO, "Kaggle's %s are no list", key);
	*ret = v;
	return 0;
}

/* r: of one entry. */
static int took(int r, struct listing *l, size_t refused, struct error *why)
{
	if (r == -EINVAL) {
		l->refused = refused + 1;
		return 0;
	}
	if (r)
		return error_set(why, r, "Kaggle's listing of %zu and more "
			"entries does not fit", l->n);
	return 0;
}

/* dir/name as directory. */
static int add_dir(struct listing *l, const char *dir, const char *name)
{
	cleanup_free char *path = NULL;

	if (!name || strchr(name, '/'))
		return -EINVAL;
	if (asprintf(&path, "%s/%s", dir, name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	return fetch_kaggle_parts(path) ?
		listing_add(l, path, LISTING_DIR, 0, &none) : -EINVAL;
}

/* Its "ref" is OWNER/MODEL. A mirror on disk cannot filter by owner: it has
 * them all. */
static int add_model(struct listing *l, const char *owner, const json_t *m)
{
	const char *ref = json_str(m, "ref");
	size_t n = strlen(owner);

	if (!ref)
		return add_dir(l, owner, json_str(m, "slug"));
	if (strncasecmp(ref, owner, n) || ref[n] != '/')
		return 0;
	return add_dir(l, owner, ref + n + 1);
}

int fetch_kaggle_models(const json_t *page, const char *owner,
	struct listing *l, struct error *why)
{
	const json_t *list = NULL;
	json_t *m;
	size_t i;
	int r = list_of(page, "models", &list, why);

	json_array_foreach(list, i, m) {
		size_t refused = l->refused;

		if (r)
			break;
		r = took(add_model(l, owner, m), l, refused, why);
	}
	return r;
}

static bool framework_of(const json_t *instance,
	char ret[KAGGLE_FRAMEWORK_MAX])
{
	const char *text = json_str(instance, "framework");

	return text && fetch_kaggle_framework(text, strlen(text), ret);
}

static int each_instance(const json_t *page, const char *dir, bool variations,
	struct listing *l, struct error *why)
{
	const char *want = variations ? strrchr(dir, '/') + 1 : NULL;
	char token[KAGGLE_FRAMEWORK_MAX], wanted[KAGGLE_FRAMEWORK_MAX];
	const json_t *list = NULL;
	json_t *e;
	size_t i;
	int r = list_of(page, "instances", &list, why);

	if (!r && want && !fetch_kaggle_framework(want, strlen(want), wanted))
		return error_set(why, -ENOENT, "%s is no framework", want);
	json_array_foreach(list, i, e) {
		size_t refused = l->refused;
		int one = -EINVAL;

		if (r)
			break;
		if (framework_of(e, token)) {
			if (want && strcmp(token, wanted) != 0)
				continue;
			one = add_dir(l, dir, want ? json_str(e, "slug") :
				token);
		}
		r = took(one, l, refused, why);
	}
	return r;
}

int fetch_kaggle_frameworks(const json_t *page, const char *model,
	struct listing *l, struct error *why)
{
	return each_instance(page, model, false, l, why);
}

int fetch_kaggle_variations(const json_t *page, const char *group,
	struct listing *l, struct error *why)
{
	return each_instance(page, group, true, l, why);
}

static bool version_text(uint64_t v, char ret[KAGGLE_DIGITS_MAX + 1])
{
	int n = snprintf(ret, KAGGLE_DIGITS_MAX + 1, "%llu",
		(unsigned long long)v);

	return v && n > 0 && n <= KAGGLE_DIGITS_MAX;
}

int fetch_kaggle_versions(const json_t *page, const char *instance,
	struct listing *l, struct error *why)
{
	const json_t *in = json_object_get(page, "versionList"), *list = NULL;
	char text[KAGGLE_DIGITS_MAX + 1];
	json_t *e;
	size_t i;
	uint64_t v;
	int r = list_of(in ? in : page, "versions", &list, why);

	json_array_foreach(list, i, e) {
		size_t refused = l->refused;

		if (r)
			break;
		r = took(!json_u64(e, "versionNumber", &v) &&
			version_text(v, text) ? add_dir(l, instance, text) :
			-EINVAL, l, refused, why);
	}
	return r;
}

int fetch_kaggle_files(const json_t *page, struct listing *l, int64_t *mtime,
	struct error *why)
{
	const json_t *list = NULL;
	json_t *e;
	size_t i;
	int r = list_of(page, "files", &list, why);

	json_array_foreach(list, i, e) {
		const char *name = json_str(e, "name");
		size_t refused = l->refused;
		uint64_t size = 0;
		int one = -EINVAL;

		if (r)
			break;
		if (!*mtime)
			*mtime = json_time(e, "creationDate");
		/* 0 is a default, and those are left out */
		if (name && json_u64(e, "size", &size) != -EBADMSG)
			one = listing_add(l, name, LISTING_FILE, size, &none);
		r = took(one, l, refused, why);
	}
	return r;
}

int fetch_kaggle_newest(const json_t *page, uint64_t *ret, struct error *why)
{
	char text[KAGGLE_DIGITS_MAX + 1];
	uint64_t v;

	if (json_u64(page, "versionNumber", &v) || !version_text(v, text))
		return error_set(why, -EIO,
			"Kaggle's answer tells no newest version");
	*ret = v;
	return 0;
}

int fetch_kaggle_hits(const json_t *page, struct fetch_hits *l,
	struct error *why)
{
	const json_t *list = NULL;
	json_t *e;
	size_t i;
	int r = list_of(page, "models", &list, why);

	json_array_foreach(list, i, e) {
		const char *ref = json_str(e, "ref");
		uint64_t votes;

		if (r)
			break;
		if (!ref || !path_rel_ok(ref) || !strchr(ref, '/'))
			continue;
		r = fetch_hits_add(l, ref, json_str(e, "subtitle"), -1,
			json_u64(e, "voteCount", &votes) ? -1 :
			(int64_t)votes);
		if (r == -ENOMEM)
			(void) error_set(why, r, "out of memory");
	}
	return r;
}
