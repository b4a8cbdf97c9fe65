/**
 * What is said in a room: to everybody, the subject, to one occupant; invitations and requests for
 * voice (XEP-0045 §7.4, §7.5, §7.8, §7.13, §8.1, §8.6), and messages that are taken back by who wrote
 * them (XEP-0424).
 */
import { Jid } from '../jid.ts'
import { xmppLimits } from '../limits.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { mucNs } from './names.ts'
import { drop } from './presence.ts'
import { rank } from './record.ts'
import { sender } from './room.ts'
import type { Occupant, Turn } from './room.ts'
import { lastPresence, occupantIdOf, sanitised, tellMessage, tellPresence } from './telling.ts'
import { tombstone } from './moderation.ts'

/** An error with one of these says that the device is gone (not that it does not like a message). */
const fatal: ReadonlySet<string> = new Set([
  'gone', 'internal-server-error', 'item-not-found', 'jid-malformed', 'recipient-unavailable', 'redirect',
  'remote-server-not-found', 'remote-server-timeout', 'service-unavailable',
])

/** @throws StanzaError */
export function onMessage(turn: Turn): void {
  const { room, stanza, from, to } = turn
  const { type } = stanza.attrs
  if (type === 'error') {
    const occupant = room.bySession(from)
    const conditions = stanza.child('error')?.elements(undefined).map(({ name }) => name) ?? []
    const isFatal = conditions.length === 0 || conditions.some((name) => fatal.has(name))
    if (occupant !== undefined && isFatal) drop(turn, occupant)
  } else if (to.resource !== '') {
    if (type === 'groupchat') throw new StanzaError('bad-request', 'what is for everybody goes to the room')
    toOne(turn, to.resource)
  } else if (type === 'groupchat') toAll(turn)
  else fromOutside(turn)
}

// ── To everybody ────────────────────────────────────────────────────────────────────────────

function toAll(turn: Turn): void {
  const { room, stanza, from } = turn
  const occupant = sender(turn)
  const subject = stanza.childText('subject')
  const isSubject = subject !== undefined && stanza.child('body') === undefined
    && stanza.child('thread') === undefined
  if (isSubject) {
    assertMaySetSubject(turn, occupant)
    if (Buffer.byteLength(subject) > xmppLimits.roomTextBytesMax) {
      throw new StanzaError('policy-violation', `a subject has at most ${xmppLimits.roomTextBytesMax} bytes`)
    }
    room.record.subject = { text: subject, by: room.jidOf(occupant).toString(), atMs: turn.nowMs }
    turn.out.isRecordChanged = true
  } else if (occupant.role === 'visitor') {
    throw new StanzaError('forbidden', 'in this room only those with voice may speak: ask for it')
  }
  const said = sanitised(room, stanza)
    .withAttrs({ from: room.jidOf(occupant).toString(), to: undefined })
    .plus(occupantIdOf(room, from.bare))
  speak(turn, { message: said, peer: room.jidOf(occupant), isKept: !isSubject && isWorthKeeping(said) })
  takeBack(turn, occupant)
}

/** Archived, kept for who joins, and told to everybody. */
export function speak(
  turn: Turn,
  { message, peer, isKept }: {
    readonly message: XmlElement, readonly peer: Jid, readonly isKept: boolean,
  },
): void {
  const { room, from, nowMs, out } = turn
  if (!isKept) {
    tellMessage(turn, message)
    return
  }
  const id = turn.nextId()
  const stamped = message.plus(el(ns.stanzaIds, 'stanza-id', { by: room.jid.toString(), id }))
  if (room.record.config.isArchiving) {
    // Where everybody sees addresses, so does who reads it later: OMEMO needs them (XEP-0313 §5.1.2).
    const item = room.record.config.whois !== 'anyone' ? undefined
      : el(mucNs.user, 'x', {}, el(mucNs.user, 'item', { jid: from.bare }))
    out.archived.push({ id, peer, message: message.plus(item) })
  }
  room.remember({ id, atMs: nowMs, message: stamped })
  tellMessage(turn, stamped)
}

