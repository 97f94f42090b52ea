/*
 * read-paths [--set KEY=VALUE]... [--part OFF:LEN] PATH...
 *
 * Reads files of the tree through the rooms, as a mount would, and prints the
 * SHA-256 of what came; or the error, and ends with 1.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/log.h"
#include "fs/fs.h"

#define BLOCK (1UL << 20)

static int hash(struct fs_handle *h, uint64_t off, uint64_t end,
	struct digest *d)
{
	cleanup_free void *block = malloc(BLOCK);
	struct src *s = fs_handle_src(h);
	int r = block ? 0 : -ENOMEM;

	while (!r && off < end) {
		size_t n = end - off < BLOCK ? (size_t)(end - off) : BLOCK;

		r = fs_handle_touch(h, off, n);
		if (!r)
			r = src_read_wait(s, off, block, n);
		if (!r)
			digest_update(d, block, n);
		off += n;
	}
	return r;
}

static int read_path(struct fs *fs, const char *path, const char *part)
{
	struct digest *d = digest_new(OBJID_SHA256, 0);
	uint64_t off = 0, len = UINT64_MAX;
	struct fs_handle *h = NULL;
	struct fs_node *n = NULL;
	char hex[OBJID_HEX_MAX];
	struct fs_attr a;
	struct objid got;
	int r;

	if (!d)
		return -ENOMEM;
	r = fs_walk_wait(fs, path, &n, &a);
	if (!r)
		r = fs_open_wait(fs, n, &h);
	if (part && sscanf(part, "%" SCNu64 ":%" SCNu64, &off, &len) != 2)
		r = -EINVAL;
	if (!r)
		r = hash(h, off, len > a.size - off ? a.size : off + len, d);
	digest_final(d, &got);
	digest_free(d);
	objid_hex(&got, hex);
	if (r)
		printf("%s %s\n", strerrorname_np(-r), path);
	else
		printf("%s %s\n", hex, path);
	fs_close(h);
	fs_node_unref(n);
	return r;
}

int main(int argc, char **argv)
{
	struct conf *conf = conf_new();
	struct error why = { 0 };
	const char *part = NULL;
	struct fs *fs = NULL;
	int i, r = conf ? 0 : -ENOMEM, bad = 0;

	for (i = 1; i + 1 < argc && !r && argv[i][0] == '-'; i += 2) {
		if (!strcmp(argv[i], "--part"))
			part = argv[i + 1];
		else
			r = conf_set_arg(conf, argv[i + 1], &why);
	}
	log_setup(LOG_LEVEL_ERROR, false);
	if (!r)
		r = fs_new(conf, &fs, &why);
	if (r) {
		(void) fprintf(stderr, "read-paths: %s\n", error_text(&why, r));
		conf_free(conf);
		return 1;
	}
	for (; i < argc; i++)
		bad |= read_path(fs, argv[i], part) != 0;
	(void) fflush(stdout);
	fs_free(fs);
	conf_free(conf);
	return bad;
}
