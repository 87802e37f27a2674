# kilotune_board(TARGET FOLDER): adds the start-up code, serial port and linker script of a board of boards/ to a program.
#   include(.../cmake/board.cmake)
#   kilotune_board(firmware ${BOARDS}/qemu/mps2_an386)
# Everything is read from the board's board.toml. The toolchain file must be set for the same core.

set(_kilotune_boards "${CMAKE_CURRENT_LIST_DIR}/../boards")

function(kilotune_board target folder)
    if(NOT EXISTS "${folder}/board.toml")
        message(FATAL_ERROR "${folder}/board.toml does not exist: name a folder such as boards/qemu/mps2_an386")
    endif()
    file(READ "${folder}/board.toml" text)

    string(REGEX MATCH "\ncore = \"([^\"]+)\"" match "${text}")
    if(NOT CMAKE_MATCH_1 STREQUAL KILOTUNE_CPU)
        message(FATAL_ERROR "the board of ${folder} has a ${CMAKE_MATCH_1}: pass -DKILOTUNE_CPU=${CMAKE_MATCH_1}")
    endif()

    string(REGEX MATCH "\nsources = \\[([^\n]*)\\]" match "${text}")
    string(REGEX MATCHALL "[^\", ]+" names "${CMAKE_MATCH_1}")
    string(REGEX MATCH "\nlinker_script = \"([^\"]+)\"" match "${text}")
    list(APPEND names "${CMAKE_MATCH_1}")
    set(sources "")
    foreach(name IN LISTS names)
        if(name MATCHES "^common/")
            list(APPEND sources "${_kilotune_boards}/${name}")
        else()
            list(APPEND sources "${folder}/${name}")
        endif()
    endforeach()
    list(POP_BACK sources script)

    target_sources(${target} PRIVATE ${sources})
    target_include_directories(${target} PRIVATE "${_kilotune_boards}" "${_kilotune_boards}/common")
    target_link_options(${target} PRIVATE -nostartfiles -Wl,--gc-sections -Wl,--no-warn-rwx-segments -Wl,-n
        "-L${_kilotune_boards}/common" "-T${script}")
    set_target_properties(${target} PROPERTIES SUFFIX .elf LINK_DEPENDS "${script};${_kilotune_boards}/common/sections.ld")
endfunction()
