/*
 * omnihub doctor: everything that has to be right on this machine, one line
 * each, with what to do. "bad" fails the command; "note" is something to
 * know.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "cli/cmd.h"
#include "cli/mounts.h"
#include "cli/table.h"
#include "fetch/fetch.h"

#define SPACE_LOW (1024ULL * 1024 * 1024)	/* bytes */

enum verdict { OK, NOTE, BAD };
static const char *const verdicts[] = { "ok", "note", "bad" };

struct doctor {
	struct cli *c;
	struct cli_table *table;
	json_t *json;
	unsigned bad;
};

static void say(struct doctor *d, enum verdict v, const char *check,
	const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void say(struct doctor *d, enum verdict v, const char *check,
	const char *fmt, ...)
{
	char text[ERROR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void) vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	d->bad += v == BAD;
	if (d->json)
		(void) json_array_append_new(d->json, json_pack("{ss ss ss}",
			"check", check, "verdict", verdicts[v], "text", text));
	else
		(void) cli_table_row(d->table, verdicts[v], check, text);
}

static void check_device(struct doctor *d)
{
	cleanup_fd int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		say(d, OK, "/dev/fuse", "can be opened");
	else if (errno == ENOENT)
		say(d, BAD, "/dev/fuse", "missing: 'modprobe fuse', or give "
			"the container --device /dev/fuse");
	else
		say(d, BAD, "/dev/fuse", "%s: 'chmod 666 /dev/fuse' as root",
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
		say(d, geteuid() ? BAD : NOTE, "fusermount3",
			"not found: install the package fuse3");
	else if (geteuid() && (stat(path, &st) || st.st_uid ||
			!(st.st_mode & S_ISUID)))
		say(d, BAD, "fusermount3", "%s is not setuid root: users "
			"cannot mount", path);
	else
		say(d, OK, "fusermount3", "%s", path);
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
		say(d, OK, "allow_other", "'-o allow_other' may be used");
	else
		say(d, NOTE, "allow_other", "other users cannot see a mount: "
			"for that, user_allow_other in /etc/fuse.conf");
}

static void check_passthrough(struct doctor *d)
{
	unsigned major = 0, minor = 0;
	struct utsname u;

	if (uname(&u) || sscanf(u.release, "%u.%u", &major, &minor) != 2)
		return;
	if (major < 6 || (major == 6 && minor < 9))
		say(d, NOTE, "passthrough", "kernel %s has none (6.9 and "
			"later do): reads go through the daemon", u.release);
	else if (geteuid())
		say(d, NOTE, "passthrough", "needs root (CAP_SYS_ADMIN): "
			"reads go through the daemon");
	else
		say(d, OK, "passthrough", "kernel %s may read verified files "
			"without the daemon", u.release);
}

static void check_cache(struct doctor *d)
{
	cleanup_free char *wanted = conf_cache_dir(d->c->conf);
	const char *dir;
	char size[CLI_SIZE_MAX];
	struct statvfs vfs;
	uint64_t room;

	if (cli_fs_open(d->c)) {	/* has said why on stderr */
		say(d, BAD, "cache", "%s cannot be used; --cache DIR puts it "
			"elsewhere", wanted ? wanted : "it");
		return;
	}
	dir = fs_cache_dir(d->c->fs);
	if (statvfs(dir, &vfs)) {
		say(d, BAD, "cache", "%s: %s", dir, strerror(errno));
		return;
	}
	room = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	say(d, room < SPACE_LOW ? NOTE : OK, "cache", "%s, %s free%s", dir,
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
			say(d, OK, cache_foreign_tool((enum conf_tool)i),
				"%s: %llu files, %s, not downloaded again",
				dir ? dir : "", (unsigned long long)s.files[i],
				cli_size(size, s.bytes[i]));
	}
}

static void check_token(struct doctor *d)
{
	cleanup_free char *token = conf_hf_token(d->c->conf);

	if (token)
		say(d, OK, "token", "found one for Hugging Face");
	else
		say(d, NOTE, "token", "none: gated models need one (HF_TOKEN, "
			"huggingface.token)");
}

/* The answer of a hub, awaited (fetch.timeout and fetch.retries bound it). */
struct answer {
	pthread_mutex_t lock;
	pthread_cond_t came;
	bool here;		/* lock */
	int err;		/* lock */
	struct error why;	/* lock */
};

static void answered(void *arg, int err, const struct error *why,
	struct fetch_snapshot *snap)
{
	struct answer *a = arg;

	fetch_snapshot_free(snap);
	(void) pthread_mutex_lock(&a->lock);
	a->here = true;
	a->err = err;
	if (err && why)
		a->why = *why;
	(void) pthread_cond_signal(&a->came);
	(void) pthread_mutex_unlock(&a->lock);
}

/* Any answer of the hub itself will do, also that it has no such model. */
static int ask(struct fetch_hub *hub, struct error *why)
{
	struct answer a = { .lock = PTHREAD_MUTEX_INITIALIZER,
		.came = PTHREAD_COND_INITIALIZER };

	fetch_resolve(hub, "bert-base-uncased", NULL, answered, &a);
	(void) pthread_mutex_lock(&a.lock);
	while (!a.here)
		(void) pthread_cond_wait(&a.came, &a.lock);
	(void) pthread_mutex_unlock(&a.lock);
	*why = a.why;
	return a.err;
}

static void check_hub(struct doctor *d)
{
	const char *end = conf_get(d->c->conf, "huggingface.endpoint");
	struct fetch_hub *hub = NULL;
	struct error why = { 0 };
	struct fetch *f = NULL;
	int r;

	if (conf_flag(d->c->conf, "offline")) {
		say(d, NOTE, "hub", "not asked: offline");
		return;
	}
	r = fetch_new(d->c->conf, &f, &why);
	if (!r)
		r = fetch_hub_open(f, "huggingface", d->c->conf, &hub, &why);
	if (!r)
		r = ask(hub, &why);
	fetch_free(f);
	if (!r || r == -ENOENT || r == -EACCES)
		say(d, OK, "hub", "%s answers", end ? end : "huggingface");
	else
		say(d, BAD, "hub", "%s; is a proxy needed (https_proxy)? "
			"--offline does without", error_text(&why, r));
}

static int check_mount(void *arg, const char *dir)
{
	struct doctor *d = arg;
	int r = cli_mount_probe(dir);

	if (!r)
		say(d, OK, "mount", "%s answers", dir);
	else
		say(d, BAD, "mount", "%s is dead (%s): 'omnihub umount %s'",
			dir, strerror(-r), dir);
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
	check_passthrough(&d);
	check_cache(&d);
	check_tools(&d);
	check_token(&d);
	check_hub(&d);
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
	.help = "Looks at /dev/fuse, fusermount3, the kernel, the cache, other "
		"tools' caches, the\ntoken, the hub and the mounts. A check is "
		"ok, a note, or bad; bad ones fail the\ncommand.\n",
	.opts = CLI_OPT_COMMON | CLI_OPT_JSON,
	.run = run,
};
