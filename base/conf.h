/*
 * The configuration keys of the contract (design 1.2) as one table: name,
 * default, own environment variable (OMNIHUB_ + key in capitals, '.' → '_')
 * and the ecosystem's variables that are honoured where ours is not set.
 *
 * Precedence, highest first: conf_set(CONF_ARG), environment, file,
 * ecosystem's environment, default. A conf is filled by one thread and only
 * read afterwards.
 *
 * Values are kept in their plain form: sizes as decimal bytes, flags as "0"
 * or "1", directories absolute, addresses without '/' at the end.
 *
 * With `demo` set, conf_get() answers every endpoint that was not chosen at
 * least as explicitly as demo itself with file://DATADIR/demo/HUB
 * (huggingface.endpoint: …/demo/huggingface). So --demo reaches no network,
 * and --demo --set huggingface.endpoint=… still means what it says.
 */
#ifndef BASE_CONF_H
#define BASE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct conf;

enum conf_origin {
	CONF_DEFAULT, CONF_ECOSYSTEM, CONF_FILE, CONF_ENV, CONF_ARG,
};

/* Defaults and the process's environment (a variable with a wrong value is
 * told by conf_load). NULL: out of memory. OMNIHUB_ALIAS_MY_BERT is
 * alias.my-bert. */
struct conf *conf_new(void);
void conf_free(struct conf *c);

/* `KEY = VALUE` lines, '#' comments, optional quotes. path NULL: the default
 * place ($XDG_CONFIG_HOME/omnihub/config); there a missing file is fine.
 * -EINVAL with the line in `why` for unknown keys and bad values, also those
 * of the environment. */
int conf_load(struct conf *c, const char *path, struct error *why);

/* "KEY=VALUE" of --set. -EINVAL as above. */
int conf_set_arg(struct conf *c, const char *assignment, struct error *why);
int conf_set(struct conf *c, const char *key, const char *value,
	enum conf_origin from, struct error *why);

/* The value, or NULL when the key is unset and has no default. Unknown keys
 * are a programming error (abort). `alias.NAME` keys are found by full name. */
const char *conf_get(const struct conf *c, const char *key);
uint64_t conf_u64(const struct conf *c, const char *key);	/* sizes too */
bool conf_flag(const struct conf *c, const char *key);	/* offline, demo */
enum conf_origin conf_where(const struct conf *c, const char *key);

/* In table order, aliases last; secret values (tokens, keys) come as "***". */
int conf_each(const struct conf *c,
	int (*fn)(void *arg, const char *key, const char *shown,
		enum conf_origin from), void *arg);

/* "20G", "512MiB", "1000": bytes. -EINVAL otherwise. */
int conf_parse_size(const char *text, uint64_t *ret);

/* $MODELHUB_PATH, $OMNIHUB_HOME, ~/.modelhub. The caller frees. */
char *conf_mountpoint(void);
/* cache.dir, else $OMNIHUB_CACHE, $XDG_CACHE_HOME/omnihub, ~/.cache/omnihub. */
char *conf_cache_dir(const struct conf *c);
/* Where blueprints/ and demo/ lie: $OMNIHUB_DATADIR, else where `make install`
 * put them. Static or the environment's memory: not freed. */
const char *conf_datadir(void);
/* Where the user's own blueprints/ and catalogues/ lie:
 * $XDG_CONFIG_HOME/omnihub, else ~/.config/omnihub. The caller frees. */
char *conf_own_dir(void);
/* The token for Hugging Face: huggingface.token, HF_TOKEN,
 * HUGGING_FACE_HUB_TOKEN, the file HF_TOKEN_PATH or $HF_HOME/token; trimmed.
 * NULL: none. The caller frees. */
char *conf_hf_token(const struct conf *c);

/* Who we are at Kaggle: a token, or a user and a key, or nobody (all NULL). Of
 * ours kaggle.token, else kaggle.username and kaggle.key; then as its own
 * clients look: KAGGLE_API_TOKEN (a token or a file with one),
 * ~/.kaggle/access_token[.txt], KAGGLE_USERNAME and KAGGLE_KEY, kaggle.json in
 * $KAGGLE_CONFIG_DIR or ~/.kaggle. */
struct conf_kaggle {
	char *token, *user, *key;
};
void conf_kaggle_login(const struct conf *c, struct conf_kaggle *ret);
void conf_kaggle_done(struct conf_kaggle *k);

/* GITHUB_TOKEN, trimmed. NULL: none. The caller frees. */
char *conf_github_token(void);
/* Other tools that keep what they downloaded. */
enum conf_tool {
	CONF_TOOL_HUGGINGFACE_HUB,	/* HF_HUB_CACHE, $HF_HOME/hub, … */
	CONF_TOOL_TORCH_HUB,		/* $TORCH_HOME/hub, … */
	CONF_TOOL_KERAS,		/* $KERAS_HOME/models, ~/.keras/models */
	CONF_TOOL_TENSORFLOW_HUB,	/* TFHUB_CACHE_DIR, /tmp/tfhub_modules */
	CONF_TOOL_KAGGLEHUB,		/* $KAGGLEHUB_CACHE/models, … */
	CONF_TOOL_ONNX_HUB,		/* $ONNX_HOME/hub, … */
	CONF_TOOLS
};
/* Where the tool would keep it in this environment (hubs.md 1.13, 2.3, 3.3,
 * 3.6, 4.2, 5.2), there or not. The caller frees; NULL: out of memory. */
char *conf_tool_cache(enum conf_tool tool);

#endif
