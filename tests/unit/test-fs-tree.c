/*
 * The tree over doubles of the rooms below: what names mean, and how often the
 * hub is asked. What comes with time is in test-fs-moving.c.
 */
#include "config.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "fs/fs.h"
#include "fs/tree.h"
#include "tests/unit/fs-doubles.h"
#include "tests/unit/t.h"

static void names(void)
{
	struct fs *fs = double_fs(NULL);
	struct fs_attr a, b;

	t_int(double_stat(fs, "", &a), 0);
	t_check(a.dir && a.ino == 1);
	t_int(double_stat(fs, HF "org/model/config.json", &a), 0);
	t_int(a.size, 11 + 40);
	t_int(a.mtime, 1000);
	t_check(a.fixed && !a.bound);
	t_int(double_hub.resolves, 2); /* is org a repository? and the branch */
	t_int(double_hub.lists, 1);
	t_int(double_stat(fs, HF "org/model@" DOUBLE_COMMIT_1 "/onnx/own.onnx",
		&a), 0);
	t_check(a.fixed && a.bound);
	t_int(double_stat(fs, HF "org/model@" DOUBLE_COMMIT_1 "/config.json",
		&a), 0);
	t_check(a.fixed && a.bound);
	t_int(double_stat(fs, HF "org/model@" DOUBLE_COMMIT_1, &a), 0);
	t_check(a.fixed);
	t_int(double_stat(fs, HF "org/model", &a), 0);
	t_check(!a.fixed);
	t_int(double_hub.lists, 1); /* the same snapshot */
	t_int(double_stat(fs, HF "short/config.json", &a), 0);
	t_int(double_stat(fs, HF "nick/config.json", &a), 0);
	t_int(double_stat(fs, HF "nick@main/config.json", &a), 0);
	t_int(double_stat(fs, HF "org/model/none", &a), -ENOENT);
	t_int(double_stat(fs, HF "org/model@none", &a), -ENOENT);
	t_int(double_stat(fs, HF "org/none/x", &a), -ENOENT);
	t_int(double_stat(fs, HF "org/model/config.json/x", &a), -ENOTDIR);
	t_int(double_stat(fs, "none", &a), -ENOENT);

	/* Numbers: of the path and the commit, not of the daemon's life. */
	t_int(double_stat(fs, HF "org/model/config.json", &a), 0);
	double_fs_free(fs);
	fs = double_fs(NULL);
	t_int(double_stat(fs, HF "org/model/onnx", &b), 0);
	t_int(double_stat(fs, HF "org/model/config.json", &b), 0);
	t_int(a.ino, b.ino);
	double_fs_free(fs);
}

static void no_question(void)
{
	struct fs *fs = double_fs(NULL);
	struct fs_attr a;
	static const char *const junk[] = { HF ".Trash", HF ".git/config",
		HF "autorun.inf", HF "a b", HF "org@", HF "org@a..%2F",
		".omnihub/none", ".hidden" };

	for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++)
		t_int(double_stat(fs, junk[i], &a), -ENOENT);
	t_int(double_stat(fs, HF "nick", &a), 0);
	t_int(double_hub.resolves + double_hub.lists + double_hub.owners, 0);
	double_fs_free(fs);
}

static void places(void)
{
	static const char *const shown[] = { "hub", "timm", "torchserve",
		"torchvision" };
	struct fs *fs = double_fs(NULL);
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
	t_int(double_stat(fs, "pytorch/none", &a), -ENOENT);
	t_int(double_stat(fs, "pytorch/torch", &a), -ENOENT);
	t_int(double_stat(fs, "torchvision", &a), -ENOENT);
	/* An owner is one without a question; nick is Hugging Face's. */
	t_int(fs_walk_wait(fs, "pytorch/hub/nick", &n, &a), 0);
	t_check(a.unsure);
	fs_node_unref(n);
	t_int(double_stat(fs, "pytorch/hub/org@main", &a), -ENOENT);
	t_int(double_hub.resolves + double_hub.lists + double_hub.owners, 0);
	t_int(double_stat(fs, "pytorch/hub/org/model/config.json", &a), 0);
	t_int(double_hub.resolves, 1);

	/* The same snapshot and the same listing by both ways. */
	t_int(double_stat(fs, "pytorch/timm/net/config.json", &a), 0);
	t_int(double_hub.lists, 2);
	t_int(double_stat(fs, HF "timm/net/config.json", &b), 0);
	t_int(double_hub.lists, 2);
	t_check(a.ino != b.ino);
	double_fs_free(fs);
}

