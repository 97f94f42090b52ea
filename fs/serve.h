/*
 * One mount is two processes. The supervisor (supervisor.c) mounts, holds the
 * device and what servers leave to each other; the server (session.c) has the
 * tree, the threads and the answers, and can be killed at any time.
 */
#ifndef FS_SERVE_H
#define FS_SERVE_H

#include "fs/handover.h"
#include "fs/ll.h"
#include "fs/session.h"

/* In the supervisor, before the first server. ll is the session's userdata.
 * device: of a mount that exists; or -1. */
int fs_mount_begin(const struct session_conf *c, struct ll *ll, int device,
	struct error *why);
/* The mount goes, unless somebody has unmounted it before. */
void fs_mount_end(const struct session_conf *c, struct ll *ll);

/* In a server: until the mount ends. ready(arg): it answers for the first
 * time. */
int fs_serve(const struct session_conf *c, struct ll *ll,
	void (*ready)(void *arg), void *arg, struct error *why);

#endif
