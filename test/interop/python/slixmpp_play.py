"""Three accounts of one XMPP server, played with slixmpp: settings are JSON on standard input, what
came of each subject is JSON on standard output.

    ann/phone, ann/laptop, bob, cat (a stranger) log in ─► ann and bob subscribe to each other ─► chat,
    copies, receipts ─► personal nodes ─► the archive ─► ann/phone is cut off, misses, resumes
"""
import asyncio
import json
import sys
from pathlib import Path
from xml.etree import ElementTree

from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError

PATIENCE = 10
OMEMO = "eu.siacs.conversations.axolotl"
PUBLISH_OPTIONS = "http://jabber.org/protocol/pubsub#publish-options"
PLUGINS = (4, 30, 45, 49, 54, 60, 84, 92, 115, 118, 163, 184, 191, 198, 199, 280, 308, 313)


class Person(ClientXMPP):
    def __init__(self, settings, name, resource):
        super().__init__(f"{name}@{settings['domain']}/{resource}", settings["password"])
        self.place = settings["host"], settings["port"]
        self.ca_certs = Path(settings["ca"])
        self.came, self.sent_copies, self.receipts, self.corrected = [], [], [], []
        self.pushed = []  # nodes whose items came without asking
        self.online = set()
        for number in PLUGINS:
            self.register_plugin(f"xep_{number:04}")
        self["xep_0184"].auto_ack = True
        self["xep_0163"].add_interest(f"{OMEMO}.devicelist")
        self.add_event_handler("message", self.on_message)
        self.add_event_handler("message_correction", lambda m: self.corrected.append(m["replace"]["id"]))
        self.add_event_handler("carbon_sent", lambda m: self.sent_copies.append(m["carbon_sent"]["body"]))
        self.add_event_handler("receipt_received", lambda m: self.receipts.append(m["receipt"]))
        self.add_event_handler("got_online", lambda p: self.online.add(p["from"].bare))
        self.add_event_handler("got_offline", lambda p: self.online.discard(p["from"].bare))
        self.add_event_handler("pubsub_publish",
                               lambda m: self.pushed.append(m["pubsub_event"]["items"]["node"]))

    def on_message(self, message):
        if message["body"] and message["type"] != "error":
            self.came.append(message["body"])

    async def log_in(self):
        started = asyncio.ensure_future(self.wait_until("session_start", timeout=PATIENCE))
        self.connect(self.place)
        await started
        await self.get_roster(timeout=PATIENCE)
        self.send_presence()

    def say(self, to, text, *, replaces=None, wants_receipt=False):
        message = self.make_message(mto=to, mbody=text, mtype="chat")
        if replaces is not None:
            message["replace"]["id"] = replaces
        if wants_receipt:
            message["request_receipt"] = True
        message.send()
        return message["id"]

    async def leave(self):
        self.disconnect()
        await asyncio.wait_for(self.disconnected, PATIENCE)


async def until(is_so, what):
    try:
        async with asyncio.timeout(PATIENCE):
            while not is_so():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what}") from None


async def refused(asking):
    try:
        await asking
        return "none"
    except IqError as error:
        return error.condition


async def meet(ann, bob):
    """slixmpp says yes to who asks, and asks back."""
    ann.send_presence_subscription(bob.boundjid.bare)
    for one, other in ((ann, bob), (bob, ann)):
        jid = other.boundjid.bare
        await until(lambda: one.client_roster[jid]["subscription"] == "both", "a subscription both ways")
        await until(lambda: jid in one.online, "the presence of the other")
    return ann.client_roster[bob.boundjid.bare]["subscription"]


async def chat(ann, laptop, bob):
    for one in (ann, laptop, bob):
        await one["xep_0280"].enable()
    said = ann.say(bob.boundjid.bare, "hello Bob", wants_receipt=True)
    await until(lambda: said in ann.receipts, "a receipt")
    await until(lambda: laptop.sent_copies == ["hello Bob"], "a copy of what was sent elsewhere")
    bob.say(ann.boundjid.bare, "hello Ann")
    for one in (ann, laptop):
        await until(lambda: "hello Ann" in one.came, "an answer")
    ann.say(bob.boundjid.bare, "hello, Bob", replaces=said)
    await until(lambda: said in bob.corrected, "a correction")
    return {"ann": [*ann.came], "laptop": [*laptop.came], "bob": [*bob.came]}


