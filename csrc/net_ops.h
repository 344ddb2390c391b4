/*
 * net_ops.h: the arithmetic of a network program. net.c includes it once per instruction set, with EE_OPS(name) giving
 * each copy its own names: plain loops that compilers vectorize, but for the sums of products and what looks into a table.
 * Integers only, so every copy gives the same bits.
 *
 * The integers are those of TFLite's builtin kernels. x * multiplier / 2^(31 + shift) is rounded twice: to 31 bits, then
 * by the shift, where matrix products round a half up and everything else away from zero.
 */

/* Nothing overflows: |y| < 2^31, because multipliers are. So the shift may be an unsigned one, which AVX2 has. */
static inline int32_t EE_OPS(scale)(int32_t x, int32_t multiplier)
{
    return (int32_t)((uint64_t)((int64_t)x * multiplier + (1 << 30)) >> 31);
}

/* Without a branch, so that compilers vectorize it. */
static inline int32_t EE_OPS(half_up)(int32_t y, int32_t shift)
{
    int32_t half = shift > 0;
    return ((y >> (shift - half)) + half) >> half;
}

static inline int32_t EE_OPS(away)(int32_t y, int32_t shift) { return EE_OPS(half_up)(y - (y < 0 && shift), shift); }

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
/* One row: four weights times four inputs, two products per instruction. */
#define EE_ROW(load, sum) load "\n\t" \
    "sxtb16 %[b], %[a]\n\tsxtb16 %[a], %[a], ror #8\n\t" \
    "smlad " sum ", %[b], %[even], " sum "\n\tsmlad " sum ", %[a], %[odd], " sum "\n\t"

/* Four rows, of which two begin at w and two at v, share their inputs. In assembly: compilers find neither the rotated
 * widening nor enough registers. */
static void EE_OPS(dots)(const int8_t *w, const int16_t *x, uint32_t count, int32_t sums[4])
{
    const int8_t *v = w + 2 * count;
    const int16_t *last = x + count / 4 * 4, *end = x + count;
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    while (x < last) {
        uint32_t a, b, even, odd;
        __asm__("ldr %[a], [%[x]], #4\n\tldr %[b], [%[x]], #4\n\t"
                "pkhbt %[even], %[a], %[b], lsl #16\n\tpkhtb %[odd], %[b], %[a], asr #16\n\t"
                EE_ROW("ldr %[a], [%[w], %[count]]", "%[s1]")
                EE_ROW("ldr %[a], [%[w]], #4", "%[s0]")
                EE_ROW("ldr %[a], [%[v], %[count]]", "%[s3]")
                EE_ROW("ldr %[a], [%[v]], #4", "%[s2]")
                : [x] "+r"(x), [w] "+r"(w), [v] "+r"(v), [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3),
                  [a] "=&r"(a), [b] "=&r"(b), [even] "=&r"(even), [odd] "=&r"(odd)
                : [count] "r"(count)
                : "memory");
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

#ifdef EE_AVX2
static inline __m256i EE_OPS(sixteen)(const int8_t *w, __m256i inputs, __m256i sum)
{
    __m256i row = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)w));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(row, inputs));
}

static inline __m256i EE_OPS(eight)(const int8_t *w, __m128i inputs, __m256i sum)
{
    __m128i row = _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)w));
    return _mm256_add_epi32(sum, _mm256_inserti128_si256(_mm256_setzero_si256(), _mm_madd_epi16(row, inputs), 0));
}

