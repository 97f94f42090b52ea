/*
 * The Hugging Face adapter through the door: against a server that answers as
 * hubs.md says the hub does, and against the same paths on disk.
 */
#include "config.h"

#include "fetch/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "tests/unit/fetch-server.h"
#include "tests/unit/t.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define GIT "1111111111111111111111111111111111111111"
#define SHA "2222222222222222222222222222222222222222222222222222222222222222"

static struct server *hub;

/* ---- waiting for answers ---- */

struct answer {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool here;
	int err;
	struct error why;
	struct fetch_snapshot *snap;
	struct listing list;
};

static void answer_init(struct answer *a)
{
	*a = (struct answer){ .lock = PTHREAD_MUTEX_INITIALIZER,
		.cond = PTHREAD_COND_INITIALIZER };
}

static void tell(struct answer *a, int err, const struct error *why)
{
	pthread_mutex_lock(&a->lock);
	t_check(!a->here);
	a->here = true;
	a->err = err;
	if (err && why)
		a->why = *why;
	pthread_cond_signal(&a->cond);
	pthread_mutex_unlock(&a->lock);
}

static void on_snapshot(void *arg, int err, const struct error *why,
	struct fetch_snapshot *snap)
{
	struct answer *a = arg;

	t_check(!err == (snap != NULL));
	a->snap = snap;
	tell(a, err, why);
}

static void on_listing(void *arg, int err, const struct error *why,
	struct listing *l)
{
	struct answer *a = arg;

	t_check(!err == (l != NULL));
	if (l)
		a->list = *l;
	tell(a, err, why);
}

static int wait_for(struct answer *a)
{
	pthread_mutex_lock(&a->lock);
	while (!a->here)
		pthread_cond_wait(&a->cond, &a->lock);
	pthread_mutex_unlock(&a->lock);
	return a->err;
}

static void answer_done(struct answer *a)
{
	fetch_snapshot_free(a->snap);
	listing_done(&a->list);
}

static int resolve(struct fetch_hub *h, const char *repo, const char *rev,
	struct answer *a)
{
	answer_init(a);
	fetch_resolve(h, repo, rev, on_snapshot, a);
	return wait_for(a);
}

static int list(struct fetch_hub *h, const char *repo, struct answer *a)
{
	answer_init(a);
	fetch_list(h, repo, COMMIT, on_listing, a);
	return wait_for(a);
}

static int owner(struct fetch_hub *h, const char *name, struct answer *a)
{
	answer_init(a);
	fetch_list_owner(h, name, on_listing, a);
	return wait_for(a);
}

/* ---- the hub ---- */

static bool json(const struct asked *a, unsigned status, const char *more,
	const char *body)
{
	server_say(a, "HTTP/1.1 %u X\r\nContent-Type: application/json\r\n"
		"Content-Length: %zu\r\n%s\r\n%s", status, strlen(body), more,
		body);
	return true;
}

static bool is(const struct asked *a, const char *path)
{
	return !strcmp(a->path, path);
}

#define INFO(id) "{\"id\":\"" id "\",\"sha\":\"" COMMIT "\",\"lastModified\":" \
	"\"2026-08-14T14:44:41.000Z\",\"gated\":false,\"disabled\":false}"

