/* Lock files: what is read, what is refused with its line, what is answered. */
#include "config.h"

#include <errno.h>
#include <limits.h>

#include "base/buf.h"
#include "fs/lock.h"
#include "tests/unit/t.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define SHA "1212121212121212121212121212121212121212121212121212121212121212"
#define GIT "3434343434343434343434343434343434343434"
#define KEY "5656565656565656565656565656565656565656565656565656565656565656"
#define HEAD "omnihub-lock 1\n" \
	"# Written by `omnihub pin`, kept to by `omnihub-mount --lock`.\n"

static const char good[] = HEAD
	"\nmodel huggingface org/repo@" A "\n"
	"date 2024-02-19T11:06:12Z\n"
	"name huggingface org/repo\n"
	"name huggingface org/repo@refs%2Fpr%2F1\n"
	"name huggingface short\n"
	"file 12 -,sha256:" SHA " a file\n"
	"file - - b\n"
	"file 570 gitsha1:" GIT ",sha256:" SHA " config.json\n"
	"file 7 sha256:" SHA " dir/weights\n"
	"staged " KEY " pytorch/model.onnx\n"
	"\nmodel kaggle o/m/onnx/v@3\n"
	"date 1970-01-01T00:00:00Z\n"
	"name kaggle o/m/onnx/v\n"
	"\nend\n";

static struct fs_lock *read_good(void)
{
	struct fs_lock *l = NULL;
	struct error why = { 0 };

	if (fs_lock_parse("f", good, strlen(good), &l, &why))
		fprintf(stderr, "%s\n", why.text);
	t_check(l);
	return l;
}

static void reading(void)
{
	struct fs_lock *l = read_good();
	const struct fs_lock_model *m;
	struct buf b = BUF_INIT(65536);
	struct listing owner = { 0 };

	t_int(l->n, 2);
	m = fs_lock_find(l, "huggingface", "short", "");
	t_check(m);
	t_str(m->is.repo, "org/repo");
	t_str(m->is.rev, A);
	t_int(m->mtime, 1708340772);
	t_check(fs_lock_find(l, "huggingface", "org/repo", "") == m);
	t_check(fs_lock_find(l, "huggingface", "org/repo", "refs/pr/1") == m);
	t_check(fs_lock_find(l, "huggingface", "org/repo", A) == m);
	t_check(!fs_lock_find(l, "huggingface", "org/repo", "main"));
	t_check(!fs_lock_find(l, "huggingface", "short", A));
	t_check(!fs_lock_find(l, "onnx", "org/repo", ""));
	t_check(!fs_lock_find(NULL, "onnx", "org/repo", ""));
	t_int(fs_lock_word(l, "huggingface", "short"), 2);
	t_int(fs_lock_word(l, "huggingface", "org"), 1);
	t_int(fs_lock_word(l, "huggingface", "or"), 0);
	t_int(fs_lock_owner(l, "huggingface", "org", &owner), 0);
	t_int(owner.n, 1);
	t_str(owner.v[0].path, "org/repo");
	t_int(fs_lock_text(l, &b), 0);
	t_str((const char *)b.data, good);
	listing_done(&owner);
	buf_done(&b);
	fs_lock_free(l);
}

/* The listing of the model, with one thing changed. */
static int compare(const struct fs_lock_model *m, const char *path,
	uint64_t size, enum objid_alg alg, const char *hex,
	struct error *why)
{
	struct objid id = { .alg = OBJID_NONE };
	struct listing l = { 0 };
	int r;

	if (hex)
		t_int(objid_parse(alg, hex, &id), 0);
	for (size_t i = 0; i < m->files.n; i++)
		if (strcmp(m->files.v[i].path, path))
			t_int(listing_add(&l, m->files.v[i].path, LISTING_FILE,
				m->files.v[i].size, &m->files.v[i].id), 0);
	if (size)
		t_int(listing_add(&l, path, LISTING_FILE, size, &id), 0);
	listing_sort(&l);
	*why = (struct error){ 0 };
	r = fs_lock_compare(m, &l, why);
	listing_done(&l);
	return r;
}

