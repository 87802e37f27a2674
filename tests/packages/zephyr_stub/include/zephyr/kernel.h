/* Stands in for the kernel of Zephyr, of which the sample uses nothing. */
