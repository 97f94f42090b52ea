/*
 * The tree over doubles of the rooms below: what names mean, how often the hub
 * is asked, what happens when it does not answer.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "fs/fs.h"
#include "fs/node.h"
#include "fs/resolve.h"
#include "tests/unit/fs-doubles.h"
#include "tests/unit/t.h"

#define HF "huggingface/"

static struct conf *conf;

static struct fs *open_fs(const char *more)
{
	struct error why = { 0 };
	struct fs *fs = NULL;

	conf = conf_new();
	t_check(conf);
	t_int(conf_set_arg(conf, "cache.dir=/nowhere", &why), 0);
	t_int(conf_set_arg(conf, "alias.nick=org/model@v1", &why), 0);
	if (more)
		t_int(conf_set_arg(conf, more, &why), 0);
	t_int(fs_new(conf, &fs, &why), 0);
	double_hub = (struct double_hub){ .main = DOUBLE_COMMIT_1 };
	return fs;
}

static void close_fs(struct fs *fs)
{
	fs_free(fs);
	conf_free(conf);
}

static int stat_path(struct fs *fs, const char *path, struct fs_attr *a)
{
	struct fs_node *n = NULL;
	int r = fs_walk_wait(fs, path, &n, a);

	fs_node_unref(n);
	return r;
}

static void names(void)
{
	struct fs *fs = open_fs(NULL);
	struct fs_attr a, b;

	t_int(stat_path(fs, "", &a), 0);
	t_check(a.dir && a.ino == 1);
	t_int(stat_path(fs, HF "org/model/config.json", &a), 0);
	t_int(a.size, 11 + 40);
	t_int(a.mtime, 1000);
	t_check(a.fixed && !a.bound);
	t_int(double_hub.resolves, 2); /* is org a repository? and the branch */
	t_int(double_hub.lists, 1);
	t_int(stat_path(fs, HF "org/model@" DOUBLE_COMMIT_1 "/onnx/own.onnx",
		&a), 0);
	t_check(a.fixed && a.bound);
	t_int(double_hub.lists, 1); /* the same snapshot */
	t_int(stat_path(fs, HF "short/config.json", &a), 0);
	t_int(stat_path(fs, HF "nick/config.json", &a), 0);
	t_int(stat_path(fs, HF "nick@main/config.json", &a), 0);
	t_int(stat_path(fs, HF "org/model/none", &a), -ENOENT);
	t_int(stat_path(fs, HF "org/model@none", &a), -ENOENT);
	t_int(stat_path(fs, HF "org/none/x", &a), -ENOENT);
	t_int(stat_path(fs, HF "org/model/config.json/x", &a), -ENOTDIR);
	t_int(stat_path(fs, "none", &a), -ENOENT);

	/* Numbers: of the path and the commit, not of the daemon's life. */
	t_int(stat_path(fs, HF "org/model/config.json", &a), 0);
	close_fs(fs);
	fs = open_fs(NULL);
	t_int(stat_path(fs, HF "org/model/onnx", &b), 0);
	t_int(stat_path(fs, HF "org/model/config.json", &b), 0);
	t_int(a.ino, b.ino);
	close_fs(fs);
}

static void no_question(void)
{
	struct fs *fs = open_fs(NULL);
	struct fs_attr a;
	static const char *const junk[] = { HF ".Trash", HF ".git/config",
		HF "autorun.inf", HF "a b", HF "org@", HF "org@a..%2F",
		".omnihub/none", ".hidden" };

	for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++)
		t_int(stat_path(fs, junk[i], &a), -ENOENT);
	t_int(stat_path(fs, HF "nick", &a), 0);
	t_int(double_hub.resolves + double_hub.lists + double_hub.owners, 0);
	close_fs(fs);
}

