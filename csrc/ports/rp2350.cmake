# Raspberry Pi RP2350 (Pico 2), one of its Cortex-M33 cores.
set(EE_CORE "-mcpu=cortex-m33 -mfpu=fpv5-sp-d16")
set(EE_SCRIPT rp2350.ld)
set(EE_CHIP rp2350.c)
include(${CMAKE_CURRENT_LIST_DIR}/arm-none-eabi.cmake)
