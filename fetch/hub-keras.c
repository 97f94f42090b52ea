/*
 * Weights of keras.applications (hubs.md 5): two buckets of Google's storage.
 * Replies tell the MD5 of what is stored there, also for the files of which
 * Keras itself knows none.
 */
#include "config.h"

#include <errno.h>

#include "fetch/hub-catalogue.h"

static const char *const bases[] = { "https://storage.googleapis.com", NULL };

static const struct fetch_catalogue_about about = {
	.bases = bases,
	.mtime = 1738713600,	/* 2025-02-05 */
};

static int keras_open(struct fetch_hub *h, struct error *why)
{
	return fetch_catalogue_open(h, &about, why);
}

static int keras_vet(const struct fetch_file *f, const struct fetch_reply *r,
	struct error *why)
{
	char theirs[OBJID_HEX_MAX], ours[OBJID_HEX_MAX];
	struct objid id;

	if (f->id.alg != OBJID_MD5 || !fetch_digest_goog(r, &id) ||
	    objid_match(&id, &f->id))
		return 0;
	objid_hex(&id, theirs);
	objid_hex(&f->id, ours);
	return error_set(why, -EIO, "the hub has other bytes for this file: "
		"their MD5 is %s, not %s", theirs, ours);
}

const struct fetch_hub_ops fetch_hub_keras = {
	.kind = "keras",
	.grammar = FETCH_SINGLE,
	.endpoint_keys = { "keras.endpoint" },
	.local = true,
	.open = keras_open,
	.close = fetch_catalogue_close,
	.repo_ok = fetch_catalogue_repo_ok,
	.owner_ok = fetch_catalogue_owner_ok,
	.answer = fetch_catalogue_answer,
	.url = fetch_catalogue_url,
	.vet = keras_vet,
	.digest = fetch_digest_goog,
	.gone = CATALOGUE_GONE("keras"),
	.known = fetch_catalogue_known,
};
