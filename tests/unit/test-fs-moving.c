/*
 * The tree over doubles of the rooms below, as time goes on: branches that move,
 * hubs that do not answer, files that are staged, many who ask at once.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "fs/fs.h"
#include "fs/names.h"
#include "fs/node.h"
#include "fs/tree.h"
#include "tests/unit/fs-doubles.h"
#include "tests/unit/t.h"

static void branch_moves(void)
{
	struct fs *fs = double_fs(NULL);
	struct fs_attr a, b;
	struct fs_node *n = NULL;
	struct fs_handle *h = NULL;
	char text[52] = "";

	t_int(fs_walk_wait(fs, HF "org/model/config.json", &n, &a), 0);
	t_int(fs_open_wait(fs, n, &h), 0);
	double_hub.main = DOUBLE_COMMIT_2;
	t_int(double_stat(fs, HF "org/model/config.json", &b), 0);
	t_int(b.ino, a.ino); /* fresh for a minute */
	clock_advance(61000);
	t_int(double_stat(fs, HF "org/model/config.json", &b), 0);
	t_check(b.ino != a.ino);
	t_int(b.mtime, 2000);
	t_check(b.left_ms > 0);
	/* What is open keeps its revision, but is not what its name means. */
	t_int(fs_attr_now(fs, n, &b), 0);
	t_int(b.mtime, 1000);
	t_int(b.left_ms, 0);
	t_int(double_stat(fs, HF "org/model/config.json", &b), 0);
	t_int(fs_handle_touch(h, 0, 51), 0);
	t_int(src_read_wait(fs_handle_src(h), 0, text, 51), 0);
	t_str(text, "config.json" DOUBLE_COMMIT_1);
	fs_close(h);
	fs_node_unref(n);

	/* Unreachable: the last answer; and it is not asked for at each step. */
	clock_advance(61000);
	double_hub.err = -ETIMEDOUT;
	double_hub.resolves = 0;
	t_int(double_stat(fs, HF "org/model/config.json", &a), 0);
	t_int(a.ino, b.ino);
	t_int(double_stat(fs, HF "org/model/onnx", &a), 0);
	t_int(double_hub.resolves, 1);
	/* Never seen: the error, and it is not asked for at each step. */
	t_int(double_stat(fs, HF "org/new/x", &a), -ETIMEDOUT);
	t_int(double_stat(fs, HF "org/new/y", &a), -ETIMEDOUT);
	t_int(double_hub.resolves, 2);
	/* No refusal is for good, though a commit means itself. */
	t_int(double_stat(fs, HF "org/model@" DOUBLE_COMMIT_1 "/config.json",
		&a), -ETIMEDOUT);
	double_hub.err = 0;
	clock_advance(6000);
	t_int(double_stat(fs, HF "org/new/x", &a), -ENOENT);
	t_int(double_stat(fs, HF "org/model@" DOUBLE_COMMIT_1 "/config.json",
		&a), 0);
	double_fs_free(fs);

	/* What memory has forgotten meanwhile the disk does not know better. */
	fs = double_fs(NULL);
	t_int(double_stat(fs, HF "org/model/config.json", &a), 0);
	t_int(a.mtime, 1000);
	double_hub.main = DOUBLE_COMMIT_2;
	clock_advance(3600000);
	t_int(double_stat(fs, HF "org/model/config.json", &a), 0);
	t_int(a.mtime, 2000);
	double_fs_free(fs);
}