static bool info(const struct asked *a)
{
	if (is(a, "/api/models/o/m/revision/main"))
		return json(a, 200, "", INFO("o/m"));
	if (is(a, "/api/models/o/m/revision/refs%2Fpr%2F1"))
		return json(a, 200, "", "{\"modelId\":\"o/m\",\"sha\":\""
			COMMIT "\",\"gated\":\"auto\",\"disabled\":true}");
	if (is(a, "/api/models/old/revision/main")) {
		server_say(a, "HTTP/1.1 307 Moved\r\nContent-Length: 0\r\n"
			"Location: /api/models/o/m/revision/main\r\n\r\n");
		return true;
	}
	if (is(a, "/api/models/o/slow/revision/main")) {
		usleep(300000);
		return json(a, 200, "", INFO("o/slow"));
	}
	if (is(a, "/api/models/o/evil/revision/main"))
		return json(a, 200, "", INFO("../evil"));
	if (is(a, "/api/models/o/nonsense/revision/main"))
		return json(a, 200, "", "{\"id\":");
	if (is(a, "/api/models/o/page/revision/main")) {
		server_say(a, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n"
			"Content-Type: text/html\r\n\r\n<p/>");
		return true;
	}
	if (is(a, "/api/models/o/gated/revision/main"))
		return json(a, 403, "X-Error-Code: GatedRepo\r\n",
			"{\"error\":\"Ask first.\"}");
	if (is(a, "/api/models/o/m/revision/none"))
		return json(a, 404, "X-Error-Code: RevisionNotFound\r\n",
			"{\"error\":\"Invalid rev id: none\"}");
	if (is(a, "/api/models/o/limited/revision/main"))
		return a->nth ? json(a, 200, "", INFO("o/limited")) :
			json(a, 429, "RateLimit: \"api\";r=0;t=1\r\n", "{}");
	if (!strcmp(a->auth, "Bearer wrong"))
		return json(a, 401, "", "{\"error\":\"Invalid credentials in "
			"Authorization header\"}");
	return json(a, 401, "", "{\"error\":"
		"\"Invalid username or password.\"}");
}

static bool endless(const struct asked *a)
{
	server_say(a, "HTTP/1.1 200 OK\r\n\r\n[");
	for (unsigned i = 0; i < 40000; i++) {
		char pad[1025];

		memset(pad, ' ', sizeof(pad) - 1);
		pad[sizeof(pad) - 1] = '\0';
		server_say(a, "%s", pad);
	}
	return false;
}

static bool tree(const struct asked *a)
{
	char more[4096];

	if (is(a, "/api/models/o/m/tree/" COMMIT "?recursive=true")) {
		snprintf(more, sizeof(more), "Link: <%s/api/models/o/m/tree/"
			COMMIT "?recursive=true&cursor=eyJ>; rel=\"next\"\r\n",
			server_root(hub));
		return json(a, 200, more, "["
			"{\"type\":\"directory\",\"path\":\"d\",\"size\":0,"
			"\"oid\":\"" GIT "\"},"
			"{\"type\":\"file\",\"path\":\"d/w.bin\",\"size\":134,"
			"\"oid\":\"" GIT "\",\"lfs\":{\"oid\":\"" SHA "\","
			"\"size\":5000000000,\"pointerSize\":134},"
			"\"xetHash\":\"" SHA "\"},"
			"{\"type\":\"symlink\",\"path\":\"s\",\"size\":1},"
			"{\"type\":\"file\",\"path\":\"../x\",\"size\":1},"
			"{\"type\":\"file\",\"path\":\"neg\",\"size\":-1},"
			"{\"type\":\"file\",\"path\":\"float\",\"size\":1.5},"
			"{\"type\":\"file\",\"path\":\"badid\",\"size\":1,"
			"\"oid\":\"12\"}, 7, null]");
	}
	if (is(a, "/api/models/o/m/tree/" COMMIT
			"?recursive=true&cursor=eyJ"))
		return json(a, 200, "", "[{\"type\":\"file\",\"path\":"
			"\"config.json\",\"size\":10,\"oid\":\"" GIT "\"}]");
	if (strstr(a->path, "/o/elsewhere/"))
		return json(a, 200, "Link: <http://127.0.0.2:9/x>; "
			"rel=\"next\"\r\n", "[]");
	if (strstr(a->path, "/o/circle/")) {
		snprintf(more, sizeof(more), "Link: <%s>; rel=\"next\"\r\n",
			a->path);
		return json(a, 200, more, "[]");
	}
	if (strstr(a->path, "/o/object/"))
		return json(a, 200, "", "{}");
	if (strstr(a->path, "/o/endless/"))
		return endless(a);
	return json(a, 404, "X-Error-Code: RepoNotFound\r\n", "{}");
}

