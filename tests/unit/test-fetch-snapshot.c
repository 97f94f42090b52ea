/*
 * What a snapshot says beside its revision: that it is only what was at hand,
 * to everybody who asked together; and where the hub keeps it, which may be
 * forgotten and is asked for then.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "fetch/fetch.h"
#include "tests/unit/fetch-server.h"
#include "tests/unit/t.h"

#define LEN 100U
#define MANY 5000U	/* more than are kept in mind */

static void set(struct conf *c, const char *key, const char *value)
{
	t_int(conf_set(c, key, value, CONF_ARG, NULL), 0);
}

static struct fetch *engine(struct conf *c, const char *kind,
	struct fetch_hub **ret)
{
	struct fetch *f;

	t_int(fetch_new(c, &f, NULL), 0);
	t_int(fetch_hub_open(f, kind, c, ret, NULL), 0);
	conf_free(c);
	return f;
}

static bool refuse(const struct asked *a)
{
	server_say(a, "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
	return true;
}

/* ---- who asks together ---- */

static sem_t all_asked;

static bool late_manifest(const struct asked *a, void *arg)
{
	(void) arg;
	t_int(sem_wait(&all_asked), 0);
	return refuse(a);
}

struct answered {
	sem_t done;
	int err;
	struct error why;
	struct fetch_snapshot *snap;
};

static void on_snapshot(void *arg, int err, const struct error *why,
	struct fetch_snapshot *snap)
{
	struct answered *a = arg;

	a->err = err;
	if (err)
		a->why = *why;
	a->snap = snap;
	t_int(sem_post(&a->done), 0);
}

static void together(void)
{
	struct server *s = server_new(late_manifest, NULL);
	struct conf *c = conf_new();
	struct answered all[3];
	struct fetch_hub *h;
	struct fetch *f;

	t_int(sem_init(&all_asked, 0, 0), 0);
	set(c, "onnx.manifest", server_root(s));
	f = engine(c, "onnx", &h);
	for (size_t i = 0; i < 3; i++) {
		t_int(sem_init(&all[i].done, 0, 0), 0);
		fetch_resolve(h, FETCH_THE_REPO, NULL, on_snapshot, &all[i]);
	}
	t_int(sem_post(&all_asked), 0);
	for (size_t i = 0; i < 3; i++) {
		t_int(sem_wait(&all[i].done), 0);
		t_int(all[i].err, 0);
		t_check(all[i].snap->at_hand_ms);
		t_int(sem_destroy(&all[i].done), 0);
		fetch_snapshot_free(all[i].snap);
	}
	fetch_free(f);
	server_free(s);
	t_int(sem_destroy(&all_asked), 0);
}

/* ---- a manifest on this disk ---- */

#define MANIFEST "[{\"model_path\":\"v/a.onnx\",\"metadata\":{\"model_sha\":" \
	"\"2f06e72de813a8635c9bc0397ac447a601bdbfa7df4bebc278723b958831c9bf\"," \
	"\"model_bytes\":5}}]"

/* `text` is what lies at `path`; NULL: nothing does. */
static void expect(struct fetch_hub *h, const char *path, const char *text,
	int err, const char *words)
{
	struct answered a = { .snap = NULL };

	if (text)
		t_int(io_publish(AT_FDCWD, path, text, strlen(text), 0644),
			0);
	else
		t_int(unlink(path), 0);
	t_int(sem_init(&a.done, 0, 0), 0);
	fetch_resolve(h, FETCH_THE_REPO, NULL, on_snapshot, &a);
	t_int(sem_wait(&a.done), 0);
	t_int(sem_destroy(&a.done), 0);
	t_int(a.err, err);
	t_check(strstr(a.why.text, words));
	t_int(!a.snap, !!err);
	if (a.snap)
		t_int(a.snap->at_hand_ms, 0);
	fetch_snapshot_free(a.snap);
}

/* It has the last word, also when it is gone: the one before it is no more. */
static void on_disk(void)
{
	struct conf *c = conf_new();
	struct fetch_hub *h;
	struct fetch *f;
	char dir[] = "/tmp/omnihub-test-XXXXXX", path[64], url[80];

	t_check(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/manifest.json", dir);
	snprintf(url, sizeof(url), "file://%s", path);
	set(c, "onnx.manifest", url);
	set(c, "offline", "yes");
	f = engine(c, "onnx", &h);
	expect(h, path, MANIFEST, 0, "");
	expect(h, path, NULL, -ENOENT, "/manifest.json: HTTP 404: No such file");
	expect(h, path, "[", -EIO, "");
	expect(h, path, MANIFEST, 0, "");
	fetch_free(f);
	t_int(unlink(path), 0);
	t_int(rmdir(dir), 0);
}

/* ---- where it is kept ---- */

static struct server *tfhub, *kaggle;

static bool lead(const struct asked *a, void *arg)
{
	(void) arg;
	if (!strcmp(a->path, "/google/lite/2?tf-hub-format=uncompressed")) {
		server_say(a, "HTTP/1.1 303 X\r\nContent-Length: 8\r\n\r\n"
			"gs://b/p");
		return true;
	}
	if (strcmp(a->path, "/google/lite/1") != 0)
		return refuse(a);
	server_say(a, "HTTP/1.1 301 X\r\nContent-Length: 0\r\n"
		"Location: %s/models/google/lite/tfLite/x/7\r\n\r\n",
		server_root(kaggle));
	return true;
}

#define AT_KAGGLE "/api/v1/models/google/lite/tfLite/x/7/download"
#define BY_RPC "/api/v1/models.ModelApiService/DownloadModelInstanceVersion"

/* arg: by RPC alone. */
static bool give(const struct asked *a, void *arg)
{
	const bool *rpc = arg;

	if (*rpc && !strcmp(a->path, BY_RPC) &&
	    strstr(a->body, "\"versionNumber\":7")) {
		server_say(a, "HTTP/1.1 302 X\r\nContent-Length: 0\r\n"
			"Location: %s/signed\r\n\r\n", server_root(kaggle));
		return true;
	}
	if (*rpc && strstr(a->body, "\"versionNumber\":8")) {
		server_say(a, "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n");
		return true;
	}
	if (*rpc ? strcmp(a->path, "/signed") : strcmp(a->path, AT_KAGGLE) &&
			strcmp(a->path, AT_KAGGLE "/m"))
		return refuse(a);
	server_say(a, "HTTP/1.1 206 Part\r\nContent-Length: %llu\r\n"
		"Content-Range: bytes %llu-%llu/%u\r\n\r\n",
		(unsigned long long)(a->last - a->first + 1),
		(unsigned long long)a->first, (unsigned long long)a->last,
		LEN);
	server_pattern(a, a->first, a->last);
	return true;
}

static struct fetch *hub(const char *api, struct fetch_hub **ret)
{
	struct conf *c = conf_new();

	set(c, "tfhub.endpoint", server_root(tfhub));
	set(c, "kaggle.endpoint", server_root(kaggle));
	set(c, "tfhub.storage", server_root(tfhub));
	set(c, "kaggle.api", api);
	set(c, "fetch.retries", "0");
	return engine(c, "tensorflow", ret);
}

static void right(struct fetch_hub *h, const char *path)
{
	struct objid none = { .alg = OBJID_NONE };
	uint8_t got[50];
	struct src *s;

	t_int(fetch_src_new(h, "google/lite", "1", path, LEN, &none, &s), 0);
	t_int(src_read_wait(s, 50, got, sizeof(got)), 0);
	for (size_t i = 0; i < sizeof(got); i++)
		t_int(got[i], server_byte(50 + i));
	src_unref(s);
}

static bool known(struct fetch_hub *h, const char *repo)
{
	char *url = fetch_url(h, repo, "1", "m");
	bool is = url != NULL;

	free(url);
	return is;
}

static void recall(struct fetch_hub *h, char *repo, char *place)
{
	struct fetch_snapshot snap = { .repo = repo, .revision = (char []){
		"1" }, .place = place };

	fetch_recall(h, &snap);
	t_check(known(h, repo));
}

/* The places of handles nobody asks for any more do not stay. */
static void forgotten(void)
{
	static bool rpc;
	char repo[32], place[] = "google/lite/tfLite/x/7";
	struct fetch_hub *h;
	struct fetch *f;

	kaggle = server_new(give, &rpc);
	f = hub("rest", &h);
	recall(h, (char []){ "google/lite" }, place);
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(repo, sizeof(repo), "google/m%u", i);
		recall(h, repo, place);
		recall(h, repo, place);
	}
	t_check(!known(h, "google/lite"));
	right(h, FETCH_ARCHIVE_PATH);
	t_check(known(h, "google/lite"));
	right(h, "m");
	/* a format that what is no SavedModel has not */
	t_int(server_count(tfhub, "tf-hub-format"), 0);
	t_int(server_count(tfhub, "/google/lite/1"), 1);
	fetch_free(f);
	server_free(kaggle);
}

/* Where only RPC is to be used, also for what had to be found first; and where
 * it fails, an archive is not said to be missing. */
static void by_rpc(void)
{
	static bool rpc = true;
	struct fetch_snapshot two = { .repo = (char []){ "google/lite" },
		.revision = (char []){ "2" },
		.place = (char []){ "google/lite/tfLite/x/8" } };
	struct objid none = { .alg = OBJID_NONE };
	uint8_t got[50];
	struct src *s;
	struct fetch_hub *h;
	struct fetch *f;

	kaggle = server_new(give, &rpc);
	f = hub("rpc", &h);
	right(h, "m");
	t_int(server_count(kaggle, "/download"), 0);
	fetch_recall(h, &two);
	t_int(fetch_src_new(h, "google/lite", "2", FETCH_ARCHIVE_PATH, LEN,
		&none, &s), 0);
	t_int(src_read_wait(s, 50, got, sizeof(got)), -EIO);
	src_unref(s);
	fetch_free(f);
	server_free(kaggle);
}

int main(void)
{
	const char *src = getenv("SRCDIR");
	char path[4096];

	snprintf(path, sizeof(path), "%s/fetch", src ? src : ".");
	t_int(setenv("OMNIHUB_DATADIR", path, 1), 0);
	together();
	on_disk();
	tfhub = server_new(lead, NULL);
	by_rpc();
	server_free(tfhub);
	tfhub = server_new(lead, NULL);
	forgotten();
	server_free(tfhub);
	return 0;
}
