"""Firmware (edgeenhance firmware): an enhancer on a microcontroller, from the wheel to the flashed board.

project    new: a folder with everything that CMake and a compiler need; Project reads it again
boards     what is known of each board
build      compile, and what it costs: flash, RAM, stack, instructions
run        the firmware in the emulator, compared with Python
flash      probes, writing, verifying
image      memory images: ELF in, HEX and UF2 out
tools      other programs: found or named, and never waited for without end
"""