async def omemo(ann, bob, stranger):
    """What OMEMO needs of a server: two open nodes, pushed to contacts, fetched by anybody."""
    open_to_all = ann["xep_0004"].make_form(ftype="submit")
    open_to_all.add_field(var="FORM_TYPE", ftype="hidden", value=PUBLISH_OPTIONS)
    open_to_all.add_field(var="pubsub#access_model", value="open")
    devices = ElementTree.Element(f"{{{OMEMO}}}list")
    ElementTree.SubElement(devices, f"{{{OMEMO}}}device", id="31337")
    bundle = ElementTree.Element(f"{{{OMEMO}}}bundle")
    ElementTree.SubElement(bundle, f"{{{OMEMO}}}identityKey").text = "QUJD"
    for node, payload in (("devicelist", devices), ("bundles:31337", bundle)):
        await ann["xep_0060"].publish(ann.boundjid.bare, f"{OMEMO}.{node}", id="current",
                                      payload=payload, options=open_to_all)
    await until(lambda: f"{OMEMO}.devicelist" in bob.pushed, "a list of devices")
    fetched = []
    for one in (bob, stranger):
        answer = await one["xep_0060"].get_item(ann.boundjid.bare, f"{OMEMO}.bundles:31337", "current")
        payload = answer["pubsub"]["items"]["item"]["payload"]
        fetched.append(payload.find(f"{{{OMEMO}}}identityKey").text)
    return fetched


async def archive(ann, bob):
    with_bob = ann["xep_0313"].iterate(with_jid=bob.boundjid.bare, rsm={"max": 2})
    found = [result["mam_result"]["forwarded"]["stanza"] async for result in with_bob]
    return [message["body"] for message in found if message["body"]]


async def resume(ann, bob):
    ann.end_session_on_disconnect = False
    before = ann["xep_0198"].sm_id
    gone = asyncio.ensure_future(ann.wait_until("disconnected", timeout=PATIENCE))
    ann.transport.abort()
    await gone
    missed = [f"missed {number}" for number in range(20)]
    for text in missed:
        bob.say(ann.boundjid.bare, text)
    back = asyncio.ensure_future(ann.wait_until("session_resumed", timeout=PATIENCE))
    ann.connect(ann.place)
    await back
    await until(lambda: missed[-1] in ann.came, "what was missed")
    ann.say(bob.boundjid.bare, "back again")
    await until(lambda: "back again" in bob.came, "a message after it")
    return {"same": ann["xep_0198"].sm_id == before,
            "inOrderOnce": [text for text in ann.came if text.startswith("missed")] == missed}


async def services(ann, bob):
    """Smaller subjects, one answer each."""
    own, domain = ann.boundjid.bare, ann.boundjid.domain
    info = await ann["xep_0030"].get_info(jid=domain)
    version = await ann["xep_0092"].get_version(domain)
    await ann["xep_0199"].ping(domain)
    card = ann["xep_0054"].make_vcard()
    card["FN"] = "Ann"
    await ann["xep_0054"].publish_vcard(vcard=card)
    seen = await bob["xep_0054"].get_vcard(own)
    await ann["xep_0191"].block(bob.boundjid.bare)
    blocked = await ann["xep_0191"].get_blocked()
    refusal = await refused(ann["xep_0199"].send_ping(bob.boundjid.full, timeout=PATIENCE))
    await ann["xep_0191"].unblock(bob.boundjid.bare)
    await ann["xep_0118"].publish_tune(artist="nobody")
    tune = await bob["xep_0060"].get_items(own, "http://jabber.org/protocol/tune")
    return {
        "identity": sorted([category, kind] for category, kind, *_ in info["disco_info"]["identities"]),
        "software": version["software_version"]["name"],
        "vcard": seen["vcard_temp"]["FN"],
        "blocked": [str(jid) for jid in blocked["blocklist"]["items"]],
        "toBlocked": refusal,
        "tunes": len(list(tune["pubsub"]["items"])),
        "archiveOfOther": await refused(ann["xep_0313"].get_fields(jid=bob.boundjid.bare)),
    }


async def play(settings):
    ann, laptop = (Person(settings, settings["ann"], resource) for resource in ("phone", "laptop"))
    bob, stranger = (Person(settings, settings[name], "phone") for name in ("bob", "stranger"))
    everybody = ann, laptop, bob, stranger
    for one in everybody:
        await one.log_in()
    told = {
        "login": [ann["feature_mechanisms"].mech.name, ann.transport.get_extra_info("cipher")[1]],
        "subscription": await meet(ann, bob),
        "chat": await chat(ann, laptop, bob),
        "omemo": await omemo(ann, bob, stranger),
        "services": await services(ann, bob),
        "archive": await archive(ann, bob),
        "resume": await resume(ann, bob),
    }
    for one in everybody:
        await one.leave()
    return told


async def wrong_password(settings):
    one = Person({**settings, "password": "not this"}, settings["ann"], "phone")
    failed = asyncio.ensure_future(one.wait_until("failed_all_auth", timeout=PATIENCE))
    one.connect(one.place)
    await failed
    return {"refused": True}


given = json.load(sys.stdin)
scene = {"play": play, "wrong-password": wrong_password}[sys.argv[1]]
print(json.dumps(asyncio.get_event_loop().run_until_complete(scene(given))))