static void single(void)
{
	struct fs *fs = double_fs(NULL);
	struct fs_attr a, b;

	t_int(double_stat(fs, "pytorch/torchvision/config.json", &a), 0);
	t_check(a.fixed && !a.bound);
	t_int(a.mtime, 1000);
	t_int(double_hub.resolves, 1);
	t_int(double_hub.lists, 1);
	/* What it holds can move like any branch. */
	double_hub.main = DOUBLE_COMMIT_2;
	clock_advance(61000);
	t_int(double_stat(fs, "pytorch/torchvision/config.json", &b), 0);
	t_check(a.ino != b.ino);
	t_int(b.mtime, 2000);
	double_hub.err = -ENOENT;
	clock_advance(61000);
	t_int(double_stat(fs, "pytorch/torchvision/config.json", &b), -ENOENT);
	double_hub.err = 0;
	clock_advance(6000);
	t_int(double_stat(fs, "pytorch/torchvision/config.json", &b), 0);
	double_fs_free(fs);

	/* An adapter that carries its catalogue needs no network. */
	fs = double_fs("offline=1");
	t_int(double_stat(fs, "pytorch/torchvision/config.json", &b), 0);
	t_int(double_stat(fs, HF "org/model", &b), -EHOSTUNREACH);
	double_fs_free(fs);
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
	struct fs *fs = double_fs(NULL);
	struct fs_attr a, b;

	/* To a version: is it there? And its files. */
	t_int(double_stat(fs, TF "pub/deep/er/model/5/config.json", &a), 0);
	t_check(a.fixed);
	t_int(double_hub.resolves, 1);
	t_int(double_hub.lists, 1);
	t_int(double_stat(fs, TF "pub/deep/er/model/6", &a), -ENOENT);
	t_int(double_hub.resolves, 2);
	t_int(double_stat(fs, TF "pub/deep/er/model/5.tar.gz", &a), 0);
	t_check(!a.dir && a.fixed);
	t_int(double_hub.resolves, 2);
	t_int(double_stat(fs, TF "pub/deep/er/model/6.tar.gz", &a), -ENOENT);
	t_int(double_hub.resolves, 2);
	t_int(double_stat(fs, TF "pub/model/.git", &a), -ENOENT);
	t_int(double_stat(fs, TF "pub/.hidden/1", &a), -ENOENT);
	t_int(double_hub.resolves, 2);
	double_fs_free(fs);

	/* Without a version the newest. */
	fs = double_fs(NULL);
	t_int(double_stat(fs, TF "pub/model/config.json", &a), 0);
	t_int(a.mtime, 2000);
	t_int(double_hub.resolves, 1);
	t_int(double_stat(fs, TF "pub/model/onnx/own.onnx", &b), 0);
	t_int(double_stat(fs, TF "pub/model/pytorch/model.onnx", &b), 0);
	t_int(double_stat(fs, TF "pub/model/no", &b), -ENOENT);
	t_int(double_hub.resolves, 1);
	t_int(double_stat(fs, TF "pub/model/2/config.json", &b), 0);
	t_check(b.ino != a.ino);
	t_int(double_hub.lists, 1); /* the same snapshot */
	t_int(double_stat(fs, TF "pub/model/1/config.json", &b), 0);
	t_int(b.mtime, 1000);
	double_fs_free(fs);

	/* Into a directory of the newest, before anybody knows there is one:
	 * "pub/model/onnx" could be a model. */
	fs = double_fs(NULL);
	t_int(double_stat(fs, TF "pub/model/onnx/own.onnx", &b), 0);
	t_int(double_hub.resolves, 2);
	double_fs_free(fs);
	fs = double_fs(NULL);
	t_int(getattr_path(fs, TF "pub/model/onnx"), 0);
	t_int(getattr_path(fs, TF "pub/model/onnx/none"), -ENOENT);
	double_fs_free(fs);
}

