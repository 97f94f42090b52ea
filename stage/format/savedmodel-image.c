/*
 * Which bytes of saved_model.pb have to be read is known only by walking it.
 * The image is as large as the file and reserves no memory: pages nobody
 * reads into stay zero, so offsets in it are those of the file.
 */
#include "config.h"

#include "stage/format/savedmodel-image.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "stage/format/savedmodel.h"
#include "stage/window.h"

#define BLOCK (256u << 10)	/* bytes a read, at least */
#define HEAD_MAX 20		/* bytes of the longest tag and length */
#define FIELDS_MAX 50000000

enum message {
	LEAF, SAVED_MODEL, META_GRAPH, META_INFO, GRAPH, LIBRARY, FUNCTION,
	OP_DEF, NODE, ATTR, ATTR_VALUE, TENSOR, SIGNATURES, SIGNATURE, SAVER,
};

/* Messages inside messages that may be long. Nothing is inside itself, so
 * the walk is as deep as this table. */
static const struct {
	uint8_t of, number, is;
} inside[] = {
	{ SAVED_MODEL, 2, META_GRAPH },
	{ META_GRAPH, 1, META_INFO }, { META_GRAPH, 2, GRAPH },
	{ META_GRAPH, 3, SAVER }, { META_GRAPH, 5, SIGNATURES },
	{ GRAPH, 1, NODE }, { GRAPH, 2, LIBRARY },
	{ LIBRARY, 1, FUNCTION },
	{ FUNCTION, 1, OP_DEF }, { FUNCTION, 3, NODE },
	{ NODE, 5, ATTR }, { ATTR, 2, ATTR_VALUE }, { ATTR_VALUE, 8, TENSOR },
	{ SIGNATURES, 2, SIGNATURE },
};

struct image {
	struct src *src;
	uint8_t *data;
	uint8_t *have;		/* a byte a block */
	uint64_t read;		/* bytes read so far */
	uint64_t fields;
	struct error *why;
};

static enum message inside_of(enum message m, uint32_t number)
{
	for (size_t i = 0; i < sizeof(inside) / sizeof(inside[0]); i++)
		if (inside[i].of == m && inside[i].number == number)
			return inside[i].is;
	return LEAF;
}

/* Blocks [at, end) of the file, which are not there. */
static int read_blocks(struct image *x, uint64_t at, uint64_t end)
{
	uint64_t off = at * BLOCK, stop = end * BLOCK;
	int err;

	if (stop > x->src->size)
		stop = x->src->size;
	x->read += stop - off;
	if (x->read > STAGE_SAVEDMODEL_READ_MAX)
		return error_set(x->why, -EFBIG, "its graph is over %u bytes",
			STAGE_SAVEDMODEL_READ_MAX);
	err = src_read_wait(x->src, off, x->data + off, (size_t)(stop - off));
	if (err)
		return stage_read_error(x->src, err, "reading the graph",
			x->why);
	while (at < end)
		x->have[at++] = 1;
	return 0;
}

static int need(struct image *x, uint64_t off, uint64_t len)
{
	uint64_t at = off / BLOCK, end = (off + len + BLOCK - 1) / BLOCK;
	int err = 0;

	while (at < end && !err) {
		uint64_t stop = at;

		while (stop < end && !x->have[stop])
			stop++;
		if (stop > at)
			err = read_blocks(x, at, stop);
		at = stop > at ? stop : at + 1;
	}
	return err;
}

/* Tag and value or length of the field at *at, which is moved behind them. */
static int field(struct image *x, uint64_t *at, uint64_t end,
	uint32_t *ret_number, uint64_t *ret_len)
{
	uint64_t len = end - *at < HEAD_MAX ? end - *at : HEAD_MAX;
	struct bytes b = bytes_of(x->data + *at, (size_t)len);
	int err = need(x, *at, len);
	uint64_t tag;

	if (err)
		return err;
	tag = bytes_varint(&b);
	*ret_len = 0;
	switch (tag & 7) {
	case STAGE_WIRE_VARINT:
		(void) bytes_varint(&b);
		break;
	case STAGE_WIRE_FIXED64:
		(void) bytes_take(&b, 8);
		break;
	case STAGE_WIRE_FIXED32:
		(void) bytes_take(&b, 4);
		break;
	case STAGE_WIRE_BYTES:
		*ret_len = bytes_varint(&b);
		break;
	default:
		b.bad = true;
	}
	if (b.bad || ++x->fields > FIELDS_MAX)
		return error_set(x->why, -EBADMSG, "this is no protobuf, or "
			"cut short");
	*at += len - bytes_left(&b);
	if (!size_inside(*at, *ret_len, end))
		return error_set(x->why, -EBADMSG, "a field is longer than "
			"what it is part of");
	*ret_number = (tag & 7) == STAGE_WIRE_BYTES ? (uint32_t)(tag >> 3) :
		0;
	return 0;
}

static int walk(struct image *x, uint64_t at, uint64_t end, enum message m)
{
	int err = 0;

	while (at < end && !err) {
		uint32_t number = 0;
		enum message is;
		uint64_t len = 0;

		err = field(x, &at, end, &number, &len);
		if (err)
			break;
		is = inside_of(m, number);
		/* The object graph and collections are for training. */
		if (m == META_GRAPH && is == LEAF && number != 6)
			;
		else if (len <= STAGE_SAVEDMODEL_LEAF)
			err = need(x, at, len);
		else if (is != LEAF)
			err = walk(x, at, at + len, is);
		at += len;
	}
	return err;
}

int stage_savedmodel_image(struct src *s, uint8_t **ret, struct error *why)
{
	struct image x = { .src = s, .why = why };
	void *p;
	int err;

	if (!s->size)
		return error_set(why, -EBADMSG, "the file is empty");
	if (s->size > INT32_MAX)
		return error_set(why, -EFBIG, "over 2 GiB");
	p = mmap(NULL, (size_t)s->size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	x.data = p;
	x.have = calloc((size_t)(s->size / BLOCK + 1), 1);
	err = x.have ? walk(&x, 0, s->size, SAVED_MODEL) : -ENOMEM;
	free(x.have);
	if (err) {
		(void) munmap(p, (size_t)s->size);
		return err;
	}
	*ret = x.data;
	return 0;
}
