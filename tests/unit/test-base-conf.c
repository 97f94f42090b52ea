/* Who wins, what is refused, where things lie. */
#include "config.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/conf.h"
#include "tests/unit/t.h"

static char dir[] = "/tmp/test-base-conf-XXXXXX";
static char path[64];

static void write_file(const char *text)
{
	FILE *f = fopen(path, "w");

	t_check(f);
	t_check(fputs(text, f) >= 0);
	t_int(fclose(f), 0);
}

static void fresh_env(void)
{
	t_int(clearenv(), 0);
	t_int(setenv("HOME", dir, 1), 0);
}

static struct conf *fresh(void)
{
	struct conf *c = conf_new();

	t_check(c);
	return c;
}

static void is(const struct conf *c, const char *key, const char *want,
	enum conf_origin from)
{
	t_str(conf_get(c, key), want);
	t_int(conf_where(c, key), from);
}

static void defaults(void)
{
	struct conf *c = fresh();
	struct error why;

	t_int(conf_load(c, NULL, &why), 0);
	is(c, "huggingface.endpoint", "https://huggingface.co", CONF_DEFAULT);
	t_check(!conf_get(c, "huggingface.token"));
	t_check(!conf_get(c, "cache.size"));
	t_int(conf_u64(c, "cache.size"), 0);
	t_int(conf_u64(c, "fetch.chunk"), 128 * 1024);
	t_int(conf_u64(c, "fetch.connections"), 4);
	t_int(conf_u64(c, "fetch.retries"), 5);
	t_int(conf_u64(c, "fetch.timeout"), 30);
	t_int(conf_u64(c, "fetch.rate"), 0);
	t_str(conf_get(c, "fetch.http"), "1.1");
	t_int(conf_u64(c, "stage.opset"), 13);
	t_check(!conf_flag(c, "offline") && !conf_flag(c, "demo"));
	is(c, "cache.verify", "complete", CONF_DEFAULT);
	is(c, "alias.bert-base", "google-bert/bert-base-uncased",
		CONF_DEFAULT);
	t_check(!conf_get(c, "alias.nobody"));
	conf_free(c);
	conf_free(NULL);
}

static void precedence(void)
{
	struct conf *c;
	struct error why;

	setenv("HF_ENDPOINT", "http://eco", 1);
	c = fresh();
	is(c, "huggingface.endpoint", "http://eco", CONF_ECOSYSTEM);
	write_file("huggingface.endpoint = http://file\n"
		"alias.bert-base = file/bert\n");
	t_int(conf_load(c, path, &why), 0);
	is(c, "huggingface.endpoint", "http://file", CONF_FILE);
	is(c, "alias.bert-base", "file/bert", CONF_FILE);
	t_int(conf_set_arg(c, "huggingface.endpoint=http://arg//", &why), 0);
	is(c, "huggingface.endpoint", "http://arg", CONF_ARG);
	/* Later, but weaker. */
	t_int(conf_load(c, path, &why), 0);
	is(c, "huggingface.endpoint", "http://arg", CONF_ARG);
	/* As strong, and later. */
	t_int(conf_set_arg(c, "huggingface.endpoint=http://arg2", &why), 0);
	is(c, "huggingface.endpoint", "http://arg2", CONF_ARG);
	conf_free(c);
	setenv("OMNIHUB_HUGGINGFACE_ENDPOINT", "http://env", 1);
	setenv("OMNIHUB_ALIAS_BERT_BASE", "env/bert", 1);
	setenv("OMNIHUB_ALIAS_", "x/y", 1);
	c = fresh();
	t_int(conf_load(c, path, &why), 0);
	is(c, "huggingface.endpoint", "http://env", CONF_ENV);
	is(c, "alias.bert-base", "env/bert", CONF_ENV);
	conf_free(c);
	fresh_env();
}

static void flags(void)
{
	struct conf *c;
	struct error why;

	setenv("HF_HUB_OFFLINE", "1", 1);
	c = fresh();
	t_check(conf_flag(c, "offline"));
	t_int(conf_set_arg(c, "offline=no", &why), 0);
	t_check(!conf_flag(c, "offline"));
	t_int(conf_set_arg(c, "offline=YES", &why), 0);
	t_check(conf_flag(c, "offline"));
	t_int(conf_set_arg(c, "offline=perhaps", &why), -EINVAL);
	conf_free(c);
	setenv("HF_HUB_OFFLINE", "whatever", 1);
	c = fresh();
	t_check(!conf_flag(c, "offline"));
	t_int(conf_load(c, NULL, &why), 0);
	conf_free(c);
	setenv("OMNIHUB_OFFLINE", "1", 1);
	c = fresh();
	t_check(conf_flag(c, "offline"));
	conf_free(c);
	fresh_env();
}

