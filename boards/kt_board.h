/* kt_board.h: all that a program asks of a board. One implementation a board, in <family>/<board>/board.c. */
#ifndef KT_BOARD_H
#define KT_BOARD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Clocks, serial port, counter. Call once, first. */
void kt_board_init(void);

/* Next byte of the serial port; waits for it. Negative: the other end is gone for good (only where that can be known). */
int kt_board_read(void);

/* Sends all bytes; waits until the port has taken them. */
void kt_board_write(const uint8_t *bytes, size_t length);

/* A counter of processor clocks. What one tick is worth (a cycle, or instructions under an emulator) is in
 * board.toml, [counter]. kt_board_ticks counts from the last kt_board_ticks_reset and does not wrap in practice. */
void kt_board_ticks_reset(void);
uint64_t kt_board_ticks(void);

/* The stack's memory: [lowest, highest). Both NULL where it cannot be known; then nothing may be painted. */
typedef struct {
    uint32_t *lowest;
    uint32_t *highest;
} kt_board_stack;
kt_board_stack kt_board_stack_limits(void);

/* Ends the program: leaves the process on a host, sleeps for ever on a board. */
#if defined(__GNUC__)
__attribute__((noreturn))
#endif
void kt_board_exit(int code);

#ifdef __cplusplus
}
#endif
#endif
