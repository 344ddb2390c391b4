# Cortex-M55 with Helium; QEMU's machine is an Arm MPS3 board.
set(EE_CORE "-mcpu=cortex-m55")
set(EE_SCRIPT mps3.ld)
set(EE_MACHINE mps3-an547)
set(EE_SYSTICK_HZ 32000000)
include(${CMAKE_CURRENT_LIST_DIR}/arm-none-eabi.cmake)
