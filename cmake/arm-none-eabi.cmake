# Cross compilation for Cortex-M with the GNU toolchain:
#   cmake -S . -B build/m4 -DCMAKE_TOOLCHAIN_FILE=cmake/arm-none-eabi.cmake -DKILOTUNE_CPU=cortex-m4
# The flags of each core are those that the compiler package uses for its targets.

set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR arm)

set(KILOTUNE_CPU cortex-m4 CACHE STRING "Core: cortex-m0, -m0plus, -m3, -m4, -m7, -m23, -m33 or -m55")
set_property(CACHE KILOTUNE_CPU PROPERTY STRINGS cortex-m0 cortex-m0plus cortex-m3 cortex-m4 cortex-m7 cortex-m23 cortex-m33 cortex-m55)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES KILOTUNE_CPU)

set(_flags_cortex-m0 "-mcpu=cortex-m0 -mfloat-abi=soft")
set(_flags_cortex-m0plus "-mcpu=cortex-m0plus -mfloat-abi=soft")
set(_flags_cortex-m3 "-mcpu=cortex-m3 -mfloat-abi=soft")
set(_flags_cortex-m4 "-mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard")
set(_flags_cortex-m7 "-mcpu=cortex-m7 -mfpu=fpv5-sp-d16 -mfloat-abi=hard")
set(_flags_cortex-m23 "-mcpu=cortex-m23 -mfloat-abi=soft")
set(_flags_cortex-m33 "-mcpu=cortex-m33 -mfpu=fpv5-sp-d16 -mfloat-abi=hard")
# Helium without its float half, which would flush subnormals to zero.
set(_flags_cortex-m55 "-mcpu=cortex-m55+nomve.fp -mfloat-abi=hard")
if(NOT DEFINED _flags_${KILOTUNE_CPU})
    message(FATAL_ERROR "KILOTUNE_CPU=${KILOTUNE_CPU} is not one of cortex-m0, -m0plus, -m3, -m4, -m7, -m23, -m33, -m55")
endif()

set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_C_FLAGS_INIT "-mthumb ${_flags_${KILOTUNE_CPU}} -ffunction-sections -fdata-sections")

# There is no operating system to link a test program for.
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)

set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