static void refusals(void)
{
	static const char *const bad[] = {
		"nothing", "=x", "no.such=1", "alias.=a/b", "alias.x=a/b/c",
		"alias.x=../b", "alias.a/b=c/d", "huggingface.endpoint=",
		"huggingface.endpoint=huggingface.co",
		"huggingface.endpoint=ftp://x", "huggingface.endpoint=http://",
		"huggingface.endpoint=http://x y",
		"huggingface.endpoint=http://x?y", "onnx.endpoint=file://x",
		"huggingface.token=a b", "huggingface.token=a\r\nX: y",
		"huggingface.token=", "cache.dir=", "cache.size=lots",
		"cache.size=-1", "cache.size=20X", "cache.size=99999E",
		"fetch.connections=0", "fetch.connections=65",
		"fetch.connections=4K", "fetch.http=3", "fetch.chunk=1",
		"fetch.timeout=0",
		"stage.opset=14", "stage.opset=", "cache.verify=never",
		"demo=maybe",
	};
	struct conf *c = fresh();

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct error why = { 0 };

		if (conf_set_arg(c, bad[i], &why) != -EINVAL) {
			fprintf(stderr, "taken: %s\n", bad[i]);
			exit(1);
		}
		t_check(why.code == -EINVAL && why.text[0]);
		t_check(!strchr(why.text, '\n'));
	}
	is(c, "huggingface.endpoint", "https://huggingface.co", CONF_DEFAULT);
	conf_free(c);
}

static void bad_environment(void)
{
	struct error why;
	struct conf *c;

	setenv("OMNIHUB_FETCH_RETRIES", "many", 1);
	setenv("HF_ENDPOINT", "hf-mirror.example", 1);
	c = fresh();
	is(c, "fetch.retries", "5", CONF_DEFAULT);
	write_file("");
	t_int(conf_load(c, path, &why), -EINVAL);
	t_check(strstr(why.text, "HF_ENDPOINT"));
	conf_free(c);
	setenv("HF_ENDPOINT", "", 1);
	c = fresh();
	t_int(conf_load(c, NULL, &why), -EINVAL);
	t_check(strstr(why.text, "OMNIHUB_FETCH_RETRIES"));
	conf_free(c);
	fresh_env();
}

static void file_is_bad(const char *text, const char *where)
{
	struct conf *c = fresh();
	struct error why;

	write_file(text);
	t_int(conf_load(c, path, &why), -EINVAL);
	if (!strstr(why.text, where)) {
		fprintf(stderr, "no \"%s\" in: %s\n", where, why.text);
		exit(1);
	}
	conf_free(c);
}

static void files(void)
{
	struct conf *c = fresh();
	struct error why;

	write_file("# a comment\n\n  fetch.rate=1M  # ours\r\n"
		"cache.dir = \"/a b#c\" # quoted\n"
		"alias.x = 'x # y'\n\tkaggle.username =  joe#1");
	t_int(conf_load(c, path, &why), 0);
	t_int(conf_u64(c, "fetch.rate"), 1 << 20);
	t_str(conf_get(c, "cache.dir"), "/a b#c");
	t_str(conf_get(c, "alias.x"), "x # y");
	t_str(conf_get(c, "kaggle.username"), "joe#1");
	t_int(conf_load(c, "/no/such/file", &why), -ENOENT);
	t_int(conf_load(c, dir, &why), -EISDIR);
	conf_free(c);
	file_is_bad("\n\nfetch.rate", ":3: ");
	file_is_bad("x = y\n", "config:1: unknown key \"x\"");
	file_is_bad("cache.dir = \"x", "quotes");
	file_is_bad("cache.dir = \"x\" y", "quotes");
	file_is_bad("cache.size = big", "512M");
	/* The default place. */
	t_int(setenv("XDG_CONFIG_HOME", dir, 1), 0);
	write_file("fetch.retries = 9");
	c = fresh();
	t_int(conf_load(c, NULL, &why), 0);
	t_int(conf_u64(c, "fetch.retries"), 9);
	conf_free(c);
	fresh_env();
}

