/* What the kernel grants us, and what it keeps from models. */
#include "config.h"

#include <endian.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/proc.h"
#include "base/sandbox.h"
#include "cli/doctor.h"

static bool has_admin(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2] = { { 0 } };

	return !syscall(SYS_capget, &head, caps) &&
		(caps[0].effective & (1u << CAP_SYS_ADMIN));
}

/* By its file, as setcap(8) leaves it: capability.h has the layout. */
static bool daemon_gets_admin(void)
{
	cleanup_free char *daemon = cli_daemon();
	struct vfs_ns_cap_data caps = { 0 };
	ssize_t n = daemon ? getxattr(daemon, "security.capability", &caps,
		sizeof(caps)) : -1;

	return n >= (ssize_t)XATTR_CAPS_SZ_1 &&
		(le32toh(caps.magic_etc) & VFS_CAP_FLAGS_EFFECTIVE) &&
		(le32toh(caps.data[0].permitted) & (1u << CAP_SYS_ADMIN));
}

void doctor_passthrough(struct doctor *d)
{
	unsigned major = 0, minor = 0;
	struct utsname u;

	if (uname(&u) || sscanf(u.release, "%u.%u", &major, &minor) != 2)
		return;
	if (major < 6 || (major == 6 && minor < 9))
		doctor_say(d, NOTE, "passthrough", "kernel %s has none (6.9 "
			"and later do): reads go through the daemon",
			u.release);
	else if (!has_admin() && !daemon_gets_admin())
		doctor_say(d, NOTE, "passthrough", "needs CAP_SYS_ADMIN "
			"('setcap cap_sys_admin+ep omnihub-mount' as root): "
			"reads go through the daemon");
	else
		doctor_say(d, OK, "passthrough", "kernel %s may read verified "
			"files without the daemon", u.release);
}

void doctor_seccomp(struct doctor *d)
{
	const struct sandbox_walls w = sandbox_offered();

	if (w.seccomp)
		doctor_say(d, OK, "seccomp", "the kernel has it");
	else
		doctor_say(d, NOTE, "seccomp", "the kernel has none: workers "
			"keep their system calls");
	if (w.landlock)
		doctor_say(d, OK, "landlock", "the kernel has it, ABI %u",
			w.landlock);
	else
		doctor_say(d, NOTE, "landlock", "the kernel has none (lsm= at "
			"boot?): plug-ins are not run");
}

void doctor_workers(struct doctor *d)
{
	const char *how = conf_get(d->c->conf, "sandbox");
	struct workers_report rep;

	if (!d->c->fs)
		return;
	if (!fs_sandbox(d->c->fs, &rep))
		doctor_say(d, NOTE, "sandbox", "%s: models are read by the "
			"daemon itself", how && !strcmp(how, "off") ?
			"sandbox = off" : "omnihub-worker is not installed");
	else if (rep.err.code)
		doctor_say(d, BAD, "sandbox", "%s", rep.err.text);
	else if (rep.seccomp && rep.landlock)
		doctor_say(d, OK, "sandbox", "workers run between all walls");
	else
		doctor_say(d, NOTE, "sandbox", "workers run without %s",
			rep.seccomp ? "Landlock" : rep.landlock ? "seccomp" :
			"seccomp and Landlock");
}
