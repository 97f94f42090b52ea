/*
 * The text is made safe for one line of a terminal or a log the moment it is
 * set: much of it (URLs, hub replies, tensor names) was written by strangers.
 */
#include "config.h"

#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/plain.h"

static void tidy(char *text)
{
	size_t len = strlen(text);

	/* Where the end was cut off, no half of a UTF-8 character stays. */
	if (len == ERROR_TEXT_MAX - 1) {
		while (len && (text[len - 1] & 0xc0) == 0x80)
			text[--len] = '\0';
		if (len && (text[len - 1] & 0x80))
			text[--len] = '\0';
	}
	plain_line(text);
}

int error_set(struct error *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return code;
	e->code = code;
	va_start(ap, fmt);
	(void) vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	tidy(e->text);
	return code;
}

int error_wrap(struct error *e, const char *fmt, ...)
{
	char text[2 * ERROR_TEXT_MAX];
	size_t n;
	va_list ap;

	if (!e)
		return 0;
	va_start(ap, fmt);
	(void) vsnprintf(text, ERROR_TEXT_MAX, fmt, ap);
	va_end(ap);
	n = strlen(text);
	(void) snprintf(text + n, sizeof(text) - n, ": %s",
		error_text(e, e->code));
	text[ERROR_TEXT_MAX - 1] = '\0';
	tidy(text);
	memcpy(e->text, text, ERROR_TEXT_MAX);
	return e->code;
}

const char *error_text(const struct error *e, int code)
{
	const char *s;

	if (e && e->code && e->text[0])
		return e->text;
	if (e && e->code)
		code = e->code;
	s = strerrordesc_np(code < 0 ? -code : code);
	return s ? s : "unknown error";
}
