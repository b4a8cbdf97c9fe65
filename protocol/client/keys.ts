/**
 * Names of the client's records in its key-value store, in one place. Numbers are padded, so the
 * order of names is the order of numbers.
 *
 * | name                              | holds                                                  |
 * |-----------------------------------|--------------------------------------------------------|
 * | `account`                         | own keys (account-state.ts)                            |
 * | `home`                            | how a linked device finds its node (device.ts)         |
 * | `own/devices`                     | device list, shared secrets (own-devices.ts)           |
 * | `own/renewal`                     | this device is new and not listed yet (renewal.ts)     |
 * | `own/standing`                    | another device took our place (standing.ts)            |
 * | `contact/ID`                      | a contact's profile; ID is the root key in hex         |
 * | `thread/ID`                       | counters of the conversation, changed by every message |
 * | `session/ID/DEVICE`               | ratchets with one device                               |
 * | `intro/BOX`                       | an invite handed out                                   |
 * | `closing/BOX`                     | an inbox that the node has yet to give up              |
 * | `history/CURSOR`                  | every message, in the order people see                 |
 * | `talk/ID/CURSOR`                  | index of history by contact                            |
 * | `message/MESSAGE`                 | state of an outgoing text that is not in the outbox    |
 * | `waiting/ID/SEQUENCE`             | texts written before there is a session to send them   |
 * | `outbox/NUMBER`, `body/NUMBER`    | envelopes on their way                                 |
 * | `arrived/ID/MESSAGE`              | mark against doubles                                   |
 * | `held/ID/DEVICE/SEQUENCE`         | texts that came before their predecessor               |
 * | `gap/ID`                          | mark: this contact has held texts                      |
 * | `due/ID/KIND/MESSAGE`             | receipts owed                                          |
 * | `seen/HOUR/ENVELOPE`              | envelopes taken over, by their expiry                  |
 * | `filed/HOUR/ENVELOPE`             | envelopes sent and done with, by their expiry          |
 * | `unreadable/NUMBER`               | what could not be decrypted, and what became of it     |
 * | `cursor/NAME`                     | reading positions                                      |
 * | `prekey/KIND/ID`, `laid/NODE`     | own prekeys and where they were laid out               |
 * | `meta/NAME`                       | counters that outlive restarts                         |
 * | `alarm/ID`                        | that contact has a list of ours that we never made     |
 * | `heads/ID`                        | newest own list that each device of a contact showed   |
 * | `copy/NUMBER`, `copied/NUMBER`    | what our other devices are still to be told            |
 * | `sync/DEVICE`                     | how far a new device of ours has been told what was    |
 * | `removed/ID`                      | version of a contact's removal                         |
 * | `orphan/ID/MESSAGE`               | told by a sibling before it told us of the contact     |
 * | `early/ID/MESSAGE`                | receipts of texts that a sibling has yet to tell us of |
 * | `marked/ID/MESSAGE`               | read on another device, not yet passed by `readUpTo`   |
 */
import type { BoxId, DeviceId, EnvelopeId, MessageId, NodeId } from '../ids.ts'
import type { ContactId } from './records.ts'

const numberWidth = 16

export function padded(number: number): string {
  return String(number).padStart(numberWidth, '0')
}

/** The number at the end of a name. */
export function lastNumber(key: string): number {
  return Number(key.slice(key.lastIndexOf('/') + 1))
}

/** What stands after the last slash. */
export function lastPart(key: string): string {
  return key.slice(key.lastIndexOf('/') + 1)
}

export const keys = {
  account: 'account',
  home: 'home',
  own: 'own/devices',
  renewal: 'own/renewal',
  standing: 'own/standing',
  contacts: 'contact/',
  contact: (id: ContactId) => `contact/${id}`,
  thread: (id: ContactId) => `thread/${id}`,
  allSessions: 'session/',
  sessions: (id: ContactId) => `session/${id}/`,
  session: (id: ContactId, device: DeviceId) => `session/${id}/${device}`,
  intros: 'intro/',
  intro: (box: BoxId) => `intro/${box}`,
  closings: 'closing/',
  closing: (box: BoxId) => `closing/${box}`,
  histories: 'history/',
  history: (cursor: number) => `history/${padded(cursor)}`,
  talks: (id: ContactId) => `talk/${id}/`,
  talk: (id: ContactId, cursor: number) => `talk/${id}/${padded(cursor)}`,
  message: (id: MessageId) => `message/${id}`,
  allWaiting: 'waiting/',
  waitings: (id: ContactId) => `waiting/${id}/`,
  waiting: (id: ContactId, sequence: number) => `waiting/${id}/${padded(sequence)}`,
  outboxes: 'outbox/',
  outbox: (number: number) => `outbox/${padded(number)}`,
  bodies: 'body/',
  body: (number: number) => `body/${padded(number)}`,
  arrived: (id: ContactId, message: MessageId) => `arrived/${id}/${message}`,
  helds: (id: ContactId) => `held/${id}/`,
  held: (id: ContactId, device: DeviceId, sequence: number) => `held/${id}/${device}/${padded(sequence)}`,
  gaps: 'gap/',
  gap: (id: ContactId) => `gap/${id}`,
  allDue: 'due/',
  dues: (id: ContactId, kind: 'd' | 'r') => `due/${id}/${kind}/`,
  due: (id: ContactId, kind: 'd' | 'r', message: MessageId) => `due/${id}/${kind}/${message}`,
  seens: 'seen/',
  seenHour: (hour: number) => `seen/${padded(hour)}`,
  seen: (hour: number, envelope: EnvelopeId) => `seen/${padded(hour)}/${envelope}`,
  allFiled: 'filed/',
  filedHour: (hour: number) => `filed/${padded(hour)}`,
  filed: (hour: number, envelope: EnvelopeId) => `filed/${padded(hour)}/${envelope}`,
  unreadables: 'unreadable/',
  unreadable: (number: number) => `unreadable/${padded(number)}`,
  cursor: (name: string) => `cursor/${name}`,
  prekeys: 'prekey/',
  prekey: (kind: 'signed' | 'kem' | 'once', id: number) => `prekey/${kind}/${padded(id)}`,
  laids: 'laid/',
  laid: (node: NodeId) => `laid/${node}`,
  meta: (name: 'location' | 'prekeys' | 'history') => `meta/${name}`,
  heads: (id: ContactId) => `heads/${id}`,
  alarms: 'alarm/',
  alarm: (id: ContactId) => `alarm/${id}`,
  copies: 'copy/',
  copy: (number: number) => `copy/${padded(number)}`,
  copied: (number: number) => `copied/${padded(number)}`,
  syncs: 'sync/',
  sync: (device: DeviceId) => `sync/${device}`,
  removed: (id: ContactId) => `removed/${id}`,
  allOrphans: 'orphan/',
  orphans: (id: ContactId) => `orphan/${id}/`,
  orphan: (id: ContactId, message: MessageId) => `orphan/${id}/${message}`,
  earlies: (id: ContactId) => `early/${id}/`,
  early: (id: ContactId, message: MessageId) => `early/${id}/${message}`,
  marked: (id: ContactId, message: MessageId) => `marked/${id}/${message}`,
} as const
