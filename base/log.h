/*
 * Library rooms say nothing to the user; they may log at debug level. The
 * program chooses level and sink (stderr or syslog) before threads start.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_setup(enum log_level level, int to_syslog);
int log_enabled(enum log_level level);
void log_at(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#define log_debug(...) \
	do { \
		if (log_enabled(LOG_LEVEL_DEBUG)) \
			log_at(LOG_LEVEL_DEBUG, __VA_ARGS__); \
	} while (0)

#endif