static void places(void)
{
	static const char *const shown[] = { "hub", "timm", "torchserve",
		"torchvision" };
	struct fs *fs = open_fs(NULL);
	struct fs_node *n = NULL;
	struct fs_dir *d = NULL;
	struct fs_dirent e;
	struct fs_attr a, b;

	t_int(fs_walk_wait(fs, "pytorch", &n, &a), 0);
	t_check(a.dir && a.bound && !a.unsure);
	t_int(fs_readdir_wait(fs, n, &d), 0);
	fs_node_unref(n);
	t_int(fs_dir_count(d), 4);
	for (size_t i = 0; i < fs_dir_count(d); i++) {
		fs_dir_at(d, i, &e);
		t_str(e.name, shown[i]);
		t_check(e.dir);
		t_int(fs_dir_node(d, i, &n, &a), 0);
		t_check(a.bound && !a.unsure && a.ino == e.ino);
		fs_node_unref(n);
	}
	fs_dir_free(d);
	t_int(stat_path(fs, "pytorch/none", &a), -ENOENT);
	t_int(stat_path(fs, "pytorch/torch", &a), -ENOENT);
	t_int(stat_path(fs, "torchvision", &a), -ENOENT);
	/* An owner is one without a question; nick is Hugging Face's. */
	t_int(fs_walk_wait(fs, "pytorch/hub/nick", &n, &a), 0);
	t_check(a.unsure);
	fs_node_unref(n);
	t_int(stat_path(fs, "pytorch/hub/org@main", &a), -ENOENT);
	t_int(double_hub.resolves + double_hub.lists + double_hub.owners, 0);
	t_int(stat_path(fs, "pytorch/hub/org/model/config.json", &a), 0);
	t_int(double_hub.resolves, 1);

	/* The same snapshot and the same listing by both ways. */
	t_int(stat_path(fs, "pytorch/timm/net/config.json", &a), 0);
	t_int(double_hub.lists, 2);
	t_int(stat_path(fs, HF "timm/net/config.json", &b), 0);
	t_int(double_hub.lists, 2);
	t_check(a.ino != b.ino);
	close_fs(fs);
}

static void single(void)
{
	struct fs *fs = open_fs(NULL);
	struct fs_attr a, b;

	t_int(stat_path(fs, "pytorch/torchvision/config.json", &a), 0);
	t_check(a.fixed && !a.bound);
	t_int(a.mtime, 1000);
	t_int(double_hub.resolves, 1);
	t_int(double_hub.lists, 1);
	/* What it holds can move like any branch. */
	double_hub.main = DOUBLE_COMMIT_2;
	clock_advance(61000);
	t_int(stat_path(fs, "pytorch/torchvision/config.json", &b), 0);
	t_check(a.ino != b.ino);
	t_int(b.mtime, 2000);
	double_hub.err = -ENOENT;
	clock_advance(61000);
	t_int(stat_path(fs, "pytorch/torchvision/config.json", &b), -ENOENT);
	double_hub.err = 0;
	clock_advance(6000);
	t_int(stat_path(fs, "pytorch/torchvision/config.json", &b), 0);
	close_fs(fs);

	/* An adapter that carries its catalogue needs no network. */
	fs = open_fs("offline=1");
	t_int(stat_path(fs, "pytorch/torchvision/config.json", &b), 0);
	t_int(stat_path(fs, HF "org/model", &b), -EHOSTUNREACH);
	close_fs(fs);
}

#define TF "tensorflow/"

static void show(struct fs *fs, const char *path, char *ret, size_t max)
{
	struct fs_node *n = NULL;
	struct fs_dir *d = NULL;
	struct fs_dirent e;
	size_t at = 0;

	t_int(fs_walk_wait(fs, path, &n, NULL), 0);
	t_int(fs_readdir_wait(fs, n, &d), 0);
	*ret = '\0';
	for (size_t i = 0; i < fs_dir_count(d); i++) {
		struct fs_node *c = NULL;
		struct fs_attr a;

		fs_dir_at(d, i, &e);
		at += (size_t)snprintf(ret + at, max - at, "%s%s ", e.name,
			e.dir ? "/" : "");
		if (!fs_dir_node(d, i, &c, &a)) {
			t_int(a.ino, e.ino);
			t_check(a.dir == e.dir && !a.unsure);
			fs_node_unref(c);
		}
	}
	fs_dir_free(d);
	fs_node_unref(n);
}

