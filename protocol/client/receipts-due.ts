/**
 * The receipts we owe: which texts arrived here and which were read, told inside the encryption
 * and in bundles, so that nodes see neither whose they are nor how many. What is owed is written
 * down with the message itself, so a crash owes it still.
 */
import { randomFraction } from '../../crypto/random.ts'
import type { MessageId } from '../ids.ts'
import { kvEntries } from '../kv.ts'
import { limits } from '../limits.ts'
import type { Timer } from '../ports.ts'
import type { ReceiptsBody } from '../message/receipts.ts'
import type { Context } from './context.ts'
import type { Copies } from './copies.ts'
import { headsFor } from './gossip.ts'
import type { History } from './history.ts'
import { keys, lastPart } from './keys.ts'
import type { Outbox } from './outbox.ts'
import { contactRootKey, kinds } from './records.ts'
import type { ContactId } from './records.ts'
import { sendBody } from './sending.ts'
import type { Turn, Turns } from './turns.ts'

const readPage = 256

export class ReceiptsDue {
  readonly #context: Context
  readonly #turns: Turns
  readonly #history: History
  readonly #outbox: Outbox
  readonly #copies: Copies
  readonly #nameOf: (id: ContactId) => string
  readonly #timers = new Map<ContactId, Timer>()
  /** Contacts to whom something is owed. */
  readonly #owed = new Set<ContactId>()
  #isStarted = false

  constructor(context: Context, parts: {
    turns: Turns, history: History, outbox: Outbox, copies: Copies, nameOf: (id: ContactId) => string
  }) {
    this.#context = context
    this.#turns = parts.turns
    this.#history = parts.history
    this.#outbox = parts.outbox
    this.#copies = parts.copies
    this.#nameOf = parts.nameOf
  }

  async load(): Promise<void> {
    const prefix = keys.allDue
    for await (const { key } of kvEntries(this.#context.kv, prefix)) {
      this.#owed.add(key.slice(prefix.length, key.indexOf('/', prefix.length)) as ContactId)
    }
  }

  start(): void {
    this.#isStarted = true
    for (const id of this.#owed) this.soon(id)
  }

  stop(): void {
    this.#isStarted = false
    for (const timer of this.#timers.values()) timer.cancel()
    this.#timers.clear()
  }

  /** This one arrived (perhaps again: then its receipt may have been lost). In a turn. */
  arrived(turn: Turn, message: MessageId): void {
    turn.batch.mark(keys.due(turn.id, 'd', message))
    turn.batch.then(() => this.soon(turn.id))
  }

  /** Everything incoming up to `upTo` was read. */
  async markRead(contact: ContactId, upTo: number): Promise<void> {
    while (await this.#markPage(contact, upTo));
  }

  /** Removes what is owed to a contact who is being removed. In a turn. */
  async drop(turn: Turn): Promise<void> {
    for (const kind of ['d', 'r'] as const) {
      for (const { key } of await this.#context.kv.list({ prefix: keys.dues(turn.id, kind) })) {
        turn.batch.delete(key)
      }
    }
  }

  /** Sends what is owed, a little later, with what else comes until then. */
  soon(id: ContactId): void {
    this.#owed.add(id)
    if (!this.#isStarted || this.#timers.has(id)) return
    const delayMs = limits.receiptDelayMs * (0.75 + 0.5 * randomFraction(this.#context.random))
    this.#timers.set(id, this.#context.clock.after(delayMs, () => {
      this.#timers.delete(id)
      this.#send(id).catch((error: unknown) => {
        this.#context.log.warn({ err: error }, 'receipts could not be sent')
      })
    }))
  }

  /** There is an inbox to write to now, perhaps. */
  retry(id: ContactId): void {
    if (this.#owed.has(id)) this.soon(id)
  }

  async #send(id: ContactId): Promise<void> {
    const isMore = await this.#turns.run(id, async (turn) => {
      const delivered = await this.#list(id, 'd')
      const read = await this.#list(id, 'r')
      if (delivered.length + read.length === 0) {
        this.#owed.delete(id)
        return false
      }
      const body: ReceiptsBody = {
        type: 'receipts', delivered: delivered.map(messageOf), read: read.map(messageOf),
        heads: headsFor(this.#context, turn),
      }
      // Without an inbox to write to they stay owed; the contact's answer brings one.
      if (!sendBody(this.#context, turn, { outbox: this.#outbox, kind: kinds.receipts, body })) return false
      for (const key of [...delivered, ...read]) turn.batch.delete(key)
      turn.batch.then(() => this.#owed.delete(id))
      return Math.max(delivered.length, read.length) === limits.receiptIdsMax
    })
    if (isMore) this.soon(id)
  }

  async #list(id: ContactId, kind: 'd' | 'r'): Promise<string[]> {
    const rows = await this.#context.kv.list({ prefix: keys.dues(id, kind), limit: limits.receiptIdsMax })
    return rows.map((row) => row.key)
  }

  /** True when there is more to mark. */
  #markPage(contact: ContactId, upTo: number): Promise<boolean> {
    return this.#turns.run(contact, async (turn) => {
      const after = turn.thread.readUpTo
      if (turn.contact === undefined || after >= upTo) return false
      const entries = await this.#history.list({ contact, after, limit: readPage, direction: 'in' })
      const read = entries.filter(({ cursor }) => cursor <= upTo)
      const last = read.at(-1)
      if (last === undefined) return false
      const here: MessageId[] = []
      for (const { record: { id, unreadable } } of read) {
        const marked = keys.marked(contact, id)
        // Read on another device, which told them.
        if (await this.#context.kv.get(marked) !== undefined) turn.batch.delete(marked)
        else if (unreadable === undefined) here.push(id)
      }
      for (const id of here) turn.batch.mark(keys.due(contact, 'r', id))
      this.#tellSiblings(turn, here)
      this.#readTo(turn, last.cursor)
      turn.batch.then(() => this.soon(contact))
      return read.length === readPage
    })
  }

  /** Another device of ours says that these were read there. In a turn of the contact. */
  async readElsewhere(turn: Turn, messages: readonly MessageId[]): Promise<void> {
    const fresh = new Set(messages)
    for (const id of fresh) turn.batch.mark(keys.marked(turn.id, id))
    // As far as nothing is unread in between; the rest waits for what is missing.
    let upTo = turn.thread.readUpTo
    for (;;) {
      const before = upTo
      const query = { contact: turn.id, after: upTo, limit: readPage, direction: 'in' } as const
      for (const { cursor, record: { id } } of await this.#history.list(query)) {
        const marked = keys.marked(turn.id, id)
        if (!fresh.has(id) && await this.#context.kv.get(marked) === undefined) break
        turn.batch.delete(marked)
        upTo = cursor
      }
      if (upTo === before) break
    }
    if (upTo > turn.thread.readUpTo) this.#readTo(turn, upTo)
  }

  #readTo(turn: Turn, cursor: number): void {
    turn.thread = { ...turn.thread, readUpTo: cursor }
    turn.batch.then(() => {
      this.#context.emit({ type: 'read', contact: this.#nameOf(turn.id), upTo: cursor })
    })
  }

  #tellSiblings(turn: Turn, messages: MessageId[]): void {
    if (messages.length === 0) return
    this.#copies.add(turn.batch, { type: 'readMarks', contact: contactRootKey(turn.id), messages })
  }
}

function messageOf(key: string): MessageId {
  return lastPart(key) as MessageId
}
