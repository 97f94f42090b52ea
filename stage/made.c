/* Names of what is made; see made.h. */
#include "config.h"

#include "stage/made.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/path.h"

#define MARK "//"
#define GROUP MARK "#"

bool stage_made_is(const char *path)
{
	return strstr(path, MARK) != NULL;
}

void stage_made_done(struct stage_made *m)
{
	free(m->file);
	free(m->member);
	free(m->group);
	*m = (struct stage_made){ 0 };
}

/* `len` bytes of it, up to the mark or the end. */
static char *part(const char *from, const char *end)
{
	return strndup(from, end ? (size_t)(end - from) : strlen(from));
}

static bool parts_ok(const struct stage_made *m)
{
	return path_rel_ok(m->file) && (m->member || m->group) &&
		(!m->member || path_rel_ok(m->member)) &&
		(!m->group || !*m->group || path_rel_ok(m->group));
}

int stage_made_parse(const char *path, struct stage_made *ret)
{
	const char *mark = strstr(path, MARK), *member, *group;
	struct stage_made m = { 0 };
	int r = 0;

	if (!mark)
		return -ENOENT;
	member = mark + strlen(MARK);
	group = strstr(mark, GROUP);
	m.name = member;
	m.file = part(path, mark);
	if (group)
		m.group = strdup(group + strlen(GROUP));
	if (group != mark)
		m.member = part(member, group);
	if (!m.file || (group && !m.group) || (group != mark && !m.member))
		r = -ENOMEM;
	else if (!parts_ok(&m))
		r = -ENOENT;
	if (r) {
		stage_made_done(&m);
		return r;
	}
	*ret = m;
	return 0;
}

bool stage_made_ok(const char *path)
{
	struct stage_made m;

	if (path_rel_ok(path))
		return true;
	if (stage_made_parse(path, &m))
		return false;
	stage_made_done(&m);
	return true;
}

const struct listing_entry *stage_source_of(const struct listing *files,
	const char *path)
{
	const struct listing_entry *e = NULL;
	struct stage_made m;

	if (!stage_made_is(path)) {
		e = listing_find(files, path);
	} else if (!stage_made_parse(path, &m)) {
		e = listing_find(files, m.file);
		stage_made_done(&m);
	}
	return e && e->kind == LISTING_FILE ? e : NULL;
}

char *stage_made_path(const char *file, const char *group)
{
	char *path;

	return asprintf(&path, "%s" GROUP "%s", file, group) < 0 ? NULL : path;
}
