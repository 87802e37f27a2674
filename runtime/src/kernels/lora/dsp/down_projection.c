/* kt_down_projection_s8 for the DSP extension: four kernels at once, two products an instruction. Small kernels are packed on the stack, and
 * multiply values as they are stored, with their zero point: each sum starts from input_offset times the sum of the kernel's weights. */
#include "../down_projection.h"
#include "kt/kernels/lora.h"
#include "kt/architecture.h"

#if KT_DSP && !KT_MVE

#include "../../../product/dsp/text.h"
#include "../../dsp/four_row_sums.h"
#include "four_rows.h"

/* kt_patch_sums (../../patch.h), four kernels at once. */
static int32_t patch_sums(const kt_patch *patch, const int8_t *x, const int8_t *w, int32_t size, int32_t left, int32_t offset,
                          int32_t sums[4])
{
    int32_t row, span;
    if (left < 4) {
        sums[0] = kt_patch_dot(patch, x, w, offset);
        return 1;
    }
    memset(sums, 0, 4 * sizeof *sums);
    for (row = 0; row < patch->rows; row++) {
        for (span = 0; span < patch->spans; span++) {
            const int8_t *const values = x + (patch->x + row * patch->row_x + span * patch->span_x);
            const int8_t *const weights = w + (patch->w + row * patch->row_w + span * patch->span_w);
            const int8_t *const kernels[4] = {weights, weights + size, weights + 2 * size, weights + 3 * size};
            kt_four_row_sums(values, kernels, patch->length, offset, sums);
        }
    }
    return 4;
}

static inline int32_t kt_whole_fours(int32_t values)
{
    return (values + 3) & -4;
}

enum { KT_SHORT_RUN = 16 }; /* values that a call takes longer for than copying does */

static inline void copy_run(int8_t *to, const int8_t *from, int32_t length)
{
    if (length > KT_SHORT_RUN) {
        memcpy(to, from, (size_t)length);
        return;
    }
    for (; length >= 4; length -= 4, to += 4, from += 4) {
        kt_store_word(to, kt_load_word(from));
    }
    for (; length > 0; length--) {
        *to++ = *from++;
    }
}

/* The values under a window, so many, in the order of the words, with the zero point in the border. line, size: values of a row of those, and of
 * all. */
static __attribute__((noinline)) void copy_patch(const kt_patch *patch, const int8_t *x, int32_t outside, int32_t values, int32_t line,
                                                 int32_t size, int8_t *panel)
{
    const int32_t length = patch->length, rows = patch->rows, spans = patch->spans;
    const int8_t *from = x + patch->x;
    int8_t *to = panel + (patch->w + patch->w / patch->row_w * (line - patch->row_w));
    int32_t row, span;
    if (rows * spans * length < values) {
        memset(panel, outside, (size_t)size);
    }
    for (row = 0; row < rows; row++, from += patch->row_x, to += line) {
        if (length == 4 && spans == 1) { /* as of first layers */
            kt_store_word(to, kt_load_word(from));
            continue;
        }
        for (span = 0; span < spans; span++) {
            copy_run(to + span * patch->span_w, from + span * patch->span_x, length);
        }
    }
}

/* What the positions of a block of at most four kernels have in common. words: of each row of the window `line` values, in whole fours, up to `end`;
 * size: values of a panel, or of a pixel that is read where it lies. least: values below it are limited on purpose; lost: not 0 where another value
 * was. run, jump, advance: of `project_fours`. */
typedef struct {
    const uint32_t *words, *end;
    int32_t start[KT_ROWS];
    int32_t line, size, shift, low, count;
    int32_t least, lost;
    int32_t run, jump, advance;
} block;

static inline void project_block(block *p, const int8_t *x, int8_t *u)
{
    const int32_t shift = p->shift;
    int32_t sums[KT_ROWS];
    int32_t i;
    kt_sum_rows(x, p->size, p->words, p->start, sums);
    for (i = 0; i < p->count; i++) {
        const int32_t value = (uint32_t)(shift - 1) < 31 ? ((sums[i] >> (shift - 1)) + 1) >> 1 : kt_shift_round(sums[i], shift);
        const int32_t limited = kt_clamp(value, p->low, 127);
        p->lost |= kt_maximum(value, p->least) ^ limited;
        u[i] = (int8_t)limited;
    }
}

