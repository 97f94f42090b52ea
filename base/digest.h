/*
 * Digests of bytes as they pass, by libcrypto (SHA-NI where there is), and
 * objid: the name of immutable bytes as a hub tells it.
 *
 * OBJID_GITSHA1 is the git blob name: SHA-1 over "blob <size>\0" and the
 * bytes. Hugging Face gives it for small files and SHA-256 for LFS ones
 * (hubs.md 1.7). A hub that only tells the first digits of a digest (PyTorch
 * file names) sets `digits` below the full count; only those are compared.
 */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum objid_alg {
	OBJID_NONE,	/* the hub names no digest */
	OBJID_SHA256,
	OBJID_GITSHA1,
	OBJID_MD5,
};

#define OBJID_RAW_MAX 32
#define OBJID_HEX_MAX (2 * OBJID_RAW_MAX + 1)	/* with the NUL */

struct objid {
	enum objid_alg alg;
	unsigned digits;		/* hex digits known, from the front */
	uint8_t raw[OBJID_RAW_MAX];
};

/* From hex of 1 to the full count of digits; -EINVAL otherwise. */
int objid_parse(enum objid_alg alg, const char *hex, struct objid *ret);
/* Lower-case hex of the digits known; "" for OBJID_NONE. */
void objid_hex(const struct objid *id, char ret[OBJID_HEX_MAX]);
/* Same algorithm, and the digits both know are equal. OBJID_NONE never. */
bool objid_match(const struct objid *a, const struct objid *b);
/* A SHA-256 with all its digits: a hub may tell its first ones only. */
bool objid_is_sha256(const struct objid *id);
const char *objid_alg_name(enum objid_alg alg);

struct digest;	/* a digest in the making; one thread at a time */

/* `size` is that of the whole object in bytes (GITSHA1 hashes it first).
 * NULL: out of memory or OBJID_NONE. */
struct digest *digest_new(enum objid_alg alg, uint64_t size);
void digest_update(struct digest *d, const void *data, size_t len);
/* Writes the result and resets nothing: d may only be freed afterwards. */
void digest_final(struct digest *d, struct objid *ret);
void digest_free(struct digest *d);

/* SHA-256 of one buffer, as full objid. */
void digest_sha256(const void *data, size_t len, struct objid *ret);

/* Plain SHA-1 in hex: some tools name files by it. No check of bytes. */
#define DIGEST_SHA1_HEX 41	/* with the NUL */
void digest_sha1(const void *data, size_t len, char ret[DIGEST_SHA1_HEX]);

#endif