static unsigned questions(void)
{
	return double_hub.resolves + double_hub.lists + double_hub.owners;
}

struct told {
	sem_t sem;
	int err;
};

static void attr_told(void *arg, int err, struct fs_node *n,
	const struct fs_attr *a)
{
	struct told *t = arg;

	t_check(err || !a->unsure);
	t->err = err;
	fs_node_unref(n);
	t_int(sem_post(&t->sem), 0);
}

/* As stat(2): look up, then ask whether it is there. */
static int getattr_path(struct fs *fs, const char *path)
{
	struct fs_node *n = NULL;
	struct told t = { .err = fs_walk_wait(fs, path, &n, NULL) };

	if (t.err)
		return t.err;
	t_int(sem_init(&t.sem, 0, 0), 0);
	fs_getattr(fs, n, attr_told, &t);
	t_int(sem_wait(&t.sem), 0);
	t_int(sem_destroy(&t.sem), 0);
	fs_node_unref(n);
	return t.err;
}

static void versions(void)
{
	struct fs *fs = open_fs(NULL);
	struct fs_attr a, b;

	/* To a version: is it there? And its files. */
	t_int(stat_path(fs, TF "pub/deep/er/model/5/config.json", &a), 0);
	t_check(a.fixed);
	t_int(double_hub.resolves, 1);
	t_int(double_hub.lists, 1);
	t_int(stat_path(fs, TF "pub/deep/er/model/6", &a), -ENOENT);
	t_int(double_hub.resolves, 2);
	t_int(stat_path(fs, TF "pub/deep/er/model/5.tar.gz", &a), 0);
	t_check(!a.dir && a.fixed);
	t_int(double_hub.resolves, 2);
	t_int(stat_path(fs, TF "pub/deep/er/model/6.tar.gz", &a), -ENOENT);
	t_int(double_hub.resolves, 2);
	t_int(stat_path(fs, TF "pub/model/.git", &a), -ENOENT);
	t_int(stat_path(fs, TF "pub/.hidden/1", &a), -ENOENT);
	t_int(double_hub.resolves, 2);
	close_fs(fs);

	/* Without a version the newest. */
	fs = open_fs(NULL);
	t_int(stat_path(fs, TF "pub/model/config.json", &a), 0);
	t_int(a.mtime, 2000);
	t_int(double_hub.resolves, 1);
	t_int(stat_path(fs, TF "pub/model/onnx/own.onnx", &b), 0);
	t_int(stat_path(fs, TF "pub/model/pytorch/model.onnx", &b), 0);
	t_int(stat_path(fs, TF "pub/model/no", &b), -ENOENT);
	t_int(double_hub.resolves, 1);
	t_int(stat_path(fs, TF "pub/model/2/config.json", &b), 0);
	t_check(b.ino != a.ino);
	t_int(double_hub.lists, 1); /* the same snapshot */
	t_int(stat_path(fs, TF "pub/model/1/config.json", &b), 0);
	t_int(b.mtime, 1000);
	close_fs(fs);

	/* Into a directory of the newest, before anybody knows there is one:
	 * "pub/model/onnx" could be a model. */
	fs = open_fs(NULL);
	t_int(stat_path(fs, TF "pub/model/onnx/own.onnx", &b), 0);
	t_int(double_hub.resolves, 2);
	close_fs(fs);
	fs = open_fs(NULL);
	t_int(getattr_path(fs, TF "pub/model/onnx"), 0);
	t_int(getattr_path(fs, TF "pub/model/onnx/none"), -ENOENT);
	close_fs(fs);
}

