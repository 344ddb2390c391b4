/*
 * board_cortexm.c: from reset to main on a Cortex-M with a floating-point unit; text goes to the debugger (semihosting),
 * and nowhere where there is none.
 */
#include "board.h"

#ifndef COUNTS_PER_TICK
#define COUNTS_PER_TICK 1 /* of SysTick; in emulation instructions per tick */
#endif
#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SYSTICK_CONTROL REGISTER(0xe000e010u)
#define SYSTICK_RELOAD REGISTER(0xe000e014u)
#define SYSTICK_VALUE REGISTER(0xe000e018u)
#define SYSTICK_LARGEST 0xffffffu
#define SYS_WRITE0 0x04u
#define SYS_EXIT_EXTENDED 0x20u
#define EXITED 0x20026u /* ADP_Stopped_ApplicationExit */
#define BREAKPOINT 0xbeab /* bkpt 0xab */
#define UNUSED_STACK 0x5a5a5a5au

/* sections.ld */
extern uint32_t data_start[], data_end[], data_load[], bss_start[], bss_end[], stack_limit[], stack_top[];
int main(void);

int32_t board_ask_debugger(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return (int32_t)r0;
}

__attribute__((noinline)) static void wait_for_ever(void)
{
    for (;;) __asm__ volatile("wfi");
}

static void leave(uint32_t code)
{
    const uint32_t reason[2] = {EXITED, code};
    board_ask_debugger(SYS_EXIT_EXTENDED, reason);
    wait_for_ever();
}

void board_print(const char *text) { board_ask_debugger(SYS_WRITE0, text); }

void board_start_clock(void)
{
    SYSTICK_RELOAD = SYSTICK_LARGEST;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 5; /* on, the core's clock */
}

uint32_t board_clock(void)
{
    return (uint32_t)(((SYSTICK_LARGEST - SYSTICK_VALUE) & SYSTICK_LARGEST) * COUNTS_PER_TICK);
}

uint32_t board_stack_used(void)
{
    const uint32_t *used = stack_limit;
    while (*used == UNUSED_STACK) used++;
    return (uint32_t)((const char *)stack_top - (const char *)used);
}

/* A chip's own file (rp2350.c, stm32h7.c) has another. Runs before memory is initialised: no variables. */
void board_set_clocks(void);
__attribute__((weak)) void board_set_clocks(void) {}

void start(void);

void start(void)
{
    board_set_clocks();
    uint32_t *here = data_start;
    for (const uint32_t *from = data_load; here < data_end;) *here++ = *from++;
    for (here = bss_start; here < bss_end;) *here++ = 0;
    for (here = stack_limit; here < (uint32_t *)__builtin_frame_address(0) - 32;) *here++ = UNUSED_STACK;
    leave((uint32_t)main());
}

#if __ARM_ARCH >= 8 /* a stack that grows too far faults, and no limit is left from a boot ROM */
#define LIMIT_STACK "ldr r0, =stack_limit\nmsr msplim, r0\n"
#else
#define LIMIT_STACK
#endif

/* Stack, and the floating-point unit (and Helium) on, before compiled code may use them. A debugger may jump here. */
void reset(void);
__asm__(".thumb_func\n.global reset\nreset:\n" LIMIT_STACK "ldr r0, =stack_top\nmov sp, r0\n"
        "ldr r0, =0xe000ed88\nldr r1, [r0]\norr r1, r1, #0xf00000\nstr r1, [r0]\ndsb\nisb\nb start\n.ltorg\n");

/* stacked: r0 to r3, r12, lr, pc, xpsr. Without a debugger a semihosting call ends here: go on after it, with -1. Faults
 * of the program stop the core, a debugger is told. */
void judge_fault(uint32_t *stacked);
void judge_fault(uint32_t *stacked)
{
    if (*(const uint16_t *)stacked[6] == BREAKPOINT) {
        stacked[0] = (uint32_t)-1;
        stacked[6] += 2;
        return;
    }
    board_print("NOT OK: fault\n");
    leave(2);
}

void fault(void);
__asm__(".thumb_func\n.global fault\nfault:\nmov r0, sp\nb judge_fault\n");

/* A product adds its interrupts, or takes its vendor's table. */
__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))stack_top, reset, fault, fault, fault, fault, fault, fault,
    fault, fault, fault, fault, fault, fault, fault, fault,
};
