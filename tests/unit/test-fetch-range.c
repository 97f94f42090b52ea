#include "config.h"

#include "fetch/range.h"

#include "tests/unit/t.h"

#define NONE RANGE_UNKNOWN
#define MB (1024 * 1024)

/* Wanted: [off, end) of size. Answered: the rest. */
static const struct {
	const char *what;
	struct fetch_range want;
	struct fetch_range_reply reply;
	int err;
	uint64_t skip;
} row[] = {
	{ "exact", { 10, 20, 100, MB },
		{ 206, true, 10, 19, 100, 10, false, false }, 0, 0 },
	{ "total unknown", { 10, 20, 100, MB },
		{ 206, true, 10, 19, NONE, NONE, false, false }, 0, 0 },
	{ "shorter", { 10, 20, 100, MB },
		{ 206, true, 10, 14, 100, 5, false, false }, 0, 0 },
	{ "longer", { 10, 20, 100, MB },
		{ 206, true, 10, 99, 100, 90, false, false }, 0, 0 },
	{ "begins before", { 10, 20, 100, MB },
		{ 206, true, 4, 19, 100, 16, false, false }, 0, 6 },
	{ "begins far before", { 3 * MB, 4 * MB, 4 * MB, MB },
		{ 206, true, 0, 4 * MB - 1, 4 * MB, 4 * MB, false, false },
		-EIO, 0 },
	{ "begins behind", { 10, 20, 100, MB },
		{ 206, true, 11, 19, 100, 9, false, false }, -EIO, 0 },
	{ "ends before", { 10, 20, 100, MB },
		{ 206, true, 0, 9, 100, 10, false, false }, -EIO, 0 },
	{ "ends behind the file", { 10, 20, 100, MB },
		{ 206, true, 10, 100, NONE, 91, false, false }, -EIO, 0 },
	{ "other total", { 10, 20, 100, MB },
		{ 206, true, 10, 19, 101, 10, false, false }, -EIO, 0 },
	{ "length contradicts", { 10, 20, 100, MB },
		{ 206, true, 10, 19, 100, 11, false, false }, -EIO, 0 },
	{ "no Content-Range", { 10, 20, 100, MB },
		{ 206, false, 0, 0, 0, 10, false, false }, -EIO, 0 },
	{ "ignored", { 10, 20, 100, MB },
		{ 200, false, 0, 0, 0, 100, false, false }, 0, 10 },
	{ "ignored, no length", { 10, 20, 100, MB },
		{ 200, false, 0, 0, 0, NONE, false, false }, 0, 10 },
	{ "ignored far in", { 2 * MB, 3 * MB, 3 * MB, MB },
		{ 200, false, 0, 0, 0, 3 * MB, false, false }, -EIO, 0 },
	{ "ignored far in, accepted", { 2 * MB, 3 * MB, 3 * MB, 2 * MB },
		{ 200, false, 0, 0, 0, 3 * MB, false, false }, 0, 2 * MB },
	{ "ignored, other length", { 0, 100, 100, MB },
		{ 200, false, 0, 0, 0, 99, false, false }, -EIO, 0 },
	{ "encoded", { 10, 20, 100, MB },
		{ 206, true, 10, 19, 100, 10, true, false }, -EIO, 0 },
	{ "a page", { 0, 100, 100, MB },
		{ 200, false, 0, 0, 0, 100, false, true }, -EIO, 0 },
	{ "behind the end", { 100, 110, 110, MB },
		{ 416, false, 0, 0, 100, 0, false, false }, -EIO, 0 },
	{ "refused", { 10, 20, 100, MB },
		{ 416, false, 0, 0, 100, 0, false, false }, -EIO, 0 },
	{ "refused, no total", { 10, 20, 100, MB },
		{ 416, false, 0, 0, NONE, 0, false, false }, -EIO, 0 },
	{ "behind the end, told on a page", { 100, 110, 110, MB },
		{ 416, false, 0, 0, 100, 300, false, true }, -EIO, 0 },
	{ "encoded, other total", { 10, 20, 100, MB },
		{ 206, true, 10, 19, 101, 10, true, false }, -EIO, 0 },
	{ "a page, other length", { 0, 100, 100, MB },
		{ 200, false, 0, 0, 0, 99, false, true }, -EIO, 0 },
	{ "no content", { 0, 100, 100, MB },
		{ 204, false, 0, 0, 0, 0, false, false }, -EIO, 0 },
};

/* Those that speak of a file of another length. */
static bool resized(const char *what)
{
	return !strcmp(what, "other total") ||
		!strcmp(what, "ignored, other length") ||
		!strncmp(what, "behind the end", 14) ||
		!strcmp(what, "refused, no total");
}

int main(void)
{
	struct fetch_range r = { 0, 1, 1, MB };
	char text[RANGE_TEXT_MAX];

	for (size_t i = 0; i < sizeof(row) / sizeof(*row); i++) {
		struct error why = { 0 };
		uint64_t skip = 77;
		int err = fetch_range_vet(&row[i].want, &row[i].reply, &skip,
			&why);

		if (err != row[i].err || (err ? skip != 77 || !*why.text :
				skip != row[i].skip)) {
			fprintf(stderr, "%s: %d, skip %llu\n", row[i].what,
				err, (unsigned long long)skip);
			return 1;
		}
		t_check(fetch_range_resized(&row[i].want, &row[i].reply) ==
			resized(row[i].what));
	}
	fetch_range_text(&r, text);
	t_str(text, "0-0");
	r = (struct fetch_range){ INT64_MAX - 1, INT64_MAX, INT64_MAX, 0 };
	fetch_range_text(&r, text);
	t_str(text, "9223372036854775806-9223372036854775806");
	return 0;
}
