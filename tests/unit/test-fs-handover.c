/* What one server leaves to the next, whatever instant it was killed at. */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/handover.h"
#include "tests/unit/t.h"

#define MANY 20000

static struct fs_handover *again(struct fs_handover *h)
{
	int fd = dup(fs_handover_fd(h));
	struct fs_handover *next = NULL;

	t_check(fd >= 0);
	t_int(fs_handover_open(fd, &next), 0);
	t_int(fs_handover_resume(next), 0);
	return next;
}

static void text_of(uint64_t ino, char ret[300], size_t *ret_len)
{
	*ret_len = 1 + (size_t)(ino * 7 % 250);
	memset(ret, 'a' + (int)(ino % 26), *ret_len);
	ret[*ret_len - 1] = '\0';
}

static void check_seat(struct fs_handover *h, uint64_t ino, uint64_t lookups)
{
	struct buf b = BUF_INIT(FS_SEAT_TEXT_MAX);
	struct fs_seat s;
	char text[300];
	size_t len;

	text_of(ino, text, &len);
	t_int(fs_handover_find(h, ino, &s, &b), 0);
	t_check(s.parent == ino / 2 && s.lookups == lookups);
	t_check(b.len == len && !memcmp(b.data, text, len));
	buf_done(&b);
}

static void know(struct fs_handover *h, uint64_t ino)
{
	char text[300];
	size_t len;

	text_of(ino, text, &len);
	t_int(fs_handover_known(h, ino, ino / 2, text, len), 0);
}

static void survives(void)
{
	struct fs_handover *h, *next;
	struct fs_seat s;
	uint64_t *ino;

	t_int(fs_handover_new(&h), 0);
	t_int(fs_handover_resume(h), 0);
	for (uint64_t i = 16; i < MANY; i++)
		know(h, i);
	for (uint64_t i = 16; i < MANY; i += 3)
		know(h, i);
	for (uint64_t i = 17; i < MANY; i += 3)
		t_int(fs_handover_forget(h, i, 1), 0);
	fs_handover_opened(h, 18, 2, 77);
	fs_handover_opened(h, 21, 1, 0);
	fs_handover_sure(h, 18);
	next = again(h);
	for (uint64_t i = 16; i < MANY; i++) {
		if (i % 3 == 2)
			t_int(fs_handover_find(next, i, &s, NULL),
				-ENOENT);
		else
			check_seat(next, i, i % 3 == 1 ? 2 : 1);
	}
	t_int(fs_handover_find(next, 18, &s, NULL), 0);
	t_check(s.opens == 2 && s.backing == 77 && s.sure && !s.doubt);
	/* Room that was given back is used again. */
	for (uint64_t i = 17; i < MANY; i += 3)
		know(next, i);
	t_check(atomic_load(&fs_handover_head(next)->end) ==
		atomic_load(&fs_handover_head(h)->end));
	t_check(fs_handover_doubt(next, &ino) > 0);
	free(ino);
	t_int(fs_handover_find(next, 21, &s, NULL), 0);
	t_check(s.doubt);
	t_int(fs_handover_find(next, 18, &s, NULL), 0);
	t_check(!s.doubt);
	t_int(fs_handover_forget(next, 18, 99), 77);
	fs_handover_free(next);
	fs_handover_free(h);
}

static int count(void *arg, const char *text, size_t len)
{
	unsigned *n = arg;

	t_check(len && !text[len - 1]);
	++*n;
	return 0;
}

static void below(void)
{
	struct fs_handover *h;
	unsigned n = 0;

	t_int(fs_handover_new(&h), 0);
	t_int(fs_handover_resume(h), 0);
	for (uint64_t i = 16; i < 64; i++)
		know(h, i);
	t_int(fs_handover_each(h, 20, count, &n), 0);
	t_int((int)n, 2);
	fs_handover_free(h);
}

/* kill -9 at any moment: what is found is whole, and nothing is missing that
 * had been said before. */
static void killed(void)
{
	for (int round = 0; round < 40; round++) {
		struct fs_handover *h, *next;
		int fds[2], status;
		uint64_t said = 15;
		pid_t pid;

		t_int(fs_handover_new(&h), 0);
		t_int(pipe(fds), 0);
		pid = fork();
		if (pid == 0) {
			(void) fs_handover_resume(h);
			for (uint64_t i = 16; i < MANY; i++) {
				know(h, i);
				if (write(fds[1], &i, sizeof(i)) < 0)
					_exit(1);
				if (i > 99)
					(void) fs_handover_forget(h, i - 80,
						1);
			}
			_exit(0);
		}
		(void) close(fds[1]);
		for (int i = 0; i < 100 + 61 * round; i++)
			if (read(fds[0], &said, sizeof(said)) <= 0)
				break;
		(void) kill(pid, SIGKILL);
		t_check(waitpid(pid, &status, 0) == pid);
		while (read(fds[0], &said, sizeof(said)) ==
			(ssize_t)sizeof(said))
			continue;
		(void) close(fds[0]);
		next = again(h);
		for (uint64_t i = said > 99 ? said - 78 : 16; i <= said; i++)
			check_seat(next, i, 1);
		fs_handover_free(next);
		fs_handover_free(h);
	}
}

static void refused(void)
{
	struct fs_handover *h, *next = NULL;
	int fd;

	t_int(fs_handover_new(&h), 0);
	fs_handover_head(h)->magic ^= 1;
	fd = dup(fs_handover_fd(h));
	t_int(fs_handover_open(fd, &next), -EPROTO);
	t_check(!next);
	fs_handover_free(h);
}

int main(void)
{
	survives();
	below();
	killed();
	refused();
	return 0;
}
