/*
 * omnihub doctor: everything that has to be right on this machine, one line
 * each, with what to do. "bad" fails the command; "note" is something to
 * know.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "cli/cmd.h"
#include "cli/mounts.h"
#include "cli/doctor.h"

#define SPACE_LOW (1024ULL * 1024 * 1024)	/* bytes */
#define FILES_LOW 1024

void doctor_say(struct doctor *d, enum doctor_verdict v, const char *check,
	const char *fmt, ...)
{
	static const char *const verdicts[] = { "ok", "note", "bad" };
	char text[ERROR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void) vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	d->bad += v == BAD;
	if (d->json)
		(void) json_array_append_new(d->json, json_pack("{ss ss so}",
			"check", check, "verdict", verdicts[v], "text",
			json_bytes(text)));
	else
		(void) cli_table_row(d->table, verdicts[v], check, text);
}

static void check_device(struct doctor *d)
{
	cleanup_fd int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		doctor_say(d, OK, "/dev/fuse", "can be opened");
	else if (errno == ENOENT)
		doctor_say(d, BAD, "/dev/fuse", "missing: 'modprobe fuse', or give "
			"the container --device /dev/fuse");
	else
		doctor_say(d, BAD, "/dev/fuse", "%s: 'chmod 666 /dev/fuse' as root",
			strerror(errno));
}

static char *find_program(const char *name)
{
	const char *path = getenv("PATH");
	cleanup_free char *dirs = strdup(path ? path : "/usr/bin:/bin");
	char *dir, *save = NULL, *full;

	for (dir = dirs ? strtok_r(dirs, ":", &save) : NULL; dir;
	     dir = strtok_r(NULL, ":", &save)) {
		full = path_join(dir, name);
		if (full && !access(full, X_OK))
			return full;
		free(full);
	}
	return NULL;
}

static void check_fusermount(struct doctor *d)
{
	cleanup_free char *path = find_program("fusermount3");
	struct stat st;

	if (!path)
		doctor_say(d, geteuid() ? BAD : NOTE, "fusermount3",
			"not found: install the package fuse3");
	else if (geteuid() && (stat(path, &st) || st.st_uid ||
			!(st.st_mode & S_ISUID)))
		doctor_say(d, BAD, "fusermount3", "%s is not setuid root: users "
			"cannot mount", path);
	else
		doctor_say(d, OK, "fusermount3", "%s", path);
}

static void check_allow_other(struct doctor *d)
{
	cleanup_file FILE *f = fopen("/etc/fuse.conf", "re");
	cleanup_free char *line = NULL;
	size_t room = 0;
	bool on = false;

	while (f && getline(&line, &room, f) > 0)
		on |= !strncmp(line, "user_allow_other", 16);
	if (on || !geteuid())
		doctor_say(d, OK, "allow_other", "'-o allow_other' may be used");
	else
		doctor_say(d, NOTE, "allow_other", "other users cannot see a "
			"mount: for that, user_allow_other in /etc/fuse.conf");
}

static void check_cache(struct doctor *d)
{
	cleanup_free char *wanted = conf_cache_dir(d->c->conf);
	const char *dir;
	char size[CLI_SIZE_MAX];
	struct statvfs vfs;
	struct stat st;
	uint64_t room;

	if (cli_fs_open(d->c)) {	/* has said why on stderr */
		doctor_say(d, BAD, "cache", "%s cannot be used; --cache DIR "
			"puts it elsewhere", wanted ? wanted : "it");
		return;
	}
	dir = fs_cache_dir(d->c->fs);
	if (statvfs(dir, &vfs)) {
		doctor_say(d, BAD, "cache", "%s: %s", dir, strerror(errno));
		return;
	}
	if (!stat(dir, &st) && (st.st_uid != geteuid() || (st.st_mode & 077)))
		doctor_say(d, NOTE, "cache", "%s: others can look into it "
			"(mode %04o): 'chmod 700 %s'", dir,
			(unsigned)(st.st_mode & 07777), dir);
	room = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	doctor_say(d, room < SPACE_LOW ? NOTE : OK, "cache", "%s, %s free%s", dir,
		cli_size(size, room), room < SPACE_LOW ?
		": little; --cache DIR puts it elsewhere" : "");
}

struct tool_sums {
	uint64_t files[CONF_TOOLS], bytes[CONF_TOOLS];
};