enum { KT_WORDS_OF_VALUE = 2 }; /* of four kernels */

#ifdef __OPTIMIZE__
/* Whether a block has four kernels, and results that one shift and a saturation round: start then has half a unit. */
static int rounds_in_sum(const block *p)
{
    return p->count == KT_ROWS && p->low == -127 && (uint32_t)(p->shift - 1) < 24;
}

/* Four values of four rows: r1 and r8 move on. */
#define PROJECT_FOUR \
    "ldr r11, [r1], #4\n\t" \
    "sxtb16 r9, r11\n\t" \
    "sxtb16 r10, r11, ror #8\n\t" \
    "ldrd r11, r12, [r8], #8\n\t" "smlad r4, r11, r9, r4\n\t" "smlad r4, r12, r10, r4\n\t" \
    "ldrd r11, r12, [r8], #8\n\t" "smlad r5, r11, r9, r5\n\t" "smlad r5, r12, r10, r5\n\t" \
    "ldrd r11, r12, [r8], #8\n\t" "smlad r6, r11, r9, r6\n\t" "smlad r6, r12, r10, r6\n\t" \
    "ldrd r11, r12, [r8], #8\n\t" "smlad r7, r11, r9, r7\n\t" "smlad r7, r12, r10, r7\n\t"

/* `positions` vectors; results `step` bytes apart. A vector lies in runs, of so many bytes of words, which are `jump` bytes apart behind one another;
 * from the end of a vector it is `advance` bytes to the next. Returns not 0 where a value was limited: what SSAT or -127 makes of
 * it differs (the flag Q would say so too, but it takes an MSR to clear it). Registers: r0 the block, r1 x, r3 what differs, r4 to r7 sums, r8 and
 * lr the words and the end of a run; on the stack u and positions. */
static KT_NAKED __attribute__((noinline)) int32_t project_fours(const block *p, const int8_t *x, int32_t positions, int8_t *u, int32_t step)
{
    __asm__ volatile("push {r4-r11, lr}\n\t"
                     "strd r3, r2, [sp, #-8]!\n\t"
                     "mov r3, #0\n\t"
                     "1:\n\t"
                     "add r2, r0, %[start]\n\t"
                     "ldm r2, {r4-r7}\n\t"
                     "ldr r8, [r0, %[words]]\n\t"
                     "6:\n\t"
                     "ldr r9, [r0, %[run]]\n\t"
                     "add lr, r8, r9\n\t"
                     "b 3f\n\t"
                     "2:\n\t" PROJECT_FOUR
                     "3:\n\t" /* until what is left is a multiple of 16 values */
                     "sub r2, lr, r8\n\t"
                     "lsls r2, r2, #25\n\t"
                     "bne 2b\n\t"
                     "b 5f\n\t"
                     "4:\n\t" PROJECT_FOUR PROJECT_FOUR PROJECT_FOUR PROJECT_FOUR
                     "5:\n\t"
                     "cmp r8, lr\n\t"
                     "bne 4b\n\t"
                     "ldr r10, [r0, %[end]]\n\t"
                     "cmp r8, r10\n\t"
                     "beq 7f\n\t"
                     "ldr r9, [r0, %[jump]]\n\t" "add r1, r9\n\t"
                     "b.w 6b\n"
                     "7:\n\t"
                     "ldr r9, [r0, %[shift]]\n\t"
                     "mov r10, #0x01010101\n\t"
                     "asr r4, r9\n\t" "asr r5, r9\n\t" "asr r6, r9\n\t" "asr r7, r9\n\t"
                     "ssat r11, #8, r4\n\t" "eor r4, r4, r11\n\t" "orr r3, r3, r4\n\t"
                     "ssat r4, #8, r5\n\t" "eor r5, r5, r4\n\t" "orr r3, r3, r5\n\t"
                     "ssat r5, #8, r6\n\t" "eor r6, r6, r5\n\t" "orr r3, r3, r6\n\t"
                     "ssat r6, #8, r7\n\t" "eor r7, r7, r6\n\t" "orr r3, r3, r7\n\t"
                     "bfi r11, r4, #8, #8\n\t" "bfi r11, r5, #16, #8\n\t" "bfi r11, r6, #24, #8\n\t"
                     "qsub8 r5, r11, r10\n\t"
                     "sadd8 r5, r5, r10\n\t"
                     "eor r4, r11, r5\n\t"
                     "orr r3, r3, r4\n\t"
                     "ldrd r11, r12, [sp]\n\t" "ldr r9, [sp, #44]\n\t"
                     "str r5, [r11]\n\t"
                     "add r11, r11, r9\n\t"
                     "subs r12, r12, #1\n\t"
                     "beq 8f\n\t"
                     "ldr r9, [r0, %[advance]]\n\t"
                     "strd r11, r12, [sp]\n\t"
                     "add r1, r1, r9\n\t"
                     "b.w 1b\n"
                     "8:\n\t"
                     "mov r0, r3\n\t"
                     "add sp, #8\n\t"
                     "pop {r4-r11, pc}\n\t"
                     :
                     : [words] "i"(offsetof(block, words)), [start] "i"(offsetof(block, start)), [end] "i"(offsetof(block, end)),
                       [shift] "i"(offsetof(block, shift)), [run] "i"(offsetof(block, run)), [jump] "i"(offsetof(block, jump)),
                       [advance] "i"(offsetof(block, advance)));
}

