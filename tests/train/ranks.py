"""Processes for tests of several ranks: started as torchrun would, but without its seconds of start."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

TESTS = Path(__file__).parents[1]
REPOSITORY = TESTS.parent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(**extra):
    paths = [str(REPOSITORY), str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths), **extra}


def _process(arguments, **extra):
    command = [sys.executable, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=environment(**extra), **pipes, text=True)


def start(size, *arguments):
    """Start ``python ARGUMENTS`` once per rank."""
    meeting = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [_process(arguments, RANK=str(rank), LOCAL_RANK=str(rank), **meeting) for rank in range(size)]


@contextmanager
def torchrun(size, *arguments):
    """Run a command under torchrun; whatever it leaves behind is ended."""
    process = _process(["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", size, *arguments])
    try:
        yield process
    finally:
        for pid in (*children(process.pid).values(), process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate()


def children(pid):
    """Return the process ids of the ranks that torchrun has started, by rank."""
    found = {}
    with suppress(FileNotFoundError, ProcessLookupError):  # a process may end while it is looked at
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            variables = Path(f"/proc/{child}/environ").read_text().split("\0")
            rank = next((text for text in variables if text.startswith("RANK=")), None)
            if rank is not None:
                found[int(rank.removeprefix("RANK="))] = int(child)
    return found


def finish(processes, timeout=200):
    """Wait for all; return exit codes, outputs and errors. A hang is killed and fails the test."""
    try:
        texts = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    codes = [process.returncode for process in processes]
    return codes, [out for out, _ in texts], [error for _, error in texts]
