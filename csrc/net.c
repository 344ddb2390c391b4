/*
 * net.c: runs a network program, the compiled form of a model file (edgeenhance compile; docs/model-format.md).
 *
 * The program stays where it is, in flash. Everything it says is checked once, at load: afterwards no offset, size or
 * shift in it can lead outside the arena, whatever its author had in mind. A hop copies the features into the arena, runs the
 * ops one after the other and copies the gains out; states are places in the arena that the last ops write to.
 */
#include <string.h>

#include "internal.h"

#if defined(__ARM_FEATURE_MVE) /* Cortex-M55 */
#include <arm_mve.h>
#define EE_HELIUM 1
#define COMPILED_FOR "helium"
#elif defined(__ARM_NEON)
#define COMPILED_FOR "neon"
#elif defined(__ARM_FEATURE_DSP) /* Cortex-M4, M7, M33 */
#define EE_DSP 1
#define COMPILED_FOR "dsp"
#elif defined(__x86_64__) && defined(__GNUC__) /* AVX2 for processors that have it, which is asked at load */
#include <immintrin.h>
#define HAS_AVX2 1
#define COMPILED_FOR "sse2"
#elif defined(__SSE2__)
#define COMPILED_FOR "sse2"
#else
#define COMPILED_FOR "scalar"
#endif

#define VERSION 1
#define MOST_ELEMENTS (1u << 16)  /* of a tensor */
#define MOST_OPS 4096u
#define MOST_ARENA (1u << 24)     /* bytes */
#define CHECKED_FROM 16u          /* bytes of the header before what the CRC covers */
#define TABLE_ENTRIES 256u
#define HALF (1 << 30)            /* as a multiplier */
#define ROWS 64u                  /* of a matrix product at a time */

enum { INTEGER_16X8, INTEGER_8, FLOAT_32, QUANTIZATIONS };

/* Integer ops, then the same for float programs; COPY is of both. */
enum {
    EE_OP_COPY,
    EE_OP_DENSE, EE_OP_ADD, EE_OP_SUB, EE_OP_MUL, EE_OP_NARROW,
    EE_OP_SIGMOID, EE_OP_TANH, EE_OP_SIGMOID_TABLE, EE_OP_TANH_TABLE,
    EE_OP_FLOAT_DENSE, EE_OP_FLOAT_ADD, EE_OP_FLOAT_SUB, EE_OP_FLOAT_MUL, EE_OP_FLOAT_SIGMOID, EE_OP_FLOAT_TANH,
    EE_OP_KINDS
};

/* All numbers are little-endian; offsets are bytes from the program's start. */
typedef struct {
    char magic[4];                             /* "EENP" */
    uint32_t version, bytes, crc;              /* CRC-32 of all that follows */
    uint32_t quantization, sample_rate, analysis, synthesis, bands, signals;
    uint32_t centers, name;                    /* int16 [bands]; the name is for Python */
    uint32_t arena, features, gains;           /* bytes; where in the arena they go and come from */
    uint32_t table, ops, count;                /* sigmoid's table or 0; the ops and how many */
} ee_program;

typedef struct {
    uint32_t kind, count, cols;                /* result's elements; a matrix product's inputs */
    uint32_t a, b, out;                        /* in the arena, bytes */
    uint32_t weights, table;                   /* in the program, bytes: [count][cols]; [3][count], floats have [count] */
    int32_t multiplier[3], shift[3];           /* of a, b, the result */
    int32_t low, high;                         /* where a matrix product saturates */
} ee_op;

struct ee_net {
    const unsigned char *program;
    ee_program header;
    unsigned char *arena;
    void (*run)(const ee_net *net, const ee_op *op);
};

/* ---- loading: everything is checked ---- */

static uint32_t crc32(const unsigned char *bytes, size_t count)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1u)));
    }
    return ~crc;
}

/* `bytes` bytes at an aligned offset lie within `total`. */
static int lies_in(uint32_t offset, uint64_t bytes, uint32_t alignment, uint64_t total)
{
    return offset % alignment == 0 && offset <= total && bytes <= total - offset;
}