/* Positions from one column on whose windows lie inside the image, and can be read in whole fours of values of each row, which may be some behind it;
 * 0 where that of the first one cannot. */
static int32_t positions_inside(const kt_window *window, const kt_patch *patch, int32_t ox, int32_t line)
{
    const int32_t depth = window->input[KT_CHANNELS], width = window->input[KT_X], more = line - patch->row_w;
    const int32_t last = patch->x + (patch->rows - 1) * patch->row_x; /* row of the first position's window */
    const int32_t free = window->input[KT_Y] * width * depth - last - line; /* values behind it */
    const int32_t left = width + window->pad[KT_X] - window->kernel[KT_X] - ox * window->stride[KT_X];
    if (patch->rows < window->kernel[KT_Y] || patch->spans > 1 || patch->length < patch->row_w || free < 0) {
        return 0;
    }
    return kt_minimum(kt_minimum(left, more > 0 ? free / depth : left) / window->stride[KT_X] + 1, window->output[KT_X] - ox);
}

/* So many positions whose windows lie inside the image, side by side. */
static void project_inside(block *p, const kt_window *window, const kt_patch *patch, const int8_t *x, int32_t positions, int8_t *u)
{
    p->run = KT_WORDS_OF_VALUE * (int32_t)sizeof(uint32_t) * p->line;
    p->jump = patch->row_x - p->line;
    p->advance = window->stride[KT_X] * window->input[KT_CHANNELS] - (patch->rows - 1) * patch->row_x - p->line;
    p->lost |= project_fours(p, x + patch->x, positions, u, window->output[KT_CHANNELS]);
}

/* One position whose values the panel holds. */
static void project_panel(block *p, const int8_t *panel, int8_t *u)
{
    p->run = KT_WORDS_OF_VALUE * (int32_t)sizeof(uint32_t) * p->size;
    p->lost |= project_fours(p, panel, 1, u, 0);
}
#endif

