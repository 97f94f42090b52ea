/*
 * What the reader asks for: the bytes of a checkpoint may be far away, so its
 * reads are counted. Which checkpoints it reads and which not is in
 * tests/stage/test_checkpoints.py. The zip is written here with the layout of
 * torch's writer.
 */
#include "config.h"

#include "base/buf.h"
#include "stage/format/torch.h"
#include "stage/format/zipdir.h"
#include "tests/unit/stage-src.h"

struct member {
	char name[64];
	uint64_t at, len;
};

struct zip {
	struct buf b;
	struct member v[256];
	size_t n, align;
};

static void le(struct buf *b, uint64_t v, unsigned n)
{
	t_int(buf_append_le(b, v, n), 0);
}

static void add(struct zip *z, const char *name, const void *data, size_t len)
{
	struct member *m = &z->v[z->n++];
	size_t head = 30 + strlen(name) + 4, pad;

	snprintf(m->name, sizeof(m->name), "%s", name);
	m->at = z->b.len;
	m->len = len;
	pad = (z->align - (m->at + head) % z->align) % z->align;
	le(&z->b, 0x04034b50, 4);
	le(&z->b, 0x08080000, 4);		/* version, flags */
	for (int i = 0; i < 9; i++)
		le(&z->b, 0, 2);
	le(&z->b, strlen(name), 2);
	le(&z->b, pad + 4, 2);
	t_int(buf_append_str(&z->b, name), 0);
	le(&z->b, 'F' | 'B' << 8 | (uint64_t)pad << 16, 4);
	for (size_t i = 0; i < pad; i++)
		le(&z->b, 'Z', 1);
	t_int(buf_append(&z->b, data, len), 0);
	le(&z->b, 0x08074b50, 4);
	le(&z->b, 0, 4);
	le(&z->b, len, 4);
	le(&z->b, len, 4);
}

static void end(struct zip *z)
{
	uint64_t dir = z->b.len, len;

	for (size_t i = 0; i < z->n; i++) {
		struct member *m = &z->v[i];

		le(&z->b, 0x02014b50, 4);
		le(&z->b, 0, 4);
		le(&z->b, 0x0808, 2);
		le(&z->b, 0, 6);
		le(&z->b, 0, 4);		/* crc32 */
		le(&z->b, m->len, 4);
		le(&z->b, m->len, 4);
		le(&z->b, strlen(m->name), 2);
		le(&z->b, 0, 8);
		le(&z->b, 0, 4);
		le(&z->b, m->at, 4);
		t_int(buf_append_str(&z->b, m->name), 0);
	}
	len = z->b.len - dir;
	le(&z->b, 0x06054b50, 4);
	le(&z->b, 0, 4);
	le(&z->b, z->n, 2);
	le(&z->b, z->n, 2);
	le(&z->b, len, 4);
	le(&z->b, dir, 4);
	le(&z->b, 0, 2);
}

/* ---- a src that counts ----------------------------------------------------- */

struct counted {
	struct src base;		/* must be first */
	struct buf *b;
	unsigned reads;
	uint64_t bytes;
};

static int counted_read(struct src *s, struct src_read *r)
{
	struct counted *c = (struct counted *)s;

	c->reads++;
	c->bytes += r->len;
	memcpy(r->buf, c->b->data + r->off, r->len);
	return 0;
}

static void counted_free(struct src *s)
{
	(void) s;
}

static const struct src_ops counted_ops = {
	.name = "counted", .read = counted_read, .free = counted_free,
};

/* ---- a checkpoint of n tensors of 64 KiB ----------------------------------- */

#define TENSOR_LEN 65536

static void put_tensor(struct buf *b, int i)
{
	t_int(buf_printf(b, "S'w%d'\nctorch._utils\n_rebuild_tensor_v2\n(("
		"S'storage'\nctorch\nFloatStorage\nS'%d'\nS'cpu'\nI%d\ntQ"
		"I0\n(I%d\nt(I1\ntI00\nccollections\nOrderedDict\n)RtR", i, i,
		TENSOR_LEN / 4, TENSOR_LEN / 4), 0);
}

static void make(struct zip *z, int n, size_t align)
{
	struct buf pickle = BUF_INIT(1 << 20);
	uint8_t *data = calloc(1, TENSOR_LEN);
	char name[32];

	t_check(data);
	*z = (struct zip){ .b = BUF_INIT(64 << 20), .align = align };
	t_int(buf_append_str(&pickle, "}("), 0);
	for (int i = 0; i < n; i++)
		put_tensor(&pickle, i);
	t_int(buf_append_str(&pickle, "u."), 0);
	add(z, "m/data.pkl", pickle.data, pickle.len);
	add(z, "m/byteorder", "little", 6);
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "m/data/%d", i);
		add(z, name, data, TENSOR_LEN);
	}
	add(z, "m/version", "3\n", 2);
	end(z);
	buf_done(&pickle);
	free(data);
}

static void read_counted(struct zip *z, size_t n, struct counted *c)
{
	struct stage_weights w = { 0 };
	struct error why = { 0 };

	memset(c, 0, sizeof(*c));
	src_init(&c->base, &counted_ops, z->b.len);
	c->b = &z->b;
	t_int(stage_weights_file(&w, "m.bin", z->b.len), 0);
	t_str((stage_torch_read(&c->base, 0, &w, &why), why.text), "");
	t_int(stage_weights_sort(&w, NULL), 0);
	t_int(w.n, n);
	for (size_t i = 0; i < n; i++)
		t_int(w.v[i].off % z->align, 0);
	stage_weights_done(&w);
}

