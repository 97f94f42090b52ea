/*
 * HDF5: whatever is accepted lies in the file, or becomes exactly the bytes
 * it says when it is made; and an error has its reason.
 * libhdf5 1.10 itself reads past its memory and loses some of it (stage/format/
 * hdf5.h) and may never come back, so inputs are read by another process, as
 * files of strangers are. It lives until it dies of one, or has read some
 * thousands; what it broke for those that came later is no finding, so a broken
 * promise is looked at again by a new one. A third keeps it: to fork the fuzzer,
 * which becomes large, took longer than to read. The counters of libFuzzer are
 * the process's own: it hands them over, or the fuzzer would be blind.
 */
#include "config.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hdf5.h>

#include "stage/format/hdf5.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* How a reader ends, and what is answered. */
enum { DIED = 0, READ = 1, OLD = 2, NOBODY = 3, BROKEN = 42 };

#define MADE_MAX (256u << 10)	/* bytes that are made */
#define INPUT_MAX (1u << 20)	/* bytes */
#define LIFE 4000		/* inputs of a process */
#define TICK_US 50000		/* of processor time: who is in the library now
				 * may stay there */
#define TICKS 100		/* and who is not took too long by then */
#define FRAMES 64

/* The thread sanitizer has nothing to see in one thread, ends what asks for more
 * memory than there is, as the library does, and keeps signals back from who
 * loops in it. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREADS_ONLY 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define THREADS_ONLY 1
#endif
#ifndef THREADS_ONLY
#define THREADS_ONLY 0
#endif
#define SKIP 77			/* exit code */

static int sink_begin(void *arg, const char *path, uint64_t size)
{
	(void) path;
	*(uint64_t *)arg = size;
	return 0;
}

static int sink_data(void *arg, const void *buf, size_t len)
{
	uint64_t *left = arg;

	(void) buf;
	if (len > *left)
		_exit(BROKEN);
	*left -= len;
	return 0;
}

static int sink_end(void *arg, struct objid *ret)
{
	(void) ret;
	if (*(const uint64_t *)arg)
		_exit(BROKEN);
	return 0;
}

static void sink_drop(void *arg)
{
	*(uint64_t *)arg = 0;
}

static void make_it(struct src *s, uint64_t size)
{
	uint64_t left = 0;
	const struct stage_archive_sink sink = { sink_begin, sink_data,
		sink_end, sink_drop, &left };
	struct error why = { 0 };
	struct objid id;
	int err;

	if (size > MADE_MAX)
		return;
	err = stage_hdf5_make(s, "", "made", size, &sink, &id, &why);
	if (err && why.code != err && err != -ENOMEM)
		_exit(BROKEN);
}

/* Closed for good before the next is read. */
static void read_it(const uint8_t *data, size_t len)
{
	struct stage_weights w = { 0 };
	struct stage_hdf5 *h = NULL;
	struct error why = { 0 };
	uint8_t *copy = malloc(len + 1);
	struct src *s;
	int err;

	memcpy(copy, data, len);
	s = src_from_memory(copy, len);
	(void) stage_weights_file(&w, "m.h5", len);
	err = stage_hdf5_open(s, &h, &why);
	if (!err)
		err = stage_hdf5_tensors(h, "", 0, &w, &why);
	if (err && why.code != err)
		_exit(BROKEN);
	for (size_t i = 0; !err && i < w.n; i++)
		if (w.v[i].off > w.file_sizes[w.v[i].file] ||
		    w.v[i].len > w.file_sizes[w.v[i].file] - w.v[i].off ||
		    (!w.v[i].file && w.v[i].len > len))
			_exit(BROKEN);
	stage_hdf5_close(h);
	if (!err && w.n_files > 1)
		make_it(s, w.file_sizes[1]);
	stage_weights_done(&w);
	src_unref(s);
}

/* ---- the process that reads ------------------------------------------------ */

/* Where libFuzzer's counters of all that is instrumented begin and end; NULL
 * without it. The compiler takes a C name of this section for its own. */
extern uint8_t *const counters[2] __attribute__((visibility("hidden")));
__asm__(".weak __start___sancov_cntrs, __stop___sancov_cntrs\n"
	".hidden __start___sancov_cntrs, __stop___sancov_cntrs\n"
	".pushsection .data.rel.ro, \"aw\", %progbits\n"
	".balign 8\n"
	"counters: .quad __start___sancov_cntrs, __stop___sancov_cntrs\n"
	".popsection\n");

