#!/usr/bin/env python3
"""A small openIM device in another language, written from docs/protocol.md and the RFCs it names.

    openim_wire.py check FILE…    compares itself with frozen vectors (test/vectors/)
    openim_wire.py talk           talks with a node that runs; settings as JSON on stdin (no secrets in argv)

Standard library and python3-cryptography, nothing else. Its parts: codec.py, channel.py, udp_packets.py,
udp.py, session.py. It keeps nothing on disk and is one thread, so nothing happens outside of `receive`: a
test of the document and a beginning for other clients, not a product. The result is one JSON line on stdout.
"""
import json
import sys

from checks import check_vectors
from talk import talk

USAGE = "usage: openim_wire.py check FILE… | talk <settings.json"


def main(args):
    if len(args) > 1 and args[0] == "check":
        result = check_vectors(args[1:])
    elif args == ["talk"]:
        result = talk(json.load(sys.stdin))
    else:
        print(USAGE, file=sys.stderr)
        return 2
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
