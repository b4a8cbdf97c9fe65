/** The archive of each account (XEP-0313), as far as delivery needs it. */
import type { KvOperation } from '../../../protocol/ports.ts'
import type { Jid } from '../jid.ts'
import type { XmlElement } from '../xml/element.ts'

export interface MessageArchive {
  /** Whether a message is one that a person would miss (`store`, `no-store`, what it carries). */
  isKept(message: XmlElement): boolean
  /** Else messages are kept only while nobody takes them. */
  readonly isArchiving: boolean
  /** A fresh id, above all earlier ones of the account. */
  nextId(account: string): string
  /** When a message got its id, milliseconds. */
  timeOf(id: string): number
  find(account: string, id: string): Promise<XmlElement | undefined>
  /** To be written in one batch with what else belongs to the message. `peer` is the other end. */
  operations(account: string, entry: { id: string, peer: Jid, message: XmlElement }): KvOperation[]
}
