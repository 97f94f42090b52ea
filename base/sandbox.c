/*
 * Landlock by its system calls: the C library has no names for them, and the
 * header of an old kernel knows fewer rights than the kernel that runs. seccomp
 * by libseccomp, which knows the numbers of each architecture.
 *
 * The filter for workers kills on what no library does by accident (a socket,
 * another program, a thread), and answers EACCES to what the C library tries
 * and can do without (a locale, /proc, the size of a terminal).
 */
#include "config.h"

#include "base/sandbox.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

/* ---- Landlock -------------------------------------------------------------- */

/* Numbers of linux/landlock.h, which may be older than the kernel: rights that
 * came with ABI 1, 2, 3 and 5; TCP with 4; abstract sockets and signals with
 * 6. */
#define FS_ABI1 ((1ull << 13) - 1)
#define FS_REFER (1ull << 13)
#define FS_TRUNCATE (1ull << 14)
#define FS_IOCTL (1ull << 15)
#define NET_TCP 3ull
#define SCOPED_ALL 3ull
#define FS_EXECUTE (1ull << 0)
#define FS_WRITE (1ull << 1)
#define FS_READ (1ull << 2)
#define FS_LIST (1ull << 3)
#define FS_MAKE_DEVICES (1ull << 6 | 1ull << 9 | 1ull << 10 | 1ull << 11)

struct ruleset {
	uint64_t fs, net, scoped;
};

static unsigned landlock_abi(void)
{
	long r = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0,
		LANDLOCK_CREATE_RULESET_VERSION);

	return r > 0 ? (unsigned)r : 0;
}

static struct ruleset all_rights(unsigned abi, size_t *ret_len)
{
	struct ruleset rs = { .fs = FS_ABI1 };

	if (abi >= 2)
		rs.fs |= FS_REFER;
	if (abi >= 3)
		rs.fs |= FS_TRUNCATE;
	if (abi >= 5)
		rs.fs |= FS_IOCTL;
	if (abi >= 4)
		rs.net = NET_TCP;
	if (abi >= 6)
		rs.scoped = SCOPED_ALL;
	*ret_len = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
	return rs;
}

static int allow(int ruleset, uint64_t all, const struct sandbox_path *p)
{
	uint64_t rights = FS_EXECUTE | FS_READ | FS_LIST;
	struct landlock_path_beneath_attr rule = { .parent_fd = -1 };
	cleanup_fd int fd = open(p->path, O_PATH | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (p->write)
		rights = all & ~(FS_MAKE_DEVICES | FS_IOCTL);
	rule.parent_fd = fd;
	rule.allowed_access = rights & all;
	if (!syscall(SYS_landlock_add_rule, ruleset,
		LANDLOCK_RULE_PATH_BENEATH, &rule, 0))
		return 0;
	/* A file has no rights of a directory. */
	rule.allowed_access &= FS_EXECUTE | FS_READ | FS_WRITE | FS_TRUNCATE;
	return syscall(SYS_landlock_add_rule, ruleset,
		LANDLOCK_RULE_PATH_BENEATH, &rule, 0) ? -errno : 0;
}

/* The ABI in force; 0: there is none. */
static unsigned wall_off(const struct sandbox_path *paths, size_t n)
{
	unsigned abi = landlock_abi();
	size_t len;
	struct ruleset rs = all_rights(abi, &len);
	cleanup_fd int fd = -1;
	int r = 0;

	if (!abi)
		return 0;
	fd = (int)syscall(SYS_landlock_create_ruleset, &rs, len, 0);
	for (size_t i = 0; i < n && fd >= 0 && !r; i++)
		r = allow(fd, rs.fs, &paths[i]);
	if (fd < 0 || r || syscall(SYS_landlock_restrict_self, fd, 0))
		return 0;
	return abi;
}

/* ---- seccomp --------------------------------------------------------------- */

static const int worker_calls[] = {
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg),
	SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(close),
	SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
	SCMP_SYS(futex), SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(restart_syscall), SCMP_SYS(exit), SCMP_SYS(exit_group),
	SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(time),
	SCMP_SYS(getrandom), SCMP_SYS(getpid), SCMP_SYS(gettid),
	SCMP_SYS(getrusage), SCMP_SYS(sysinfo), SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity), SCMP_SYS(getuid), SCMP_SYS(geteuid),
	SCMP_SYS(fstat), SCMP_SYS(lseek), SCMP_SYS(rseq),
};

