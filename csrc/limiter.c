/*
 * limiter.c: an output limiter without delay. A hop is there as a whole, so the gain falls in a straight line to where
 * the hop's samples need it, as early as the first of them needs it, and comes back within RELEASE_SECONDS. One gain for
 * all channels: ears keep their level difference.
 */
#include <math.h>

#include "internal.h"

#define RELEASE_SECONDS 0.1 /* from 0 to 1 */

void ee_limiter_tune(ee_limiter *l, float ceiling, double hop_seconds)
{
    l->ceiling = ceiling;
    l->release = (float)(hop_seconds / RELEASE_SECONDS);
    l->gain = 1.0f;
}

static float peak_of(const float *frame, int channels)
{
    float peak = 0.0f;
    for (int c = 0; c < channels; c++) peak = fabsf(frame[c]) > peak ? fabsf(frame[c]) : peak;
    return peak;
}

static float clamp(float x, float most) { return x > most ? most : x < -most ? -most : x; }

float ee_limiter_hop(ee_limiter *l, float *y, int frames, int channels)
{
    float start = l->gain, end = start + l->release < 1.0f ? start + l->release : 1.0f;
    float slope = (end - start) / (float)frames, least = start;
    for (int k = 0; k < frames; k++) {
        float peak = peak_of(y + k * channels, channels);
        if (peak <= l->ceiling) continue;
        float needed = l->ceiling / peak, steepest = (needed - start) / (float)(k + 1);
        least = needed < least ? needed : least;
        slope = steepest < slope ? steepest : slope;
    }
    if (start >= 1.0f && slope >= 0.0f) return 1.0f; /* nothing to do: the samples stay as they are */
    for (int k = 0; k < frames; k++) {
        float gain = start + slope * (float)(k + 1);
        l->gain = gain > least ? gain : least;
        for (int c = 0; c < channels; c++) y[k * channels + c] = clamp(l->gain * y[k * channels + c], l->ceiling);
    }
    return l->gain < start ? l->gain : start;
}
