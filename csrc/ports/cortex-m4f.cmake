# Cortex-M4F; QEMU's machine is an Arm MPS2 board.
set(EE_CORE "-mcpu=cortex-m4 -mfpu=fpv4-sp-d16")
set(EE_SCRIPT mps2.ld)
set(EE_MACHINE mps2-an386)
set(EE_SYSTICK_HZ 25000000)
include(${CMAKE_CURRENT_LIST_DIR}/arm-none-eabi.cmake)
