/* Stands in for printk of Zephyr. */
#include <stdio.h>

#define printk printf
