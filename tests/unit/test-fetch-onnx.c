/*
 * The ONNX zoo: what its manifest and an LFS server's answer are read as, and
 * in which order the places of a file are asked.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/io.h"
#include "fetch/fetch.h"
#include "fetch/lfs-json.h"
#include "fetch/onnx-json.h"
#include "tests/unit/fetch-server.h"
#include "tests/unit/t.h"

#define SHA "2f06e72de813a8635c9bc0397ac447a601bdbfa7df4bebc278723b958831c9bf"
#define OTHER "00000000000000000000000000000000000000000000000000000000000000aa"
#define SIZE 100000

/* ---- the manifest ---- */

#define MODEL(path, sha, bytes) "{\"model\":\"m\",\"model_path\":" path \
	",\"metadata\":{\"model_sha\":" sha ",\"model_bytes\":" bytes \
	",\"model_with_data_path\":\"d.tar.gz\",\"model_with_data_sha\":\"" \
	SHA "\",\"model_with_data_bytes\":7}}"
#define GOOD MODEL("\"v/a.onnx\"", "\"" SHA "\"", "5")

static const struct {
	const char *text;
	int err;
	size_t files, refused;
} manifests[] = {
	{ "[" GOOD "]", 0, 2, 0 },
	{ " \n[ " GOOD " , " GOOD " ]\n", 0, 2, 2 },
	{ "[" GOOD "," MODEL("\"../a\"", "\"" SHA "\"", "5") "]", 0, 2, 1 },
	{ "[" GOOD "," MODEL("\"/a\"", "\"" SHA "\"", "5") "]", 0, 2, 1 },
	{ "[" GOOD "," MODEL("7", "\"" SHA "\"", "5") "]", 0, 2, 1 },
	{ "[" GOOD "," MODEL("\"b\"", "\"12\"", "5") "]", 0, 2, 1 },
	{ "[" GOOD "," MODEL("\"b\"", "null", "5") "]", 0, 2, 1 },
	{ "[" GOOD "," MODEL("\"b\"", "\"" SHA "\"", "-1") "]", 0, 2, 1 },
	{ "[" GOOD "," MODEL("\"b\"", "\"" SHA "\"", "0") "]", 0, 2, 1 },
	{ "[" GOOD "," MODEL("\"b\"", "\"" SHA "\"", "1.5") "]", 0, 2, 1 },
	{ "[" GOOD ",7,null,[],{}]", 0, 2, 4 },
	{ "[" GOOD "," MODEL("\"b\"", "\"" SHA "\"", "9223372036854775808")
		"]", -EIO, 0, 0 },
	{ "[{}]", -EIO, 0, 0 },
	{ "[]", -EIO, 0, 0 },
	{ "", -EIO, 0, 0 },
	{ "{}", -EIO, 0, 0 },
	{ "[" GOOD, -EIO, 0, 0 },
	{ "[" GOOD ",", -EIO, 0, 0 },
	{ "[" GOOD ",]", -EIO, 0, 0 },
	{ "[" GOOD "] x", -EIO, 0, 0 },
	{ "[" GOOD GOOD "]", -EIO, 0, 0 },
};

static void test_manifest(void)
{
	struct listing none = { 0 };

	for (size_t i = 0; i < sizeof(manifests) / sizeof(*manifests); i++) {
		struct listing l = { 0 };
		struct error why = { 0 };
		int r = fetch_onnx_manifest(manifests[i].text,
			strlen(manifests[i].text), &l, &why);

		if (r != manifests[i].err)
			fprintf(stderr, "manifest %zu: %s\n", i, why.text);
		t_int(r, manifests[i].err);
		if (!r) {
			t_int(l.n, manifests[i].files);
			t_int(l.refused, manifests[i].refused);
			t_check(listing_find(&l, "v/a.onnx"));
		} else {
			t_check(*why.text);
		}
		listing_done(&l);
	}
	t_int(fetch_onnx_manifest(NULL, 0, &none, NULL), -EIO);
}

static void test_many(void)
{
	static const char one[] = "{},";
	size_t n = ONNX_ENTRIES_MAX + 1, len = 1 + n * 3;
	char *text = malloc(len + 1);
	struct listing l = { 0 };
	struct error why = { 0 };

	t_check(text);
	text[0] = '[';
	for (size_t i = 0; i < n; i++)
		memcpy(text + 1 + i * 3, one, 3);
	text[len - 1] = ']';
	t_int(fetch_onnx_manifest(text, len, &l, &why), -EFBIG);
	t_check(strstr(why.text, "more than"));
	listing_done(&l);
	free(text);
}