static int add_file(void *arg, const struct cache_foreign *f)
{
	struct tool_sums *s = arg;

	for (unsigned i = 0; i < CONF_TOOLS; i++) {
		if (strcmp(f->tool, cache_foreign_tool((enum conf_tool)i)))
			continue;
		s->files[i]++;
		s->bytes[i] += f->size;
	}
	return 0;
}

static void check_tools(struct doctor *d)
{
	struct tool_sums s = { { 0 }, { 0 } };
	char size[CLI_SIZE_MAX];

	if (!d->c->fs || cache_foreign_each(fs_cache(d->c->fs), add_file, &s))
		return;
	for (unsigned i = 0; i < CONF_TOOLS; i++) {
		cleanup_free char *dir = conf_tool_cache((enum conf_tool)i);

		if (s.files[i])
			doctor_say(d, OK, cache_foreign_tool((enum conf_tool)i),
				"%s: %llu files, %s, not downloaded again",
				dir ? dir : "", (unsigned long long)s.files[i],
				cli_size(size, s.bytes[i]));
	}
}

static void check_token(struct doctor *d)
{
	cleanup_free char *token = conf_hf_token(d->c->conf);

	if (token)
		doctor_say(d, OK, "token", "found one for Hugging Face");
	else
		doctor_say(d, NOTE, "token", "none: gated models need one "
			"(HF_TOKEN, huggingface.token)");
}

static void check_limits(struct doctor *d)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l))
		return;
	if (l.rlim_max < FILES_LOW)
		doctor_say(d, NOTE, "open files", "at most %llu: 'ulimit -Hn "
			"4096', or LimitNOFILE= of the unit",
			(unsigned long long)l.rlim_max);
	else
		doctor_say(d, OK, "open files", "at most %llu",
			(unsigned long long)l.rlim_max);
}

static int check_mount(void *arg, const char *dir)
{
	struct doctor *d = arg;
	int r = cli_mount_probe(dir);

	if (!r)
		doctor_say(d, OK, "mount", "%s answers", dir);
	else if (r == -ENOTCONN)
		doctor_say(d, BAD, "mount", "%s is dead (%s): 'omnihub umount %s'",
			dir, strerror(-r), dir);
	else if (r == -ETIMEDOUT)
		doctor_say(d, BAD, "mount", "%s does not answer, though its "
			"daemon lives: 'omnihub umount --lazy %s' gives it up",
			dir, dir);
	else if (r == -EACCES)
		doctor_say(d, NOTE, "mount", "%s is another user's", dir);
	else if (r != -ENODEV)	/* it has gone since the list was read */
		doctor_say(d, BAD, "mount", "%s: %s", dir, strerror(-r));
	return 0;
}

static int run(struct cli *c, int argc, char **argv)
{
	cleanup_table struct cli_table *t = cli_table_new("lll");
	struct doctor d = { .c = c, .table = t };

	(void) argv;
	if (argc)
		return cli_usage(c, "no arguments are taken");
	if (!t)
		return cli_fail(c, NULL, -ENOMEM, NULL);
	if (c->given & CLI_OPT_JSON)
		d.json = json_array();
	check_device(&d);
	check_fusermount(&d);
	check_allow_other(&d);
	doctor_passthrough(&d);
	doctor_seccomp(&d);
	check_limits(&d);
	check_cache(&d);
	doctor_workers(&d);
	check_tools(&d);
	check_token(&d);
	doctor_hubs(&d);
	(void) cli_mounts_each(check_mount, &d);
	if (d.json)
		(void) cli_print_json(c, d.json);
	else
		cli_table_print(t, stdout);
	if (!d.bad)
		return CLI_DONE;
	(void) fflush(stdout);
	fprintf(stderr, "omnihub: doctor: %u of the checks failed\n", d.bad);
	return CLI_FAILED;
}

const struct cli_cmd cli_cmd_doctor = {
	.name = "doctor",
	.args = "[OPTION]...",
	.about = "Check this machine and say what to do",
	.help = "Looks at /dev/fuse, fusermount3, what the kernel offers, "
		"limits, the cache, the\nsandbox, other tools' caches, the "
		"token, every hub, the clock and the mounts. A\ncheck is ok, "
		"a note, or bad; bad ones fail the command.\n",
	.opts = CLI_OPT_COMMON | CLI_OPT_JSON,
	.run = run,
};
