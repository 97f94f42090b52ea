/* Nothing here is longer written out than it was written in the pickle, but
 * for Latin-1, where one byte becomes two. */
#include "config.h"

#include "stage/format/pickle-text.h"

#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX 64	/* bytes of a float */

/* The digits of [+-]digits[L]. */
static bool digits_of(const uint8_t **p, size_t *len, bool *ret_minus)
{
	*ret_minus = false;
	if (*len && ((*p)[0] == '-' || (*p)[0] == '+')) {
		*ret_minus = (*p)[0] == '-';
		(*p)++;
		(*len)--;
	}
	if (*len && (*p)[*len - 1] == 'L')
		(*len)--;
	for (size_t i = 0; i < *len; i++) {
		if ((*p)[i] < '0' || (*p)[i] > '9')
			return false;
	}
	return *len;
}

bool stage_pickle_text_digits(const uint8_t *p, size_t len)
{
	bool minus;

	return digits_of(&p, &len, &minus);
}

bool stage_pickle_text_int(const uint8_t *p, size_t len, int64_t *ret)
{
	int64_t v = 0;
	bool minus;

	if (!digits_of(&p, &len, &minus))
		return false;
	for (size_t i = 0; i < len; i++) {
		int64_t digit = minus ? '0' - p[i] : p[i] - '0';

		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, digit, &v))
			return false;
	}
	*ret = v;
	return true;
}

/* mantissa and exponent by hand: strtod() listens to the locale. */
bool stage_pickle_text_float(const uint8_t *p, size_t len, double *ret)
{
	static const char *const words[] = { "inf", "-inf", "nan" };
	static const double values[] = { __builtin_inf(), -__builtin_inf(),
		__builtin_nan("") };
	bool minus = len && p[0] == '-', seen = false;
	int scale = 0, exponent = 0, sign = 1;
	long double v = 0;
	size_t i = minus;

	for (size_t k = 0; k < 3; k++) {
		if (len == strlen(words[k]) && !memcmp(p, words[k], len)) {
			*ret = values[k];
			return true;
		}
	}
	if (len > NUMBER_MAX)
		return false;
	for (; i < len && p[i] >= '0' && p[i] <= '9'; i++, seen = true)
		v = v * 10 + (p[i] - '0');
	if (i < len && p[i] == '.') {
		for (i++; i < len && p[i] >= '0' && p[i] <= '9'; i++) {
			v = v * 10 + (p[i] - '0');
			scale--;
			seen = true;
		}
	}
	if (seen && i < len && (p[i] == 'e' || p[i] == 'E')) {
		i++;
		if (i < len && (p[i] == '-' || p[i] == '+'))
			sign = p[i++] == '-' ? -1 : 1;
		seen = false;
		for (; i < len && p[i] >= '0' && p[i] <= '9'; i++) {
			if (exponent < 10000)
				exponent = exponent * 10 + (p[i] - '0');
			seen = true;
		}
	}
	if (!seen || i != len)
		return false;
	for (scale += sign * exponent; scale > 0 && v < 1e4000L; scale--)
		v *= 10;
	for (; scale < 0 && v > 0; scale++)
		v /= 10;
	*ret = (double)(minus ? -v : v);
	return true;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* n hexadecimal digits at p. */
static bool hex_of(const uint8_t *p, size_t len, size_t n, uint32_t *ret)
{
	uint32_t v = 0;

	if (len < n)
		return false;
	for (size_t i = 0; i < n; i++) {
		int d = hex_digit(p[i]);

		if (d < 0)
			return false;
		v = v << 4 | (uint32_t)d;
	}
	*ret = v;
	return true;
}

bool stage_pickle_text_repr(const uint8_t *p, size_t len, char *to,
	size_t *ret)
{
	static const char from[] = "\\'\"abfnrtv", into[] = "\\'\"\a\b\f\n\r\t\v";
	size_t n = 0;

	if (len < 2 || p[0] != p[len - 1] || (p[0] != '\'' && p[0] != '"'))
		return false;
	for (size_t i = 1; i < len - 1; i++) {
		const char *at;
		uint32_t c;

		if (p[i] != '\\') {
			to[n++] = (char)p[i];
			continue;
		}
		if (++i == len - 1)
			return false;
		at = p[i] ? strchr(from, p[i]) : NULL;
		if (at) {
			to[n++] = into[at - from];
		} else if (p[i] == 'x' && hex_of(p + i + 1, len - 2 - i, 2,
						   &c)) {
			to[n++] = (char)c;
			i += 2;
		} else {
			return false;
		}
	}
	*ret = n;
	return true;
}

static size_t put_utf8(uint32_t c, char *to)
{
	if (c < 0x80) {
		to[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		to[0] = (char)(0xc0 | c >> 6);
		to[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		to[0] = (char)(0xe0 | c >> 12);
		to[1] = (char)(0x80 | (c >> 6 & 0x3f));
		to[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	to[0] = (char)(0xf0 | c >> 18);
	to[1] = (char)(0x80 | (c >> 12 & 0x3f));
	to[2] = (char)(0x80 | (c >> 6 & 0x3f));
	to[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

bool stage_pickle_text_unicode(const uint8_t *p, size_t len, char *to,
	size_t *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		size_t digits = 0;
		uint32_t c = p[i];

		if (c == '\\' && i + 1 < len)
			digits = p[i + 1] == 'u' ? 4 : p[i + 1] == 'U' ? 8 : 0;
		if (digits) {
			if (!hex_of(p + i + 2, len - i - 2, digits, &c) ||
			    c > 0x10ffff)
				return false;
			i += digits + 1;
		}
		n += put_utf8(c, to + n);
	}
	*ret = n;
	return true;
}