/* The one that ships. */
static void test_shipped(void)
{
	struct buf b = BUF_INIT(ONNX_MANIFEST_MAX);
	const char *src = getenv("SRCDIR");
	char path[4096];
	struct listing l = { 0 };
	const struct listing_entry *e;
	char hex[OBJID_HEX_MAX];

	snprintf(path, sizeof(path), "%s/fetch/catalogues/onnx.json",
		src ? src : ".");
	t_int(io_read_file(AT_FDCWD, path, &b), 0);
	t_int(fetch_onnx_manifest(b.data, b.len, &l, NULL), 0);
	t_int(l.n, 2 * 184);
	t_int(l.refused, 0);
	e = listing_find(&l, "validated/vision/classification/mnist/model/"
		"mnist-8.onnx");
	t_check(e);
	t_int(e->size, 26454);
	objid_hex(&e->id, hex);
	t_str(hex, SHA);
	listing_done(&l);
	buf_done(&b);
}

/* ---- LFS ---- */

#define OBJECT(rest) "{\"objects\":[{\"oid\":\"" SHA "\",\"size\":100000" rest \
	"}]}"
#define ACTION(rest) OBJECT(",\"actions\":{\"download\":{" rest "}}")
#define HREF "\"href\":\"https://store/x?sig=1\""

static const struct {
	const char *text;
	int err;
	const char *lines;
	uint64_t life_ms;
} answers[] = {
	{ ACTION(HREF), 0, NULL, 210000 },
	{ ACTION(HREF ",\"expires_in\":3600"), 0, NULL, 3570000 },
	{ ACTION(HREF ",\"expires_in\":2"), 0, NULL, 1000 },
	{ ACTION(HREF ",\"expires_in\":99999999"), 0, NULL, 86370000 },
	{ ACTION(HREF ",\"expires_in\":0"), 0, NULL, 210000 },
	{ ACTION(HREF ",\"expires_in\":-5"), 0, NULL, 210000 },
	{ ACTION(HREF ",\"expires_in\":0,\"expires_at\":"
		"\"1970-01-01T00:20:00Z\""), 0, NULL, 170000 },
	{ ACTION(HREF ",\"expires_at\":\"1970-01-01T00:20:00Z\""), 0, NULL,
		170000 },
	{ ACTION(HREF ",\"expires_at\":\"1970-01-01T01:20:00.5+01:00\""), 0,
		NULL, 170000 },
	{ ACTION(HREF ",\"expires_at\":\"1970-01-01T00:00:00Z\""), 0, NULL,
		0 },
	{ ACTION(HREF ",\"expires_at\":\"soon\""), 0, NULL, 210000 },
	{ ACTION(HREF ",\"header\":{\"A\":\"b c\",\"Host\":\"evil\","
		"\"D\":\"e\"}"), 0, "A: b c\nD: e", 210000 },
	{ ACTION(HREF ",\"header\":{\"A\":\"b\\r\\nC: d\"}"), -EIO, NULL, 0 },
	{ ACTION(HREF ",\"header\":{\"A b\":\"c\"}"), -EIO, NULL, 0 },
	{ ACTION(HREF ",\"header\":{\"A\":7}"), -EIO, NULL, 0 },
	{ ACTION("\"href\":\"http://store/x\""), -EIO, NULL, 0 },
	{ ACTION("\"href\":\"file:///etc/passwd\""), -EIO, NULL, 0 },
	{ ACTION("\"href\":\"https://u:p@store/x\""), -EIO, NULL, 0 },
	{ ACTION("\"expires_in\":1"), -EIO, NULL, 0 },
	{ OBJECT(""), -EIO, NULL, 0 },
	{ OBJECT(",\"error\":{\"code\":404,\"message\":\"gone\"}"), -ENOENT,
		NULL, 0 },
	{ OBJECT(",\"error\":{\"code\":410}"), -ENOENT, NULL, 0 },
	{ OBJECT(",\"error\":{\"code\":403}"), -EACCES, NULL, 0 },
	{ OBJECT(",\"error\":{\"code\":509}"), -EIO, NULL, 0 },
	{ "{\"objects\":[{\"oid\":\"" SHA "\",\"size\":5,\"actions\":{"
		"\"download\":{" HREF "}}}]}", -EIO, NULL, 0 },
	{ "{\"objects\":[{\"oid\":\"" OTHER "\",\"size\":100000}]}", -EIO,
		NULL, 0 },
	{ "{\"objects\":7}", -EIO, NULL, 0 },
	{ "[]", -EIO, NULL, 0 },
	{ "", -EIO, NULL, 0 },
};

