/*
 * audio.c: sound from in.f32 to out.f32 on the debugger's side (semihosting), floats as they lie in memory. In the
 * emulator this is how edgeenhance firmware run works; on a board it works with a probe, and slower than in real time.
 */
#include "audio.h"

#include <string.h>

#include "board.h"
#include "ee_setup.h"

#define SYS_OPEN 0x01u
#define SYS_CLOSE 0x02u
#define SYS_WRITE 0x05u
#define SYS_READ 0x06u
#define READ_BINARY 1u
#define WRITE_BINARY 5u

static int32_t open_file(const char *name, uintptr_t mode)
{
    const uintptr_t argument[3] = {(uintptr_t)name, mode, strlen(name)};
    return board_ask_debugger(SYS_OPEN, argument);
}

/* SYS_READ or SYS_WRITE of all bytes; 0 where some are missing. */
static int transfer(uint32_t operation, int32_t file, void *bytes, size_t count)
{
    const uintptr_t argument[3] = {(uintptr_t)file, (uintptr_t)bytes, count};
    return board_ask_debugger(operation, argument) == 0;
}

static void close_file(int32_t file)
{
    const uintptr_t argument = (uintptr_t)file;
    board_ask_debugger(SYS_CLOSE, &argument);
}

int audio_run(audio_hop hop)
{
    static float in[EE_SETUP_HOP * EE_SETUP_MICS], out[EE_SETUP_HOP * EE_SETUP_EARS];
    int32_t from = open_file("in.f32", READ_BINARY), to = open_file("out.f32", WRITE_BINARY);
    if (from < 0 || to < 0) return -1;
    do {
        if (!transfer(SYS_READ, from, in, sizeof in)) break;
        hop(in, out);
    } while (transfer(SYS_WRITE, to, out, sizeof out));
    close_file(from), close_file(to);
    return 0;
}
