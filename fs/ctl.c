#include "config.h"

#include "fs/ctl.h"

#include <stdlib.h>
#include <string.h>

#include "fs/tree.h"

const struct fs_ctl fs_ctl_table[] = {
	{ "config", fs_ctl_config },
	{ "errors", fs_ctl_errors },
	{ "stats.json", fs_ctl_stats },
	{ "status", fs_ctl_status },
	{ NULL, NULL },
};

const struct fs_ctl *fs_ctl_find(const char *name)
{
	for (const struct fs_ctl *c = fs_ctl_table; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

void fs_notes_init(struct fs_notes *n)
{
	memset(n, 0, sizeof(*n));
	pthread_mutex_init(&n->lock, NULL);
}

void fs_notes_done(struct fs_notes *n)
{
	for (unsigned i = 0; i < n->n; i++) {
		free(n->note[i].key);
		free(n->note[i].value);
	}
	pthread_mutex_destroy(&n->lock);
}

void fs_status_note(struct fs *fs, const char *key, const char *value)
{
	struct fs_notes *n = &fs->notes;
	char *k = strdup(key), *v = strdup(value);
	unsigned i;

	pthread_mutex_lock(&n->lock);
	for (i = 0; i < n->n && strcmp(n->note[i].key, key);)
		i++;
	if (k && v && i < FS_NOTES_MAX) {
		char *old = i < n->n ? n->note[i].value : NULL;

		if (i == n->n) {
			n->note[i].key = k;
			n->n++;
			k = NULL;
		}
		n->note[i].value = v;
		v = old;
	}
	pthread_mutex_unlock(&n->lock);
	free(k);
	free(v);
}

int fs_ctl_errors(struct fs *fs, struct buf *ret)
{
	return fs_errors_show(&fs->errors, FS_ERRORS_MAX, ret);
}

void fs_errors(struct fs *fs, size_t max, struct buf *ret)
{
	(void) fs_errors_show(&fs->errors, max, ret);
}

void fs_note_passthrough(struct fs *fs, bool yes, const char *words)
{
	atomic_store(&fs->plans.passthrough, yes);
	fs_status_note(fs, "passthrough", words);
}
