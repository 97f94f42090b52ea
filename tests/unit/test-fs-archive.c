/*
 * Archives as directories, over doubles of the rooms below: which names there
 * are, how often an archive is asked for and unpacked, what stays when the
 * cache loses it. Archives are made here, by libarchive.
 */
#include "config.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "fs/fs.h"
#include "fs/node.h"
#include "tests/unit/fs-doubles.h"
#include "tests/unit/t.h"

#define TOP "pytorch/torchserve/"

static struct conf *conf;
static char tar_bytes[1 << 16], zip_bytes[1 << 16];

struct made {
	const char *path, *text, *link;
	bool stored;
};

static const struct made members[] = {
	{ "./model.safetensors", "stored or not", NULL, true },
	{ "./sub/text", "text text text text text text text", NULL, false },
	{ "./link", "", "/etc/passwd", false },
	{ "./empty", "", NULL, false },
};

/* What lies there later: of another length. */
static const struct made others[] = {
	{ "./model.safetensors", "of another one", NULL, true },
};

static size_t make_of(const struct made *v, size_t n, bool zip, char *to,
	size_t room)
{
	struct archive *a = archive_write_new();
	size_t used = 0;

	if (zip) {
		t_int(archive_write_set_format_zip(a), 0);
	} else {
		t_int(archive_write_add_filter_gzip(a), 0);
		t_int(archive_write_set_format_pax_restricted(a), 0);
	}
	t_int(archive_write_open_memory(a, to, room, &used), 0);
	for (size_t i = 0; i < n; i++) {
		const struct made *m = &v[i];
		struct archive_entry *e = archive_entry_new();
		size_t len = strlen(m->text);

		if (zip && m->stored)
			archive_write_zip_set_compression_store(a);
		else if (zip)
			archive_write_zip_set_compression_deflate(a);
		archive_entry_set_pathname(e, m->path + (zip ? 2 : 0));
		archive_entry_set_filetype(e, m->link ? AE_IFLNK : AE_IFREG);
		archive_entry_set_perm(e, 0644);
		archive_entry_set_size(e, (la_int64_t)len);
		if (m->link)
			archive_entry_set_symlink(e, m->link);
		t_int(archive_write_header(a, e), 0);
		t_int(archive_write_data(a, m->text, len), (int)len);
		archive_entry_free(e);
	}
	t_int(archive_write_close(a), 0);
	archive_write_free(a);
	return used;
}

static size_t make(bool zip, char *to, size_t room)
{
	return make_of(members, sizeof(members) / sizeof(members[0]), zip, to,
		room);
}

static struct fs *open_fs(const char *more)
{
	struct error why = { 0 };
	struct fs *fs = NULL;

	conf = conf_new();
	t_check(conf);
	t_int(conf_set_arg(conf, "cache.dir=/nowhere", &why), 0);
	if (more)
		t_int(conf_set_arg(conf, more, &why), 0);
	double_hub = (struct double_hub){ .main = DOUBLE_COMMIT_1 };
	double_hub.tar = (struct double_bytes){ tar_bytes,
		make(false, tar_bytes, sizeof(tar_bytes)) };
	double_hub.zip = (struct double_bytes){ zip_bytes,
		make(true, zip_bytes, sizeof(zip_bytes)) };
	t_int(fs_new(conf, &fs, &why), 0);
	return fs;
}

static void close_fs(struct fs *fs)
{
	fs_free(fs);
	conf_free(conf);
}

static void list(struct fs *fs, const char *path, struct buf *ret)
{
	struct buf b = BUF_INIT(10000);
	struct fs_node *n = NULL;
	struct fs_dir *d = NULL;
	struct fs_attr a;

	t_int(fs_walk_wait(fs, path, &n, &a), 0);
	t_check(a.dir);
	if (fs_readdir_wait(fs, n, &d)) {
		(void) fs_errors(fs, 100, &b);
		fprintf(stderr, "%s: %s\n", path, (char *)b.data);
		exit(1);
	}
	for (size_t i = 0; i < fs_dir_count(d); i++) {
		struct fs_node *child = NULL;
		struct fs_dirent e;

		fs_dir_at(d, i, &e);
		t_int(buf_printf(ret, "%s%s%s ", e.name, e.dir ? "/" : "",
			e.again ? "*" : ""), 0);
		if (!fs_dir_node(d, i, &child, &a)) {
			t_int(a.ino, e.ino);
			t_int(a.mtime, 1000);
			fs_node_unref(child);
		}
	}
	fs_dir_free(d);
	fs_node_unref(n);
	buf_done(&b);
}

static void shows(struct fs *fs, const char *path, const char *want)
{
	struct buf b = BUF_INIT(10000);

	list(fs, path, &b);
	t_str((char *)b.data, want);
	buf_done(&b);
}

