/* The text arguments of protocol 0, which Python 2 wrote by default. None is
 * NUL-terminated. */
#ifndef STAGE_FORMAT_PICKLE_TEXT_H
#define STAGE_FORMAT_PICKLE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* [+-]digits, a trailing L allowed; false: not that, or not in 64 bits. */
bool stage_pickle_text_int(const uint8_t *p, size_t len, int64_t *ret);
/* The same for any number of digits. */
bool stage_pickle_text_digits(const uint8_t *p, size_t len);
/* repr() of a float, in the "C" form whatever the locale. */
bool stage_pickle_text_float(const uint8_t *p, size_t len, double *ret);
/* 'quoted' with backslash escapes. to has 2 * len bytes. */
bool stage_pickle_text_repr(const uint8_t *p, size_t len, char *to,
	size_t *ret);
/* raw-unicode-escape: Latin-1, \uXXXX and \UXXXXXXXX; to UTF-8. */
bool stage_pickle_text_unicode(const uint8_t *p, size_t len, char *to,
	size_t *ret);

#endif
