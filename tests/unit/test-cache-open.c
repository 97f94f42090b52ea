/* What opening a cache makes, clears away and counts. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "cache/store.h"
#include "tests/unit/cache-upstream.h"
#include "tests/unit/t.h"

#define SIZE (5 * MIB)

static void begins_with(struct cache *c, const char *rel, const char *text)
{
	struct buf b = BUF_INIT(1000);

	t_int(cache_store_read(c, rel, &b), 0);
	t_check(b.len >= strlen(text) && !memcmp(b.data, text, strlen(text)));
	buf_done(&b);
}

/* A program that looks at the directory knows at once what it is. */
static void test_signs(void)
{
	char *dir = upstream_dir("open-signs");
	struct cache *c = t_open_cache(dir, 0);

	begins_with(c, "VERSION", "omnihub-cache 1\n");
	begins_with(c, "CACHEDIR.TAG",
		"Signature: 8a477f597d28d172789f06886806bc55\n");
	/* Also when it was removed. */
	t_int(unlinkat(c->dir, "CACHEDIR.TAG", 0), 0);
	cache_close(c);
	c = t_open_cache(dir, 0);
	begins_with(c, "CACHEDIR.TAG",
		"Signature: 8a477f597d28d172789f06886806bc55\n");
	cache_close(c);
	free(dir);
}

static unsigned open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	t_check(d);
	while (readdir(d))
		n++;
	(void) closedir(d);
	return n;
}

static unsigned names_in(struct cache *c, const char *rel)
{
	DIR *d = fdopendir(openat(c->dir, rel,
		O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	unsigned n = 0;

	t_check(d);
	while (readdir(d))
		n++;
	(void) closedir(d);
	return n - 2;
}

/* What cannot get its name leaves nothing behind. */
static void test_publish(void)
{
	char *dir = upstream_dir("open-publish");
	struct cache *c = t_open_cache(dir, 0);

	t_int(cache_store_publish(c, "refs", "x", 1), -EISDIR);
	t_int(names_in(c, "tmp"), 0);
	cache_close(c);
	free(dir);
}

/* Who is alone counts what there is, and what a killed program left of a file
 * that has become an object goes. */
static void test_counted(void)
{
	char *dir = upstream_dir("open-counted");
	uint8_t *bytes = upstream_bytes(SIZE, 1);
	struct cache_name n = t_name_of("a", bytes, SIZE, OBJID_SHA256);
	struct upstream *u = upstream_new(bytes, SIZE, 1);
	struct cache *c = t_open_cache(dir, 0);
	char key[CACHE_KEY_HEX], data[CACHE_REL_MAX];
	struct src *s = t_open_src(c, &n, u);
	struct cache_put *put;
	struct objid id;
	unsigned n_open;

	t_int(cache_name_key(&n, key), 0);
	t_expect(s, bytes, 0, 1);
	src_unref(s);
	t_int(cache_put_begin(c, 1000, &put), 0);
	t_int(cache_put_data(put, bytes, 1000), 0);
	t_int(cache_put_end(put, &id), 0);
	t_int(cache_recipe_put(c, key, "abcd", 4), 0);
	cache_close(c);
	n_open = open_files();
	c = t_open_cache(dir, 0);
	t_int(cache_used(c), 1000 + 65536 + 12);
	t_int(names_in(c, "partial"), 1);
	cache_close(c);
	t_int(open_files(), n_open);
	c = t_open_cache(dir, 0);
	(void) snprintf(data, sizeof(data), "partial/%s/data", key);
	t_int(unlinkat(c->dir, data, 0), 0);
	cache_close(c);
	c = t_open_cache(dir, 0);
	t_int(cache_used(c), 1000 + 12);
	t_int(names_in(c, "partial"), 0);
	cache_close(c);
	upstream_free(u);
	free(bytes);
	free(dir);
}

/* Who opens it while another has it open clears nothing away, though a third has
 * closed it who was there first. */
static void test_not_alone(void)
{
	char *dir = upstream_dir("open-beside");
	struct cache *first = t_open_cache(dir, 0);
	struct cache *c = t_open_cache(dir, 0), *last;
	struct cache_put *put;
	struct objid id;

	t_int(cache_put_begin(c, 1000, &put), 0);
	t_int(cache_put_data(put, "beside", 6), 0);
	cache_close(first);
	last = t_open_cache(dir, 0);
	t_int(names_in(c, "tmp"), 1);
	t_int(cache_used(last), 1000);
	cache_put_drop(put);
	t_int(cache_put_begin(c, 6, &put), 0);
	t_int(cache_put_data(put, "beside", 6), 0);
	t_int(cache_put_end(put, &id), 0);
	t_int(cache_used(last), 6);
	cache_close(c);
	cache_close(last);
	free(dir);
}

/* Whoever made it was killed before it had a version; its tmp/ is ours. */
static void test_not_finished(void)
{
	char *dir = upstream_dir("open-begun");
	struct cache *c = t_open_cache(dir, 0);

	t_int(unlinkat(c->dir, "VERSION", 0), 0);
	t_int(io_mkdirs(c->dir, "tmp/left"), 0);
	cache_close(c);
	c = t_open_cache(dir, 0);
	t_int(names_in(c, "tmp"), 0);
	begins_with(c, "VERSION", "omnihub-cache 1\n");
	cache_close(c);
	free(dir);
}

/* A tmp/ that cannot be looked into may be anybody's, and so may a file. */
static void test_strange_tmp(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
	char *dir = upstream_dir("open-strange"), *tmp = t_join(dir, "tmp");
	const struct cache_conf conf = { .dir = dir };
	struct error why = { 0 };
	struct cache *c = NULL;
	int status;
	pid_t pid;

	t_int(io_mkdirs(AT_FDCWD, dir), 0);
	t_int(io_publish(AT_FDCWD, tmp, "x", 1, 0600), 0);
	t_int(cache_open(&conf, &c, &why), -ENOTEMPTY);
	t_int(unlink(tmp), 0);
	t_int(mkdir(tmp, 0), 0);
	pid = fork();
	t_check(pid >= 0);
	if (!pid) {
		t_int(syscall(SYS_capset, &head, none), 0);
		t_int(cache_open(&conf, &c, &why), -ENOTEMPTY);
		exit(0);
	}
	t_check(waitpid(pid, &status, 0) == pid);
	t_int(status, 0);
	t_int(access(tmp, F_OK), 0);
	free(tmp);
	free(dir);
}

/* Who does not ask why is refused all the same. */
static void test_no_why(void)
{
	char *dir = upstream_dir("open-no-why"), *tmp = t_join(dir, "tmp");
	const struct cache_conf conf = { .dir = dir };
	struct cache *c = t_open_cache(dir, 0), *second;
	char *aside = t_join(dir, "aside");
	struct error why = { .code = 0 };
	int fd;

	t_int(rename(tmp, aside), 0);
	fd = open(tmp, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	t_check(fd >= 0);
	(void) close(fd);
	t_check(cache_open(&conf, &second, NULL) < 0);
	t_check(cache_open(&conf, &second, &why) < 0);
	t_check(why.code && strstr(why.text, "cannot prepare"));
	t_int(unlink(tmp), 0);
	cache_close(c);
	free(aside);
	free(tmp);
	free(dir);
}

int main(void)
{
	test_signs();
	test_publish();
	test_no_why();
	test_counted();
	test_not_alone();
	test_not_finished();
	test_strange_tmp();
	return 0;
}