static __attribute__((noinline)) void project_positions(const kt_down_projection_params *params, block *given, const int8_t *x, int8_t *u)
{
    const kt_window *const window = &params->window;
    const int32_t rank = window->output[KT_CHANNELS], size = given->size, values = kt_kernel_size(window);
    int8_t panel[KT_MOST_VALUES];
    block p = *given;
    int32_t oy, ox;
#ifdef __OPTIMIZE__
    const int fours = rounds_in_sum(given) && (size % 4 == 0 || !kt_is_pixel(window));
    if (fours) {
        int32_t j;
        for (j = 0; j < KT_ROWS; j++) {
            p.start[j] += INT32_C(1) << (p.shift - 1);
        }
        if (kt_is_pixel(window)) {
            p.run = KT_WORDS_OF_VALUE * (int32_t)sizeof(uint32_t) * size;
            given->lost |= project_fours(&p, x, window->output[KT_Y] * window->output[KT_X], u, rank);
            return;
        }
    }
#endif
    if (kt_is_pixel(window)) {
        for (oy = window->output[KT_Y] * window->output[KT_X]; oy > 0; oy--, x += size, u += rank) {
            project_block(&p, x, u);
        }
        *given = p;
        return;
    }
    for (oy = 0; oy < window->output[KT_Y]; oy++) {
        const kt_taps rows = kt_taps_at(window, KT_Y, oy);
        for (ox = 0; ox < window->output[KT_X]; ox++, u += rank) {
            const kt_patch patch = kt_patch_of(window, rows, kt_taps_at(window, KT_X, ox));
#ifdef __OPTIMIZE__
            const int32_t inside = fours && p.line > KT_ROWS ? positions_inside(window, &patch, ox, p.line) : 0;
            if (inside > 0) {
                project_inside(&p, window, &patch, x, inside, u);
                ox += inside - 1;
                u += (inside - 1) * rank;
                continue;
            }
#endif
            copy_patch(&patch, x, -params->input_offset, values, p.line, size, panel);
#ifdef __OPTIMIZE__
            if (fours) {
                project_panel(&p, panel, u);
                continue;
            }
#endif
            project_block(&p, panel, u);
        }
    }
    *given = p;
}

/* `count` kernels from w on at every position; returns 1 where an element saturated. */
static __attribute__((noinline)) int project_packed(const kt_down_projection_params *params, const int8_t *x, const int8_t *w, int32_t count,
                                                    int32_t shift, int8_t *u)
{
    const int32_t size = kt_kernel_size(&params->window), rows = params->window.kernel[KT_Y], values = size / rows, line = kt_whole_fours(values);
    const int32_t length = kt_is_pixel(&params->window) ? size : rows * line, least = params->low < 0 ? INT32_MIN : params->low;
    uint32_t words[KT_BLOCK_WORDS];
    block p = {words, words + KT_WORDS_OF_VALUE * rows * line, {0, 0, 0, 0}, line, length, shift, params->low, count, least, 0, 0, 0, 0};
    int32_t j, i;
    for (j = 0; j < count; j++) {
        for (i = 0; i < size; i++) {
            p.start[j] += w[j * size + i];
        }
        p.start[j] *= params->input_offset;
    }
    for (i = 0; i < rows; i++) {
        kt_pack_rows(w + i * values, count, values, size, 1, words + i * KT_WORDS_OF_VALUE * line);
    }
    project_positions(params, &p, x, u);
    return p.lost != 0;
}

enum { KT_FEW_POSITIONS = 8 }; /* of less, packing the kernels takes longer than what it saves */

void kt_down_projection_s8(const kt_down_projection_params *params, const int8_t *x, const int8_t *a,
                           const int8_t *a_exponent, const int8_t *range, int8_t *saturated, int8_t *u)
{
    const int32_t *const output = params->window.output;
    const int32_t shift = *range - *a_exponent, rank = output[KT_CHANNELS], size = kt_kernel_size(&params->window);
    const int32_t rows = params->window.kernel[KT_Y];
    const int packed = rows * kt_whole_fours(size / rows) <= KT_MOST_VALUES && output[KT_Y] * output[KT_X] >= KT_FEW_POSITIONS;
    int32_t j;
    int hit = 0;
    if (!packed) {
        hit = kt_project_all(params, x, a, shift, u, patch_sums);
    }
    for (j = 0; packed && j < rank; j += KT_ROWS) {
        hit |= project_packed(params, x, a + j * size, kt_minimum(rank - j, KT_ROWS), shift, u + j);
    }
    if (saturated != NULL && hit) {
        *saturated = 1;
    }
}

#endif
