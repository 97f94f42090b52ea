/*
 * Which bytes a revision uses, for pins. Two kinds of small files, so that
 * neither a lost index nor a crash forgets what the user pinned:
 *
 *   refs/ab/cdef…  hub/repo@revision, then a line a key; appended to
 *   pins/abcdef…   hub/repo@revision
 *
 * both named by the SHA-256 of their first line.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "cache/store.h"

#define REF_FILE_MAX (256UL << 20)	/* bytes; a million files and more */

static char *revision_name(const char *hub, const char *repo,
	const char *revision)
{
	char *s;

	return asprintf(&s, "%s/%s@%s", hub, repo, revision) < 0 ? NULL : s;
}

static void name_hex(const char *name, char ret[OBJID_HEX_MAX])
{
	struct objid id;

	digest_sha256(name, strlen(name), &id);
	objid_hex(&id, ret);
}

static bool is_named(const char *hex, const char *name)
{
	char own[OBJID_HEX_MAX];

	name_hex(name, own);
	return !strcmp(own, hex);
}

struct noting {
	struct pool_job job;
	struct cache *c;
	struct objid id;
	char key[CACHE_KEY_HEX];
	uint64_t hash;
	char name[];		/* of the revision */
};

/* A kill in the middle of a note leaves an end without a newline, or nothing, and
 * a power cut zeros where something was: it is lost, but nothing has rotted.
 * Bytes. */
static size_t whole_lines(const struct buf *text)
{
	const uint8_t *nul = text->len ? memchr(text->data, 0, text->len) :
		NULL;
	size_t len = nul ? (size_t)(nul - text->data) : text->len;

	while (len && text->data[len - 1] != '\n')
		len--;
	return len;
}

/* Takes away what no newline ends, or what follows would be of its line. */
static int cut_half(int fd, uint64_t *size)
{
	cleanup_buf struct buf text = BUF_INIT(REF_FILE_MAX);
	uint8_t last = '\n';
	int r = *size ? io_pread(fd, &last, 1, *size - 1) : 0;

	if (r || last == '\n')
		return r;
	r = io_read_fd(fd, &text);
	if (r)
		return r;
	*size = whole_lines(&text);
	return ftruncate(fd, (off_t)*size) < 0 ? -errno : 0;
}

/* Between enter and leave: a file is begun once, and verify neither sees half a
 * note nor writes over one. */
static int append_note(const struct noting *n, const char *rel)
{
	cleanup_buf struct buf text = BUF_INIT(64 * 1024);
	cleanup_fd int fd = cache_store_open(n->c, rel,
		O_RDWR | O_CREAT | O_APPEND);
	char hex[OBJID_HEX_MAX] = "-";
	uint64_t size;
	struct stat st;
	int r;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	size = (uint64_t)st.st_size;
	r = cut_half(fd, &size);
	if (objid_is_sha256(&n->id))
		objid_hex(&n->id, hex);
	if (!r && !size)
		r = buf_printf(&text, "%s\n", n->name);
	if (!r)
		r = buf_printf(&text, "%s %s\n", n->key, hex);
	if (!r && write(fd, text.data, text.len) != (ssize_t)text.len) {
		(void) ftruncate(fd, (off_t)size);
		r = -EIO;
	}
	return r;
}

static int write_note(const struct noting *n)
{
	char rel[CACHE_REL_MAX], hex[OBJID_HEX_MAX];
	struct cache *c = n->c;
	struct stat st;
	int r;

	name_hex(n->name, hex);
	cache_fan("refs", hex, rel);
	/* Rather twice than not: the index knows of what is written. */
	if (cache_index_used(c->index, n->name, n->key) > 0) {
		if (!fstatat(c->dir, rel, &st, AT_SYMLINK_NOFOLLOW) &&
		    st.st_size)
			return 0;
		/* But the file has gone: all is noted again. */
		(void) cache_index_unuse(c->index, n->name);
	}
	r = cache_store_parents(c, rel);
	if (r)
		return r;
	cache_store_enter(c);
	r = append_note(n, rel);
	cache_store_leave(c);
	return r ? r : cache_index_use(c->index, n->name, n->key);
}

static atomic_uint_fast64_t *slot_of(struct cache *c, uint64_t hash)
{
	return &c->noted[hash % CACHE_NOTED];
}

static void run_note(struct pool_job *job)
{
	struct noting *n = (struct noting *)job;
	uint_fast64_t hash = n->hash;
	struct cache *c = n->c;

	/* The next open tries again. */
	if (write_note(n) < 0)
		(void) atomic_compare_exchange_strong(slot_of(c, hash), &hash,
			0);
	free(n);
	pthread_mutex_lock(&c->lock);
	if (!--c->noting)
		pthread_cond_broadcast(&c->noted_all);
	pthread_mutex_unlock(&c->lock);
}

