/* A catalogue, as a user may have written it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "fetch/catalogue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char *const bases[] = { "https://a.org", "https://b.org",
		NULL };
	struct fetch_catalogue c = { 0 };
	struct error why = { 0 };
	struct listing l = { 0 };
	int r = fetch_catalogue_read(&c, "f", (const char *)data, len, bases,
		&why);

	if (r && (r != why.code || !*why.text))
		abort();
	for (const struct fetch_catalogue_row *w = c.list; w; w = w->next)
		if (!path_rel_ok(w->path) || !path_rel_ok(w->tail) ||
		    w->base > 1 || fetch_catalogue_find(&c, w->path) != w)
			abort();
	if (fetch_catalogue_list(&c, &l) || l.refused)
		abort();
	listing_done(&l);
	fetch_catalogue_done(&c);
	return 0;
}
