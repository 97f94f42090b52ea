/*
 * Catalogues as text, and the hubs that live by them: with the catalogues that
 * are shipped, every file is listed and has the address its row tells.
 */
#include "config.h"

#include "fetch/catalogue.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "fetch/fetch.h"
#include "tests/unit/t.h"

static const char *const bases[] = { "https://a.org", "https://b.org", NULL };

static int read_text(struct fetch_catalogue *c, const char *text,
	struct error *why)
{
	return fetch_catalogue_read(c, "t.tsv", text, strlen(text), bases,
		why);
}

static void rows(void)
{
	static const char text[] = "# words\n\n"
		"model\turl\tdigest\twhat\tdefault\tabout\tcached-as\r\n"
		"net\thttps://a.org/m/net-0123abcd.pth\tsha256:0123abcd\t"
		"Net_Weights.V1\tyes\t1048576\tn.h5\n"
		"# more\n"
		"-\thttps://b.org/x.mar\t-\t-\t-\t-\t-";
	struct fetch_catalogue c = { 0 };
	const struct fetch_catalogue_row *r;
	struct listing l;
	char hex[OBJID_HEX_MAX];

	t_int(read_text(&c, text, NULL), 0);
	r = fetch_catalogue_find(&c, "net/net-0123abcd.pth");
	t_check(r && r->base == 0 && r->preferred && r->about == 1048576);
	t_str(r->tail, "m/net-0123abcd.pth");
	t_str(r->what, "Net_Weights.V1");
	t_str(r->cached_as, "n.h5");
	objid_hex(&r->id, hex);
	t_str(hex, "0123abcd");
	t_int(r->id.alg, OBJID_SHA256);
	r = fetch_catalogue_find(&c, "x.mar");
	t_check(r && r->base == 1 && !r->preferred && !r->about && !r->what &&
		!r->cached_as && r->id.alg == OBJID_NONE);
	t_int(fetch_catalogue_list(&c, &l), 0);
	t_int(l.n, 2);
	t_str(l.v[0].path, "net/net-0123abcd.pth");
	t_check(l.v[0].size == LISTING_SIZE_UNKNOWN);
	t_int(l.v[0].id.digits, 8);
	listing_done(&l);

	/* what stands there already stays; what is new is added */
	t_int(read_text(&c, "url\tmodel\nhttps://b.org/x.mar\tnet\n"
		"https://a.org/other/x.mar\t-\n", NULL), 0);
	t_check(fetch_catalogue_find(&c, "net/x.mar"));
	t_str(fetch_catalogue_find(&c, "x.mar")->tail, "x.mar");
	t_int(fetch_catalogue_list(&c, &l), 0);
	t_int(l.n, 3);
	listing_done(&l);
	fetch_catalogue_done(&c);
}

