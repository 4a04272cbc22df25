"""What the child process runs first: connect, mount the node's flash, start its firmware.

argv: this file, descriptor of the stream, folder of the repository, folder of compiled code (or the
repository again), module to run, its function.
"""

import random
import struct
import sys

import vfs

_descriptor = int(sys.argv[1])
_repository = sys.argv[2]
_compiled = sys.argv[3]
_module = sys.argv[4]
_function = sys.argv[5]

sys.path[:] = [_compiled + "/hil/shim", ".frozen"]

import simwire  # noqa: E402

simwire.connect(_descriptor)  # while file descriptors can still be opened

_rom = vfs.VfsPosix(_repository)
_code = vfs.VfsPosix(_compiled)
vfs.umount("/")
vfs.mount(_rom, "/rom", readonly=True)
vfs.mount(_code, "/code", readonly=True)
sys.path[:] = ["/code/hil/shim", ".frozen", "/code", "/rom", "/"]

_hello = bytes(simwire.call(simwire.OP_HELLO, 0, 1))
_ticks_us, _clock_us, _seed, _blocks, _cause = struct.unpack_from("<qqIHB", _hello, 0)

import time  # noqa: E402

import machine  # noqa: E402

machine._uid = _hello[23:31]
machine._cause = _cause
time.ticks_offset_us = _ticks_us
time.clock_offset_us = _clock_us
random.seed(_seed)

import flash  # noqa: E402

_device = flash.Flash(_blocks)
try:
    vfs.mount(vfs.VfsLfs2(_device, progsize=256, readsize=256, lookahead=64), "/")
except OSError:
    vfs.VfsLfs2.mkfs(_device, progsize=256, readsize=256, lookahead=64)
    vfs.mount(vfs.VfsLfs2(_device, progsize=256, readsize=256, lookahead=64), "/")

# Files the harness wants on the flash (settings, above all) come one a call, name NUL content.
_index = 0
while True:
    _file = bytes(simwire.call(simwire.OP_FILE, 0, _index))
    if not _file:
        break
    _cut = _file.index(b"\0")
    with open("/" + _file[:_cut].decode(), "wb") as _out:
        _out.write(_file[_cut + 1 :])
    _index += 1

try:
    _loaded = __import__(_module, None, None, (_function,))
    getattr(_loaded, _function)()
    simwire.call(simwire.OP_LOG, 0, 1, b"the firmware's entry function returned")
except SystemExit:
    pass
except BaseException as error:  # noqa: BLE001
    sys.print_exception(error)
    simwire.call(simwire.OP_LOG, 0, 2, repr(error).encode()[:1000])
