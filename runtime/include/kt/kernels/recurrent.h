/* kt/kernels/recurrent.h: operators that go through a sequence step by step. The conventions are those of kt/kernels/window.h. */
#ifndef KT_KERNELS_RECURRENT_H
#define KT_KERNELS_RECURRENT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* steps: rows of x [steps, depth] and of y [steps, units]. weights [4 * units, depth], recurrent [4 * units, units]: the input, forget, cell and
 * output gate one below the other. gate_multiplier, recurrent_multiplier: of each gate, from sums to 2^-12. product: of forget gate and cell, of
 * input and cell gate, in units of the cell; of output gate and tanh, in units of y. tanh_factor, tanh_shift: from units of the cell to
 * 1 / (3 * 4096). cell_clip: largest magnitude of the cell, 0 where there is none. sigmoid: 256 entries, 65536 / (1 + e^(-i / 24)). */
typedef struct {
    int32_t steps;
    int32_t depth;
    int32_t units;
    int32_t input_offset;
    int32_t hidden_zero;
    const int8_t *weights;
    const int8_t *recurrent;
    int32_t gate_multiplier[4];
    int32_t gate_shift[4];
    int32_t recurrent_multiplier[4];
    int32_t recurrent_shift[4];
    int32_t product_multiplier[3];
    int32_t product_shift[3];
    int32_t tanh_factor;
    int32_t tanh_shift;
    int32_t cell_clip;
    const uint16_t *sigmoid;
} kt_lstm_params;

/* y = the hidden state of a long short-term memory after each step. bias [4 * units]. hidden [units], cell [units]: what it begins from and
 * leaves behind; both NULL: it begins from 0. scratch: 2 * units bytes, read where cell is NULL. */
void kt_lstm_s8(const kt_lstm_params *params, const int8_t *x, const int32_t *bias, int8_t *hidden, int16_t *cell, int8_t *y, int16_t *scratch);

/* What the deltas of an LSTM need beside their codes. multiplier, recurrent_multiplier: of each gate, from 1 to units of its sums. rows: the row of
 * both deltas for each of 4 * units channels, -1 for none; NULL where every channel has one. */
typedef struct {
    int32_t multiplier[4];
    int32_t shift[4];
    int32_t recurrent_multiplier[4];
    int32_t recurrent_shift[4];
    const int16_t *rows;
} kt_lstm_delta;

typedef struct {
    kt_lstm_params layer;
    kt_lstm_delta delta;
} kt_lstm_delta_params;

/* kt_lstm_s8 with 2^exponent times delta [rows, depth] added to the weights, and recurrent_delta [rows, units] to the recurrent ones; both products
 * saturate at +-2^30. */
void kt_lstm_delta_s8(const kt_lstm_delta_params *params, const int8_t *x, const int32_t *bias, int8_t *hidden, int16_t *cell, const int8_t *delta,
                      const int8_t *delta_exponent, const int8_t *recurrent_delta, const int8_t *recurrent_delta_exponent, int8_t *y, int16_t *scratch);

/* prescale: relative scales of the recurrent weights of each gate, in 2^-31; room: bits of what they are multiplied by; multiplier: their largest
 * scale. cell_limit: magnitude at which the cell stops. cell_shift: right shift, or left where it is negative, from units of the cell to 2^-15. every: the cell is kept in front of
 * every so many steps, and between computed again. */
typedef struct {
    kt_lstm_params layer;
    int32_t prescale[4];
    int32_t room;
    int32_t multiplier;
    int32_t multiplier_shift;
    int32_t cell_limit;
    int32_t cell_shift;
    int32_t every;
    int32_t shift;
} kt_lstm_gradient_params;

/* dz [steps, 4 * units] = the gradient of the sums of the gates, from g of y of kt_lstm_s8, which began from 0; carried from step to step in units
 * of g / 2^16, which are shifted by `shift` to those of dz. scratch: 24 * units + 2 * (segments + every) * units
 * bytes, of steps / every segments, rounded up. */
void kt_lstm_gradient_s8(const kt_lstm_gradient_params *params, const int8_t *g, const int8_t *x, const int8_t *y, const int32_t *bias, int8_t *dz,
                         int32_t *scratch);

/* room: bits of what the recurrent delta is multiplied by. */
typedef struct {
    kt_lstm_gradient_params gradient;
    kt_lstm_delta delta;
    int32_t room;
} kt_lstm_delta_gradient_params;

/* kt_lstm_gradient_s8 of kt_lstm_delta_s8. scratch: 4 * units bytes more. */
void kt_lstm_delta_gradient_s8(const kt_lstm_delta_gradient_params *params, const int8_t *g, const int8_t *x, const int8_t *y, const int32_t *bias,
                               const int8_t *delta, const int8_t *delta_exponent, const int8_t *recurrent_delta,
                               const int8_t *recurrent_delta_exponent, int8_t *dz, int32_t *scratch);

/* steps: rows of x [steps, depth] and of y [steps, units]. weights [3 * units, depth], recurrent [3 * units, units]: the update, reset and new gate
 * one below the other. gate_multiplier, recurrent_multiplier: of each gate, from sums to 2^-12. inner [units]: what the product with the state
 * gets in front of the reset gate, in 2^-12. output_multiplier: from 2^-15 to units of y. sigmoid: as in kt_lstm_params. */
