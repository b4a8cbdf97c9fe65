/**
 * What the XMPP bridge claims, as data: each RFC and XEP, how much of it, what is left out, and the
 * test that shows it. docs/compliance.md is written from this (`OPENIM_WRITE_REFERENCE=1`), and
 * test/bridges/xmpp/compliance.test.ts holds page, tests and service discovery to it.
 */
export interface Claim {
  /** `RFC 6120`, `XEP-0030`. */
  readonly document: string
  readonly title: string
  /** Of a XEP: the version that was read. */
  readonly version?: string
  /** What is left out; absent: nothing is, of a server's part. */
  readonly without?: string
  /** Features of service discovery that stand for it; `PREFIX*` for all that begin so. */
  readonly features?: readonly string[]
  /** Test file below test/, and the name of the test as it is written there. */
  readonly shownBy: readonly [file: string, name: string]
}

const bridge = 'bridges/xmpp/xmpp-bridge.test.ts'
const roomVisits = 'bridges/xmpp/muc/coming-and-going.test.ts'
const roomPower = 'bridges/xmpp/muc/speech-and-power.test.ts'
const negotiation = 'bridges/xmpp/c2s/negotiation.test.ts'
const session = 'bridges/xmpp/c2s/client-session.test.ts'
const services = 'bridges/xmpp/xeps/services.test.ts'
const scenes = 'bridges/xmpp/rfc6121-scenes.test.ts'
const streams = 'bridges/xmpp/stream/streams.test.ts'
const inbound = 'bridges/xmpp/s2s/inbound-negotiation.test.ts'
const commands = 'bridges/xmpp/xeps/xep-0050-commands.test.ts'
const registration = 'bridges/xmpp/xeps/xep-0077-registration.test.ts'
const federation = 'interop/xmpp-federation.test.ts'