static void version_listings(void)
{
	struct fs *fs = open_fs(NULL);
	char text[512];

	show(fs, "tensorflow", text, sizeof(text));
	t_str(text, "");
	t_int(questions(), 0);
	show(fs, TF "pub", text, sizeof(text));
	t_str(text, "model/ ");
	t_int(questions(), 1);
	t_int(getattr_path(fs, TF "pub/model"), 0); /* it was listed */
	t_int(questions(), 1);
	show(fs, TF "pub/model", text, sizeof(text));
	t_str(text, "1/ 1.tar.gz 2/ 2.tar.gz config.json model.safetensors "
		"onnx/ pytorch/ ");
	t_int(questions(), 4);
	show(fs, TF "pub/model/onnx", text, sizeof(text));
	t_str(text, "own.onnx ");
	show(fs, TF "pub/model/1", text, sizeof(text));
	t_str(text, "config.json model.safetensors onnx/ pytorch/ ");
	close_fs(fs);

	/* What was touched, at every level; nothing is asked for it. */
	fs = open_fs(NULL);
	t_int(getattr_path(fs, TF "pub/deep/er/model/5/config.json"), 0);
	double_hub.resolves = double_hub.lists = 0;
	*text = '\0';
	for (int i = 0; i < 1000 && !*text; i++) {
		usleep(2000); /* the index is written behind */
		show(fs, "tensorflow", text, sizeof(text));
	}
	t_str(text, "pub/ ");
	show(fs, TF "pub", text, sizeof(text));
	t_str(text, "deep/ model/ ");
	t_int(getattr_path(fs, TF "pub/deep"), 0);
	t_int(getattr_path(fs, TF "pub/deep/er"), 0);
	t_int(double_hub.resolves, 0);
	show(fs, TF "pub/deep", text, sizeof(text));
	t_str(text, "er/ ");
	show(fs, TF "pub/deep/er/model", text, sizeof(text));
	t_str(text, "5/ 5.tar.gz config.json model.safetensors onnx/ "
		"pytorch/ ");
	close_fs(fs);

	/* A prefix, or nothing at all: one question, remembered. */
	fs = open_fs(NULL);
	t_int(getattr_path(fs, TF "pub/deep"), -ENOENT);
	t_int(getattr_path(fs, TF "pub/deep"), -ENOENT);
	t_int(questions(), 1);
	double_hub.gone = true;
	t_int(getattr_path(fs, TF "pub/model"), -ENOENT);
	t_int(getattr_path(fs, TF "pub/model/1"), -ENOENT);
	t_int(getattr_path(fs, TF "pub/model/1.tar.gz"), -ENOENT);
	t_int(getattr_path(fs, TF "pub/model/config.json"), -ENOENT);
	t_int(getattr_path(fs, TF "other"), -ENOENT);
	close_fs(fs);
}

/* Several ask at once; the answers are told. */
struct crowd {
	sem_t sem;
	_Atomic unsigned right;
};

static void crowd_told(void *arg, int err, struct fs_node *n,
	const struct fs_attr *a)
{
	struct crowd *c = arg;

	if (!err && a->size == 8 + 40 && a->fixed)
		atomic_fetch_add(&c->right, 1);
	fs_node_unref(n);
	t_int(sem_post(&c->sem), 0);
}

