/* The caches of the other tools: each layout is found, compared and read in
 * place; what is in them may be hostile, or change. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

#define SIZE (MIB + 3)

struct rig {
	char *dir, *root;
	uint8_t *bytes;
	struct cache *c;
};

static struct rig rig_new(enum conf_tool tool)
{
	struct cache_conf conf = { .chunk = 64 * 1024, .connections = 2,
		.tfhub = "http://here:80" };
	struct rig r = {
		.dir = upstream_dir("foreign-tools"),
		.root = upstream_dir("foreign-root"),
		.bytes = upstream_bytes(SIZE, 50 + (unsigned)tool),
	};
	struct error why;

	conf.dir = r.dir;
	conf.tools[tool] = r.root;
	t_int(cache_open(&conf, &r.c, &why), 0);
	return r;
}

static void rig_done(struct rig *r)
{
	cache_close(r->c);
	free(r->bytes);
	free(r->dir);
	free(r->root);
}

static void at(const struct rig *r, const char *rel, char path[512])
{
	(void) snprintf(path, 512, "%.200s/%.300s", r->root, rel);
}

static void put(const struct rig *r, const char *rel, const void *data,
	size_t len)
{
	char path[512], *slash;

	at(r, rel, path);
	slash = strrchr(path, '/');
	*slash = '\0';
	t_int(io_mkdirs(AT_FDCWD, path), 0);
	*slash = '/';
	t_int(io_publish(AT_FDCWD, path, data, len, 0644), 0);
}

static struct cache_name name(const struct rig *r, const char *hub,
	const char *repo, const char *revision, const char *path,
	enum objid_alg alg, unsigned digits)
{
	struct cache_name n = t_name_of(path, r->bytes, SIZE, alg);

	n.hub = hub;
	n.repo = repo;
	n.revision = revision;
	if (digits)
		n.id.digits = digits;
	return n;
}

/* All of it is read without a hub. */
static void expect_used(const struct rig *r, const struct cache_name *n)
{
	struct src *s = t_open_src(r->c, n, NULL);
	struct src_stat st;

	t_expect(s, r->bytes, 0, SIZE);
	t_wait_state(s, n->id.alg == OBJID_NONE ? SRC_CACHED : SRC_VERIFIED);
	t_int(src_present(s, 1, SIZE - 1), SIZE - 1);
	src_unref(s);
	t_int(cache_name_stat(r->c, n, &st), 0);
	t_int(st.cached_bytes, SIZE);
}

static void expect_unused(const struct rig *r, const struct cache_name *n)
{
	struct src *s = t_open_src(r->c, n, NULL);
	uint8_t b[10];

	t_int(src_read_wait(s, 0, b, 10), -EHOSTUNREACH);
	src_unref(s);
}

static int each(void *arg, const struct cache_foreign *f)
{
	struct buf *b = arg;

	t_int(access(f->file, R_OK), 0);
	t_int(f->size, SIZE);
	return buf_printf(b, "%s %s %s@%s %s\n", f->tool, f->hub, f->repo,
		f->revision, f->path);
}

static void expect_told(const struct rig *r, const char *want)
{
	struct buf b = BUF_INIT(4096);

	t_int(cache_foreign_each(r->c, each, &b), 0);
	t_str(b.data ? (char *)b.data : "", want);
	buf_done(&b);
}

/* ---- layouts ----------------------------------------------------------------- */

static void test_torch(void)
{
	struct rig r = rig_new(CONF_TOOL_TORCH_HUB);
	struct cache_name n = name(&r, "pytorch/torchvision", "models", "0",
		"resnet18/resnet18-f37072fd.pth", OBJID_SHA256, 8);

	expect_unused(&r, &n);
	put(&r, "checkpoints/resnet18-f37072fd.pth", r.bytes, SIZE);
	put(&r, "trusted_list", r.bytes, SIZE);
	expect_used(&r, &n);
	expect_told(&r, "torch.hub pytorch/torchvision models@ "
		"resnet18-f37072fd.pth\n");
	n.hub = "pytorch/torchserve";
	expect_unused(&r, &n);
	rig_done(&r);
}

