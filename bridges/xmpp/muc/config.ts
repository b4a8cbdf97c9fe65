/**
 * Configuration of a room as a data form (XEP-0045 §10.1, §15.5.3), and as what service discovery says
 * of it (§6.4).
 */
import { xmppLimits } from '../limits.ts'
import { StanzaError } from '../stanza-errors.ts'
import { el } from '../xml/element.ts'
import type { XmlElement } from '../xml/element.ts'
import { ns } from '../xml/names.ts'
import { mucNs } from './names.ts'
import { privateMessagePolicies, whoisPolicies } from './record.ts'
import type { RoomConfig } from './record.ts'

/** Of an instant room: open to those who know its name, and it stays. */
export const defaultConfig: RoomConfig = {
  name: '', description: '', language: '',
  isPersistent: true, isPublic: false, isModerated: false, isMembersOnly: false, password: '',
  whois: 'moderators', maySubject: false, mayInvite: true, privateMessages: 'anyone',
  occupantsMax: xmppLimits.roomOccupantsDefault, historyMax: xmppLimits.roomHistoryDefault,
  isArchiving: true,
}

const prefix = 'muc#roomconfig_'
/** Some clients ask by this name, which the registry of forms has too. */
const fetchMax = 'muc#maxhistoryfetch'

/** `base` with what the form says; unknown fields are left out. @throws StanzaError */
export function readRoomConfig(form: XmlElement, base: RoomConfig): RoomConfig {
  const fields = form.elements('field')
  const type = fields.find(({ attrs }) => attrs.var === 'FORM_TYPE')?.childText('value')
  if (type !== undefined && type !== mucNs.roomConfig) {
    throw new StanzaError('bad-request', 'the form is no room configuration')
  }
  let config = base
  let isProtected: boolean | undefined
  for (const field of fields) {
    const value = field.childText('value') ?? ''
    const name = field.attrs.var ?? ''
    if (name === `${prefix}passwordprotectedroom`) isProtected = flag(value)
    else config = { ...config, ...change(name === fetchMax ? name : name.slice(prefix.length), value) }
  }
  if (isProtected === false) config = { ...config, password: '' }
  if (isProtected === true && config.password === '') {
    throw new StanzaError('not-acceptable', 'a room with a password needs one')
  }
  return config
}

function change(name: string, value: string): Partial<RoomConfig> {
  switch (name) {
    case 'roomname': return { name: line(value, xmppLimits.roomNameBytesMax) }
    case 'roomdesc': return { description: line(value, xmppLimits.roomTextBytesMax) }
    case 'lang': return { language: line(value, 32) }
    case 'persistentroom': return { isPersistent: flag(value) }
    case 'publicroom': return { isPublic: flag(value) }
    case 'moderatedroom': return { isModerated: flag(value) }
    case 'membersonly': return { isMembersOnly: flag(value) }
    case 'roomsecret': return { password: line(value, xmppLimits.roomNameBytesMax) }
    case 'whois': return { whois: oneOf(whoisPolicies, value) }
    case 'changesubject': return { maySubject: flag(value) }
    case 'allowinvites': return { mayInvite: flag(value) }
    case 'allowpm': return { privateMessages: oneOf(privateMessagePolicies, value) }
    case 'maxusers': return {
      occupantsMax: value === 'none' || value === '' ? xmppLimits.roomOccupantsMax
        : Math.max(1, count(value, xmppLimits.roomOccupantsMax)),
    }
    case 'historylength':
    case fetchMax: return { historyMax: count(value, xmppLimits.roomHistoryMax) }
    // As Prosody names it; `enablelogging` of the registry is about logs that are published.
    case 'enablearchiving': return { isArchiving: flag(value) }
    default: return {}
  }
}