static int apart(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes) { return a + a_bytes <= b || b + b_bytes <= a; }

static int is_float(const ee_program *p) { return p->quantization == FLOAT_32; }

static uint32_t element(const ee_program *p) { return is_float(p) ? (uint32_t)sizeof(float) : (uint32_t)sizeof(int16_t); }

/* Elementwise ops may write where they read, element by element, but not a part of it. */
static int same_or_apart(uint32_t a, uint32_t out, uint64_t bytes) { return a == out || apart(a, bytes, out, bytes); }

static int scales_fit(const ee_op *op, int count)
{
    for (int i = 0; i < count; i++)
        if (op->multiplier[i] < 0 || op->shift[i] < 0 || op->shift[i] > 31) return 0;
    return 1;
}

static int rows_fit(const ee_op *op, const int32_t *table)
{
    for (uint32_t r = 0; r < op->count; r++)
        if (table[op->count + r] < 0 || table[2 * op->count + r] < 0 || table[2 * op->count + r] > 31) return 0;
    return op->low <= op->high && op->low >= -32768 && op->high <= 32767;
}

static int dense_fits(const ee_op *op, const unsigned char *program, const ee_program *p)
{
    uint64_t unit = element(p), rows = op->count, cols = op->cols, weight = is_float(p) ? sizeof(float) : 1;
    return cols >= 1 && cols <= MOST_ELEMENTS && lies_in(op->a, cols * unit, (uint32_t)unit, p->arena)
        && apart(op->a, cols * unit, op->out, rows * unit)
        && lies_in(op->weights, rows * cols * weight, (uint32_t)weight, p->bytes)
        && lies_in(op->table, rows * (is_float(p) ? 4u : 12u), 4, p->bytes)
        && (is_float(p) || rows_fit(op, (const int32_t *)(const void *)(program + op->table)));
}

static int op_fits(const ee_op *op, const unsigned char *program, const ee_program *p)
{
    uint64_t unit = element(p), bytes = op->count * unit;
    int integer = op->kind >= EE_OP_DENSE && op->kind <= EE_OP_TANH_TABLE;
    if (op->kind >= EE_OP_KINDS || (op->kind != EE_OP_COPY && integer == is_float(p))) return 0;
    if (!op->count || op->count > MOST_ELEMENTS || !lies_in(op->out, bytes, (uint32_t)unit, p->arena)) return 0;
    if (!lies_in(op->b, 0, (uint32_t)unit, p->arena)) return 0;
    if (op->kind == EE_OP_DENSE || op->kind == EE_OP_FLOAT_DENSE) return dense_fits(op, program, p);
    if (!lies_in(op->a, bytes, (uint32_t)unit, p->arena) || !same_or_apart(op->a, op->out, bytes)) return 0;
    switch (op->kind) {
    case EE_OP_ADD: case EE_OP_SUB: case EE_OP_MUL: case EE_OP_FLOAT_ADD: case EE_OP_FLOAT_SUB: case EE_OP_FLOAT_MUL:
        return lies_in(op->b, bytes, (uint32_t)unit, p->arena) && same_or_apart(op->b, op->out, bytes) && scales_fit(op, 3);
    case EE_OP_NARROW: return scales_fit(op, 1);
    case EE_OP_TANH: return op->shift[0] == 0 || op->shift[0] == 1;
    case EE_OP_SIGMOID_TABLE: case EE_OP_TANH_TABLE:
        return p->table && scales_fit(op, 1) && op->multiplier[0] <= 32767 && op->shift[0] <= 30;
    default: return 1;
    }
}

static void read_op(const unsigned char *program, const ee_program *p, uint32_t index, ee_op *op)
{
    memcpy(op, program + p->ops + index * sizeof *op, sizeof *op);
}

