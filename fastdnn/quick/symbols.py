"""The symbols of an object file, ELF (Linux, and Numba on Windows) or Mach-O (macOS), of 64 bits and little endian.

LLVM ends the process where object code needs a symbol that there is not, so who links one looks at its symbols before.
"""

import struct

ELF, MACH_O = b"\x7fELF\x02\x01", b"\xcf\xfa\xed\xfe"
SYMTAB, SYMTAB_COMMAND, LOCAL, SECTION_OR_FILE = 2, 0x2, 0, (3, 4)
EXTERNAL, DEBUG, TYPE, UNDEFINED, INDIRECT = 0x01, 0xE0, 0x0E, 0x0, 0xA  # bits and types of a Mach-O symbol


def symbols(code):
    """(names that an object file defines for others, names that it needs from others), sets of str.

    Raises
    ------
    ValueError
        If it is of another kind.
    """
    try:
        if code.startswith(ELF):
            return _split(_elf(code))
        if code.startswith(MACH_O):
            return _split(_mach_o(code))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"the object file is damaged: {error}") from None
    raise ValueError(f"object code of an unknown kind, it starts with {bytes(code[:4])!r}")


def _split(found):
    """The two sets from pairs (name, whether it is defined)."""
    found = set(found)
    defined = {name for name, here in found if here}
    return defined, {name for name, _ in found} - defined


def _text(code, start):
    return code[start : code.index(b"\0", start)].decode()


def _elf(code):
    """Pairs (name, whether it is defined) of the global symbols of an ELF file."""
    (sections,) = struct.unpack_from("<Q", code, 0x28)
    size, count = struct.unpack_from("<HH", code, 0x3A)
    headers = [struct.unpack_from("<IIQQQQIIQQ", code, sections + i * size) for i in range(count)]
    for _, kind, _, _, start, length, link, _, _, entry in headers:
        for place in range(start, start + length, entry) if kind == SYMTAB else ():
            name, info, _, section = struct.unpack_from("<IBBH", code, place)
            if name and info >> 4 != LOCAL and info & 15 not in SECTION_OR_FILE:
                yield _text(code, headers[link][4] + name), section != 0


def _mach_o(code):
    """The same of a Mach-O file, whose names have an underscore before them."""
    (commands,) = struct.unpack_from("<I", code, 16)
    place = 32
    for _ in range(commands):
        command, size = struct.unpack_from("<II", code, place)
        if command == SYMTAB_COMMAND:
            start, count, texts, _ = struct.unpack_from("<IIII", code, place + 8)
            for i in range(count):
                name, kind, _, _, value = struct.unpack_from("<IBBHQ", code, start + 16 * i)
                if kind & EXTERNAL and not kind & DEBUG:
                    # A common symbol, which whoever comes first makes, is undefined with a size.
                    yield _text(code, texts + name).removeprefix("_"), kind & TYPE not in (UNDEFINED, INDIRECT) or value > 0
        place += size
