#include "config.h"

#include "base/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	unsigned digits;	/* hex digits of the whole digest */
	const EVP_MD *(*md)(void);
} algs[] = {
	[OBJID_NONE] = { "none", 0, NULL },
	[OBJID_SHA256] = { "sha256", 64, EVP_sha256 },
	[OBJID_GITSHA1] = { "gitsha1", 40, EVP_sha1 },
	[OBJID_MD5] = { "md5", 32, EVP_md5 },
};

/* What EVP_sha256() names is looked up anew for each digest, which takes longer
 * than to digest a name: looked up once. */
static EVP_MD *fetched[sizeof(algs) / sizeof(algs[0])];
static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;

static void fetch_all(void)
{
	for (size_t i = 0; i < sizeof(algs) / sizeof(algs[0]); i++)
		if (algs[i].md)
			fetched[i] = EVP_MD_fetch(NULL,
				EVP_MD_get0_name(algs[i].md()), NULL);
}

static const EVP_MD *md_of(enum objid_alg alg)
{
	pthread_once(&fetch_once, fetch_all);
	return fetched[alg] ? fetched[alg] : algs[alg].md();
}

struct digest {
	EVP_MD_CTX *ctx;
	enum objid_alg alg;
};

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int objid_parse(enum objid_alg alg, const char *hex, struct objid *ret)
{
	struct objid id = { .alg = alg };

	for (; hex[id.digits]; id.digits++) {
		int v = nibble(hex[id.digits]);

		if (v < 0 || id.digits == algs[alg].digits)
			return -EINVAL;
		id.raw[id.digits / 2] |=
			(uint8_t)(id.digits % 2 ? v : v << 4);
	}
	if (!id.digits)
		return -EINVAL;
	*ret = id;
	return 0;
}

static unsigned digit(const struct objid *id, unsigned i)
{
	return i % 2 ? id->raw[i / 2] & 0xf : id->raw[i / 2] >> 4;
}

void objid_hex(const struct objid *id, char ret[OBJID_HEX_MAX])
{
	unsigned n = id->alg == OBJID_NONE ? 0 : id->digits;

	for (unsigned i = 0; i < n; i++)
		ret[i] = "0123456789abcdef"[digit(id, i)];
	ret[n] = '\0';
}

bool objid_is_sha256(const struct objid *id)
{
	return id->alg == OBJID_SHA256 && id->digits == 2 * OBJID_RAW_MAX;
}

bool objid_match(const struct objid *a, const struct objid *b)
{
	unsigned n = a->digits < b->digits ? a->digits : b->digits;

	if (a->alg == OBJID_NONE || a->alg != b->alg || !n)
		return false;
	for (unsigned i = 0; i < n; i++)
		if (digit(a, i) != digit(b, i))
			return false;
	return true;
}

const char *objid_alg_name(enum objid_alg alg)
{
	return algs[alg].name;
}

struct digest *digest_new(enum objid_alg alg, uint64_t size)
{
	struct digest *d;

	if (alg == OBJID_NONE)
		return NULL;
	d = malloc(sizeof(*d));
	if (!d)
		return NULL;
	d->alg = alg;
	d->ctx = EVP_MD_CTX_new();
	if (!d->ctx || !EVP_DigestInit_ex(d->ctx, md_of(alg), NULL)) {
		digest_free(d);
		return NULL;
	}
	if (alg == OBJID_GITSHA1) {
		char head[32];
		int n = snprintf(head, sizeof(head), "blob %llu",
			(unsigned long long)size);

		digest_update(d, head, (size_t)n + 1);
	}
	return d;
}

void digest_update(struct digest *d, const void *data, size_t len)
{
	(void) EVP_DigestUpdate(d->ctx, data, len);
}

void digest_final(struct digest *d, struct objid *ret)
{
	uint8_t raw[EVP_MAX_MD_SIZE];

	memset(raw, 0, sizeof(raw));
	(void) EVP_DigestFinal_ex(d->ctx, raw, NULL);
	*ret = (struct objid){ .alg = d->alg, .digits = algs[d->alg].digits };
	memcpy(ret->raw, raw, sizeof(ret->raw));
}

void digest_free(struct digest *d)
{
	if (!d)
		return;
	EVP_MD_CTX_free(d->ctx);
	free(d);
}

void digest_sha256(const void *data, size_t len, struct objid *ret)
{
	*ret = (struct objid){ .alg = OBJID_SHA256, .digits = 64 };
	(void) EVP_Digest(data, len, ret->raw, NULL, md_of(OBJID_SHA256), NULL);
}

void digest_sha1(const void *data, size_t len, char ret[DIGEST_SHA1_HEX])
{
	uint8_t raw[EVP_MAX_MD_SIZE];

	memset(raw, 0, sizeof(raw));
	(void) EVP_Digest(data, len, raw, NULL, md_of(OBJID_GITSHA1), NULL);
	for (unsigned i = 0; i < DIGEST_SHA1_HEX / 2; i++)
		(void) snprintf(ret + 2 * i, 3, "%02x", raw[i]);
}
