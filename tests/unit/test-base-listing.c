/* Listings of well-meaning and of hostile hubs. */
#include "config.h"

#include "base/listing.h"
#include "tests/unit/t.h"

static void add(struct listing *l, const char *path, enum listing_kind kind,
	uint64_t size)
{
	t_int(listing_add(l, path, kind, size, NULL), 0);
}

/* What listing_children() tells: "name" of an entry, "name/" of a directory
 * with one, "name//" of one that only follows from files. */
static int note(void *arg, const char *name, size_t name_len,
	enum listing_kind kind, const struct listing_entry *e)
{
	char *text = arg;
	size_t n = strlen(text);

	(void) snprintf(text + n, 256 - n, "%.*s%s ", (int)name_len, name,
		!e ? "//" : kind == LISTING_DIR ? "/" : "");
	return 0;
}

static void children(const struct listing *l, const char *dir,
	const char *want)
{
	char got[256] = "";

	t_int(listing_children(l, dir, note, got), 0);
	t_str(got, want);
}

static void order_and_questions(void)
{
	struct listing l = { 0 };

	add(&l, "onnx/model.onnx", LISTING_FILE, 3);
	add(&l, "onnx-old", LISTING_FILE, 1);
	add(&l, "onnx.txt", LISTING_FILE, 1);
	add(&l, "a/b/c", LISTING_FILE, LISTING_SIZE_UNKNOWN);
	add(&l, "onnx", LISTING_DIR, 99);
	add(&l, "a/b0", LISTING_FILE, 0);
	add(&l, "a/b/d", LISTING_FILE, INT64_MAX);
	listing_sort(&l);
	t_int(l.n, 7);
	t_int(l.refused, 0);
	children(&l, "", "a// onnx/ onnx-old onnx.txt ");
	children(&l, "a", "b// b0 ");
	children(&l, "a/b", "c d ");
	children(&l, "onnx", "model.onnx ");
	children(&l, "onn", "");
	children(&l, "onnx-old", "");
	t_check(listing_is_dir(&l, ""));
	t_check(listing_is_dir(&l, "a"));
	t_check(listing_is_dir(&l, "a/b"));
	t_check(listing_is_dir(&l, "onnx"));
	t_check(!listing_is_dir(&l, "onnx-old"));
	t_check(!listing_is_dir(&l, "onn"));
	t_check(!listing_is_dir(&l, "a/b/c"));
	t_check(!listing_is_dir(&l, "zzz"));
	t_check(!listing_find(&l, "a"));
	t_int(listing_find(&l, "onnx/model.onnx")->size, 3);
	t_int(listing_find(&l, "onnx")->size, 0);
	t_check(!listing_find(&l, "zzz"));
	listing_done(&l);
	t_check(listing_is_dir(&l, ""));
	children(&l, "", "");
}

static int stop(void *arg, const char *name, size_t name_len,
	enum listing_kind kind, const struct listing_entry *e)
{
	(void) name;
	(void) name_len;
	(void) kind;
	(void) e;
	return ++*(int *)arg == 2 ? -ECANCELED : 0;
}

static void refusals(void)
{
	struct listing l = { 0 };
	int calls = 0;

	t_int(listing_add(&l, "../x", LISTING_FILE, 1, NULL), -EINVAL);
	t_int(listing_add(&l, "/x", LISTING_FILE, 1, NULL), -EINVAL);
	t_int(listing_add(&l, "x", LISTING_FILE, 1ULL << 63, NULL), -EINVAL);
	t_int(l.refused, 3);
	t_int(l.n, 0);
	add(&l, "f", LISTING_FILE, 1);
	add(&l, "f", LISTING_FILE, 2);		/* the first stays */
	add(&l, "f/below", LISTING_FILE, 3);	/* f is a file */
	add(&l, "f/below/deep", LISTING_FILE, 3);
	add(&l, "d", LISTING_DIR, 0);
	add(&l, "d", LISTING_DIR, 0);		/* harmless */
	add(&l, "d/x", LISTING_FILE, 3);
	add(&l, "d", LISTING_FILE, 3);
	listing_sort(&l);
	t_int(l.n, 3);
	t_int(l.refused, 7);
	t_int(listing_find(&l, "f")->size, 1);
	children(&l, "", "d/ f ");
	t_int(listing_children(&l, "", stop, &calls), -ECANCELED);
	t_int(calls, 2);
	t_int(l.path_bytes, strlen("fdd/x"));
	listing_done(&l);
}

