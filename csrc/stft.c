/*
 * stft.c: streaming analysis and overlap-add synthesis with an asymmetric window pair (Mauler & Martin 2007).
 */
#include <math.h>
#include <string.h>

#include "internal.h"

struct ee_stft {
    int analysis, synthesis, hop, bins;
    ee_fft *fft;
    float *window[2]; /* analysis, synthesis */
    float *frame;     /* [analysis] scratch */
};

size_t ee_stft_size(int analysis, int synthesis)
{
    size_t fft = ee_fft_size(analysis);
    if (!fft || !ee_is_power_of_two(synthesis) || synthesis < 16 || synthesis > analysis) return 0;
    ee_arena arena = {NULL, 0};
    ee_arena_take(&arena, sizeof(ee_stft));
    ee_arena_take(&arena, fft);
    ee_arena_floats(&arena, (size_t)analysis);
    ee_arena_floats(&arena, (size_t)synthesis);
    ee_arena_floats(&arena, (size_t)analysis);
    return arena.used;
}

/* sin(pi k / (2 n)), 0 <= k <= n: the square root of a Hann window of 2 n samples; n need not be a multiple of 8. */
static double root_hann(int k, int n)
{
    double sine, cosine;
    ee_sincos(2 * k, 8 * n, &sine, &cosine);
    return sine;
}

static void make_windows(ee_stft *stft)
{
    int hop = stft->hop, rise = stft->analysis - hop;
    for (int k = 0; k < rise; k++) stft->window[0][k] = (float)root_hann(k, rise);
    for (int k = 0; k < hop; k++) {
        double up = root_hann(k, hop), down = root_hann(hop - k, hop), early = root_hann(rise - hop + k, rise);
        stft->window[0][rise + k] = (float)down;
        stft->window[1][k] = early > 0.0 ? (float)(up * up / early) : 0.0f;
        stft->window[1][hop + k] = (float)down;
    }
}

int ee_stft_init(ee_stft **out, void *memory, size_t bytes, int analysis, int synthesis)
{
    int code = ee_check_memory(out, memory, bytes, ee_stft_size(analysis, synthesis));
    if (code) return code;
    ee_arena arena = {memory, 0};
    ee_stft *stft = ee_arena_take(&arena, sizeof(ee_stft));
    size_t fft = ee_fft_size(analysis);
    code = ee_fft_init(&stft->fft, ee_arena_take(&arena, fft), fft, analysis);
    if (code) return code;
    stft->analysis = analysis;
    stft->synthesis = synthesis;
    stft->hop = synthesis / 2;
    stft->bins = analysis / 2 + 1;
    stft->window[0] = ee_arena_floats(&arena, (size_t)analysis);
    stft->window[1] = ee_arena_floats(&arena, (size_t)synthesis);
    stft->frame = ee_arena_floats(&arena, (size_t)analysis);
    make_windows(stft);
    *out = stft;
    return EE_OK;
}

const float *ee_stft_window(const ee_stft *stft, int synthesis) { return stft->window[synthesis != 0]; }

void ee_stft_analyze(ee_stft *stft, float *history, const float *hop, int stride, float *X)
{
    int kept = stft->analysis - stft->hop;
    const float *restrict window = stft->window[0], *later = history + stft->hop;
    float *restrict frame = stft->frame;
    for (int k = 0; k < kept; k++) {
        history[k] = later[k];
        frame[k] = history[k] * window[k];
    }
    for (int k = 0; k < stft->hop; k++) {
        history[kept + k] = hop[k * stride];
        frame[kept + k] = history[kept + k] * window[kept + k];
    }
    ee_fft_forward(stft->fft, frame, X);
}

void ee_stft_synthesize(ee_stft *stft, float *overlap, const float *X, float *hop, int stride)
{
    int n = stft->hop;
    const float *restrict window = stft->window[1], *restrict tail = stft->frame + stft->analysis - stft->synthesis;
    if (stft->synthesis <= stft->analysis / 4) ee_fft_inverse_tail(stft->fft, X, stft->frame);
    else ee_fft_inverse(stft->fft, X, stft->frame);
    for (int k = 0; k < n; k++) {
        hop[k * stride] = overlap[k] + tail[k] * window[k];
        overlap[k] = tail[n + k] * window[n + k];
    }
}
