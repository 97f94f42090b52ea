/* The line of a fetch, its rate and its time left, without a terminal. */
#include "config.h"

#include "cli/cmd.h"
#include "cli/progress.h"
#include "tests/unit/t.h"

#define MIB (1024ULL * 1024)

static const char *line(const char *name, uint64_t total, uint64_t had,
	uint64_t got, uint64_t rate, unsigned columns)
{
	static char text[512];
	struct cli_progress_view v = { name, total, had, got, rate };

	return cli_progress_line(&v, columns, text, sizeof(text));
}

/* Terminal columns of UTF-8 without wide characters. */
static size_t columns(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

static void test_line(void)
{
	unsigned c;

	t_str(line("model.onnx", 100 * MIB, 20 * MIB, 30 * MIB, 10 * MIB, 100),
		"model.onnx  50% [##########..........] "
		"50.0 MiB of 100.0 MiB  10.0 MiB/s  0:05 left");
	t_str(line("model.onnx", 100 * MIB, 0, 0, 0, 100),
		"model.onnx   0% [....................] "
		"0 B of 100.0 MiB  0 B/s  -:-- left");
	t_str(line("empty", 0, 0, 0, 0, 100),
		"empty 100% [####################] "
		"0 B of 0 B  0 B/s  0:00 left");
	/* more than promised never shows more than 100 % */
	t_str(line("x", MIB, MIB, MIB, MIB, 100),
		"x 100% [####################] "
		"1.0 MiB of 1.0 MiB  1.0 MiB/s  0:00 left");
	/* a long name keeps its end */
	t_str(line("huggingface/org/a-very-long-name/pytorch/model.onnx",
			100 * MIB, 0, 50 * MIB, 50 * MIB, 100),
		"…g-name/pytorch/model.onnx  50% [##########..........] "
		"50.0 MiB of 100.0 MiB  50.0 MiB/s  0:01 left");
	/* the bar fits on an ordinary terminal, whatever the figures */
	t_str(line("huggingface/org/name/model.onnx", 1023 * MIB, 0,
			1022 * MIB, 1000 * MIB, 80),
		"…model.onnx  99% [#########.] "
		"1022.0 MiB of 1023.0 MiB  1000.0 MiB/s  0:01 left");
	/* narrow terminals lose name and bar, and never overflow */
	t_str(line("model.onnx", 100 * MIB, 0, 50 * MIB, 50 * MIB, 60),
		" 50% 50.0 MiB of 100.0 MiB  50.0 MiB/s  0:01 left");
	for (c = 8; c < 200; c++)
		t_check(columns(line("ein-längerer-näme-äöüäöüäöüäöüäöü.onnx",
			1000 * MIB, 1, 999 * MIB, 12345678, c)) < c);
}

static void test_time(void)
{
	char b[16];

	t_str(cli_progress_time(0, b), "0:00");
	t_str(cli_progress_time(59, b), "0:59");
	t_str(cli_progress_time(754, b), "12:34");
	t_str(cli_progress_time(3 * 3600 + 4 * 60 + 5, b), "3:04:05");
	t_str(cli_progress_time(99 * 3600 + 3599, b), "99:59:59");
	t_str(cli_progress_time(UINT64_MAX, b), "-:--");
}

static void test_rate(void)
{
	struct cli_rate r = { 0 };
	uint64_t rate = 0, i;

	t_int(cli_rate_add(&r, 1000, 0), 0);
	for (i = 1; i <= 100; i++)
		rate = cli_rate_add(&r, 1000 + i * 100, i * 1000000);
	t_check(rate > 9900000 && rate < 10100000);
	/* no time passed: nothing new is known */
	t_int(cli_rate_add(&r, 11000, 100000000), rate);
	/* the bytes stop coming: half of it two seconds later */
	rate = cli_rate_add(&r, 13000, 100000000);
	t_check(rate > 4900000 && rate < 5100000);
}

static void test_size(void)
{
	char b[CLI_SIZE_MAX];

	t_str(cli_size(b, 0), "0 B");
	t_str(cli_size(b, 1023), "1023 B");
	t_str(cli_size(b, 1024), "1.0 KiB");
	t_str(cli_size(b, 1024 * 1024 - 1), "1.0 MiB");
	t_str(cli_size(b, 95321088), "90.9 MiB");
	t_str(cli_size(b, UINT64_MAX), "16.0 EiB");
}

int main(void)
{
	test_line();
	test_time();
	test_rate();
	test_size();
	return 0;
}
