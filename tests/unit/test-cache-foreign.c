/* huggingface_hub's cache: found, compared once, used in place. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/io.h"
#include "cache/store.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

#define COMMIT "0123456789abcdef"

static void put(const char *dir, const char *rel, const void *data,
	size_t len)
{
	char path[512], *slash;

	(void) snprintf(path, sizeof(path), "%.200s/%.300s", dir, rel);
	slash = strrchr(path, '/');
	*slash = '\0';
	t_int(io_mkdirs(AT_FDCWD, path), 0);
	*slash = '/';
	t_int(io_publish(AT_FDCWD, path, data, len, 0644), 0);
}

static void put_blob(const char *dir, const char *folder,
	const struct objid *id, const char *end, const void *data, size_t len)
{
	char hex[OBJID_HEX_MAX], rel[300];

	objid_hex(id, hex);
	(void) snprintf(rel, sizeof(rel), "%.100s/blobs/%s%s", folder, hex,
		end);
	put(dir, rel, data, len);
}

static void link_snapshot(const char *dir, const char *folder,
	const char *path, const struct objid *id)
{
	char hex[OBJID_HEX_MAX], to[200], at[600];

	objid_hex(id, hex);
	(void) snprintf(at, sizeof(at), "%.200s/%.100s/snapshots/" COMMIT,
		dir, folder);
	t_int(io_mkdirs(AT_FDCWD, at), 0);
	(void) snprintf(to, sizeof(to), "../../blobs/%s", hex);
	(void) snprintf(at, sizeof(at),
		"%.200s/%.100s/snapshots/" COMMIT "/%.100s", dir, folder, path);
	t_int(symlink(to, at), 0);
}

static struct cache *open_with(const char *dir, const char *hf)
{
	const struct cache_conf conf = {
		.dir = dir,
		.chunk = 64 * 1024,
		.connections = 2,
		.tools = { [CONF_TOOL_HUGGINGFACE_HUB] = hf },
	};
	struct error why;
	struct cache *c;

	t_int(cache_open(&conf, &c, &why), 0);
	return c;
}

static int each(void *arg, const struct cache_foreign *f)
{
	struct buf *b = arg;

	return buf_printf(b, "%s %s@%s %s %llu\n", f->tool, f->repo,
		f->revision, f->path, (unsigned long long)f->size);
}

static void test_use(enum objid_alg alg, const char *folder)
{
	char *dir = upstream_dir("foreign"), *hf = upstream_dir("foreign-hf");
	uint64_t size = 2 * MIB + 3;
	uint8_t *bytes = upstream_bytes(size, 40);
	struct cache_name n = t_name_of("model.bin", bytes, size, alg);
	struct cache *c = open_with(dir, hf);
	struct buf b = BUF_INIT(4096);
	struct cache_stats st;
	struct cache_totals t;
	struct src *s;

	put_blob(hf, folder, &n.id, "", bytes, size);
	link_snapshot(hf, folder, "model.bin", &n.id);
	s = t_open_src(c, &n, NULL);
	t_expect(s, bytes, 0, size);
	t_wait_state(s, SRC_VERIFIED);
	cache_stats(c, &st);
	t_int(st.adopted_bytes, size);
	t_int(cache_totals(c, &t), 0);
	/* What is not ours may change: no descriptor of it gets out. */
	t_int(src_fd(s) >= 0, t.objects > 0);
	src_unref(s);
	/* In place: the verdict is remembered, no second comparison. Where the
	 * file system can share blocks, an object instead. */
	s = t_open_src(c, &n, NULL);
	t_expect(s, bytes, size - 10, 10);
	src_unref(s);
	cache_stats(c, &st);
	t_int(st.adopted_bytes, size);
	t_int(cache_foreign_each(c, each, &b), 0);
	t_check(b.data && strstr((char *)b.data, "huggingface_hub "));
	t_check(strstr((char *)b.data, "@" COMMIT " model.bin 2097155\n"));
	cache_close(c);
	buf_done(&b);
	free(bytes);
	free(dir);
	free(hf);
}