void cache_ref_note(struct cache *c, const struct cache_name *name,
	const char *key, bool later)
{
	char *rev = revision_name(name->hub, name->repo, name->revision);
	struct noting *n = NULL;
	uint64_t hash;

	if (!rev)
		return;
	hash = map_hash(rev, strlen(rev)) ^ map_hash(key, strlen(key));
	if (atomic_exchange(slot_of(c, hash), hash) != hash)
		n = calloc(1, sizeof(*n) + strlen(rev) + 1);
	if (n) {
		n->job.run = run_note;
		n->c = c;
		n->id = name->id;
		n->hash = hash;
		memcpy(n->key, key, sizeof(n->key));
		strcpy(n->name, rev);
		pthread_mutex_lock(&c->lock);
		c->noting++;
		pthread_mutex_unlock(&c->lock);
		if (later)
			cache_later(c, &n->job);
		else
			pool_add(c->keepers, &n->job);
	}
	free(rev);
}

void cache_ref_settle(struct cache *c)
{
	cache_later_go(c);
	pthread_mutex_lock(&c->lock);
	while (c->noting)
		pthread_cond_wait(&c->noted_all, &c->lock);
	pthread_mutex_unlock(&c->lock);
}

static int keep(struct map *m, const char *name)
{
	static char yes;

	return map_put(m, name, &yes, NULL);
}

static bool is_hex(const char *s)
{
	return strspn(s, "0123456789abcdef") == 64;
}

/* "KEY SHA256" or "KEY -" */
static bool line_ok(const char *line)
{
	return is_hex(line) && line[64] == ' ' &&
		(!strcmp(line + 65, "-") ||
			(is_hex(line + 65) && !line[129]));
}

static int note_line(struct cache *c, char *line, struct map *ret)
{
	char hex[OBJID_HEX_MAX];
	struct objid id;
	int r;

	if (!line_ok(line))
		return 0;
	line[64] = '\0';
	r = keep(ret, line);
	if (!r && line[65] != '-')
		r = keep(ret, line + 65);
	if (!r && !cache_link_get(c, line, &id)) {
		objid_hex(&id, hex);
		r = keep(ret, hex);
	}
	return r;
}

static int pinned_file(struct cache *c, const char *hex, struct map *ret)
{
	cleanup_buf struct buf text = BUF_INIT(REF_FILE_MAX);
	char rel[CACHE_REL_MAX];
	char *at, *line;
	int r;

	cache_fan("refs", hex, rel);
	r = cache_store_read(c, rel, &text);
	/* Of what cannot be read nothing is known; verify says so. */
	if (r)
		return r == -ENOENT || r == -EBADMSG || r == -EACCES ? 0 : r;
	at = (char *)text.data;
	while (!r && at && (line = strsep(&at, "\n")))
		r = note_line(c, line, ret);
	return r;
}

/* fn(hex of the name) for every pin. */
static int each_pin(struct cache *c,
	int (*fn)(struct cache *c, const char *hex, struct map *m),
	struct map *m)
{
	int fd = openat(c->dir, "pins", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;
	DIR *d;
	int r = 0;

	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		r = -errno;
		(void) close(fd);
		return r;
	}
	while (!r && (errno = 0, e = readdir(d))) {
		if (strlen(e->d_name) == 64)
			r = fn(c, e->d_name, m);
	}
	/* Rather nothing is evicted than what is pinned. */
	if (!r && errno)
		r = -errno;
	(void) closedir(d);
	return r;
}

int cache_ref_pinned(struct cache *c, struct map *ret)
{
	return each_pin(c, pinned_file, ret);
}

static int restore(struct cache *c, const char *hex, struct map *m)
{
	cleanup_buf struct buf name = BUF_INIT(16 * 1024);
	char rel[CACHE_REL_MAX];

	(void) m;
	(void) snprintf(rel, sizeof(rel), "pins/%.64s", hex);
	if (!cache_store_read(c, rel, &name) && name.len &&
	    is_named(hex, (char *)name.data))
		(void) cache_index_put(c, CACHE_KIND_PIN, (char *)name.data,
			"", 0);
	return 0;
}

void cache_ref_restore(struct cache *c)
{
	(void) each_pin(c, restore, NULL);
}

