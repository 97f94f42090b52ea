/*
 * What the ONNX zoo's replies are read into. The first byte chooses the
 * reader: 'm' the manifest, 'l' an LFS server's answer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "fetch/lfs-json.h"
#include "fetch/onnx-json.h"

#define SHA "2f06e72de813a8635c9bc0397ac447a601bdbfa7df4bebc278723b958831c9bf"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void manifest(const uint8_t *data, size_t len)
{
	struct listing l = { 0 };
	struct error why = { 0 };
	int r = fetch_onnx_manifest(data, len, &l, &why);

	if (r ? !why.code || !*why.text : !l.n)
		abort();
	for (size_t i = 0; i < l.n && !r; i++) {
		if (!path_rel_ok(l.v[i].path) || !l.v[i].size ||
		    l.v[i].size > INT64_MAX || l.v[i].id.digits != 64 ||
		    l.v[i].kind != LISTING_FILE)
			abort();
	}
	listing_done(&l);
}

static void answer(const uint8_t *data, size_t len)
{
	struct fetch_file f = { .size = 100000 };
	struct fetch_located at = { 0 };
	struct error why = { 0 };

	if (objid_parse(OBJID_SHA256, SHA, &f.id))
		abort();
	if (fetch_lfs_answer(data, len, &f, "https://github.com/batch", 1000,
			&at, &why)) {
		if (at.url || !why.code || !*why.text)
			abort();
		return;
	}
	if (strncmp(at.url, "https://", 8) != 0 ||
	    (at.lines && strchr(at.lines, '\r')) ||
	    at.life_ms > 1000ULL * LFS_LIFE_MAX_S)
		abort();
	fetch_located_done(&at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (!len)
		return 0;
	if (*data == 'm')
		manifest(data + 1, len - 1);
	else
		answer(data + 1, len - 1);
	return 0;
}
