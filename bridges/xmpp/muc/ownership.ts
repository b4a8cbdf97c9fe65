/**
 * What owners do (XEP-0045 §10): set up a new room, configure it, destroy it.
 *
 * ```text
 *   made, locked ──► form submitted, or an empty one (instant) ──► open
 *             └───► cancelled, or everybody left ──► gone
 * ```
 */
import { StanzaError } from '../stanza-errors.ts'
import { xmppLimits } from '../limits.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { changeCodes, readRoomConfig, roomConfigForm } from './config.ts'
import { mucNs } from './names.ts'
import { rank } from './record.ts'
import type { Turn } from './room.ts'
import { gone, putOut, tellCodes, tellPresence } from './telling.ts'

/** @throws StanzaError */
export function onOwner(turn: Turn, query: XmlElement): XmlElement | undefined {
  const { room, from, stanza } = turn
  if (room.affiliation(from.bare) !== 'owner') {
    throw new StanzaError('forbidden', 'the room is for its owners to configure')
  }
  if (stanza.attrs.type === 'get') {
    return el(mucNs.owner, 'query', {}, roomConfigForm(room.record.config))
  }
  const destroy = query.child('destroy')
  const form = query.child('x', ns.dataForm)
  if (destroy !== undefined) end(turn, destroy)
  else if (form?.attrs.type === 'cancel') {
    if (room.record.isLocked) end(turn, el(mucNs.owner, 'destroy'))
  } else if (form?.attrs.type === 'submit') configure(turn, form)
  else throw new StanzaError('bad-request', 'a form is submitted or cancelled')
  return undefined
}

function configure(turn: Turn, form: XmlElement): void {
  const { room, out } = turn
  const { record } = room
  const before = record.config
  const after = readRoomConfig(form, before)
  const wasLocked = record.isLocked
  record.config = after
  record.isLocked = false
  out.isRecordChanged = true
  if (after.isMembersOnly && !before.isMembersOnly) {
    for (const occupant of [...room.occupants]) {
      if (rank(room.affiliation(occupant.bare)) < rank('member')) putOut(turn, occupant, { codes: [322] })
    }
  }
  if (!wasLocked) tellCodes(turn, changeCodes(before, after))
}

/** Everybody is put out and told where the talk goes on, if it does. */
function end(turn: Turn, given: XmlElement): void {
  const { room, out } = turn
  const text = (name: string): XmlElement | undefined => {
    const found = given.childText(name)?.slice(0, xmppLimits.roomNameBytesMax)
    return found === undefined ? undefined : el(mucNs.user, name, {}, found)
  }
  const destroy = el(mucNs.user, 'destroy', { jid: given.attrs.jid }, text('reason'), text('password'))
  for (const occupant of room.occupants) {
    for (const to of occupant.sessions.keys()) {
      const item = el(mucNs.user, 'item', { affiliation: 'none', role: 'none' })
      const own = el(mucNs.user, 'x', {}, item, destroy, el(mucNs.user, 'status', { code: '110' }))
      out.stanzas.push(gone.withAttrs({ from: room.jidOf(occupant).toString(), to }).plus(own))
    }
  }
  room.clear()
  out.isDestroyed = true
}

/** The service stops: everybody is put out and comes back when it runs again (status 332). */
export function shutDown(turn: Pick<Turn, 'room' | 'out'>): void {
  for (const occupant of turn.room.occupants) {
    tellPresence(turn, occupant, { shown: gone, role: 'none', codes: [332] })
    turn.room.remove(occupant)
  }
}
