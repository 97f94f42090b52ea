/* Sizes for people, with the units of 1024 that the disk is counted in. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/cmd.h"

const char *cli_size(char buf[CLI_SIZE_MAX], uint64_t bytes)
{
	static const char *const unit[] = {
		"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB",
	};
	double v = (double)bytes;
	size_t i = 0;

	while (v >= 1023.95 && i + 1 < sizeof(unit) / sizeof(unit[0])) {
		v /= 1024;
		i++;
	}
	if (i)
		(void) snprintf(buf, CLI_SIZE_MAX, "%.1f %s", v, unit[i]);
	else
		(void) snprintf(buf, CLI_SIZE_MAX, "%" PRIu64 " B", bytes);
	return buf;
}