static void test_few_reads(void)
{
	struct counted c;
	struct zip z;

	make(&z, 200, 64);
	read_counted(&z, 200, &c);
	/* The first bytes, the tail, the beginning. */
	t_int(c.reads, 3);
	t_check(c.bytes < 200000);
	buf_done(&z.b);
	/* Another alignment: each local header is read. */
	make(&z, 20, 256);
	read_counted(&z, 20, &c);
	t_check(c.reads > 20);
	buf_done(&z.b);
}

/* ---- the directory --------------------------------------------------------- */

static void test_zip(void)
{
	struct stage_zip dir = { 0 };
	const struct stage_zip_member *m;
	struct stage_window w;
	struct error why = { 0 };
	struct zip z = { .b = BUF_INIT(1 << 20), .align = 64 };
	struct src *s;
	uint8_t *data;
	uint64_t off;

	add(&z, "b/two", "22", 2);
	add(&z, "a/one", "1", 1);
	add(&z, "empty", "", 0);
	end(&z);
	s = src_of(z.b.data, z.b.len);
	t_int(stage_zip_read(s, &dir, &why), 0);
	t_int(dir.n, 3);
	t_str(dir.v[0].name, "a/one");
	t_check(!stage_zip_find(&dir, "a/on"));
	m = stage_zip_find(&dir, "b/two");
	t_check(m);
	t_int(m->header, 0);
	t_int(m->end, 64 + 2 + 16);
	t_int(stage_window_init(&w, s, 4096), 0);
	t_int(stage_zip_data(&w, m, &off, &why), 0);
	t_int(off, 64);
	t_int(stage_zip_member_read(&w, m, 1, &data, &why), -EFBIG);
	t_int(stage_zip_member_read(&w, m, 2, &data, &why), 0);
	t_str((char *)data, "22");
	free(data);
	m = stage_zip_find(&dir, "empty");
	t_check(m);
	t_int(stage_zip_member_read(&w, m, 0, &data, &why), 0);
	free(data);
	stage_window_done(&w);
	stage_zip_done(&dir);
	src_unref(s);
	buf_done(&z.b);
}

static void check_bad_zip(struct zip *z, const char *text)
{
	struct stage_zip dir = { 0 };
	struct error why = { 0 };
	struct src *s;

	end(z);
	s = src_of(z->b.data, z->b.len);
	t_int(stage_zip_read(s, &dir, &why), -EBADMSG);
	if (!strstr(why.text, text)) {
		fprintf(stderr, "%s\n", why.text);
		exit(1);
	}
	src_unref(s);
	buf_done(&z->b);
}

static struct zip two_members(void)
{
	struct zip z = { .b = BUF_INIT(1 << 20), .align = 64 };

	add(&z, "one", "1", 1);
	add(&z, "two", "22", 2);
	return z;
}

static void test_bad_zip(void)
{
	struct zip z = two_members();

	z.v[0].len = 100;
	check_bad_zip(&z, "one overlaps");
	z = two_members();
	z.v[1].len = 100000;
	check_bad_zip(&z, "two overlaps");
	z = two_members();
	z.v[1].at = 0xfffffff0;
	check_bad_zip(&z, "two overlaps");
	z = two_members();
	z.v[1].at = z.v[0].at;
	check_bad_zip(&z, "overlaps");
	z = two_members();
	strcpy(z.v[1].name, "one");
	check_bad_zip(&z, "one comes twice");
}

/* The local header has the last word on what it is the header of. */
static void test_bad_header(void)
{
	struct zip z = two_members();
	struct stage_zip dir = { 0 };
	struct stage_window w;
	struct error why = { 0 };
	struct src *s;
	uint64_t off = 7;

	strcpy(z.v[1].name, "twx");
	end(&z);
	s = src_of(z.b.data, z.b.len);
	t_int(stage_zip_read(s, &dir, &why), 0);
	t_int(stage_window_init(&w, s, 4096), 0);
	t_int(stage_zip_data(&w, stage_zip_find(&dir, "one"), &off, &why), 0);
	t_int(off, 64);
	t_int(stage_zip_data(&w, stage_zip_find(&dir, "twx"), &off, &why),
		-EBADMSG);
	t_int(off, 64);
	stage_window_done(&w);
	stage_zip_done(&dir);
	src_unref(s);
	buf_done(&z.b);
}

static int failing_read(struct src *s, struct src_read *r)
{
	(void) s;
	(void) r;
	return -ETIMEDOUT;
}

static const struct src_ops failing_ops = {
	.name = "failing", .read = failing_read, .free = counted_free,
};

/* The third answer: neither good nor bad, but not known. */
static void test_unreachable(void)
{
	struct stage_weights w = { 0 };
	struct error why = { 0 };
	struct src s;

	src_init(&s, &failing_ops, 1000);
	t_int(stage_torch_read(&s, 0, &w, &why), -ETIMEDOUT);
	t_int(why.code, -ETIMEDOUT);
	stage_weights_done(&w);
}

int main(void)
{
	test_few_reads();
	test_zip();
	test_bad_zip();
	test_bad_header();
	test_unreachable();
	return 0;
}