/* Which of the directories holds the commit, only the digest can tell. */
static void test_torch_repo(void)
{
	struct rig r = rig_new(CONF_TOOL_TORCH_HUB);
	struct cache_name n = name(&r, "pytorch/hub", "pytorch/vision_x",
		"0123456789012345678901234567890123456789", "a/hubconf.py",
		OBJID_GITSHA1, 0);

	r.bytes[0] ^= 1;
	put(&r, "pytorch_vision_x_main/a/hubconf.py", r.bytes, SIZE);
	put(&r, "pytorch_vision_x_v2/a/hubconf.py", r.bytes, SIZE);
	r.bytes[0] ^= 1;
	expect_unused(&r, &n);
	n.path = "b/hubconf.py";
	put(&r, "pytorch_vision_x_v1/b/hubconf.py", r.bytes, SIZE);
	expect_used(&r, &n);
	n.repo = "pytorch/vision";
	n.id.raw[0] ^= 1;
	expect_unused(&r, &n);
	rig_done(&r);
}

static void test_keras(void)
{
	struct rig r = rig_new(CONF_TOOL_KERAS);
	struct cache_name md5 = name(&r, "keras", "models", "0",
		"NASNetLarge/NASNet-large.h5", OBJID_MD5, 0);
	struct cache_name none = name(&r, "keras", "models", "0",
		"MobileNet/mobilenet_1_0_224_tf.h5", OBJID_NONE, 0);

	put(&r, "nasnet_large.h5", r.bytes, SIZE);
	expect_used(&r, &md5);
	expect_told(&r, "keras keras models@ nasnet_large.h5\n");
	expect_unused(&r, &none);
	put(&r, "mobilenet_1_0_224_tf.h5", r.bytes, SIZE);
	expect_used(&r, &none);
	none.path = "MobileNet/short.h5";
	put(&r, "short.h5", r.bytes, SIZE - 1);
	expect_unused(&r, &none);
	rig_done(&r);
}

static void test_onnx(void)
{
	struct rig r = rig_new(CONF_TOOL_ONNX_HUB);
	struct cache_name n = name(&r, "onnx", "models", "0",
		"validated/vision/a b-7.onnx", OBJID_SHA256, 0);
	char hex[OBJID_HEX_MAX], rel[200];

	objid_hex(&n.id, hex);
	(void) snprintf(rel, sizeof(rel), "validated/vision/%s_a b-7.onnx",
		hex);
	put(&r, rel, r.bytes, SIZE);
	put(&r, "validated/vision/0123_a b-7.onnx", r.bytes, SIZE);
	expect_used(&r, &n);
	expect_told(&r,
		"onnx.hub onnx models@ validated/vision/a b-7.onnx\n");
	n.id.alg = OBJID_NONE;
	expect_unused(&r, &n);
	rig_done(&r);
}

static void test_kaggle(void)
{
	struct rig r = rig_new(CONF_TOOL_KAGGLEHUB);
	struct cache_name n = name(&r, "kaggle", "google/nnlm/tensorFlow2/x",
		"2", "variables/a.index", OBJID_NONE, 0);

	put(&r, "google/nnlm/tensorFlow2/x/2/variables/a.index", r.bytes,
		SIZE);
	put(&r, "google/nnlm/TensorFlow2/x/2/saved_model.pb", r.bytes, SIZE);
	expect_unused(&r, &n);
	expect_told(&r, "");
	/* One file is whole, … */
	put(&r, "google/nnlm/tensorFlow2/x/.complete/2/variables/a.index"
		".complete", "", 0);
	expect_used(&r, &n);
	expect_told(&r, "kagglehub kaggle google/nnlm/tensorFlow2/x@2 "
		"variables/a.index\n");
	n.path = "saved_model.pb";
	expect_unused(&r, &n);
	/* … or all are. */
	put(&r, "google/nnlm/TensorFlow2/x/2.complete", "", 0);
	expect_used(&r, &n);
	rig_done(&r);
}

