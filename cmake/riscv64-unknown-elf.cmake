# Cross compilation for RISC-V of 32 bits with the GNU toolchain:
#   cmake -S . -B build/rv32 -DCMAKE_TOOLCHAIN_FILE=cmake/riscv64-unknown-elf.cmake -DKILOTUNE_CPU=rv32imc
# The flags of each core are those that the compiler package uses for its targets.

set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR riscv)

set(KILOTUNE_CPU rv32imc CACHE STRING "Core: rv32imc")
set_property(CACHE KILOTUNE_CPU PROPERTY STRINGS rv32imc)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES KILOTUNE_CPU)

set(_flags_rv32imc "-march=rv32imc -mabi=ilp32")
if(NOT DEFINED _flags_${KILOTUNE_CPU})
    message(FATAL_ERROR "KILOTUNE_CPU=${KILOTUNE_CPU} is not rv32imc")
endif()

set(CMAKE_C_COMPILER riscv64-unknown-elf-gcc)

# Debian's compiler has no C library of its own, and takes picolibc only when asked to.
execute_process(COMMAND ${CMAKE_C_COMPILER} -print-file-name=picolibc.specs OUTPUT_VARIABLE _specs OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
set(_library "")
if(IS_ABSOLUTE "${_specs}")
    set(_library "--specs=picolibc.specs")
endif()
set(CMAKE_C_FLAGS_INIT "${_library} ${_flags_${KILOTUNE_CPU}} -ffunction-sections -fdata-sections")

# There is no operating system to link a test program for.
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)

set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
