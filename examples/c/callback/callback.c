/*
 * callback.c: the enhancer inside an audio callback, with a look direction and a strength that change while it runs.
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

/* What the user wants. Setters belong to the callback's thread, so other threads leave their wishes here and the
 * callback carries them out. With a real second thread make these two atomic (C11: _Atomic, or a lock-free queue). */
static int wanted_look;
static float wanted_strength = 1.0f;

/* in [frames][EE_SETUP_MICS], out [frames][EE_SETUP_EARS]. No malloc, no locks, no printing in here. */
static void audio_callback(const float *in, float *out, size_t frames)
{
    static int look;
    static float strength = 1.0f;
    if (look != wanted_look) ee_enhancer_set_beam(enhancer, &ee_setup_looks[look = wanted_look]);
    if (strength < wanted_strength || strength > wanted_strength)
        ee_enhancer_set_strength(enhancer, strength = wanted_strength);
    int code = ee_enhancer_process(enhancer, in, out, frames);
    if (code) error = code;
}

static void print_status(int second)
{
    ee_status status;
    ee_enhancer_status(enhancer, &status);
    printf("%d s: look %g degrees, strength %.2f, gain %.2f, dead microphones %#x, bad frames %lu, %s\n", second,
           (double)ee_setup_degrees[wanted_look], (double)status.strength, (double)status.gain, status.dead_mics,
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
        if (second == 2) wanted_look = EE_SETUP_LOOKS - 1; /* the user turns a knob */
        if (second == 4) wanted_strength = 0.5f;
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