static void sizes(void)
{
	uint64_t v = 3;

	t_int(conf_parse_size("1000", &v), 0);
	t_int(v, 1000);
	t_int(conf_parse_size("20G", &v), 0);
	t_int(v, 20LL << 30);
	t_int(conf_parse_size("512MiB", &v), 0);
	t_int(v, 512 << 20);
	t_int(conf_parse_size("2kb", &v), 0);
	t_int(v, 2048);
	t_int(conf_parse_size("15E", &v), 0);
	t_check(v == 15ULL << 60);
	t_int(conf_parse_size("16E", &v), -EINVAL);
	t_int(conf_parse_size("18446744073709551616", &v), -EINVAL);
	t_int(conf_parse_size("", &v), -EINVAL);
	t_int(conf_parse_size("G", &v), -EINVAL);
	t_int(conf_parse_size("+1", &v), -EINVAL);
	t_int(conf_parse_size("1 G", &v), -EINVAL);
	t_int(conf_parse_size("1.5G", &v), -EINVAL);
	t_check(v == 15ULL << 60);
}

static void demo(void)
{
	struct conf *c;
	struct error why;

	setenv("OMNIHUB_DATADIR", "/opt/omni hub%", 1);
	setenv("HF_ENDPOINT", "http://mirror", 1);
	c = fresh();
	is(c, "huggingface.endpoint", "http://mirror", CONF_ECOSYSTEM);
	t_int(conf_set_arg(c, "demo=1", &why), 0);
	is(c, "huggingface.endpoint",
		"file:///opt/omni%20hub%25/demo/huggingface", CONF_ARG);
	is(c, "kaggle.endpoint", "file:///opt/omni%20hub%25/demo/kaggle",
		CONF_ARG);
	t_int(conf_set_arg(c, "huggingface.endpoint=http://me", &why), 0);
	is(c, "huggingface.endpoint", "http://me", CONF_ARG);
	conf_free(c);
	fresh_env();
}

static void place(char *got, const char *want)
{
	char full[128];

	(void) snprintf(full, sizeof(full), "%s%s", *want == '/' ? "" : dir,
		want + (*want == '~'));
	t_str(got, full);
	free(got);
}

#define HF CONF_TOOL_HUGGINGFACE_HUB

static void tools(void)
{
	static const struct {
		enum conf_tool tool;
		const char *plain, *xdg, *variable, *set;
	} v[] = {
		{ CONF_TOOL_TORCH_HUB, "~/.cache/torch/hub", "/xdg/torch/hub",
			"TORCH_HOME", "~/t/hub" },
		{ CONF_TOOL_KERAS, "~/.keras/models", "~/.keras/models",
			"KERAS_HOME", "~/t/models" },
		{ CONF_TOOL_TENSORFLOW_HUB, "/tmp/tfhub_modules",
			"/tmp/tfhub_modules", "TFHUB_CACHE_DIR", "~/t" },
		{ CONF_TOOL_KAGGLEHUB, "~/.cache/kagglehub/models",
			"~/.cache/kagglehub/models", "KAGGLEHUB_CACHE",
			"~/t/models" },
		{ CONF_TOOL_ONNX_HUB, "~/.cache/onnx/hub", "/xdg/onnx/hub",
			"ONNX_HOME", "~/t/hub" },
	};

	unsetenv("TMPDIR");
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		place(conf_tool_cache(v[i].tool), v[i].plain);
		setenv("XDG_CACHE_HOME", "/xdg", 1);
		place(conf_tool_cache(v[i].tool), v[i].xdg);
		setenv(v[i].variable, "~/t", 1);
		place(conf_tool_cache(v[i].tool), v[i].set);
		unsetenv("XDG_CACHE_HOME");
		unsetenv(v[i].variable);
	}
	setenv("TMPDIR", "/elsewhere", 1);
	place(conf_tool_cache(CONF_TOOL_TENSORFLOW_HUB),
		"/elsewhere/tfhub_modules");
	unsetenv("TMPDIR");
}