static const int worker_refused[] = {
	SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(stat), SCMP_SYS(lstat),
	SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(access),
	SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink),
	SCMP_SYS(readlinkat), SCMP_SYS(ioctl), SCMP_SYS(getcwd),
	SCMP_SYS(fcntl), SCMP_SYS(prlimit64), SCMP_SYS(getrlimit),
	SCMP_SYS(uname), SCMP_SYS(prctl),
};

/* What the run time of the sanitizers needs besides. */
static const int lenient_calls[] = {
	SCMP_SYS(sigaltstack), SCMP_SYS(rt_sigaction), SCMP_SYS(mmap),
	SCMP_SYS(mprotect), SCMP_SYS(prctl), SCMP_SYS(fcntl),
	SCMP_SYS(set_robust_list), SCMP_SYS(getppid), SCMP_SYS(pipe),
	SCMP_SYS(pipe2), SCMP_SYS(process_vm_readv), SCMP_SYS(nanosleep),
	SCMP_SYS(clock_nanosleep), SCMP_SYS(sched_getparam), SCMP_SYS(clone),
	SCMP_SYS(clone3),
};

/* Memory that may be run is no memory for a worker. */
static int add_memory(scmp_filter_ctx f)
{
	int r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2,
		SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
		SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS));

	return r ? r : seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect),
		1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

/* abort() is a signal to itself; before its ABI 6 Landlock would let one to any
 * process of the user go. */
static int add_signal(scmp_filter_ctx f)
{
	return seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
		SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX,
			(scmp_datum_t)getpid()));
}

/* A system call that the architecture has not is no error. */
static int add(scmp_filter_ctx f, uint32_t action, const int *calls, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && !r; i++) {
		r = seccomp_rule_add(f, action, calls[i], 0);
		if (r == -EDOM || r == -EEXIST)
			r = 0;
	}
	return r;
}

static bool load(scmp_filter_ctx f, int r)
{
	bool done = false;

	if (f && !r) {
		/* An architecture's other face (x32, ia32) has other
		 * numbers; who comes that way is killed. */
		(void) seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH,
			SCMP_ACT_KILL_PROCESS);
		(void) seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
		done = seccomp_load(f) == 0;
	}
	if (f)
		seccomp_release(f);
	return done;
}

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool filter_worker(void)
{
	uint32_t refuse = SCMP_ACT_ERRNO(EACCES);
	scmp_filter_ctx f = seccomp_init(SANDBOX_LENIENT ? refuse :
		SCMP_ACT_KILL_PROCESS);
	int r = f ? add(f, SCMP_ACT_ALLOW, worker_calls,
		COUNT(worker_calls)) : -ENOMEM;

	if (!r)
		r = add_signal(f);
	if (!r && SANDBOX_LENIENT)
		r = add(f, SCMP_ACT_ALLOW, lenient_calls,
			COUNT(lenient_calls));
	else if (!r)
		r = add(f, refuse, worker_refused, COUNT(worker_refused));
	if (!r && !SANDBOX_LENIENT)
		r = add_memory(f);
	return load(f, r);
}

/* Programs do a thousand things; these are not theirs: other machines, other
 * processes, the kernel's own doors. Not even a socket of this machine: behind
 * one a container daemon or a desktop may listen. */
static const int program_refused[] = {
	SCMP_SYS(socket), SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(listen),
	SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev),
	SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter),
	SCMP_SYS(io_uring_register), SCMP_SYS(bpf), SCMP_SYS(perf_event_open),
	SCMP_SYS(userfaultfd), SCMP_SYS(keyctl), SCMP_SYS(add_key),
	SCMP_SYS(request_key), SCMP_SYS(mount), SCMP_SYS(umount2),
	SCMP_SYS(move_mount), SCMP_SYS(open_tree), SCMP_SYS(fsopen),
	SCMP_SYS(fsmount), SCMP_SYS(pivot_root), SCMP_SYS(chroot),
	SCMP_SYS(unshare), SCMP_SYS(setns), SCMP_SYS(kexec_load),
	SCMP_SYS(init_module), SCMP_SYS(finit_module),
	SCMP_SYS(delete_module), SCMP_SYS(swapon), SCMP_SYS(swapoff),
	SCMP_SYS(reboot), SCMP_SYS(open_by_handle_at),
	SCMP_SYS(name_to_handle_at), SCMP_SYS(pidfd_getfd), SCMP_SYS(setsid),
	SCMP_SYS(setpgid),
};

/* Whose flags lie in memory, where no filter looks; C libraries ask in the old
 * way then. */
static const int program_unknown[] = { SCMP_SYS(clone3), SCMP_SYS(openat2) };

#ifdef __s390__
#define CLONE_FLAGS 1
#else
#define CLONE_FLAGS 0
#endif

/* unshare() by another name: who is root of a user namespace of its own meets
 * more of the kernel. */
