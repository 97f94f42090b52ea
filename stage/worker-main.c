/*
 * omnihub-worker: what looks at the bytes of models and archives, behind
 * walls. A program of its own instead of a fork of the daemon: fork() of a
 * process with threads may only call exec(), and this way nothing of the
 * daemon's memory (tokens, other models) is there to be read. Nobody starts it
 * but omnihub-mount and omnihub.
 */
#include "config.h"

#include <stdio.h>
#include <sys/socket.h>

#include "stage/work.h"

int main(void)
{
	struct stage *s = NULL;
	int type = 0;
	socklen_t len = sizeof(type);

	if (getsockopt(0, SOL_SOCKET, SO_TYPE, &type, &len) ||
		type != SOCK_SEQPACKET) {
		(void) fputs("omnihub-worker is started by omnihub-mount and "
			"omnihub alone\n", stderr);
		return 2;
	}
	return worker_main(stage_work_kinds, &s);
}
