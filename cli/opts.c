/*
 * All options of all commands as one table, so that parsing and --help cannot
 * differ. A command names the ones it takes by bit.
 */
#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli/cmd.h"

enum {
	OPT_CONFIG = 256, OPT_SET, OPT_CACHE, OPT_OFFLINE, OPT_DEMO,
	OPT_JSON, OPT_REFRESH, OPT_CHECK, OPT_FILE, OPT_HUB, OPT_LIMIT,
};

struct opt {
	unsigned bit;		/* enum cli_opt, 0: always taken */
	int code;		/* its letter, or one of the numbers above */
	const char *name;
	const char *arg;	/* name of its argument, or NULL */
	const char *about;
};

static const struct opt opts[] = {
	{ CLI_OPT_LONG, 'l', "long", NULL,
	  "with state, size and what is on this disk" },
	{ CLI_OPT_REFRESH, OPT_REFRESH, "refresh", NULL,
	  "ask the hub again first" },
	{ CLI_OPT_FILE, OPT_FILE, "file", "FILE", "the lock file" },
	{ CLI_OPT_CHECK, OPT_CHECK, "check", NULL,
	  "ask the hubs, and compare" },
	{ CLI_OPT_HUB, OPT_HUB, "hub", "NAME", "this hub only" },
	{ CLI_OPT_LIMIT, OPT_LIMIT, "limit", "N", "at most so many a hub" },
	{ CLI_OPT_QUIET, 'q', "quiet", NULL, "print failures only" },
	{ CLI_OPT_LAZY, 'z', "lazy", NULL,
	  "detach now, let open files end by themselves" },
	{ CLI_OPT_BYTES, 'b', "bytes", NULL, "sizes as plain numbers" },
	{ CLI_OPT_YES, 'y', "yes", NULL, "do not ask" },
	{ CLI_OPT_JSON, OPT_JSON, "json", NULL, "print JSON" },
	{ CLI_OPT_COMMON, OPT_CONFIG, "config", "FILE",
	  "read this configuration file" },
	{ CLI_OPT_COMMON, OPT_SET, "set", "KEY=VALUE",
	  "set one key (repeatable)" },
	{ CLI_OPT_COMMON, OPT_CACHE, "cache", "DIR",
	  "use the cache in this directory" },
	{ CLI_OPT_COMMON, OPT_OFFLINE, "offline", NULL, "no network at all" },
	{ CLI_OPT_COMMON, OPT_DEMO, "demo", NULL,
	  "the small hubs that ship with OmniHub" },
	{ 0, 'h', "help", NULL, "print this help" },
};
#define OPTS (sizeof(opts) / sizeof(opts[0]))

static bool taken(const struct cli_cmd *cmd, const struct opt *o)
{
	return !o->bit || (cmd->opts & o->bit);
}

static void help_option(const struct opt *o)
{
	char left[40];

	(void) snprintf(left, sizeof(left), "%s%c%s--%s%s%s",
		o->code < 256 ? "-" : " ", o->code < 256 ? o->code : ' ',
		o->code < 256 ? ", " : "  ", o->name, o->arg ? " " : "",
		o->arg ? o->arg : "");
	printf("  %-24s %s\n", left, o->about);
}

void cli_help(const struct cli_cmd *cmd)
{
	size_t i;

	printf("Usage: omnihub %s%s%s\n%s.\n", cmd->name,
		*cmd->args ? " " : "", cmd->args, cmd->about);
	if (cmd->help)
		printf("\n%s", cmd->help);
	printf("\nOptions:\n");
	for (i = 0; i < OPTS; i++)
		if (taken(cmd, &opts[i]))
			help_option(&opts[i]);
}

/* The getopt forms of the options that c->cmd takes. */
static void getopt_tables(const struct cli_cmd *cmd,
	struct option longs[OPTS + 1], char shorts[2 * OPTS + 2])
{
	size_t i, n = 0;
	char *s = shorts;

	*s++ = ':';	/* a missing argument is told apart */
	for (i = 0; i < OPTS; i++) {
		if (!taken(cmd, &opts[i]))
			continue;
		longs[n++] = (struct option){ opts[i].name,
			opts[i].arg ? required_argument : no_argument, NULL,
			opts[i].code };
		if (opts[i].code < 256)
			*s++ = (char)opts[i].code;
	}
	longs[n] = (struct option){ NULL, 0, NULL, 0 };
	*s = '\0';
}

/* One option of the common set. */
static int common(struct cli *c, int code, const char *arg,
	struct error *why)
{
	c->conf_given = true;
	switch (code) {
	case OPT_SET:
		return conf_set_arg(c->conf, arg, why);
	case OPT_CACHE:
		return conf_set(c->conf, "cache.dir", arg, CONF_ARG, why);
	case OPT_OFFLINE:
		return conf_set(c->conf, "offline", "1", CONF_ARG, why);
	default:
		return conf_set(c->conf, "demo", "1", CONF_ARG, why);
	}
}

static int bad_option(struct cli *c, int code, char **argv)
{
	if (code == ':')
		return cli_usage(c, "option '%s' needs an argument",
			argv[optind - 1]);
	for (size_t i = 0; optopt && i < OPTS; i++)
		if (opts[i].code == optopt && taken(c->cmd, &opts[i]))
			return cli_usage(c, "option '--%s' takes no argument",
				opts[i].name);
	if (optopt)
		return cli_usage(c, "unknown option '-%c'", optopt);
	return cli_usage(c, "unknown option '%s'", argv[optind - 1]);
}

static unsigned bit_of(int code)
{
	size_t i;

	for (i = 0; i < OPTS; i++)
		if (opts[i].code == code)
			return opts[i].bit;
	return 0;
}

int cli_opts_parse(struct cli *c, int argc, char **argv, int *ret_first)
{
	struct option longs[OPTS + 1];
	char shorts[2 * OPTS + 2];
	struct error why = { 0 };
	const char *file = NULL;
	int code;

	if (c->cmd->opts & CLI_OPT_COMMON) {
		c->conf = conf_new();
		if (!c->conf)
			return cli_fail(c, NULL, -ENOMEM, NULL);
	}
	getopt_tables(c->cmd, longs, shorts);
	opterr = 0;
	while ((code = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		if (code == '?' || code == ':')
			return bad_option(c, code, argv);
		if (code == 'h') {
			cli_help(c->cmd);
			return CLI_DONE;
		}
		c->given |= bit_of(code);
		if (code == OPT_FILE)
			c->file = optarg;
		else if (code == OPT_HUB)
			c->hub = optarg;
		else if (code == OPT_LIMIT)
			c->limit = optarg;
		if (code == OPT_CONFIG) {
			file = optarg;
			c->conf_given = true;
		} else if (bit_of(code) == CLI_OPT_COMMON &&
			   common(c, code, optarg, &why) < 0) {
			return cli_usage(c, "%s", why.text);
		}
	}
	*ret_first = optind;
	if (c->conf && conf_load(c->conf, file, &why) < 0)
		return cli_fail(c, file, why.code, error_text(&why, why.code));
	return -1;
}
