/*
 * The ONNX model zoo (hubs.md section 2): one repository, the tree of its
 * manifest. The bytes lie in up to four places, which are asked in this order:
 * the old tree on Hugging Face, a repository a model there, GitHub's LFS
 * media, and what LFS itself says. Most of these addresses move; the manifest's
 * SHA-256 says which bytes are right.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "fetch/hub.h"
#include "fetch/lfs-batch.h"
#include "fetch/onnx-manifest.h"
#include "fetch/url.h"

#define ORG "onnxmodelzoo"
#define SUFFIX ".onnx"

enum { HF, MANIFEST = ONNX_MANIFEST, MEDIA, LFS };

static bool zoo_repo_ok(const char *repo)
{
	return !strcmp(repo, FETCH_THE_REPO);
}

static bool zoo_owner_ok(const char *owner)
{
	(void) owner;
	return false;
}

/* The name of the repository of its own that a model may have; 0 bytes: it
 * can have none. */
static size_t stem_of(const char *path, const char **ret)
{
	const char *name = path_base(path);
	size_t n = strlen(name), tail = sizeof(SUFFIX) - 1;

	if (n <= tail || strcmp(name + n - tail, SUFFIX) != 0)
		return 0;
	n -= tail;
	for (size_t i = 0; i < n; i++)
		if (!isascii((unsigned char)name[i]) ||
		    !(isalnum((unsigned char)name[i]) ||
				strchr("-_.", name[i])))
			return 0;
	*ret = name;
	return n;
}

static int zoo_url(const struct fetch_hub *h, const char *repo,
	const char *revision, const char *path, unsigned nth, struct buf *ret)
{
	const char *stem = NULL;
	size_t n = stem_of(path, &stem);
	int r;

	(void) revision;
	if (!zoo_repo_ok(repo))
		return -EINVAL;
	if (nth && !n)
		nth++;		/* it has no repository of its own */
	switch (nth) {
	case 0:
		r = buf_printf(ret, "%s/" ORG "/legacy_models/resolve/main/",
			h->endpoints[HF]);
		return r ? r : fetch_url_escape(ret, path, true);
	case 1:
		return buf_printf(ret, "%s/" ORG "/%.*s/resolve/main/%.*s"
			SUFFIX, h->endpoints[HF], (int)n, stem, (int)n, stem);
	case 2:
		r = buf_printf(ret, "%s/media/onnx/models/main/",
			h->endpoints[MEDIA]);
		return r ? r : fetch_url_escape(ret, path, true);
	default:
		return -ENOENT;
	}
}

static void zoo_locate(struct fetch_hub *h, const struct fetch_file *f,
	fetch_locate_cb *cb, void *arg)
{
	cleanup_buf struct buf root = BUF_INIT(URL_MAX);

	if (buf_printf(&root, "%s/onnx/models.git/info/lfs",
			h->endpoints[LFS]))
		cb(arg, -ENOMEM, NULL, NULL);
	else
		fetch_lfs_locate(h, (const char *)root.data, f, cb, arg);
}

/* The token for Hugging Face, if that is where the zoo is. */
static char *zoo_credentials(const struct conf *c, unsigned nth)
{
	const char *here = conf_get(c, "onnx.endpoint");
	const char *hf = conf_get(c, "huggingface.endpoint");
	cleanup_free char *token = NULL;

	if (nth != HF || !here || !hf || !fetch_url_same_origin(here, hf))
		return NULL;
	token = conf_hf_token(c);
	return fetch_auth_bearer(token);
}

const struct fetch_hub_ops fetch_hub_onnx = {
	.kind = "onnx",
	.grammar = FETCH_SINGLE,
	.endpoint_keys = { "onnx.endpoint", "onnx.manifest", "onnx.media",
		"onnx.lfs" },
	.credentials = zoo_credentials,
	.repo_ok = zoo_repo_ok,
	.owner_ok = zoo_owner_ok,
	.answer = fetch_onnx_answer,
	.url = zoo_url,
	.locate = zoo_locate,
	.open = fetch_onnx_open,
	.close = fetch_onnx_close,
	.vet = fetch_linked_vet,
};
