/*
 * What Hugging Face's JSON is read into. The first byte chooses the reader:
 * 'i' a model's info, 't' a page of a tree, 'o' a page of an owner's models,
 * 's' what a search found.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "fetch/huggingface-json.h"
#include "fetch/owner-json.h"
#include "fetch/search.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void info(const uint8_t *data, size_t len)
{
	struct fetch_snapshot *s = NULL, *again = NULL;
	struct error why = { 0 };
	char *text;

	if (fetch_hf_snapshot(data, len, &s, &why)) {
		if (s || !why.code || !*why.text)
			abort();
		return;
	}
	text = fetch_snapshot_to_json(s);
	/* longer than an index entry may be: refused when it is read back */
	if (text && strlen(text) <= 65536) {
		if (fetch_snapshot_from_json(text, strlen(text), &again) ||
		    strcmp(s->repo, again->repo) != 0 ||
		    strcmp(s->revision, again->revision) != 0 ||
		    s->mtime != again->mtime)
			abort();
	}
	free(text);
	fetch_snapshot_free(s);
	fetch_snapshot_free(again);
}

static bool any(const char *repo)
{
	return path_rel_ok(repo);
}

static void listing(const uint8_t *data, size_t len, bool tree)
{
	struct listing l = { 0 };
	struct error why = { 0 };
	int r = tree ? fetch_hf_tree(data, len, &l, &why) :
		fetch_json_owner(data, len, "id", "org", any, &l, &why);

	if (r && (!why.code || !*why.text))
		abort();
	listing_sort(&l);
	for (size_t i = 0; i < l.n; i++) {
		if (!path_rel_ok(l.v[i].path) ||
		    (l.v[i].kind == LISTING_FILE) != tree ||
		    (tree && l.v[i].size > INT64_MAX))
			abort();
	}
	listing_done(&l);
}

static void hits(const uint8_t *data, size_t len)
{
	struct fetch_hits l = { .max = 5 };
	struct error why = { 0 };

	(void) fetch_hf_hits(data, len, any, &l, &why);
	if (l.n > l.max)
		abort();
	for (size_t k = 0; k < l.n; k++)
		if (!l.v[k].repo || l.v[k].downloads < -1 ||
			l.v[k].likes < -1)
			abort();
	fetch_hits_done(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (!len)
		return 0;
	if (*data == 'i')
		info(data + 1, len - 1);
	else if (*data == 's')
		hits(data + 1, len - 1);
	else
		listing(data + 1, len - 1, *data == 't');
	return 0;
}