static void test_tfhub(void)
{
	static const char text[] =
		"Module: https://tfhub.dev/google/a/b/1\nDownload Time: x\n";
	struct rig r = rig_new(CONF_TOOL_TENSORFLOW_HUB);
	struct cache_name n = name(&r, "tensorflow", "google/a/b", "1",
		"saved_model.pb", OBJID_NONE, 0);
	char dir[DIGEST_SHA1_HEX], rel[200];

	digest_sha1("https://tfhub.dev/google/a/b/1", 30, dir);
	t_str(dir, "1ada0be1af462a84dfb23b83a6a820c5c9e4ee4c");
	expect_unused(&r, &n);
	(void) snprintf(rel, sizeof(rel), "%s/saved_model.pb", dir);
	put(&r, rel, r.bytes, SIZE);
	expect_used(&r, &n);
	expect_told(&r, "");
	(void) snprintf(rel, sizeof(rel), "%s.descriptor.txt", dir);
	put(&r, rel, text, sizeof(text) - 1);
	expect_told(&r, "tensorflow_hub tensorflow google/a/b@1 "
		"saved_model.pb\n");
	/* Being replaced: hands off. */
	(void) snprintf(rel, sizeof(rel), "%s/b", dir);
	put(&r, rel, r.bytes, SIZE);
	(void) snprintf(rel, sizeof(rel), "%s.lock", dir);
	put(&r, rel, "", 0);
	n.path = "b";
	expect_unused(&r, &n);
	expect_told(&r, "");
	/* The same by other addresses. */
	digest_sha1("http://here:80/g/m/3", 20, dir);
	(void) snprintf(rel, sizeof(rel), "%s/b", dir);
	put(&r, rel, r.bytes, SIZE);
	n.repo = "g/m";
	n.revision = "3";
	expect_used(&r, &n);
	digest_sha1("https://www.kaggle.com/models/o/m/TensorFlow2/v/4", 49,
		dir);
	(void) snprintf(rel, sizeof(rel), "%s/b", dir);
	put(&r, rel, r.bytes, SIZE);
	n.hub = "kaggle";
	n.repo = "o/m/tensorFlow2/v";
	n.revision = "4";
	expect_used(&r, &n);
	rig_done(&r);
}

/* ---- what may be in the way ---------------------------------------------------- */

/* A name of a hub that tells no digest, with something else in its place. */
static struct cache_name plain(const struct rig *r)
{
	return name(r, "keras", "models", "0", "M/x.h5", OBJID_NONE, 0);
}

static void test_links(void)
{
	struct rig r = rig_new(CONF_TOOL_KERAS);
	struct cache_name n = plain(&r);
	char path[512], to[512];

	put(&r, "elsewhere", r.bytes, SIZE);
	at(&r, "x.h5", path);
	at(&r, "elsewhere", to);
	t_int(symlink(to, path), 0);
	expect_unused(&r, &n);
	expect_told(&r, "");
	t_int(unlink(path), 0);
	t_int(mkfifo(path, 0600), 0);
	expect_unused(&r, &n);
	t_int(unlink(path), 0);
	t_int(mkdir(path, 0700), 0);
	expect_unused(&r, &n);
	t_int(rmdir(path), 0);
	n.path = "M/..";
	expect_unused(&r, &n);
	rig_done(&r);
}

/* Without a digest it matters whose the file is, and who may change it. */
static void test_owner(void)
{
	struct rig r = rig_new(CONF_TOOL_KERAS);
	struct cache_name n = plain(&r), md5 = name(&r, "keras", "models",
		"0", "M/x.h5", OBJID_MD5, 0);
	char path[512];

	put(&r, "x.h5", r.bytes, SIZE);
	at(&r, "x.h5", path);
	t_int(chmod(path, 0666), 0);
	expect_unused(&r, &n);
	t_int(chmod(path, 0644), 0);
	t_int(chmod(r.root, 0777), 0);
	expect_unused(&r, &n);
	t_int(chmod(r.root, 0755), 0);
	if (!geteuid()) {
		t_int(chown(path, 12345, (gid_t)-1), 0);
		expect_unused(&r, &n);
		expect_used(&r, &md5);
		t_int(chown(path, 0, (gid_t)-1), 0);
	}
	expect_used(&r, &n);
	rig_done(&r);
}

/* ---- what may change -------------------------------------------------------------- */