static void comparing(void)
{
	struct fs_lock *l = read_good();
	const struct fs_lock_model *m = fs_lock_find(l, "huggingface", "short",
		"");
	struct listing_entry e = { .path = (char []){ "config.json" } };
	struct error why;
	struct objid id;
	char hex[OBJID_HEX_MAX];

	t_int(compare(m, "", 0, OBJID_NONE, NULL, &why), 0);
	t_int(compare(m, "b", 99, OBJID_NONE, NULL, &why), 0);
	t_int(compare(m, "config.json", 570, OBJID_GITSHA1, GIT, &why), 0);
	t_int(compare(m, "config.json", 571, OBJID_GITSHA1, GIT, &why), -EIO);
	t_str(why.text, "f: line 4: huggingface/org/repo: config.json: has 571"
		" bytes at the hub and 570 in the lock file");
	t_int(compare(m, "config.json", 570, OBJID_GITSHA1, A, &why), -EIO);
	t_check(strstr(why.text, "has the digest " A " at the hub"));
	t_int(compare(m, "config.json", 0, OBJID_NONE, NULL, &why), -EIO);
	t_check(strstr(why.text, "in the lock file and not at the hub"));
	t_int(compare(m, "new", 1, OBJID_NONE, NULL, &why), -EIO);
	t_check(strstr(why.text, "new: is at the hub and not in the lock"));

	/* Held to the strongest digest there is. */
	t_int(objid_parse(OBJID_GITSHA1, GIT, &e.id), 0);
	id = fs_lock_id(m, &e);
	t_int(id.alg, OBJID_SHA256);
	objid_hex(&id, hex);
	t_str(hex, SHA);
	id = fs_lock_id(NULL, &e);
	t_int(id.alg, OBJID_GITSHA1);

	t_int(fs_lock_staged_check(m, "pytorch/model.onnx", KEY, &why), 0);
	t_int(fs_lock_staged_check(m, "pytorch/model.onnx", SHA, &why), -EIO);
	t_int(fs_lock_staged_check(m, "later/x.pb", SHA, &why), 0);
	fs_lock_free(l);
}

/* What an older file knows of the same bytes. */
static void keeping(void)
{
	static const char text[] = HEAD "model huggingface org/repo@" A "\n"
		"name huggingface org/repo\n"
		"file 13 - a file\nfile 570 gitsha1:" GIT " config.json\nend\n";
	struct fs_lock *old = read_good(), *l = NULL;
	struct error why = { 0 };
	const struct fs_lock_model *m;

	t_int(fs_lock_parse("g", text, strlen(text), &l, &why), 0);
	m = l->models[0];
	t_int(m->found.n, 0);
	t_int(fs_lock_keep(l, old), 0);
	t_int(m->found.n, 1);	/* "a file" has another size */
	t_str(m->found.v[0].path, "config.json");
	fs_lock_free(old);
	fs_lock_free(l);
}

