/*
 * torchvision's weights (hubs.md 4.1): static files behind a CDN, which says
 * 403 of what is not there. The names hold the first digits of a SHA-256.
 */
#include "config.h"

#include "fetch/hub-catalogue.h"

static const char *const bases[] = { "https://download.pytorch.org", NULL };

static const struct fetch_catalogue_about about = {
	.bases = bases,
	.mtime = 1738713600,	/* 2025-02-05 */
};

static int torchvision_open(struct fetch_hub *h, struct error *why)
{
	return fetch_catalogue_open(h, &about, why);
}

const struct fetch_hub_ops fetch_hub_torchvision = {
	.kind = "torchvision",
	.grammar = FETCH_SINGLE,
	.endpoint_keys = { "torchvision.endpoint" },
	.local = true,
	.open = torchvision_open,
	.close = fetch_catalogue_close,
	.repo_ok = fetch_catalogue_repo_ok,
	.owner_ok = fetch_catalogue_owner_ok,
	.answer = fetch_catalogue_answer,
	.url = fetch_catalogue_url,
	.gone = CATALOGUE_GONE("torchvision"),
	.known = fetch_catalogue_known,
	.meaning = fetch_catalogue_meaning,
};