/* The right name and size, but the wrong bytes: fetched instead. */
static void test_bad(void)
{
	static const char folder[] = "models--org--name";
	char *dir = upstream_dir("foreign"), *hf = upstream_dir("foreign-hf");
	uint64_t size = 2 * MIB;
	uint8_t *bytes = upstream_bytes(size, 41);
	struct cache_name n = t_name_of("x", bytes, size, OBJID_SHA256);
	struct cache *c = open_with(dir, hf);
	struct upstream *u = upstream_new(bytes, size, 1);
	struct src *s;

	bytes[5] ^= 1;
	put_blob(hf, folder, &n.id, "", bytes, size);
	bytes[5] ^= 1;
	s = t_open_src(c, &n, u);
	t_expect(s, bytes, 0, size);
	t_wait_state(s, SRC_VERIFIED);
	t_int(atomic_load(&u->sent), size);
	src_unref(s);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
	free(hf);
}

/* What is not whole, of another size, or without digest is left alone. */
static void test_ignored(void)
{
	static const char folder[] = "models--org--name";
	char *dir = upstream_dir("foreign"), *hf = upstream_dir("foreign-hf");
	uint64_t size = 2 * MIB;
	uint8_t *bytes = upstream_bytes(size, 42), b[10];
	struct cache_name n = t_name_of("x", bytes, size, OBJID_SHA256),
		m = t_name_of("y", bytes, size - 1, OBJID_SHA256),
		k = t_name_of("z", bytes, size, OBJID_NONE);
	struct cache *c = open_with(dir, hf);
	struct src *s;

	put_blob(hf, folder, &n.id, ".12345678.incomplete", bytes, size);
	put_blob(hf, folder, &m.id, "", bytes, size);
	put(hf, "models--org--name/snapshots/" COMMIT "/z", bytes, size);
	s = t_open_src(c, &n, NULL);
	t_int(src_read_wait(s, 0, b, 10), -EHOSTUNREACH);
	src_unref(s);
	s = t_open_src(c, &m, NULL);
	t_int(src_read_wait(s, 0, b, 10), -EHOSTUNREACH);
	src_unref(s);
	s = t_open_src(c, &k, NULL);
	t_int(src_read_wait(s, 0, b, 10), -EHOSTUNREACH);
	src_unref(s);
	/* A plain file in the snapshot is as good as a blob. */
	n.path = "z";
	s = t_open_src(c, &n, NULL);
	t_expect(s, bytes, 100, 100);
	src_unref(s);
	cache_close(c);
	free(bytes);
	free(dir);
	free(hf);
}

/* Where it becomes an object, that is counted, also when no link can lead to
 * it: somebody's file lies where links should be. */
static void test_counted(void)
{
	static const char folder[] = "models--org--name";
	char *dir = upstream_dir("foreign"), *hf = upstream_dir("foreign-hf");
	uint64_t size = 2 * MIB + 1;
	uint8_t *bytes = upstream_bytes(size, 43);
	struct cache_name n = t_name_of("x", bytes, size, OBJID_GITSHA1);
	struct cache *c = open_with(dir, hf);
	struct cache_totals t;
	struct src *s;
	char path[200];

	put_blob(hf, folder, &n.id, "", bytes, size);
	link_snapshot(hf, folder, "x", &n.id);
	(void) snprintf(path, sizeof(path), "%.100s/links", dir);
	t_int(rmdir(path), 0);
	put(dir, "links", "", 0);
	for (unsigned i = 0; i < 2; i++) {
		s = t_open_src(c, &n, NULL);
		t_expect(s, bytes, 0, size);
		t_int(cache_totals(c, &t), 0);
		t_int(cache_used(c), t.object_bytes);
		t_int(src_fd(s) >= 0, t.objects > 0);
		src_unref(s);
	}
	cache_close(c);
	free(bytes);
	free(dir);
	free(hf);
}

int main(void)
{
	test_counted();
	test_use(OBJID_SHA256, "models--org--name");
	test_use(OBJID_GITSHA1, "models--org--name");
	test_use(OBJID_SHA256, "models--name");
	test_bad();
	test_ignored();
	return 0;
}
