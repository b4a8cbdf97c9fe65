/**
 * How a room tells its occupants of each other: presence with roles, affiliations and status codes
 * (XEP-0045 §7.2, §9, §15.6), and messages to all of them.
 */
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { mucNs } from './names.ts'
import type { Affiliation } from './record.ts'
import type { Occupant, Role, Room, Turn } from './room.ts'

/** Why and how a presence came to be. */
export interface PresenceDetails {
  readonly codes?: readonly number[]
  readonly reason?: string | undefined
  /** Nick of who did it. */
  readonly actor?: string | undefined
  /** The nick that they have from now on. */
  readonly newNick?: string
  readonly affiliation?: Affiliation
  readonly role?: Role
  readonly destroy?: XmlElement
}

/** What clients may not say in the room's name: all instances go. */
export function sanitised(room: Room, stanza: XmlElement): XmlElement {
  return stanza.without((child) =>
    child.is('x', mucNs.muc) || child.is('x', mucNs.user) || child.is('occupant-id', mucNs.occupantId)
    || child.is('stanza-id', ns.stanzaIds) && child.attrs.by === room.jid.toString()
    || child.is('moderated', mucNs.moderate0)
    || child.is('delay', ns.delay) && child.attrs.from === room.jid.toString())
}

export function occupantIdOf(room: Room, bare: string): XmlElement {
  return el(mucNs.occupantId, 'occupant-id', { id: room.occupantId(bare) })
}

export function statusOf(code: number): XmlElement {
  return el(mucNs.user, 'status', { code: String(code) })
}

/** The presence of an occupant as one session sees it. */
export function seenPresence(
  room: Room,
  { occupant, to, viewer, shown }: {
    readonly occupant: Occupant, readonly to: string, readonly viewer: Occupant,
    /** What they sent, or `unavailable` of them. */
    readonly shown: XmlElement,
  },
  details: PresenceDetails = {},
): XmlElement {
  const isSelf = viewer === occupant
  const seesAddress = isSelf || room.record.config.whois === 'anyone' || viewer.role === 'moderator'
  const [session] = [...occupant.sessions.keys()].slice(-1)
  const codes = [...details.codes ?? []]
  if (isSelf) codes.push(110)
  const item = el(mucNs.user, 'item', {
    affiliation: details.affiliation ?? room.affiliation(occupant.bare),
    role: details.role ?? occupant.role,
    jid: seesAddress ? isSelf ? to : session : undefined,
    nick: details.newNick,
  },
  details.actor === undefined ? undefined : el(mucNs.user, 'actor', { nick: details.actor }),
  details.reason === undefined || details.reason === '' ? undefined
    : el(mucNs.user, 'reason', {}, details.reason))
  return shown
    .withAttrs({ from: room.jidOf(occupant).toString(), to })
    .plus(occupantIdOf(room, occupant.bare),
      el(mucNs.user, 'x', {}, item, details.destroy, ...codes.map(statusOf)))
}

export function lastPresence({ sessions }: Occupant): XmlElement {
  return [...sessions.values()].at(-1)!
}

/** To every session of everybody; theirs last (§7.2.2: the end of the list). */
export function tellPresence(
  { room, out }: Pick<Turn, 'room' | 'out'>, occupant: Occupant,
  { shown, ...details }: PresenceDetails & { readonly shown: XmlElement },
): void {
  const others = room.occupants.filter((one) => one !== occupant)
  for (const viewer of [...others, occupant]) {
    for (const to of viewer.sessions.keys()) {
      out.stanzas.push(seenPresence(room, { occupant, to, viewer, shown }, details))
    }
  }
}

export const gone: XmlElement = el(ns.client, 'presence', { type: 'unavailable' })

/** They are put out: told with everybody else, then gone. */
export function putOut(turn: Pick<Turn, 'room' | 'out'>, occupant: Occupant, details: PresenceDetails): void {
  tellPresence(turn, occupant, { ...details, shown: gone, role: 'none' })
  turn.room.remove(occupant)
  ifEmpty(turn)
}

/** A temporary room ends with its last occupant, and one that was never configured. */
export function ifEmpty({ room, out }: Pick<Turn, 'room' | 'out'>): void {
  const { record } = room
  if (room.size === 0 && (record.isLocked || !record.config.isPersistent)) out.isDestroyed = true
}

/** A message of the room to every session; those of one role, if it is said. */
export function tellMessage(
  { room, out }: Pick<Turn, 'room' | 'out'>, message: XmlElement, role?: Role,
): void {
  for (const occupant of room.occupants) {
    if (role !== undefined && occupant.role !== role) continue
    for (const to of occupant.sessions.keys()) out.stanzas.push(message.withAttrs({ to }))
  }
}

/** Status codes to everybody by message (§10.2.1). */
export function tellCodes(turn: Pick<Turn, 'room' | 'out'>, codes: readonly number[]): void {
  const from = turn.room.jid.toString()
  tellMessage(turn, el(ns.client, 'message', { type: 'groupchat', from },
    el(mucNs.user, 'x', {}, ...codes.map(statusOf))))
}
