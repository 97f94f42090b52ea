/* One string a member, so that a hundred thousand of them are a hundred
 * thousand JSON values and not a million. */
#include "config.h"

#include "stage/format/archive.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/path.h"

#define RECORD 1
#define JSON_MAX (256u << 20)	/* bytes */

/* "HOW SIZE SHA256|- CRC FLAGS PACKED HEADER END PATH", numbers in hex. */
static json_t *member_to_json(const struct stage_member *m)
{
	char hex[OBJID_HEX_MAX], *text;
	json_t *j = NULL;

	objid_hex(&m->id, hex);
	if (asprintf(&text, "%x %" PRIx64 " %s %" PRIx32 " %x %" PRIx64
			" %" PRIx64 " %" PRIx64 " %s", (unsigned)m->how,
			m->size, *hex ? hex : "-", m->crc32,
			(unsigned)m->flags, m->packed, m->header, m->end,
			m->path) >= 0) {
		j = json_string(text);
		free(text);
	}
	return j;
}

static int member_of(const char *text, struct stage_archive *a)
{
	struct stage_member m = { 0 };
	unsigned how, flags;
	char hex[OBJID_HEX_MAX];
	int at = 0;

	if (sscanf(text, "%x %" SCNx64 " %64s %" SCNx32 " %x %" SCNx64
			" %" SCNx64 " %" SCNx64 "%n", &how, &m.size, hex,
			&m.crc32, &flags, &m.packed, &m.header, &m.end,
			&at) != 8 || !at || how > STAGE_MEMBER_STREAM ||
		flags > UINT16_MAX)
		return -EBADMSG;
	/* A path may begin with what scanf would pass over. */
	if (text[at] != ' ' || !path_rel_ok(text + ++at))
		return -EBADMSG;
	m.how = (enum stage_member_how)how;
	m.flags = (uint16_t)flags;
	if (strcmp(hex, "-") && objid_parse(OBJID_SHA256, hex, &m.id))
		return -EBADMSG;
	return stage_archive_add(a, text + at, &m, NULL);
}

char *stage_archive_to_json(const struct stage_archive *a)
{
	json_t *members = json_array(), *refused = json_array(), *all;
	char *text = NULL;
	int err = members && refused ? 0 : -ENOMEM;

	for (size_t i = 0; i < a->n && !err; i++)
		err = json_array_append_new(members, member_to_json(&a->v[i]));
	for (size_t i = 0; i < a->n_refused && i < STAGE_ARCHIVE_REASONS &&
		!err; i++)
		err = json_array_append_new(refused, json_pack("[ss]",
			a->refused[i].name, a->refused[i].why));
	all = json_pack("{si so so sI}", "version", RECORD, "members",
		members, "refused", refused, "n_refused",
		(json_int_t)a->n_refused);
	if (all && !err)
		text = json_dumps(all, JSON_COMPACT);
	json_decref(all);
	return text;
}

static int take(const json_t *all, struct stage_archive *a)
{
	const json_t *members = json_object_get(all, "members");
	const json_t *refused = json_object_get(all, "refused");
	uint64_t version = 0, n = 0;
	const char *text, *name;
	int err = 0;

	if (json_u64(all, "version", &version) || version != RECORD ||
		json_u64(all, "n_refused", &n) || n > STAGE_ARCHIVE_MEMBERS)
		return -EBADMSG;
	for (size_t i = 0; i < json_array_size(members) && !err; i++) {
		text = json_string_value(json_array_get(members, i));
		err = text ? member_of(text, a) : -EBADMSG;
	}
	for (size_t i = 0; i < json_array_size(refused) && !err; i++) {
		const json_t *one = json_array_get(refused, i);

		name = json_string_value(json_array_get(one, 0));
		text = json_string_value(json_array_get(one, 1));
		err = name && text ? stage_archive_refuse(a, name, "%s", text) :
			-EBADMSG;
	}
	if (!err && n > a->n_refused && json_array_size(refused) ==
		STAGE_ARCHIVE_REASONS)
		a->n_refused = (size_t)n;
	return err;
}

int stage_archive_from_json(const char *text, size_t len,
	struct stage_archive *ret, struct error *why)
{
	struct stage_archive a = { 0 };
	json_t *all = NULL;
	int err = json_parse(text, len, JSON_MAX, &all, why);

	if (!err)
		err = take(all, &a);
	json_decref(all);
	if (err) {
		stage_archive_done(&a);
		return error_set(why, err, "not the record of an archive");
	}
	*ret = a;
	return 0;
}