/* Reads the header; 0 unless every number in the program is one that this version can run. */
static int program_fits(const unsigned char *program, size_t bytes, ee_program *p)
{
    if (!program || (uintptr_t)program % 4 || bytes < sizeof *p) return 0;
    memcpy(p, program, sizeof *p);
    const unsigned char one[4] = {VERSION, 0, 0, 0}; /* and a little-endian machine, or the numbers are not as they seem */
    if (memcmp(p->magic, "EENP", 4) || p->version != VERSION || memcmp(&p->version, one, 4)) return 0;
    if (p->bytes != bytes || p->crc != crc32(program + CHECKED_FROM, bytes - CHECKED_FROM)) return 0;
    uint32_t unit = element(p);
    if (p->quantization >= QUANTIZATIONS || p->bands < 2 || p->bands > EE_MAX_BANDS) return 0;
    if (p->signals < 1 || p->signals > EE_SIGNALS || p->arena > MOST_ARENA || p->count > MOST_OPS) return 0;
    if (!p->sample_rate || p->sample_rate > 1u << 20 || p->analysis > EE_MAX_FFT || p->synthesis > p->analysis) return 0;
    if (!lies_in(p->centers, 2 * p->bands, 2, bytes) || !lies_in(p->ops, p->count * sizeof(ee_op), 4, bytes)) return 0;
    if (p->table && !lies_in(p->table, 2 * TABLE_ENTRIES, 2, bytes)) return 0;
    if (!lies_in(p->features, p->signals * p->bands * unit, unit, p->arena)) return 0;
    if (!lies_in(p->gains, p->bands * unit, unit, p->arena)) return 0;
    for (uint32_t i = 0; i < p->count; i++) {
        ee_op op;
        read_op(program, p, i, &op);
        if (!op_fits(&op, program, p)) return 0;
    }
    return 1;
}

/* ---- the ops ---- */

static const int16_t *int16s(const ee_net *net, uint32_t at) { return (const int16_t *)(const void *)(net->arena + at); }

static const float *floats(const ee_net *net, uint32_t at) { return (const float *)(const void *)(net->arena + at); }

#define EE_OPS(name) name##_plain
#include "net_ops.h"
#undef EE_OPS

#ifdef HAS_AVX2
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif
#define EE_AVX2 1
#define EE_OPS(name) name##_avx2
#include "net_ops.h"
#undef EE_OPS
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

/* ---- float programs: a reference, within 1e-6 of TFLite's kernels ---- */

/* exp(x), x <= 0, within 2e-7 of it */
static float exp_of(float x)
{
    if (!(x > -87.0f)) return 0.0f;
    int32_t octaves = (int32_t)(x * 1.44269504f - 0.5f);
    float rest = (x - (float)octaves * 0.693359375f) + (float)octaves * 2.12194440e-4f, power;
    float series = 1.0f + rest * (1.0f + rest * (0.5f + rest * (0.16666667f + rest * (0.041666667f + rest * (0.0083333333f + rest * 0.0013888889f)))));
    uint32_t bits = (uint32_t)(octaves + 127) << 23;
    memcpy(&power, &bits, sizeof power);
    return series * power;
}