static void broken(void)
{
	static const struct {
		const char *text, *words;
	} row[] = {
		{ "model\n", "t.tsv:1: there is no column \"url\"" },
		{ "#\nurl\tsize\n", "t.tsv:2: there is no column \"size\"" },
		{ "url\turl\n", "twice" },
		{ "url\nhttps://c.org/x\n", "t.tsv:2: \"https://c.org/x\" is no" },
		{ "url\nhttps://a.org\n", "below https://a.org" },
		{ "url\nhttps://a.org/\n", "no address" },
		{ "url\nhttps://a.organ/x\n", "no address" },
		{ "url\nhttps://a.org/../x\n", "no address" },
		{ "url\nhttps://a.org/x/\n", "no address" },
		{ "url\nhttps://a.org/x?y=1\n", "no address" },
		{ "url\nhttps://a.org/x%2fy\n", "no address" },
		{ "url\nhttps://a.org/x y\n", "no address" },
		{ "url\n-\n", "no address" },
		{ "url\tmodel\nhttps://a.org/x\n", "1 fields instead of 2" },
		{ "url\nhttps://a.org/x\ty\n", "more than 1 fields" },
		{ "url\tmodel\nhttps://a.org/x\t\n", "an empty field" },
		{ "url\tmodel\nhttps://a.org/x\ta/b\n", "can name no file" },
		{ "url\tmodel\nhttps://a.org/x\t..\n", "can name no file" },
		{ "url\tdigest\nhttps://a.org/x\tabcd\n", "neither" },
		{ "url\tdigest\nhttps://a.org/x\tsha256:xy\n", "neither" },
		{ "url\tdigest\nhttps://a.org/x\tmd5:\n", "neither" },
		{ "url\tdigest\nhttps://a.org/x\t"
		  "md5:000000000000000000000000000000000\n", "neither" },
		{ "url\tabout\nhttps://a.org/x\t-1\n", "no number" },
		{ "url\tabout\nhttps://a.org/x\t99999999999999999999\n",
		  "no number" },
		{ "url\tdefault\nhttps://a.org/x\tno\n", "default is" },
		{ "url\tcached-as\nhttps://a.org/x\t../x\n", "can name" },
		{ "url\nhttps://a.org/x\nhttps://a.org/y/x\n",
		  "t.tsv:3: x comes twice" },
		{ "url\tmodel\nhttps://a.org/x\tm\nhttps://a.org/m\t-\n",
		  "t.tsv:3: m would be a file and a directory" },
		{ "url\tmodel\nhttps://a.org/m\t-\nhttps://a.org/x\tm\n",
		  "t.tsv:3: m would be a file and a directory" },
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(*row); i++) {
		struct fetch_catalogue c = { 0 };
		struct error why = { 0 };

		t_int(read_text(&c, row[i].text, &why), -EINVAL);
		if (!strstr(why.text, row[i].words))
			fprintf(stderr, "row %zu: %s\n", i, why.text);
		t_check(strstr(why.text, row[i].words));
		fetch_catalogue_done(&c);
	}
}

/* What is there first stays, and of two that clash the later one is left out. */
static void two_texts(void)
{
	struct fetch_catalogue c = { 0 };
	struct listing l = { 0 };

	t_int(read_text(&c, "url\tmodel\nhttps://a.org/x\tm\n"
		"https://a.org/n\t-\n", NULL), 0);
	t_int(read_text(&c, "url\tmodel\nhttps://a.org/m\t-\n"
		"https://a.org/y\tn\n", NULL), 0);
	t_int(read_text(&c, "url\tmodel\nhttps://a.org/y\tm\n", NULL), 0);
	t_int(fetch_catalogue_list(&c, &l), 0);
	t_int(l.refused, 0);
	t_int(l.n, 3);
	t_str(l.v[0].path, "m/x");
	t_str(l.v[1].path, "m/y");
	t_str(l.v[2].path, "n");
	listing_done(&l);
	fetch_catalogue_done(&c);
}

static void ceilings(void)
{
	struct fetch_catalogue c = { 0 };
	size_t n = CATALOGUE_LINE_MAX + 100;
	char *text = malloc(n + 1);

	memset(text, 'x', n);
	text[n] = '\0';
	memcpy(text, "url\n", 4);
	t_int(read_text(&c, text, NULL), -EINVAL);
	t_int(fetch_catalogue_read(&c, "t", "url\nhttps://a.org/\0x\n", 22,
		bases, NULL), -EINVAL);
	free(text);
	fetch_catalogue_done(&c);
}

/* ---- the hubs ---- */

struct answer {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool here;
	int err;
	struct error why;
	struct fetch_snapshot *snap;
	struct listing list;
};

static void tell(struct answer *a, int err, const struct error *why)
{
	pthread_mutex_lock(&a->lock);
	a->here = true;
	a->err = err;
	if (err)
		a->why = *why;
	pthread_cond_signal(&a->cond);
	pthread_mutex_unlock(&a->lock);
}

static void on_snapshot(void *arg, int err, const struct error *why,
	struct fetch_snapshot *snap)
{
	struct answer *a = arg;

	a->snap = snap;
	tell(a, err, why);
}

static void on_listing(void *arg, int err, const struct error *why,
	struct listing *l)
{
	struct answer *a = arg;

	if (l)
		a->list = *l;
	tell(a, err, why);
}

