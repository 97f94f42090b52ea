/*
 * The whole unit test framework: a failed check ends the test with its place.
 * Exit codes are automake's (77 skip, 99 hard error).
 */
#ifndef TESTS_UNIT_T_H
#define TESTS_UNIT_T_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define t_check(e) \
	do { \
		if (!(e)) { \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, \
				#e); \
			exit(1); \
		} \
	} while (0)

#define t_int(got, want) \
	do { \
		long long g_ = (long long)(got), w_ = (long long)(want); \
		if (g_ != w_) { \
			fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", \
				__FILE__, __LINE__, #got, g_, w_); \
			exit(1); \
		} \
	} while (0)

#define t_str(got, want) \
	do { \
		const char *g_ = (got), *w_ = (want); \
		if (!g_ || strcmp(g_, w_)) { \
			fprintf(stderr, "%s:%d: %s is \"%s\", not \"%s\"\n", \
				__FILE__, __LINE__, #got, g_ ? g_ : "(null)", \
				w_); \
			exit(1); \
		} \
	} while (0)

#define t_skip(why) \
	do { \
		fprintf(stderr, "skipped: %s\n", why); \
		exit(77); \
	} while (0)

#endif
