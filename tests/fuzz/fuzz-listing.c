/*
 * json_parse() and listing_from_json(). What is accepted must keep its
 * promises: safe paths in order, and the same listing after a trip to text.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/listing.h"
#include "base/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int child(void *arg, const char *name, size_t name_len,
	enum listing_kind kind, const struct listing_entry *e)
{
	const char **last = arg;

	if (!path_name_ok(name, name_len) || (e && e->kind != kind) ||
		(*last && strcmp(*last, name) >= 0))
		abort();
	/* Names are in order where neither ends at a '/'. */
	*last = name[name_len] ? NULL : name;
	return 0;
}

static void check(const struct listing *l)
{
	struct listing again = { 0 };
	char *text = listing_to_json(l);
	const char *last = NULL;

	if (!text || listing_from_json(text, strlen(text), &again, NULL) ||
		again.n != l->n || again.refused != l->refused)
		abort();
	for (size_t i = 0; i < l->n; i++) {
		const struct listing_entry *e = &l->v[i];
		const struct listing_entry *f =
			listing_find(&again, e->path);

		if (!path_rel_ok(e->path) || listing_find(l, e->path) != e ||
			!f || f->size != e->size || f->kind != e->kind ||
			f->id.alg != e->id.alg ||
			listing_is_dir(l, e->path) !=
				(e->kind == LISTING_DIR))
			abort();
	}
	(void) listing_children(l, "", child, &last);
	listing_done(&again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct listing l = { 0 };
	struct error why = { 0 };
	json_t *j;

	if (!json_parse(data, len, 1 << 20, &j, &why))
		json_decref(j);
	else if (!why.code || !why.text[0])
		abort();
	if (!listing_from_json((const char *)data, len, &l, NULL)) {
		check(&l);
		listing_done(&l);
	}
	return 0;
}