static int wait_for(struct answer *a)
{
	pthread_mutex_lock(&a->lock);
	while (!a->here)
		pthread_cond_wait(&a->cond, &a->lock);
	a->here = false;
	pthread_mutex_unlock(&a->lock);
	return a->err;
}

static struct fetch *engine(const char *kind, const char *set,
	struct fetch_hub **ret, int want, struct error *why)
{
	struct conf *c = conf_new();
	struct fetch *f;

	t_int(conf_set(c, "offline", "1", CONF_ARG, NULL), 0);
	if (set)
		t_int(conf_set_arg(c, set, NULL), 0);
	t_int(fetch_new(c, &f, NULL), 0);
	t_int(fetch_hub_open(f, kind, c, ret, why), want);
	conf_free(c);
	return f;
}

/* Fields of a line as `cut` would see them. */
static void field(const char *line, unsigned nth, char *ret, size_t room)
{
	while (nth--)
		line = strchr(line, '\t') + 1;
	snprintf(ret, room, "%.*s", (int)strcspn(line, "\t\n"), line);
}

static void shipped(const char *kind, unsigned want_n, bool models)
{
	struct answer a = { .lock = PTHREAD_MUTEX_INITIALIZER,
		.cond = PTHREAD_COND_INITIALIZER };
	char file[4096], line[4096], url[1024], path[1024];
	unsigned n = 0;
	struct fetch_hub *h;
	struct fetch *f = engine(kind, NULL, &h, 0, NULL);
	FILE *tsv;

	t_check(fetch_is_local(h));
	t_int(fetch_grammar(h), FETCH_SINGLE);
	t_int(fetch_repo_check(h, FETCH_THE_REPO), 0);
	t_int(fetch_repo_check(h, "others"), -ENOENT);
	fetch_resolve(h, FETCH_THE_REPO, "", on_snapshot, &a);
	t_int(wait_for(&a), 0);
	fetch_list(h, FETCH_THE_REPO, a.snap->revision, on_listing, &a);
	t_int(wait_for(&a), 0);
	t_int(a.list.n, want_n);
	snprintf(file, sizeof(file), "%s/catalogues/%s.tsv", conf_datadir(),
		kind);
	tsv = fopen(file, "r");
	t_check(tsv);
	while (fgets(line, sizeof(line), tsv)) {
		char *got;

		if (line[0] == '#' || !strstr(line, "https://"))
			continue;
		field(line, models ? 1 : 0, url, sizeof(url));
		field(line, 0, path, sizeof(path));
		if (models)
			strcat(path, strrchr(url, '/'));
		else
			strcpy(path, strrchr(url, '/') + 1);
		t_check(listing_find(&a.list, path));
		got = fetch_url(h, FETCH_THE_REPO, a.snap->revision, path);
		t_str(got, url);
		free(got);
		n++;
	}
	fclose(tsv);
	t_int(n, want_n);
	t_check(!fetch_url(h, FETCH_THE_REPO, a.snap->revision, "none"));
	t_check(!fetch_url(h, FETCH_THE_REPO, "other", path));
	listing_done(&a.list);
	fetch_snapshot_free(a.snap);
	fetch_free(f);
}

static void facts(void)
{
	struct fetch_known k;
	struct fetch_hub *h;
	struct fetch *f = engine("keras", NULL, &h, 0, NULL);

	t_check(fetch_known(h, "NASNetLarge/NASNet-large.h5", &k));
	t_str(k.cached_as, "nasnet_large.h5");
	t_str(k.what, "top");
	t_check(!fetch_known(h, "NASNetLarge/none.h5", &k));
	fetch_free(f);
	f = engine("torchvision", NULL, &h, 0, NULL);
	t_check(fetch_known(h, "resnet50/resnet50-11ad3fa6.pth", &k));
	t_check(k.preferred && k.about > 100000000);
	t_check(fetch_known(h, "resnet50/resnet50-0676ba61.pth", &k));
	t_check(!k.preferred);
	t_str(k.what, "ResNet50_Weights.IMAGENET1K_V1");
	fetch_free(f);
}