static void places(void)
{
	struct conf *c = fresh();
	char cwd[4096];

	t_int(chdir("/"), 0);
	place(conf_mountpoint(), "~/.modelhub");
	place(conf_cache_dir(c), "~/.cache/omnihub");
	place(conf_tool_cache(HF), "~/.cache/huggingface/hub");
	t_str(conf_datadir(), OH_PKGDATADIR);
	setenv("OMNIHUB_HOME", "rel", 1);
	setenv("XDG_CACHE_HOME", "/xdg", 1);
	place(conf_mountpoint(), "/rel");
	place(conf_cache_dir(c), "/xdg/omnihub");
	place(conf_tool_cache(HF), "/xdg/huggingface/hub");
	setenv("MODELHUB_PATH", "~/hub", 1);
	setenv("HF_HOME", "/hf", 1);
	place(conf_mountpoint(), "~/hub");
	place(conf_tool_cache(HF), "/hf/hub");
	setenv("HF_HUB_CACHE", "~/c", 1);
	place(conf_tool_cache(HF), "~/c");
	conf_free(c);
	setenv("OMNIHUB_CACHE", "~/own", 1);
	c = fresh();
	place(conf_cache_dir(c), "~/own");
	conf_free(c);
	setenv("OMNIHUB_CACHE_DIR", "/dir", 1);
	c = fresh();
	place(conf_cache_dir(c), "/dir");
	conf_free(c);
	t_check(getcwd(cwd, sizeof(cwd)));
	fresh_env();
}

static void token_is(const struct conf *c, const char *want)
{
	char *got = conf_hf_token(c);

	if (want)
		t_str(got, want);
	else
		t_check(!got);
	free(got);
}

static void tokens(void)
{
	struct conf *c = fresh();

	token_is(c, NULL);
	setenv("HF_TOKEN_PATH", path, 1);
	write_file("\n hf_file \n");
	token_is(c, "hf_file");
	write_file("two words\n");
	token_is(c, NULL);
	write_file("");
	token_is(c, NULL);
	conf_free(c);
	write_file("hf_file");
	setenv("HUGGING_FACE_HUB_TOKEN", "hf_old", 1);
	c = fresh();
	token_is(c, "hf_old");
	conf_free(c);
	setenv("HF_TOKEN", "hf_new\n", 1);
	c = fresh();
	token_is(c, "hf_new");
	t_int(conf_set(c, "huggingface.token", "hf_key", CONF_FILE, NULL), 0);
	token_is(c, "hf_key");
	conf_free(c);
	fresh_env();
}

static int shown(void *arg, const char *key, const char *text,
	enum conf_origin from)
{
	char *last = arg;

	(void) from;
	t_check(!strstr(text, "secret"));
	if (!strcmp(key, "huggingface.token"))
		t_str(text, "***");
	if (!strncmp(last, "alias.", 6))
		t_check(strcmp(last, key) < 0);
	(void) snprintf(last, 64, "%s", key);
	return 0;
}

static void secrets(void)
{
	struct conf *c = fresh();
	char last[64] = "";

	t_int(conf_set(c, "huggingface.token", "secret", CONF_ARG, NULL), 0);
	t_int(conf_set(c, "kaggle.key", "secret", CONF_ARG, NULL), 0);
	t_int(conf_each(c, shown, last), 0);
	t_check(!strncmp(last, "alias.", 6));
	conf_free(c);
}

static void unknown_keys_abort(void)
{
	struct conf *c = fresh();
	pid_t child = fork();
	int status;

	t_check(child >= 0);
	if (!child) {
		(void) freopen("/dev/null", "w", stderr);
		(void) conf_get(c, "no.such");
		_exit(0);
	}
	t_int(waitpid(child, &status, 0), child);
	t_check(!WIFEXITED(status) || WEXITSTATUS(status));
	conf_free(c);
}

int main(void)
{
	t_check(mkdtemp(dir));
	/* "omnihub/config", so that the default place can be shown too. */
	(void) snprintf(path, sizeof(path), "%s/omnihub", dir);
	fresh_env();
	defaults();
	t_int(system("mkdir \"$HOME/omnihub\""), 0);
	(void) snprintf(path, sizeof(path), "%s/omnihub/config", dir);
	precedence();
	flags();
	refusals();
	bad_environment();
	files();
	sizes();
	demo();
	places();
	tools();
	tokens();
	secrets();
	unknown_keys_abort();
	t_int(unlink(path), 0);
	(void) snprintf(path, sizeof(path), "%s/omnihub", dir);
	t_int(rmdir(path), 0);
	t_int(rmdir(dir), 0);
	return 0;
}