export function roomConfigForm(config: RoomConfig): XmlElement {
  const field = (
    [name, type, label]: readonly [string, string, string],
    value: string | number | boolean,
    options: readonly string[] = [],
  ): XmlElement => el(ns.dataForm, 'field', { var: name, type, label },
    el(ns.dataForm, 'value', {}, typeof value === 'boolean' ? value ? '1' : '0' : String(value)),
    ...options.map((one) => el(ns.dataForm, 'option', { label: one }, el(ns.dataForm, 'value', {}, one))))
  const flagged = (name: string, label: string, value: boolean): XmlElement =>
    field([prefix + name, 'boolean', label], value)
  const text = (name: string, label: string, value: string): XmlElement =>
    field([prefix + name, 'text-single', label], value)
  return el(ns.dataForm, 'x', { type: 'form' },
    el(ns.dataForm, 'title', {}, 'Configuration of the room'),
    el(ns.dataForm, 'field', { var: 'FORM_TYPE', type: 'hidden' },
      el(ns.dataForm, 'value', {}, mucNs.roomConfig)),
    text('roomname', 'Name', config.name),
    text('roomdesc', 'Description', config.description),
    text('lang', 'Language', config.language),
    flagged('persistentroom', 'It stays when everybody has left', config.isPersistent),
    flagged('publicroom', 'Listed for everybody', config.isPublic),
    flagged('membersonly', 'Members alone may come in', config.isMembersOnly),
    flagged('moderatedroom', 'Only those with voice may speak', config.isModerated),
    flagged('passwordprotectedroom', 'Coming in takes a password', config.password !== ''),
    field([`${prefix}roomsecret`, 'text-private', 'The password'], config.password),
    field([`${prefix}whois`, 'list-single', 'Who sees real addresses'], config.whois, whoisPolicies),
    flagged('changesubject', 'Participants may set the subject', config.maySubject),
    flagged('allowinvites', 'Occupants may invite', config.mayInvite),
    field([`${prefix}allowpm`, 'list-single', 'Who may write to one occupant'],
      config.privateMessages, privateMessagePolicies),
    field([`${prefix}maxusers`, 'list-single', 'Occupants at a time, at most'], config.occupantsMax,
      [...new Set([10, 20, 50, 100, 200, xmppLimits.roomOccupantsMax, config.occupantsMax])].map(String)),
    field([`${prefix}historylength`, 'text-single', 'Messages shown to who comes in'], config.historyMax),
    flagged('enablearchiving', 'The room keeps what is said', config.isArchiving))
}

/** What service discovery says of it. */
export function configFeatures(config: RoomConfig): string[] {
  return [
    config.isPublic ? 'muc_public' : 'muc_hidden',
    config.isPersistent ? 'muc_persistent' : 'muc_temporary',
    config.isMembersOnly ? 'muc_membersonly' : 'muc_open',
    config.isModerated ? 'muc_moderated' : 'muc_unmoderated',
    config.whois === 'anyone' ? 'muc_nonanonymous' : 'muc_semianonymous',
    config.password === '' ? 'muc_unsecured' : 'muc_passwordprotected',
  ]
}

/** Status codes that tell occupants what changed (§10.2.1). */
export function changeCodes(before: RoomConfig, after: RoomConfig): number[] {
  const codes: number[] = []
  if (before.isArchiving !== after.isArchiving) codes.push(after.isArchiving ? 170 : 171)
  if (before.whois !== after.whois) codes.push(after.whois === 'anyone' ? 172 : 173)
  const rest = (config: RoomConfig): string =>
    JSON.stringify({ ...config, isArchiving: false, whois: 'anyone', password: '' })
  if (rest(before) !== rest(after) || codes.length === 0) codes.push(104)
  return codes
}

function flag(given: string): boolean {
  if (given === '1' || given === 'true') return true
  if (given === '0' || given === 'false' || given === '') return false
  throw new StanzaError('not-acceptable', `"${given.slice(0, 40)}" is neither 0 nor 1`)
}

function oneOf<const T extends string>(values: readonly T[], given: string): T {
  const value = values.find((one) => one === given)
  if (value !== undefined) return value
  throw new StanzaError('not-acceptable', `"${given.slice(0, 40)}" is none of ${values.join(', ')}`)
}

function count(given: string, most: number): number {
  if (!/^\d{1,9}$/.test(given)) {
    throw new StanzaError('not-acceptable', `"${given.slice(0, 40)}" is no count`)
  }
  return Math.min(Number(given), most)
}

function line(given: string, bytesMax: number): string {
  if (Buffer.byteLength(given) <= bytesMax) return given
  throw new StanzaError('not-acceptable', `a text of the form is longer than ${bytesMax} bytes`)
}
