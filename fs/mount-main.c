/*
 * omnihub-mount. The parent stays until the mount answers, so that a script
 * may use it in the next line; the child tells it through a pipe: one byte
 * 'k', or a line that says what is wrong.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/conf.h"
#include "base/io.h"
#include "base/log.h"
#include "base/path.h"
#include "fs/ctl.h"
#include "fs/session.h"

enum { OPT_CACHE = 256, OPT_CACHE_SIZE, OPT_CONFIG, OPT_SET, OPT_OFFLINE,
	OPT_DEMO, OPT_LOCK };

static const struct option long_options[] = {
	{ "foreground", no_argument, NULL, 'f' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ "cache", required_argument, NULL, OPT_CACHE },
	{ "cache-size", required_argument, NULL, OPT_CACHE_SIZE },
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "set", required_argument, NULL, OPT_SET },
	{ "offline", no_argument, NULL, OPT_OFFLINE },
	{ "demo", no_argument, NULL, OPT_DEMO },
	{ "lock", required_argument, NULL, OPT_LOCK },
	{ NULL, 0, NULL, 0 },
};

static const char usage[] =
	"Usage: omnihub-mount [OPTION]... [MOUNTPOINT]\n"
	"Mount the model hubs at MOUNTPOINT, else $MODELHUB_PATH, else\n"
	"$OMNIHUB_HOME, else ~/.modelhub.\n"
	"\n"
	"  -f, --foreground     stay in the foreground, log to stderr\n"
	"      --cache DIR      where bytes are kept (~/.cache/omnihub)\n"
	"      --cache-size SIZE  hard budget, as 20G (default: leave 10 % of the\n"
	"                       file system free)\n"
	"      --config FILE    instead of ~/.config/omnihub/config\n"
	"      --set KEY=VALUE  one configuration key; repeatable\n"
	"      --offline        no network at all\n"
	"      --lock FILE      names mean what this lock file says\n"
	"      --demo           the small hubs that ship with OmniHub\n"
	"  -o OPTS              FUSE mount options (allow_other, nonempty, ...)\n"
	"  -v, --verbose        say more\n"
	"  -h, --help           this help\n"
	"  -V, --version        version\n"
	"\n"
	"Example:\n"
	"  omnihub-mount ~/.modelhub\n"
	"  ls ~/.modelhub/huggingface/bert-base/pytorch\n";

struct command {
	struct conf *conf;
	const char *config;	/* NULL: the default place */
	const char *set[64];	/* assignments, in order */
	const char *set_as[64];	/* their key, or NULL for KEY=VALUE */
	unsigned n_set;
	char options[1024];	/* of -o, joined, without ours */
	bool foreground, verbose, nonempty;
};

static int fail(const struct error *why, int err)
{
	(void) fprintf(stderr, "omnihub-mount: %s\n", error_text(why, err));
	return 1;
}

/* ---- the command line --------------------------------------------------------------- */

static int keep_set(struct command *c, const char *key, const char *value)
{
	if (c->n_set == sizeof(c->set) / sizeof(c->set[0]))
		return -E2BIG;
	c->set_as[c->n_set] = key;
	c->set[c->n_set++] = value;
	return 0;
}

/* FUSE's options go on to libfuse; "nonempty" is ours, "rw" cannot be. The list
 * itself stays as it is: the next program gets our arguments. */
static int keep_options(struct command *c, const char *list)
{
	cleanup_free char *copy = strdup(list);
	char *save = NULL;

	if (!copy)
		return -ENOMEM;
	for (char *o = strtok_r(copy, ",", &save); o;
		o = strtok_r(NULL, ",", &save)) {
		size_t used = strlen(c->options);

		if (!strcmp(o, "nonempty")) {
			c->nonempty = true;
			continue;
		}
		if (!strcmp(o, "rw") || !strcmp(o, "ro"))
			continue;
		if (used + strlen(o) + 2 > sizeof(c->options))
			return -E2BIG;
		if (used)
			c->options[used++] = ',';
		strcpy(c->options + used, o);
	}
	return 0;
}

