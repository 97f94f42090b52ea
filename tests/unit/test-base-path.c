/* Names by which strangers might leave the house. */
#include "config.h"

#include "base/path.h"
#include "tests/unit/t.h"

static bool name_ok(const char *s)
{
	return path_name_ok(s, strlen(s));
}

static void names(void)
{
	static const char *const good[] = {
		"a", "...", ".hidden", "a b", "model.onnx", "-rf", "~",
		"\xc3\xa9", "\xe9\x87\x8d", "\xf0\x9f\xa4\x97", "a\\b",
		"\xc2\xa0", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf",
	};
	static const char *const bad[] = {
		"", ".", "..", "/", "a/b", "a\n", "\x7f", "\x1b[31m", "\t",
		"\x80", "\xc3", "\xc3(", "\xe9\x87", "\xff", "\xfe",
		"\xc0\xaf",		/* overlong '/' */
		"\xe0\x80\xaf",		/* the same in three */
		"\xf0\x80\x80\xaf",	/* and in four */
		"\xc2\x85",		/* C1: next line */
		"\xed\xa0\x80",		/* a surrogate */
		"\xf4\x90\x80\x80",	/* above U+10FFFF */
		"\xf8\x88\x80\x80\x80",
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		t_check(name_ok(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		t_check(!name_ok(bad[i]));
	t_check(!path_name_ok("a\0b", 3));
	/* Nothing behind len is looked at. */
	t_check(path_name_ok("a/b", 1));
	t_check(!path_name_ok("\xc3\xa9", 1));
}

static void lengths(void)
{
	char name[PATH_NAME_MAX + 2];
	char path[PATH_LEN_MAX + 2];

	memset(name, 'n', sizeof(name));
	t_check(path_name_ok(name, PATH_NAME_MAX));
	t_check(!path_name_ok(name, PATH_NAME_MAX + 1));
	for (size_t i = 0; i < sizeof(path); i++)
		path[i] = i % 2 ? '/' : 'p';
	path[PATH_LEN_MAX + 1] = '\0';
	path[PATH_LEN_MAX] = 'p';
	t_check(!path_rel_ok(path));
	path[PATH_LEN_MAX] = '\0';
	path[PATH_LEN_MAX - 1] = 'p';
	t_check(path_rel_ok(path));
}

static void paths(void)
{
	t_check(path_rel_ok("a"));
	t_check(path_rel_ok("a/b/c"));
	t_check(path_rel_ok("a/..b"));
	t_check(!path_rel_ok(""));
	t_check(!path_rel_ok("/a"));
	t_check(!path_rel_ok("a/"));
	t_check(!path_rel_ok("a//b"));
	t_check(!path_rel_ok("a/./b"));
	t_check(!path_rel_ok("a/../b"));
	t_check(!path_rel_ok("../a"));
	t_check(!path_rel_ok("a/.."));
}

static void join(const char *a, const char *b, const char *want)
{
	char *got = path_join(a, b);

	t_str(got, want);
	free(got);
}

int main(void)
{
	names();
	lengths();
	paths();
	join("a/b", "c", "a/b/c");
	join("", "c", "c");
	join("a", "", "a");
	join("", "", "");
	join("/", "c", "/c");
	t_str(path_base("a/b/c"), "c");
	t_str(path_base("c"), "c");
	t_str(path_base("a/"), "");
	return 0;
}
