/**
 * Message carbons (XEP-0280): what one device sends or receives, the others see too. Pure: which
 * messages, and the wrapper.
 */
import type { Jid } from '../jid.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'

const chatStates = 'http://jabber.org/protocol/chatstates'
const receipts = 'urn:xmpp:receipts'
const markers = 'urn:xmpp:chat-markers:0'

/** XEP-0280 §6.1, and what its security considerations say: a wrapper is never wrapped again. */
export function isForCarbons(message: XmlElement): boolean {
  if (message.childOf(ns.carbons) !== undefined) return false
  if (message.child('no-copy', ns.hints) !== undefined) return false
  // What a room sends comes to each device by itself; a private message of one does not.
  const { type } = message.attrs
  if (type === 'groupchat' || type === 'headline') return false
  if (type === 'chat') return true
  if (type === 'error') return message.attrs.id !== undefined
  return message.child('body') !== undefined
    || message.child('encrypted', 'eu.siacs.conversations.axolotl') !== undefined
    || [chatStates, receipts, markers].some((one) => message.childOf(one) !== undefined)
    || message.child('invite', ns.mucUser) !== undefined
    || message.childOf('jabber:x:conference') !== undefined
}

/** `account` is bare: receivers trust a carbon from nobody else (CVE-2017-5589). */
export function carbonOf(
  direction: 'sent' | 'received',
  message: XmlElement,
  { account, to }: { readonly account: Jid, readonly to: Jid },
): XmlElement {
  const attrs = { from: account.bare, to: to.toString(), type: message.attrs.type }
  return el(ns.client, 'message', attrs,
    el(ns.carbons, direction, {}, el(ns.forward, 'forwarded', {}, message)))
}

/** The `<private/>` mark is the server's to take away (XEP-0280 §8). */
export function isPrivate(message: XmlElement): boolean {
  return message.child('private', ns.carbons) !== undefined
}

export function withoutPrivate(message: XmlElement): XmlElement {
  return message.without((child) => child.is('private', ns.carbons))
}
