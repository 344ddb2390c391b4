/*
 * cmsis.c: 256-point transforms on a Cortex-M, the kernel's and CMSIS-DSP's arm_rfft_fast_f32, by what the board's
 * clock counts (instructions in emulation). Both transform the same samples, and the spectra must agree.
 */
#include <math.h>

#include "arm_math.h"
#include "board.h"
#include "edgeenhance.h"

enum { N = 256 };

static union { double align; char bytes[16000]; } memory;
static float samples[N], hop[N / 2], history[N], overlap[N / 2], ours[N + 2], theirs[N], work[N + 2];

static void print_count(const char *name, uint32_t value)
{
    board_print(name), board_print(" "), board_print_number(value), board_print("\n");
}

static void measure_theirs(void)
{
    arm_rfft_fast_instance_f32 fft;
    if (arm_rfft_fast_init_256_f32(&fft)) board_print("NOT OK: CMSIS-DSP does not start\n");
    for (int i = 0; i < N; i++) work[i] = samples[i]; /* it is overwritten */
    board_start_clock();
    arm_rfft_fast_f32(&fft, work, theirs, 0);
    uint32_t forward = board_clock();
    float copy[N];
    for (int i = 0; i < N; i++) copy[i] = theirs[i];
    board_start_clock();
    arm_rfft_fast_f32(&fft, copy, work, 1);
    print_count("CMSIS-DSP, forward and inverse:", forward + board_clock());
}

static void measure_ours(void)
{
    char *start = memory.bytes + (16 - (uintptr_t)memory.bytes % 16) % 16;
    size_t size = sizeof memory - 16;
    ee_fft *fft = NULL;
    ee_stft *stft = NULL;
    if (ee_fft_init(&fft, start, size, N)) board_print("NOT OK: no FFT\n");
    board_start_clock();
    ee_fft_forward(fft, samples, ours);
    uint32_t forward = board_clock();
    board_start_clock();
    ee_fft_inverse(fft, ours, work);
    print_count("the kernel, forward and inverse:", forward + board_clock());
    if (ee_stft_init(&stft, start, size, N, N)) board_print("NOT OK: no STFT\n");
    board_start_clock();
    ee_stft_analyze(stft, history, hop, 1, work);
    ee_stft_synthesize(stft, overlap, work, hop, 1);
    print_count("the kernel, analysis and synthesis:", board_clock());
}

int main(void)
{
    uint32_t state = 1;
    float worst = 0.0f;
    for (int i = 0; i < N; i++) samples[i] = (float)(int32_t)(state = state * 1664525u + 1013904223u) / 2147483648.0f;
    measure_theirs();
    measure_ours();
    for (int k = 1; k < N / 2; k++)
        worst = fmaxf(worst, fabsf(ours[k] - theirs[2 * k]) + fabsf(ours[N / 2 + 1 + k] - theirs[2 * k + 1]));
    board_print(worst < 1e-4f ? "OK\n" : "NOT OK: the spectra differ\n");
    return !(worst < 1e-4f);
}