static int refuse_namespaces(scmp_filter_ctx f)
{
	static const uint64_t flags[] = { CLONE_NEWUSER, CLONE_NEWNS,
		CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWIPC, CLONE_NEWUTS,
		CLONE_NEWCGROUP };
	int r = 0;

	for (size_t i = 0; i < COUNT(flags) && !r; i++)
		r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone),
			1, SCMP_CMP(CLONE_FLAGS, SCMP_CMP_MASKED_EQ, flags[i],
				flags[i]));
	return r;
}

#define ABI_TRUNCATE 3

/* An older Landlock lets every file be cut that the user may write: by its path,
 * and by who opens it for nothing else or for reading. */
static int refuse_cutting(scmp_filter_ctx f)
{
	static const int calls[] = { SCMP_SYS(truncate),
		SCMP_SYS(truncate64) };
	static const struct {
		int call;
		unsigned flags;		/* the argument that has them */
	} opening[] = { { SCMP_SYS(open), 1 }, { SCMP_SYS(openat), 2 } };
	static const uint64_t modes[] = { O_RDONLY, O_ACCMODE };
	int r = add(f, SCMP_ACT_ERRNO(EACCES), calls, COUNT(calls));

	for (size_t i = 0; i < 2 * COUNT(opening) && !r; i++) {
		r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EACCES),
			opening[i / 2].call, 1, SCMP_CMP(opening[i / 2].flags,
				SCMP_CMP_MASKED_EQ, O_TRUNC | O_ACCMODE,
				O_TRUNC | modes[i % 2]));
		if (r == -EDOM)
			r = 0;
	}
	return r;
}

static bool filter_program(unsigned landlock)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
	int r = f ? add(f, SCMP_ACT_ERRNO(EPERM), program_refused,
		COUNT(program_refused)) : -ENOMEM;

	if (!r)
		r = add(f, SCMP_ACT_ERRNO(ENOSYS), program_unknown,
			COUNT(program_unknown));
	if (!r)
		r = refuse_namespaces(f);
	if (!r && landlock < ABI_TRUNCATE)
		r = refuse_cutting(f);
	return load(f, r);
}

/* ---- limits ---------------------------------------------------------------- */

static int limit(int what, uint64_t to)
{
	struct rlimit l;

	if (getrlimit((__rlimit_resource_t)what, &l))
		return -errno;
	if (l.rlim_max != RLIM_INFINITY && l.rlim_max < to)
		to = l.rlim_max;
	l.rlim_cur = l.rlim_max = to;
	return setrlimit((__rlimit_resource_t)what, &l) ? -errno : 0;
}

static int limit_all(const struct sandbox_limits *l)
{
	int r = limit(RLIMIT_CORE, 0);

	if (!r && !SANDBOX_LENIENT)
		r = limit(RLIMIT_AS, l->memory);
	if (!r && !SANDBOX_LENIENT)
		r = limit(RLIMIT_NOFILE, l->files);
	if (!r && !SANDBOX_LENIENT)
		r = limit(RLIMIT_FSIZE, l->file_bytes);
	if (!r && l->cpu_s)
		r = limit(RLIMIT_CPU, l->cpu_s);
	return r;
}

/* Who runs as root does not here. */
static void drop_capabilities(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 } };

	for (unsigned long cap = 0; cap < 64; cap++)
		(void) prctl(PR_CAPBSET_DROP, cap, 0UL, 0UL, 0UL);
	(void) syscall(SYS_capset, &head, none);
}

int sandbox_worker(const struct sandbox_limits *l, struct sandbox_walls *ret)
{
	int r = prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) ? -errno : 0;

	(void) prctl(PR_SET_DUMPABLE, 0UL, 0UL, 0UL, 0UL);
	ret->landlock = wall_off(NULL, 0);
	if (!r)
		r = limit(RLIMIT_NPROC, 0);
	if (!r)
		r = limit_all(l);
	drop_capabilities();
	ret->seccomp = filter_worker();
	return r;
}

int sandbox_program(const struct sandbox_limits *l,
	const struct sandbox_path *paths, size_t n, struct sandbox_walls *ret)
{
	int r = prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) ? -errno : 0;

	ret->landlock = wall_off(paths, n);
	if (!r)
		r = limit_all(l);
	drop_capabilities();
	ret->seccomp = filter_program(ret->landlock);
	return r;
}

struct sandbox_walls sandbox_offered(void)
{
	return (struct sandbox_walls){ .landlock = landlock_abi(),
		.seccomp = prctl(PR_GET_SECCOMP, 0UL, 0UL, 0UL, 0UL) >= 0 };
}