static bool hub_serve(const struct asked *a, void *arg)
{
	(void) arg;
	if (strstr(a->path, "/tree/"))
		return tree(a);
	if (is(a, "/api/models?author=Org&limit=500"))
		return json(a, 200, "", "[{\"id\":\"org/b\"},{\"id\":\"org/a\"},"
			"{\"id\":\"organ/c\"},{\"id\":\"org/../d\"},"
			"{\"id\":\"bare\"},{\"id\":7}]");
	if (is(a, "/api/models?author=nobody&limit=500"))
		return json(a, 200, "", "[]");
	return info(a);
}

static struct fetch *engine(const char *root, const char *token,
	const char *more, struct fetch_hub **ret)
{
	struct conf *c = conf_new();
	struct fetch *f;

	t_int(conf_set(c, "huggingface.endpoint", root, CONF_ARG, NULL), 0);
	t_int(conf_set(c, "huggingface.token", token, CONF_ARG, NULL), 0);
	t_int(conf_set(c, "fetch.retries", "1", CONF_ARG, NULL), 0);
	if (more)
		t_int(conf_set_arg(c, more, NULL), 0);
	t_int(fetch_new(c, &f, NULL), 0);
	t_int(fetch_hub_open(f, "huggingface", c, ret, NULL), 0);
	conf_free(c);
	return f;
}

/* ---- the tests ---- */

