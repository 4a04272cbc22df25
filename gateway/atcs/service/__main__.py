"""`python -m gateway.atcs.service CONFIG NAME`: one junction; ends when its stdin does."""

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from gateway.atcs.service.process import run_junction
from gateway.config import EXIT_CONFIG, ConfigError


def _end_with_parent() -> None:
    """An agent that ends, in whatever way, closes our stdin."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    """Run; 78 for a configuration that is wrong, 70 after a crash of the control loop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("name")
    parser.add_argument("--with-parent", action="store_true")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    for noisy in ("asyncio", "pymodbus"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    if arguments.with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        return run_junction(arguments.config, arguments.name)
    except ConfigError as error:
        print(f"tukad: {error}", file=sys.stderr)  # noqa: T201  a command's only word
        return EXIT_CONFIG


if __name__ == "__main__":
    sys.exit(main())
