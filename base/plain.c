#include "config.h"

#include "base/plain.h"

#include <stdbool.h>

void plain_line(char *text)
{
	char *to = text;

	for (const char *p = text; *p; p++) {
		unsigned char c = (unsigned char)*p;
		bool c1 = c == 0xc2 && (p[1] & 0xe0) == 0x80;

		*to++ = c < 0x20 || c == 0x7f || c1 ? '?' : *p;
		p += c1;
	}
	*to = '\0';
}
