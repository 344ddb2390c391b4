/*
 * rp2350.c: what the RP2350's boot ROM looks for, and the clocks: 150 MHz from a crystal of 12 MHz, as on a Pico 2.
 * Registers and order are the data sheet's (5.9.5 image definitions, 8.1 clocks, 8.2 crystal, 8.6 PLL). The ROM has
 * set up execution from flash; this file does not touch it.
 */
#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define RESETS 0x40020000u
#define CLOCKS 0x40010000u
#define CRYSTAL 0x40048000u
#define PLL 0x40050000u
#define CLEAR 0x3000u /* the alias of a register in which writing 1 clears a bit */
#define PLL_RESET (1u << 14)
#define READY (1u << 31) /* crystal stable, PLL locked */

enum { REFERENCE_CONTROL = 0x30, REFERENCE_SELECTED = 0x38, SYSTEM_CONTROL = 0x3c, SYSTEM_SELECTED = 0x44 };

static void start_crystal(void)
{
    REGISTER(CRYSTAL + 0x0c) = 47;        /* start-up time: 1 ms in units of 256 periods */
    REGISTER(CRYSTAL) = 0xfab000u | 0xaa0; /* on, 1 to 15 MHz */
    while (!(REGISTER(CRYSTAL + 0x04) & READY)) {}
    REGISTER(CLOCKS + REFERENCE_CONTROL) = 2; /* the crystal */
    while (REGISTER(CLOCKS + REFERENCE_SELECTED) != 1u << 2) {}
}

static void start_pll(void)
{
    REGISTER(RESETS + CLEAR) = PLL_RESET;
    while (!(REGISTER(RESETS + 0x08) & PLL_RESET)) {}
    REGISTER(PLL) = 1;                           /* reference: 12 MHz / 1 */
    REGISTER(PLL + 0x08) = 125;                  /* oscillator: 1500 MHz */
    REGISTER(PLL + CLEAR + 0x04) = 1u | 1u << 5; /* PLL and oscillator on */
    while (!(REGISTER(PLL) & READY)) {}
    REGISTER(PLL + 0x0c) = 5u << 16 | 2u << 12; /* 1500 / 5 / 2 = 150 MHz */
    REGISTER(PLL + CLEAR + 0x04) = 1u << 3;     /* dividers on */
}

void board_set_clocks(void);

void board_set_clocks(void)
{
    REGISTER(CLOCKS + CLEAR + SYSTEM_CONTROL) = 1; /* from the reference clock, while the PLL is set up */
    while (REGISTER(CLOCKS + SYSTEM_SELECTED) != 1) {}
    start_crystal();
    start_pll();
    REGISTER(CLOCKS + SYSTEM_CONTROL) = 0; /* auxiliary source: the PLL */
    REGISTER(CLOCKS + SYSTEM_CONTROL) = 1; /* from the auxiliary source */
    while (REGISTER(CLOCKS + SYSTEM_SELECTED) != 2) {}
}

/* The ROM looks for it in the first 4 kB: an image for ARM, its vector table at the start (data sheet, 5.9.5.1). */
__attribute__((section(".boot_block"), used)) static const uint32_t boot_block[5] = {
    0xffffded3u, 0x10210142u, 0x000001ffu, 0, 0xab123579u,
};
