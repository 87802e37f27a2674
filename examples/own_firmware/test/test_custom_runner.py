"""`pio test`: the results come over the serial port in Unity's format; Unity itself, which would be downloaded, is not used."""

import sys
from pathlib import Path

import click
from platformio.public import UnityTestRunner
from platformio.test.exception import UnitTestError

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))


class CustomTestRunner(UnityTestRunner):
    """On an emulated board the firmware runs under QEMU; on a real one PlatformIO uploads it and reads the port."""

    EXTRA_LIB_DEPS = None

    def configure_build_env(self, env):
        return env  # no unity_config.h

    def stage_testing(self):
        if self.options.without_testing:
            return
        if self.platform.is_embedded():
            super().stage_testing()
            return
        from emulate import SECONDS, run

        click.secho("Testing...", bold=True)
        board = PROJECT / "../../boards" / self.project_config.get(f"env:{self.test_suite.env_name}", "custom_board")
        elf = Path(self.project_config.get("platformio", "build_dir")) / self.test_suite.env_name / "firmware.elf"

        def each_line(line: str) -> bool:
            self.on_testing_data_output(line.encode() + b"\n")
            return self.test_suite.is_finished()

        if not run(board, str(elf), each_line):
            raise UnitTestError(f"the tests did not end within {SECONDS} seconds")
