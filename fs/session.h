/*
 * From a mountpoint to a running file system and back. mount-main.c reads the
 * command line; everything that happens to the mount is here.
 */
#ifndef FS_SESSION_H
#define FS_SESSION_H

#include <stdbool.h>

#include "base/conf.h"
#include "base/error.h"

struct session_conf {
	const struct conf *conf;
	const char *mountpoint;		/* absolute */
	const char *options;		/* of -o, comma-separated; may be NULL */
	bool nonempty;			/* a directory with files in it is fine */

	/* For a new program in the place of this one. */
	char *const *argv;
	const char *cwd;		/* argv's paths are meant from here; or
					 * NULL: as they are */
	/* A mount and what its servers left, from the program before; or -1. */
	int device, handover;
};

/* The name of the variable in which it comes: "DEVICE HANDOVER". Or, with
 * --version behind the options: only tell whether this could be run so. */
#define FS_HANDOVER_ENV "OMNIHUB_HANDOVER"
#define FS_HANDOVER_TRY "try"

/* Make the directory if it is missing, detach a dead mount, refuse a live or
 * silent one and a directory that is not empty. */
int fs_session_prepare(const struct session_conf *c, struct error *why);

/* Mount, call ready(arg) once the mount answers, serve until a signal or
 * umount ends it. Returns after the mount is gone. SIGUSR2 starts the program
 * that is in our place by now; nobody who reads the mount sees it. */
int fs_session_run(const struct session_conf *c, void (*ready)(void *arg),
	void *arg, struct error *why);

/* ---- mountpoint.c ----------------------------------------------------------------- */

enum fs_mount_state {
	FS_MOUNT_NONE,	/* nothing is mounted there */
	FS_MOUNT_DEAD,	/* a FUSE mount whose daemon is gone */
	FS_MOUNT_SILENT, /* one whose daemon does not answer */
	FS_MOUNT_LIVE,	/* an omnihub that answers */
	FS_MOUNT_OTHER,	/* another file system */
};
/* Of a path as fs_mount_resolve() gives it. */
enum fs_mount_state fs_mount_state(const char *mountpoint);
/* Absolute, without symbolic links and dots. It need not exist, and what it
 * leads to is not looked at: a dead mount cannot be. -ETIMEDOUT: it lies in a
 * mount that does not answer. The caller frees. */
int fs_mount_resolve(const char *path, char **ret);
/* Lazily, as root or by fusermount3 (-ENOENT: which is not there). */
int fs_mount_detach(const char *mountpoint);
/* As root: let the kernel read further ahead than 128 KiB. Returns how far it
 * does then, in KiB; 0: it does not tell. */
unsigned fs_mount_tune(const char *mountpoint);

#endif
