/* Digests against published values. */
#include "config.h"

#include <errno.h>

#include "base/digest.h"
#include "tests/unit/t.h"

/* Of "abc"; the git one is that of `printf abc | git hash-object --stdin`. */
#define ABC_SHA256 \
	"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC_GIT "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f"
#define ABC_MD5 "900150983cd24fb0d6963f7d28e17f72"
#define EMPTY_GIT "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"

static void whole(enum objid_alg alg, const char *text, const char *want)
{
	size_t len = strlen(text);
	struct digest *d = digest_new(alg, len);
	char hex[OBJID_HEX_MAX];
	struct objid got, id;

	t_check(d);
	for (size_t i = 0; i < len; i++)
		digest_update(d, text + i, 1);
	digest_final(d, &got);
	digest_free(d);
	objid_hex(&got, hex);
	t_str(hex, want);
	t_int(objid_parse(alg, want, &id), 0);
	t_check(objid_match(&got, &id));
	t_check(objid_match(&id, &got));
}

static void parse(void)
{
	struct objid id = { .digits = 7 };
	char hex[OBJID_HEX_MAX];

	t_int(objid_parse(OBJID_SHA256, "", &id), -EINVAL);
	t_int(objid_parse(OBJID_SHA256, "12g4", &id), -EINVAL);
	t_int(objid_parse(OBJID_SHA256, ABC_SHA256 "0", &id), -EINVAL);
	t_int(objid_parse(OBJID_MD5, ABC_GIT, &id), -EINVAL);
	t_int(objid_parse(OBJID_NONE, "00", &id), -EINVAL);
	t_int(id.digits, 7);
	t_int(objid_parse(OBJID_GITSHA1, "F2BA8", &id), 0);
	objid_hex(&id, hex);
	t_str(hex, "f2ba8");
}

static void match(void)
{
	struct objid full, part, odd, other, none = { 0 };
	char hex[OBJID_HEX_MAX];

	t_int(objid_parse(OBJID_SHA256, ABC_SHA256, &full), 0);
	t_int(objid_parse(OBJID_SHA256, "ba7816bf", &part), 0);
	t_int(objid_parse(OBJID_SHA256, "ba7816bf8", &odd), 0);
	t_int(objid_parse(OBJID_SHA256, "ba7816be", &other), 0);
	t_check(objid_match(&full, &part));
	t_check(objid_match(&odd, &full));
	t_check(!objid_match(&full, &other));
	other = full;
	other.alg = OBJID_MD5;
	t_check(!objid_match(&full, &other));
	t_check(!objid_match(&none, &none));
	t_check(!objid_match(&none, &full));
	objid_hex(&none, hex);
	t_str(hex, "");
	part.digits = 0;
	t_check(!objid_match(&full, &part));
}

int main(void)
{
	struct objid id, want;

	whole(OBJID_SHA256, "abc", ABC_SHA256);
	whole(OBJID_GITSHA1, "abc", ABC_GIT);
	whole(OBJID_GITSHA1, "", EMPTY_GIT);
	whole(OBJID_MD5, "abc", ABC_MD5);
	t_check(!digest_new(OBJID_NONE, 0));
	digest_free(NULL);
	digest_sha256("abc", 3, &id);
	t_int(objid_parse(OBJID_SHA256, ABC_SHA256, &want), 0);
	t_check(objid_match(&id, &want));
	parse();
	match();
	return 0;
}