/** Chat states and the like are told and forgotten. */
function isWorthKeeping(message: XmlElement): boolean {
  if (message.child('no-store', ns.hints) !== undefined) return false
  if (message.child('no-permanent-store', ns.hints) !== undefined) return false
  if (message.child('body') !== undefined || message.child('store', ns.hints) !== undefined) return true
  return keptNamespaces.some((one) => message.childOf(one) !== undefined)
}

const keptNamespaces: readonly string[] = [
  'urn:xmpp:chat-markers:0', 'urn:xmpp:reactions:0', 'urn:xmpp:message-correct:0', mucNs.retract,
  mucNs.fasten, 'urn:xmpp:eme:0', 'eu.siacs.conversations.axolotl', 'urn:xmpp:omemo:2',
  'urn:xmpp:openpgp:0',
]

function assertMaySetSubject({ room }: Turn, { role }: Occupant): void {
  const isAllowed = role === 'moderator' || room.record.config.maySubject && role === 'participant'
  if (!isAllowed) throw new StanzaError('forbidden', 'the subject is for moderators to set')
}

/** XEP-0424: one's own message is a tombstone in the archive from then on. */
function takeBack({ room, stanza, named, out }: Turn, { bare }: Occupant): void {
  const id = stanza.child('retract', mucNs.retract)?.attrs.id
  const author = named?.child('occupant-id', mucNs.occupantId)?.attrs.id
  if (id === undefined || named === undefined || author !== room.occupantId(bare)) return
  const peer = Jid.parse(named.attrs.from ?? '') ?? room.jid
  out.archived.push({ id, peer, message: tombstone(named, { id }) })
  room.forget(id)
}

// ── To one occupant ─────────────────────────────────────────────────────────────────────────

function toOne(turn: Turn, nick: string): void {
  const { room, stanza, from, out } = turn
  const occupant = sender(turn)
  const target = room.byNick(nick)
  if (target === undefined) throw new StanzaError('item-not-found', 'nobody of this nick is in the room')
  const { privateMessages } = room.record.config
  const isAllowed = privateMessages === 'anyone' || target === occupant
    || privateMessages === 'participants' && occupant.role !== 'visitor'
    || privateMessages === 'moderators' && occupant.role === 'moderator'
    || privateMessages !== 'none' && target.role === 'moderator' && occupant.role !== 'visitor'
  if (!isAllowed) throw new StanzaError('forbidden', 'this room does not let you write to one person')
  const said = sanitised(room, stanza)
    .withAttrs({ from: room.jidOf(occupant).toString() })
    .plus(occupantIdOf(room, from.bare), el(mucNs.user, 'x'))
  for (const to of target.sessions.keys()) out.stanzas.push(said.withAttrs({ to }))
}

// ── To the room itself ──────────────────────────────────────────────────────────────────────

function fromOutside(turn: Turn): void {
  const { stanza } = turn
  const user = stanza.child('x', mucNs.user)
  const form = stanza.child('x', ns.dataForm)
  const invites = user?.elements('invite') ?? []
  const decline = user?.child('decline')
  if (invites.length > 0) for (const one of invites.slice(0, 20)) invite(turn, one)
  else if (decline !== undefined) passDecline(turn, decline)
  else if (form !== undefined) onVoiceForm(turn, form)
  else if (stanza.child('body') !== undefined) {
    throw new StanzaError('bad-request', 'what is for everybody is of type groupchat')
  }
}

