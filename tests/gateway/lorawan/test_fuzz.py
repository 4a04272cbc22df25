"""Bad input changes nothing; the bench runs the same for a million."""

from pathlib import Path

from tests.gateway.lorawan.fuzz import Fuzz


def test_twenty_thousand_bad_inputs(tmp_path: Path) -> None:
    fuzz = Fuzz(tmp_path, 1)
    fuzz.run(20_000)
    fuzz.site.close()
