/**
 * Coming in, leaving, another nick, another status (XEP-0045 §7.1, §7.2, §7.6, §7.7, §7.14).
 *
 * What somebody who comes in is sent, in this order: everybody who is there, themselves (110), what
 * was said, the subject. A session that says `join` again is sent it all again: it has lost it.
 */
import { xmppLimits } from '../limits.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { mucNs } from './names.ts'
import { prepareNick } from './nickname.ts'
import { rank } from './record.ts'
import type { Affiliation } from './record.ts'
import type { HistoryEntry, Occupant, Room, Turn } from './room.ts'
import { sizeOf } from './size.ts'
import { gone, ifEmpty, lastPresence, sanitised, seenPresence, tellPresence } from './telling.ts'

/** Whether this presence is told to everybody beyond what a status is: it is counted (flood). */
export function isMove(
  room: Room, stanza: XmlElement, { from, nick }: { readonly from: string, readonly nick: string },
): boolean {
  if (stanza.attrs.type !== undefined) return false
  const known = room.occupants.find(({ sessions }) => sessions.has(from))
  return known === undefined || known.nick !== nick || stanza.child('x', mucNs.muc) !== undefined
}

/** @throws StanzaError */
export function onPresence(turn: Turn): void {
  const { room, stanza, from, to } = turn
  const { type } = stanza.attrs
  const occupant = room.bySession(from)
  if (type === 'error') {
    if (occupant !== undefined) drop(turn, occupant)
  } else if (type === 'unavailable') {
    if (occupant !== undefined) leave(turn, occupant)
  } else if (type === undefined) {
    if (to.resource === '') throw new StanzaError('jid-malformed', 'a nick is needed to come in')
    if (sizeOf(stanza) > xmppLimits.roomPresenceCharactersMax) {
      throw new StanzaError('policy-violation', 'this presence is too large for a room')
    }
    const nick = prepareNick(to.resource)
    if (nick === undefined) {
      throw new StanzaError('not-acceptable', 'nobody could read this nick, or it is too long')
    }
    if (occupant === undefined || stanza.child('x', mucNs.muc) !== undefined && occupant.nick === nick) {
      join(turn, nick, occupant)
    } else if (occupant.nick === nick) update(turn, occupant)
    else rename(turn, occupant, nick)
  }
}

// ── Coming in ───────────────────────────────────────────────────────────────────────────────

function join(turn: Turn, nick: string, again: Occupant | undefined): void {
  const { room, stanza, from, to, out } = turn
  const request = stanza.child('x', mucNs.muc)
  if (request === undefined) {
    throw new StanzaError('not-acceptable', 'you are not in the room: come in anew')
  }
  const affiliation = room.affiliation(from.bare)
  const holder = again ?? room.byNick(nick)
  assertMayJoin(room, { affiliation, password: request.childText('password'), holder, bare: from.bare })
  const occupant = holder ?? {
    nick, bare: from.bare, role: room.defaultRole(affiliation), sessions: new Map<string, XmlElement>(),
  }
  const shown = shownOf(room, stanza)
  const me = from.toString()
  for (const other of room.occupants) {
    if (other === occupant) continue
    out.stanzas.push(
      seenPresence(room, { occupant: other, to: me, viewer: occupant, shown: lastPresence(other) }),
    )
  }
  room.add(occupant, from, shown)
  const codes = [
    ...room.record.config.whois === 'anyone' ? [100] : [],
    ...room.record.config.isArchiving ? [170] : [],
    ...room.record.isLocked ? [201] : [],
    ...occupant.nick !== to.resource ? [210] : [],
  ]
  for (const viewer of room.occupants) {
    for (const session of viewer.sessions.keys()) {
      if (session === me) continue
      out.stanzas.push(seenPresence(room, { occupant, to: session, viewer, shown }))
    }
  }
  out.stanzas.push(seenPresence(room, { occupant, to: me, viewer: occupant, shown }, { codes }))
  for (const { message, atMs } of asked(turn, request.child('history'))) {
    const delay = el(ns.delay, 'delay', { from: room.jid.toString(), stamp: new Date(atMs).toISOString() })
    out.stanzas.push(message.plus(delay).withAttrs({ to: me }))
  }
  out.stanzas.push(subjectOf(room).withAttrs({ to: me }))
}