/* ---- where they are looked for ---- */

static void put(const char *dir, const char *path, const char *text)
{
	char full[512], *slash;

	snprintf(full, sizeof(full), "%s/%s", dir, path);
	slash = strrchr(full, '/');
	*slash = '\0';
	t_int(io_mkdirs(AT_FDCWD, full), 0);
	*slash = '/';
	t_int(io_publish(AT_FDCWD, full, text, strlen(text), 0644), 0);
}

static void expect_url(struct fetch_hub *h, const char *path,
	const char *want)
{
	char *got = fetch_url(h, FETCH_THE_REPO, "catalogue", path);

	t_str(got, want);
	free(got);
}

static void places(void)
{
	char dir[] = "/tmp/t-catalogue-XXXXXX", set[128];
	struct answer a = { .lock = PTHREAD_MUTEX_INITIALIZER,
		.cond = PTHREAD_COND_INITIALIZER };
	struct error why = { 0 };
	struct fetch_hub *h;
	struct fetch *f;

	t_check(mkdtemp(dir));
	t_int(setenv("XDG_CONFIG_HOME", dir, 1), 0);
	put(dir, "omnihub/catalogues/torchvision.tsv", "model\turl\n"
		"new\thttps://download.pytorch.org/models/new-12.pth\n"
		"alexnet\thttps://download.pytorch.org/old/"
		"alexnet-owt-7be5be79.pth\n");
	f = engine("torchvision", NULL, &h, 0, NULL);
	expect_url(h, "new/new-12.pth",
		"https://download.pytorch.org/models/new-12.pth");
	expect_url(h, "alexnet/alexnet-owt-7be5be79.pth",
		"https://download.pytorch.org/old/alexnet-owt-7be5be79.pth");
	expect_url(h, "vgg11/vgg11-8a719046.pth",
		"https://download.pytorch.org/models/vgg11-8a719046.pth");
	fetch_free(f);

	put(dir, "omnihub/catalogues/torchvision.tsv", "model\n");
	f = engine("torchvision", NULL, &h, -EINVAL, &why);
	t_check(strstr(why.text, "/catalogues/torchvision.tsv:1: "));
	fetch_free(f);

	/* a mirror that is not the whole hub says what it has */
	put(dir, "mirror/catalogue.tsv", "url\n"
		"https://torchserve.pytorch.org/mar_files/tiny.mar\n"
		"https://torchserve.s3.amazonaws.com/war_files/w.war\n");
	snprintf(set, sizeof(set), "torchserve.endpoint=file://%s/mirror",
		dir);
	f = engine("torchserve", set, &h, 0, NULL);
	snprintf(set, sizeof(set), "file://%s/mirror/mar_files/tiny.mar", dir);
	expect_url(h, "tiny.mar", set);
	expect_url(h, "w.war",
		"https://torchserve.s3.amazonaws.com/war_files/w.war");
	t_check(!fetch_url(h, FETCH_THE_REPO, "catalogue", "alexnet.mar"));
	fetch_free(f);

	t_int(setenv("OMNIHUB_DATADIR", dir, 1), 0);
	f = engine("keras", NULL, &h, 0, NULL);
	fetch_resolve(h, FETCH_THE_REPO, "", on_snapshot, &a);
	t_int(wait_for(&a), -ENOENT);
	t_check(strstr(a.why.text, "no catalogue of keras"));
	fetch_free(f);
	t_int(io_remove_tree(AT_FDCWD, dir), 0);
}

int main(void)
{
	const char *src = getenv("SRCDIR");
	char share[4096];

	rows();
	broken();
	two_texts();
	ceilings();
	snprintf(share, sizeof(share), "%s/fetch", src ? src : "..");
	t_int(setenv("OMNIHUB_DATADIR", share, 1), 0);
	t_int(setenv("XDG_CONFIG_HOME", "/nonexistent", 1), 0);
	shipped("torchvision", 166, true);
	shipped("keras", 176, true);
	shipped("torchserve", 29, false);
	facts();
	places();
	return 0;
}