static int reads(struct fs *fs, const char *path, const char *want)
{
	struct fs_handle *h = NULL;
	struct fs_node *n = NULL;
	struct fs_attr a;
	char text[100];
	int r = fs_walk_wait(fs, path, &n, &a);

	if (!r)
		r = fs_open_wait(fs, n, &h);
	fs_node_unref(n);
	if (r)
		return r;
	t_int(a.size, strlen(want));
	t_int(fs_handle_src(h)->size, strlen(want));
	t_int(src_read_wait(fs_handle_src(h), 0, text, strlen(want)), 0);
	t_check(!memcmp(text, want, strlen(want)));
	fs_close(h);
	return 0;
}

static void attribute(struct fs *fs, const char *path, const char *name,
	const char *want)
{
	struct buf b = BUF_INIT(1000);
	struct fs_node *n = NULL;
	int r;

	t_int(fs_walk_wait(fs, path, &n, NULL), 0);
	r = fs_xattr_get(fs, n, name, &b);
	fs_node_unref(n);
	if (!want)
		t_int(r, -ENODATA);
	else
		t_str((char *)b.data, want);
	buf_done(&b);
}

static void names(void)
{
	struct fs *fs = open_fs(NULL);
	struct fs_node *n = NULL;
	struct fs_usage u;
	struct buf b = BUF_INIT(10000);

	shows(fs, "pytorch/torchserve", "deep/ own/ own.zip plain.txt "
		"twin/* twin.tar.gz twin.zip unknown/* unknown.mar z/* "
		"z.zip ");
	shows(fs, TOP "deep", "t/* t.tar.gz ");
	t_int(double_hub.opened, 0);
	shows(fs, TOP "own", "file ");
	shows(fs, TOP "z", "empty model.safetensors pytorch/ sub/ ");
	t_int(double_hub.opened, 1);
	shows(fs, TOP "deep/t", "empty model.safetensors pytorch/ sub/ ");
	shows(fs, TOP "deep/t/sub", "text ");
	t_int(double_hub.opened, 2);
	t_int(fs_walk_wait(fs, TOP "z/link", &n, NULL), -ENOENT);
	t_int(fs_walk_wait(fs, TOP "none/x", &n, NULL), -ENOENT);
	t_int(fs_walk_wait(fs, TOP "plain/x", &n, NULL), -ENOENT);
	t_int(fs_walk_wait(fs, "huggingface/org/model/none", &n, NULL),
		-ENOENT);
	/* Of no known size: asked for once, then known. */
	shows(fs, TOP "unknown", "empty model.safetensors pytorch/ sub/ ");
	t_int(double_hub.measured, 1);
	fs_errors(fs, 100, &b);
	t_check(strstr((char *)b.data, "deep/t.tar.gz/link"));
	t_check(strstr((char *)b.data, "a symbolic link"));
	buf_done(&b);
	/* An archive and what is in it are the same bytes. */
	t_int(fs_walk_wait(fs, TOP "deep", &n, NULL), 0);
	t_int(fs_usage_wait(fs, n, &u), 0);
	t_int(u.bytes, double_hub.tar.len);
	fs_node_unref(n);
	close_fs(fs);
}

