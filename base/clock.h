/* Time that a test can turn. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_ms(void);	/* monotonic milliseconds */
int64_t clock_wall(void);	/* seconds since 1970 */
/* Tests only: add to both clocks from now on. */
void clock_advance(uint64_t ms);

#endif
