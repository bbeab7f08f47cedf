#!/usr/bin/env python3
"""Estimates how many cycles the innermost loops take on ARM processors, with LLVM's model of their pipelines.

    python tests/peers/pipeline.py --andon andon-for-aarch64

Takes the loops that multiply out of the disassembled program: for each tile kernel the one with the most multiplying
instructions between a backward jump and its target. llvm-mca then says how many cycles a turn of it takes, were all data
in the nearest cache and every jump foreseen: an estimate of the best case, not a measurement. Needs llvm-mca and an objdump
that knows AArch64 (Debian: llvm, binutils-aarch64-linux-gnu).
"""

import argparse
import re
import subprocess

# Which instructions multiply in the tiles of an instruction set, how many products one makes, and a processor with it.
TILES = {
    "dotprod": (r"sdot", 16, "cortex-a76"),
    "neon": (r"smull2?|smlal2?", 8, "cortex-a72"),
    "i8mm": (r"smmla", 32, "neoverse-v1"),
}
TURNS = 200


def functions(objdump, program):
    """The instructions of each tile kernel: name, then (address, text) pairs."""
    listing = subprocess.run([objdump, "-d", "--no-show-raw-insn", program], capture_output=True, text=True, check=True)
    name, found = None, {}
    for line in listing.stdout.splitlines():
        if start := re.match(r"^[0-9a-f]+ <(.*)>:$", line):
            name = start.group(1) if "kernels" in line and "byte_tile_16" in line else None
        elif name and (instruction := re.match(r"^\s*([0-9a-f]+):\t(.*)$", line)):
            found.setdefault(name, []).append((int(instruction.group(1), 16), instruction.group(2)))
    return found


def loops(body):
    """The bodies of all innermost loops: what lies between a backward jump and its target, without other jumps."""
    index = {address: place for place, (address, _) in enumerate(body)}
    for end, (address, text) in enumerate(body):
        jump = re.match(r"(?:b\.\w+|cbn?z\s+\w+,|tbn?z\s+\w+, #\d+,)\s+([0-9a-f]+)", text)
        start = index.get(int(jump.group(1), 16)) if jump else None
        if start is None or start >= end:
            continue
        inside = [text for _, text in body[start:end]]
        if not any(re.match(r"b\b|b\.|cb|tb|bl|ret", text) for text in inside):
            yield inside


def cycles(mca, processor, instructions):
    """Cycles of one turn; addresses in jumps and comments are nothing that the model needs."""
    text = "\n".join(re.sub(r"\s*//.*$", "", line) for line in instructions) + "\n"
    command = [mca, "-mtriple=aarch64", f"-mcpu={processor}", "-mattr=+dotprod,+i8mm", f"-iterations={TURNS}"]
    answer = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    total = re.search(r"Total Cycles:\s+(\d+)", answer.stdout)
    if total is None:
        raise SystemExit(f"{mca} -mcpu={processor}: {answer.stderr.strip()}")
    return int(total.group(1)) / TURNS


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--andon", required=True, help="the program, built for AArch64 Linux")
    parser.add_argument("--objdump", default="aarch64-linux-gnu-objdump")
    parser.add_argument("--mca", default="llvm-mca")
    options = parser.parse_args()
    found = functions(options.objdump, options.andon)
    for isa, (multiplies, products, processor) in TILES.items():
        def count(loop, pattern=rf"({multiplies})\b"):
            return sum(bool(re.match(pattern, line)) for line in loop)

        bodies = [body for name, body in found.items() if isa in name]
        candidates = [loop for body in bodies for loop in loops(body) if count(loop)]
        if not candidates:
            print(f"{isa:8} no loop found")
            continue
        loop = max(candidates, key=count)
        took = cycles(options.mca, processor, loop)
        macs = count(loop) * products
        print(
            f"{isa:8} {processor:12} {len(loop) + 1} instructions, {macs} products, {took:.1f} cycles a turn (estimated): "
            f"{macs / took:.1f} products a cycle"
        )


if __name__ == "__main__":
    main()