static float sigmoid_of(float x)
{
    float e = exp_of(x < 0.0f ? x : -x);
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

static float tanh_of(float x)
{
    float e = exp_of(x < 0.0f ? 2.0f * x : -2.0f * x), y = (1.0f - e) / (1.0f + e);
    return x < 0.0f ? -y : y;
}

static void dense_floats(const ee_op *op, const float *weights, const float *bias, const float *x, float *out)
{
    for (uint32_t r = 0; r < op->count; r++) {
        float sum = bias[r];
        for (uint32_t c = 0; c < op->cols; c++) sum += weights[(size_t)r * op->cols + c] * x[c];
        out[r] = sum;
    }
}

static void run_floats(const ee_net *net, const ee_op *op)
{
    const float *a = floats(net, op->a), *b = floats(net, op->b);
    float *out = (float *)(void *)(net->arena + op->out);
    if (op->kind == EE_OP_FLOAT_DENSE) {
        dense_floats(op, (const float *)(const void *)(net->program + op->weights),
                     (const float *)(const void *)(net->program + op->table), a, out);
        return;
    }
    for (uint32_t i = 0; i < op->count; i++) {
        switch (op->kind) {
        case EE_OP_FLOAT_ADD: out[i] = a[i] + b[i]; break;
        case EE_OP_FLOAT_SUB: out[i] = a[i] - b[i]; break;
        case EE_OP_FLOAT_MUL: out[i] = a[i] * b[i]; break;
        case EE_OP_FLOAT_SIGMOID: out[i] = sigmoid_of(a[i]); break;
        case EE_OP_FLOAT_TANH: out[i] = tanh_of(a[i]); break;
        default: out[i] = a[i]; break; /* COPY */
        }
    }
}

/* ---- life ---- */

size_t ee_net_size(const void *program, size_t bytes)
{
    ee_program header;
    if (!program_fits(program, bytes, &header)) return 0;
    ee_arena arena = {NULL, 0};
    ee_arena_take(&arena, sizeof(ee_net));
    ee_arena_take(&arena, header.arena);
    return arena.used;
}

int ee_net_init(ee_net **out, void *memory, size_t size, const void *program, size_t bytes)
{
    int code = ee_check_memory(out, memory, size, ee_net_size(program, bytes));
    if (code) return code;
    ee_arena arena = {memory, 0};
    ee_net *net = ee_arena_take(&arena, sizeof(ee_net));
    net->program = program;
    memcpy(&net->header, program, sizeof net->header);
    net->arena = ee_arena_take(&arena, net->header.arena);
    ee_net_reset(net);
    ee_net_vectorize(net, 1);
    *out = net;
    return EE_OK;
}

void ee_net_reset(ee_net *net) { memset(net->arena, 0, net->header.arena); }

void ee_net_vectorize(ee_net *net, int wanted)
{
    net->run = is_float(&net->header) ? run_floats : run_plain;
#ifdef HAS_AVX2
    if (wanted && !is_float(&net->header) && __builtin_cpu_supports("avx2")) net->run = run_avx2;
#else
    (void)wanted;
#endif
}

void ee_net_describe(const ee_net *net, ee_net_facts *facts)
{
    const ee_program *p = &net->header;
    facts->sample_rate = (int)p->sample_rate;
    facts->analysis = (int)p->analysis;
    facts->synthesis = (int)p->synthesis;
    facts->bands = (int)p->bands;
    facts->signals = (int)p->signals;
    facts->centers = (const int16_t *)(const void *)(net->program + p->centers);
    facts->simd = COMPILED_FOR;
#ifdef HAS_AVX2
    if (net->run == run_avx2) facts->simd = "avx2";
#endif
}

/* ---- a hop ---- */

static void take_features(ee_net *net, const int16_t *features)
{
    const ee_program *p = &net->header;
    uint32_t count = p->signals * p->bands;
    float *in = (float *)(void *)(net->arena + p->features);
    if (!is_float(p)) memcpy(net->arena + p->features, features, count * sizeof *features);
    else
        for (uint32_t i = 0; i < count; i++) in[i] = (float)features[i] / 32768.0f;
}

static void give_gains(const ee_net *net, int16_t *gains)
{
    const ee_program *p = &net->header;
    const float *out = floats(net, p->gains);
    if (!is_float(p)) memcpy(gains, net->arena + p->gains, p->bands * sizeof *gains);
    else
        for (uint32_t b = 0; b < p->bands; b++) {
            float gain = 32768.0f * out[b] + 0.5f;
            gains[b] = (int16_t)(!(gain > 0.0f) ? 0.0f : gain < 32767.0f ? gain : 32767.0f);
        }
}

int ee_net_step(void *user, const int16_t *features, int16_t *gains)
{
    ee_net *net = user;
    if (!net || !features || !gains) return EE_ERR_NULL;
    take_features(net, features);
    for (uint32_t i = 0; i < net->header.count; i++) {
        ee_op op;
        read_op(net->program, &net->header, i, &op);
        net->run(net, &op);
    }
    give_gains(net, gains);
    return EE_OK;
}
