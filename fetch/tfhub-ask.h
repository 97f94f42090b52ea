/*
 * What tfhub.dev itself still tells (hubs.md 3.2): where a handle has gone, and
 * where its files lie unpacked. Engine thread.
 */
#ifndef FETCH_TFHUB_ASK_H
#define FETCH_TFHUB_ASK_H

#include "fetch/hub.h"

/* err 0: the handle is `instance` of Kaggle, OWNER/MODEL/FRAMEWORK/VARIATION,
 * in `version` ("": not told). */
typedef void fetch_tfhub_led(void *arg, int err, const struct error *why,
	const char *instance, const char *version);
/* version "": of the handle as such. -ENOENT: no such, or deleted. cb is called
 * from inside only with -ENOMEM. */
void fetch_tfhub_lead(struct fetch_hub *h, const char *handle,
	const char *version, fetch_tfhub_led *cb, void *arg);

/* err 0: BUCKET/PREFIX in Google's storage. As above; where no place is told,
 * `otherwise`, if not NULL: why the files are looked for there. */
typedef void fetch_tfhub_unpacked_cb(void *arg, int err,
	const struct error *why, const char *place);
void fetch_tfhub_unpacked(struct fetch_hub *h, const char *handle,
	const char *version, const struct error *otherwise,
	fetch_tfhub_unpacked_cb *cb, void *arg);

/* Every object below BUCKET/PREFIX; root: of the store. */
void fetch_gcs_list(struct fetch_hub *h, const char *root, const char *place,
	fetch_listing_cb *cb, void *arg);

#endif
