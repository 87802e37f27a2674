#include "Arduino.h"

SerialPort Serial;

int main()
{
    setup();
    while (!feof(stdin))
        loop();
    return 0;
}
