"""Logs in with slixmpp, cuts its own socket, resumes, and says on stdout what happened."""
import asyncio
import logging
import sys

import slixmpp

port, ca, jid, password = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.stdin.readline().strip()
logging.basicConfig(level=logging.ERROR)


class Client(slixmpp.ClientXMPP):
    def __init__(self):
        super().__init__(jid, password)
        self.ca_certs = ca
        self.register_plugin("xep_0198")
        self.register_plugin("xep_0199")
        self.register_plugin("xep_0280")
        self.starts = 0
        for event in ("session_start", "session_resumed", "failed_auth", "message"):
            self.add_event_handler(event, getattr(self, "on_" + event))

    def on_failed_auth(self, _):
        print("failed", flush=True)
        self.disconnect()

    async def on_session_start(self, _):
        mechanism = self["feature_mechanisms"].mech.name
        print("start", self.boundjid.full, mechanism, flush=True)
        await self["xep_0199"].ping()
        print("pong", flush=True)
        await asyncio.sleep(0.2)
        print("counting", "stream_management" in self.features or self["xep_0198"].enabled_out, flush=True)
        self.send_message(mto=jid, mbody="before")
        await asyncio.sleep(0.2)
        self.abort()
        self.connect(("127.0.0.1", port))

    def on_session_resumed(self, _):
        print("resumed", self.boundjid.full, flush=True)
        self.send_message(mto=jid, mbody="after")

    def on_message(self, message):
        print("message", message["body"], flush=True)
        if message["body"] == "after":
            self.disconnect()


client = Client()
client.connect(("127.0.0.1", port))
client.process(forever=False)
