/* The kernel's list of mounts, and paths without asking the file system. */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "cli/mounts.h"
#include "tests/unit/t.h"

static void mountinfo(const char *text, const char *want)
{
	char line[512];
	char *got;

	(void) snprintf(line, sizeof(line), "%s", text);
	got = cli_mountinfo_parse(line);
	if (!want)
		t_check(!got);
	else
		t_str(got, want);
}

static void test_mountinfo(void)
{
	mountinfo("36 35 0:51 / /home/u/.modelhub ro,nosuid,nodev - "
		"fuse.omnihub omnihub ro,user_id=1000\n", "/home/u/.modelhub");
	mountinfo("36 35 0:51 / /a\\040b\\134c ro shared:7 master:1 - "
		"fuse.omnihub omnihub ro\n", "/a b\\c");
	mountinfo("36 35 0:51 / /mnt ro - fuse.sshfs omnihub ro\n", NULL);
	mountinfo("36 35 0:51 / /fuse.omnihub ro - ext4 fuse.omnihub ro\n",
		NULL);
	mountinfo("36 35 0:51 / /mnt ro -\n", NULL);
	mountinfo("36 35 0:51 / /mnt ro shared:1\n", NULL);
	mountinfo("- - - - - - - fuse.omnihub x\n", "-");
	mountinfo("", NULL);
}

static void owner(const char *text, long long want)
{
	char line[512];

	(void) snprintf(line, sizeof(line), "%s", text);
	t_int(cli_mountinfo_user(line), want);
}

static void test_owner(void)
{
	owner("36 35 0:51 / /home/u/.modelhub ro,nosuid,nodev - "
		"fuse.omnihub omnihub ro,user_id=1000,group_id=5\n", 1000);
	owner("36 35 0:51 / /mnt ro shared:7 - fuse.omnihub omnihub "
		"rw,group_id=1,user_id=0\n", 0);
	/* The source is whatever who mounts it wants. */
	owner("36 35 0:51 / /mnt ro - fuse.omnihub user_id=1 ro,user_id=2\n",
		2);
	owner("36 35 0:51 / /mnt ro,user_id=3 - fuse.omnihub omnihub ro\n",
		-1);
	owner("36 35 0:51 / /mnt ro - fuse.omnihub omnihub ro,xuser_id=3\n",
		-1);
	owner("36 35 0:51 / /mnt ro -\n", -1);
	owner("", -1);
}

static void clean(const char *path, const char *want)
{
	char *got = cli_path_clean(path);

	t_str(got, want);
	free(got);
}

static void test_clean(void)
{
	char cwd[PATH_MAX], want[PATH_MAX + 8];

	clean("/", "/");
	clean("/..", "/");
	clean("//a///b/", "/a/b");
	clean("/a/./b/../c", "/a/c");
	clean("/a/b/../../../..", "/");
	clean("/a/..b/.c", "/a/..b/.c");
	t_check(getcwd(cwd, sizeof(cwd)));
	(void) snprintf(want, sizeof(want), "%s/x", strcmp(cwd, "/") ? cwd :
		"");
	clean("./y/../x", want);
}

static void test_below(void)
{
	t_str(cli_below("/a/b/c", "/a"), "b/c");
	t_str(cli_below("/a/b", "/a/"), "b");
	t_str(cli_below("/a", "/a"), "");
	t_str(cli_below("/a/b", "/"), "a/b");
	t_check(!cli_below("/ab", "/a"));
	t_check(!cli_below("/a", "/a/b"));
}

int main(void)
{
	test_mountinfo();
	test_owner();
	test_clean();
	test_below();
	t_int(cli_mount_probe("/proc"), -ENODEV);
	t_int(cli_mount_probe("/no/such/place"), -ENODEV);
	return 0;
}
