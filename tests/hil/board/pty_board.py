"""A MicroPython unix port behind a pty: its real raw REPL, in a folder that stands for the flash.

It stands for a board's prompt and files, not for its pins: there is no `machine.UART` here.
"""

import os
import pty
import subprocess
import sys
import tty
from pathlib import Path

from hil.unix_target import micropython


class PtyBoard:
    """`port` is what a serial program opens; `folder` its file system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._master, slave = pty.openpty()
        self.port = os.ttyname(slave)
        self._shell_master, shell = pty.openpty()
        tty.setraw(slave)
        tty.setraw(shell)
        self._slave = slave
        self._process = subprocess.Popen(
            [micropython(), "-i"],
            stdin=shell,
            stdout=shell,
            stderr=shell,
            start_new_session=True,
            cwd=folder,
            env={"PATH": os.environ.get("PATH", ""), "HOME": str(folder)},
        )
        os.close(shell)
        # Two ptys and a copier between them: mpremote may close its end and come again.
        self._copier = subprocess.Popen(
            [
                sys.executable,
                "-c",
                _COPY,
                str(self._master),
                str(self._shell_master),
                str(self._process.pid),
            ],
            pass_fds=(self._master, self._shell_master),
        )

    def close(self) -> None:
        """End both children."""
        for process in (self._copier, self._process):
            process.kill()
            process.wait()
        for descriptor in (self._master, self._slave, self._shell_master):
            os.close(descriptor)


# The unix port reads Ctrl-C only at its prompt; a board's USB interrupts a program with it.
_COPY = """
import os, select, signal, sys
host, shell, process = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
at_prompt = True
def from_shell():
    global at_prompt
    data = os.read(shell, 4096)
    at_prompt = data.endswith((b'>', b'> '))
    os.write(host, data)
try:
    while True:
        for ready in select.select([host, shell], [], [])[0]:
            if ready == shell:
                from_shell()
                continue
            for byte in os.read(host, 4096):
                if byte == 3 and not at_prompt:
                    os.kill(process, signal.SIGINT)
                    while not at_prompt:
                        from_shell()
                else:
                    os.write(shell, bytes([byte]))
                    if byte in (4, 1, 2):
                        at_prompt = False
except OSError:
    pass
"""
