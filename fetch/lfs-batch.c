#include "config.h"

#include "fetch/lfs-batch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fetch/document.h"
#include "fetch/lfs-json.h"
#include "fetch/url.h"

struct lfs_job {
	struct fetch_document *doc;
	char *question;
	const struct fetch_file *file;	/* the asker's, until cb */
	fetch_locate_cb *cb;
	void *arg;
};

static void end(struct lfs_job *j, int err, const struct error *why,
	struct fetch_located *found)
{
	fetch_locate_cb *cb = j->cb;
	void *arg = j->arg;

	fetch_document_free(j->doc);
	free(j->question);
	free(j);
	cb(arg, err, why, found);
}

static void on_answer(struct fetch_document *d, int err,
	const struct error *why)
{
	struct lfs_job *j = d->arg;
	struct fetch_located found = { 0 };
	struct error mine = { 0 };

	if (err) {
		mine = *why;
	} else {
		char shown[256];

		err = fetch_lfs_answer(d->body.data, d->body.len, j->file,
			d->url, clock_wall(), &found, &mine);
		if (err)
			error_wrap(&mine, "%s", fetch_url_show(d->url, shown,
				sizeof(shown)));
	}
	end(j, err, err ? &mine : NULL, err ? NULL : &found);
}

void fetch_lfs_locate(struct fetch_hub *h, const char *root,
	const struct fetch_file *f, fetch_locate_cb *cb, void *arg)
{
	static const char lines[] =
		"Accept: application/vnd.git-lfs+json\n"
		"Content-Type: application/vnd.git-lfs+json";
	struct lfs_job *j = calloc(1, sizeof(*j));
	struct error why = { 0 };
	char *url = NULL;

	if (!j) {
		cb(arg, -ENOMEM, NULL, NULL);
		return;
	}
	j->file = f;
	j->cb = cb;
	j->arg = arg;
	if (f->id.alg != OBJID_SHA256 || f->id.digits != OBJID_HEX_MAX - 1) {
		error_set(&why, -ENOENT, "LFS knows files by their SHA-256");
		end(j, -ENOENT, &why, NULL);
		return;
	}
	j->question = fetch_lfs_question(f);
	j->doc = fetch_document_new(h->engine, fetch_hub_auth(h, root));
	if (!j->question || !j->doc ||
	    asprintf(&url, "%s/objects/batch", root) < 0) {
		error_set(&why, -ENOMEM, "out of memory");
		end(j, -ENOMEM, &why, NULL);
		return;
	}
	j->doc->arg = j;
	j->doc->done = on_answer;
	j->doc->lines = lines;
	j->doc->post = j->question;
	j->doc->body.max = LFS_ANSWER_MAX;
	fetch_document_ask(j->doc, url);
}