/* Four rows share their inputs: 16 products of each at a time, then 8, the rest one by one. */
static void EE_OPS(dots)(const int8_t *w, const int16_t *x, size_t count, int32_t sums[4])
{
    const int8_t *w1 = w + count, *w2 = w1 + count, *w3 = w2 + count;
    __m256i s0 = _mm256_setzero_si256(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        __m256i inputs = _mm256_loadu_si256((const __m256i *)(const void *)(x + i));
        s0 = EE_OPS(sixteen)(w + i, inputs, s0);
        s1 = EE_OPS(sixteen)(w1 + i, inputs, s1);
        s2 = EE_OPS(sixteen)(w2 + i, inputs, s2);
        s3 = EE_OPS(sixteen)(w3 + i, inputs, s3);
    }
    if (i + 8 <= count) {
        __m128i inputs = _mm_loadu_si128((const __m128i *)(const void *)(x + i));
        s0 = EE_OPS(eight)(w + i, inputs, s0);
        s1 = EE_OPS(eight)(w1 + i, inputs, s1);
        s2 = EE_OPS(eight)(w2 + i, inputs, s2);
        s3 = EE_OPS(eight)(w3 + i, inputs, s3);
        i += 8;
    }
    __m256i four = _mm256_hadd_epi32(_mm256_hadd_epi32(s0, s1), _mm256_hadd_epi32(s2, s3));
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
    _mm_storeu_si128((__m128i *)(void *)sums, sum);
    for (; i < count; i++)
        for (size_t r = 0; r < 4; r++) sums[r] = (int32_t)((uint32_t)sums[r] + (uint32_t)(w[r * count + i] * x[i]));
}
#endif

/* Sums of products to activations. bias: of these rows, [3][op->count] with multiplier and shift */
static void EE_OPS(rows)(const ee_op *op, const int32_t *bias, const int32_t *sums, uint32_t count, int16_t *out)
{
    const int32_t *multiplier = bias + op->count, *shift = multiplier + op->count;
    int32_t low = op->low, high = op->high;
    for (uint32_t r = 0; r < count; r++) {
        int32_t y = EE_OPS(scale)((int32_t)((uint32_t)sums[r] + (uint32_t)bias[r]), multiplier[r]);
        out[r] = EE_OPS(clamp)(EE_OPS(half_up)(y, shift[r]), low, high);
    }
}

static void EE_OPS(dense)(const ee_op *op, const int8_t *weights, const int32_t *table, const int16_t *x, int16_t *out)
{
    int32_t sums[ROWS];
    for (uint32_t first = 0; first < op->count; first += ROWS) {
        uint32_t r = 0, count = op->count - first < ROWS ? op->count - first : ROWS;
        const int8_t *w = weights + (size_t)first * op->cols;
#if defined(EE_DSP) || defined(EE_AVX2)
        for (; r + 4 <= count; r += 4) EE_OPS(dots)(w + (size_t)r * op->cols, x, op->cols, sums + r);
#endif
        for (; r < count; r++) sums[r] = EE_OPS(dot)(w + (size_t)r * op->cols, x, op->cols);
        EE_OPS(rows)(op, table + first, sums, count, out + first);
    }
}

/* ---- sums and products ---- */

/* scale() by a multiplier that may be known to be a half, as where scales are powers of two apart; |x| <= 2^30 */
static inline int32_t EE_OPS(term)(int32_t x, int32_t multiplier, int32_t shift, int half)
{
    return EE_OPS(away)(half ? (x + 1) >> 1 : EE_OPS(scale)(x, multiplier), shift);
}

static inline void EE_OPS(add_terms)(const ee_op *op, const int16_t *a, const int16_t *b, int16_t *out, int half)
{
    const int32_t *m = op->multiplier, *s = op->shift;
    int32_t sign = op->kind == EE_OP_SUB ? -1 : 1;
    for (uint32_t i = 0; i < op->count; i++) {
        int32_t sum = EE_OPS(term)(a[i] * 32768, m[0], s[0], half) + sign * EE_OPS(term)(b[i] * 32768, m[1], s[1], half);
        out[i] = EE_OPS(clamp)(EE_OPS(term)(sum, m[2], s[2], half), -32768, 32767);
    }
}

static void EE_OPS(add)(const ee_op *op, const int16_t *a, const int16_t *b, int16_t *out)
{
    const int32_t *m = op->multiplier;
    if (m[0] == HALF && m[1] == HALF && m[2] == HALF) EE_OPS(add_terms)(op, a, b, out, 1);
    else EE_OPS(add_terms)(op, a, b, out, 0);
}

static void EE_OPS(mul)(const ee_op *op, const int16_t *a, const int16_t *b, int16_t *out)
{
    for (uint32_t i = 0; i < op->count; i++)
        out[i] = EE_OPS(clamp)(EE_OPS(away)(EE_OPS(scale)(a[i] * b[i], op->multiplier[0]), op->shift[0]), -32768, 32767);
}

