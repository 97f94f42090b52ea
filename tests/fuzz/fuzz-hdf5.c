/*
 * HDF5: whatever is accepted lies in the file, or becomes exactly the bytes
 * it says when it is made; and an error has its reason.
 * libhdf5 1.10 itself reads past its memory and loses some of it (stage/format/
 * hdf5.h), so each input has a process of its own, as files of strangers have;
 * what is asserted is told by its exit code.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stage/format/hdf5.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define BROKEN 42	/* exit code: a promise of the reader is */
#define MADE_MAX (8u << 20)	/* bytes that are made */

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
	_exit(0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	pid_t pid = fork();
	int status = 0;

	if (!pid) {
		(void) alarm(20);
		/* What sanitizers say of the library is no news. */
		(void) close(STDERR_FILENO);
		read_it(data, len);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		abort();
	if (WIFEXITED(status) && WEXITSTATUS(status) == BROKEN)
		abort();
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		abort();
	return 0;
}
