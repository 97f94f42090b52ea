#include "config.h"

#include "fetch/retry.h"

static unsigned smaller(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

int64_t fetch_retry_next(struct fetch_retry *r, enum fetch_again again,
	uint64_t progress, uint64_t asked_ms, uint32_t noise)
{
	unsigned max = r->max;
	uint64_t ms;

	if (again == FETCH_AGAIN_NEVER)
		return -1;
	if (again == FETCH_AGAIN_NET)
		max = smaller(max, RETRY_NET_MAX);
	if (progress >= RETRY_PROGRESS) {
		r->tries = 0;
		r->spent_ms = 0;
	}
	if (r->spent_ms >= (r->spent_max_ms ? r->spent_max_ms :
			RETRY_SPENT_MS))
		return -1;
	if (r->tries >= max || r->total >= (uint64_t)r->max * RETRY_ROUNDS)
		return -1;
	ms = (uint64_t)RETRY_FIRST_MS << smaller(r->tries, 16);
	if (ms > RETRY_CAP_MS)
		ms = RETRY_CAP_MS;
	ms -= ms / 4 * (noise % 1024) / 1024;
	if (asked_ms > RETRY_ASKED_CAP_MS)
		asked_ms = RETRY_ASKED_CAP_MS;
	if (ms < asked_ms)
		ms = asked_ms + noise % RETRY_FIRST_MS;
	else
		r->spent_ms += ms;
	r->tries++;
	r->total++;
	return (int64_t)ms;
}
