/**
 * Batches that are not known to have arrived, in the store, so that a crash of ours loses none:
 *
 * ```text
 *   xmpp/shield/out/0000000000000042   →  domain SP epoch SP number SP milliseconds, LF, the stanzas
 *   xmpp/shield/sent/0000000000000042  →  ids of the messages that carry it, a line each
 * ```
 *
 * A batch is written once for all its stanzas. After a restart, one whose messages are still on their
 * way is waited for; any other goes again as the same batch, and the other end knows it.
 */
import { utf8, utf8Decode } from '../../../crypto/bytes.ts'
import type { MessageId } from '../../../protocol/ids.ts'
import { kvEntries } from '../../../protocol/kv.ts'
import type { KvStore } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import type { XmlElement } from '../xml/element.ts'
import { readBatch, writeBatch } from './batch.ts'
import type { BatchId } from './batch.ts'

const outPrefix = 'xmpp/shield/out/'
const sentPrefix = 'xmpp/shield/sent/'

export interface Batch {
  readonly key: string
  readonly id: BatchId
  readonly takenAtMs: number
  /** Patience with what is not sent counts from here: when it was taken, or was to go again. */
  waitsSinceMs: number
  stanzas: readonly XmlElement[]
  text: string
  /** Of the messages that carry it and did not arrive; empty before it is sent. */
  readonly messages: Set<MessageId>
  /** Its requests were given up, and their senders told. */
  isLate: boolean
}

export class ShieldOutbox {
  readonly #kv: KvStore
  #next = 1
  #count = 0
  #characters = 0

  constructor({ kv }: { readonly kv: KvStore }) {
    this.#kv = kv
  }

  /** Stanzas in it. */
  get count(): number {
    return this.#count
  }

  get isFull(): boolean {
    return this.#count >= xmppLimits.s2sQueueTotalMax || this.#characters >= xmppLimits.s2sQueueBytesMax
  }

  /** What an earlier process left, in order. */
  async load(): Promise<Batch[]> {
    const messages = new Map<string, string[]>()
    for await (const { key, value } of kvEntries(this.#kv, sentPrefix)) {
      messages.set(key.slice(sentPrefix.length), utf8Decode(value).split('\n'))
    }
    const found: Batch[] = []
    for await (const { key, value } of kvEntries(this.#kv, outPrefix)) {
      const sequence = key.slice(outPrefix.length)
      this.#next = Math.max(this.#next, Number(sequence) + 1)
      const batch = readRecord(sequence, utf8Decode(value), messages.get(sequence) ?? [])
      // Damaged: it was never read whole.
      if (batch === undefined) await this.#kv.write([{ type: 'delete', key }])
      else found.push(this.#counted(batch))
    }
    return found
  }

  /** Settles when it is durable. @throws STORE_* */
  async add(id: BatchId, stanzas: readonly XmlElement[], takenAtMs: number): Promise<Batch> {
    const key = String(this.#next++).padStart(16, '0')
    const text = writeBatch(stanzas)
    const batch = this.#counted({
      key, id, takenAtMs, waitsSinceMs: takenAtMs, stanzas, text, messages: new Set(), isLate: false,
    })
    try {
      await this.#kv.write([{ type: 'put', key: outPrefix + key, value: recordOf(batch) }])
      return batch
    } catch (error) {
      this.#uncount(batch)
      throw error
    }
  }

  /** Some of its stanzas are given up before it was sent. */
  async keepOnly(batch: Batch, stanzas: readonly XmlElement[]): Promise<void> {
    this.#uncount(batch)
    batch.stanzas = stanzas
    batch.text = writeBatch(stanzas)
    this.#counted(batch)
    await this.#kv.write([{ type: 'put', key: outPrefix + batch.key, value: recordOf(batch) }])
  }

  /** These messages carry it now. A crash before it is written sends it again. */
  sent(batch: Batch): void {
    const value = utf8([...batch.messages].join('\n'))
    this.#kv.write([{ type: 'put', key: sentPrefix + batch.key, value }]).catch(() => {})
  }

  /** It arrived, or went back to its senders, or went another way. */
  done(batch: Batch): void {
    this.#uncount(batch)
    // The store says so itself when it fails; the record is looked at again at the next start.
    this.#kv.write([
      { type: 'delete', key: outPrefix + batch.key }, { type: 'delete', key: sentPrefix + batch.key },
    ]).catch(() => {})
  }

  #counted(batch: Batch): Batch {
    this.#count += batch.stanzas.length
    this.#characters += batch.text.length
    return batch
  }

  #uncount({ stanzas, text }: Batch): void {
    this.#count -= stanzas.length
    this.#characters -= text.length
  }
}

function recordOf({ id: { domain, epoch, number }, takenAtMs, text }: Batch): Uint8Array {
  return utf8(`${domain} ${epoch} ${number} ${takenAtMs}\n${text}`)
}

function readRecord(key: string, record: string, messages: readonly string[]): Batch | undefined {
  const line = record.indexOf('\n')
  const [domain = '', epoch = '', number, takenAtMs] = record.slice(0, line).split(' ')
  const text = record.slice(line + 1)
  const read = readBatch(text)
  if (!read.ok) return undefined
  return {
    key, id: { domain, epoch, number: Number(number) },
    takenAtMs: Number(takenAtMs), waitsSinceMs: Number(takenAtMs),
    stanzas: read.value, text, messages: new Set(messages as MessageId[]), isLate: false,
  }
}
