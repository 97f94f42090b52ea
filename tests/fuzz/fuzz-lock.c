/*
 * fs_lock_parse(). What is accepted keeps its promises: it can be written, is
 * the same when it is read again, and answers for its own names.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/path.h"
#include "fs/lock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_model(const struct fs_lock *l, const struct fs_lock_model *m)
{
	struct error why = { 0 };

	if (!m->n_names || !path_rel_ok(m->is.repo) || !*m->is.rev)
		abort();
	for (size_t i = 0; i < m->n_names; i++)
		if (fs_lock_find(l, m->names[i].hub, m->names[i].repo,
			m->names[i].rev) != m)
			abort();
	for (size_t i = 0; i < m->files.n; i++)
		if (!path_rel_ok(m->files.v[i].path))
			abort();
	if (fs_lock_compare(m, &m->files, &why))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct buf text = BUF_INIT(64 << 20), again = BUF_INIT(64 << 20);
	struct fs_lock *l = NULL, *k = NULL;
	struct error why = { 0 };
	int r = fs_lock_parse("x.lock", (const char *)data, len, &l, &why);

	if (r) {
		if (!strstr(why.text, "x.lock: line ") || (r != -EINVAL &&
				r != -ENOTSUP))
			abort();
		return 0;
	}
	for (size_t i = 0; i < l->n; i++)
		check_model(l, l->models[i]);
	if (!fs_lock_text(l, &text)) {
		if (fs_lock_parse("x.lock", (const char *)text.data, text.len,
				&k, &why) || fs_lock_text(k, &again) ||
			again.len != text.len ||
			memcmp(again.data, text.data, text.len) != 0)
			abort();
	}
	buf_done(&text);
	buf_done(&again);
	fs_lock_free(k);
	fs_lock_free(l);
	return 0;
}
