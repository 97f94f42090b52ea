#include "config.h"

#include "fetch/onnx-manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/path.h"
#include "base/pool.h"
#include "fetch/document.h"
#include "fetch/onnx-json.h"
#include "fetch/snapshot.h"
#include "fetch/url.h"

#define SHIPPED "catalogues/onnx.json"	/* in conf_datadir() */
#define SHIPPED_TIME 1750982400		/* 2025-06-27: the zoo's last change */
#define WAIT_MS 700	/* for the hub, when there is something to show */
/* How long that is believed then: */
#define LATE_MS 1000	/* while the hub has not answered */
#define FAILED_MS 10000	/* when it could not */
#define LISTING_JSON_MAX (64u << 20)	/* bytes */
#define NOTE_MAX 65536			/* bytes */

struct manifest {
	struct listing files;	/* n 0: none */
	char revision[OBJID_HEX_MAX];
	int64_t mtime;		/* seconds since 1970 */
};

struct waiting {
	struct fetch_query *query;
	struct waiting *next;
};

/* The engine thread's, but for what open() sets. */
struct zoo {
	struct fetch_hub *hub;
	char *shipped_path;
	char note[OBJID_HEX_MAX];	/* key of what was last in use */
	struct pool *disk;		/* writes; NULL: not yet needed */
	bool loaded;
	char shipped[OBJID_HEX_MAX];	/* its revision; "": there is none */
	struct manifest now;
	char *validator;		/* of now, for the next question */
	struct fetch_document *asking;	/* NULL: not asking */
	uint32_t at_hand_ms;		/* LATE_MS: somebody waited in vain,
					   FAILED_MS: the last question failed,
					   0: neither */
	struct waiting *waiting;
	struct fetch_timer timer;
	bool timer_set;
};

static struct zoo *zoo_of(const struct fetch_hub *h)
{
	return h->own;
}

static const char *address(const struct zoo *z)
{
	return z->hub->endpoints[ONNX_MANIFEST];
}

/* A manifest on this disk is read each time and has the last word: nothing
 * stands in for it. */
static bool on_disk(const struct zoo *z)
{
	return fetch_url_is_file(address(z));
}

static void revision_of(const void *text, size_t len, char ret[OBJID_HEX_MAX])
{
	struct objid id;

	digest_sha256(text, len, &id);
	objid_hex(&id, ret);
}

/* ---- the manifest that ships, and those that were seen ------------------------ */

static int read_shipped(const struct zoo *z, struct manifest *ret)
{
	cleanup_buf struct buf text = BUF_INIT(ONNX_MANIFEST_MAX);
	struct manifest m = { .mtime = SHIPPED_TIME };
	struct error why = { 0 };
	int r = io_read_file(AT_FDCWD, z->shipped_path, &text);

	if (!r)
		r = fetch_onnx_manifest(text.data, text.len, &m.files, &why);
	if (r) {
		log_debug("%s: %s", z->shipped_path, error_text(&why, r));
		listing_done(&m.files);
		return r;
	}
	revision_of(text.data, text.len, m.revision);
	*ret = m;
	return 0;
}

static int read_seen(const struct zoo *z, const char *revision,
	struct listing *ret)
{
	cleanup_buf struct buf text = BUF_INIT(LISTING_JSON_MAX);
	struct cache *c = z->hub->cache;
	int r = c ? cache_recipe_get(c, revision, &text) : -ENOENT;

	if (!r)
		r = listing_from_json((const char *)text.data, text.len, ret,
			NULL);
	if (!r)
		listing_sort(ret);
	return r;
}

/* What was in use when the hub was last heard. It does not count any more when
 * another manifest ships now: which of the two is newer only the hub knows. */
static void read_note(struct zoo *z)
{
	cleanup_buf struct buf text = BUF_INIT(NOTE_MAX);
	struct cache *c = z->hub->cache;
	json_t *j cleanup_json = NULL;
	struct manifest m = { .files = { 0 } };
	const char *revision, *shipped, *validator;
	uint64_t mtime;

	if (!c || cache_recipe_get(c, z->note, &text) ||
	    json_parse(text.data, text.len, NOTE_MAX, &j, NULL))
		return;
	revision = json_str(j, "revision");
	shipped = json_str(j, "shipped");
	validator = json_str(j, "validator");
	if (!revision || strlen(revision) >= sizeof(m.revision) || !shipped ||
	    strcmp(shipped, z->shipped) != 0 || json_u64(j, "mtime", &mtime))
		return;
	if (strcmp(revision, z->now.revision) != 0) {
		if (read_seen(z, revision, &m.files))
			return;
		m.mtime = (int64_t)mtime;
		strcpy(m.revision, revision);
		listing_done(&z->now.files);
		z->now = m;
	}
	if (validator && *validator)
		z->validator = strdup(validator);
}

