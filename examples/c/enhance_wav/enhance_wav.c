/*
 * enhance_wav.c: enhance a recording. usage: enhance_wav in.wav out.wav
 *
 * WAV files of 16-bit or float samples, with the setup's microphones and sample rate; the output has the input's format
 * and length, and no delay. For little-endian machines.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "ee_setup.h"

enum { BLOCK = 8 * EE_SETUP_HOP, MOST = EE_SETUP_MICS > EE_SETUP_EARS ? EE_SETUP_MICS : EE_SETUP_EARS };

/* ---- WAV ---- */

typedef struct {
    uint32_t rate, frames;
    uint16_t channels, bits; /* 16: integers, 32: floats */
} wav;

/* Reads up to the first sample; returns what is wrong, or NULL. */
static const char *read_header(FILE *file, wav *w)
{
    unsigned char riff[12], chunk[8], format[40];
    uint32_t size;
    uint16_t tag = 0;
    if (fread(riff, 1, 12, file) != 12 || memcmp(riff, "RIFF", 4) || memcmp(riff + 8, "WAVE", 4))
        return "not a WAV file";
    while (fread(chunk, 1, 8, file) == 8) {
        memcpy(&size, chunk + 4, 4);
        if (!memcmp(chunk, "data", 4)) {
            if (!(tag == 1 && w->bits == 16) && !(tag == 3 && w->bits == 32)) return "neither 16-bit nor float samples";
            w->frames = size / (w->bits / 8u) / w->channels;
            return NULL;
        }
        uint32_t known = memcmp(chunk, "fmt ", 4) ? 0 : size < sizeof format ? size : (uint32_t)sizeof format;
        if (fread(format, 1, known, file) != known || (known && known < 16)) break;
        if (known) {
            memcpy(&tag, format, 2);
            memcpy(&w->channels, format + 2, 2);
            memcpy(&w->rate, format + 4, 4);
            memcpy(&w->bits, format + 14, 2);
            if (tag == 0xfffe && known >= 26) memcpy(&tag, format + 24, 2); /* "extensible" */
            if (!w->channels) return "no channels";
        }
        if (fseek(file, (long)(size - known + size % 2), SEEK_CUR)) break;
    }
    return "no samples";
}

static void write_header(FILE *file, const wav *w)
{
    uint16_t tag = w->bits == 16 ? 1 : 3, frame = (uint16_t)(w->channels * w->bits / 8);
    uint32_t data = w->frames * frame, riff = 36 + data, sixteen = 16, second = w->rate * frame;
    fwrite("RIFF", 1, 4, file), fwrite(&riff, 4, 1, file), fwrite("WAVEfmt ", 1, 8, file);
    fwrite(&sixteen, 4, 1, file), fwrite(&tag, 2, 1, file), fwrite(&w->channels, 2, 1, file);
    fwrite(&w->rate, 4, 1, file), fwrite(&second, 4, 1, file), fwrite(&frame, 2, 1, file);
    fwrite(&w->bits, 2, 1, file), fwrite("data", 1, 4, file), fwrite(&data, 4, 1, file);
}

/* Returns the frames read, fewer at the end of the file. */
static size_t read_frames(FILE *file, const wav *w, float *x, size_t frames)
{
    int16_t integers[BLOCK * MOST];
    if (w->bits == 32) return fread(x, 4u * w->channels, frames, file);
    frames = fread(integers, 2u * w->channels, frames, file);
    for (size_t i = 0; i < frames * w->channels; i++) x[i] = (float)integers[i] / 32768.0f;
    return frames;
}

static void write_frames(FILE *file, const wav *w, const float *y, size_t frames)
{
    int16_t integers[BLOCK * MOST];
    size_t count = frames * w->channels;
    for (size_t i = 0; i < count && w->bits == 16; i++) {
        long sample = (long)(y[i] * 32768.0f + (y[i] < 0.0f ? -0.5f : 0.5f));
        integers[i] = (int16_t)(sample > 32767 ? 32767 : sample < -32768 ? -32768 : sample);
    }
    if (w->bits == 16) fwrite(integers, 2, count, file);
    else fwrite(y, 4, count, file);
}

/* ---- enhancement ---- */

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* The first `latency` frames that come out are dropped; silence goes in after the end. */
static int enhance(ee_enhancer *enhancer, FILE *in, const wav *from, FILE *out, const wav *to)
{
    static float x[BLOCK * EE_SETUP_MICS], y[BLOCK * EE_SETUP_EARS];
    size_t to_read = from->frames, to_write = to_read, to_drop = (size_t)ee_enhancer_latency(enhancer);
    while (to_write) {
        size_t frames = least(to_read, BLOCK), dropped = least(to_drop, BLOCK);
        memset(x, 0, sizeof x);
        if (read_frames(in, from, x, frames) != frames) return fprintf(stderr, "the input ends early\n"), 1;
        int code = ee_enhancer_process(enhancer, x, y, BLOCK);
        if (code) return fprintf(stderr, "%s\n", ee_strerror(code)), 1;
        size_t written = least(to_write, BLOCK - dropped);
        write_frames(out, to, y + dropped * EE_SETUP_EARS, written);
        to_read -= frames, to_drop -= dropped, to_write -= written;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static unsigned char memory[EE_SETUP_BYTES];
    ee_enhancer *enhancer;
    wav from, to;
    if (argc != 3) return fprintf(stderr, "usage: enhance_wav in.wav out.wav\n"), 2;

    FILE *in = fopen(argv[1], "rb");
    if (!in) return fprintf(stderr, "cannot read %s\n", argv[1]), 2;
    const char *wrong = read_header(in, &from);
    if (wrong) return fprintf(stderr, "%s: %s\n", argv[1], wrong), 2;
    if (from.channels != EE_SETUP_MICS || from.rate != EE_SETUP_SAMPLE_RATE)
        return fprintf(stderr, "%s has %u channels at %u Hz; this program takes %d at %d Hz\n", argv[1],
                       (unsigned)from.channels, (unsigned)from.rate, EE_SETUP_MICS, EE_SETUP_SAMPLE_RATE), 2;

    int code = ee_setup_init(&enhancer, memory, sizeof memory);
    if (code) return fprintf(stderr, "%s\n", ee_strerror(code)), 1;

    FILE *out = fopen(argv[2], "wb");
    if (!out) return fprintf(stderr, "cannot write %s\n", argv[2]), 2;
    to = from;
    to.channels = EE_SETUP_EARS;
    write_header(out, &to);
    code = enhance(enhancer, in, &from, out, &to);
    fclose(in);
    int failed = ferror(out);
    if (fclose(out) || failed) return fprintf(stderr, "cannot write %s\n", argv[2]), 1;
    return code;
}
