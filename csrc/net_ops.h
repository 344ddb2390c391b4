/*
 * net_ops.h: the arithmetic of a network program. net.c includes it once per instruction set, with EE_OPS(name) giving
 * each copy its own names: plain loops that compilers vectorize, but for the sums of products on Cortex-M. Integers only,
 * so every copy gives the same bits.
 *
 * The integers are those of TFLite's builtin kernels. x * multiplier / 2^(31 + shift) is rounded twice: to 31 bits, then
 * by the shift, where matrix products round a half up and everything else away from zero.
 */

/* Nothing overflows: |y| < 2^31, because multipliers are. */
static inline int32_t EE_OPS(scale)(int32_t x, int32_t multiplier)
{
    return (int32_t)(((int64_t)x * multiplier + (1 << 30)) >> 31);
}

static inline int32_t EE_OPS(half_up)(int32_t y, int32_t shift) { return shift ? ((y >> (shift - 1)) + 1) >> 1 : y; }

static inline int32_t EE_OPS(away)(int32_t x, int32_t multiplier, int32_t shift)
{
    int32_t y = EE_OPS(scale)(x, multiplier);
    return EE_OPS(half_up)(y - (y < 0 && shift), shift);
}

static inline int16_t EE_OPS(clamp)(int32_t x, int32_t low, int32_t high)
{
    return (int16_t)(x < low ? low : x > high ? high : x);
}

/* ---- matrix product: int8 weights, int16 activations, int32 sums that wrap ---- */

static int32_t EE_OPS(dot)(const int8_t *w, const int16_t *x, uint32_t count)
{
    uint32_t sum = 0, i = 0;
#ifdef EE_HELIUM
    for (; i + 8 <= count; i += 8) sum = (uint32_t)vmladavaq_s16((int32_t)sum, vldrbq_s16(w + i), vldrhq_s16(x + i));
#endif
    for (; i < count; i++) sum += (uint32_t)((int32_t)w[i] * x[i]);
    return (int32_t)sum;
}

