/*
 * stm32h7.c: clocks and caches of an STM32H743: 400 MHz from the internal 64 MHz, buses at 200 and 100 MHz: what every
 * revision does at voltage scale 1. Registers and order are the reference manual's (RM0433: 4.3.9 flash, 6.8 power,
 * 8.7 clocks) and, for the caches, Arm's. With the data cache on, buffers that DMA writes to must be invalidated, or
 * lie in memory that the MPU makes uncached.
 */
#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define FLASH_ACR REGISTER(0x52002000u)
#define RCC 0x58024400u
#define RCC_CR REGISTER(RCC)
#define RCC_CFGR REGISTER(RCC + 0x10)
#define RCC_D1CFGR REGISTER(RCC + 0x18)
#define RCC_D2CFGR REGISTER(RCC + 0x1c)
#define RCC_D3CFGR REGISTER(RCC + 0x20)
#define RCC_PLLCKSELR REGISTER(RCC + 0x28)
#define RCC_PLLCFGR REGISTER(RCC + 0x2c)
#define RCC_PLL1DIVR REGISTER(RCC + 0x30)
#define PWR_CSR1 REGISTER(0x58024804u)
#define PWR_CR3 REGISTER(0x5802480cu)
#define PWR_D3CR REGISTER(0x58024818u)
#define SCB_CCR REGISTER(0xe000ed14u)
#define SCB_CCSIDR REGISTER(0xe000ed80u)
#define SCB_CSSELR REGISTER(0xe000ed84u)
#define SCB_ICIALLU REGISTER(0xe000ef50u)
#define SCB_DCISW REGISTER(0xe000ef60u)
#define BARRIER __asm__ volatile("dsb\nisb" ::: "memory")
#define PLL1_ON (1u << 24)
#define PLL1_READY (1u << 25)
#define PLL1_SELECTED (3u << 3)
#define VOLTAGE_READY (1u << 13)

static void raise_voltage(void)
{
    PWR_CR3 = (PWR_CR3 & ~7u) | 2u; /* fed by the internal regulator; only the first write after power-up counts */
    while (!(PWR_CSR1 & VOLTAGE_READY)) {}
    PWR_D3CR |= 3u << 14; /* scale 1 */
    while (!(PWR_D3CR & VOLTAGE_READY)) {}
}

static void start_pll(void)
{
    RCC_PLLCKSELR = (RCC_PLLCKSELR & ~0x3f3u) | 8u << 4;         /* 64 MHz / 8 */
    RCC_PLLCFGR = (RCC_PLLCFGR & ~0xfu) | 3u << 2 | 1u << 16;    /* reference 8 to 16 MHz, wide range, output P */
    RCC_PLL1DIVR = (RCC_PLL1DIVR & ~0xffffu) | 1u << 9 | (100 - 1); /* 8 MHz * 100 / 2 = 400 MHz */
    RCC_CR |= PLL1_ON;
    while (!(RCC_CR & PLL1_READY)) {}
}

static void start_caches(void)
{
    BARRIER;
    SCB_ICIALLU = 0;
    SCB_CSSELR = 0; /* the data cache */
    BARRIER;
    uint32_t sets = SCB_CCSIDR >> 13 & 0x7fff, ways = SCB_CCSIDR >> 3 & 0x3ff;
    for (uint32_t set = 0; set <= sets; set++)
        for (uint32_t way = 0; way <= ways; way++) SCB_DCISW = set << 5 | way << 30;
    BARRIER;
    SCB_CCR |= 3u << 16;
    BARRIER;
}

void board_set_clocks(void);

void board_set_clocks(void)
{
    if ((RCC_CFGR & 7u << 3) != PLL1_SELECTED) { /* or else a debugger has jumped here, and all is as it should be */
        raise_voltage();
        start_pll();
        FLASH_ACR = 2u | 2u << 4; /* wait states for 200 MHz */
        while (FLASH_ACR != (2u | 2u << 4)) {}
        RCC_D1CFGR = 4u << 4 | 8u; /* core / 1, AXI and AHB / 2, APB3 / 2 */
        RCC_D2CFGR = 4u << 8 | 4u << 4;
        RCC_D3CFGR = 4u << 4;
        RCC_CFGR = (RCC_CFGR & ~7u) | 3u;
        while ((RCC_CFGR & 7u << 3) != PLL1_SELECTED) {}
    }
    if (!(SCB_CCR & 1u << 16)) start_caches();
}