static void staged(void)
{
	struct fs *fs = double_fs(NULL);
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
	t_check(!a.fixed);
	t_int(fs_attr_now(fs, n, &a), 0);
	t_check(!a.fixed);
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
	double_fs_free(fs);
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

static void put_in_vain(void)
{
	t_check(!"put for a moment");
}

static void spoil(void)
{
	static unsigned epoch = 30;

	double_epoch(++epoch);
}

/* Names that take reading: asked for once, when somebody looks inside. */
static void names_asked(void)
{
	static const char dir[] = HF "org/asks/pytorch";
	struct fs *fs = double_fs(NULL);
	struct fs_attr a;

	t_check(shows(fs, HF "org/asks", "config.json model.safetensors onnx "
		"pytorch", false));
	t_int(double_stat(fs, HF "org/asks/pytorch/model.safetensors", &a), 0);
	t_int(double_hub.named, 0);

	/* The road: what the layout has stands in, other names cannot be told;
	 * tried again after a while. */
	double_hub.names_err = -EHOSTUNREACH;
	t_check(shows(fs, dir, "model.onnx model.safetensors refused.onnx",
		false));
	t_int(double_stat(fs, HF "org/asks/pytorch/part.onnx", &a),
		-EHOSTUNREACH);
	t_int(double_stat(fs, HF "org/asks/pytorch/model.onnx", &a), 0);
	t_int(double_hub.named, 1);
	double_hub.names_err = 0;
	clock_advance(6000);
	t_int(double_stat(fs, HF "org/asks/pytorch/part.onnx", &a), 0);
	t_int(a.size, 62);
	t_int(double_stat(fs, HF "org/asks/pytorch/model.onnx", &a), -ENOENT);
	t_check(shows(fs, dir, "model.safetensors part.onnx", true));
	t_int(double_hub.named, 2);

	/* What told them was wrong. */
	double_epoch(1);
	t_check(shows(fs, dir, "model.safetensors part.onnx", true));
	t_int(double_hub.named, 3);

	/* Something was, while they were asked for: once more, not for ever. */
	double_epoch(2);
	double_hub.spoils = 1;
	t_check(shows(fs, dir, "model.safetensors part.onnx", true));
	t_int(double_hub.named, 5);
	double_epoch(10);
	double_hub.spoils = 1;
	t_int(double_stat(fs, HF "org/asks/pytorch/part.onnx", &a), 0);
	t_int(double_hub.named, 7);
	double_epoch(20);
	double_hub.spoils = 100;
	t_int(double_stat(fs, HF "org/asks/pytorch/part.onnx", &a), -EIO);
	t_int(double_hub.named, 7 + FS_NAMES_TRIES);
	double_epoch(0);
	double_fs_free(fs);

	/* Nor has the next process what was not believed here. */
	for (unsigned late = 0; late < 2; late++) {
		fs = double_fs(NULL);
		double_hub.spoils = late ? 0 : 100;
		double_hub.putting = late ? spoil : put_in_vain;
		t_int(double_stat(fs, HF "org/asks/pytorch/part.onnx", &a),
			-EIO);
		t_check(!double_planned(fs));
		double_hub.spoils = 0;
		double_hub.putting = NULL;
		t_int(double_stat(fs, HF "org/asks/pytorch/part.onnx", &a), 0);
		t_check(double_planned(fs));
		double_epoch(0);
		double_fs_free(fs);
	}
}

/* What another process has told in the index is believed; but who read it there
 * just before it was cleared asks anew. */
static void names_cleared(void)
{
	static const char file[] = HF "org/asks/pytorch/part.onnx";
	struct fs *fs = double_fs(NULL);
	struct buf told = BUF_INIT(4096);
	struct stage_repo repo;
	struct fs_node *n = NULL;
	struct fs_attr a;
	char key[65];

	t_int(fs_walk_wait(fs, HF "org/asks/pytorch", &n, NULL), 0);
	repo = fs_snap_repo(n->snap);
	t_int(stage_key(fs->plans.stage, &repo, n->snap->scope, "pytorch",
		key), 0);
	fs_node_unref(n);
	t_int(double_stat(fs, file, &a), 0);
	t_int(double_hub.named, 1);
	t_int(cache_index_get(fs->cache, CACHE_KIND_PLAN, key, &told, NULL),
		0);
	double_fs_free(fs);

	fs = double_fs(NULL);
	t_int(cache_index_put(fs->cache, CACHE_KIND_PLAN, key,
		(const char *)told.data, told.len), 0);
	t_int(double_stat(fs, file, &a), 0);
	t_int(double_hub.named, 0);
	fs_plans_expire(&fs->plans);
	t_check(!double_planned(fs));
	t_int(double_stat(fs, file, &a), 0);
	t_int(double_hub.named, 1);
	buf_done(&told);
	double_fs_free(fs);
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
	struct fs *fs = double_fs(NULL);
	struct fs_attr a;

	double_hold();
	for (size_t i = 0; i < 32; i++) {
		m[i].fs = fs;
		t_int(pthread_create(&m[i].thread, NULL, one_of_many, &m[i]),
			0);
	}
	/* Meanwhile all that is known answers. */
	t_int(double_stat(fs, "huggingface/nick", &a), 0);
	t_int(double_stat(fs, ".omnihub/status", &a), 0);
	double_release();
	for (size_t i = 0; i < 32; i++)
		t_int(pthread_join(m[i].thread, NULL), 0);
	t_int(double_hub.resolves, 2);
	t_int(double_hub.lists, 1);
	t_int(double_hub.plans, 1);
	double_fs_free(fs);
}

static void offline(void)
{
	struct fs *fs = double_fs("offline=1");
	struct fs_attr a;

	t_int(double_stat(fs, HF "org/model/config.json", &a), -EHOSTUNREACH);
	t_int(double_stat(fs, HF "nick", &a), 0);
	t_int(double_stat(fs, HF "nick/config.json", &a), -EHOSTUNREACH);
	t_int(double_hub.resolves, 0);
	double_fs_free(fs);
}

static void refresh(void)
{
	struct fs *fs = double_fs(NULL);
	struct fs_node *n = NULL;
	struct fs_usage u;
	struct fs_attr a;

	t_int(fs_walk_wait(fs, HF "org/model", &n, &a), 0);
	double_hub.main = DOUBLE_COMMIT_2;
	double_hub.resolves = 0;
	t_int(fs_refresh_wait(fs, HF "org/model"), 0);
	t_int(double_hub.resolves, 1);
	t_int(double_stat(fs, HF "org/model/config.json", &a), 0);
	t_int(a.mtime, 2000);
	t_int(fs_usage_wait(fs, n, &u), 0);
	t_int(u.files, 6);
	t_int(u.bytes, 51 + 57 + 53 + 57 + 62 + 0);
	/* Only the hub's word does; but who did not ask for that has the old
	 * one. */
	double_hub.err = -ETIMEDOUT;
	t_int(fs_refresh_wait(fs, HF "org/model/pytorch"), -ETIMEDOUT);
	t_int(double_stat(fs, HF "org/model/config.json", &a), 0);
	t_int(a.mtime, 2000);
	fs_node_unref(n);
	double_fs_free(fs);
}

/* The hub hangs: an old answer does, and what it says in the end is used. */
static void patience(void)
{
	struct fs *fs = double_fs(NULL);
	uint64_t from = clock_ms();
	struct fs_attr a;

	t_int(double_stat(fs, HF "org/model/config.json", &a), 0);
	t_int(a.mtime, 1000);
	t_check(a.left_ms + (clock_ms() - from) >= 60000 && a.left_ms <= 60000);
	clock_advance(61000);
	double_hub.main = DOUBLE_COMMIT_2;
	double_hub.resolves = 0;
	double_hold();
	for (int i = 0; i < 3; i++) {
		t_int(double_stat(fs, HF "org/model/config.json", &a), 0);
		t_int(a.mtime, 1000);
		t_int(a.left_ms, 0); /* the kernel must come again */
	}
	double_release();
	for (int i = 0; i < 1000 && a.mtime != 2000; i++) {
		(void) usleep(5000);
		t_int(double_stat(fs, HF "org/model/config.json", &a), 0);
	}
	t_int(a.mtime, 2000);
	t_int(double_hub.resolves, 1);
	t_check(a.left_ms > 0);
	double_fs_free(fs);
}

/* The hub is late, what was at hand answered: not for long, and nobody is told
 * it later. */
static void at_hand(void)
{
	struct fs *fs = double_fs(NULL);
	struct fs_attr a;

	double_hub.at_hand_ms = 1000;
	t_int(double_stat(fs, HF "org/model/config.json", &a), 0);
	t_int(a.mtime, 1000);
	t_check(a.left_ms <= 1000);
	double_hub.main = DOUBLE_COMMIT_2;
	double_hub.at_hand_ms = 0;
	clock_advance(1100);
	t_int(double_stat(fs, HF "org/model/config.json", &a), 0);
	t_int(a.mtime, 2000);
	t_check(a.left_ms > 1000);

	double_hub.at_hand_ms = 90000;	/* longer than anything is believed */
	t_int(double_stat(fs, HF "timm/net/config.json", &a), 0);
	t_check(a.left_ms <= 60000);
	clock_advance(61000);
	double_hub.err = -ETIMEDOUT;
	t_int(double_stat(fs, HF "org/model/config.json", &a), 0);
	t_int(double_stat(fs, HF "timm/net/config.json", &a), -ETIMEDOUT);
	double_fs_free(fs);
}

/* The hub does not know the revision any more that its name is believed to
 * mean: it is asked what the name means now, once. */
static void revision_lost(void)
{
	struct fs *fs = double_fs(NULL);
	struct fs_node *n = NULL;
	struct fs_dir *d = NULL;
	struct fs_attr a;

	double_hub.lose = 1;
	t_int(double_stat(fs, HF "org/model/config.json", &a), 0);
	t_int(double_hub.lists, 2);
	t_int(a.mtime, 1000);
	double_fs_free(fs);

	fs = double_fs(NULL);
	double_hub.lose = 3;
	t_int(double_stat(fs, HF "org/model@main/config.json", &a), -ENOENT);
	t_int(double_stat(fs, HF "org/model@main/config.json", &a), -ENOENT);
	t_int(double_hub.lists, 2);
	double_hub.main = DOUBLE_COMMIT_2;
	clock_advance(6000);
	t_int(double_stat(fs, HF "org/model@main/config.json", &a), 0);
	t_int(double_hub.lists, 4);
	t_int(a.mtime, 2000);
	double_fs_free(fs);

	/* A directory is read likewise; a commit means itself. */
	fs = double_fs(NULL);
	double_hub.lose = 1;
	t_int(fs_walk_wait(fs, HF "org/model", &n, NULL), 0);
	t_int(fs_readdir_wait(fs, n, &d), 0);
	fs_dir_free(d);
	fs_node_unref(n);
	double_fs_free(fs);
	fs = double_fs(NULL);
	double_hub.lose = 1;
	t_int(double_stat(fs, HF "org/model@" DOUBLE_COMMIT_1 "/config.json",
		&a), -ENOENT);
	t_int(double_hub.lists, 1);
	double_fs_free(fs);
}

int main(void)
{
	branch_moves();
	revision_lost();
	at_hand();
	patience();
	staged();
	names_asked();
	names_cleared();
	single_flight();
	offline();
	refresh();
	return 0;
}
