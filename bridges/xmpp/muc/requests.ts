/**
 * Requests to a room and to its occupants: discovery (XEP-0045 §6.3 to §6.6), administration,
 * moderation, pings (XEP-0199, XEP-0410), and what occupants ask of each other.
 *
 * ```text
 *   asker ── iq to room/nick, id X ──► room ── from room/asker, id TAG.X ──► one device of the nick
 *   asker ◄── from room/nick, id X ─── room ◄── to room/asker, id TAG.X ────────┘
 * ```
 *
 * TAG says which device of the asker it was, without their address.
 */
import type { Jid } from '../jid.ts'
import { mamFeatures } from '../archive/mam.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { onAdmin } from './administration.ts'
import { configFeatures } from './config.ts'
import { moderate, moderationOf } from './moderation.ts'
import { mucNs } from './names.ts'
import { onOwner } from './ownership.ts'
import { rank } from './record.ts'
import { sender } from './room.ts'
import type { Room, Turn } from './room.ts'

export const roomFeatures: readonly string[] = [
  ns.discoInfo, ns.discoItems, mucNs.muc, mucNs.request, mucNs.stableId, mucNs.selfPing, mucNs.ping,
  mucNs.occupantId, ns.stanzaIds, mucNs.moderate0, mucNs.moderate, mucNs.retract,
]

const tagLength = 24

/** @throws StanzaError */
export function onIq(turn: Turn): void {
  const { room, stanza, to, out } = turn
  const { type, id } = stanza.attrs
  if (type !== 'get' && type !== 'set') {
    if (to.resource !== '') passAnswer(turn)
    return
  }
  const [payload, second] = stanza.elements(undefined)
  if (payload === undefined || second !== undefined || id === undefined) {
    throw new StanzaError('bad-request', 'a request has an id and one child')
  }
  if (to.resource !== '') {
    passRequest(turn, payload)
    return
  }
  const answer = answered(turn, payload)
  const attrs = { type: 'result', id, from: room.jid.toString(), to: stanza.attrs.from }
  out.stanzas.push(el(ns.client, 'iq', attrs, answer))
}

function answered(turn: Turn, payload: XmlElement): XmlElement | undefined {
  const { room, stanza: { attrs: { type } } } = turn
  if (payload.is('query', mucNs.admin)) return onAdmin(turn, payload)
  if (payload.is('query', mucNs.owner)) return onOwner(turn, payload)
  if (type === 'get' && payload.is('ping', mucNs.ping)) return undefined
  if (type === 'get' && payload.is('query', ns.discoInfo)) return roomInfo(turn, payload.attrs.node)
  if (type === 'get' && payload.is('query', ns.discoItems)) return roomItems(turn)
  const moderation = type === 'set' ? moderationOf(payload) : undefined
  if (moderation === undefined) {
    throw new StanzaError('service-unavailable', `${room.jid.bare} does not know this`)
  }
  moderate(turn, moderation)
  return undefined
}

function roomInfo({ room, from }: Turn, node: string | undefined): XmlElement {
  const { config, subject } = room.record
  if (node === 'x-roomuser-item') {
    const own = room.bySession(from) ?? room.ofPerson(from.bare)[0]
    return el(ns.discoInfo, 'query', { node }, own === undefined ? undefined
      : el(ns.discoInfo, 'identity', { category: 'conference', type: 'text', name: own.nick }))
  }
  if (node !== undefined) throw new StanzaError('item-not-found', 'there is no such node')
  const features = [
    ...roomFeatures, ...config.isArchiving ? mamFeatures : [], ...configFeatures(config),
  ]
  const field = (name: string, value: string, type = 'text-single'): XmlElement =>
    el(ns.dataForm, 'field', { var: name, type }, el(ns.dataForm, 'value', {}, value))
  return el(ns.discoInfo, 'query', {},
    el(ns.discoInfo, 'identity', {
      category: 'conference', type: 'text', name: config.name === '' ? room.jid.local : config.name,
    }),
    ...features.map((one) => el(ns.discoInfo, 'feature', { var: one })),
    el(ns.dataForm, 'x', { type: 'result' },
      field('FORM_TYPE', mucNs.roomInfo, 'hidden'),
      field('muc#roominfo_description', config.description),
      field('muc#roominfo_subject', subject?.text ?? ''),
      field('muc#roominfo_lang', config.language),
      field('muc#roominfo_occupants', String(room.size)),
      field('muc#maxhistoryfetch', String(config.historyMax)),
      field('muc#roominfo_changesubject', config.maySubject ? '1' : '0', 'boolean'),
      field('muc#roomconfig_roomname', config.name),
      field('muc#roomconfig_changesubject', config.maySubject ? '1' : '0', 'boolean'),
      field('{http://prosody.im/protocol/muc}roomconfig_allowmemberinvites', config.mayInvite ? '1' : '0',
        'boolean')))
}

/** Who is in a room that is not public is for those in it (§6.5). */
function roomItems({ room, from }: Turn): XmlElement {
  const isShown = room.record.config.isPublic || room.bySession(from) !== undefined
  const nicks = isShown ? room.occupants : []
  return el(ns.discoItems, 'query', {},
    ...nicks.map((one) => el(ns.discoItems, 'item', { jid: room.jidOf(one).toString(), name: one.nick })))
}

/** Whether an archive is theirs to read (XEP-0313 §5.1.3). */
export function mayReadArchive(room: Room, from: Jid): boolean {
  const { config, isLocked } = room.record
  const affiliation = room.affiliation(from.bare)
  if (affiliation === 'outcast' || isLocked) return false
  if (room.bySession(from) !== undefined || rank(affiliation) >= rank('member')) return true
  return !config.isMembersOnly && config.password === ''
}

// ── Between occupants ───────────────────────────────────────────────────────────────────────

function passRequest(turn: Turn, payload: XmlElement): void {
  const { room, stanza, to, from, out } = turn
  const asker = sender(turn)
  const target = room.byNick(to.resource)
  if (target === undefined) throw new StanzaError('item-not-found', 'nobody of this nick is in the room')
  const { id, type } = stanza.attrs
  // XEP-0410: whether one is still in the room.
  if (target === asker && payload.is('ping', mucNs.ping)) {
    const attrs = { type: 'result', id, from: to.toString(), to: from.toString() }
    out.stanzas.push(el(ns.client, 'iq', attrs))
    return
  }
  // A card or an avatar is the account's to give.
  const isOfAccount = type === 'get' && (payload.is('vCard', mucNs.vcard) || payload.ns === ns.pubsub)
  out.stanzas.push(stanza.withAttrs({
    from: room.jidOf(asker).toString(),
    to: isOfAccount ? target.bare : [...target.sessions.keys()].at(-1),
    id: `${room.sessionTag(from.toString())}.${id}`,
  }))
}

function passAnswer({ room, stanza, from, to, out }: Turn): void {
  const answerer = room.bySession(from) ?? room.ofPerson(from.bare)[0]
  const asker = room.byNick(to.resource)
  const { id = '' } = stanza.attrs
  if (answerer === undefined || asker === undefined || id[tagLength] !== '.') return
  const session = [...asker.sessions.keys()].find((one) => room.sessionTag(one) === id.slice(0, tagLength))
  if (session === undefined) return
  out.stanzas.push(stanza.withAttrs({
    from: room.jidOf(answerer).toString(), to: session, id: id.slice(tagLength + 1),
  }))
}
