/*
 * HDF5: whatever is accepted lies in the file, and an error has its reason.
 * libhdf5 1.10 itself reads past its memory and loses some of it (stage/format/
 * hdf5.h), so each input has a process of its own, as files of strangers have;
 * what is asserted is told by its exit code.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stage/format/hdf5.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define BROKEN 42	/* exit code: a promise of the reader is */

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
		if (w.v[i].off > len || w.v[i].len > len - w.v[i].off)
			_exit(BROKEN);
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
