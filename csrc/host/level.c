/*
 * level.c: never loud. Automatic level control that follows speech slowly, a soft start, the kernel's limiter.
 */
#include <math.h>

#include "level.h"

#define SPEECH_SECONDS 3.0f    /* mean over speech */
#define FLOOR_RISE 1.0f        /* of the background's power per second, as exp: 4.3 dB */
#define SPEECH_OVER_FLOOR 8.0f /* 9 dB above the background is speech, */
#define QUIETEST 1e-7f         /* above -70 dBFS */
#define MOST_GAIN 8.0f         /* 18 dB up, */
#define LEAST_GAIN 0.125f      /* or down */
#define SLEW 0.35f             /* of the gain per second, as exp: 3 dB */

void ee_level_init(ee_level *v, float ceiling, float target, float start_seconds, double sample_rate, int frames)
{
    v->seconds = (float)(1.0 / sample_rate);
    v->start = start_seconds > 0.0f ? 0.0f : 1.0f;
    v->start_step = start_seconds > 0.0f ? v->seconds / start_seconds : 0.0f;
    v->target = v->speech = target;
    v->floor = 1.0f;
    v->gain = v->want = 1.0f;
    ee_limiter_tune(&v->limiter, ceiling, (double)frames / sample_rate);
}

static float smallest(float a, float b) { return a < b ? a : b; }

/* Where the gain should go: the level of speech, not of pauses, to the target. */
static void follow(ee_level *v, const float *y, int channels, int frames)
{
    float power = 0.0f, seconds = (float)frames * v->seconds;
    for (int i = 0; i < frames * channels; i++) power += y[i] * y[i];
    power /= (float)(frames * channels);
    v->floor *= 1.0f + FLOOR_RISE * seconds;
    v->floor = smallest(v->floor, power > QUIETEST ? power : QUIETEST);
    if (power < QUIETEST || power < SPEECH_OVER_FLOOR * v->floor) return;
    v->speech += smallest(1.0f, seconds / SPEECH_SECONDS) * (power - v->speech);
    float want = sqrtf(v->target / v->speech);
    v->want = want > MOST_GAIN ? MOST_GAIN : want < LEAST_GAIN ? LEAST_GAIN : want;
}

void ee_level_process(ee_level *v, float *y, int channels, int frames)
{
    if (v->target > 0.0f) follow(v, y, channels, frames);
    float up = 1.0f + SLEW * v->seconds, down = 1.0f - SLEW * v->seconds;
    for (int i = 0; i < frames; i++) {
        float most = v->gain * up, least = v->gain * down;
        v->gain = v->want > most ? most : v->want < least ? least : v->want;
        v->start = smallest(1.0f, v->start + v->start_step);
        for (int c = 0; c < channels; c++) y[i * channels + c] *= v->gain * v->start * v->start;
    }
    ee_limiter_hop(&v->limiter, y, frames, channels);
}
