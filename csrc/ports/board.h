/* board.h: what programs need of a board. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

void board_print(const char *text);
void board_start_clock(void);
/* Since board_start_clock: instructions in emulation, cycles on silicon, 0 where nothing counts. Good for 2^24. */
uint32_t board_clock(void);
uint32_t board_stack_used(void);  /* bytes since reset, 0 where unknown */
/* Ask the debugger (Arm's semihosting); -1 where none listens. */
int32_t board_ask_debugger(uint32_t operation, const void *argument);

static inline void board_print_number(uint32_t number)
{
    char digits[11] = {0}, *at = digits + 10;
    do *--at = (char)('0' + number % 10);
    while (number /= 10);
    board_print(at);
}

#endif