static void load(struct zoo *z)
{
	if (z->loaded)
		return;
	z->loaded = true;
	if (on_disk(z))
		return;
	if (!read_shipped(z, &z->now))
		strcpy(z->shipped, z->now.revision);
	read_note(z);
}

/* ---- keeping ------------------------------------------------------------------- */

struct keeping {
	struct pool_job job;
	struct cache *cache;
	char revision[OBJID_HEX_MAX], note_key[OBJID_HEX_MAX];
	char *listing;		/* NULL: need not be kept */
	char *note;
};

/* The note last: what it names is there. */
static void keep_run(struct pool_job *job)
{
	struct keeping *k = (struct keeping *)job;
	int r = 0;

	if (k->listing)
		r = cache_recipe_put(k->cache, k->revision, k->listing,
			strlen(k->listing));
	if (!r && k->note)
		r = cache_recipe_put(k->cache, k->note_key, k->note,
			strlen(k->note));
	if (r)
		log_debug("the zoo's manifest is not kept: %s",
			error_text(NULL, r));
	free(k->listing);
	free(k->note);
	free(k);
}

static void keep(struct zoo *z)
{
	json_t *j cleanup_json = NULL;
	struct keeping *k;

	if (!z->hub->cache || on_disk(z))
		return;
	if (!z->disk)
		z->disk = pool_new(1, "zoo");
	k = z->disk ? calloc(1, sizeof(*k)) : NULL;
	if (!k)
		return;
	j = json_pack("{ss ss ss sI}", "revision", z->now.revision,
		"shipped", z->shipped, "validator", z->validator ?
		z->validator : "", "mtime", (json_int_t)z->now.mtime);
	k->cache = z->hub->cache;
	strcpy(k->revision, z->now.revision);
	strcpy(k->note_key, z->note);
	if (strcmp(z->now.revision, z->shipped) != 0)
		k->listing = listing_to_json(&z->now.files);
	k->note = j ? json_dumps(j, JSON_COMPACT) : NULL;
	k->job.run = keep_run;
	pool_add(z->disk, &k->job);
}

/* ---- answers -------------------------------------------------------------------- */

static void say_error(struct fetch_query *q, int err, const char *text)
{
	struct error why = { 0 };

	error_set(&why, err, "%s", text);
	fetch_query_answer(q, err, &why, NULL, NULL);
}

static void say_snapshot(struct fetch_query *q, const char *revision,
	int64_t mtime, uint32_t at_hand_ms)
{
	struct fetch_snapshot *s = fetch_snapshot_new(FETCH_THE_REPO,
		revision);

	if (!s) {
		say_error(q, -ENOMEM, "out of memory");
		return;
	}
	s->mtime = mtime;
	s->at_hand_ms = at_hand_ms;
	fetch_query_answer(q, 0, NULL, s, NULL);
}

/* Everybody who waits; err: why the hub's manifest did not come. */
static void release(struct zoo *z, int err, const struct error *why)
{
	struct waiting *list = z->waiting, *next;

	z->waiting = NULL;
	for (; list; list = next) {
		next = list->next;
		if (z->now.files.n && !(err && on_disk(z)))
			say_snapshot(list->query, z->now.revision,
				z->now.mtime, z->at_hand_ms);
		else
			fetch_query_answer(list->query, err, why, NULL, NULL);
		free(list);
	}
}

static void on_timer(struct fetch_timer *t)
{
	struct zoo *z = (struct zoo *)(void *)((char *)t -
		offsetof(struct zoo, timer));

	z->timer_set = false;
	if (!z->now.files.n)
		return;		/* there is nothing else to wait for */
	if (z->waiting && !z->at_hand_ms)
		z->at_hand_ms = LATE_MS;
	release(z, 0, NULL);
}

/* ---- asking the hub -------------------------------------------------------------- */

static int take(struct zoo *z, struct fetch_document *d, struct error *why)
{
	struct manifest m = { .mtime = d->modified };
	int r;

	revision_of(d->body.data, d->body.len, m.revision);
	if (strcmp(m.revision, z->now.revision) != 0) {
		r = fetch_onnx_manifest(d->body.data, d->body.len, &m.files,
			why);
		if (r) {
			listing_done(&m.files);
			return r;
		}
		if (!m.mtime)
			m.mtime = on_disk(z) ? SHIPPED_TIME : clock_wall();
		listing_done(&z->now.files);
		z->now = m;
	}
	free(z->validator);
	z->validator = steal_ptr(d->validator);
	keep(z);
	return 0;
}

