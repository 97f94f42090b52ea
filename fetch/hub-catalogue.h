/*
 * Hubs without an API: what they hold stands in a catalogue, and each file is
 * at an address of its own whose bytes do not change. So there is one revision
 * for good: a catalogue that gains rows leaves every file what it was.
 */
#ifndef FETCH_HUB_CATALOGUE_H
#define FETCH_HUB_CATALOGUE_H

#include "fetch/hub.h"

#define CATALOGUE_REVISION "catalogue"

/* Said of a file that the hub has not (any more). */
#define CATALOGUE_GONE(hub) "was it renamed? A row of ~/.config/omnihub/" \
	"catalogues/" hub ".tsv with its new address counts before ours"

/* Of an adapter: what its members in fetch_hub_ops are, or call. */
struct fetch_catalogue_about {
	const char *const *bases;	/* as in the catalogue; the nth one is
					   where the nth endpoint stands for */
	unsigned mirrors;		/* endpoints behind the first that have
					   the files of the first, too */
	int64_t mtime;			/* seconds since 1970 of its files */
};

int fetch_catalogue_open(struct fetch_hub *h, const struct fetch_catalogue_about
	*about, struct error *why);
void fetch_catalogue_close(struct fetch_hub *h);
bool fetch_catalogue_repo_ok(const char *repo);
bool fetch_catalogue_owner_ok(const char *owner);
void fetch_catalogue_answer(struct fetch_query *q);
int fetch_catalogue_url(const struct fetch_hub *h, const char *repo,
	const char *revision, const char *path, unsigned nth,
	struct buf *ret);
bool fetch_catalogue_known(const struct fetch_hub *h, const char *path,
	struct fetch_known *ret);
/* Object stores that may not be listed say 403 of what they have not. */
struct fetch_status fetch_catalogue_meaning(unsigned status,
	const char *words, struct fetch_status usual);

#endif