static void measured(void)
{
	static const char late[] = "pytorch/torchvision/late.bin";
	struct fs *fs = open_fs(NULL);
	struct fs_node *dir = NULL, *n = NULL;
	struct fs_handle *h = NULL;
	struct fs_dir *d = NULL;
	struct crowd c = { .right = 0 };
	struct buf b = BUF_INIT(256);
	struct fs_attr a;
	char text[256];

	/* Nobody measures what is only listed. */
	show(fs, "pytorch/torchvision", text, sizeof(text));
	t_str(text, "config.json late.bin model.safetensors onnx/ pytorch/ ");
	t_int(double_hub.measured, 0);
	t_int(fs_walk_wait(fs, "pytorch/torchvision", &dir, NULL), 0);
	t_int(fs_readdir_wait(fs, dir, &d), 0);
	t_int(fs_dir_node(d, 1, &n, &a), -EAGAIN);

	/* One question for all who want to know. */
	t_int(sem_init(&c.sem, 0, 0), 0);
	double_hold();
	for (int i = 0; i < 5; i++)
		fs_lookup(fs, dir, "late.bin", crowd_told, &c);
	double_release();
	for (int i = 0; i < 5; i++)
		t_int(sem_wait(&c.sem), 0);
	t_int(c.right, 5);
	t_int(sem_destroy(&c.sem), 0);
	t_int(double_hub.measured, 1);
	t_int(fs_dir_node(d, 1, &n, &a), 0);
	t_int(a.size, 8 + 40);
	t_int(fs_open_wait(fs, n, &h), 0);
	t_int(fs_handle_src(h)->size, 8 + 40);
	fs_close(h);
	fs_node_unref(n);
	fs_dir_free(d);
	fs_node_unref(dir);
	t_int(double_hub.measured, 1);

	/* The snapshot is forgotten, the fact is not; nor without network. */
	clock_advance(3600000);
	double_hub.err = -ETIMEDOUT;
	t_int(stat_path(fs, late, &a), 0);
	t_int(a.size, 8 + 40);
	t_int(double_hub.measured, 1);
	buf_done(&b);
	close_fs(fs);

	/* Not told: the reason, and not asked for at each step. */
	fs = open_fs(NULL);
	t_int(stat_path(fs, "pytorch/torchvision/config.json", &a), 0);
	double_hub.err = -EACCES;
	t_int(stat_path(fs, late, &a), -EACCES);
	t_int(stat_path(fs, late, &a), -EACCES);
	t_int(double_hub.measured, 1);
	fs_errors(fs, 1, &b);
	t_check(strstr((const char *)b.data, late));
	buf_done(&b);
	double_hub.err = 0;
	clock_advance(6000);
	t_int(stat_path(fs, late, &a), 0);
	t_int(double_hub.measured, 2);
	close_fs(fs);

	fs = open_fs("offline=1");
	t_int(stat_path(fs, late, &a), -EHOSTUNREACH);
	t_int(double_hub.measured, 0);
	close_fs(fs);
}

static void branch_moves(void)
{
	struct fs *fs = open_fs(NULL);
	struct fs_attr a, b;
	struct fs_node *n = NULL;
	struct fs_handle *h = NULL;
	char text[52] = "";

	t_int(fs_walk_wait(fs, HF "org/model/config.json", &n, &a), 0);
	t_int(fs_open_wait(fs, n, &h), 0);
	double_hub.main = DOUBLE_COMMIT_2;
	t_int(stat_path(fs, HF "org/model/config.json", &b), 0);
	t_int(b.ino, a.ino); /* fresh for a minute */
	clock_advance(61000);
	t_int(stat_path(fs, HF "org/model/config.json", &b), 0);
	t_check(b.ino != a.ino);
	t_int(b.mtime, 2000);
	/* What is open keeps its revision. */
	t_int(fs_handle_touch(h, 0, 51), 0);
	t_int(src_read_wait(fs_handle_src(h), 0, text, 51), 0);
	t_str(text, "config.json" DOUBLE_COMMIT_1);
	fs_close(h);
	fs_node_unref(n);

	/* Unreachable: the last answer; and it is not asked for at each step. */
	clock_advance(61000);
	double_hub.err = -ETIMEDOUT;
	double_hub.resolves = 0;
	t_int(stat_path(fs, HF "org/model/config.json", &a), 0);
	t_int(a.ino, b.ino);
	t_int(stat_path(fs, HF "org/model/onnx", &a), 0);
	t_int(double_hub.resolves, 1);
	/* Never seen: the error, and it is not asked for at each step. */
	t_int(stat_path(fs, HF "org/new/x", &a), -ETIMEDOUT);
	t_int(stat_path(fs, HF "org/new/y", &a), -ETIMEDOUT);
	t_int(double_hub.resolves, 2);
	double_hub.err = 0;
	clock_advance(6000);
	t_int(stat_path(fs, HF "org/new/x", &a), -ENOENT);
	close_fs(fs);
}

