#include "config.h"

#include "fetch/retry.h"

#include "tests/unit/t.h"

static void waits_double(void)
{
	static const int want[] = { 200, 400, 800, 1600, 3200, -1, -1 };
	struct fetch_retry r = { .max = 5 };

	for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++)
		t_int(fetch_retry_next(&r, FETCH_AGAIN_LATER, 0, 0, 0),
			want[i]);
}

static void noise_shortens(void)
{
	for (uint32_t n = 0; n < 5000; n++) {
		struct fetch_retry r = { .max = 5, .tries = 4 };
		int64_t ms = fetch_retry_next(&r, FETCH_AGAIN_LATER, 0, 0, n);

		t_check(ms <= 3200 && ms >= 2400);
	}
}

static void caps(void)
{
	struct fetch_retry r = { .max = 100, .tries = 90 };

	t_int(fetch_retry_next(&r, FETCH_AGAIN_LATER, 0, 0, 0), RETRY_CAP_MS);
	r = (struct fetch_retry){ .max = 5 };
	t_int(fetch_retry_next(&r, FETCH_AGAIN_LATER, 0, 1000, 0), 1000);
	t_check(fetch_retry_next(&r, FETCH_AGAIN_LATER, 0, 86400000, 9) <
		RETRY_ASKED_CAP_MS + RETRY_FIRST_MS);
	/* what it asks never makes us come earlier */
	t_int(fetch_retry_next(&r, FETCH_AGAIN_LATER, 0, 1, 0), 800);
}

static void final_and_nobody_there(void)
{
	struct fetch_retry r = { .max = 5 };

	t_int(fetch_retry_next(&r, FETCH_AGAIN_NEVER, 0, 1000, 0), -1);
	t_int(fetch_retry_next(&r, FETCH_AGAIN_NET, 0, 0, 0), 200);
	t_int(fetch_retry_next(&r, FETCH_AGAIN_NET, 0, 0, 0), 400);
	t_int(fetch_retry_next(&r, FETCH_AGAIN_NET, 0, 0, 0), -1);
	r = (struct fetch_retry){ .max = 0 };
	t_int(fetch_retry_next(&r, FETCH_AGAIN_LATER, 1 << 20, 0, 0), -1);
}

static void progress_counts_anew_but_not_for_ever(void)
{
	struct fetch_retry r = { .max = 3 };
	unsigned n = 0;

	while (fetch_retry_next(&r, FETCH_AGAIN_LATER, RETRY_PROGRESS, 0,
			0) == 200)
		n++;
	t_int(n, 3 * RETRY_ROUNDS);
	r = (struct fetch_retry){ .max = 3 };
	for (n = 0; fetch_retry_next(&r, FETCH_AGAIN_LATER,
			RETRY_PROGRESS - 1, 0, 0) > 0; n++)
		;
	t_int(n, 3);
}

/* Try after try in silence, of 30 s each: there must be an end. */
static void time_is_spent(void)
{
	struct fetch_retry r = { .max = 5, .spent_ms = 30000 };

	t_int(fetch_retry_next(&r, FETCH_AGAIN_LATER, 0, 0, 0), 200);
	r.spent_ms += 30000;
	/* a wait that the hub asked for is not ours */
	t_int(fetch_retry_next(&r, FETCH_AGAIN_LATER, 0, 50000, 0), 50000);
	t_int(r.spent_ms, 60200);
	r.spent_ms += 30000;
	t_int(fetch_retry_next(&r, FETCH_AGAIN_LATER, 0, 0, 0), -1);
	/* but bytes came */
	t_int(fetch_retry_next(&r, FETCH_AGAIN_LATER, RETRY_PROGRESS, 0, 0),
		200);
	t_int(r.spent_ms, 200);
	r = (struct fetch_retry){ .max = 5, .spent_ms = 100000,
		.spent_max_ms = 300000 };
	t_int(fetch_retry_next(&r, FETCH_AGAIN_LATER, 0, 0, 0), 200);
}

int main(void)
{
	time_is_spent();
	waits_double();
	noise_shortens();
	caps();
	final_and_nobody_there();
	progress_counts_anew_but_not_for_ever();
	return 0;
}