static void on_document(struct fetch_document *d, int err,
	const struct error *why)
{
	struct zoo *z = d->arg;
	struct error mine = { 0 };

	z->asking = NULL;
	if (!err && !d->unchanged) {
		err = take(z, d, &mine);
		why = &mine;
	}
	z->at_hand_ms = err ? FAILED_MS : 0;
	if (err)
		log_debug("%s: %s%s", address(z), error_text(why, err),
			on_disk(z) ? "" : "; the manifest at hand is used");
	release(z, err, why);
	fetch_document_free(d);
}

static bool ask(struct zoo *z)
{
	char *url = strdup(address(z));
	struct fetch_document *d = url ? fetch_document_new(z->hub->engine,
		&z->hub->auths[ONNX_MANIFEST]) : NULL;

	if (!d) {
		free(url);
		return false;
	}
	d->body.max = ONNX_MANIFEST_MAX;
	d->lines = z->validator;
	d->arg = z;
	d->done = on_document;
	z->asking = d;
	fetch_document_ask(d, url);
	return true;
}

static void wait_for_hub(struct zoo *z, struct fetch_query *q)
{
	struct waiting *w = malloc(sizeof(*w));

	if (!w) {
		say_error(q, -ENOMEM, "out of memory");
		return;
	}
	*w = (struct waiting){ q, z->waiting };
	z->waiting = w;
	if (!z->timer_set && !on_disk(z)) {
		z->timer_set = true;
		z->timer.fire = on_timer;
		fetch_engine_after(z->hub->engine, &z->timer, WAIT_MS);
	}
}

static void resolve(struct zoo *z, struct fetch_query *q)
{
	bool file = on_disk(z);
	bool can = file || !fetch_engine_offline(z->hub->engine);
	bool have = z->now.files.n != 0;

	if (can && !z->asking && !ask(z)) {
		say_error(q, -ENOMEM, "out of memory");
		return;
	}
	if (z->asking && (!have || file || !z->at_hand_ms))
		wait_for_hub(z, q);
	else if (have)
		say_snapshot(q, z->now.revision, z->now.mtime,
			z->asking ? z->at_hand_ms : 0);
	else
		say_error(q, -EHOSTUNREACH, "offline, and no manifest of the "
			"zoo is at hand");
}

/* ---- questions --------------------------------------------------------------------- */

/* A copy of the files of any manifest that is at hand. */
static int files_of(const struct zoo *z, const char *revision,
	struct listing *ret)
{
	struct manifest m = { .files = { 0 } };
	int r;

	if (!strcmp(revision, z->now.revision))
		return fetch_listing_copy(&z->now.files, ret);
	if (strcmp(revision, z->shipped) != 0)
		return read_seen(z, revision, ret);
	r = read_shipped(z, &m);
	if (!r)
		*ret = m.files;
	return r;
}

void fetch_onnx_answer(struct fetch_query *q)
{
	struct zoo *z = zoo_of(q->hub);
	struct listing l = { 0 };
	int r;

	load(z);
	if (q->what == FETCH_RESOLVE && !*q->revision) {
		resolve(z, q);
		return;
	}
	r = q->what == FETCH_LIST_OWNER ? -ENOENT :
		files_of(z, q->revision, &l);
	if (r) {
		say_error(q, r == -ENOMEM ? r : -ENOENT,
			"no manifest of the zoo with this digest is at hand");
	} else if (q->what == FETCH_LIST) {
		fetch_query_answer(q, 0, NULL, NULL, &l);
	} else {
		listing_done(&l);
		say_snapshot(q, q->revision, strcmp(q->revision,
			z->now.revision) ? SHIPPED_TIME : z->now.mtime, 0);
	}
}

/* ---- life ------------------------------------------------------------------------------ */

int fetch_onnx_open(struct fetch_hub *h, struct error *why)
{
	struct zoo *z = calloc(1, sizeof(*z));
	cleanup_buf struct buf b = BUF_INIT(URL_MAX);

	if (!z)
		return error_set(why, -ENOMEM, "out of memory");
	h->own = z;
	z->hub = h;
	z->shipped_path = path_join(conf_datadir(), SHIPPED);
	if (!z->shipped_path || buf_printf(&b, "manifest of %s", address(z)))
		return error_set(why, -ENOMEM, "out of memory");
	revision_of(b.data, b.len, z->note);
	return 0;
}

void fetch_onnx_close(struct fetch_hub *h)
{
	struct zoo *z = zoo_of(h);

	if (!z)
		return;
	pool_free(z->disk);
	listing_done(&z->now.files);
	free(z->validator);
	free(z->shipped_path);
	free(z);
	h->own = NULL;
}