static void owners(void)
{
	struct fs *fs = open_fs(NULL);
	struct fs_node *n = NULL;
	struct fs_dir *d = NULL;
	struct fs_dirent e;
	struct fs_attr a;

	t_int(fs_walk_wait(fs, HF "org", &n, &a), 0);
	t_check(a.dir && a.unsure);
	t_int(double_hub.owners, 0);
	t_int(fs_readdir_wait(fs, n, &d), 0);
	t_int(fs_dir_count(d), 2);
	fs_dir_at(d, 1, &e);
	t_str(e.name, "other");
	fs_dir_free(d);
	t_int(double_hub.owners, 1);
	/* Listed names are directories without a question. */
	double_hub.resolves = 0;
	t_int(stat_path(fs, HF "org/other", &a), 0);
	t_int(double_hub.resolves, 0);
	fs_node_unref(n);

	/* Nobody of that name: it can be walked through, but is not there. */
	t_int(fs_walk_wait(fs, HF "nobody", &n, &a), 0);
	t_check(a.unsure);
	t_int(fs_readdir_wait(fs, n, &d), -ENOENT);
	fs_node_unref(n);

	/* What was looked into is shown, and known for an owner. */
	t_int(stat_path(fs, HF "org/model/config.json", &a), 0);
	clock_advance(1000);
	t_int(fs_walk_wait(fs, "huggingface", &n, &a), 0);
	for (int i = 0; i < 100; i++) {
		bool seen = false;

		t_int(fs_readdir_wait(fs, n, &d), 0);
		for (size_t k = 0; k < fs_dir_count(d); k++) {
			fs_dir_at(d, k, &e);
			seen |= !strcmp(e.name, "org");
		}
		fs_dir_free(d);
		if (seen)
			break;
		t_check(i < 99);
		usleep(10000); /* written on another thread */
	}
	fs_node_unref(n);
	t_int(stat_path(fs, HF "org", &a), 0);
	t_check(!a.unsure);
	close_fs(fs);
}

static void staged(void)
{
	struct fs *fs = open_fs(NULL);
	struct buf b = BUF_INIT(4096);
	struct fs_node *n = NULL, *own = NULL;
	struct fs_handle *h = NULL, *h2 = NULL;
	struct fs_attr a;
	char text[62] = "";

	t_int(fs_walk_wait(fs, HF "org/model/pytorch/model.onnx", &n, &a), 0);
	t_int(a.size, 5 + 17 + 40);
	t_check(a.fixed);
	t_int(double_hub.plans, 1);
	t_int(fs_open_wait(fs, n, &h), 0);
	t_int(fs_open_wait(fs, n, &h2), 0);
	t_check(fs_handle_src(h) == fs_handle_src(h2));
	t_int(double_hub.plans, 1);
	t_int(src_read_wait(fs_handle_src(h), 0, text, 22), 0);
	t_str(text, "onnx:model.safetensors");
	t_int(fs_xattr_get(fs, n, "user.omnihub.sources", &b), 0);
	t_str((char *)b.data, "model.safetensors");
	buf_clear(&b);

	/* Bytes turned out wrong: open handles fail for good. */
	double_epoch(1);
	t_int(fs_handle_touch(h, 0, 1), -EIO);
	double_epoch(0);
	fs_close(h);
	fs_close(h2);
	fs_node_unref(n);

	t_int(fs_walk_wait(fs, HF "org/model/pytorch/refused.onnx", &n, &a), 0);
	t_int(a.size, 0);
	t_int(fs_open_wait(fs, n, &h), -ENOTSUP);
	t_int(fs_xattr_get(fs, n, "user.omnihub.error", &b), 0);
	t_str((char *)b.data, "the double refuses");
	t_int(double_hub.plans, 2);
	buf_clear(&b);
	fs_errors(fs, 10, &b);
	t_check(strstr((char *)b.data, "ENOTSUP huggingface/org/model/pytorch/"
		"refused.onnx: the double refuses"));
	buf_clear(&b);
	fs_node_unref(n);

	/* The same file twice: shown again, and the original. */
	t_int(fs_walk_wait(fs, HF "org/model/pytorch/model.safetensors", &n,
		&a), 0);
	t_int(fs_walk_wait(fs, HF "org/model/model.safetensors", &own, NULL),
		0);
	t_check(n != own && n->entry == own->entry);
	t_int(fs_xattr_get(fs, n, "user.omnihub.url", &b), 0);
	t_str((char *)b.data, "https://double/org/model/" DOUBLE_COMMIT_1
		"/model.safetensors");
	fs_node_unref(n);
	fs_node_unref(own);
	buf_done(&b);
	close_fs(fs);
}