static void refused(void)
{
	static const struct {
		const char *text;
		unsigned line;
		const char *what;
		int err;
	} bad[] = {
		{ "", 1, "empty", -EINVAL },
		{ "\n# x\nhello\n", 3, "must begin with", -EINVAL },
		{ "omnihub-lock 2\nend\n", 1, "version 2", -ENOTSUP },
		{ HEAD, 3, "cut short", -EINVAL },
		{ HEAD "end\nx\n", 4, "follows the end", -EINVAL },
		{ HEAD "name a b\nend\n", 3, "no model line", -EINVAL },
		{ HEAD "model a b\nend\n", 3, "@REVISION", -EINVAL },
		{ HEAD "model a b@1\nend\n", 3, "has no name", -EINVAL },
		{ HEAD "model a b@1\nname a b\nmodel a b@1\nend\n", 5,
			"has a place", -EINVAL },
		{ HEAD "model a b@1\nname a b\nmodel a b@2\nname a b\nend\n",
			6, "bound to another revision", -EINVAL },
		{ HEAD "model a b@1\nname x b\nend\n", 4, "hub", -EINVAL },
		{ HEAD "model a b@1\nname a b\nfile 1 - ../x\nend\n", 5,
			"no path", -EINVAL },
		{ HEAD "model a b@1\nname a b\nfile x - x\nend\n", 5,
			"not a size", -EINVAL },
		{ HEAD "model a b@1\nname a b\nfile 1 sha256:0g x\nend\n", 5,
			"digest", -EINVAL },
		{ HEAD "model a b@1\nname a b\nfile 1 - x\nfile 1 - x\nend\n",
			3, "beside each other", -EINVAL },
		{ HEAD "model a b@1\nname a b\nstaged 12 x\nend\n", 5, "KEY",
			-EINVAL },
		{ HEAD "model a b@1\nname a b\ndate now\nend\n", 5, "date",
			-EINVAL },
		{ HEAD "frob\nend\n", 3, "not a line", -EINVAL },
	};
	struct fs_lock *none = NULL;
	struct error why = { 0 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct fs_lock *l = NULL;
		char at[32];

		why = (struct error){ 0 };
		t_int(fs_lock_parse("f", bad[i].text, strlen(bad[i].text), &l,
			&why), bad[i].err);
		(void) snprintf(at, sizeof(at), "f: line %u: ", bad[i].line);
		if (strncmp(why.text, at, strlen(at)) ||
			!strstr(why.text, bad[i].what))
			fprintf(stderr, "case %zu: %s\n", i, why.text);
		t_check(!strncmp(why.text, at, strlen(at)));
		t_check(strstr(why.text, bad[i].what));
	}

	/* An empty file has no bytes at all. */
	t_int(fs_lock_read("/dev/null", &none, &why), -EINVAL);
	t_check(strstr(why.text, "it is empty"));
}

/* What could not be read back is not written. */
static void unwritable(void)
{
	struct fs_lock_name n = { (char []){ "h" }, (char []){ "o/r" },
		(char []){ "a b" } };
	struct buf b = BUF_INIT(4096);

	t_int(fs_lock_name_text(&n, &b), -EINVAL);
	n.rev[1] = '/';
	t_int(fs_lock_name_text(&n, &b), 0);
	t_str((const char *)b.data, "h o/r@a%2Fb");
	buf_done(&b);
}

static unsigned copies = UINT_MAX;	/* that memory is left for */

char *__real_strdup(const char *s);
char *__wrap_strdup(const char *s);

char *__wrap_strdup(const char *s)
{
	if (!copies)
		return NULL;
	if (copies < UINT_MAX)
		copies--;
	return __real_strdup(s);
}

/* Whatever there is no memory for: what was there before is as it was. */
static void no_memory(void)
{
	struct fs_lock *l = fs_lock_new(NULL);
	struct fs_lock_model *m = NULL;

	t_check(l);
	for (unsigned n = 0; n < 3; n++) {
		copies = n;
		t_int(fs_lock_model_add(l, "h", "o/r", A, &m), -ENOMEM);
		t_check(!m && !l->n);
	}
	copies = UINT_MAX;
	t_int(fs_lock_model_add(l, "h", "o/r", A, &m), 0);
	copies = 1;
	t_int(fs_lock_name_add(l, m, "h", "o/r", ""), -ENOMEM);
	copies = UINT_MAX;
	t_int(fs_lock_name_add(l, m, "h", "o/r", ""), 0);
	t_check(fs_lock_find(l, "h", "o/r", "") == m);
	fs_lock_free(l);
}

int main(void)
{
	no_memory();
	reading();
	comparing();
	keeping();
	refused();
	unwritable();
	return 0;
}
