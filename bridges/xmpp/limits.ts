/**
 * Every bound of the XMPP bridge, with unit and reason. What an operator may change is a setting
 * (docs/operate.md); the values here are what it starts from.
 */
export const xmppLimits = {
  /** Of one account's roster: entries. Prosody and ejabberd have none; a person has hundreds. */
  rosterItemsMax: 2_000,
  /** Of one roster entry. */
  rosterGroupsMax: 64,
  /** Characters of a contact's name or of a group's. */
  rosterNameCharactersMax: 256,
  /** Bound resources of one account at a time: a family member has a handful of devices. */
  resourcesMax: 32,
  /** People that one session sent directed presence to, so that they hear of its end (RFC 6121 §4.6). */
  directedPresencesMax: 500,
  /** Subscription requests from strangers that wait for an answer, per account. */
  pendingSubscriptionsMax: 200,
  /** Messages held for an account that has no resource, and their bytes; then the sender is told. */
  offlineMessagesMax: 10_000,
  /** Of these, messages from one sender who is not in the roster: a flood fills no mailbox. */
  offlineFromStrangerMax: 50,
  /** Entries of one account's block list. */
  blockedMax: 5_000,
  /** Characters of a private XML record (XEP-0049) and of a vCard, with a picture in it. */
  privateXmlBytesMax: 256 * 1024,
  vcardBytesMax: 256 * 1024,
  /** Records of private XML of one account. */
  privateXmlRecordsMax: 100,
} as const
