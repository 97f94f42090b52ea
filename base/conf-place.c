/* Where things lie when nobody says: ours and those of the ecosystem. */
#include "config.h"

#include "base/conf.h"

#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/conf-table.h"
#include "base/io.h"
#include "base/path.h"

#define TOKEN_MAX 4096	/* bytes of a token file */

static const char *env(const char *name)
{
	const char *v = getenv(name);

	return v && *v ? v : NULL;
}

/* The caller frees. NULL: out of memory. */
static char *home(void)
{
	const char *h = env("HOME");
	struct passwd pw, *found = NULL;
	char room[4096];

	if (h)
		return strdup(h);
	(void) getpwuid_r(getuid(), &pw, room, sizeof(room), &found);
	return strdup(found && found->pw_dir ? found->pw_dir : "/");
}

char *conf_absolute(const char *path)
{
	cleanup_free char *base = NULL;

	if (*path == '/')
		return strdup(path);
	if (*path == '~' && (path[1] == '/' || !path[1])) {
		base = home();
		path += 1 + strspn(path + 1, "/");
	} else {
		base = getcwd(NULL, 0);
	}
	return base ? path_join(base, path) : NULL;
}

char *conf_mountpoint(void)
{
	const char *p = env("MODELHUB_PATH");

	if (!p)
		p = env("OMNIHUB_HOME");
	return conf_absolute(p ? p : "~/.modelhub");
}

/* Below $XDG_CACHE_HOME, else ~/.cache. */
static char *xdg_cache(const char *name)
{
	const char *xdg = env("XDG_CACHE_HOME");
	cleanup_free char *dir = xdg && *xdg == '/' ? strdup(xdg) :
						      conf_absolute("~/.cache");

	return dir ? path_join(dir, name) : NULL;
}

char *conf_cache_dir(const struct conf *c)
{
	const char *dir = conf_get(c, "cache.dir");

	return dir ? strdup(dir) : xdg_cache("omnihub");
}

const char *conf_datadir(void)
{
	const char *dir = env("OMNIHUB_DATADIR");

	return dir ? dir : OH_PKGDATADIR;
}

char *conf_own_dir(void)
{
	const char *xdg = env("XDG_CONFIG_HOME");

	/* The XDG specification: a relative path there is to be ignored. */
	return xdg && *xdg == '/' ? path_join(xdg, "omnihub") :
				    conf_absolute("~/.config/omnihub");
}

/* $HF_HOME, else below the cache directory. */
static char *hf_home(void)
{
	const char *dir = env("HF_HOME");

	return dir ? conf_absolute(dir) : xdg_cache("huggingface");
}

static char *hf_cache(void)
{
	const char *dir = env("HF_HUB_CACHE");
	cleanup_free char *base = NULL;

	if (!dir)
		dir = env("HUGGINGFACE_HUB_CACHE");
	if (dir)
		return conf_absolute(dir);
	base = hf_home();
	return base ? path_join(base, "hub") : NULL;
}

/* $VARIABLE/below, else below `xdg` in the user's cache directory, or below
 * `fixed` for tools that do not know of that. */
static char *tool_home(const char *variable, const char *fixed,
	const char *xdg, const char *below)
{
	const char *dir = env(variable);
	cleanup_free char *base = dir || !xdg ?
		conf_absolute(dir ? dir : fixed) : xdg_cache(xdg);

	return base ? path_join(base, below) : NULL;
}

char *conf_tool_cache(enum conf_tool tool)
{
	const char *tmp = env("TMPDIR");

	switch (tool) {
	case CONF_TOOL_HUGGINGFACE_HUB:
		return hf_cache();
	case CONF_TOOL_TORCH_HUB:
		return tool_home("TORCH_HOME", NULL, "torch", "hub");
	case CONF_TOOL_KERAS:
		return tool_home("KERAS_HOME", "~/.keras", NULL, "models");
	case CONF_TOOL_TENSORFLOW_HUB:
		if (env("TFHUB_CACHE_DIR"))
			return conf_absolute(env("TFHUB_CACHE_DIR"));
		return path_join(tmp && *tmp == '/' ? tmp : "/tmp",
			"tfhub_modules");
	case CONF_TOOL_KAGGLEHUB:
		return tool_home("KAGGLEHUB_CACHE", "~/.cache/kagglehub", NULL,
			"models");
	case CONF_TOOL_ONNX_HUB:
		return tool_home("ONNX_HOME", NULL, "onnx", "hub");
	default:
		return NULL;
	}
}

/* A token goes into a header line: printable, no blanks. NULL otherwise. */
static char *token_of(char *text)
{
	size_t n;

	text += strspn(text, " \t\r\n");
	n = strcspn(text, " \t\r\n");
	if (!n || text[n + strspn(text + n, " \t\r\n")])
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (text[i] < 0x21 || text[i] > 0x7e)
			return NULL;
	return strndup(text, n);
}

char *conf_token_in(const char *path)
{
	cleanup_buf struct buf text = BUF_INIT(TOKEN_MAX);

	if (io_read_file(AT_FDCWD, path, &text) || !text.len)
		return NULL;
	return token_of((char *)text.data);
}

char *conf_hf_token(const struct conf *c)
{
	const char *set = conf_get(c, "huggingface.token");
	const char *path = env("HF_TOKEN_PATH");
	cleanup_free char *dir = NULL;
	cleanup_free char *place = NULL;

	if (set)
		return strdup(set);
	dir = hf_home();
	if (path)
		place = conf_absolute(path);
	else if (dir)
		place = path_join(dir, "token");
	return place ? conf_token_in(place) : NULL;
}

char *conf_github_token(void)
{
	const char *set = env("GITHUB_TOKEN");
	cleanup_free char *copy = set ? strdup(set) : NULL;

	return copy ? token_of(copy) : NULL;
}
