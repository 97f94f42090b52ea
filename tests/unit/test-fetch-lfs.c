/* What .gitattributes says of a path, as git understands it, or at least that the
 * file may be a pointer. */
#include "config.h"

#include "fetch/lfs.h"

#include <stdio.h>

#include "tests/unit/t.h"

struct file {
	const char *dir, *text;
};

static const struct {
	struct file files[3];	/* the root's first */
	const char *yes[4], *no[4];
} rows[] = {
	{ { { "", "*.bin filter=lfs diff=lfs merge=lfs -text\n"
		"# *.txt filter=lfs\n\n*.c filter=indent\n"
		"*.x filter=lfs -filter\n*.y filterx=lfs\n*.z filter\n" } },
	  { "a.bin", "d/e/a.bin" },
	  { "a.bin2", "a.txt", "a.c", "a.x" } },
	{ { { "", "*.y filterx=lfs\n*.z filter\n*.w !filter\r\n*.v\t"
		"filter=lfs\r\n" } },
	  { "a.v" }, { "a.y", "a.z", "a.w" } },
	/* Macros: of the root only, by whatever order, also in directories. */
	{ { { "", "*.bin lfs\n[attr]lfs filter=lfs -text\n" },
	    { "d", "*.pt lfs\n*.x -lfs\n*.y !lfs\n*.z lfs=1\n" } },
	  { "a.bin", "d/a.pt" }, { "a.pt", "d/a.x", "d/a.y", "d/a.z" } },
	{ { { "", "[attr]big large\n[attr]large filter=lfs\n*.a big\n"
		"*.b large -filter\n[attr]small -filter\n*.c small" } },
	  { "x.a" }, { "x.b", "x.c" } },
	{ { { "", "*.bin mine\n" }, { "d", "[attr]mine filter=lfs\n"
		"*.bin mine\n" } },
	  { NULL }, { "a.bin", "d/a.bin" } },
	/* Patterns in quotes. */
	{ { { "", "\"a b.bin\" filter=lfs\n\"\\303\\244*\" filter=lfs\n"
		"\"q\\\"\\t\" filter=lfs\n\"open filter=lfs\n"
		"\"bad\\9\" filter=lfs\n" } },
	  { "a b.bin", "\303\244x", "q\"\t", "\"open" },
	  { "a", "b.bin", "open", "bad" } },
	{ { { "", "\"bad\\9\" filter=lfs\n\"end\\" } },
	  { "\"bad9\"" }, { "bad9", "bad", "end" } },
	{ { { "", "\xef\xbb\xbf*.bin filter=lfs\n[Mm]odel.pt filter=lfs\n" } },
	  { "a.bin", "Model.pt" }, { "odel.pt" } },
	{ { { "", "/top filter=lfs\n**/deep filter=lfs\n" },
	    { "d", "x/** filter=lfs" } },
	  { "top", "deep", "a/deep", "d/x/y/z" }, { "x/y", "d/y" } },
};

static void test_rows(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct fetch_lfs l = { .v = NULL };

		for (const struct file *f = rows[i].files; f->dir; f++)
			t_int(fetch_lfs_add(&l, f->dir, f->text,
				strlen(f->text)), 0);
		for (size_t k = 0; k < 4; k++) {
			if (rows[i].yes[k] &&
			    !fetch_lfs_match(&l, rows[i].yes[k]))
				t_str(rows[i].yes[k], "may be a pointer");
			if (rows[i].no[k] && fetch_lfs_match(&l, rows[i].no[k]))
				t_str(rows[i].no[k], "is no pointer");
		}
		fetch_lfs_done(&l);
	}
}

/* What there is too much of may be anything. */
static void test_many(void)
{
	struct fetch_lfs l = { .v = NULL };
	char text[64];

	t_int(fetch_lfs_unread(&l, "d"), 0);
	t_check(fetch_lfs_match(&l, "d/e/f"));
	t_check(!fetch_lfs_match(&l, "e"));
	for (unsigned i = 0; i <= LFS_RULES_MAX; i++) {
		(void) snprintf(text, sizeof(text), "x%u filter=lfs", i);
		t_int(fetch_lfs_add(&l, "", text, strlen(text)), 0);
	}
	t_check(fetch_lfs_match(&l, "e"));
	fetch_lfs_done(&l);

	for (unsigned i = 0; i <= LFS_MACROS_MAX; i++) {
		t_check(!fetch_lfs_match(&l, "e"));
		(void) snprintf(text, sizeof(text), "[attr]m%u filter=lfs", i);
		t_int(fetch_lfs_add(&l, "", text, strlen(text)), 0);
	}
	t_check(fetch_lfs_match(&l, "e"));
	fetch_lfs_done(&l);
}

int main(void)
{
	test_rows();
	test_many();
	return 0;
}
