/* Objects that are made here: whole or not at all, whoever is killed. */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cache/store.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

static struct cache *open_at(const char *dir, uint64_t budget)
{
	const struct cache_conf conf = { .dir = dir, .budget = budget };
	struct cache *c;

	t_int(cache_open(&conf, &c, NULL), 0);
	return c;
}

static struct cache *open_new(const char *name, uint64_t budget)
{
	char *dir = upstream_dir(name);
	struct cache *c = open_at(dir, budget);

	free(dir);
	return c;
}

static uint64_t used(struct cache *c)
{
	return atomic_load(&c->usage->used);
}

static struct objid put(struct cache *c, const char *text, size_t len)
{
	struct cache_put *p;
	struct objid id, want;

	t_int(cache_put_begin(c, len, &p), 0);
	t_int(cache_put_data(p, text, len / 2), 0);
	t_int(cache_put_data(p, text + len / 2, len - len / 2), 0);
	t_int(cache_put_data(p, "x", 1), -EINVAL);
	t_int(cache_put_end(p, &id), 0);
	digest_sha256(text, len, &want);
	t_check(objid_match(&id, &want));
	return id;
}

static struct cache_name name_of(const struct objid *id, uint64_t size)
{
	return (struct cache_name){ "hub", "org/repo", "rev", "a.zip/b", size,
		*id };
}

static void test_put(void)
{
	struct cache *c = open_new("put", 0);
	struct objid id = put(c, "hello world", 11), empty = put(c, "", 0);
	struct cache_name name = name_of(&id, 11), none = name;
	struct src_stat st;
	struct src *s;
	char text[11];

	t_int(used(c), 11);
	put(c, "hello world", 11);
	t_int(used(c), 11);
	t_int(cache_whole_open(c, &name, &s), 0);
	t_int(src_read_wait(s, 0, text, 11), 0);
	t_check(!memcmp(text, "hello world", 11));
	src_stat(s, &st);
	t_int(st.state, SRC_VERIFIED);
	t_int(cache_gc(c, 0, NULL), 0);
	src_unref(s);
	t_int(cache_whole_open(c, &name, &s), 0);
	src_unref(s);
	t_int(cache_gc(c, 0, NULL), 0);
	t_int(cache_whole_open(c, &name, &s), -ENOENT);
	none.id.alg = OBJID_NONE;
	t_int(cache_whole_open(c, &none, &s), -ENOENT);
	none = name_of(&empty, 0);
	t_int(cache_whole_open(c, &none, &s), 0);
	src_unref(s);
	t_int(used(c), 0);
	cache_close(c);
}

/* A blob that was opened in vain does not hide the object that came later. */
static void test_late(void)
{
	struct cache *c = open_new("late", 0);
	struct cache_name name = { "hub", "org/repo", "rev", "a.zip/b", 5,
		{ 0 } };
	struct src *early, *s;
	char text[5];

	digest_sha256("later", 5, &name.id);
	t_int(cache_src_open(c, &name, NULL, &early, NULL), 0);
	t_int(cache_whole_open(c, &name, &s), -ENOENT);
	put(c, "later", 5);
	t_int(cache_whole_open(c, &name, &s), 0);
	t_int(src_read_wait(s, 0, text, 5), 0);
	t_check(!memcmp(text, "later", 5));
	src_unref(s);
	src_unref(early);
	cache_close(c);
}

static void test_budget(void)
{
	struct cache *c = open_new("room", 1000);
	char text[900] = "first";
	struct cache_put *p, *q;
	struct objid id;

	t_int(cache_put_begin(c, 1001, &p), -ENOSPC);
	put(c, text, sizeof(text));
	/* There can be no room: nothing goes for it. */
	t_int(cache_put_begin(c, 1001, &p), -ENOSPC);
	t_int(used(c), sizeof(text));
	t_int(cache_put_begin(c, 600, &p), 0);	/* evicts the first */
	t_int(used(c), 600);
	t_int(cache_put_begin(c, 600, &q), -ENOSPC);
	t_int(cache_put_end(p, &id), -EINVAL);
	t_int(used(c), 0);
	cache_put_drop(NULL);
	cache_close(c);
}

/* More than any disk has, without a budget. */
static void test_huge(void)
{
	struct cache *c = open_new("huge", 0);
	struct cache_put *p;

	put(c, "hello world", 11);
	t_int(cache_put_begin(c, (uint64_t)1 << 50, &p), -ENOSPC);
	t_int(cache_put_begin(c, INT64_MAX, &p), -ENOSPC);
	t_int(used(c), 11);
	cache_close(c);
}

/* What a killed process wrote is gone with the next gc, not what a living one
 * writes. */
static void test_killed(void)
{
	char *dir = upstream_dir("killed");
	struct cache *c;
	struct cache_put *p;
	struct objid id;
	int ready[2], status;
	char byte;
	pid_t pid;

	t_int(pipe(ready), 0);
	pid = fork();	/* no cache is open: its threads would be missing */
	if (!pid) {
		struct cache *own = open_at(dir, 0);

		if (cache_put_begin(own, 5000, &p) ||
			cache_put_data(p, "half", 4) ||
			write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	t_int(read(ready[0], &byte, 1), 1);
	c = open_at(dir, 0);
	t_int(cache_put_begin(c, 3, &p), 0);
	t_int(cache_put_data(p, "abc", 3), 0);
	t_int(used(c), 5003);
	t_int(cache_gc(c, UINT64_MAX, NULL), 0);
	t_int(used(c), 5003);
	t_int(kill(pid, SIGKILL), 0);
	t_int(waitpid(pid, &status, 0), pid);
	t_check(WIFSIGNALED(status));
	t_int(cache_gc(c, UINT64_MAX, NULL), 0);
	t_int(used(c), 3);
	t_int(cache_put_end(p, &id), 0);
	t_int(used(c), 3);
	cache_close(c);
	free(dir);
}

int main(void)
{
	test_put();
	test_late();
	test_budget();
	test_huge();
	test_killed();
	return 0;
}
