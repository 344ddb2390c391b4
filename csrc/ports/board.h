/* board.h: what the self-test needs of a board. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

void board_print(const char *text);
void board_start_clock(void);
/* Since board_start_clock: instructions in emulation, cycles on silicon, 0 where nothing counts. Good for 2^24. */
uint32_t board_clock(void);
uint32_t board_stack_used(void);  /* bytes since reset, 0 where unknown */

#endif