#ifdef EE_DSP
static uint32_t EE_OPS(word)(const void *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* sum += four weights times four inputs, two products per instruction */
static inline int32_t EE_OPS(four)(const int8_t *w, int16x2_t even, int16x2_t odd, int32_t sum)
{
    uint32_t word = EE_OPS(word)(w);
    return __smlad(__sxtb16((int8x4_t)(word >> 8)), odd, __smlad(__sxtb16((int8x4_t)word), even, sum));
}

/* Four rows, of which two begin at w and two at v, share their inputs. */
static void EE_OPS(dots)(const int8_t *w, const int16_t *x, uint32_t count, int32_t sums[4])
{
    const int8_t *v = w + 2 * count;
    const int16_t *last = x + count / 4 * 4, *end = x + count;
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (; x < last; x += 4, w += 4, v += 4) {
        uint32_t low = EE_OPS(word)(x), high = EE_OPS(word)(x + 2);
        int16x2_t even = (int16x2_t)((low & 0xffffu) | high << 16), odd = (int16x2_t)(low >> 16 | (high & 0xffff0000u));
        s0 = EE_OPS(four)(w, even, odd, s0);
        s1 = EE_OPS(four)(w + count, even, odd, s1);
        s2 = EE_OPS(four)(v, even, odd, s2);
        s3 = EE_OPS(four)(v + count, even, odd, s3);
    }
    for (; x < end; x++, w++, v++) {
        s0 = (int32_t)((uint32_t)s0 + (uint32_t)(w[0] * *x));
        s1 = (int32_t)((uint32_t)s1 + (uint32_t)(w[count] * *x));
        s2 = (int32_t)((uint32_t)s2 + (uint32_t)(v[0] * *x));
        s3 = (int32_t)((uint32_t)s3 + (uint32_t)(v[count] * *x));
    }
    sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
}
#endif

/* table: bias, multiplier and shift of each row, [3][rows] */
static int16_t EE_OPS(row)(const ee_op *op, const int32_t *table, uint32_t r, int32_t sum)
{
    int32_t y = EE_OPS(scale)((int32_t)((uint32_t)sum + (uint32_t)table[r]), table[op->count + r]);
    return EE_OPS(clamp)(EE_OPS(half_up)(y, table[2 * op->count + r]), op->low, op->high);
}

static void EE_OPS(dense)(const ee_op *op, const int8_t *weights, const int32_t *table, const int16_t *x, int16_t *out)
{
    uint32_t r = 0;
#ifdef EE_DSP
    for (; r + 4 <= op->count; r += 4) {
        int32_t sums[4];
        EE_OPS(dots)(weights + (size_t)r * op->cols, x, op->cols, sums);
        for (uint32_t i = 0; i < 4; i++) out[r + i] = EE_OPS(row)(op, table, r + i, sums[i]);
    }
#endif
    for (; r < op->count; r++)
        out[r] = EE_OPS(row)(op, table, r, EE_OPS(dot)(weights + (size_t)r * op->cols, x, op->cols));
}

/* ---- sums and products ---- */

static void EE_OPS(add)(const ee_op *op, const int16_t *a, const int16_t *b, int16_t *out)
{
    const int32_t *m = op->multiplier, *s = op->shift;
    int32_t sign = op->kind == EE_OP_SUB ? -1 : 1;
    for (uint32_t i = 0; i < op->count; i++) {
        int32_t sum = EE_OPS(away)(a[i] * 32768, m[0], s[0]); /* within 2^30, as the other one */
        sum += sign * EE_OPS(away)(b[i] * 32768, m[1], s[1]);
        out[i] = EE_OPS(clamp)(EE_OPS(away)(sum, m[2], s[2]), -32768, 32767);
    }
}

static void EE_OPS(mul)(const ee_op *op, const int16_t *a, const int16_t *b, int16_t *out)
{
    for (uint32_t i = 0; i < op->count; i++)
        out[i] = EE_OPS(clamp)(EE_OPS(away)(a[i] * b[i], op->multiplier[0], op->shift[0]), -32768, 32767);
}

static void EE_OPS(narrow)(const ee_op *op, const int16_t *a, int16_t *out)
{
    for (uint32_t i = 0; i < op->count; i++)
        out[i] = EE_OPS(clamp)(EE_OPS(away)(a[i], op->multiplier[0], op->shift[0]), -128, 127);
}

/* ---- activations by table: of sigmoid(i / 24) * 65536, straight lines between ---- */

static inline int32_t EE_OPS(argument)(const ee_op *op, int16_t x)
{
    int32_t shift = op->shift[0];
    return (x * op->multiplier[0] + ((1 << shift) >> 1)) >> shift;
}

static void EE_OPS(sigmoid_table)(const ee_op *op, const uint16_t *table, const int16_t *a, int16_t *out)
{
    for (uint32_t i = 0; i < op->count; i++) {
        int32_t x = EE_OPS(argument)(op, a[i]), size = x < 0 ? -x : x, at = size >> 9;
        int32_t y = 32767 << 10;
        if (at < 255) y = (table[at] << 9) + (size & 511) * (table[at + 1] - table[at]);
        out[i] = (int16_t)((x < 0 ? (1 << 25) - y + 511 : y + 512) >> 10);
    }
}

static void EE_OPS(tanh_table)(const ee_op *op, const uint16_t *table, const int16_t *a, int16_t *out)
{
    for (uint32_t i = 0; i < op->count; i++) {
        int32_t x = EE_OPS(argument)(op, a[i]), size = x < 0 ? -x : x, at = size >> 8;
        int32_t y = 65535 << 8;
        if (at < 255) y = (table[at] << 8) + (size & 255) * (table[at + 1] - table[at]);
        y -= 1 << 23;
        out[i] = (int16_t)((x < 0 ? -y + 127 : y + 128) >> 8);
    }
}

/* ---- activations in fixed point: exp by a polynomial and factors, then a division by Newton's method ---- */

static inline int32_t EE_OPS(q15)(int32_t a, int32_t b) { return (a * b + (1 << 14)) >> 15; }

static inline int32_t EE_OPS(least)(int32_t a, int32_t b) { return a < b ? a : b; }

/* exp(a) in Q15, a <= 0 with `bits` integer bits (3 or 4): a Taylor series around -1/8 for a modulo 1/4, times exp of
 * -1/4, -1/2, -1, -2, -4 and -8, as the bits of what is left say. */
static inline int32_t EE_OPS(exp)(int32_t a, int bits)
{
    static const int32_t factors[6] = {25520, 19875, 12055, 4435, 600, 11};
    int32_t quarter = 1 << (13 - bits), part = (a & (quarter - 1)) - quarter, left = part - a;
    int32_t x = part * (1 << bits) + 4096, x2 = EE_OPS(q15)(x, x), x3 = EE_OPS(q15)(x2, x), x4 = EE_OPS(q15)(x2, x2);
    int32_t y = (EE_OPS(q15)(((x4 + 2) >> 2) + x3, 10923) + x2 + 1) >> 1;
    y = EE_OPS(least)(28918 + EE_OPS(q15)(28918, x + y), 32767);
    for (int f = 0; f < bits + 2; f++) y = left & (quarter << f) ? EE_OPS(q15)(y, factors[f]) : y;
    return a ? y : 32767;
}

/* 2 / (1 + a) in Q13, a in Q15 */
static inline int32_t EE_OPS(divide)(int32_t a)
{
    int32_t half = (a + 32768) >> 1, x = 23130 + EE_OPS(q15)(half, -15420);
    for (int i = 0; i < 3; i++) x += 4 * EE_OPS(q15)(x, 8192 - EE_OPS(q15)(half, x));
    return x;
}

static void EE_OPS(sigmoid)(const ee_op *op, const int16_t *a, int16_t *out)
{
    for (uint32_t i = 0; i < op->count; i++) {
        int32_t x = a[i], y = EE_OPS(least)(2 * EE_OPS(divide)(EE_OPS(exp)(x < 0 ? x : -x, 3)), 32767);
        out[i] = (int16_t)(x > 0 ? y : x < 0 ? 32767 - y : 16384);
    }
}

static void EE_OPS(tanh)(const ee_op *op, const int16_t *a, int16_t *out)
{
    for (uint32_t i = 0; i < op->count; i++) {
        int32_t x = EE_OPS(clamp)(a[i] * (1 << op->shift[0]), -32768, 32767);
        int32_t y = EE_OPS(least)(4 * (EE_OPS(divide)(EE_OPS(exp)(x < 0 ? x : -x, 4)) - 8192), 32767);
        out[i] = (int16_t)(x > 0 ? y : x < 0 ? -y : 0);
    }
}

static void EE_OPS(run)(const ee_net *net, const ee_op *op)
{
    const int16_t *a = int16s(net, op->a), *b = int16s(net, op->b);
    const uint16_t *table = (const uint16_t *)(const void *)(net->program + net->header.table);
    int16_t *out = (int16_t *)(void *)(net->arena + op->out);
    switch (op->kind) {
    case EE_OP_DENSE:
        EE_OPS(dense)(op, (const int8_t *)(net->program + op->weights),
                      (const int32_t *)(const void *)(net->program + op->table), a, out);
        break;
    case EE_OP_ADD: case EE_OP_SUB: EE_OPS(add)(op, a, b, out); break;
    case EE_OP_MUL: EE_OPS(mul)(op, a, b, out); break;
    case EE_OP_NARROW: EE_OPS(narrow)(op, a, out); break;
    case EE_OP_SIGMOID: EE_OPS(sigmoid)(op, a, out); break;
    case EE_OP_TANH: EE_OPS(tanh)(op, a, out); break;
    case EE_OP_SIGMOID_TABLE: EE_OPS(sigmoid_table)(op, table, a, out); break;
    case EE_OP_TANH_TABLE: EE_OPS(tanh_table)(op, table, a, out); break;
    default: memmove(out, a, op->count * sizeof *out); break; /* COPY */
    }
}