/* One option; -EINVAL: getopt has said what is wrong. */
static int take_option(struct command *c, int opt)
{
	switch (opt) {
	case 'f':
		c->foreground = true;
		return 0;
	case 'v':
		c->verbose = true;
		return 0;
	case 'o':
		return keep_options(c, optarg);
	case OPT_CACHE:
		return keep_set(c, "cache.dir", optarg);
	case OPT_CACHE_SIZE:
		return keep_set(c, "cache.size", optarg);
	case OPT_CONFIG:
		c->config = optarg;
		return 0;
	case OPT_SET:
		return keep_set(c, NULL, optarg);
	case OPT_LOCK:
		return keep_set(c, "lock", optarg);
	case OPT_OFFLINE:
		return keep_set(c, "offline", "1");
	case OPT_DEMO:
		return keep_set(c, "demo", "1");
	default:
		return -EINVAL;
	}
}

/* 0: go on; 1: done; 2: wrong usage. */
static int read_arguments(struct command *c, int argc, char **argv)
{
	int opt, r;

	while ((opt = getopt_long(argc, argv, "fvhVo:", long_options, NULL)) !=
		-1) {
		if (opt == 'h') {
			(void) fputs(usage, stdout);
			return 1;
		}
		if (opt == 'V') {
			(void) puts("omnihub-mount " PACKAGE_VERSION);
			return 1;
		}
		r = take_option(c, opt);
		if (r == -E2BIG)
			(void) fprintf(stderr,
				"omnihub-mount: too many options\n");
		if (r) {
			(void) fprintf(stderr,
				"Try `omnihub-mount --help`.\n");
			return 2;
		}
	}
	if (argc - optind > 1) {
		(void) fprintf(stderr, "omnihub-mount: one MOUNTPOINT only\n");
		return 2;
	}
	return 0;
}

static int configure(struct command *c, struct error *why)
{
	int r;

	c->conf = conf_new();
	if (!c->conf)
		return error_set(why, -ENOMEM, "out of memory");
	r = conf_load(c->conf, c->config, why);
	for (unsigned i = 0; i < c->n_set && !r; i++)
		r = c->set_as[i] ? conf_set(c->conf, c->set_as[i], c->set[i],
			CONF_ARG, why) : conf_set_arg(c->conf, c->set[i], why);
	return r;
}

/* NULL: where nobody said otherwise. */
static int find_point(const char *given, char **ret, struct error *why)
{
	cleanup_free char *home = given ? NULL : conf_mountpoint();
	int r;

	if (!given)
		given = home;
	if (!given)
		return error_set(why, -ENOMEM, "out of memory");
	r = fs_mount_resolve(given, ret);
	if (r == -ETIMEDOUT)
		return error_set(why, r, "%s: it lies in a mount that does not "
			"answer", given);
	return r ? error_set(why, r, "%s: %s", given, strerror(-r)) : 0;
}

/* ---- the daemon ----------------------------------------------------------------------- */

static void tell_ready(void *arg)
{
	int *pipe_fd = arg;

	if (write(*pipe_fd, "k", 1) == 1)
		(void) close(*pipe_fd);
}

/* What goes wrong until the mount answers goes through the pipe. */
static void leave_terminal(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; fd <= 2 && null >= 0; fd++)
		(void) dup2(null, fd);
	if (null > 2)
		(void) close(null);
	(void) setsid();
}

static int child(const struct session_conf *s, int pipe_fd)
{
	struct error why = { 0 };
	int r;

	leave_terminal();
	if (chdir("/"))
		return 1;
	r = fs_session_run(s, tell_ready, &pipe_fd, &why);
	if (r) {
		const char *text = error_text(&why, r);

		if (write(pipe_fd, text, strlen(text)) < 0)
			return 1;
	}
	return r ? 1 : 0;
}

/* The child said it is ready: see for ourselves. */
static int verify(const char *mountpoint)
{
	cleanup_free char *path = path_join(mountpoint, FS_CTL_DIR_NAME);
	struct stat st;

	if (path && !stat(path, &st))
		return 0;
	(void) fprintf(stderr,
		"omnihub-mount: %s was mounted but does not answer: %s\n",
		mountpoint, strerror(errno));
	return 1;
}

