/* Numbers, nodes, counts. */
#include "config.h"

#include <pthread.h>

#include "fs/fs.h"
#include "fs/inode.h"
#include "fs/node.h"
#include "tests/unit/t.h"

static struct fs_inodes t;

static struct fs_node *child(struct fs_node *parent, const char *name)
{
	struct fs_node_spec s = { .kind = parent ? FS_DIR : FS_ROOT,
		.name = name, .inner = name };

	return fs_node_get(&t, parent, &s);
}

static void counts(void)
{
	struct fs_node *root = child(NULL, ""), *a = child(root, "a");
	struct fs_node *b = child(a, "b"), *again;
	uint64_t ino = b->ino;

	t_int(root->ino, FS_INO_ROOT);
	t_int(fs_inodes_count(&t), 3);
	t_check(b->ino > 15 && b->ino <= INT64_MAX);
	t_int(fs_node_number(a, FS_DIR, "b", NULL), b->ino);
	again = child(a, "b");
	t_check(again == b);
	fs_node_unref(again);

	/* The kernel's count keeps it, and it keeps its parents. */
	fs_inode_looked_up(b);
	fs_inode_looked_up(b);
	fs_node_unref(b);
	fs_node_unref(a);
	t_int(fs_inodes_count(&t), 3);
	b = fs_inode_find(&t, ino);
	t_check(b && !strcmp(b->name, "b") && !strcmp(b->parent->name, "a"));
	fs_node_unref(b);
	fs_inode_forget(&t, ino, 1);
	t_int(fs_inodes_count(&t), 3);
	fs_inode_forget(&t, ino, 1);
	t_int(fs_inodes_count(&t), 1);
	t_check(!fs_inode_find(&t, ino));
	b = child(root, "b");
	ino = b->ino;
	for (int i = 0; i < 3; i++)
		fs_inode_looked_up(b);
	fs_node_unref(b);
	fs_inode_forget(&t, ino, 2);
	t_int(fs_inodes_count(&t), 2);
	fs_inode_forget(&t, ino, 2);	/* more than there were */
	t_int(fs_inodes_count(&t), 1);
	fs_inode_forget(&t, ino, 5);	/* not known: nothing happens */
	fs_inode_forget(&t, 1, 1);	/* the root was never looked up */
	t_int(fs_inodes_count(&t), 1);
	fs_node_unref(root);
	t_int(fs_inodes_count(&t), 0);
}

/* Two paths of one hash: made by giving a node the number of another. */
static void collision(void)
{
	struct fs_node *root = child(NULL, ""), *a, *b, *again;
	uint64_t want = fs_node_number(root, FS_DIR, "b", NULL);
	struct fs_node_spec s = { .kind = FS_DIR, .name = "a", .inner = "a" };

	a = fs_node_get(&t, root, &s);
	/* Take a out and put it in b's place. */
	pthread_mutex_lock(&t.lock);
	for (size_t i = 0; i < t.room; i++)
		if (t.slots[i] == a)
			t.slots[i] = a->chain;
	a->ino = want;
	a->chain = t.slots[want & (t.room - 1)];
	t.slots[want & (t.room - 1)] = a;
	pthread_mutex_unlock(&t.lock);
	b = child(root, "b");
	t_check(b != a && b->ino == want + 1);
	again = child(root, "b");
	t_check(again == b);
	fs_node_unref(again);
	fs_node_unref(a);
	fs_node_unref(b);
	fs_node_unref(root);
	t_int(fs_inodes_count(&t), 0);
}

static void paths(void)
{
	struct fs_node *root = child(NULL, ""), *a = child(root, "alpha");
	struct fs_node *b = child(a, "b");
	char *p;

	p = fs_node_path(root);
	t_str(p, "");
	free(p);
	p = fs_node_path(b);
	t_str(p, "alpha/b");
	free(p);
	t_check(!fs_node_repo(b));
	fs_node_unref(b);
	fs_node_unref(a);
	fs_node_unref(root);
}

#define MANY 5000

static void many(void)
{
	struct fs_node *root = child(NULL, "");
	static struct fs_node *v[MANY];
	uint64_t *paged = NULL;
	char name[16];

	for (int i = 0; i < MANY; i++) {
		(void) snprintf(name, sizeof(name), "n%d", i);
		v[i] = child(root, name);
		fs_inode_looked_up(v[i]);
		atomic_store(&v[i]->shell.paged, i % 2);
	}
	t_int(fs_inodes_count(&t), MANY + 1);
	t_int(fs_inodes_paged(&t, &paged), MANY / 2);
	free(paged);
	for (int i = 0; i < MANY; i++)
		fs_node_unref(v[i]);
	t_int(fs_inodes_count(&t), MANY + 1);
	fs_inodes_forget_all(&t);
	t_int(fs_inodes_count(&t), 1);
	fs_node_unref(root);
}

static void *looker(void *arg)
{
	struct fs_node *root = arg;

	for (int i = 0; i < 20000; i++) {
		struct fs_node *n = child(root, i % 3 ? "x" : "y");
		uint64_t ino = n->ino;

		fs_inode_looked_up(n);
		fs_node_unref(n);
		n = fs_inode_find(&t, ino);
		t_check(n && n->ino == ino);
		fs_node_unref(n);
		fs_inode_forget(&t, ino, 1);
	}
	return NULL;
}

static void threads(void)
{
	struct fs_node *root = child(NULL, "");
	pthread_t th[4];

	for (int i = 0; i < 4; i++)
		t_int(pthread_create(&th[i], NULL, looker, root), 0);
	for (int i = 0; i < 4; i++)
		t_int(pthread_join(th[i], NULL), 0);
	t_int(fs_inodes_count(&t), 1);
	fs_node_unref(root);
}

int main(void)
{
	fs_inodes_init(&t);
	counts();
	collision();
	paths();
	many();
	threads();
	t_int(fs_inodes_count(&t), 0);
	fs_inodes_done(&t);
	return 0;
}