/* Planning fails because of the road: its own errno, and tried again. */
static void planning_fails(void)
{
	struct fs *fs = open_fs(NULL);
	struct fs_attr a;

	double_hub.plan_err = -EACCES;
	t_int(stat_path(fs, HF "org/model/pytorch/model.onnx", &a), -EACCES);
	t_int(stat_path(fs, HF "org/model/pytorch/model.onnx", &a), -EACCES);
	t_int(double_hub.plans, 1);
	double_hub.plan_err = 0;
	clock_advance(6000);
	t_int(stat_path(fs, HF "org/model/pytorch/model.onnx", &a), 0);
	t_int(a.size, 62);
	close_fs(fs);
}

static bool shows(struct fs *fs, const char *path, const char *want,
	bool fixed)
{
	struct fs_node *n = NULL;
	struct fs_dir *d = NULL;
	char text[256] = "";
	bool same;

	t_int(fs_walk_wait(fs, path, &n, NULL), 0);
	t_int(fs_readdir_wait(fs, n, &d), 0);
	for (size_t i = 0; i < fs_dir_count(d); i++) {
		struct fs_dirent e;

		fs_dir_at(d, i, &e);
		(void) snprintf(text + strlen(text),
			sizeof(text) - strlen(text), "%s%s", i ? " " : "",
			e.name);
	}
	same = !strcmp(text, want) && fs_dir_fixed(d) == fixed;
	fs_dir_free(d);
	fs_node_unref(n);
	return same;
}

/* Names that take reading: asked for once, when somebody looks inside. */
static void names_asked(void)
{
	static const char dir[] = HF "org/asks/pytorch";
	struct fs *fs = open_fs(NULL);
	struct fs_attr a;

	t_check(shows(fs, HF "org/asks", "config.json model.safetensors onnx "
		"pytorch", false));
	t_int(stat_path(fs, HF "org/asks/pytorch/model.safetensors", &a), 0);
	t_int(double_hub.named, 0);

	/* The road: what the layout has stands in, other names cannot be told;
	 * tried again after a while. */
	double_hub.names_err = -EHOSTUNREACH;
	t_check(shows(fs, dir, "model.onnx model.safetensors refused.onnx",
		false));
	t_int(stat_path(fs, HF "org/asks/pytorch/part.onnx", &a),
		-EHOSTUNREACH);
	t_int(stat_path(fs, HF "org/asks/pytorch/model.onnx", &a), 0);
	t_int(double_hub.named, 1);
	double_hub.names_err = 0;
	clock_advance(6000);
	t_int(stat_path(fs, HF "org/asks/pytorch/part.onnx", &a), 0);
	t_int(a.size, 62);
	t_int(stat_path(fs, HF "org/asks/pytorch/model.onnx", &a), -ENOENT);
	t_check(shows(fs, dir, "model.safetensors part.onnx", true));
	t_int(double_hub.named, 2);

	/* What told them was wrong. */
	double_epoch(1);
	t_check(shows(fs, dir, "model.safetensors part.onnx", true));
	t_int(double_hub.named, 3);
	double_epoch(0);
	close_fs(fs);
}

struct many {
	struct fs *fs;
	pthread_t thread;
};

static void *one_of_many(void *arg)
{
	struct many *m = arg;
	struct fs_node *n = NULL;
	struct fs_handle *h = NULL;
	struct fs_attr a;

	t_int(fs_walk_wait(m->fs, HF "org/model/pytorch/model.onnx", &n, &a),
		0);
	t_int(a.size, 62);
	t_int(fs_open_wait(m->fs, n, &h), 0);
	fs_close(h);
	fs_node_unref(n);
	return NULL;
}