static void EE_OPS(narrow)(const ee_op *op, const int16_t *a, int16_t *out)
{
    for (uint32_t i = 0; i < op->count; i++)
        out[i] = EE_OPS(clamp)(EE_OPS(away)(EE_OPS(scale)(a[i], op->multiplier[0]), op->shift[0]), -128, 127);
}

/* ---- activations by table: of sigmoid(i / 24) * 65536, straight lines between ---- */

static inline int32_t EE_OPS(argument)(const ee_op *op, int16_t x)
{
    int32_t shift = op->shift[0];
    return (x * op->multiplier[0] + ((1 << shift) >> 1)) >> shift;
}

/* 65536 sigmoid(size / (24 << bits)) << bits, size >= 0; what lies beyond the table is `most`. */
static inline int32_t EE_OPS(look_up)(const uint16_t *table, int32_t size, int bits, int32_t most)
{
    int32_t at = size >> bits;
    return at < 255 ? (table[at] << bits) + (size & ((1 << bits) - 1)) * (table[at + 1] - table[at]) : most;
}

static inline int16_t EE_OPS(sigmoid_one)(const ee_op *op, const uint16_t *table, int16_t a)
{
    int32_t x = EE_OPS(argument)(op, a), y = EE_OPS(look_up)(table, x < 0 ? -x : x, 9, 32767 << 10);
    return (int16_t)((x < 0 ? (1 << 25) - y + 511 : y + 512) >> 10);
}

#ifdef EE_AVX2
/* sigmoid_one of eight: two neighbours of the table are one word. */
static inline void EE_OPS(sigmoid_eight)(const ee_op *op, const uint16_t *table, const int16_t *a, int16_t *out)
{
    __m256i last = _mm256_set1_epi32(254), x = _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)(const void *)a));
    x = _mm256_mullo_epi32(x, _mm256_set1_epi32(op->multiplier[0]));
    x = _mm256_add_epi32(x, _mm256_set1_epi32((1 << op->shift[0]) >> 1));
    x = _mm256_sra_epi32(x, _mm_cvtsi32_si128(op->shift[0]));
    __m256i size = _mm256_abs_epi32(x), at = _mm256_srli_epi32(size, 9);
    __m256i pair = _mm256_i32gather_epi32((const int *)(const void *)table, _mm256_min_epu32(at, last), 2);
    __m256i from = _mm256_and_si256(pair, _mm256_set1_epi32(0xffff)), step = _mm256_sub_epi32(_mm256_srli_epi32(pair, 16), from);
    __m256i y = _mm256_mullo_epi32(_mm256_and_si256(size, _mm256_set1_epi32(511)), step);
    y = _mm256_add_epi32(_mm256_slli_epi32(from, 9), y);
    y = _mm256_blendv_epi8(y, _mm256_set1_epi32(32767 << 10), _mm256_cmpgt_epi32(at, last));
    __m256i mirrored = _mm256_sub_epi32(_mm256_set1_epi32((1 << 25) + 511), y);
    y = _mm256_blendv_epi8(_mm256_add_epi32(y, _mm256_set1_epi32(512)), mirrored, _mm256_srai_epi32(x, 31));
    y = _mm256_permute4x64_epi64(_mm256_packs_epi32(_mm256_srai_epi32(y, 10), y), 0x08);
    _mm_storeu_si128((__m128i *)(void *)out, _mm256_castsi256_si128(y));
}
#endif

static void EE_OPS(sigmoid_table)(const ee_op *op, const uint16_t *table, const int16_t *a, int16_t *out)
{
    uint32_t i = 0;
#ifdef EE_AVX2
    for (; i + 8 <= op->count; i += 8) EE_OPS(sigmoid_eight)(op, table, a + i, out + i);
#endif
    for (; i < op->count; i++) out[i] = EE_OPS(sigmoid_one)(op, table, a[i]);
}

static void EE_OPS(tanh_table)(const ee_op *op, const uint16_t *table, const int16_t *a, int16_t *out)
{
    for (uint32_t i = 0; i < op->count; i++) {
        int32_t x = EE_OPS(argument)(op, a[i]), y = EE_OPS(look_up)(table, x < 0 ? -x : x, 8, 65535 << 8) - (1 << 23);
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
