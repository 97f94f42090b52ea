/*
 * A catalogue: what a hub without an API holds, as text. Comments begin with
 * '#'; the first other line names the columns, which TABs separate; "-" is
 * nothing. Columns may be left out, but not the address.
 *
 *   model      directory of the file; none: it lies at the top
 *   url        its real address; the last part is the file's name
 *   digest     sha256:HEX or md5:HEX; fewer digits than all: the first ones
 *   what       words
 *   default    "yes": what people mean who name only the model
 *   about      bytes, not exact: never a file's size
 *   cached-as  its name in the cache of the tool that usually fetches it
 *
 * Pure but for fetch_catalogue_load(). Does not change once it is read, so any
 * thread may look.
 */
#ifndef FETCH_CATALOGUE_H
#define FETCH_CATALOGUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/error.h"
#include "base/listing.h"
#include "base/map.h"

#define CATALOGUE_BYTES_MAX (8u << 20)	/* of one text */
#define CATALOGUE_LINE_MAX 8192		/* bytes */

struct fetch_catalogue_row {
	char *path;		/* MODEL/FILE, checked; the map's key */
	unsigned base;		/* which of the bases its address lies below */
	char *tail;		/* the address below it, without '/' in front */
	struct objid id;
	char *what;		/* NULL: none */
	char *cached_as;	/* NULL: the name it has */
	uint64_t about;		/* bytes; 0: not told */
	bool preferred;
	struct fetch_catalogue_row *next;
};

struct fetch_catalogue {
	struct map rows;	/* path → struct fetch_catalogue_row */
	struct map dirs;	/* models of rows → anything */
	struct fetch_catalogue_row *list;
};

/* Add the rows of a text. What is there from an earlier text stays: a row of
 * the same path is left out, and one whose file would be a directory of the
 * other. Within one text both are wrong. bases: NULL-ended roots of addresses.
 * -EINVAL with "name:line" in `why`. */
int fetch_catalogue_read(struct fetch_catalogue *c, const char *name,
	const char *text, size_t len, const char *const *bases,
	struct error *why);
/* kind.tsv of the user's directory of catalogues, then ours; or, if the
 * endpoint is a directory that has one, its catalogue.tsv alone. What is not
 * there adds nothing. Disk. */
int fetch_catalogue_load(struct fetch_catalogue *c, const char *kind,
	const char *endpoint, const char *const *bases, struct error *why);
/* NULL: no such file. */
const struct fetch_catalogue_row *fetch_catalogue_find(
	const struct fetch_catalogue *c, const char *path);
int fetch_catalogue_list(const struct fetch_catalogue *c,
	struct listing *ret);
void fetch_catalogue_done(struct fetch_catalogue *c);

#endif
