/* What strangers wrote, before a terminal or a log sees it. */
#ifndef BASE_PLAIN_H
#define BASE_PLAIN_H

/* One line that does nothing but stand there, in place: control characters,
 * C1 in UTF-8 among them, become '?'. */
void plain_line(char *text);

#endif
