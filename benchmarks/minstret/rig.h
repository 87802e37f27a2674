/* rig.h: regions whose instructions a RISC-V core counts itself, in minstret. Each ends with a line on the serial port. */
#ifndef RIG_H
#define RIG_H

#include <stdint.h>

void kt_region_begin(const char *name);
void kt_region_end(void);

#define ROI_BEGIN(name) kt_region_begin(name)
#define ROI_END() kt_region_end()

#endif
