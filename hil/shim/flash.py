"""The board's flash as a block device for LittleFS: every erase and program is the simulator's.

So a power cut may fall between any two, or tear one, exactly as on a chip.
"""

import simwire

_CHUNK = 1024
_PAGE = 256
_CACHED = 96  # pages kept here: reads are free on the chip too, which maps its flash


class Flash:
    """`blocks` blocks of 4,096 bytes."""

    def __init__(self, blocks):
        self._blocks = blocks
        self._pages = {}

    def readblocks(self, block, buf, offset=0):
        """Fill `buf` from `offset` in `block`; LittleFS asks for whole pages."""
        at = block * 4096 + offset
        view = memoryview(buf)
        for start in range(0, len(buf), _PAGE):
            page = (at + start) // _PAGE
            data = self._pages.get(page)
            if data is None:
                if len(self._pages) >= _CACHED:
                    self._pages.clear()
                data = bytes(simwire.call(simwire.OP_FLASH_READ, _PAGE, page * _PAGE))
                self._pages[page] = data
            view[start : start + _PAGE] = data

    def _forget(self, at, length):
        for page in range(at // _PAGE, (at + length + _PAGE - 1) // _PAGE):
            self._pages.pop(page, None)

    def writeblocks(self, block, buf, offset=None):
        """Program `buf`; without `offset` erase the whole blocks first."""
        if offset is None:
            for i in range(len(buf) // 4096):
                simwire.call(simwire.OP_FLASH_ERASE, 0, block + i)
            offset = 0
        at = block * 4096 + offset
        self._forget(at, len(buf))
        view = memoryview(buf)
        for start in range(0, len(buf), _CHUNK):
            simwire.call(simwire.OP_FLASH_WRITE, 0, at + start, view[start : start + _CHUNK])

    def ioctl(self, op, arg):
        """Block count, block size, erase."""
        if op == 4:
            return self._blocks
        if op == 5:
            return 4096
        if op == 6:
            self._forget(arg * 4096, 4096)
            simwire.call(simwire.OP_FLASH_ERASE, 0, arg)
            return 0
        return 0
