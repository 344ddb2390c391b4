/*
 * bands.c: band powers, gains from bands to bins, and the network's features.
 */
#include <string.h>

#include "internal.h"

#define FEATURE_FLOOR 8.673617379884035e-19f /* 2^-60: -180 dB */
#define FEATURE_SCALE 2048.0f                /* Q15 units per log2: 32768 / 16 */
#define RISE_SECONDS 0.5
#define FALL_SECONDS 4.0

float ee_log2(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 23) - 127;
    bits = (bits & 0x007fffffu) | 0x3f800000u;
    float mantissa;
    memcpy(&mantissa, &bits, sizeof mantissa);
    if (mantissa > 1.41421356f) {
        mantissa *= 0.5f;
        exponent++;
    }
    /* log2(m) = 2 / ln 2 * atanh(t), t = (m - 1) / (m + 1), |t| < 0.172 */
    float t = (mantissa - 1.0f) / (mantissa + 1.0f), t2 = t * t;
    float series = 1.0f + t2 * (0.33333333f + t2 * (0.2f + t2 * (0.14285714f + t2 * 0.11111111f)));
    return (float)exponent + 2.88539008f * t * series;
}

void ee_bands_power(const int16_t *centers, int bands, const float *X, int bins, float *power)
{
    const float *re = X, *im = X + bins;
    float carry = 0.0f; /* what the falling side of the triangle before left for this band */
    int before = 1;     /* width of that side, in bins */
    for (int b = 0; b < bands; b++) {
        int first = centers[b], after = b + 1 < bands ? centers[b + 1] - first : 1;
        float step = 1.0f / (float)after, here = 0.0f, next = 0.0f;
        for (int k = 0; k < after; k++) {
            float p = re[first + k] * re[first + k] + im[first + k] * im[first + k];
            float share = (float)k * step;
            here += (1.0f - share) * p;
            next += share * p;
        }
        power[b] = (carry + here) * 2.0f / (float)(before + after);
        carry = next;
        before = after;
    }
}

void ee_bands_expand(const int16_t *centers, int bands, const float *gains, int bins, float *bin_gains)
{
    for (int b = 0; b + 1 < bands; b++) {
        int first = centers[b], width = centers[b + 1] - first;
        float slope = (gains[b + 1] - gains[b]) / (float)width;
        for (int k = 0; k < width; k++) bin_gains[first + k] = gains[b] + slope * (float)k;
    }
    bin_gains[bins - 1] = gains[bands - 1];
}

int ee_features_init(ee_features *features, float hop_seconds)
{
    if (!features) return EE_ERR_NULL;
    if (!(hop_seconds > 0.0f && hop_seconds < 1.0f)) return EE_ERR_CONFIG;
    features->level = 0.0f;
    features->rise = (float)ee_one_minus_exp(hop_seconds / RISE_SECONDS);
    features->fall = (float)ee_one_minus_exp(hop_seconds / FALL_SECONDS);
    features->started = 0;
    return EE_OK;
}

static int16_t to_q15(float x)
{
    x = x < -32768.0f ? -32768.0f : x > 32767.0f ? 32767.0f : x;
    return (int16_t)(x < 0.0f ? x - 0.5f : x + 0.5f);
}

void ee_features_update(ee_features *features, const float *const *powers, int bands, int16_t *q15)
{
    float logs[EE_MAX_BANDS], mean = 0.0f;
    for (int b = 0; b < bands; b++) {
        logs[b] = ee_log2(powers[0][b] + FEATURE_FLOOR);
        mean += logs[b];
    }
    mean /= (float)bands;
    if (!features->started) features->level = mean;
    features->started = 1;
    features->level += (mean > features->level ? features->rise : features->fall) * (mean - features->level);
    for (int b = 0; b < bands; b++) q15[b] = to_q15(FEATURE_SCALE * (logs[b] - features->level));
    for (int s = 1; s < EE_SIGNALS; s++) {
        const float *power = powers[s];
        int16_t *out = q15 + s * bands;
        for (int b = 0; b < bands; b++)
            out[b] = power ? to_q15(FEATURE_SCALE * (ee_log2(power[b] + FEATURE_FLOOR) - features->level)) : -32768;
    }
}