static void test_lfs(void)
{
	struct fetch_file f = { .size = SIZE };
	char *q;

	t_int(objid_parse(OBJID_SHA256, SHA, &f.id), 0);
	q = fetch_lfs_question(&f);
	t_str(q, "{\"operation\":\"download\",\"transfers\":[\"basic\"],"
		"\"objects\":[{\"oid\":\"" SHA "\",\"size\":100000}],"
		"\"hash_algo\":\"sha256\"}");
	free(q);
	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
		struct fetch_located at = { 0 };
		struct error why = { 0 };
		int r = fetch_lfs_answer(answers[i].text,
			strlen(answers[i].text), &f, "https://github/batch",
			1000, &at, &why);

		if (r != answers[i].err)
			fprintf(stderr, "answer %zu: %s\n", i, why.text);
		t_int(r, answers[i].err);
		if (!r) {
			t_str(at.url, "https://store/x?sig=1");
			t_int(at.life_ms, answers[i].life_ms);
			t_int(!at.lines, !answers[i].lines);
			if (at.lines)
				t_str(at.lines, answers[i].lines);
		} else {
			t_check(*why.text);
		}
		fetch_located_done(&at);
	}
}

/* ---- places ---- */

static struct server *hf, *github;

static bool refuse(const struct asked *a, unsigned status)
{
	server_say(a, "HTTP/1.1 %u X\r\nContent-Length: 0\r\n\r\n", status);
	return true;
}

static bool give(const struct asked *a)
{
	t_check(a->ranged);
	server_say(a, "HTTP/1.1 206 X\r\nContent-Length: %llu\r\n"
		"Content-Range: bytes %llu-%llu/%d\r\n\r\n",
		(unsigned long long)(a->last - a->first + 1),
		(unsigned long long)a->first, (unsigned long long)a->last,
		SIZE);
	server_pattern(a, a->first, a->last);
	return true;
}

static bool linked(const struct asked *a, const char *sha, unsigned size)
{
	server_say(a, "HTTP/1.1 302 X\r\nLocation: /cdn\r\nContent-Length: 0"
		"\r\nX-Linked-ETag: \"%s\"\r\nX-Linked-Size: %u\r\n\r\n", sha,
		size);
	return true;
}

static bool has(const struct asked *a, const char *part)
{
	return strstr(a->path, part) != NULL;
}

static bool at_hf(const struct asked *a, void *arg)
{
	bool own = !has(a, "/legacy_models/");

	(void) arg;
	t_str(a->auth, "Bearer hf_x");
	if (has(a, "/cdn") || has(a, own ? "own.onnx" : "ok.onnx"))
		return give(a);
	if (has(a, "linked"))
		return own ? linked(a, SHA, 5) : linked(a, OTHER, SIZE);
	if (has(a, "moved") && !own)
		return linked(a, OTHER, SIZE);
	if (has(a, "page") && !own) {
		server_say(a, "HTTP/1.1 200 X\r\nContent-Type: text/html\r\n"
			"Content-Length: 2\r\n\r\nhi");
		return true;
	}
	if (has(a, "sick") && !own)
		return refuse(a, 503);
	if (has(a, "late") && !own)
		return a->nth < 3 ? refuse(a, 503) : give(a);
	return refuse(a, own ? 401 : 404);
}

static bool pointer(const struct asked *a)
{
	static const char text[] = "version https://git-lfs.github.com/spec/v1"
		"\noid sha256:" SHA "\nsize 100000\n";

	/* in two pieces, of no known length */
	server_say(a, "HTTP/1.1 200 X\r\nConnection: close\r\n\r\n%.8s",
		text);
	usleep(20000);
	server_say(a, "%s", text + 8);
	return false;
}

static bool batch(const struct asked *a)
{
	char body[1024];
	int n;

	t_check(strstr(a->body, "\"oid\":\"" SHA "\""));
	if (has(a, "quota"))
		return refuse(a, 403);
	n = snprintf(body, sizeof(body), ACTION("\"href\":\"%s/store\","
		"\"header\":{\"Authorization\":\"RemoteAuth t\"}"),
		server_root(github));
	if (strstr(a->body, "\"size\":0")) /* as it was asked */
		memcpy(strstr(body, "100000"), "     0", 6);
	server_say(a, "HTTP/1.1 200 X\r\nContent-Type: application/json\r\n"
		"Content-Length: %d\r\n\r\n%s", n, body);
	return true;
}