static void text(void)
{
	static const char *const bad[] = {
		"", "[]", "{}", "{\"entries\":[]}",
		"{\"refused\":-1,\"entries\":[]}",
		"{\"refused\":0,\"entries\":[[]]}",
		"{\"refused\":0,\"entries\":[[\"a\"]]}",
		"{\"refused\":0,\"entries\":[[\"a\",-1]]}",
		"{\"refused\":0,\"entries\":[[\"a\",\"1\"]]}",
		"{\"refused\":0,\"entries\":[[\"../a\",1]]}",
		"{\"refused\":0,\"entries\":[[\"a\",1,\"sha256\"]]}",
		"{\"refused\":0,\"entries\":[[\"a\",1,\"none:00\"]]}",
		"{\"refused\":0,\"entries\":[[\"a\",1,\"md5:00\",1]]}",
		"{\"refused\":0,\"entries\":[5]}",
	};
	struct listing l = { 0 }, back = { .refused = 77 };
	struct error why;
	struct objid id;
	char *s;

	t_int(objid_parse(OBJID_SHA256, "abc", &id), 0);
	t_int(listing_add(&l, "w.bin", LISTING_FILE, 5, &id), 0);
	add(&l, "d", LISTING_DIR, 0);
	add(&l, "\xc3\xa9/\"x\"", LISTING_FILE, LISTING_SIZE_UNKNOWN);
	l.refused = 4;
	listing_sort(&l);
	s = listing_to_json(&l);
	t_str(s, "{\"refused\":4,\"entries\":[[\"d\",true],"
		"[\"w.bin\",5,\"sha256:abc\"],"
		"[\"\xc3\xa9/\\\"x\\\"\",null]]}");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		t_int(listing_from_json(bad[i], strlen(bad[i]), &back, &why),
			-EBADMSG);
	t_int(back.refused, 77);
	t_int(listing_from_json(s, strlen(s), &back, &why), 0);
	t_int(back.n, 3);
	t_int(back.refused, 4);
	t_check(objid_match(&listing_find(&back, "w.bin")->id, &id));
	t_check(listing_find(&back, "\xc3\xa9/\"x\"")->size ==
		LISTING_SIZE_UNKNOWN);
	free(s);
	listing_done(&l);
	listing_done(&back);
}

static void ceiling(void)
{
	struct listing l = { 0 };
	char path[32];
	int r = 0;

	for (unsigned i = 0; i < LISTING_MAX && !r; i++) {
		(void) snprintf(path, sizeof(path), "%u/%u", i % 7, i);
		r = listing_add(&l, path, LISTING_FILE, i, NULL);
	}
	t_int(r, 0);
	t_int(listing_add(&l, "more", LISTING_FILE, 1, NULL), -EFBIG);
	listing_sort(&l);
	t_int(l.n, LISTING_MAX);
	t_int(listing_find(&l, "1/15")->size, 15);
	listing_done(&l);
	l.path_bytes = LISTING_BYTES_MAX - 3;
	t_int(listing_add(&l, "abc", LISTING_FILE, 1, NULL), 0);
	t_int(listing_add(&l, "d", LISTING_FILE, 1, NULL), -EFBIG);
	listing_done(&l);
}

int main(void)
{
	order_and_questions();
	refusals();
	text();
	ceiling();
	return 0;
}
