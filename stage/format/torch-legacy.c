/*
 * The form before torch 1.6 (torch/serialization.py, _legacy_save):
 *
 *   pickle: magic number   pickle: 1001   pickle: system (byte order)
 *   pickle: the object     pickle: list of storage keys
 *   for each key, in that order: int64 number of elements, the elements
 *
 * How long the pickles are is only known when they are read: the beginning of
 * the file is read in growing pieces until they are whole.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "stage/format/torch-state.h"
#include "stage/window.h"

#define FIRST_READ 262144	/* bytes */
#define PROTOCOL 1001

enum { PICKLE_MAGIC, PICKLE_PROTOCOL, PICKLE_SYSTEM, PICKLE_OBJECT,
	PICKLE_KEYS, N_PICKLES };

struct place {
	uint64_t off, len;	/* bytes, in the file; off 0: not placed yet */
};

struct torch_legacy {
	struct stage_torch t;		/* must be first */
	struct stage_pickle *pickle[N_PICKLES];
	struct map places;		/* key -> struct place */
	struct place *v;
	uint64_t data;			/* where the storages begin */
};

static void free_pickles(struct torch_legacy *l)
{
	for (int i = 0; i < N_PICKLES; i++) {
		stage_pickle_free(l->pickle[i]);
		l->pickle[i] = NULL;
	}
}

static int parse_pickles(struct torch_legacy *l, const uint8_t *data,
	size_t len)
{
	size_t at = 0;
	int err = 0;

	free_pickles(l);
	for (int i = 0; !err && i < N_PICKLES; i++) {
		size_t used = 0;

		err = stage_pickle_parse(data + at, len - at, &l->pickle[i],
			&used, l->t.why);
		at += used;
	}
	l->data = at;
	return err;
}

static int read_pickles(struct torch_legacy *l, struct src *s)
{
	cleanup_free uint8_t *data = NULL;
	size_t have = 0, want = FIRST_READ;
	int err = -ENODATA;

	while (err == -ENODATA) {
		uint8_t *more;

		if (want > s->size)
			want = (size_t)s->size;
		if (want == have)
			return error_set(l->t.why, -EBADMSG,
				"the file is cut short");
		if (want > STAGE_PICKLE_MAX)
			return error_set(l->t.why, -EFBIG,
				"pickles of over %u bytes", STAGE_PICKLE_MAX);
		more = realloc(data, want);
		if (!more)
			return -ENOMEM;
		data = more;
		err = src_read_wait(s, have, data + have, want - have);
		if (err)
			return stage_read_error(s, err, "reading its pickles",
				l->t.why);
		have = want;
		err = parse_pickles(l, data, have);
		want = have * 4;
	}
	return err;
}

static int check_system(const struct torch_legacy *l)
{
	struct stage_py *system = stage_pickle_root(l->pickle[PICKLE_SYSTEM]);
	const struct stage_py *little = stage_py_get(stage_py_dict(system),
		"little_endian");
	int64_t version;

	if (!stage_py_int(stage_pickle_root(l->pickle[PICKLE_PROTOCOL]),
		    &version) || version != PROTOCOL)
		return error_set(l->t.why, -ENOTSUP,
			"another protocol than %d", PROTOCOL);
	if (!little || little->kind != STAGE_PY_BOOL)
		return error_set(l->t.why, -EBADMSG, "no byte order");
	return little->u.b ? 0 : error_set(l->t.why, -ENOTSUP,
		"storages in big-endian order");
}

/* Every storage the object names, with its length. */
static int collect(struct torch_legacy *l)
{
	const struct stage_py *ids =
		stage_pickle_persids(l->pickle[PICKLE_OBJECT]);
	size_t n = stage_py_count(ids), used = 0;

	l->v = calloc(n + 1, sizeof(*l->v));
	if (!l->v)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct stage_py *id = stage_py_item(ids, i);
		struct stage_torch_storage s;
		struct place *p;
		const char *word;
		int err;

		/* ('module', class, file, text) comes with whole modules. */
		if (stage_py_str(stage_py_item(id, 0), &word) &&
		    !strcmp(word, "module"))
			continue;
		err = stage_torch_storage(id, &s, l->t.why);
		if (err)
			return err;
		p = map_get(&l->places, s.key);
		if (p && p->len != s.len)
			return error_set(l->t.why, -EBADMSG,
				"storage %s has two sizes", s.key);
		if (p)
			continue;
		p = &l->v[used++];
		p->len = s.len;
		err = map_put(&l->places, s.key, p, NULL);
		if (err)
			return err;
	}
	return 0;
}

/* Lay the storages out; they have to end where the file ends. */
static int lay_out(struct torch_legacy *l, uint64_t size)
{
	const struct stage_py *keys =
		stage_pickle_root(l->pickle[PICKLE_KEYS]);
	size_t n = stage_py_count(keys);
	uint64_t at = l->data;

	for (size_t i = 0; i < n; i++) {
		const char *key = "?";
		struct place *p = NULL;

		if (stage_py_str(stage_py_item(keys, i), &key))
			p = map_get(&l->places, key);
		if (!p || p->off)
			return error_set(l->t.why, -EBADMSG,
				"storage %s is unknown or comes twice", key);
		if (size_add(at, 8, &p->off) ||
		    size_add(p->off, p->len, &at))
			return error_set(l->t.why, -EBADMSG,
				"storage %s has an absurd size", key);
	}
	return at == size ? 0 : error_set(l->t.why, -EBADMSG,
		"the storages end at %llu, the file at %llu",
		(unsigned long long)at, (unsigned long long)size);
}

static int place(struct stage_torch *t, const char *key, uint64_t len,
	uint64_t *ret_off)
{
	struct torch_legacy *l = (struct torch_legacy *)t;
	const struct place *p = map_get(&l->places, key);

	if (!p || !p->off || p->len != len)
		return error_set(t->why, -EBADMSG,
			"the file has no storage %s", key);
	*ret_off = p->off;
	return 0;
}

int stage_torch_legacy_read(struct src *s, unsigned file,
	struct stage_weights *w, struct error *why)
{
	struct torch_legacy l = { .t = { .file = file, .w = w, .why = why,
		.place = place } };
	int err = read_pickles(&l, s);

	if (!err)
		err = check_system(&l);
	if (!err)
		err = collect(&l);
	if (!err)
		err = lay_out(&l, s->size);
	if (!err)
		err = stage_torch_state(&l.t,
			stage_pickle_root(l.pickle[PICKLE_OBJECT]));
	free_pickles(&l);
	map_done(&l.places);
	free(l.v);
	return err;
}
