/*
 * LevelDB's table, as TensorFlow writes its checkpoint indices: blocks of
 * sorted keys with shared prefixes, an index block, a footer of 48 bytes.
 *
 * Checked: magic, block handles, the masked CRC-32C of every block that is
 * read, restart points, and that keys rise from the first to the last.
 * Blocks are plain or snappy. Meta blocks (filters) are not read.
 *
 * Source: doc/table_format.md of google/leveldb; tensorflow/tsl/lib/io.
 */
#ifndef STAGE_FORMAT_SSTABLE_H
#define STAGE_FORMAT_SSTABLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/src.h"

#define STAGE_SSTABLE_MAX (64u << 20)	/* bytes of the file */
#define STAGE_SSTABLE_BLOCK_MAX (16u << 20)	/* bytes of a block, unpacked */
#define STAGE_SSTABLE_PLAIN_MAX (256u << 20)	/* of all blocks, unpacked */

struct stage_sstable_entry {
	const uint8_t *key;
	size_t key_len;
	const uint8_t *value;
	size_t value_len;
};

/* Called for every entry in order of keys; e is valid during the call. Not
 * 0: the reading ends with that. */
typedef int stage_sstable_fn(void *arg, const struct stage_sstable_entry *e,
	struct error *why);

/* Reads the file whole, in one read. -EBADMSG: not as the format says, or a
 * checksum is wrong; -ENOTSUP: a compression we do not know; -EFBIG; what fn
 * or reading gave. Waits. */
int stage_sstable_read(struct src *s, stage_sstable_fn *fn, void *arg,
	struct error *why);

/* CRC-32C (Castagnoli), and the form in which tables store it. */
uint32_t stage_crc32c(const void *data, size_t len);
uint32_t stage_crc32c_masked(const void *data, size_t len);

#endif
