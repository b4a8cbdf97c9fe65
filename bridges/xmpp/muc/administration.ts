/**
 * Roles and affiliations (XEP-0045 §5, §8, §9): kick, voice, moderators; ban, members, admins, owners.
 *
 * | who | may give | to whom |
 * |---|---|---|
 * | moderator | `none` (kick), `visitor`, `participant` | an affiliation not above their own |
 * | admin | `moderator`; `member`, `outcast`, `none` | below admin |
 * | owner | everything | everybody; one owner stays |
 */
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { mucNs } from './names.ts'
import { affiliations, rank } from './record.ts'
import type { Affiliation } from './record.ts'
import type { Occupant, Role, Room, Turn } from './room.ts'
import { lastPresence, putOut, tellPresence } from './telling.ts'

const roles = ['none', 'visitor', 'participant', 'moderator'] as const

/** @throws StanzaError */
export function onAdmin(turn: Turn, query: XmlElement): XmlElement | undefined {
  const items = query.elements('item')
  if (items.length === 0) throw new StanzaError('bad-request', 'there is no item')
  if (turn.stanza.attrs.type === 'get') return list(turn, items[0]!)
  if (items.length > xmppLimits.roomAdminItemsMax) {
    throw new StanzaError('policy-violation', `at most ${xmppLimits.roomAdminItemsMax} items at a time`)
  }
  // All are looked at before one counts: a request that is refused changed nothing.
  const changes = items.map((item) => changeOf(turn, item))
  for (const change of changes) change()
  return undefined
}

// ── Lists ───────────────────────────────────────────────────────────────────────────────────

function list({ room, from }: Turn, { attrs: { affiliation, role } }: XmlElement): XmlElement {
  const mine = room.affiliation(from.bare)
  const me = room.bySession(from)
  const { config } = room.record
  if (affiliation !== undefined) {
    const isOpenToMembers = config.whois === 'anyone' && config.isMembersOnly
      && rank(mine) >= rank('member') && affiliation !== 'outcast'
    if (rank(mine) < rank('admin') && !isOpenToMembers) {
      throw new StanzaError('forbidden', 'this list is for admins of the room')
    }
    const found = [...room.record.affiliations].filter(([, given]) => given === affiliation)
    return el(mucNs.admin, 'query', {}, ...found.map(([jid]) => {
      const [here] = room.ofPerson(jid)
      return el(mucNs.admin, 'item', { affiliation, jid, nick: here?.nick, role: here?.role })
    }))
  }
  if (me?.role !== 'moderator' && rank(mine) < rank('admin')) {
    throw new StanzaError('forbidden', 'this list is for moderators of the room')
  }
  return el(mucNs.admin, 'query', {}, ...room.occupants.filter((one) => one.role === role).map((one) =>
    el(mucNs.admin, 'item', {
      role, nick: one.nick, affiliation: room.affiliation(one.bare), jid: [...one.sessions.keys()].at(-1),
    })))
}

// ── Changes ─────────────────────────────────────────────────────────────────────────────────

function changeOf(turn: Turn, item: XmlElement): () => void {
  const { affiliation, role } = item.attrs
  if (affiliation !== undefined) return affiliationChange(turn, item, oneOf(affiliations, affiliation))
  if (role !== undefined) return roleChange(turn, item, oneOf(roles, role))
  throw new StanzaError('bad-request', 'an item names a role or an affiliation')
}

function reasonOf(item: XmlElement): string | undefined {
  return item.childText('reason')?.slice(0, xmppLimits.roomNameBytesMax)
}

