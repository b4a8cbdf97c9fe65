"""Runs the integration tests of a checkout of slixmpp against one server of this machine.

Settings on stdin: folder, domain, rooms, host, port, ca, accounts (name and password, two). Tells
on stdout, as one JSON object, by test: "ok", "skipped", or what was wrong.
"""
import contextlib
import json
import logging
import os
import socket
import sys
import unittest
from importlib import import_module
from pathlib import Path

settings = json.load(sys.stdin)
sys.path.insert(0, settings["folder"])
os.chdir(settings["folder"])
os.environ["SSL_CERT_FILE"] = settings["ca"]
os.environ["CI_MUC_SERVER"] = settings["rooms"]
for number, account in enumerate(settings["accounts"], 1):
    os.environ[f"CI_ACCOUNT{number}"] = f"{account['name']}@{settings['domain']}"
    os.environ[f"CI_ACCOUNT{number}_PASSWORD"] = account["password"]

# Names of the domain are this machine; files go over HTTP by name.
look_up = socket.getaddrinfo


def on_this_machine(host, *rest, **named):
    is_ours = isinstance(host, str) and (host == settings["domain"] or host.endswith("." + settings["domain"]))
    return look_up(settings["host"] if is_ours else host, *rest, **named)


socket.getaddrinfo = on_this_machine

with contextlib.redirect_stdout(sys.stderr):
    from slixmpp.clientxmpp import ClientXMPP

connect = ClientXMPP.connect


def connect_here(self, *_, **__):
    self.ca_certs = settings["ca"]
    return connect(self, (settings["host"], settings["port"]), disable_starttls=False)


ClientXMPP.connect = connect_here
logging.disable(100)


class Told(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.told = {}

    def tell(self, test, what):
        self.told[test.id() if isinstance(test, unittest.TestCase) else str(test)] = what

    def addSuccess(self, test):
        self.tell(test, "ok")

    def addSkip(self, test, reason):
        self.tell(test, "skipped")

    def addError(self, test, err):
        self.tell(test, f"{err[0].__name__}: {err[1]}"[:500])

    addFailure = addError


result = Told()
suites = [import_module(f"itests.{file.stem}").suite for file in sorted(Path("itests").glob("test_*.py"))]
unittest.TestSuite(suites).run(result)
json.dump(result.told, sys.stdout)
sys.stdout.flush()
os._exit(0)