static void overwrite(const char *path, uint64_t off, const void *data,
	size_t len)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	struct stat st;

	t_check(fd >= 0);
	t_int(fstat(fd, &st), 0);
	t_int(io_pwrite(fd, data, len, off), 0);
	/* Whoever wants to hide it. */
	t_int(futimens(fd, (struct timespec[2]){ st.st_atim, st.st_mtim }), 0);
	(void) close(fd);
}

/* A clone does not change. */
static bool in_place(struct src *s)
{
	return src_fd(s) < 0;
}

/* The file is spoilt after it was compared: those bytes are never given. */
static void test_changed(enum objid_alg alg)
{
	struct rig r = rig_new(CONF_TOOL_KERAS);
	struct cache_name n = name(&r, "keras", "models", "0", "M/x.h5", alg,
		0);
	struct upstream *u = upstream_new(r.bytes, SIZE, 1);
	struct src *s = t_open_src(r.c, &n, u);
	uint8_t wrong[100];
	char path[512];

	src_unref(s);
	put(&r, "x.h5", r.bytes, SIZE);
	at(&r, "x.h5", path);
	s = t_open_src(r.c, &n, u);
	t_expect(s, r.bytes, 0, SIZE);
	t_int(atomic_load(&u->sent), 0);
	if (in_place(s)) {
		memset(wrong, 0x55, sizeof(wrong));
		overwrite(path, 4096, wrong, sizeof(wrong));
		t_expect(s, r.bytes, 0, SIZE);
		t_int(atomic_load(&u->sent), SIZE);
	}
	src_unref(s);
	cache_close(r.c);
	upstream_free(u);
	r.c = NULL;
	rig_done(&r);
}

/* Cut short, and then gone: no SIGBUS, no short read. */
static void test_cut(void)
{
	struct rig r = rig_new(CONF_TOOL_KERAS);
	struct cache_name n = name(&r, "keras", "models", "0", "M/x.h5",
		OBJID_MD5, 0);
	struct upstream *u;
	uint8_t b[10];
	struct src *s;
	char path[512];

	put(&r, "x.h5", r.bytes, SIZE);
	at(&r, "x.h5", path);
	u = upstream_new(r.bytes, SIZE, 1);
	s = t_open_src(r.c, &n, u);
	t_expect(s, r.bytes, 0, 1000);
	if (in_place(s)) {
		t_int(truncate(path, 4096), 0);
		t_expect(s, r.bytes, 0, SIZE);
		t_int(atomic_load(&u->sent), SIZE);
	}
	src_unref(s);

	/* Offline there is nothing to fall back on, but no wrong bytes. */
	n.path = "M/y.h5";
	put(&r, "y.h5", r.bytes, SIZE);
	at(&r, "y.h5", path);
	s = t_open_src(r.c, &n, NULL);
	t_expect(s, r.bytes, 0, 1000);
	if (in_place(s)) {
		t_int(truncate(path, 4096), 0);
		t_int(src_read_wait(s, 0, b, 10), -EHOSTUNREACH);
	}
	src_unref(s);
	cache_close(r.c);
	upstream_free(u);
	r.c = NULL;
	rig_done(&r);
}

/* The tool downloads it anew, and it is the same: compared again, used. */
static void test_replaced(void)
{
	struct rig r = rig_new(CONF_TOOL_KERAS);
	struct cache_name n = name(&r, "keras", "models", "0", "M/x.h5",
		OBJID_MD5, 0);
	struct cache_stats st;
	struct src *s;

	put(&r, "x.h5", r.bytes, SIZE);
	s = t_open_src(r.c, &n, NULL);
	t_expect(s, r.bytes, 0, 1000);
	if (in_place(s)) {
		put(&r, "x.h5", r.bytes, SIZE);
		t_expect(s, r.bytes, 0, SIZE);
		cache_stats(r.c, &st);
		t_int(st.adopted_bytes, 2 * SIZE);
	}
	src_unref(s);
	rig_done(&r);
}

int main(void)
{
	test_torch();
	test_torch_repo();
	test_keras();
	test_onnx();
	test_kaggle();
	test_tfhub();
	test_links();
	test_owner();
	test_changed(OBJID_MD5);
	test_changed(OBJID_NONE);
	test_cut();
	test_replaced();
	return 0;
}
