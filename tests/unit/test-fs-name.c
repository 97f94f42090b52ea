/* Components of a path and what they mean. */
#include "config.h"

#include <errno.h>

#include "fs/name.h"
#include "tests/unit/t.h"

static void splits(const char *text, const char *base, const char *rev)
{
	char back[PATH_NAME_MAX + 1];
	struct fs_name n;

	t_int(fs_name_split(text, &n), 0);
	t_str(n.base, base);
	t_str(n.rev, rev);
	t_int(fs_name_join(n.base, n.rev, back), 0);
	t_str(back, text);
}

static void refused(const char *text)
{
	struct fs_name n;

	t_int(fs_name_split(text, &n), -ENOENT);
}

static void long_names(void)
{
	char text[300], rev[PATH_NAME_MAX + 1], out[PATH_NAME_MAX + 1];
	struct fs_name n;

	memset(text, 'a', sizeof(text));
	text[255] = '\0';
	t_int(fs_name_split(text, &n), 0);
	text[255] = 'a';
	text[256] = '\0';
	t_int(fs_name_split(text, &n), -ENOENT);
	memset(rev, '/', sizeof(rev));
	rev[200] = '\0';
	t_int(fs_name_join("a", rev, out), -ENAMETOOLONG);
	t_int(fs_name_join(text, "", out), -ENAMETOOLONG);
}

int main(void)
{
	splits("bert-base-uncased", "bert-base-uncased", "");
	splits("repo@main", "repo", "main");
	splits("repo@refs%2Fpr%2F1", "repo", "refs/pr/1");
	splits("repo@a%25b", "repo", "a%b");
	splits("repo@v1.0@x", "repo", "v1.0@x");
	refused("");
	refused(".");
	refused("..");
	refused("a/b");
	refused("@main");
	refused("repo@");
	refused("repo@%");
	refused("repo@%2");
	refused("repo@%2E%2E");
	refused("repo@..");
	refused("repo@%2Fa");
	refused("repo@a%2F");
	refused("repo@a%2F..%2Fb");
	refused("repo@a b");
	refused("repo@a\nb");
	refused("repo@a~1");
	long_names();
	t_check(fs_name_is_commit("040b93928ee5e1e8b0c204a1e6f29d9c4ab5b02d"));
	t_check(!fs_name_is_commit("040b93928ee5e1e8b0c204a1e6f29d9c4ab5b02"));
	t_check(!fs_name_is_commit("040b93928ee5e1e8b0c204a1e6f29d9c4ab5b02dd"));
	t_check(!fs_name_is_commit("040B93928EE5E1E8B0C204A1E6F29D9C4AB5B02D"));
	t_check(fs_name_is_probe(".Trash-1000"));
	t_check(fs_name_is_probe("Autorun.inf"));
	t_check(!fs_name_is_probe("gpt2"));
	return 0;
}
