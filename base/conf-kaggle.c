/*
 * Who we are at Kaggle, as its own clients find it (hubs.md 3.4); what is set
 * for us counts before what is set for them.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/conf-table.h"
#include "base/io.h"
#include "base/json.h"
#include "base/path.h"

#define FILE_MAX 65536	/* bytes of kaggle.json */

static bool ours(const struct conf *c, const char *key)
{
	return conf_get(c, key) && conf_where(c, key) > CONF_ECOSYSTEM;
}

/* $KAGGLE_API_TOKEN: a token, or the name of a file with one. */
static char *token_or_file(const char *value)
{
	cleanup_free char *path = conf_absolute(value);

	if (path && !access(path, F_OK))
		return conf_token_in(path);
	return strdup(value);
}

static char *token_of_home(void)
{
	static const char *const names[] = {
		"~/.kaggle/access_token", "~/.kaggle/access_token.txt",
	};
	char *token = NULL;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names) && !token; i++) {
		cleanup_free char *path = conf_absolute(names[i]);

		token = path ? conf_token_in(path) : NULL;
	}
	return token;
}

static void set_pair(const char *user, const char *key,
	struct conf_kaggle *ret)
{
	ret->user = strdup(user);
	ret->key = strdup(key);
	if (!ret->user || !ret->key)
		conf_kaggle_done(ret);
}

static void pair_of_file(struct conf_kaggle *ret)
{
	const char *dir = getenv("KAGGLE_CONFIG_DIR");
	cleanup_free char *base = conf_absolute(dir && *dir ? dir :
		"~/.kaggle");
	cleanup_free char *path = base ? path_join(base, "kaggle.json") : NULL;
	cleanup_buf struct buf text = BUF_INIT(FILE_MAX);
	json_t *j cleanup_json = NULL;
	const char *user, *key;

	if (!path || io_read_file(AT_FDCWD, path, &text) || !text.len ||
		json_parse(text.data, text.len, FILE_MAX, &j, NULL))
		return;
	user = json_str(j, "username");
	key = json_str(j, "key");
	if (user && *user && key && *key)
		set_pair(user, key, ret);
}

void conf_kaggle_login(const struct conf *c, struct conf_kaggle *ret)
{
	const char *token = conf_get(c, "kaggle.token");
	const char *user = conf_get(c, "kaggle.username");
	const char *key = conf_get(c, "kaggle.key");
	bool both = user && *user && key;

	*ret = (struct conf_kaggle){ 0 };
	if (ours(c, "kaggle.token"))
		ret->token = strdup(token);
	else if (both && ours(c, "kaggle.username") && ours(c, "kaggle.key"))
		set_pair(user, key, ret);
	else if (token)
		ret->token = token_or_file(token);
	if (ret->token || ret->user)
		return;
	ret->token = token_of_home();
	if (ret->token)
		return;
	if (both)
		set_pair(user, key, ret);
	else
		pair_of_file(ret);
}

void conf_kaggle_done(struct conf_kaggle *k)
{
	free(k->token);
	free(k->user);
	free(k->key);
	*k = (struct conf_kaggle){ 0 };
}