export const claims: readonly Claim[] = [
  {
    document: 'RFC 6120', title: 'XMPP Core',
    without: 'SASL DIGEST-MD5 and ANONYMOUS, see-other-host',
    shownBy: [negotiation, 'logs in by ${mechanism} as RFC 6120 says, binds, and takes stanzas'],
  },
  {
    document: 'RFC 6121', title: 'Instant Messaging and Presence',
    shownBy: ['bridges/xmpp/host/delivery-rules.test.ts',
      '${kind} to ${address} of an account with: ${situation} (${who})'],
  },
  {
    document: 'RFC 7395', title: 'XMPP over WebSocket',
    without: 'see-other-uri',
    shownBy: [streams, 'carries a stream over a WebSocket, an element a message'],
  },
  {
    document: 'RFC 7590', title: 'Use of TLS in XMPP',
    shownBy: [negotiation,
      'offers TLS alone in the clear, refuses every login there, and starts TLS at once'],
  },
  {
    document: 'RFC 7622', title: 'Address Format',
    without: 'held strictly for accounts of ours; of other servers what stringprep allowed is taken',
    shownBy: ['bridges/xmpp/jid.test.ts', 'refuses the bad examples of RFC 7622'],
  },
  {
    document: 'RFC 9266', title: 'Channel Bindings for TLS 1.3',
    shownBy: ['bridges/xmpp/c2s/channel-bindings.test.ts', 'binds ${mechanism} to TLS 1.3 by ${type}'],
  },
  {
    document: 'XEP-0030', title: 'Service Discovery', version: '2.5.0',
    features: ['http://jabber.org/protocol/disco#info', 'http://jabber.org/protocol/disco#items'],
    shownBy: [bridge, 'service discovery offers what is there'],
  },
  {
    document: 'XEP-0045', title: 'Multi-User Chat', version: '1.34.6',
    without: 'reserved nicks, membership requests and registration forms, unique room names',
    shownBy: [roomVisits,
      'makes a room for the first who comes (201), shut to others until it is configured'],
  },
  {
    document: 'XEP-0048', title: 'Bookmarks', version: '1.2',
    without: 'in private XML, where XEP-0402 shows them; not as a personal node',
    shownBy: [services,
      'shows one list of bookmarks to older and newer clients, and loses nothing of either'],
  },
  {
    document: 'XEP-0049', title: 'Private XML Storage', version: '1.2', features: ['jabber:iq:private'],
    shownBy: [services, 'keeps private elements, each by its name'],
  },
  {
    document: 'XEP-0050', title: 'Ad-Hoc Commands', version: '1.3.0',
    features: ['http://jabber.org/protocol/commands'],
    without: 'of the server; one form a command',
    shownBy: [commands, 'asks for a form, runs once, and forgets what is not finished'],
  },
  {
    document: 'XEP-0054', title: 'vcard-temp', version: '1.3.0', features: ['vcard-temp'],
    without: 'a vCard of the server itself',
    shownBy: [services,
      'makes one avatar of the vCard\\\'s and the published one, both ways, and says its hash'],
  },
  {
    document: 'XEP-0059', title: 'Result Set Management', version: '1.0',
    without: 'in archives alone; requests by index',
    shownBy: [bridge, 'the archive gives everything back, in pages and by partner, to its owner alone'],
  },
  {
    document: 'XEP-0060', title: 'Publish-Subscribe', version: '1.26',
    without: 'what XEP-0163 needs alone: no subscriptions by request, no affiliations',
    features: ['http://jabber.org/protocol/pubsub#*', 'http://jabber.org/protocol/pubsub'],
    shownBy: [scenes,
      'personal nodes are bounded in number, and are their owner\\\'s to write (row 45)'],
  },
  {
    document: 'XEP-0077', title: 'In-Band Registration', version: '2.4', features: ['jabber:iq:register'],
    without: 'by invite alone; the first form without data form; the owner\'s account is not removed',
    shownBy: [registration,
      'removes an account with all it kept and tells its contacts, but never that of the owner'],
  },
  {
    document: 'XEP-0092', title: 'Software Version', version: '1.1', features: ['jabber:iq:version'],
    without: 'the operating system is not told',
    shownBy: [services, 'tells its name and version, the time, and that it is there'],
  },
  {
    document: 'XEP-0106', title: 'JID Escaping', version: '1.1',
    shownBy: ['bridges/xmpp/jid.test.ts',
      'escapes what a local part cannot hold, and nothing else (XEP-0106)'],
  },
  {
    document: 'XEP-0115', title: 'Entity Capabilities', version: '1.6.0',
    shownBy: ['bridges/xmpp/xeps/xep-0115-caps.test.ts',
      'the complex example, with two languages and a form, has its hash'],
  },
  {
    document: 'XEP-0133', title: 'Service Administration', version: '1.3.1',
    without: 'lists and numbers of accounts and of those online, ending sessions, figures of one account and'
      + ' announcements are there; the other commands are not',
    shownBy: [commands, 'lets the owner alone see, end and tell'],
  },
  {
    document: 'XEP-0153', title: 'vCard-Based Avatars', version: '1.1',
    shownBy: [services,
      'makes one avatar of the vCard\\\'s and the published one, both ways, and says its hash'],
  },
  {
    document: 'XEP-0156', title: 'Discovering Alternative Connection Methods', version: '1.4.0',
    shownBy: [streams, 'says to pages of any origin where the WebSocket is (XEP-0156)'],
  },
  {
    document: 'XEP-0157', title: 'Contact Addresses', version: '1.1.1',
    without: 'abuse addresses alone can be set',
    shownBy: [services, 'says where abuse is told'],
  },
  {
    document: 'XEP-0160', title: 'Handling Offline Messages', version: '1.0.1', features: ['msgoffline'],
    shownBy: [bridge, 'what was written to somebody who is away waits, and is handed over once'],
  },
  {
    document: 'XEP-0163', title: 'Personal Eventing', version: '1.2.2',
    shownBy: [bridge,
      'OMEMO has what it needs: published lists and bundles, open to contacts, with events'],
  },
  {
    document: 'XEP-0178', title: 'SASL EXTERNAL with Certificates', version: '1.2',
    without: 'between servers alone; clients do not log in by certificate',
    shownBy: [inbound,
      'EXTERNAL is offered and accepted where the certificate proves the domain, and nowhere else'],
  },
  {
    document: 'XEP-0185', title: 'Dialback Key Generation', version: '1.0',
    shownBy: [inbound, 'keys are those of XEP-0185'],
  },
  {
    document: 'XEP-0191', title: 'Blocking Command', version: '1.3', features: ['urn:xmpp:blocking'],
    shownBy: [scenes,
      'who is blocked sees the account go, and nothing of it until they are let in again'],
  },
  {
    document: 'XEP-0198', title: 'Stream Management', version: '1.6.3', features: ['urn:xmpp:sm:3'],
    without: 'sessions do not outlive the process',
    shownBy: [session, 'loses and doubles nothing over a hundred cuts at any moment'],
  },
  {
    document: 'XEP-0199', title: 'XMPP Ping', version: '2.0.1', features: ['urn:xmpp:ping'],
    shownBy: [services, 'tells its name and version, the time, and that it is there'],
  },
  {
    document: 'XEP-0202', title: 'Entity Time', version: '2.0', features: ['urn:xmpp:time'],
    shownBy: [services, 'tells its name and version, the time, and that it is there'],
  },
  {
    document: 'XEP-0203', title: 'Delayed Delivery', version: '2.0',
    shownBy: [scenes, 'ids and delays that only we may give are taken off (row 33)'],
  },
  {
    document: 'XEP-0220', title: 'Server Dialback', version: '1.1.1',
    shownBy: [inbound, 'an answer about a key counts for the pair and the stream it was asked for'],
  },
  {
    document: 'XEP-0227', title: 'Portable Import/Export', version: '1.1',
    without: 'import; of an export, passwords and archives',
    shownBy: [services, 'exports what accounts keep, whatever they wrote, and overwrites nothing'],
  },
  {
    document: 'XEP-0280', title: 'Message Carbons', version: '1.0.1',
    features: ['urn:xmpp:carbons:2', 'urn:xmpp:carbons:rules:0'],
    shownBy: [bridge, 'a message reaches every device of both, once'],
  },
  {
    document: 'XEP-0313', title: 'Message Archive Management', version: '1.1.2',
    features: ['urn:xmpp:mam:2', 'urn:xmpp:mam:2#extended'],
    without: 'preferences: everything worth keeping is archived',
    shownBy: [bridge, 'the archive gives everything back, in pages and by partner, to its owner alone'],
  },
  {
    document: 'XEP-0352', title: 'Client State Indication', version: '1.0.0',
    shownBy: [session, 'holds presence and chat states of an inactive client until something matters'],
  },
  {
    document: 'XEP-0357', title: 'Push Notifications', version: '0.4.1', features: ['urn:xmpp:push:0'],
    shownBy: ['bridges/xmpp/xeps/xep-0357-push.test.ts',
      'wakes a client that is away, once, and says nothing of what came'],
  },
  {
    document: 'XEP-0359', title: 'Unique and Stable Stanza IDs', version: '0.7.0',
    features: ['urn:xmpp:sid:0'],
    shownBy: [scenes, 'ids and delays that only we may give are taken off (row 33)'],
  },
  {
    document: 'XEP-0363', title: 'HTTP File Upload', version: '1.1.0', shownBy: [
      'bridges/xmpp/upload/upload.test.ts', 'a file goes up, and comes down whole or in part',
    ],
  },
  {
    document: 'XEP-0368', title: 'SRV Records for XMPP over TLS', version: '1.1.0',
    shownBy: [federation,
      'messages go both ways with Prosody and ejabberd, over direct TLS and STARTTLS'],
  },
  {
    document: 'XEP-0377', title: 'Spam Reporting', version: '0.3.1', features: ['urn:xmpp:reporting:1'],
    without: 'kept for the owner of the node; not passed on to other servers',
    shownBy: [services, 'keeps what was reported along with a block, for the owner of the node'],
  },
  {
    document: 'XEP-0384', title: 'OMEMO Encryption', version: '0.9.1',
    without: 'a server\'s part: lists and bundles; what is encrypted passes through',
    shownBy: [bridge,
      'OMEMO has what it needs: published lists and bundles, open to contacts, with events'],
  },
  {
    document: 'XEP-0386', title: 'Bind 2', version: '1.1.0',
    shownBy: [negotiation, 'logs in, binds and counts in one message (SASL2), without a new stream'],
  },
  {
    document: 'XEP-0388', title: 'Extensible SASL Profile', version: '1.0.4',
    without: 'tasks (<continue/>)',
    shownBy: [negotiation, 'logs in, binds and counts in one message (SASL2), without a new stream'],
  },
  {
    document: 'XEP-0398', title: 'User Avatar to vCard-Based Avatars Conversion', version: '1.0.0',
    features: ['urn:xmpp:pep-vcard-conversion:0'],
    shownBy: [services,
      'makes one avatar of the vCard\\\'s and the published one, both ways, and says its hash'],
  },
  {
    document: 'XEP-0401', title: 'Ad-hoc Account Invitation Generation', version: '0.5.0',
    without: 'accounts alone, by the owner; no landing page, no contact with who invited',
    shownBy: [registration,
      'gives one account for an invite that two show at once, and no name but the invite\\\'s'],
  },
  {
    document: 'XEP-0402', title: 'PEP Native Bookmarks', version: '1.2.0',
    features: ['urn:xmpp:bookmarks:1#compat'],
    without: 'the older form in personal nodes (#compat-pep)',
    shownBy: [services,
      'shows one list of bookmarks to older and newer clients, and loses nothing of either'],
  },
  {
    document: 'XEP-0410', title: 'MUC Self-Ping', version: '1.1.0',
    shownBy: [roomVisits,
      'answers a ping to one\\\'s own nick, and says who is not in the room (XEP-0410)'],
  },
  {
    document: 'XEP-0421', title: 'Occupant identifiers for semi-anonymous MUCs', version: '1.0.1',
    shownBy: [roomVisits,
      'gives everybody an id of their own that nobody forges (XEP-0421)'],
  },
  {
    document: 'XEP-0424', title: 'Message Retraction', version: '0.4.0',
    without: 'tombstones in archives of rooms alone; elsewhere it passes through',
    shownBy: [roomPower,
      'takes back one\\\'s own message and nobody else\\\'s (XEP-0424)'],
  },
  {
    document: 'XEP-0425', title: 'Moderated Message Retraction', version: '0.3.0',
    shownBy: [roomPower,
      'takes back what somebody said, for moderators (${form}), and from the archive'],
  },
  {
    document: 'XEP-0440', title: 'SASL Channel-Binding Type Capability', version: '0.4.0',
    shownBy: [negotiation,
      'announces mechanisms, channel bindings, what goes inline, and limits inside of TLS'],
  },
  {
    document: 'XEP-0445', title: 'Pre-Authenticated In-Band Registration', version: '0.2.0',
    shownBy: [registration, 'makes an account for who shows an invite, once, and for nobody else'],
  },
  {
    document: 'XEP-0478', title: 'Stream Limits Advertisement', version: '0.2.0',
    without: 'between clients and us alone',
    shownBy: [negotiation,
      'announces mechanisms, channel bindings, what goes inline, and limits inside of TLS'],
  },
  {
    document: 'XEP-0484', title: 'Fast Authentication Streamlining Tokens', version: '0.2.0',
    shownBy: [negotiation,
      'gives a token for a mechanism with channel binding, and lets its client in by it alone'],
  },
]

/** What people look for and do not find. */
export const notBuilt: readonly (readonly [document: string, title: string])[] = [
  ['XEP-0065', 'SOCKS5 Bytestreams, as a proxy'],
  ['XEP-0114', 'Component protocol'],
  ['XEP-0124, XEP-0206', 'BOSH'],
  ['XEP-0215', 'External Service Discovery'],
  ['XEP-0288', 'Bidirectional server connections'],
]