static void version_listings(void)
{
	struct fs *fs = double_fs(NULL);
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
	double_fs_free(fs);

	/* What was touched, at every level; nothing is asked for it. */
	fs = double_fs(NULL);
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
	double_fs_free(fs);

	/* A prefix, or nothing at all: one question, remembered. */
	fs = double_fs(NULL);
	t_int(getattr_path(fs, TF "pub/deep"), -ENOENT);
	t_int(getattr_path(fs, TF "pub/deep"), -ENOENT);
	t_int(questions(), 1);
	double_hub.gone = true;
	t_int(getattr_path(fs, TF "pub/model"), -ENOENT);
	t_int(getattr_path(fs, TF "pub/model/1"), -ENOENT);
	t_int(getattr_path(fs, TF "pub/model/1.tar.gz"), -ENOENT);
	t_int(getattr_path(fs, TF "pub/model/config.json"), -ENOENT);
	t_int(getattr_path(fs, TF "other"), -ENOENT);
	double_fs_free(fs);
}

static void owners(void)
{
	struct fs *fs = double_fs(NULL);
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
	t_int(double_stat(fs, HF "org/other", &a), 0);
	t_int(double_hub.resolves, 0);
	fs_node_unref(n);

	/* Nobody of that name: it can be walked through, but is not there. */
	t_int(fs_walk_wait(fs, HF "nobody", &n, &a), 0);
	t_check(a.unsure);
	t_int(fs_readdir_wait(fs, n, &d), -ENOENT);
	fs_node_unref(n);

	/* What was looked into is shown, and known for an owner. */
	t_int(double_stat(fs, HF "org/model/config.json", &a), 0);
	clock_advance(1000);
	t_int(fs_walk_wait(fs, "huggingface", &n, &a), 0);
	for (int i = 0; i < 1000; i++) {
		bool seen = false;

		t_int(fs_readdir_wait(fs, n, &d), 0);
		for (size_t k = 0; k < fs_dir_count(d); k++) {
			fs_dir_at(d, k, &e);
			seen |= !strcmp(e.name, "org");
		}
		fs_dir_free(d);
		if (seen)
			break;
		t_check(i < 999);
		usleep(10000); /* written on another thread */
	}
	fs_node_unref(n);
	t_int(double_stat(fs, HF "org", &a), 0);
	t_check(!a.unsure);
	double_fs_free(fs);

	/* A token may open what no listing shows. */
	fs = double_fs("huggingface.token=t");
	t_int(getattr_path(fs, HF "nobody"), 0);
	t_int(fs_walk_wait(fs, HF "nobody", &n, &a), 0);
	t_int(fs_readdir_wait(fs, n, &d), 0);
	t_int(fs_dir_count(d), 0);
	fs_dir_free(d);
	fs_node_unref(n);
	double_fs_free(fs);
}

/* Who is not listed any more leaves memory. */
static void owners_are_forgotten(void)
{
	struct fs *fs = double_fs(NULL);
	struct fs_node *n = NULL;
	struct fs_dir *d = NULL;
	char path[64];

	for (int i = 0; i < 20; i++) {
		snprintf(path, sizeof(path), HF "nobody%d", i);
		t_int(fs_walk_wait(fs, path, &n, NULL), 0);
		t_int(fs_readdir_wait(fs, n, &d), -ENOENT);
		fs_node_unref(n);
	}
	t_int(fs->resolver.owners.n, 20);
	clock_advance(601000);
	t_int(fs_walk_wait(fs, HF "org", &n, NULL), 0);
	t_int(fs_readdir_wait(fs, n, &d), 0);
	fs_dir_free(d);
	t_int(fs->resolver.owners.n, 1);
	clock_advance(300000);
	t_int(fs_readdir_wait(fs, n, &d), 0);
	fs_dir_free(d);
	t_int(fs->resolver.owners.n, 1);
	fs_node_unref(n);
	double_fs_free(fs);
}

int main(void)
{
	names();
	no_question();
	places();
	single();
	versions();
	version_listings();
	owners();
	owners_are_forgotten();
	return 0;
}
