#include "config.h"

#include "fetch/range.h"

#include <stdio.h>

void fetch_range_text(const struct fetch_range *want,
	char ret[RANGE_TEXT_MAX])
{
	snprintf(ret, RANGE_TEXT_MAX, "%" PRIu64 "-%" PRIu64, want->off,
		want->end - 1);
}

static int vet_whole(const struct fetch_range *want,
	const struct fetch_range_reply *r, uint64_t *ret_skip,
	struct error *why)
{
	if (r->length != RANGE_UNKNOWN && r->length != want->size)
		return error_set(why, -EIO, RANGE_RESIZED, r->length,
			want->size);
	if (want->off > want->skip_max)
		return error_set(why, -EIO, "the range was ignored: bytes "
			"from %" PRIu64 " on were asked for, all were sent",
			want->off);
	*ret_skip = want->off;
	return 0;
}

static int vet_part(const struct fetch_range *want,
	const struct fetch_range_reply *r, uint64_t *ret_skip,
	struct error *why)
{
	if (!r->ranged)
		return error_set(why, -EIO,
			"a part was sent without a Content-Range");
	if (r->total != RANGE_UNKNOWN && r->total != want->size)
		return error_set(why, -EIO, RANGE_RESIZED, r->total,
			want->size);
	if (r->first > want->off || r->last < want->off ||
	    r->last >= want->size || want->off - r->first > want->skip_max)
		return error_set(why, -EIO, "bytes %" PRIu64 "-%" PRIu64
			" were asked for, %" PRIu64 "-%" PRIu64 " were sent",
			want->off, want->end - 1, r->first, r->last);
	if (r->length != RANGE_UNKNOWN && r->length != r->last - r->first + 1)
		return error_set(why, -EIO, "a part of %" PRIu64
			" bytes came with a length of %" PRIu64,
			r->last - r->first + 1, r->length);
	*ret_skip = want->off - r->first;
	return 0;
}

int fetch_range_vet(const struct fetch_range *want,
	const struct fetch_range_reply *reply, uint64_t *ret_skip,
	struct error *why)
{
	if (reply->encoded)
		return error_set(why, -EIO,
			"the bytes were sent encoded although none was asked");
	if (reply->page)
		return error_set(why, -EIO,
			"an HTML page was sent instead of the file");
	if (reply->status == 200)
		return vet_whole(want, reply, ret_skip, why);
	if (reply->status == 206)
		return vet_part(want, reply, ret_skip, why);
	return error_set(why, -EIO, "status %u is no answer to a range",
		reply->status);
}

bool fetch_range_resized(const struct fetch_range *want,
	const struct fetch_range_reply *r)
{
	uint64_t told = RANGE_UNKNOWN;

	/* Whatever body comes with it: not that of the file. */
	if (r->status == 416)
		return r->total != want->size;
	if (r->encoded || r->page)
		return false;
	if (r->status == 200)
		told = r->length;
	else if (r->status == 206 && r->ranged)
		told = r->total;
	return told != RANGE_UNKNOWN && told != want->size;
}
