/*
 * bits.c: runs the whole chain and a resampler on fixed pseudo-random input and prints a hash of the output's bits. The
 * exact build (-ffp-contract=off) prints the same line on every platform.
 */
#include <stdio.h>

#include "edgeenhance.h"

enum { MICS = 4, BANDS = 6, BINS = 257, FRAMES = 8000, BYPASSED = 7000 };

static const int16_t centers[BANDS] = {0, 6, 17, 40, 100, 256};
static float tables[6][MICS * MICS * BINS], ear[2 * BINS], in[FRAMES * MICS], out[FRAMES * 2];
static union { double align; char bytes[1 << 18]; } memory_block;

static float random_sample(void)
{
    static uint32_t state = 7;
    state = state * 1664525u + 1013904223u;
    return (float)(int32_t)(state & 0xffffff00u) / 2147483648.0f;
}

static int mask(void *user, const int16_t *features, int16_t *gains)
{
    int16_t *memory = user;
    for (int b = 0; b < BANDS; b++) {
        memory[b] = (int16_t)((3 * memory[b] + features[b] - features[BANDS + b] + features[2 * BANDS + b]
                               - features[3 * BANDS + b]) / 7);
        gains[b] = (int16_t)(16384 + memory[b] / 2);
    }
    return 0;
}

static uint32_t hash_of(uint32_t hash, const float *samples, int count)
{
    for (int i = 0; i < count; i++) {
        union { float value; uint32_t bits; } sample = {samples[i]};
        hash = (hash ^ sample.bits) * 16777619u;
    }
    return hash;
}

int main(void)
{
    int16_t memory[BANDS] = {0};
    ee_config c = {0};
    c.sample_rate = 16000, c.analysis = 512, c.synthesis = 128, c.mics = MICS, c.ears = 2, c.reference[1] = 2;
    c.bands = BANDS, c.centers = centers, c.beamformer = EE_BEAM_MVDR, c.prior_weight = 0.1f, c.noise_seconds = 0.4f;
    c.solve_hops = 8, c.steering_blend = 0.5f, c.look_steps = 8, c.strength = 0.9f, c.cues = 0.1f, c.mask = mask, c.mask_user = memory;
    c.ceiling = 0.05f;
    for (int t = 0; t < 5; t++)
        for (int i = 0; t != 3 && i < 2 * MICS * BINS; i++) tables[t][i] = random_sample();
    for (int f = 0; f < BINS; f++) {
        tables[2][f] = 1.0f, tables[2][BINS + f] = 0.0f, ear[f] = 0.7f, ear[BINS + f] = 0.2f;
        for (int m = 0; m < MICS; m++) tables[3][(m * m + 2 * m) * BINS + f] = 1.0f;
    }
    for (int i = 0; i < MICS * BINS; i++) { /* phases, but none at microphone 0 */
        float slope = i < BINS ? 0.0f : random_sample(), square = slope * slope;
        int at = i / BINS * 2 * BINS + i % BINS;
        tables[5][at] = (1.0f - square) / (1.0f + square), tables[5][at + BINS] = 2.0f * slope / (1.0f + square);
    }
    for (int i = 0; i < FRAMES * MICS; i++) in[i] = 0.1f * random_sample();
    ee_beam beam = {tables[0], tables[1], tables[4], tables[2], ear, tables[5], tables[3]};
    char *start = memory_block.bytes + (16 - (uintptr_t)memory_block.bytes % 16) % 16;
    ee_enhancer *e = NULL;
    if (ee_enhancer_init(&e, start, sizeof memory_block - 16, &c, &beam)) return 1;
    if (ee_enhancer_process(e, in, out, BYPASSED)) return 1;
    if (ee_enhancer_set_bypass(e, 1)) return 1;
    if (ee_enhancer_process(e, in + BYPASSED * MICS, out + BYPASSED * 2, FRAMES - BYPASSED)) return 1;
    uint32_t hash = hash_of(2166136261u, out, FRAMES * 2);
    float middle = out[FRAMES], last = out[2 * FRAMES - 1];
    ee_resample *r = NULL;
    if (ee_resample_init(&r, start, sizeof memory_block - 16, 44100, 16000, MICS, 1)) return 1;
    int made = (int)ee_resample_frames(r, FRAMES);
    if (made * MICS > FRAMES * 2 || ee_resample_process(r, in, out, FRAMES)) return 1;
    hash = hash_of(hash, out, made * MICS);
    printf("%08x %.9g %.9g\n", (unsigned)hash, (double)middle, (double)last);
    return 0;
}
