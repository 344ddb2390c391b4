/* fuzz.h: what the harnesses share. A harness is LLVMFuzzerTestOneInput; a requirement that fails ends it. */
#ifndef FUZZ_H
#define FUZZ_H

#define _POSIX_C_SOURCE 200112L /* posix_memalign */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edgeenhance.h"

#define FUZZ_ABSURD 1e6f /* samples beyond are muted like NaN */
#define fuzz_require(truth) fuzz_check((truth), #truth, __FILE__, __LINE__)

static inline void fuzz_check(int truth, const char *text, const char *file, int line)
{
    if (truth) return;
    fprintf(stderr, "NOT OK %s:%d: %s\n", file, line, text);
    abort();
}

/* A block of exactly `size` bytes, aligned as states want it: the sanitizer finds a byte too far. */
static inline void *fuzz_block(size_t size)
{
    void *memory = NULL;
    fuzz_require(posix_memalign(&memory, 16, size ? size : 1) == 0);
    return memory;
}

static inline uint32_t fuzz_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* The fuzzer's bytes, one after the other; zeros when they are used up. */
typedef struct {
    const uint8_t *at, *end;
} fuzz_bytes;

static inline uint8_t fuzz_byte(fuzz_bytes *bytes) { return bytes->at < bytes->end ? *bytes->at++ : 0; }

static inline uint32_t fuzz_word(fuzz_bytes *bytes)
{
    uint32_t word = 0;
    for (int i = 0; i < 4; i++) word = word << 8 | fuzz_byte(bytes);
    return word;
}

/* Any bits: NaN, Inf, denormal, huge. */
static inline float fuzz_float(fuzz_bytes *bytes)
{
    uint32_t word = fuzz_word(bytes);
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

/* `count` samples in the manner that a byte says: silence, noise, a square wave, DC, extremes or any bits, at some
 * level; with bit 3 set one in 61 is a bad one. */
static inline void fuzz_samples(fuzz_bytes *bytes, float *samples, size_t count)
{
    static const float odd[] = {0.0f, 1.0f, -1.0f, 1e6f, -1e6f, 1e-40f, 3.4e38f, 1e-20f};
    static const float levels[] = {1.0f, 1e-3f, 1e6f, 1e-12f, 0.03f, 1e-38f, 100.0f, 1e-7f};
    uint8_t manner = fuzz_byte(bytes);
    uint32_t state = fuzz_byte(bytes) + 1u;
    float level = levels[manner >> 5], bad = manner & 8 ? fuzz_float(bytes) : 0.0f;
    for (size_t i = 0; i < count; i++) {
        uint32_t word = fuzz_random(&state);
        switch (manner & 7) {
        case 0: samples[i] = 0.0f; break;
        case 1: samples[i] = odd[word >> 8 & 7]; break;
        case 2: samples[i] = i & 8 ? level : -level; break;
        case 3: samples[i] = level; break;
        case 4: samples[i] = fuzz_float(bytes); break;
        default: samples[i] = level * ((float)(word & 0xffff) / 32768.0f - 1.0f); break;
        }
        if (manner & 8 && word % 61 == 0) samples[i] = bad;
    }
}

/* The greatest magnitude among the frames without a bad sample (those are muted), `peak` where that is greater. */
static inline float fuzz_peak(float peak, const float *samples, size_t frames, size_t channels)
{
    for (size_t k = 0; k < frames; k++) {
        float largest = 0.0f;
        int bad = 0;
        for (size_t c = 0; c < channels; c++) {
            float size = fabsf(samples[k * channels + c]);
            bad |= !(size <= FUZZ_ABSURD);
            largest = size > largest ? size : largest;
        }
        peak = !bad && largest > peak ? largest : peak;
    }
    return peak;
}

#endif