int cache_pin(struct cache *c, const char *hub, const char *repo,
	const char *revision, bool pinned)
{
	cleanup_free char *name = revision_name(hub, repo, revision);
	char rel[CACHE_REL_MAX], hex[OBJID_HEX_MAX];
	int r;

	if (!name)
		return -ENOMEM;
	cache_ref_settle(c);
	name_hex(name, hex);
	(void) snprintf(rel, sizeof(rel), "pins/%.64s", hex);
	if (pinned) {
		cache_store_enter(c);
		cache_store_make_way(c, rel);
		r = cache_store_publish(c, rel, name, strlen(name));
		atomic_fetch_add(&c->usage->pins, 1);
		cache_store_leave(c);
		return r ? r : cache_index_put(c, CACHE_KIND_PIN, name, "", 0);
	}
	cache_store_enter(c);
	r = unlinkat(c->dir, rel, 0) < 0 && errno != ENOENT ? -errno : 0;
	cache_store_leave(c);
	return r ? r : cache_index_del(c, CACHE_KIND_PIN, name);
}

/* ---- looking at them ------------------------------------------------------------ */

/* A note is written anew: what lay there, whatever it was, is gone. */
static int mend(struct cache *c, const char *rel, const struct buf *text)
{
	int r;

	cache_store_make_way(c, rel);
	r = cache_store_publish(c, rel, text->data, text->len);
	return r ? r : -EUCLEAN;
}

/* The name whose digest is hex, from refs/, or pins/, or the index. */
struct seeking {
	const char *hex;
	struct buf *ret;
};

static int is_it(void *arg, const char *key, const void *value, size_t len,
	int64_t age)
{
	const struct seeking *s = arg;

	(void) value;
	(void) len;
	(void) age;
	if (!is_named(s->hex, key))
		return 0;
	return buf_append_str(s->ret, key) ? -ENOMEM : 1;
}

static int name_of(struct cache *c, const char *hex, struct buf *ret)
{
	cleanup_buf struct buf text = BUF_INIT(REF_FILE_MAX);
	const struct seeking s = { hex, ret };
	char rel[CACHE_REL_MAX];
	char *line;

	cache_fan("refs", hex, rel);
	if (!cache_store_read(c, rel, &text) && text.len) {
		line = (char *)text.data;
		line[strcspn(line, "\n")] = '\0';
		if (is_named(hex, line))
			return buf_append_str(ret, line);
	}
	buf_clear(&text);
	(void) snprintf(rel, sizeof(rel), "pins/%.64s", hex);
	if (!cache_store_read(c, rel, &text) && text.len &&
	    is_named(hex, (char *)text.data))
		return buf_append_str(ret, (char *)text.data);
	return cache_index_each(c, CACHE_KIND_PIN, "", is_it,
		(void *)(uintptr_t)&s) == 1 ? 0 : -ENOENT;
}

int cache_ref_check(struct cache *c, const char *hex)
{
	cleanup_buf struct buf text = BUF_INIT(REF_FILE_MAX);
	cleanup_buf struct buf good = BUF_INIT(REF_FILE_MAX);
	char rel[CACHE_REL_MAX];
	char *at, *line, *name;
	bool wrong = false;
	size_t whole;
	int r;

	cache_fan("refs", hex, rel);
	r = cache_store_read(c, rel, &text);
	if (r)
		return r;
	whole = whole_lines(&text);
	if (!whole)
		return unlinkat(c->dir, rel, 0) < 0 ? -errno : 0;
	r = name_of(c, hex, &good);
	if (r)
		return r == -ENOENT ? -EBADMSG : r;
	name = strdup((char *)good.data);
	if (!name)
		return -ENOMEM;
	at = (char *)text.data;
	at[whole] = '\0';
	wrong = strlen(at) != whole;
	line = strsep(&at, "\n");
	wrong |= strcmp(line, name) || !at;
	while (!r && at && (line = strsep(&at, "\n"))) {
		if (line_ok(line) && at)
			r = buf_printf(&good, "\n%s", line);
		else
			wrong |= *line || at;
	}
	if (!r)
		r = buf_append_str(&good, "\n");
	if (!r && (wrong || whole != text.len)) {
		r = mend(c, rel, &good);
		/* What is lost is noted again when it is used again. */
		(void) cache_index_unuse(c->index, name);
	}
	free(name);
	return r == -EUCLEAN && !wrong ? 0 : r;
}

int cache_pin_check(struct cache *c, const char *hex)
{
	cleanup_buf struct buf text = BUF_INIT(16 * 1024);
	cleanup_buf struct buf name = BUF_INIT(16 * 1024);
	char rel[CACHE_REL_MAX];
	int r;

	(void) snprintf(rel, sizeof(rel), "pins/%.64s", hex);
	r = cache_store_read(c, rel, &text);
	if (!r && text.len && strlen((char *)text.data) == text.len &&
	    is_named(hex, (char *)text.data))
		return 0;
	if (r == -ENOENT)	/* taken away meanwhile */
		return r;
	r = name_of(c, hex, &name);
	return r == -ENOENT ? -EBADMSG : r ? r : mend(c, rel, &name);
}
