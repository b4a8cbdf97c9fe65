/**
 * Which messages belong in the archive of an account (XEP-0313 §5.1.1, XEP-0334): those that a person
 * would miss on another device.
 */
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'

/** What is worth keeping without any body. */
const kept: readonly string[] = [
  'urn:xmpp:receipts', 'urn:xmpp:chat-markers:0', 'urn:xmpp:message-correct:0', 'urn:xmpp:reactions:0',
  'urn:xmpp:message-retract:1', 'urn:xmpp:fasten:0', 'jabber:x:conference', 'urn:xmpp:jingle-message:0',
  'urn:xmpp:eme:0', 'eu.siacs.conversations.axolotl', 'urn:xmpp:omemo:2', 'urn:xmpp:openpgp:0',
]

export function isArchivable(message: XmlElement): boolean {
  const { type } = message.attrs
  if (type === 'error' || type === 'groupchat') return false
  if (message.child('no-permanent-store', ns.hints) !== undefined) return false
  if (message.child('no-store', ns.hints) !== undefined) return false
  if (message.child('store', ns.hints) !== undefined) return true
  if (type === 'headline') return false
  if (message.child('body') !== undefined) return true
  const isInvite = message.child('x', ns.mucUser)?.child('invite') !== undefined
  return isInvite || kept.some((one) => message.childOf(one) !== undefined)
}
