/*
 * What Kaggle and Google's storage say in JSON. The first byte chooses the
 * reader: 'm' models, 'w' frameworks, 'v' variations, 'n' versions, 'f' files,
 * 'i' an instance, 's' what a search finds, 'g' objects of a bucket.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "fetch/gcs-json.h"
#include "fetch/kaggle-json.h"
#include "fetch/kaggle-name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int hits(const json_t *page, struct error *why)
{
	struct fetch_hits l = { .max = 5 };
	int r = fetch_kaggle_hits(page, &l, why);

	if (l.n > l.max || (r == -EFBIG && l.n < l.max))
		abort();
	for (size_t k = 0; k < l.n; k++)
		if (!path_rel_ok(l.v[k].repo) || l.v[k].likes < -1)
			abort();
	fetch_hits_done(&l);
	return r == -EFBIG ? 0 : r;
}

static int rows(char what, const json_t *page, struct listing *l,
	struct error *why)
{
	int64_t mtime = 0;
	uint64_t newest = 0;
	int r;

	switch (what) {
	case 'm':
		return fetch_kaggle_models(page, "google", l, why);
	case 'w':
		return fetch_kaggle_frameworks(page, "google/nnlm", l, why);
	case 'v':
		return fetch_kaggle_variations(page,
			"google/nnlm/TensorFlow2", l, why);
	case 'n':
		return fetch_kaggle_versions(page,
			"google/nnlm/tensorFlow2/x", l, why);
	case 'i':
		r = fetch_kaggle_newest(page, &newest, why);
		if (!r && (!newest || newest > 999999999))
			abort();
		return r;
	case 's':
		return hits(page, why);
	default:
		return fetch_kaggle_files(page, l, &mtime, why);
	}
}

static void check(const struct listing *l, bool files)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct listing_entry *e = &l->v[i];

		if (!path_rel_ok(e->path) ||
		    (e->kind == LISTING_FILE) != files ||
		    (files && e->size > INT64_MAX) ||
		    (!files && !fetch_kaggle_parts(e->path)))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct listing l = { 0 };
	struct error why = { 0 };
	json_t *page = NULL;
	char *next = NULL, words[64];
	unsigned status;
	int r;

	if (!len)
		return 0;
	status = fetch_kaggle_refusal(data + 1, len - 1, words, sizeof(words));
	if (status && (status < 400 || status > 599))
		abort();
	if (*data == 'g') {
		r = fetch_gcs_objects(data + 1, len - 1, "m/1/", &l, &next,
			&why);
	} else {
		r = fetch_kaggle_page(data + 1, len - 1, &page, &next, &why);
		if (!r)
			r = rows((char)*data, page, &l, &why);
	}
	if (r && (!why.code || !*why.text))
		abort();
	listing_sort(&l);
	check(&l, !memchr("mwvni", *data, 5));
	listing_done(&l);
	json_decref(page);
	free(next);
	return 0;
}
