"""`TreeFake`: the flash that loses power, with folders in its names."""

from tests.firmware.device.fakes import FlashFake
from tests.firmware.device.update.releases import PACKAGE_ONE, PUBLIC

MODEL, MPY = "unix-pico", 6


class TreeFake(FlashFake):
    def below(self, folder):
        return [name for name in self.data if name.startswith(folder + "/")]

    def copy(self):
        other = TreeFake()
        for name in self.data:
            other.data[name] = self.data[name]
        return other


def contents(files, folder):
    """What an application in `folder` would import."""
    found = {}
    for name in files.below(folder):
        if not name.endswith("/manifest"):
            found[name[len(folder) + 1 :]] = files.data[name]
    return found


def new_device():
    """A device with the key and nothing else."""
    files = TreeFake()
    files.data["release.pub"] = PUBLIC
    return files


def device_with_one():
    """Release 1 in app.b, confirmed (the first release goes into the slot that is not active)."""
    from firmware.update.install import install
    from firmware.update.slots import Slots

    files = new_device()
    files.data["update.new"] = PACKAGE_ONE
    install(files, Slots(files), MODEL, MPY)
    slots = Slots(files)
    slots.choose()
    slots.confirm()
    return files
