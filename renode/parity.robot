*** Settings ***
Documentation       examples/own_firmware trains in Renode to the state that the host computes. One image serves QEMU and Renode.
...                 renode-test --variable FIRMWARE:DIR --variable STATE:6948e55a parity.robot
...                 DIR holds mps2_an386.elf and so on; tests/e2e/test_renode.py builds them, works out STATE and runs this suite.

*** Variables ***
${FIRMWARE}         ${CURDIR}
${STATE}            not given

*** Keywords ***
Train On
    [Arguments]                 ${platform}    ${uart}
    Execute Command             mach create
    Execute Command             $platform\="${CURDIR}/${platform}.repl"
    Execute Command             machine LoadPlatformDescription $platform
    Execute Command             $elf\="${FIRMWARE}/${platform}.elf"
    Execute Command             sysbus LoadELF $elf
    Create Terminal Tester      sysbus.${uart}    defaultPauseEmulation=true
    Start Emulation
    ${line}=                    Wait For Line On Uart    state ([0-9a-f]{8})    treatAsRegex=true    timeout=120
    Should Be Equal             ${line.Groups[0]}    ${STATE}
    Wait For Line On Uart       DONE

*** Test Cases ***
Cortex M4 Trains To The State Of The Host
    Train On                    mps2_an386    uart0

Cortex M7 Trains To The State Of The Host
    Train On                    mps2_an500    uart0

Cortex M33 Trains To The State Of The Host
    Train On                    mps2_an505    uart0

STM32F746 Trains To The State Of The Host
    Train On                    stm32f746    usart1
