/*
 * TorchServe's model zoo (hubs.md 4.4): archives in a bucket and behind a CDN
 * in front of it; workflow archives are in the bucket alone. No digests.
 */
#include "config.h"

#include "fetch/hub-catalogue.h"

static const char *const bases[] = {
	"https://torchserve.pytorch.org",
	"https://torchserve.s3.amazonaws.com",
	NULL,
};

static const struct fetch_catalogue_about about = {
	.bases = bases,
	.mirrors = 1,
	.mtime = 1742169600,	/* 2025-03-17 */
};

static int torchserve_open(struct fetch_hub *h, struct error *why)
{
	return fetch_catalogue_open(h, &about, why);
}

const struct fetch_hub_ops fetch_hub_torchserve = {
	.kind = "torchserve",
	.grammar = FETCH_SINGLE,
	.endpoint_keys = { "torchserve.endpoint", "torchserve.s3" },
	.local = true,
	.open = torchserve_open,
	.close = fetch_catalogue_close,
	.repo_ok = fetch_catalogue_repo_ok,
	.owner_ok = fetch_catalogue_owner_ok,
	.answer = fetch_catalogue_answer,
	.url = fetch_catalogue_url,
	.gone = CATALOGUE_GONE("torchserve"),
	.known = fetch_catalogue_known,
	.meaning = fetch_catalogue_meaning,
};
