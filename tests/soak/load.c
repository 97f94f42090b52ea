/*
 * Load that a script cannot make: thousands of readers at once, or handles.
 *
 *   load reads FILE COPY N       N threads read a piece each, all at once, and
 *                                compare it with the same piece of COPY
 *   load opens N FILE...         N handles; "ready" when all are open, then
 *                                reads of some of them until its input ends
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE 4096
#define STACK (64 * 1024)

static struct {
	int file, copy;
	off_t size;
	long n;
	pthread_barrier_t start;
	atomic_long failed, differ;
} all;

static void *read_one(void *arg)
{
	long i = (long)(intptr_t)arg;
	off_t at = all.size / all.n * i / PIECE * PIECE;
	char a[PIECE], b[PIECE];
	ssize_t n;

	(void) pthread_barrier_wait(&all.start);
	n = pread(all.file, a, sizeof(a), at);
	if (n != pread(all.copy, b, sizeof(b), at) || n <= 0)
		atomic_fetch_add(&all.failed, 1);
	else if (memcmp(a, b, (size_t)n))
		atomic_fetch_add(&all.differ, 1);
	return NULL;
}

static int reads(char **argv)
{
	pthread_t *t;
	pthread_attr_t attr;
	struct stat st;

	all.file = open(argv[0], O_RDONLY);
	all.copy = open(argv[1], O_RDONLY);
	all.n = atol(argv[2]);
	t = calloc((size_t)all.n, sizeof(*t));
	if (all.file < 0 || all.copy < 0 || fstat(all.copy, &st) || !t)
		return 1;
	(void) posix_fadvise(all.file, 0, 0, POSIX_FADV_RANDOM);
	all.size = st.st_size;
	(void) pthread_barrier_init(&all.start, NULL, (unsigned)all.n);
	(void) pthread_attr_init(&attr);
	(void) pthread_attr_setstacksize(&attr, STACK);
	for (long i = 0; i < all.n; i++) {
		if (pthread_create(&t[i], &attr, read_one,
				(void *)(intptr_t)i)) {
			(void) fprintf(stderr, "only %ld threads: %s\n", i,
				strerror(errno));
			return 77;
		}
	}
	for (long i = 0; i < all.n; i++)
		(void) pthread_join(t[i], NULL);
	free(t);
	printf("%ld failed, %ld differ\n", atomic_load(&all.failed),
		atomic_load(&all.differ));
	return atomic_load(&all.failed) || atomic_load(&all.differ);
}

static int opens(int argc, char **argv)
{
	long n = atol(argv[0]);
	struct rlimit l = { (rlim_t)n + 64, (rlim_t)n + 64 };
	int *fd = calloc((size_t)n, sizeof(*fd));
	char byte;

	if (!fd)
		return 1;
	if (setrlimit(RLIMIT_NOFILE, &l))
		return 77;
	for (long i = 0; i < n; i++) {
		fd[i] = open(argv[1 + i % (argc - 1)], O_RDONLY);
		if (fd[i] < 0) {
			(void) fprintf(stderr, "handle %ld: %s\n", i,
				strerror(errno));
			return 1;
		}
	}
	(void) puts("ready");
	(void) fflush(stdout);
	for (long i = 0; i < n; i += 97)
		if (pread(fd[i], &byte, 1, i % 1000) != 1)
			return 1;
	(void) puts("read");
	(void) fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		continue;
	free(fd);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "reads"))
		return reads(argv + 2);
	if (argc > 3 && !strcmp(argv[1], "opens"))
		return opens(argc - 2, argv + 2);
	return 2;
}