typedef struct {
    int32_t steps;
    int32_t depth;
    int32_t units;
    int32_t input_offset;
    int32_t hidden_zero;
    const int8_t *weights;
    const int8_t *recurrent;
    const int32_t *inner;
    int32_t gate_multiplier[3];
    int32_t gate_shift[3];
    int32_t recurrent_multiplier[3];
    int32_t recurrent_shift[3];
    int32_t output_multiplier;
    int32_t output_shift;
    const uint16_t *sigmoid;
} kt_gru_params;

/* y = the state of a gated recurrent unit after each step, which began from 0. bias [3 * units]. scratch: 2 * units bytes. */
void kt_gru_s8(const kt_gru_params *params, const int8_t *x, const int32_t *bias, int8_t *y, int16_t *scratch);

/* One step, which goes on from hidden, the row of y before it, and state; both become those behind it. */
void kt_gru_next_s8(const kt_gru_params *params, const int8_t *x, const int32_t *bias, int8_t *hidden, int16_t *state, int8_t *y);

/* LoRA beside the weights of the input. multiplier, shift: of each gate, from products b u to sums over x. */
typedef struct {
    int32_t rank;
    int32_t multiplier[3];
    int32_t shift[3];
} kt_gru_lora;

typedef struct {
    kt_gru_params layer;
    kt_gru_lora lora;
} kt_gru_lora_params;

/* kt_gru_s8 with b [3 * units, rank] times u [steps, rank] and 2^(b_exponent + u_range) added to the bias, where the product saturates at +-2^30.
 * scratch: 14 * units bytes. */
void kt_gru_lora_s8(const kt_gru_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                    const int8_t *b_exponent, const int8_t *u_range, int8_t *y, int32_t *scratch);

/* kt_gru_next_s8 with the same. scratch: 12 * units bytes. */
void kt_gru_lora_next_s8(const kt_gru_lora_params *params, const int8_t *x, const int32_t *bias, const int8_t *u, const int8_t *b,
                         const int8_t *b_exponent, const int8_t *u_range, int8_t *hidden, int16_t *state, int8_t *y, int32_t *scratch);

/* Members as in kt_lstm_gradient_params. */
typedef struct {
    kt_gru_params layer;
    int32_t prescale[3];
    int32_t room;
    int32_t multiplier;
    int32_t multiplier_shift;
    int32_t every;
    int32_t shift;
} kt_gru_gradient_params;

/* dz [steps, 3 * units] = the gradient of the sums over x of the gates, from g of y of kt_gru_s8; units as of kt_lstm_gradient_s8. scratch:
 * 20 * units + 2 * (segments + every - 1) * units bytes, with segments of `every` steps. */
void kt_gru_gradient_s8(const kt_gru_gradient_params *params, const int8_t *g, const int8_t *x, const int8_t *y, const int32_t *bias, int8_t *dz,
                        int32_t *scratch);

typedef struct {
    kt_gru_gradient_params gradient;
    kt_gru_lora lora;
} kt_gru_lora_gradient_params;

/* kt_gru_gradient_s8 of kt_gru_lora_s8. scratch: 12 * units bytes more. */
void kt_gru_lora_gradient_s8(const kt_gru_lora_gradient_params *params, const int8_t *g, const int8_t *x, const int8_t *y, const int32_t *bias,
                             const int8_t *u, const int8_t *b, const int8_t *b_exponent, const int8_t *u_range, int8_t *dz, int32_t *scratch);

/* units: results; rank: filters of each; memory: values that a filter keeps. weights [units * rank, depth]. feature: from sums over x to
 * units of the state; output: from sums over the state to those of y. */
typedef struct {
    int32_t units;
    int32_t rank;
    int32_t memory;
    int32_t depth;
    int32_t input_offset;
    int32_t state_zero;
    int32_t output_offset;
    const int8_t *weights;
    int32_t feature_multiplier;
    int32_t feature_shift;
    int32_t output_multiplier;
    int32_t output_shift;
} kt_svdf_params;

/* A filter's state [memory] moves on by one value, the last becomes the product of its weights with x; y = the sums of states with time
 * [units * rank, memory] over the filters of a unit, and bias [units]. Sums over 16-bit states are taken modulo 2^32. */
void kt_svdf_s8(const kt_svdf_params *params, const int8_t *x, const int8_t *time, const int32_t *bias, int8_t *state, int8_t *y);
void kt_svdf_s16(const kt_svdf_params *params, const int8_t *x, const int16_t *time, const int32_t *bias, int16_t *state, int8_t *y);

/* narrowing: right shift of the gradients of features, so that their sums stay in int32. Of layer what features need, and the sizes. */
typedef struct {
    kt_svdf_params layer;
    int32_t narrowing;
    int32_t shift;
} kt_svdf_gradient_params;

/* dx [depth] = the gradient of the slice x of one call, from g [units] of its result. scratch: 4 * depth bytes. */
void kt_svdf_input_gradient_s8(const kt_svdf_gradient_params *params, const int8_t *g, const int8_t *x, const int8_t *time, int8_t *dx,
                               int32_t *scratch);
void kt_svdf_input_gradient_s16(const kt_svdf_gradient_params *params, const int8_t *g, const int8_t *x, const int16_t *time, int8_t *dx,
                                int32_t *scratch);

#ifdef __cplusplus
}
#endif

#endif