static void reading(void)
{
	struct fs *fs = open_fs(NULL);
	const char *text = members[1].text;

	t_int(reads(fs, TOP "deep/t/sub/text", text), 0);
	t_int(double_hub.puts, 2);	/* nothing is made of the empty one */
	t_int(double_hub.opened, 1);
	t_int(reads(fs, TOP "deep/t/model.safetensors", members[0].text), 0);
	t_int(reads(fs, TOP "deep/t/empty", ""), 0);
	t_int(reads(fs, TOP "deep/t/pytorch/model.onnx", "onnx:stored or not"),
		0);
	t_int(double_hub.opened, 1);
	attribute(fs, TOP "deep/t/sub/text", "user.omnihub.sources",
		"deep/t.tar.gz");
	attribute(fs, TOP "deep/t/sub/text", "user.omnihub.url",
		"https://double/models/" DOUBLE_COMMIT_1 "/deep/t.tar.gz");
	attribute(fs, TOP "deep/t/empty", "user.omnihub.sha256", "e3b0c44298fc"
		"1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	/* A zip's directory is read, and of its members what is asked for. */
	t_int(reads(fs, TOP "z/sub/text", text), 0);
	t_int(double_hub.puts, 3);
	t_int(reads(fs, TOP "z/sub/text", text), 0);
	t_int(reads(fs, TOP "z/model.safetensors", members[0].text), 0);
	t_int(double_hub.puts, 3);
	/* What the cache lost is unpacked again, once. */
	double_evict();
	t_int(reads(fs, TOP "deep/t/sub/text", text), 0);
	t_int(double_hub.puts, 5);
	t_int(reads(fs, TOP "deep/t/model.safetensors", members[0].text), 0);
	t_int(double_hub.puts, 5);
	/* The same bytes: they came with the tar. */
	t_int(reads(fs, TOP "z/sub/text", text), 0);
	t_int(double_hub.puts, 5);
	close_fs(fs);
}

static void *read_text(void *fs)
{
	t_int(reads(fs, TOP "deep/t/sub/text", members[1].text), 0);
	return NULL;
}

/* Many ask, one unpacks. */
static void together(bool listed)
{
	struct fs *fs = open_fs(NULL);
	pthread_t t[6];

	if (listed)
		shows(fs, TOP "deep/t/sub", "text ");
	if (listed)
		double_evict();
	double_hub.opened = 0;
	double_hold();
	for (size_t i = 0; i < 6; i++)
		pthread_create(&t[i], NULL, read_text, fs);
	usleep(50000);
	double_release();
	for (size_t i = 0; i < 6; i++)
		pthread_join(t[i], NULL);
	t_int(double_hub.opened, 1);
	close_fs(fs);
}

/* No room for members: they are listed all the same, and their open says so. */
static void no_room(void)
{
	struct fs *fs = open_fs(NULL);

	double_hub.room = -ENOSPC;
	shows(fs, TOP "deep/t", "empty model.safetensors pytorch/ sub/ ");
	t_int(reads(fs, TOP "deep/t/sub/text", members[1].text), -ENOSPC);
	t_int(reads(fs, TOP "z/sub/text", members[1].text), -ENOSPC);
	double_hub.room = 0;
	t_int(reads(fs, TOP "deep/t/sub/text", members[1].text), 0);
	t_int(reads(fs, TOP "z/sub/text", members[1].text), 0);
	close_fs(fs);
}

static void damaged(void)
{
	struct fs *fs = open_fs(NULL);
	struct buf b = BUF_INIT(10000);
	struct fs_node *n = NULL;

	tar_bytes[double_hub.tar.len - 7] ^= 1;
	t_int(fs_walk_wait(fs, TOP "deep/t/sub", &n, NULL), -EIO);
	fs_errors(fs, 100, &b);
	t_check(strstr((char *)b.data, "deep/t.tar.gz"));
	t_check(strstr((char *)b.data, "damaged"));
	buf_done(&b);
	close_fs(fs);
}

/* A hub that has the whole as an archive and nothing else. */
static void whole(void)
{
	struct fs *fs = open_fs(NULL);

	double_hub.whole = true;
	shows(fs, "pytorch/torchserve", "empty model.safetensors pytorch/ "
		"sub/ ");
	t_int(reads(fs, TOP "sub/text", members[1].text), 0);
	t_int(double_hub.opened, 1);
	t_int(double_hub.measured, 1);
	t_int(reads(fs, TOP "pytorch/model.onnx", "onnx:stored or not"), 0);
	t_int(double_hub.lists, 1);
	close_fs(fs);
}

static void opened(void *arg, int err, struct fs_handle *h)
{
	t_int(err, 0);
	fs_close(h);
	atomic_store((atomic_bool *)arg, true);
}

/* Its size has to be asked for. Nobody waits who opens what is here; but when it
 * is doubted whether the archive is that one, the hub is asked first. */
static void at_hand(void)
{
	struct fs *fs = open_fs(NULL);
	struct fs_node *n = NULL;
	atomic_bool now = false;

	double_hub.here = true;
	t_int(reads(fs, TOP "unknown/model.safetensors", members[0].text), 0);
	t_int(double_hub.measured, 1);
	t_int(fs_walk_wait(fs, TOP "unknown/model.safetensors", &n, NULL), 0);
	fs_open(fs, n, opened, &now);
	t_check(atomic_load(&now));
	t_int(fs_refresh_wait(fs, "pytorch/torchserve"), 0);
	t_int(double_hub.measured, 1);
	atomic_store(&now, false);
	double_hold();
	fs_open(fs, n, opened, &now);
	t_check(!atomic_load(&now));
	double_release();
	while (!atomic_load(&now))
		usleep(1000);
	t_int(reads(fs, TOP "unknown/model.safetensors", members[0].text), 0);
	t_int(double_hub.measured, 2);
	fs_node_unref(n);
	close_fs(fs);
}

static bool lists_other(struct fs *fs)
{
	struct buf b = BUF_INIT(10000);
	bool other;

	list(fs, TOP "unknown", &b);
	other = strcmp((char *)b.data, "model.safetensors pytorch/ ") != 0;
	buf_done(&b);
	return other;
}

/* Another archive lies there: what was in the one of before is forgotten. */
static void another(void)
{
	static char bytes[1 << 16];
	struct fs *fs = open_fs(NULL);
	struct fs_attr a;

	shows(fs, TOP "unknown", "empty model.safetensors pytorch/ sub/ ");
	double_hub.zip = (struct double_bytes){ bytes,
		make_of(others, 1, true, bytes, sizeof(bytes)) };
	t_int(fs_refresh_wait(fs, "pytorch/torchserve"), 0);
	t_int(double_stat(fs, TOP "unknown.mar", &a), 0);
	t_int(double_hub.measured, 2);
	t_int(a.size, double_hub.zip.len);
	/* Once no thread has the snapshot of before any more. */
	for (int i = 0; i < 1000 && lists_other(fs); i++)
		usleep(10000);
	shows(fs, TOP "unknown", "model.safetensors pytorch/ ");
	t_int(reads(fs, TOP "unknown/model.safetensors", others[0].text), 0);
	close_fs(fs);
}

int main(void)
{
	names();
	reading();
	together(false);
	together(true);
	no_room();
	damaged();
	whole();
	at_hand();
	another();
	return 0;
}
