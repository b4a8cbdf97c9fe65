/**
 * Names of the client's records in its key-value store, in one place. Numbers are padded, so the
 * order of names is the order of numbers.
 *
 * | name                              | holds                                                  |
 * |-----------------------------------|--------------------------------------------------------|
 * | `account`                         | own keys (account-state.ts)                            |
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
 * | `unreadable/NUMBER`               | what could not be decrypted                            |
 * | `cursor/NAME`                     | reading positions                                      |
 * | `prekey/KIND/ID`, `laid/NODE`     | own prekeys and where they were laid out               |
 * | `meta/NAME`                       | counters that outlive restarts                         |
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
  contacts: 'contact/',
  contact: (id: ContactId) => `contact/${id}`,
  thread: (id: ContactId) => `thread/${id}`,
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
  unreadables: 'unreadable/',
  unreadable: (number: number) => `unreadable/${padded(number)}`,
  cursor: (name: string) => `cursor/${name}`,
  prekeys: 'prekey/',
  prekey: (kind: 'signed' | 'kem' | 'once', id: number) => `prekey/${kind}/${padded(id)}`,
  laids: 'laid/',
  laid: (node: NodeId) => `laid/${node}`,
  meta: (name: 'location' | 'prekeys') => `meta/${name}`,
} as const
