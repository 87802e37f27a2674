/* What a sketch of ours needs of Arduino, with this process's standard input and output as the serial port. */
#ifndef ARDUINO_H
#define ARDUINO_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __cplusplus
struct SerialPort {
    void begin(long) {}
    operator bool() const { return true; }
    int read() { return getchar(); }
    long parseInt() { return static_cast<long>(parseFloat()); }
    float parseFloat()
    {
        float x = 0.0f;
        if (scanf("%f", &x) != 1)
            abort();
        return x;
    }
    void print(const char *text) { fputs(text, stdout); }
    void print(char c) { putchar(c); }
    void print(int number) { printf("%d", number); }
    void print(double x, int digits = 2) { printf("%.*f", digits, x); }
    void println() { putchar('\n'); }
    void println(const char *text) { puts(text); }
    void println(double x, int digits = 2)
    {
        print(x, digits);
        println();
    }
};

extern SerialPort Serial;

void setup();
void loop();
#endif
#endif
