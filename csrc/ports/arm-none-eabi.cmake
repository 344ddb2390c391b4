# What the microcontrollers have in common. A board sets EE_CORE (flags), EE_SCRIPT (linker script), EE_CHIP (a source
# of its own: clocks, boot block) where it needs one and, where QEMU has the machine, EE_MACHINE and EE_SYSTICK_HZ.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR arm)
set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_C_FLAGS_INIT "${EE_CORE} -mthumb -mfloat-abi=hard -ffunction-sections -fdata-sections")
set(CMAKE_EXE_LINKER_FLAGS_INIT
    "-nostartfiles --specs=nano.specs -Wl,--gc-sections -L${CMAKE_CURRENT_LIST_DIR} -T${EE_SCRIPT}")
set(CMAKE_EXECUTABLE_SUFFIX_C .elf)
if(EE_MACHINE) # -icount: an instruction takes 2^6 ns, so that SysTick counts instructions
  set(CMAKE_CROSSCOMPILING_EMULATOR qemu-system-arm -machine ${EE_MACHINE} -nographic -monitor none -serial none
      -semihosting-config enable=on,target=native -icount shift=6 -kernel)
endif()
