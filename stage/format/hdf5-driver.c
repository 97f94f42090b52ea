/*
 * Reads only. libhdf5 asks for a few bytes at a time and often for the same
 * ones, and each read of a src may be a round trip to a hub: pages are kept.
 */
#include "config.h"

#include "stage/format/hdf5-driver.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

const char stage_hdf5_name[] = "src";

struct driver_file {
	H5FD_t pub;		/* must come first */
	struct stage_hdf5_source *source;
	haddr_t eoa;
};

static H5FD_t *driver_open(const char *name, unsigned flags, hid_t access,
	haddr_t max)
{
	struct stage_hdf5_source *const *s = H5Pget_driver_info(access);
	struct driver_file *f;

	(void) max;
	if (!s || !*s || (*s)->open || (flags & H5F_ACC_RDWR) ||
	    strcmp(name, stage_hdf5_name) != 0)
		return NULL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->source = *s;
	f->source->open = true;
	return &f->pub;
}

static struct driver_file *of(H5FD_t *pub)
{
	return (struct driver_file *)(void *)pub;
}

static const struct driver_file *of_const(const H5FD_t *pub)
{
	return (const struct driver_file *)(const void *)pub;
}

static herr_t driver_close(H5FD_t *pub)
{
	of(pub)->source->open = false;
	free(pub);
	return 0;
}

static herr_t driver_query(const H5FD_t *pub, unsigned long *flags)
{
	(void) pub;
	*flags = 0;
	return 0;
}

static haddr_t driver_get_eoa(const H5FD_t *pub, H5FD_mem_t type)
{
	(void) type;
	return of_const(pub)->eoa;
}

static herr_t driver_set_eoa(H5FD_t *pub, H5FD_mem_t type, haddr_t eoa)
{
	(void) type;
	of(pub)->eoa = eoa;
	return 0;
}

static haddr_t driver_get_eof(const H5FD_t *pub, H5FD_mem_t type)
{
	(void) type;
	return of_const(pub)->source->src->size;
}

static struct stage_hdf5_page *find_page(struct stage_hdf5_source *s,
	uint64_t no)
{
	struct stage_hdf5_page *oldest = &s->pages[0];

	for (unsigned i = 0; i < STAGE_HDF5_PAGES; i++) {
		struct stage_hdf5_page *p = &s->pages[i];

		if (p->used && p->no == no)
			return p;
		if (p->used < oldest->used)
			oldest = p;
	}
	oldest->used = 0;
	return oldest;
}

static int get_page(struct stage_hdf5_source *s, uint64_t no,
	const uint8_t **ret)
{
	struct stage_hdf5_page *p = find_page(s, no);
	uint64_t off = no * STAGE_HDF5_PAGE, left = s->src->size - off;
	int err = 0;

	if (!p->data)
		p->data = malloc(STAGE_HDF5_PAGE);
	if (!p->data)
		return -ENOMEM;
	if (!p->used)
		err = src_read_wait(s->src, off, p->data, left <
			STAGE_HDF5_PAGE ? (size_t)left : STAGE_HDF5_PAGE);
	if (err)
		return err;
	p->no = no;
	p->used = ++s->clock;
	*ret = p->data;
	return 0;
}

static int read_pages(struct stage_hdf5_source *s, uint64_t off, uint8_t *to,
	size_t len)
{
	if (len > STAGE_HDF5_PAGE * 4)
		return src_read_wait(s->src, off, to, len);
	while (len) {
		size_t at = (size_t)(off % STAGE_HDF5_PAGE);
		size_t n = STAGE_HDF5_PAGE - at;
		const uint8_t *page;
		int err = get_page(s, off / STAGE_HDF5_PAGE, &page);

		if (err)
			return err;
		n = n < len ? n : len;
		memcpy(to, page + at, n);
		off += n;
		to += n;
		len -= n;
	}
	return 0;
}

static herr_t driver_read(H5FD_t *pub, H5FD_mem_t type, hid_t transfer,
	haddr_t off, size_t len, void *to)
{
	struct stage_hdf5_source *s = of(pub)->source;
	int err;

	(void) type;
	(void) transfer;
	if (!size_inside(off, len, s->src->size) ||
	    (s->limit_at && to == s->limit_at && len > s->limit))
		return -1;
	err = s->err ? s->err : read_pages(s, off, to, len);
	if (!s->err)
		s->err = err;
	return err ? -1 : 0;
}

static herr_t driver_write(H5FD_t *pub, H5FD_mem_t type, hid_t transfer,
	haddr_t off, size_t len, const void *from)
{
	(void) pub;
	(void) type;
	(void) transfer;
	(void) off;
	(void) len;
	(void) from;
	return -1;
}

static const H5FD_class_t driver = {
#ifdef H5FD_CLASS_VERSION
	.version = H5FD_CLASS_VERSION,
	.value = (H5FD_class_value_t)600,
#endif
	.name = "omnihub-src",
	.maxaddr = (haddr_t)INT64_MAX,
	.fc_degree = H5F_CLOSE_STRONG,
	.fapl_size = sizeof(struct stage_hdf5_source *),
	.open = driver_open,
	.close = driver_close,
	.query = driver_query,
	.get_eoa = driver_get_eoa,
	.set_eoa = driver_set_eoa,
	.get_eof = driver_get_eof,
	.read = driver_read,
	.write = driver_write,
	.fl_map = H5FD_FLMAP_SINGLE,
};

hid_t stage_hdf5_access(struct stage_hdf5_source *s)
{
	static hid_t id = -1;
	hid_t access = H5Pcreate(H5P_FILE_ACCESS);

	if (id < 0)
		id = H5FDregister(&driver);
	if (access < 0 || id < 0 || H5Pset_driver(access, id, &s) < 0 ||
	    H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) < 0) {
		if (access >= 0)
			(void) H5Pclose(access);
		return -1;
	}
	return access;
}
