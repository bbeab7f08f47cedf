#!/usr/bin/env python3
"""A USB-to-GPIO chip in software, for the machine that tests/vm/vm starts: the kernel's own hid-cp2112 driver talks to it, by
way of /dev/uhid, and gives it eight lines as a gpiochip.

    gpio.py LOG

Each change of an output is a line in LOG: the seconds since 1970, the number of the line, and its level, or
`input` where it is no output any more. Runs as root until it is ended, which unplugs it. It understands the signal USR1: its
line 7, an input, changes its level.
"""

import os
import select
import signal
import struct
import sys
import time

# Of the kernel's linux/uhid.h.
CREATE, GET_REPORT, GET_REPORT_REPLY, SET_REPORT, SET_REPORT_REPLY = 11, 9, 10, 13, 14
EVENT_BYTES = 4380
DATA_BYTES = 4096
USB = 3
VENDOR, PRODUCT = 0x10C4, 0xEA90

# Reports of the CP2112, as in its interface specification (AN495).
CONFIGURE, READ_LINES, WRITE_LINES, VERSION, SMBUS = 2, 3, 4, 5, 6
# Report and the number of its bytes after the number.
FEATURES = ((CONFIGURE, 4), (READ_LINES, 1), (WRITE_LINES, 2), (VERSION, 2), (SMBUS, 13))
# What the driver sends and gets beside: transfers of its I2C side.
TRANSFERS = ((0x13, 61, 0x81), (0x14, 61, 0x91))
LINES = 8
INPUT = 0x80


def descriptor():
    """The report descriptor: vendor-defined reports of bytes."""
    items = bytes.fromhex("0600ff0901a101")
    for number, size in FEATURES:
        items += bytes([0x85, number]) + bytes.fromhex("150026ff007508") + bytes([0x95, size]) + bytes.fromhex("0901b102")
    for number, size, kind in TRANSFERS:
        items += bytes([0x85, number]) + bytes.fromhex("150026ff007508") + bytes([0x95, size, 0x09, 0x01, kind, 0x02])
    return items + b"\xc0"


class Chip:
    """Its registers, and what becomes of its lines."""

    def __init__(self, log):
        self.log = log
        self.configuration = bytes(4)
        self.outputs = 0
        self.inputs = 0
        self.smbus = bytes(13)
        self.shown = ["input"] * LINES

    def report(self, number):
        """What it answers when the driver asks for a report."""
        driven = self.configuration[0]
        return {
            CONFIGURE: self.configuration,
            READ_LINES: bytes([self.outputs & driven | self.inputs & ~driven & 0xFF]),
            VERSION: b"\x0c\x02",
            SMBUS: self.smbus,
        }.get(number, bytes(4))

    def take(self, number, data):
        """Takes what the driver sets."""
        if number == CONFIGURE:
            self.configuration = data[:4]
        elif number == WRITE_LINES:
            values, mask = data[0], data[1]
            self.outputs = self.outputs & ~mask | values & mask
        elif number == SMBUS:
            self.smbus = data
        self.show()

    def show(self):
        """Writes down what is another."""
        for line in range(LINES):
            driven = self.configuration[0] >> line & 1
            level = str(self.outputs >> line & 1) if driven else "input"
            if level != self.shown[line]:
                self.shown[line] = level
                print(f"{time.time():.4f} {line} {level}", file=self.log, flush=True)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    device = os.open("/dev/uhid", os.O_RDWR)
    described = descriptor()
    names = struct.pack("<128s64s64s", b"andon test chip", b"", b"")
    header = struct.pack("<HHIIII", len(described), USB, VENDOR, PRODUCT, 0, 0)
    os.write(device, struct.pack("<I", CREATE) + names + header + described.ljust(DATA_BYTES, b"\0"))
    chip = Chip(open(sys.argv[1], "w"))

    def turn(_signal, _frame):
        chip.inputs ^= INPUT

    signal.signal(signal.SIGUSR1, turn)
    while True:
        select.select([device], [], [])
        event = os.read(device, EVENT_BYTES)
        kind = struct.unpack_from("<I", event)[0]
        if kind == GET_REPORT:
            request, number = struct.unpack_from("<IB", event, 4)
            answer = bytes([number]) + chip.report(number)
            reply = struct.pack("<IIHH", GET_REPORT_REPLY, request, 0, len(answer))
            os.write(device, reply + answer.ljust(DATA_BYTES, b"\0"))
        elif kind == SET_REPORT:
            request, number, _type, size = struct.unpack_from("<IBBH", event, 4)
            # The first byte says the number again.
            chip.take(number, event[13 : 12 + size])
            os.write(device, struct.pack("<IIH", SET_REPORT_REPLY, request, 0))


main()
