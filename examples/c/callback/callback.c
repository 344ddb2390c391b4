/*
 * callback.c: the enhancer inside an audio callback; another thread changes look direction and strength, and compares
 * with the bypass, while it runs.
 *
 * A loop stands for the sound card: 6 seconds of noise. Prints once per second what the enhancer sees, and at the end
 * the time that blocks took.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "ee_setup.h"

enum { BLOCK = 2 * EE_SETUP_HOP }; /* any number, but for exports with --block */

static unsigned char memory[EE_SETUP_BYTES];
static ee_enhancer *enhancer;
static int error; /* of the callback, 0 or the last one */

/* in [frames][EE_SETUP_MICS], out [frames][EE_SETUP_EARS]. No malloc, no locks, no printing in here. */
static void audio_callback(const float *in, float *out, size_t frames)
{
    int code = ee_enhancer_process(enhancer, in, out, frames);
    if (code) error = code;
}

/* The user's hand, in any thread but one at a time. */
static int turn_knobs(int second)
{
    if (second == 1) return ee_enhancer_set_bypass(enhancer, 1); /* to compare */
    if (second == 2) return ee_enhancer_set_bypass(enhancer, 0);
    if (second == 3) return ee_enhancer_set_beam(enhancer, &ee_setup_looks[EE_SETUP_LOOKS - 1]);
    if (second == 4) return ee_enhancer_set_strength(enhancer, 0.5f);
    return EE_OK;
}

static void print_status(int second)
{
    ee_status status;
    ee_enhancer_status(enhancer, &status);
    printf("%d s: strength %.2f, gain %.2f, limiter %.2f, dead microphones %#x, bad frames %lu, %s\n", second,
           (double)status.strength, (double)status.gain, (double)status.limiter_gain, status.dead_mics,
           (unsigned long)status.bad_frames, ee_strerror(error));
}

int main(void)
{
    static float in[BLOCK * EE_SETUP_MICS], out[BLOCK * EE_SETUP_EARS];
    const int blocks = EE_SETUP_SAMPLE_RATE / BLOCK; /* per second */
    double total = 0.0, worst = 0.0;
    uint32_t noise = 1;
    int code = ee_setup_init(&enhancer, memory, sizeof memory);
    if (code) return fprintf(stderr, "%s\n", ee_strerror(code)), 1;

    for (int second = 0; second < 6; second++) {
        if ((code = turn_knobs(second))) return fprintf(stderr, "%s\n", ee_strerror(code)), 1;
        for (int block = 0; block < blocks; block++) {
            for (size_t i = 0; i < sizeof in / sizeof *in; i++) {
                noise = noise * 1664525u + 1013904223u;
                in[i] = (float)(noise >> 8) / 16777216.0f * 0.1f - 0.05f;
            }
            clock_t start = clock();
            audio_callback(in, out, BLOCK);
            double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
            total += seconds;
            worst = seconds > worst ? seconds : worst;
        }
        print_status(second + 1);
    }
    printf("%d samples (%.1f ms) per block: %.3f ms of processor time on average, %.3f ms at most\n", (int)BLOCK,
           1000.0 * BLOCK / EE_SETUP_SAMPLE_RATE, 1000.0 * total / (6 * blocks), 1000.0 * worst);
    return 0;
}
