"""Finds a blob in a bundle by offset, by docs/bundle-format.md alone: reader.py BUNDLE DIGEST."""

import gzip
import hashlib
import json
import math
import os
import sys


def member(size):
    return 18 + size + 5 * max(1, math.ceil(size / 65535))


def up512(size):
    return (size + 511) // 512 * 512


def head(path):
    if len(path) <= 100:
        return 512
    cuts = [at for at, letter in enumerate(path) if letter == "/"]
    fits = any(at <= 155 and len(path) - at - 1 <= 100 for at in cuts)
    return 512 if fits else 1536


class Cursor:
    """The offset of the next member, and the bytes of the run before it."""

    def __init__(self, offset):
        self.offset = offset
        self.run = 0

    def blob(self, size):
        if self.run:
            self.offset += member(self.run)
        self.run = 0
        start = self.offset
        self.offset += member(size)
        return start, self.offset


def blobs(stem, document, cursor):
    """Digest, first and last offset, and number of members around each other, of every blob."""
    for one in document["files"]:
        if "image" not in one:
            cursor.run += head(f"{stem}/{one['path']}") + up512(one["size"])
    if "store" in document:
        end = 0
        for blob in document["store"]["blobs"]:
            cursor.run += blob["offset"] - end
            yield blob["digest"], *cursor.blob(blob["size"]), 1
            end = blob["offset"] + blob["size"]
        cursor.run += up512(end) - end
    for one in document["files"]:
        if "image" in one:
            cursor.run += head(f"{stem}/{one['path']}")
            end = 0
            for blob in one["image"]["blobs"]:
                cursor.run += member(blob["offset"] - end)
                yield blob["digest"], *cursor.blob(member(blob["size"])), 2
                end = blob["offset"] + blob["size"]
            cursor.run += member(up512(end) - end + 1024) + up512(one["size"]) - one["size"]


def main(path, wanted):
    stem = os.path.basename(path)[: -len(".tar.gz")]
    with open(path, "rb") as file:
        # The size of the first member follows from the tar header in its first block.
        size = int(file.read(15 + 512)[15 + 124 : 15 + 135], 8)
        end = member(512 + up512(size))
        file.seek(0)
        document = json.loads(gzip.decompress(file.read(end))[512 : 512 + size])
        for digest, start, end, members in blobs(stem, document, Cursor(end)):
            if digest != wanted:
                continue
            file.seek(start)
            content = file.read(end - start)
            for _ in range(members):
                content = gzip.decompress(content)
            found = "sha256:" + hashlib.sha256(content).hexdigest()
            if found != wanted:
                sys.exit(f"{wanted} has digest {found}")
    print(wanted)


main(*sys.argv[1:])