static bool at_github(const struct asked *a, void *arg)
{
	(void) arg;
	t_str(a->auth, has(a, "/store") ? "RemoteAuth t" : "");
	if (has(a, "/store"))
		return give(a);
	if (has(a, "/objects/batch"))
		return batch(a);
	if (has(a, "/media/") && has(a, "ptr"))
		return pointer(a);
	if (has(a, "/media/") && (has(a, "page") || has(a, "linked") ||
			has(a, "sick")))
		return give(a);
	return refuse(a, 404);
}

static void set(struct conf *c, const char *key, const char *root,
	const char *path)
{
	char value[256];

	snprintf(value, sizeof(value), "%s%s", root, path);
	t_int(conf_set(c, key, value, CONF_ARG, NULL), 0);
}

static atomic_uint contradicted;

static void on_contradicted(void *arg, const struct fetch_hub *h,
	const char *repo, const char *revision, const char *path,
	uint64_t size)
{
	(void) arg;
	(void) h;
	t_str(repo, FETCH_THE_REPO);
	t_str(revision, OTHER);
	t_str(path, "v/moved.onnx");
	t_int(size, SIZE);
	atomic_fetch_add(&contradicted, 1);
}

/* lfs: below which path of github the batch API is. */
static struct fetch_hub *open_zoo(struct fetch **ret, const char *lfs)
{
	struct conf *c = conf_new();
	struct fetch_hub *h;

	t_check(c);
	set(c, "huggingface.endpoint", server_root(hf), "");
	set(c, "huggingface.token", "hf_x", "");
	set(c, "onnx.endpoint", server_root(hf), "");
	set(c, "onnx.manifest", server_root(github), "/manifest");
	set(c, "onnx.media", server_root(github), "");
	set(c, "onnx.lfs", server_root(github), lfs);
	set(c, "fetch.retries", "2", "");
	set(c, "fetch.timeout", "5", "");
	t_int(fetch_new(c, ret, NULL), 0);
	fetch_on_contradicted(*ret, on_contradicted, NULL);
	t_int(fetch_hub_open(*ret, "onnx", c, &h, NULL), 0);
	conf_free(c);
	return h;
}

static struct src *zoo_file(struct fetch_hub *h, const char *path)
{
	struct objid id;
	struct src *s;

	t_int(objid_parse(OBJID_SHA256, SHA, &id), 0);
	t_int(fetch_src_new(h, FETCH_THE_REPO, OTHER, path, SIZE, &id, &s),
		0);
	return s;
}

static void right(struct src *s, uint64_t off, size_t len)
{
	uint8_t *got = malloc(len);
	int r;

	t_check(got);
	r = src_read_wait(s, off, got, len);
	if (r) {
		struct src_stat st;

		src_stat(s, &st);
		fprintf(stderr, "%s\n", st.last.text);
	}
	t_int(r, 0);
	for (size_t i = 0; i < len; i++)
		t_int(got[i], server_byte(off + i));
	free(got);
}

static void test_places(void)
{
	static const struct {
		const char *path;
		unsigned legacy, own, media;	/* requests, two reads */
	} cases[] = {
		{ "v/ok.onnx", 2, 0, 0 },
		{ "v/own.onnx", 1, 2, 0 },
		{ "v/page.onnx", 1, 1, 2 },
		{ "v/linked.onnx", 1, 1, 2 },
		{ "v/sick.onnx", 2, 1, 2 },
		{ "v/page.tar.gz", 1, 0, 2 },
	};
	struct fetch *f;
	struct fetch_hub *h = open_zoo(&f, "");

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct src *s = zoo_file(h, cases[i].path);
		char part[128];

		right(s, 0, 1000);
		right(s, 50000, SIZE - 50000);
		snprintf(part, sizeof(part), "/legacy_models/resolve/main/%s",
			cases[i].path);
		t_int(server_count(hf, part), cases[i].legacy);
		snprintf(part, sizeof(part), "/resolve/main/%s",
			cases[i].path + 2);
		t_int(server_count(hf, part), cases[i].own);
		snprintf(part, sizeof(part), "/media/onnx/models/main/%s",
			cases[i].path);
		t_int(server_count(github, part), cases[i].media);
		src_unref(s);
	}
	fetch_free(f);
}

