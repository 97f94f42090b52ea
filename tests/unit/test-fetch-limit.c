#include "config.h"

#include "fetch/limit.h"
#include "fetch/pace.h"

#include "tests/unit/t.h"

static void slots(void)
{
	struct fetch_limit l;
	struct fetch_limit_host *h, *other;

	fetch_limit_init(&l, 4, 0, 0);
	h = fetch_limit_host(&l, "http://a:80");
	other = fetch_limit_host(&l, "http://b:80");
	t_check(h && other && h != other);
	h->open[FETCH_BULK] = LIMIT_BULK - 1;
	t_check(fetch_limit_may_start(&l, h, FETCH_BULK, 0));
	h->open[FETCH_BULK]++;
	t_check(!fetch_limit_may_start(&l, h, FETCH_BULK, 0));
	t_check(fetch_limit_may_start(&l, h, FETCH_META, 0));
	t_check(fetch_limit_may_start(&l, other, FETCH_BULK, 0));
	/* silent ones lend theirs */
	h->lent = LIMIT_BULK;
	t_check(fetch_limit_may_start(&l, h, FETCH_BULK, 0));
	h->open[FETCH_BULK] = h->lent = LIMIT_BULK * LIMIT_LENT;
	t_check(!fetch_limit_may_start(&l, h, FETCH_BULK, 0));
	h->open[FETCH_META] = LIMIT_META;
	t_check(!fetch_limit_may_start(&l, h, FETCH_META, 0));
	fetch_limit_done(&l);

	fetch_limit_init(&l, 64, 0, 0);
	h = fetch_limit_host(&l, "http://a:80");
	h->open[FETCH_BULK] = 63;
	t_check(fetch_limit_may_start(&l, h, FETCH_BULK, 0));
	fetch_limit_done(&l);
}

static void holds(void)
{
	struct fetch_limit l;
	struct fetch_limit_host *h;

	fetch_limit_init(&l, 4, 0, 0);
	h = fetch_limit_host(&l, "http://a:80");
	fetch_limit_hold(h, FETCH_META, 1000, 500);
	fetch_limit_hold(h, FETCH_META, 1000, 100);	/* not shorter */
	t_check(!fetch_limit_may_start(&l, h, FETCH_META, 1499));
	t_check(fetch_limit_may_start(&l, h, FETCH_BULK, 1499));
	t_check(fetch_limit_may_start(&l, h, FETCH_META, 1500));
	/* who asks for a day is asked again in a minute */
	fetch_limit_hold(h, FETCH_BULK, 1000, 86400000);
	t_check(!fetch_limit_may_start(&l, h, FETCH_BULK, 60999));
	t_check(fetch_limit_may_start(&l, h, FETCH_BULK, 61000));
	fetch_limit_done(&l);
}

static void forgets_hosts(void)
{
	struct fetch_limit l;
	struct fetch_limit_host *kept;
	char name[32];

	fetch_limit_init(&l, 4, 0, 0);
	kept = fetch_limit_host(&l, "http://kept:80");
	for (int i = 0; i < 10 * LIMIT_HOSTS; i++) {
		snprintf(name, sizeof(name), "http://h%d:80", i);
		fetch_limit_host_put(&l, fetch_limit_host(&l, name));
	}
	t_check(l.hosts.n <= LIMIT_HOSTS + 1);
	t_check(fetch_limit_host(&l, "http://kept:80") == kept);
	fetch_limit_done(&l);
}

/* The example of limit.h. */
static void rate(void)
{
	struct fetch_limit l;
	uint64_t wait, got = 0;

	fetch_limit_init(&l, 4, 0, 0);
	t_int(fetch_limit_take(&l, UINT64_MAX / 2, 0), 0);
	fetch_limit_done(&l);

	fetch_limit_init(&l, 4, 1000000, 0);
	t_int(fetch_limit_take(&l, 250000, 1000), 0);
	t_int(fetch_limit_take(&l, 262000, 1000), 0);
	wait = fetch_limit_take(&l, 1, 1000);
	t_check(wait >= 261 && wait <= 263);
	t_int(fetch_limit_take(&l, 1, 1000 + wait), 0);
	fetch_limit_done(&l);

	fetch_limit_init(&l, 4, 1000000, 0);
	for (uint64_t ms = 0; ms < 10000; ms++)
		if (!fetch_limit_take(&l, 16384, ms))
			got += 16384;
	t_check(got > 9500000 && got < 10600000);
	fetch_limit_done(&l);
}

static void pace(void)
{
	struct fetch_pace p;

	fetch_pace_begin(&p, 1000);
	/* an answer: four times fetch.timeout, however it comes */
	t_check(!fetch_pace_too_slow(&p, FETCH_META, 30000, 1000 + 119999));
	p.bytes = 1 << 30;
	t_check(fetch_pace_too_slow(&p, FETCH_META, 30000, 1000 + 120000));

	/* a download: 60 KiB in each 60 s */
	fetch_pace_begin(&p, 1000);
	t_check(!fetch_pace_too_slow(&p, FETCH_BULK, 30000, 1000 + 59999));
	p.bytes = 60 * 1024;
	t_check(!fetch_pace_too_slow(&p, FETCH_BULK, 30000, 1000 + 60000));
	t_int(p.bytes, 0);
	p.bytes = 60 * 1024 - 1;
	t_check(!fetch_pace_too_slow(&p, FETCH_BULK, 30000, 1000 + 119999));
	t_check(fetch_pace_too_slow(&p, FETCH_BULK, 30000, 1000 + 120000));

	/* what was held back by us is not its fault */
	fetch_pace_begin(&p, 0);
	fetch_pace_resume(&p, 59000);
	t_check(!fetch_pace_too_slow(&p, FETCH_BULK, 30000, 61000));
}

int main(void)
{
	slots();
	holds();
	forgets_hosts();
	rate();
	pace();
	return 0;
}
