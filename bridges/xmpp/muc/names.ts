/** Namespaces and feature names of rooms (XEP-0045 and what goes with it). */
export const mucNs = {
  muc: 'http://jabber.org/protocol/muc',
  user: 'http://jabber.org/protocol/muc#user',
  admin: 'http://jabber.org/protocol/muc#admin',
  owner: 'http://jabber.org/protocol/muc#owner',
  request: 'http://jabber.org/protocol/muc#request',
  roomConfig: 'http://jabber.org/protocol/muc#roomconfig',
  roomInfo: 'http://jabber.org/protocol/muc#roominfo',
  /** XEP-0410 §3.3: the room answers a ping to one's own nick itself. */
  selfPing: 'http://jabber.org/protocol/muc#self-ping-optimization',
  /** The room keeps the id that a sender gave (XEP-0045 §17.5). */
  stableId: 'http://jabber.org/protocol/muc#stable_id',
  conference: 'jabber:x:conference',
  occupantId: 'urn:xmpp:occupant-id:0',
  ping: 'urn:xmpp:ping',
  vcard: 'vcard-temp',
  fasten: 'urn:xmpp:fasten:0',
  retract0: 'urn:xmpp:message-retract:0',
  retract: 'urn:xmpp:message-retract:1',
  moderate0: 'urn:xmpp:message-moderate:0',
  moderate: 'urn:xmpp:message-moderate:1',
} as const