static struct {
	int fd;			/* a length goes there, a byte comes back */
	bool begun, reads;	/* it reads: this is that process */
	volatile sig_atomic_t ticks;	/* of the one that is being read */
	uint8_t *input;		/* INPUT_MAX, shared */
	uint8_t *seen;		/* as many as counters, shared */
} reader;

static size_t n_counters(void)
{
	return (size_t)(counters[1] - counters[0]);
}

static bool in_library(void)
{
	void *at[FRAMES];
	int n = backtrace(at, FRAMES);
	Dl_info of;

	for (int i = 0; i < n; i++)
		if (dladdr(at[i], &of) && strstr(of.dli_fname, "libhdf5"))
			return true;
	return false;
}

/* The library asks for as much as a file says, and can live without; libFuzzer
 * would end whoever got it. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "max_allocation_size_mb=1024:allocator_may_return_null=1";
}

/* Called by the address sanitizer before it writes of an error, which takes it
 * a second. What it has to say of the library is no news. */
void __asan_on_error(void);
void __asan_on_error(void)
{
	if (reader.reads && in_library())
		_exit(0);
}

static void signalled(int sig)
{
	if (in_library())
		_exit(0);
	if (sig != SIGVTALRM || ++reader.ticks == TICKS)
		_exit(BROKEN);
}

static void be_reader(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL,
		SIGABRT, SIGVTALRM };
	const struct sigaction act = { .sa_handler = signalled,
		.sa_flags = SA_ONSTACK | SA_NODEFER };

	reader.reads = true;
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		(void) sigaction(signals[i], &act, NULL);
}

static _Noreturn void serve(int fd)
{
	const struct itimerval tick = { { 0, TICK_US }, { 0, TICK_US } };
	size_t len;

	be_reader();
	for (unsigned served = 0; served < LIFE; served++) {
		if (read(fd, &len, sizeof(len)) != (ssize_t)sizeof(len))
			_exit(NOBODY);
		reader.ticks = 0;
		(void) setitimer(ITIMER_VIRTUAL, &tick, NULL);
		if (n_counters())
			memset(counters[0], 0, n_counters());
		read_it(reader.input, len);
		if (n_counters())
			memcpy(reader.seen, counters[0], n_counters());
		if (write(fd, &(char){ READ }, 1) != 1)
			_exit(NOBODY);
	}
	_exit(OLD);
}

/* Small, and with the library begun: a new reader costs little. */
static _Noreturn void keep_reader(int fd)
{
	int status;

	(void) in_library();	/* so that what it needs is loaded */
	if (H5open() < 0 ||
	    H5set_free_list_limits(-1, -1, -1, -1, -1, -1) < 0)
		abort();
	for (;;) {
		pid_t pid = fork();

		if (!pid)
			serve(fd);
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			abort();
		if (WIFEXITED(status) && WEXITSTATUS(status) == NOBODY)
			_exit(0);
		if (WIFEXITED(status) && WEXITSTATUS(status) == OLD)
			continue;
		if (write(fd, WIFEXITED(status) && !WEXITSTATUS(status) ?
			&(char){ DIED } : &(char){ BROKEN }, 1) != 1)
			_exit(0);
	}
}

static void *shared(size_t len)
{
	void *p = mmap(NULL, len + 1, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

static void begin(void)
{
	int pair[2];
	pid_t pid;

	reader.begun = true;
	reader.input = shared(INPUT_MAX);
	reader.seen = shared(n_counters());
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		abort();
	pid = fork();
	if (pid < 0)
		abort();
	if (!pid) {
		(void) close(pair[0]);
		keep_reader(pair[1]);
	}
	(void) close(pair[1]);
	reader.fd = pair[0];
}

/* False: a promise is broken. */
static bool ask(const uint8_t *data, size_t len)
{
	char answer;
	ssize_t n;

	if (!reader.begun)
		begin();
	if (len)
		memcpy(reader.input, data, len);
	if (send(reader.fd, &len, sizeof(len), MSG_NOSIGNAL) !=
	    (ssize_t)sizeof(len))
		abort();
	/* libFuzzer's clock rings. */
	do
		n = read(reader.fd, &answer, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		abort();
	if (answer == READ && n_counters())
		memcpy(counters[0], reader.seen, n_counters());
	return answer != BROKEN;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (THREADS_ONLY)
		_exit(SKIP);
	if (len <= INPUT_MAX && !ask(data, len) && !ask(data, len))
		abort();
	return 0;
}
