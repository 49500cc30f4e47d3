"""Finds a blob in a bundle by offset, by docs/bundle-format.md alone: reader.py BUNDLE DIGEST."""

import hashlib
import json
import math
import os
import sys


def offset(position):
    return 10 + 5 * math.ceil(position / 65535) + position


def up512(size):
    return (size + 511) // 512 * 512


def head(path):
    if len(path) <= 100:
        return 512
    cuts = [at for at, letter in enumerate(path) if letter == "/"]
    fits = any(at <= 155 and len(path) - at - 1 <= 100 for at in cuts)
    return 512 if fits else 1536


def unframe(framed, position):
    """The content of framed bytes that begin at offset(position)."""
    content = bytearray()
    while framed:
        if position % 65535 == 0:
            framed = framed[5:]
        count = min(65535 - position % 65535, len(framed))
        content += framed[:count]
        framed, position = framed[count:], position + count
    return bytes(content)


def read(file, start, end):
    """Bytes of the bundle's tar."""
    file.seek(offset(start))
    return unframe(file.read(offset(end) - offset(start)), start)


def blobs(stem, document, position):
    """Digest, frame it stands in, place and size of every blob."""
    small = [one for one in document["files"] if "image" not in one]
    archives = [one for one in document["files"] if "image" in one]
    for one in small:
        position += head(f"{stem}/{one['path']}") + up512(one["size"])
    if "store" in document:
        start = position
        for blob in document["store"]["blobs"]:
            yield blob["digest"], None, start + blob["offset"], blob["size"]
            position = start + up512(blob["offset"] + blob["size"])
    for one in archives:
        start = position + head(f"{stem}/{one['path']}")
        position = start + up512(one["size"])
        for blob in one["image"]["blobs"]:
            yield blob["digest"], start, blob["offset"], blob["size"]


def main(path, wanted):
    stem = os.path.basename(path)[: -len(".tar.gz")]
    with open(path, "rb") as file:
        size = int(read(file, 0, 512)[124:135], 8)
        document = json.loads(read(file, 512, 512 + size))
        for digest, archive, place, size in blobs(stem, document, 512 + up512(size)):
            if digest != wanted:
                continue
            if archive is None:
                content = read(file, place, place + size)
            else:
                framed = read(file, archive + offset(place), archive + offset(place + size))
                content = unframe(framed, place)
            found = "sha256:" + hashlib.sha256(content).hexdigest()
            if found != wanted:
                sys.exit(f"{wanted} has digest {found}")
    print(wanted)


main(*sys.argv[1:])