static int parent(const struct session_conf *s, int pipe_fd, pid_t pid)
{
	char said[ERROR_TEXT_MAX + 1];
	size_t n = 0;
	ssize_t got;
	int status = 0;

	while ((got = read(pipe_fd, said + n, sizeof(said) - 1 - n)) != 0) {
		if (got < 0 && errno != EINTR)
			break;
		if (got > 0)
			n += (size_t)got;
		if (n == sizeof(said) - 1 || (n && said[0] == 'k'))
			break;
	}
	said[n] = '\0';
	if (n == 1 && said[0] == 'k')
		return verify(s->mountpoint);
	if (n) {
		(void) fprintf(stderr, "omnihub-mount: %s\n", said);
		return 1;
	}
	(void) waitpid(pid, &status, 0);
	(void) fprintf(stderr, "omnihub-mount: the daemon ended before it was"
		" ready (%s %d)\n", WIFSIGNALED(status) ? "signal" : "status",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return 1;
}

static int go_to_background(const struct session_conf *s)
{
	int fds[2], r;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC)) {
		(void) fprintf(stderr, "omnihub-mount: pipe: %s\n",
			strerror(errno));
		return 1;
	}
	pid = fork();
	if (pid < 0) {
		(void) fprintf(stderr, "omnihub-mount: fork: %s\n",
			strerror(errno));
		return 1;
	}
	if (pid == 0) {
		(void) close(fds[0]);
		return child(s, fds[1]);
	}
	(void) close(fds[1]);
	r = parent(s, fds[0], pid);
	(void) close(fds[0]);
	return r;
}

/* The program that has a mount wants to know whether we could go on with it. */
static bool is_trial(void)
{
	const char *text = getenv(FS_HANDOVER_ENV);

	return text && !strcmp(text, FS_HANDOVER_TRY);
}

/* Another program of ours had this mount, and we are in its place. */
static bool was_handed_over(struct session_conf *s)
{
	const char *text = getenv(FS_HANDOVER_ENV);
	bool well = text && sscanf(text, "%d %d", &s->device, &s->handover) ==
		2 && s->device > 2 && s->handover > 2;

	(void) unsetenv(FS_HANDOVER_ENV);
	if (!well)
		s->device = s->handover = -1;
	return well;
}

/* Of a mount that is there already. */
static int go_on(const struct command *c, const struct session_conf *s)
{
	struct error why = { 0 };
	int r;

	if (!c->foreground && chdir("/"))
		return 1;
	r = fs_session_run(s, NULL, NULL, &why);
	if (r)
		log_at(LOG_LEVEL_ERROR, "%s", error_text(&why, r));
	return r ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct command c = { 0 };
	struct session_conf s = { 0 };
	struct error why = { 0 };
	cleanup_free char *point = NULL, *cwd = getcwd(NULL, 0);
	int r = read_arguments(&c, argc, argv);
	bool trial = is_trial(), handed = was_handed_over(&s);

	io_hold_standard();
	/* Ignored by who started us, nobody's end could be waited for. */
	(void) signal(SIGCHLD, SIG_DFL);
	if (r == 1 && trial)
		r = configure(&c, &why) ? 2 : 1;
	if (r) {
		conf_free(c.conf);
		return r == 1 ? 0 : 2;
	}
	r = configure(&c, &why);
	if (!r)
		r = find_point(argv[optind], &point, &why);
	else if (handed)
		(void) find_point(argv[optind], &point, NULL);
	s = (struct session_conf){ c.conf, point, c.options, c.nonempty, argv,
		c.foreground ? NULL : cwd, s.device, s.handover };
	log_setup(c.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, !c.foreground);
	if (!r && !handed)
		r = fs_session_prepare(&s, &why);
	if (r && point && handed)	/* nobody would answer it */
		(void) fs_mount_detach(point);
	if (r)
		r = fail(&why, r);
	else if (handed)
		r = go_on(&c, &s);
	else if (!c.foreground)
		r = go_to_background(&s);
	else if ((r = fs_session_run(&s, NULL, NULL, &why)))
		r = fail(&why, r);
	conf_free(c.conf);
	return r;
}
