/*
 * fuzz_resample.c: resamplers of any rates, bad samples, blocks of any size. As many samples come out as were
 * announced, finite, never above PEAK times the input's peak, and the same from a twin that takes single frames.
 */
#include "fuzz.h"

enum { MOST = 64, LARGEST = 1000000 }; /* frames of a block; bytes of state: not every ratio is worth the time */

#define PEAK 4.0f

static const int rates[] = {8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000};

static int rate(fuzz_bytes *bytes)
{
    uint8_t choice = fuzz_byte(bytes);
    return choice & 0x80 ? (int)fuzz_word(bytes) : rates[choice % 8] / (1 + (choice >> 4 & 3));
}

static ee_resample *start(int rate_in, int rate_out, int channels, int late, void **memory)
{
    size_t size = ee_resample_size(rate_in, rate_out, channels, late);
    ee_resample *r = NULL;
    if (!size || size > LARGEST) return NULL;
    *memory = fuzz_block(size);
    fuzz_require(ee_resample_init(&r, *memory, size, rate_in, rate_out, channels, late) == EE_OK);
    return r;
}

static float *process(ee_resample *r, const float *in, size_t frames, size_t channels, size_t *made)
{
    *made = ee_resample_frames(r, frames) * channels;
    float *out = fuzz_block(*made * sizeof(float));
    fuzz_require(ee_resample_process(r, in, out, frames) == EE_OK);
    return out;
}

static void compare(const float *out, size_t made, ee_resample *twin, const float *in, size_t frames, size_t channels)
{
    float *again = fuzz_block(made * sizeof(float));
    size_t done = 0, more;
    for (size_t i = 0; i < frames; i++, done += more) {
        more = ee_resample_frames(twin, 1) * channels;
        fuzz_require(done + more <= made);
        fuzz_require(ee_resample_process(twin, in + i * channels, again + done, 1) == EE_OK);
    }
    fuzz_require(done == made && !memcmp(out, again, made * sizeof(float)));
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_bytes bytes = {data, data + size};
    int rate_in = rate(&bytes), rate_out = rate(&bytes);
    int channels = fuzz_byte(&bytes) % 6, late = fuzz_byte(&bytes) % 8 - 1;
    void *memory[2];
    ee_resample *r = start(rate_in, rate_out, channels, late, &memory[0]);
    if (!r) return 0;
    ee_resample *twin = start(rate_in, rate_out, channels, late, &memory[1]);
    double latency = ee_resample_latency(r);
    float peak = 0.0f;
    fuzz_require(latency > 0.0 && isfinite(latency));
    for (int blocks = 0; blocks < 16 && bytes.at < bytes.end; blocks++) {
        size_t frames = (size_t)fuzz_byte(&bytes) * fuzz_byte(&bytes) % MOST, values = frames * (size_t)channels, made;
        if (ee_resample_frames(r, frames) > 16 * MOST) break;
        float *in = fuzz_block(values * sizeof(float));
        fuzz_samples(&bytes, in, values);
        peak = fuzz_peak(peak, in, values, 1);
        float *out = process(r, in, frames, (size_t)channels, &made);
        for (size_t i = 0; i < made; i++) fuzz_require(fabsf(out[i]) <= PEAK * peak);
        compare(out, made, twin, in, frames, (size_t)channels);
        free(in), free(out);
        if (fuzz_byte(&bytes) == 255) ee_resample_reset(r), ee_resample_reset(twin), peak = 0.0f;
    }
    free(memory[0]), free(memory[1]);
    return 0;
}
