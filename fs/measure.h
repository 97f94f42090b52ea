/*
 * Sizes that no listing tells: asked for when somebody wants one, one question
 * for all who wait, and kept with the snapshot and in the index. A listing is
 * never changed: what was found is an entry of its own, which stands in for the
 * listing's. Hubs without revisions can put another file where one was: when a
 * user wants such a hub asked again, what was found is doubted, and asked for
 * again by the next who wants to know. So it is when bytes contradict it. Nobody
 * loses the entry he has, but handles of what has become another file fail.
 */
#ifndef FS_MEASURE_H
#define FS_MEASURE_H

#include "base/error.h"
#include "base/listing.h"
#include "fs/resolve.h"

/* e, of snapshot s, or the entry that stands in for it: with its size, as far
 * as memory and index know it. Good as long as s is. */
const struct listing_entry *fs_measured(struct fs_snap *s,
	const struct listing_entry *e);

/* Does the hub have to say (again) what size e has? */
bool fs_measure_due(struct fs_snap *s, const struct listing_entry *e);

/* err 0: what stands in for the entry; otherwise why says it in words. */
typedef void fs_measure_cb(void *arg, int err, const struct error *why,
	const struct listing_entry *e);
void fs_measure(struct fs_snap *s, const struct listing_entry *e,
	fs_measure_cb *cb, void *arg);
/* For threads that may wait for the network. */
int fs_measure_wait(struct fs_snap *s, const struct listing_entry *e,
	const struct listing_entry **ret, struct error *why);

/* Which file it is: the resolver's `changed` when it became another; 0: it has
 * been that one as long as we know it. */
unsigned fs_measure_nth(struct fs_snap *s, const struct listing_entry *e);
/* Was it measured, and is it to be asked for again? */
bool fs_measure_doubted(struct fs_snap *s, const struct listing_entry *e);

/* The bytes of a file of that snapshot contradict what is said of it, `size`
 * among that (fetch_on_contradicted): if it is what was measured, the hub is
 * asked again before the file is opened or shown once more. A size that a
 * listing tells stays. */
void fs_measure_contradicted(struct fs_resolver *r, const struct fs_hub *hub,
	const char *repo, const char *revision, const char *path,
	uint64_t size);

/* Of a snapshot that nobody has any more. */
void fs_facts_free(struct fs_snap *s);

#endif