function roleChange(turn: Turn, item: XmlElement, role: Role): () => void {
  const { room, from } = turn
  const actor = room.bySession(from)
  const mine = room.affiliation(from.bare)
  const target = room.byNick(item.attrs.nick ?? '')
  if (item.attrs.nick === undefined) throw new StanzaError('bad-request', 'a role is of a nick')
  if (actor?.role !== 'moderator') throw new StanzaError('forbidden', 'roles are for moderators to give')
  if (target === undefined) throw new StanzaError('item-not-found', 'nobody of this nick is in the room')
  const theirs = room.affiliation(target.bare)
  const isAboutModerators = role === 'moderator' || target.role === 'moderator' && role !== 'none'
  if (isAboutModerators && rank(mine) < rank('admin')) {
    throw new StanzaError('not-allowed', 'moderators are for admins to name')
  }
  if (role !== 'moderator' && rank(theirs) >= rank('admin') && mine !== 'owner') {
    throw new StanzaError('not-allowed', 'admins and owners keep their role')
  }
  if (rank(theirs) > rank(mine)) throw new StanzaError('not-allowed', 'their affiliation is above yours')
  const details = { reason: reasonOf(item), actor: actor.nick }
  return () => {
    if (room.byNick(target.nick) !== target) return
    if (role === 'none') putOut(turn, target, { ...details, codes: [307] })
    else {
      target.role = role
      tellPresence(turn, target, { ...details, shown: lastPresence(target) })
    }
  }
}

function affiliationChange(turn: Turn, item: XmlElement, affiliation: Affiliation): () => void {
  const { room, from, out } = turn
  const mine = room.affiliation(from.bare)
  const bare = subjectOf(room, item)
  const theirs = room.record.affiliations.get(bare) ?? 'none'
  if (rank(mine) < rank('admin')) {
    throw new StanzaError('forbidden', 'affiliations are for admins of the room to give')
  }
  if (mine !== 'owner' && Math.max(rank(affiliation), rank(theirs)) >= rank('admin')) {
    throw new StanzaError('not-allowed', 'admins and owners are for owners to name')
  }
  if (affiliation === 'outcast' && bare === from.bare) {
    throw new StanzaError('conflict', 'nobody bans themselves')
  }
  const takesOwner = theirs === 'owner' && affiliation !== 'owner'
  const assertOwnerStays = (): void => {
    if (takesOwner && ownersOf(room) < 2) throw new StanzaError('conflict', 'a room has an owner')
  }
  assertOwnerStays()
  const actor = room.bySession(from)?.nick
  return () => {
    assertOwnerStays()
    room.setAffiliation(bare, affiliation)
    out.isRecordChanged = true
    for (const target of [...room.occupants]) {
      const isMeant = target.bare === bare || affiliation === 'outcast' && target.bare.endsWith(`@${bare}`)
      if (isMeant) applied(turn, target, { reason: reasonOf(item), actor })
    }
  }
}

function ownersOf({ record }: Room): number {
  return [...record.affiliations.values()].filter((one) => one === 'owner').length
}

/** Bare JID that an item is about. */
function subjectOf(room: Room, { attrs: { jid, nick } }: XmlElement): string {
  if (jid !== undefined) {
    const parsed = Jid.parse(jid)
    if (parsed === undefined) throw new StanzaError('jid-malformed', 'an address of the list is malformed')
    return parsed.bare
  }
  const occupant = room.byNick(nick ?? '')
  if (occupant === undefined) throw new StanzaError('item-not-found', 'nobody of this nick is in the room')
  return occupant.bare
}

/** What an affiliation that is now theirs means for somebody who is in the room. */
function applied(
  turn: Turn, target: Occupant,
  details: { readonly reason: string | undefined, readonly actor: string | undefined },
): void {
  const { room } = turn
  const affiliation = room.affiliation(target.bare)
  if (affiliation === 'outcast') putOut(turn, target, { ...details, codes: [301] })
  else if (room.record.config.isMembersOnly && affiliation === 'none') {
    putOut(turn, target, { ...details, codes: [321] })
  } else {
    target.role = room.defaultRole(affiliation)
    tellPresence(turn, target, { ...details, shown: lastPresence(target) })
  }
}

function oneOf<const T extends string>(values: readonly T[], given: string): T {
  const value = values.find((one) => one === given)
  if (value !== undefined) return value
  throw new StanzaError('bad-request', `"${given.slice(0, 40)}" is none of ${values.join(', ')}`)
}