function assertMayJoin(
  { record, size, jid, occupants }: Room,
  { affiliation, password, holder, bare }: {
    readonly affiliation: Affiliation, readonly password: string | undefined,
    readonly holder: Occupant | undefined, readonly bare: string,
  },
): void {
  const { config } = record
  if (affiliation === 'outcast') throw new StanzaError('forbidden', 'you are banned from this room')
  if (record.isLocked && affiliation !== 'owner') {
    throw new StanzaError('item-not-found', 'the room is being set up')
  }
  if (config.isMembersOnly && rank(affiliation) < rank('member')) {
    throw new StanzaError('registration-required', `${jid.bare} is for its members`)
  }
  const isOwner = affiliation === 'owner'
  if (config.password !== '' && password !== config.password && !isOwner) {
    throw new StanzaError('not-authorized', 'the room has a password, and this is not it')
  }
  if (holder !== undefined && holder.bare !== bare) {
    throw new StanzaError('conflict', 'somebody else has this nick, or one that looks like it')
  }
  if (holder !== undefined || rank(affiliation) >= rank('admin')) return
  const isFull = size >= config.occupantsMax || occupants.length >= xmppLimits.roomOccupantsMax
  if (isFull) throw new StanzaError('service-unavailable', { text: 'the room is full', type: 'wait' })
}

/** What was said, as much as is wanted (§7.2.14). */
function asked({ room, nowMs }: Turn, wanted: XmlElement | undefined): readonly HistoryEntry[] {
  const bound = (name: string): number => {
    const given = wanted?.attrs[name] ?? ''
    return /^\d{1,9}$/.test(given) ? Number(given) : Infinity
  }
  const since = Date.parse(wanted?.attrs.since ?? '')
  const fromMs = Math.max(nowMs - bound('seconds') * 1_000, Number.isNaN(since) ? -Infinity : since)
  const most = Math.min(bound('maxstanzas'), room.record.config.historyMax)
  let characters = bound('maxchars')
  const found: HistoryEntry[] = []
  for (const entry of [...room.history].reverse()) {
    characters -= (entry.message.childText('body') ?? '').length
    if (found.length >= most || characters < 0 || entry.atMs < fromMs) break
    found.push(entry)
  }
  return found.reverse()
}

/** Sent to who comes in even where there is none (§7.2.15). */
export function subjectOf({ jid, record: { subject } }: Room): XmlElement {
  return el(ns.client, 'message', { type: 'groupchat', from: subject?.by ?? jid.toString() },
    el(ns.client, 'subject', {}, subject?.text ?? ''),
    subject === undefined ? undefined
      : el(ns.delay, 'delay', { from: jid.toString(), stamp: new Date(subject.atMs).toISOString() }))
}

// ── Being there ─────────────────────────────────────────────────────────────────────────────

function shownOf(room: Room, stanza: XmlElement): XmlElement {
  return sanitised(room, stanza).withAttrs({ from: undefined, to: undefined, id: undefined })
}

function update(turn: Turn, occupant: Occupant): void {
  const { room, stanza, from } = turn
  const shown = shownOf(room, stanza)
  room.add(occupant, from, shown)
  tellPresence(turn, occupant, { shown })
}

function rename(turn: Turn, occupant: Occupant, nick: string): void {
  const { room, stanza, from, to } = turn
  const holder = room.byNick(nick)
  if (holder !== undefined && holder !== occupant) {
    throw new StanzaError('conflict', 'somebody else has this nick, or one that looks like it')
  }
  if (occupant.role === 'visitor') throw new StanzaError('not-acceptable', 'without voice a nick stays')
  const shown = shownOf(room, stanza)
  tellPresence(turn, occupant, { shown: gone, codes: [303], newNick: nick })
  room.rename(occupant, nick)
  room.add(occupant, from, shown)
  tellPresence(turn, occupant, { shown, codes: nick !== to.resource ? [210] : [] })
}

/** One session of theirs; the others stay. */
function leave(turn: Turn, occupant: Occupant): void {
  const { room, stanza, from, out } = turn
  const shown = shownOf(room, stanza)
  const me = from.toString()
  if (occupant.sessions.size === 1) tellPresence(turn, occupant, { shown, role: 'none' })
  else {
    const seen = { occupant, to: me, viewer: occupant, shown }
    out.stanzas.push(seenPresence(room, seen, { role: 'none' }))
  }
  const isLast = room.removeSession(occupant, me)
  if (!isLast) tellPresence(turn, occupant, { shown: lastPresence(occupant) })
  ifEmpty(turn)
}

/** What was sent to one of their sessions came back: it is not there any more (status 333). */
export function drop(turn: Turn, occupant: Occupant): void {
  const { room, from, out } = turn
  const me = from.toString()
  const codes = [333]
  const reason = 'messages to this device came back'
  if (occupant.sessions.size === 1) {
    tellPresence(turn, occupant, { shown: gone, role: 'none', codes, reason })
  } else {
    const seen = { occupant, to: me, viewer: occupant, shown: gone }
    out.stanzas.push(seenPresence(room, seen, { role: 'none', codes, reason }))
  }
  room.removeSession(occupant, me)
  ifEmpty(turn)
}