static void names(struct fetch_hub *h)
{
	static const char *const good[] = {
		"gpt2", "o/m", "a_b/c.d-e", "A/1", "x/y",
	};
	static const char *const bad[] = {
		"", "/", "o/", "/m", "o/m/x", "..", "o/..", ".git", "o/x.git",
		"-a", "a-", ".a", "a.", "a--b", "a..b", "o/m\n", "o/ü",
		"o/m?x", "o/m%2e", "o/m#",
		("o/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
	};
	unsigned before = server_count(hub, "");
	struct answer a;
	char *url;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		t_int(fetch_repo_check(h, good[i]), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		t_int(fetch_repo_check(h, bad[i]), -ENOENT);
		t_int(resolve(h, bad[i], NULL, &a), -ENOENT);
	}
	t_int(owner(h, "a/b", &a), -ENOENT);
	t_int(server_count(hub, ""), before);	/* nobody was asked */
	url = fetch_url(h, "o/m", COMMIT, "a b/ü#?.bin");
	t_check(url && !strncmp(url, server_root(hub),
		strlen(server_root(hub))));
	t_str(url + strlen(server_root(hub)), "/o/m/resolve/" COMMIT
		"/a%20b/%C3%BC%23%3F.bin");
	free(url);
	t_check(!fetch_url(h, "../m", COMMIT, "x"));
}

static void resolves(struct fetch_hub *h)
{
	struct answer a;
	struct asked q;

	t_int(resolve(h, "o/m", NULL, &a), 0);
	t_str(a.snap->repo, "o/m");
	t_str(a.snap->revision, COMMIT);
	t_int(a.snap->mtime, 1786718681);
	t_check(!a.snap->gated && !a.snap->disabled);
	answer_done(&a);
	t_int(resolve(h, "o/m", "refs/pr/1", &a), 0);
	t_check(a.snap->gated && a.snap->disabled);
	answer_done(&a);
	t_int(resolve(h, "old", "main", &a), 0);
	t_str(a.snap->repo, "o/m");
	answer_done(&a);
	t_check(server_log(hub, "/old/", 0, &q));
	t_str(q.auth, "Bearer right");
}

static void refuses(struct fetch_hub *h)
{
	struct answer a;

	t_int(resolve(h, "no/such", NULL, &a), -ENOENT);
	t_check(strstr(a.why.text, "Invalid username"));
	t_int(resolve(h, "o/m", "none", &a), -ENOENT);
	t_check(strstr(a.why.text, "Invalid rev id: none"));
	t_int(resolve(h, "o/gated", NULL, &a), -EACCES);
	t_check(strstr(a.why.text, "Ask first."));
	t_int(resolve(h, "o/evil", NULL, &a), -EIO);
	t_int(resolve(h, "o/nonsense", NULL, &a), -EIO);
	t_int(resolve(h, "o/page", NULL, &a), -EIO);
	t_check(strstr(a.why.text, "HTML"));
	t_int(server_count(hub, "/o/page/"), 2);
}

static void wrong_token(void)
{
	struct fetch_hub *h;
	struct fetch *f = engine(server_root(hub), "wrong", NULL, &h);
	struct answer a;

	t_int(resolve(h, "no/such", NULL, &a), -EACCES);
	t_check(strstr(a.why.text, "Invalid credentials"));
	fetch_free(f);
}

static void lists(struct fetch_hub *h)
{
	const struct listing_entry *e;
	struct answer a;
	char hex[OBJID_HEX_MAX];

	t_int(list(h, "o/m", &a), 0);
	t_int(a.list.n, 2);
	t_int(a.list.refused, 4);	/* ../x neg float badid */
	e = listing_find(&a.list, "d/w.bin");
	t_check(e && e->size == 5000000000ull);
	objid_hex(&e->id, hex);
	t_str(hex, SHA);
	t_int(e->id.alg, OBJID_SHA256);
	e = listing_find(&a.list, "config.json");
	t_check(e && e->size == 10 && e->id.alg == OBJID_GITSHA1);
	answer_done(&a);
	t_int(list(h, "no/such", &a), -ENOENT);
	answer_init(&a);
	fetch_list(h, "o/m", "main", on_listing, &a);
	t_int(wait_for(&a), -EINVAL);
	t_int(list(h, "o/elsewhere", &a), -EIO);
	t_check(strstr(a.why.text, "another host"));
	t_int(list(h, "o/circle", &a), -EIO);
	t_int(server_count(hub, "/o/circle/"), 1);
	t_int(list(h, "o/object", &a), -EIO);
	t_int(list(h, "o/endless", &a), -EFBIG);
	t_int(server_count(hub, "/o/endless/"), 1);

	t_int(owner(h, "Org", &a), 0);
	t_int(a.list.n, 2);
	t_str(a.list.v[0].path, "org/a");
	t_int(a.list.v[0].kind, LISTING_DIR);
	t_str(a.list.v[1].path, "org/b");
	answer_done(&a);
	t_int(owner(h, "nobody", &a), 0);
	t_int(a.list.n, 0);
	answer_done(&a);
}

static void one_request_for_all(struct fetch_hub *h)
{
	struct answer a[20];

	for (int i = 0; i < 20; i++) {
		answer_init(&a[i]);
		fetch_resolve(h, "o/slow", "", on_snapshot, &a[i]);
	}
	for (int i = 0; i < 20; i++) {
		t_int(wait_for(&a[i]), 0);
		t_str(a[i].snap->repo, "o/slow");
		for (int k = 0; k < i; k++)
			t_check(a[i].snap != a[k].snap);
	}
	for (int i = 0; i < 20; i++)
		answer_done(&a[i]);
	t_int(server_count(hub, "/o/slow/"), 1);
	t_int(resolve(h, "o/slow", "", &a[0]), 0);	/* nothing is kept */
	answer_done(&a[0]);
	t_int(server_count(hub, "/o/slow/"), 2);
}

/* Told to wait a second, nothing more is asked in it, by nobody. */
static void rate_limits_are_heeded(struct fetch *f, struct fetch_hub *h)
{
	unsigned before = server_count(hub, "/o/m/revision/main");
	struct asked refused, next;
	uint64_t from = clock_ms();
	struct fetch_stats st;
	struct answer a, b;

	answer_init(&a);
	fetch_resolve(h, "o/limited", "", on_snapshot, &a);
	while (!server_count(hub, "/o/limited/"))
		usleep(1000);
	do {	/* until the refusal is understood */
		usleep(1000);
		fetch_stats(f, &st);
	} while (st.active);
	answer_init(&b);
	fetch_resolve(h, "o/m", "", on_snapshot, &b);
	t_int(wait_for(&b), 0);
	answer_done(&b);
	t_int(wait_for(&a), 0);
	answer_done(&a);
	t_int(server_count(hub, "/o/limited/"), 2);
	t_check(server_log(hub, "/o/limited/", 0, &refused));
	t_check(server_log(hub, "/o/limited/", 1, &next));
	t_check(next.at - refused.at >= 1000);
	t_check(server_log(hub, "/o/m/revision/main", before, &next));
	t_check(next.at - refused.at >= 1000);
	t_check(clock_ms() - from < 5000);
}

static void snapshots_as_json(void)
{
	static const char *const bad[] = { "", "{}", "[]", "{\"repo\":\"a\"}",
		"{\"repo\":\"a\",\"revision\":\"b\",\"mtime\":\"x\"}" };
	struct fetch_snapshot s = { .repo = (char []){ "o/\"m" },
		.revision = (char []){ COMMIT }, .mtime = -5, .gated = true,
		.place = (char []){ "o/m/f/v/1" } };
	struct fetch_snapshot *got = NULL;
	char *text = fetch_snapshot_to_json(&s);

	t_int(fetch_snapshot_from_json(text, strlen(text), &got), 0);
	t_str(got->repo, s.repo);
	t_str(got->revision, s.revision);
	t_str(got->place, s.place);
	t_check(got->mtime == -5 && got->gated && !got->disabled);
	fetch_snapshot_free(got);
	free(text);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		t_check(fetch_snapshot_from_json(bad[i], strlen(bad[i]),
			&got) < 0);
}

static void endpoints_are_checked(struct fetch *f)
{
	struct conf *c = conf_new();
	struct error why = { 0 };
	struct fetch_hub *h;

	t_int(fetch_hub_open(f, "nohub", c, &h, &why), -ENOENT);
	if (!conf_set(c, "huggingface.endpoint", "ftp://x", CONF_ARG, NULL))
		t_int(fetch_hub_open(f, "huggingface", c, &h, &why), -EINVAL);
	conf_free(c);
}

/* ---- a mirror on disk ---- */

static void put(const char *root, const char *path, const char *text)
{
	char full[1024], *slash;

	snprintf(full, sizeof(full), "%s/%s", root, path);
	slash = strrchr(full, '/');
	*slash = '\0';
	t_int(io_mkdirs(AT_FDCWD, full), 0);
	*slash = '/';
	t_int(io_publish(AT_FDCWD, full, text, strlen(text), 0644), 0);
}

static void mirror_files(struct fetch_hub *h)
{
	struct objid id = { .alg = OBJID_NONE };
	struct src_stat st;
	struct src *s;
	char b[16] = "";

	t_int(fetch_src_new(h, "o/m", COMMIT, "d/a b", 11, &id, &s), 0);
	t_int(src_read_wait(s, 6, b, 5), 0);
	t_str(b, "world");
	t_int(src_read_wait(s, 0, b, 11), 0);
	t_str(b, "hello world");
	src_unref(s);
	/* another size than the listing's */
	t_int(fetch_src_new(h, "o/m", COMMIT, "d/a b", 12, &id, &s), 0);
	t_int(src_read_wait(s, 0, b, 12), -EIO);
	src_stat(s, &st);
	t_check(strstr(st.last.text, "11") && strstr(st.last.text, "12"));
	src_unref(s);
	t_int(fetch_src_new(h, "o/m", COMMIT, "gone", 12, &id, &s), 0);
	t_int(src_read_wait(s, 0, b, 12), -ENOENT);
	src_unref(s);
	t_int(fetch_src_new(h, "o/m", COMMIT, "../x", 1, &id, &s), -EINVAL);
	t_int(fetch_src_new(h, "o/m", COMMIT, "/x", 1, &id, &s), -EINVAL);
	t_int(fetch_src_new(h, "o/m", "", "x", 1, &id, &s), -EINVAL);
	t_int(fetch_src_new(h, "o/m", "main", "x", 1, &id, &s), -EINVAL);
}

static void on_disk(const char *more)
{
	char dir[] = "/tmp/omnihub-test-XXXXXX", root[64];
	struct fetch_hub *h;
	struct fetch *f;
	struct answer a;

	t_check(mkdtemp(dir));
	put(dir, "api/models/o/m/revision/main", INFO("o/m"));
	put(dir, "api/models/o/m/revision/refs/pr/1", INFO("o/m"));
	put(dir, "api/models/o/m/tree/" COMMIT "/index.json",
		"[{\"type\":\"file\",\"path\":\"d/a b\",\"size\":11}]");
	put(dir, "api/models/index.json", "[{\"id\":\"o/m\"},{\"id\":\"p/q\"}]");
	put(dir, "o/m/resolve/" COMMIT "/d/a b", "hello world");
	snprintf(root, sizeof(root), "file://%s", dir);
	f = engine(root, "right", more, &h);
	t_int(resolve(h, "o/m", "", &a), 0);
	t_str(a.snap->revision, COMMIT);
	answer_done(&a);
	t_int(resolve(h, "o/m", "refs/pr/1", &a), 0);
	answer_done(&a);
	t_int(resolve(h, "o/none", "", &a), -ENOENT);
	t_int(resolve(h, "o/m", "../../../../o/m/resolve", &a), -ENOENT);
	t_int(list(h, "o/m", &a), 0);
	t_int(a.list.n, 1);
	answer_done(&a);
	t_int(owner(h, "o", &a), 0);
	t_int(a.list.n, 1);
	t_str(a.list.v[0].path, "o/m");
	answer_done(&a);
	mirror_files(h);
	fetch_free(f);
	t_int(io_remove_tree(AT_FDCWD, dir), 0);
}

static void going_down_answers(void)
{
	struct fetch_hub *h;
	struct fetch *f = engine(server_root(hub), "right", NULL, &h);
	struct answer a[3];

	for (int i = 0; i < 3; i++) {
		answer_init(&a[i]);
		fetch_resolve(h, i ? "o/slow" : "no/such", i > 1 ? "x" : "",
			on_snapshot, &a[i]);
	}
	fetch_free(f);
	for (int i = 0; i < 3; i++) {
		t_check(a[i].here);
		answer_done(&a[i]);
	}
	t_int(a[1].err, -ECANCELED);
}

int main(void)
{
	struct fetch_hub *h;
	struct fetch *f;
	struct answer a;

	unsetenv("http_proxy");
	unsetenv("all_proxy");
	hub = server_new(hub_serve, NULL);
	f = engine(server_root(hub), "right", NULL, &h);
	t_str(fetch_hub_name(h), "huggingface");
	names(h);
	resolves(h);
	refuses(h);
	wrong_token();
	lists(h);
	one_request_for_all(h);
	rate_limits_are_heeded(f, h);
	endpoints_are_checked(f);
	fetch_free(f);
	snapshots_as_json();
	on_disk(NULL);
	on_disk("offline=1");
	f = engine(server_root(hub), "right", "offline=1", &h);
	t_int(resolve(h, "o/m", NULL, &a), -EHOSTUNREACH);
	fetch_free(f);
	going_down_answers();
	server_free(hub);
	return 0;
}