function invite(turn: Turn, given: XmlElement): void {
  const { room, out, from } = turn
  sender(turn)
  const { config, isLocked } = room.record
  const mine = room.affiliation(from.bare)
  const isAdmin = rank(mine) >= rank('admin')
  if (!isAdmin && (!config.mayInvite || config.isMembersOnly && mine !== 'member')) {
    throw new StanzaError('forbidden', 'inviting is for admins of this room')
  }
  if (isLocked) throw new StanzaError('item-not-found', 'the room is being set up')
  const to = Jid.parse(given.attrs.to ?? '')
  if (to === undefined) throw new StanzaError('jid-malformed', 'the address to be invited is malformed')
  const theirs = room.affiliation(to.bare)
  if (theirs === 'outcast') throw new StanzaError('forbidden', 'they are banned from this room')
  if (config.isMembersOnly && theirs === 'none') {
    room.setAffiliation(to.bare, 'member')
    out.isRecordChanged = true
  }
  const reason = given.childText('reason')?.slice(0, xmppLimits.roomTextBytesMax)
  const password = config.password === '' ? undefined : config.password
  out.stanzas.push(el(ns.client, 'message', { from: room.jid.toString(), to: to.toString() },
    el(mucNs.user, 'x', {},
      el(mucNs.user, 'invite', { from: from.bare },
        reason === undefined ? undefined : el(mucNs.user, 'reason', {}, reason),
        given.child('continue')),
      password === undefined ? undefined : el(mucNs.user, 'password', {}, password)),
    el(mucNs.conference, 'x', { jid: room.jid.toString(), reason, password })))
}

/** To somebody who is in the room, and could have invited: else a room would carry anybody's words. */
function passDecline({ room, from, out }: Turn, decline: XmlElement): void {
  const to = Jid.parse(decline.attrs.to ?? '')
  if (to === undefined || room.ofPerson(to.bare).length === 0) {
    throw new StanzaError('item-not-found', 'who invited you is not in the room')
  }
  const reason = decline.childText('reason')?.slice(0, xmppLimits.roomTextBytesMax)
  out.stanzas.push(el(ns.client, 'message', { from: room.jid.toString(), to: to.toString() },
    el(mucNs.user, 'x', {}, el(mucNs.user, 'decline', { from: from.bare },
      reason === undefined ? undefined : el(mucNs.user, 'reason', {}, reason)))))
}

/** A visitor asks for voice; a moderator sends the form back with the answer (§7.13, §8.6). */
function onVoiceForm(turn: Turn, form: XmlElement): void {
  const { room, from } = turn
  const occupant = sender(turn)
  const value = (name: string): string | undefined =>
    form.elements('field').find(({ attrs }) => attrs.var === name)?.childText('value')
  if (value('FORM_TYPE') !== mucNs.request || form.attrs.type !== 'submit') {
    throw new StanzaError('bad-request', 'the room does not know this form')
  }
  if (value('muc#request_allow') === undefined) {
    if (occupant.role !== 'visitor') throw new StanzaError('not-allowed', 'you have voice')
    tellMessage(turn, voiceForm(turn, occupant, from), 'moderator')
    return
  }
  if (occupant.role !== 'moderator') throw new StanzaError('forbidden', 'voice is given by moderators')
  const target = room.byNick(value('muc#roomnick') ?? '')
  if (!['1', 'true'].includes(value('muc#request_allow')!) || target?.role !== 'visitor') return
  target.role = 'participant'
  tellPresence(turn, target, { shown: lastPresence(target), actor: occupant.nick })
}

function voiceForm({ room }: Turn, { nick }: Occupant, from: Jid): XmlElement {
  const field = (name: string, type: string, value: string): XmlElement =>
    el(ns.dataForm, 'field', { var: name, type }, el(ns.dataForm, 'value', {}, value))
  return el(ns.client, 'message', { from: room.jid.toString() },
    el(ns.dataForm, 'x', { type: 'form' },
      el(ns.dataForm, 'title', {}, 'Somebody asks for voice'),
      field('FORM_TYPE', 'hidden', mucNs.request),
      field('muc#role', 'list-single', 'participant'),
      field('muc#jid', 'jid-single', from.toString()),
      field('muc#roomnick', 'text-single', nick),
      field('muc#request_allow', 'boolean', 'false')))
}
