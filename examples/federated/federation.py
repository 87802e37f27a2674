"""A federation of real processes: a SuperLink, SuperNodes and runs of an app, each with a log in a folder."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

BIN = Path(sys.executable).parent
SETTINGS = ("FLWR_TELEMETRY_ENABLED=0", "FLWR_DISABLE_UPDATE_CHECK=1")
NODE_STARTS = 3
"""Of a node whose port another process took."""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Waits; AssertionError where it takes longer."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds:g} seconds"
        time.sleep(0.1)


class Federation:
    """A context manager: processes that it started are ended with it.

    app: what `kilotune federated new` wrote. simulated: nodes that Flower simulates, 0 for those that `start_node` starts.
    """

    def __init__(self, folder: Path, app: Path, simulated: int = 0) -> None:
        self.folder, self.app, self.port, self.simulated = folder, app, free_port(), simulated
        self.environment = {
            **os.environ, **dict(s.split("=") for s in SETTINGS), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "FLWR_HOME": str(folder / "flwr"), "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        (folder / "flwr").mkdir(parents=True)
        section = f'[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "127.0.0.1:{self.port}"\ninsecure = true\n'
        (folder / "flwr" / "config.toml").write_text(section)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Federation:
        self.start_link()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start(self, name: str, *command: str | Path) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [str(c) for c in command], stdout=log, stderr=log, env=self.environment, cwd=self.folder, start_new_session=True
            )

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def start_link(self) -> None:
        """The SuperLink, with its state in a file, so that it can be started again; or one that simulates nodes."""
        kept = ["--simulation"] if self.simulated else ["--database", self.folder / "state.db"]
        self.start(
            "link", BIN / "flower-superlink", "--insecure", "--port", str(self.port), *kept, "--disable-runtime-dependency-installation",
        )  # fmt: skip
        until(self._listens, "the SuperLink")

    def kill_link(self) -> None:
        """As a power cut would."""
        self.processes["link"].kill()
        self.processes["link"].wait()

    def _listens(self) -> bool:
        assert self.processes["link"].poll() is None, self.log("link")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def start_node(self, name: str, **config: str | int) -> None:
        """A SuperNode, which listens by then: a port that was free may be another's until it does, and then it is started on another one.
        config: its node-config, beside its name."""
        settings = " ".join(f"{key}={json.dumps(value)}" for key, value in {"name": name, **config}.items())
        for _ in range(NODE_STARTS):
            port = free_port()
            self.start(
                name, BIN / "flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{self.port}", "--port", str(port),
                "--node-config", settings,
            )  # fmt: skip
            node = self.processes[name]
            until(lambda port=port, node=node: node.poll() is not None or self._runs_on(name, port), f"the node {name}")
            if node.poll() is None:
                return
        raise AssertionError(f"the node {name} ended as it started: {self.log(name)}")

    def _runs_on(self, name: str, port: int) -> bool:
        """Whether the node says so: another process may listen on the port instead."""
        return f"running on http://127.0.0.1:{port} " in self.log(name)

    def run(self, name: str, **config: str | int | float | bool) -> None:
        """Begins a run of the app; its log is `log(name)`. config: of the run, - for _."""
        settings = " ".join(f"{key.replace('_', '-')}={json.dumps(value)}" for key, value in config.items())
        virtual = f"num-supernodes={self.simulated} client-resources-num-cpus=1"
        more = ["--federation-config", virtual] if self.simulated else []
        self.start(name, BIN / "flwr", "run", self.app, "here", "--stream", "--run-config", settings, *more)

    def finished(self, name: str, seconds: float = 120.0) -> str:
        """The log of a run, once it has ended."""
        self.processes[name].wait(seconds)
        return re.sub(r"\x1b\[\d+m", "", self.log(name))