/* Thirty-two ask at once: the hub is asked once for each thing. */
static void single_flight(void)
{
	struct many m[32];
	struct fs *fs = open_fs(NULL);
	struct fs_attr a;

	double_hold();
	for (size_t i = 0; i < 32; i++) {
		m[i].fs = fs;
		t_int(pthread_create(&m[i].thread, NULL, one_of_many, &m[i]),
			0);
	}
	/* Meanwhile all that is known answers. */
	t_int(stat_path(fs, "huggingface/nick", &a), 0);
	t_int(stat_path(fs, ".omnihub/status", &a), 0);
	double_release();
	for (size_t i = 0; i < 32; i++)
		t_int(pthread_join(m[i].thread, NULL), 0);
	t_int(double_hub.resolves, 2);
	t_int(double_hub.lists, 1);
	t_int(double_hub.plans, 1);
	close_fs(fs);
}

static void offline(void)
{
	struct fs *fs = open_fs("offline=1");
	struct fs_attr a;

	t_int(stat_path(fs, HF "org/model/config.json", &a), -EHOSTUNREACH);
	t_int(stat_path(fs, HF "nick", &a), 0);
	t_int(stat_path(fs, HF "nick/config.json", &a), -EHOSTUNREACH);
	t_int(double_hub.resolves, 0);
	close_fs(fs);
}

static void refresh(void)
{
	struct fs *fs = open_fs(NULL);
	struct fs_node *n = NULL;
	struct fs_usage u;
	struct fs_attr a;

	t_int(fs_walk_wait(fs, HF "org/model", &n, &a), 0);
	double_hub.main = DOUBLE_COMMIT_2;
	double_hub.resolves = 0;
	t_int(fs_refresh_wait(fs, HF "org/model"), 0);
	t_int(double_hub.resolves, 1);
	t_int(stat_path(fs, HF "org/model/config.json", &a), 0);
	t_int(a.mtime, 2000);
	t_int(fs_usage_wait(fs, n, &u), 0);
	t_int(u.files, 6);
	t_int(u.bytes, 51 + 57 + 53 + 57 + 62 + 0);
	/* Only the hub's word does; but who did not ask for that has the old
	 * one. */
	double_hub.err = -ETIMEDOUT;
	t_int(fs_refresh_wait(fs, HF "org/model/pytorch"), -ETIMEDOUT);
	t_int(stat_path(fs, HF "org/model/config.json", &a), 0);
	t_int(a.mtime, 2000);
	fs_node_unref(n);
	close_fs(fs);
}

/* The hub hangs: an old answer does, and what it says in the end is used. */
static void patience(void)
{
	struct fs *fs = open_fs(NULL);
	struct fs_attr a;

	t_int(stat_path(fs, HF "org/model/config.json", &a), 0);
	t_int(a.mtime, 1000);
	t_check(a.left_ms > 59000 && a.left_ms <= 60000);
	clock_advance(61000);
	double_hub.main = DOUBLE_COMMIT_2;
	double_hub.resolves = 0;
	double_hold();
	for (int i = 0; i < 3; i++) {
		t_int(stat_path(fs, HF "org/model/config.json", &a), 0);
		t_int(a.mtime, 1000);
		t_int(a.left_ms, 0); /* the kernel must come again */
	}
	double_release();
	for (int i = 0; i < 1000 && a.mtime != 2000; i++) {
		(void) usleep(5000);
		t_int(stat_path(fs, HF "org/model/config.json", &a), 0);
	}
	t_int(a.mtime, 2000);
	t_int(double_hub.resolves, 1);
	t_check(a.left_ms > 0);
	close_fs(fs);
}

int main(void)
{
	names();
	no_question();
	places();
	single();
	versions();
	version_listings();
	measured();
	branch_moves();
	patience();
	owners();
	staged();
	planning_fails();
	names_asked();
	single_flight();
	offline();
	refresh();
	return 0;
}
