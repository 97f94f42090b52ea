#include "config.h"

#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <syslog.h>

#include "base/plain.h"

static enum log_level max_level = LOG_LEVEL_ERROR;	/* set before threads */
static int use_syslog;					/* set before threads */

void log_setup(enum log_level level, int to_syslog)
{
	max_level = level;
	use_syslog = to_syslog;
	if (to_syslog)
		openlog(program_invocation_short_name, LOG_PID, LOG_DAEMON);
}

int log_enabled(enum log_level level)
{
	return level <= max_level;
}

void log_at(enum log_level level, const char *fmt, ...)
{
	static const int prio[] = { LOG_ERR, LOG_INFO, LOG_DEBUG };
	int saved = errno;
	char line[1024];
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	(void) vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	plain_line(line);
	if (use_syslog)
		syslog(prio[level], "%s", line);
	else
		(void) fprintf(stderr, "%s: %s\n",
			program_invocation_short_name, line);
	errno = saved;
}
