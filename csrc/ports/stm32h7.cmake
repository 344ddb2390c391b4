# STM32H743 and its kin: Cortex-M7 with double precision.
set(EE_CORE "-mcpu=cortex-m7 -mfpu=fpv5-d16")
set(EE_SCRIPT stm32h7.ld)
set(EE_CHIP stm32h7.c)
include(${CMAKE_CURRENT_LIST_DIR}/arm-none-eabi.cmake)