/* A host that is down for a while is asked again when nobody else has it. */
static void test_patience(void)
{
	struct fetch *f;
	struct fetch_hub *h = open_zoo(&f, "/quota");
	struct src *s = zoo_file(h, "v/late.onnx");

	right(s, 0, SIZE);
	t_int(server_count(hf, "/main/v/late.onnx"), 4);
	src_unref(s);
	fetch_free(f);
}

static void on_fact(void *arg, int err, const struct error *why,
	const struct fetch_fact *fact)
{
	(void) why;
	t_int(err, 0);
	t_int(fact->size, SIZE);
	t_int(sem_post(arg), 0);
}

/* Where no address tells, the store is asked where it lies. */
static void test_measured(void)
{
	struct fetch *f;
	struct fetch_hub *h = open_zoo(&f, "");
	struct objid id;
	sem_t told;

	t_int(sem_init(&told, 0, 0), 0);
	t_int(objid_parse(OBJID_SHA256, SHA, &id), 0);
	fetch_measure(h, FETCH_THE_REPO, OTHER, "v/unmeasured.onnx", &id,
		on_fact, &told);
	t_int(sem_wait(&told), 0);
	t_int(sem_destroy(&told), 0);
	fetch_free(f);
}

static void test_located(void)
{
	struct fetch *f;
	struct fetch_hub *h = open_zoo(&f, "");
	struct src *s = zoo_file(h, "v/none.onnx");
	struct src_stat st;
	uint8_t byte;

	right(s, 0, 1000);
	right(s, 70000, 1000);
	t_int(server_count(github, "/onnx/models.git/info/lfs/objects/batch"),
		1);
	t_int(server_count(github, "/store"), 2);
	src_unref(s);
	s = zoo_file(h, "v/ptr.onnx");
	right(s, 0, SIZE);
	src_unref(s);
	fetch_free(f);

	h = open_zoo(&f, "/quota");
	s = zoo_file(h, "v/none.onnx");
	t_int(src_read_wait(s, 0, &byte, 1), -EACCES);
	src_stat(s, &st);
	t_check(strstr(st.last.text, "none of 4 places"));
	src_unref(s);
	s = zoo_file(h, "v/ptr.onnx");
	t_int(src_read_wait(s, 0, &byte, 1), -EIO);
	src_stat(s, &st);
	t_check(strstr(st.last.text, "LFS pointer"));
	src_unref(s);
	fetch_free(f);
}

/* One place that has another file is not heard of when a later one has this
 * one; it is when the others, asked after it, have none. */
static void test_contradicted(void)
{
	struct fetch *f;
	struct fetch_hub *h = open_zoo(&f, "/quota");
	struct src *s = zoo_file(h, "v/moved.onnx");
	struct src_stat st;
	uint8_t byte;

	t_int(atomic_load(&contradicted), 0);
	t_int(src_read_wait(s, 0, &byte, 1), -EIO);
	src_stat(s, &st);
	t_check(strstr(st.last.text, "none of 4 places"));
	t_int(atomic_load(&contradicted), 1);
	src_unref(s);
	fetch_free(f);
}

static void test_names(void)
{
	struct fetch *f;
	struct fetch_hub *h = open_zoo(&f, "");
	char *url = fetch_url(h, FETCH_THE_REPO, OTHER, "a b/c#.onnx");
	char want[256];

	snprintf(want, sizeof(want), "%s/onnxmodelzoo/legacy_models/resolve/"
		"main/a%%20b/c%%23.onnx", server_root(hf));
	t_str(url, want);
	free(url);
	t_check(!fetch_url(h, "other", OTHER, "a.onnx"));
	t_int(fetch_repo_check(h, FETCH_THE_REPO), 0);
	t_int(fetch_repo_check(h, "onnxmodelzoo/x"), -ENOENT);
	t_int(fetch_grammar(h), FETCH_SINGLE);
	fetch_free(f);
}

int main(void)
{
	test_manifest();
	test_many();
	test_shipped();
	test_lfs();
	hf = server_new(at_hf, NULL);
	github = server_new(at_github, NULL);
	test_names();
	test_places();
	test_located();
	test_measured();
	test_patience();
	test_contradicted();
	server_free(hf);
	server_free(github);
	return 0;
}
