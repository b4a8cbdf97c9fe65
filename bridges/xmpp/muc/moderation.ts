/**
 * Message Moderation (XEP-0425 0.3, and the older form of 0.2 that clients of 2022 speak): a moderator
 * takes back what somebody said. Everybody is told, and the archive keeps a tombstone.
 */
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { mucNs } from './names.ts'
import { sender } from './room.ts'
import type { Turn } from './room.ts'
import { occupantIdOf, tellMessage } from './telling.ts'

export interface ModerationRequest {
  /** Of the room's archive. */
  readonly id: string
  readonly reason: string | undefined
}

/** `undefined`: it is no such request. */
export function moderationOf(payload: XmlElement): ModerationRequest | undefined {
  const older = payload.is('apply-to', mucNs.fasten) ? payload.child('moderate', mucNs.moderate0) : undefined
  const moderate = payload.is('moderate', mucNs.moderate) ? payload : older
  const { id } = payload.attrs
  if (moderate === undefined || id === undefined) return undefined
  const retract = older === undefined ? mucNs.retract : mucNs.retract0
  if (moderate.child('retract', retract) === undefined) return undefined
  return { id, reason: moderate.childText('reason')?.slice(0, xmppLimits.roomNameBytesMax) }
}

/** The id of the archived message that a stanza wants taken back. */
export function namedBy(stanza: XmlElement): string | undefined {
  if (stanza.name === 'message') return stanza.child('retract', mucNs.retract)?.attrs.id
  const [payload] = stanza.elements()
  return payload === undefined ? undefined : moderationOf(payload)?.id
}

/** @throws StanzaError `forbidden`, `item-not-found` */
export function moderate(turn: Turn, { id, reason }: ModerationRequest): void {
  const { room, named, out, from } = turn
  const occupant = sender(turn)
  if (occupant.role !== 'moderator') throw new StanzaError('forbidden', 'moderators alone take back')
  if (named === undefined || named.child('retracted', mucNs.retract) !== undefined) {
    throw new StanzaError('item-not-found', 'the archive has no such message')
  }
  const by = room.jidOf(occupant).toString()
  const why = (space: string): XmlElement | undefined =>
    reason === undefined || reason === '' ? undefined : el(space, 'reason', {}, reason)
  const peer = Jid.parse(named.attrs.from ?? '') ?? room.jid
  out.archived.push({ id, peer, message: tombstone(named, { id, by, reason }) })
  room.forget(id)
  const message = el(ns.client, 'message', { type: 'groupchat', from: room.jid.toString() },
    el(mucNs.retract, 'retract', { id },
      el(mucNs.moderate, 'moderated', { by }, occupantIdOf(room, from.bare)), why(mucNs.retract)),
    el(mucNs.fasten, 'apply-to', { id },
      el(mucNs.moderate0, 'moderated', { by },
        el(mucNs.retract0, 'retract'), why(mucNs.moderate0), occupantIdOf(room, from.bare))))
  const ownId = turn.nextId()
  if (room.record.config.isArchiving) out.archived.push({ id: ownId, peer: room.jid, message })
  tellMessage(turn, message.plus(el(ns.stanzaIds, 'stanza-id', { by: room.jid.toString(), id: ownId })))
}

/** What is left of a message: who, and that it was taken back. */
export function tombstone(
  message: XmlElement,
  { id, by, reason }: { readonly id: string, readonly by?: string, readonly reason?: string | undefined },
): XmlElement {
  const occupantId = message.child('occupant-id', mucNs.occupantId)
  const moderated = by === undefined ? undefined : el(mucNs.moderate, 'moderated', { by })
  const why = reason === undefined || reason === '' ? undefined : el(mucNs.retract, 'reason', {}, reason)
  return message.withChildren([occupantId, el(mucNs.retract, 'retracted', { id }, moderated, why)])
}
