/*
 * Between the readers of archives: archive.c (the list, zip), archive-tar.c,
 * archive-json.c. What others see stands in stage.h.
 *
 * An archive is hostile until shown otherwise. A member is left out, with the
 * reason in words, when
 *
 *   its name is absolute, has "..", is longer than base/path.h allows, is not
 *   UTF-8, has NULs or control characters, comes twice, or is below a member
 *   that is a file;
 *   it is no regular file or directory (links, devices, pipes, sparse files);
 *   it is encrypted, or compressed by other means than deflate;
 *   its place contradicts the other members' (zip);
 *   it makes the archive unpack to more than STAGE_ARCHIVE_FREE bytes and more
 *   than STAGE_ARCHIVE_RATIO times its size, or more than STAGE_ARCHIVE_BYTES.
 *   A zip goes on with the next member, a tar ends there.
 *
 * Sizes that turn out to be lies when the member is read are -EBADMSG.
 * Memory: STAGE_ZIP_DIR_MAX and the members of a zip while it is read, for
 * good what struct stage_archive holds: at most STAGE_ARCHIVE_MEMBERS members
 * and STAGE_ARCHIVE_NAMES bytes of their names; more is -EFBIG.
 */
#ifndef STAGE_FORMAT_ARCHIVE_H
#define STAGE_FORMAT_ARCHIVE_H

#include "stage/stage.h"

/* A member is found, or refused when its path is not ok (then 0 too). *ret (may
 * be NULL): the member, until the next call; NULL when it was refused. -EFBIG,
 * -ENOMEM. */
int stage_archive_add(struct stage_archive *a, const char *path,
	const struct stage_member *m, struct stage_member **ret);
/* Any text may be the name. */
int stage_archive_refuse(struct stage_archive *a, const char *name,
	const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Would so many bytes be too many for an archive of `packed`? */
bool stage_archive_bomb(uint64_t unpacked, uint64_t packed);
/* One pass; the list is as the archive has it. */
int stage_archive_tar(struct src *s, bool gzip,
	const struct stage_archive_sink *sink, struct stage_archive *a,
	struct error *why);

#endif
