#include "config.h"

#include "fetch/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

#define SNAPSHOT_MAX 65536	/* bytes of its JSON */

struct fetch_snapshot *fetch_snapshot_new(const char *repo,
	const char *revision)
{
	struct fetch_snapshot *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->repo = strdup(repo);
	s->revision = strdup(revision);
	if (!s->repo || !s->revision) {
		fetch_snapshot_free(s);
		return NULL;
	}
	return s;
}

struct fetch_snapshot *fetch_snapshot_copy(const struct fetch_snapshot *s)
{
	struct fetch_snapshot *c = fetch_snapshot_new(s->repo, s->revision);

	if (c && s->place && !(c->place = strdup(s->place))) {
		fetch_snapshot_free(c);
		return NULL;
	}
	if (c) {
		c->mtime = s->mtime;
		c->gated = s->gated;
		c->disabled = s->disabled;
		c->at_hand_ms = s->at_hand_ms;
	}
	return c;
}

void fetch_snapshot_free(struct fetch_snapshot *s)
{
	if (!s)
		return;
	free(s->repo);
	free(s->revision);
	free(s->place);
	free(s);
}

char *fetch_snapshot_to_json(const struct fetch_snapshot *s)
{
	json_t *j cleanup_json = json_pack("{ss ss sI sb sb ss*}",
		"repo", s->repo, "revision", s->revision,
		"mtime", (json_int_t)s->mtime, "gated", s->gated,
		"disabled", s->disabled,
		"place", s->place);

	return j ? json_dumps(j, JSON_COMPACT) : NULL;
}

int fetch_snapshot_from_json(const char *text, size_t len,
	struct fetch_snapshot **ret)
{
	json_t *j cleanup_json = NULL;
	struct fetch_snapshot *s;
	const char *repo, *revision, *place;
	int r = json_parse(text, len, SNAPSHOT_MAX, &j, NULL);

	if (r)
		return r;
	repo = json_str(j, "repo");
	revision = json_str(j, "revision");
	if (!repo || !revision || !json_is_integer(json_object_get(j,
			"mtime")))
		return -EBADMSG;
	s = fetch_snapshot_new(repo, revision);
	if (!s)
		return -ENOMEM;
	place = json_str(j, "place");
	if (place && !(s->place = strdup(place))) {
		fetch_snapshot_free(s);
		return -ENOMEM;
	}
	s->mtime = json_integer_value(json_object_get(j, "mtime"));
	s->gated = json_is_true(json_object_get(j, "gated"));
	s->disabled = json_is_true(json_object_get(j, "disabled"));
	*ret = s;
	return 0;
}
