"""Files packed with zstd as streams of bytes, such as dumps of whole sites."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import zstandard

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Dumps of whole sites are written with `zstd --long=31`; the library refuses more than 2**27.
_WINDOW = 2**31
# Four bytes of zstd can stand for 128 kB: this much at once gives 32 MB at most.
_PIECE = 1024


class ZstdFile(io.RawIOBase):
    """The unpacked bytes of the frames in a zstd file; going back unpacks it again.

    Not the stream reader of the library: it takes a file that breaks off for a whole one.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._rewind()

    def _rewind(self) -> None:
        self._file.seek(0)
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._packed = b""
        self._ready = memoryview(b"")
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always, at the price of unpacking again what stands before."""
        return True

    def tell(self) -> int:
        """Unpacked bytes before this place."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to `offset` bytes after the start, or to the end when there are fewer."""
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("a packed file is read from its start")
        if offset < self._at:
            self._rewind()
        while self._at < offset and (skipped := self._next(offset - self._at)):
            self._at += len(skipped)
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill as much of `buffer` as is unpacked; EOFError for a file that breaks off."""
        target = memoryview(buffer).cast("B")
        data = self._next(len(target))
        target[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def _next(self, size: int) -> memoryview:
        """The next 1 to `size` bytes, none at the end."""
        while not self._ready:
            self._packed = self._packed or self._file.read(_PIECE)
            if not self._packed:
                if self._frame is not None:
                    raise EOFError
                break
            if self._frame is None:
                unpacker = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
                self._frame = unpacker.decompressobj()
            self._ready = memoryview(self._frame.decompress(self._packed))
            self._packed = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = None
        given, self._ready = self._ready[:size], self._ready[size:]
        return given
