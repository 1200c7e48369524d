#!/usr/bin/env python3
"""An independent reader of OverlayBD layers, to judge the ones that Berth writes.

    overlaybd_read.py describe LAYER            headers and counts as JSON
    overlaybd_read.py flatten DEVICE LAYER...   stacks layers, bottom first, into a sparse device file

Written from the description of the format (tar wrapping, ZFile, LSMT); shares nothing with the
product. It is strict: whatever a reader of the field could reject, it rejects, with the offset.
"""

import json
import struct
import sys

import crc32c
import lz4.block
import zstandard

SECTOR = 512
INVALID_LBA = (1 << 50) - 1
MOST_ENTRIES = 1_000_000
LARGEST_BLOCK = 32 * 1024
NO_PARENT = "00000000-0000-0000-0000-000000000000"


class Malformed(Exception):
    """What the file holds is not what the format allows."""


def require(condition, message):
    if not condition:
        raise Malformed(message)


def raw_crc32c(data, register):
    """CRC-32C without initial and final inversion; the package inverts at both ends."""
    return crc32c.crc32c(data, register ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


class Window:
    """A part of a file, read by position."""

    def __init__(self, file, begin, size):
        self.file, self.begin, self.size = file, begin, size

    def read(self, offset, length):
        require(
            0 <= offset and offset + length <= self.size,
            f"bytes {offset}..{offset + length} lie outside of {self.size}",
        )
        self.file.seek(self.begin + offset)
        data = self.file.read(length)
        require(len(data) == length, f"the file ends within bytes {offset}..{offset + length}")
        return data


# --- tar wrapping -------------------------------------------------------------------------------


def octal(field):
    text = field.strip(b" \0")
    return int(text, 8) if text else 0


def tar_header(window, offset):
    header = window.read(offset, 512)
    require(header[257:262] == b"ustar" and header[263:265] == b"00", f"no ustar header at {offset}")
    total = sum(header[:148]) + 8 * 0x20 + sum(header[156:])
    require(octal(header[148:156]) == total, f"tar header at {offset}: wrong checksum")
    return header


def unwrap_tar(window):
    """The one member `overlaybd.commit` of a wrapped blob, or the blob itself."""
    if window.size < 512 or window.read(257, 5) != b"ustar":
        return window, None
    header = tar_header(window, 0)
    begin, real_size = 512, None
    if header[156:157] == b"x":
        length = octal(header[124:136])
        # Readers look for the data at a fixed offset: one PAX block, not more.
        require(length <= 512, f"the PAX header has {length} bytes, readers take 512")
        for key, value in pax_records(window.read(512, length)):
            if key == b"size":
                real_size = int(value)
        header = tar_header(window, 1024)
        begin = 1536
    name = header[:100].rstrip(b"\0")
    require(name == b"overlaybd.commit", f"the member is called {name!r}")
    require(header[156:157] in (b"0", b"\0"), "the member is no regular file")
    size = real_size if real_size is not None else octal(header[124:136])
    end = begin + -(-size // 512) * 512
    require(end + 1024 <= window.size, "no end of archive after the member")
    require(not any(window.read(end, window.size - end)), "bytes after the end of the archive")
    require(not any(window.read(begin + size, end - begin - size)), "the padding is not zero")
    return Window(window.file, window.begin + begin, size), {"data_at": begin, "size": size}


def pax_records(data):
    while data:
        length = int(data.split(b" ", 1)[0])
        record, data = data[:length], data[length:]
        require(record.endswith(b"\n"), "a PAX record does not end where it says")
        key, value = record.split(b" ", 1)[1][:-1].split(b"=", 1)
        yield key, value


# --- ZFile: blocks of compressed bytes and a table of their lengths -------------------------------

ZFILE_MAGIC = b"ZFile\0\1\0" + b"tuji.yyf@Alibaba"
FLAG_HEADER, FLAG_DATA, FLAG_SEALED, FLAG_OVERWRITTEN, FLAG_DIGEST = 1, 2, 4, 8, 16
BLOCK_SEED = 100007


class ZFile:
    def __init__(self, window):
        self.window = window
        head = self.parse(window.read(0, 512))
        require(head["flags"] & FLAG_HEADER, "the ZFile header is not marked as one")
        if head["flags"] & FLAG_OVERWRITTEN:
            self.info = head
        else:
            self.info = self.parse(window.read(window.size - 512, 512))
            require(not self.info["flags"] & FLAG_HEADER, "the ZFile trailer is marked as a header")
        info = self.info
        require(info["flags"] & FLAG_DATA, "the ZFile is no data file")
        require(info["block_size"] % 4096 == 0 and 0 < info["block_size"] <= LARGEST_BLOCK,
                f"ZFile blocks of {info['block_size']} bytes")
        require(info["algorithm"] in (1, 2), f"ZFile algorithm {info['algorithm']}")
        require(info["dictionary"] == 0 and info["dictionary_size"] == 0, "a ZFile dictionary")
        self.size = info["original_size"]
        table = window.read(info["index_offset"], 4 * info["blocks"])
        require(raw_crc32c(table, 0) == info["index_crc"], "the crc of the ZFile jump table is wrong")
        self.lengths = struct.unpack(f"<{info['blocks']}I", table)
        require(info["blocks"] == -(-self.size // info["block_size"]), "ZFile: blocks do not cover it")
        self.check_groups()
        self.offsets, offset = [], 512
        for length in self.lengths:
            self.offsets.append(offset)
            offset += length
        require(offset == info["index_offset"], "the ZFile jump table does not end at the index")
        self.inflater = zstandard.ZstdDecompressor()
        self.cached = (None, b"")

    @staticmethod
    def parse(page):
        require(page[:24] == ZFILE_MAGIC, "no ZFile magic")
        names = ("struct_size digest flags index_offset blocks original_size index_crc zero block_size "
                 "algorithm level dictionary pad reserved dictionary_size verify").split()
        info = dict(zip(names, struct.unpack_from("<IIQQQQIIIBBBBIIB", page, 24)))
        require(info["struct_size"] == 96, f"ZFile struct size {info['struct_size']}")
        if info["flags"] & FLAG_DIGEST:
            blank = page[:28] + bytes(4) + page[32:]
            require(raw_crc32c(blank, 0) == info["digest"], "the digest of a ZFile header is wrong")
        return info

    def check_groups(self):
        """Readers keep offsets within groups of blocks in 16 bits."""
        group = 65536 // self.info["block_size"]
        least = 4 if self.info["verify"] else 0
        for first in range(0, len(self.lengths), group):
            lengths = self.lengths[first:first + group]
            require(min(lengths) > least, f"a ZFile block of the group at {first} is empty")
            require(sum(lengths[:-1]) < 65535, f"the ZFile group at block {first} is too long")

    def block(self, number):
        if self.cached[0] == number:
            return self.cached[1]
        stored = self.window.read(self.offsets[number], self.lengths[number])
        if self.info["verify"]:
            stored, crc = stored[:-4], struct.unpack("<I", stored[-4:])[0]
            require(raw_crc32c(stored, BLOCK_SEED) == crc, f"the crc of ZFile block {number} is wrong")
        wanted = min(self.info["block_size"], self.size - number * self.info["block_size"])
        if self.info["algorithm"] == 1:
            data = lz4.block.decompress(stored, uncompressed_size=self.info["block_size"])
        else:
            data = self.inflater.decompress(stored, max_output_size=self.info["block_size"])
        require(len(data) == wanted, f"ZFile block {number} has {len(data)} bytes, not {wanted}")
        self.cached = (number, data)
        return data

    def read(self, offset, length):
        require(0 <= offset and offset + length <= self.size,
                f"bytes {offset}..{offset + length} lie outside of {self.size}")
        parts, size = [], self.info["block_size"]
        while length:
            block = self.block(offset // size)
            part = block[offset % size:offset % size + length]
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
        return b"".join(parts)

    def verify_all(self):
        for number in range(len(self.lengths)):
            self.block(number)


# --- LSMT: data, then an index from the sectors of the device to it --------------------------------

LSMT_MAGIC = b"LSMT\0\1\2\0" + bytes.fromhex("657e63d29444084ca2d2c8ec4fcfae8a")


class Lsmt:
    def __init__(self, source):
        self.source = source
        self.header = self.parse(source.read(0, 4096))
        require(self.header["flags"] & 7 == 7, f"LSMT header flags {self.header['flags']:#x}")
        trailer_at = source.size - 4096
        self.trailer = self.parse(source.read(trailer_at, 4096))
        require(self.trailer["flags"] & 7 == 6, f"LSMT trailer flags {self.trailer['flags']:#x}")
        for name in ("virtual_size", "uuid", "parent"):
            require(self.header[name] == self.trailer[name], f"header and trailer differ in {name}")
        count, begin = self.trailer["entries"], self.trailer["index_offset"]
        require(count <= MOST_ENTRIES, f"{count} index entries, readers take {MOST_ENTRIES}")
        require(begin % SECTOR == 0, f"the index begins at {begin}, within a sector")
        require(begin + 16 * count <= trailer_at, "the index runs into the trailer")
        self.segments, self.padding = self.parse_index(source.read(begin, 16 * count), begin)

    @staticmethod
    def parse(page):
        require(page[:24] == LSMT_MAGIC, "no LSMT magic")
        names = "struct_size flags index_offset entries virtual_size".split()
        info = dict(zip(names, struct.unpack_from("<IIQQQ", page, 24)))
        require(info["struct_size"] == 390, f"LSMT struct size {info['struct_size']}")
        require(not any(page[390:]), "bytes after an LSMT header")
        info["uuid"] = page[56:93].rstrip(b"\0").decode("ascii")
        info["parent"] = page[93:130].rstrip(b"\0").decode("ascii")
        for name in ("uuid", "parent"):
            require(info[name] == info[name].upper(), f"{name} {info[name]} is not in upper case")
        require(page[132] == 1, f"LSMT version {page[132]}")
        require(info["virtual_size"] % SECTOR == 0, "the device ends within a sector")
        return info

    def parse_index(self, data, index_offset):
        segments, padding, free = [], 0, 0
        for number, (first, second) in enumerate(struct.iter_unpack("<QQ", data)):
            lba, sectors = first & INVALID_LBA, first >> 50
            at, zeroed, tag = second & ((1 << 55) - 1), second >> 55 & 1, second >> 56
            if lba == INVALID_LBA:
                padding += 1
                continue
            what = f"index entry {number}"
            require(sectors > 0, f"{what} is empty")
            require(lba >= free, f"{what} begins at {lba}, before {free} where the last one ends")
            free = lba + sectors
            require(free * SECTOR <= self.trailer["virtual_size"], f"{what} lies beyond the device")
            limit = index_offset // SECTOR
            require(8 <= at <= limit, f"{what} points to sector {at}")
            require(zeroed or at + sectors <= limit, f"{what} points into the index")
            require(tag == 0, f"{what} has tag {tag}")
            segments.append((lba, sectors, at, bool(zeroed)))
        return segments, padding


# --- layers ---------------------------------------------------------------------------------------


def open_layer(path):
    with open(path, "rb") as probe:
        probe.seek(0, 2)
        size = probe.tell()
    window, wrap = unwrap_tar(Window(open(path, "rb"), 0, size))
    zfile = None
    if window.read(0, 8) == ZFILE_MAGIC[:8]:
        zfile = window = ZFile(window)
    return wrap, zfile, Lsmt(window)


def describe(path):
    wrap, zfile, layer = open_layer(path)
    if zfile:
        zfile.verify_all()
    data = sum(sectors for _, sectors, _, zeroed in layer.segments if not zeroed)
    return {
        "tar": wrap,
        "zfile": zfile and zfile.info,
        "header": layer.header,
        "trailer": layer.trailer,
        "segments": len(layer.segments),
        "padding": layer.padding,
        "zeroed": sum(1 for segment in layer.segments if segment[3]),
        "data_bytes": data * SECTOR,
    }


def flatten(device, paths):
    parent = None
    with open(device, "wb") as out:
        virtual_size = 0
        for path in paths:
            _, zfile, layer = open_layer(path)
            if zfile:
                zfile.verify_all()
            virtual_size = layer.trailer["virtual_size"] or virtual_size
            named = layer.trailer["parent"] or NO_PARENT
            if parent is not None and named != NO_PARENT:
                require(named == parent, f"{path} names {named} as parent, below it lies {parent}")
            parent = layer.trailer["uuid"]
            for lba, sectors, at, zeroed in layer.segments:
                out.seek(lba * SECTOR)
                data = bytes(sectors * SECTOR) if zeroed else layer.source.read(at * SECTOR, sectors * SECTOR)
                out.write(data)
        out.truncate(virtual_size)


def main():
    try:
        if sys.argv[1] == "describe":
            json.dump(describe(sys.argv[2]), sys.stdout, indent=1)
        elif sys.argv[1] == "flatten":
            flatten(sys.argv[2], sys.argv[3:])
        else:
            sys.exit(__doc__)
    except Malformed as fault:
        sys.exit(f"malformed: {fault}")


main()
