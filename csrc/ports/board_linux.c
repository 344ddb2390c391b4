/* board_linux.c: the self-test's board is a process. */
#include <stdio.h>

#include "board.h"

void board_print(const char *text) { fputs(text, stdout); }

void board_start_clock(void) {}

uint32_t board_clock(void) { return 0; }

uint32_t board_stack_used(void) { return 0; }

int32_t board_ask_debugger(uint32_t operation, const void *argument)
{
    (void)operation, (void)argument;
    return -1;
}
