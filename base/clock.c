#include "config.h"

#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

static _Atomic uint64_t skew_ms;

uint64_t clock_ms(void)
{
	struct timespec t;

	(void) clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000 +
		atomic_load(&skew_ms);
}

int64_t clock_wall(void)
{
	struct timespec t;
	uint64_t ms;

	(void) clock_gettime(CLOCK_REALTIME, &t);
	ms = (uint64_t)t.tv_nsec / 1000000 + atomic_load(&skew_ms);
	return (int64_t)t.tv_sec + (int64_t)(ms / 1000);
}

void clock_advance(uint64_t ms)
{
	atomic_fetch_add(&skew_ms, ms);
}
