/**
 * Receipts of texts that this device does not know yet: a contact answers all our devices, and may
 * be faster than the sibling that wrote the text. They wait here, a bounded number for each
 * contact, until the sibling's copy comes.
 */
import { oneOf, struct } from '../codec/struct.ts'
import type { MessageId } from '../ids.ts'
import { limits } from '../limits.ts'
import type { Context } from './context.ts'
import { keys } from './keys.ts'
import { readRecord, states } from './records.ts'
import type { Turn } from './turns.ts'

type EarlyState = typeof states.delivered | typeof states.read

const earlyCodec = struct<{ readonly state: EarlyState }>({
  state: oneOf([states.delivered, states.read], 'receipt'),
})

export class EarlyReceipts {
  readonly #context: Context

  constructor(context: Context) {
    this.#context = context
  }

  /** In a turn of the contact. Without siblings nobody can have written the text. */
  async note(turn: Turn, id: MessageId, state: EarlyState): Promise<void> {
    const { kv, own } = this.#context
    if (own.siblings.length === 0) return
    const key = keys.early(turn.id, id)
    const known = await readRecord(kv, earlyCodec, key)
    if (known !== undefined && known.state >= state) return
    const count = (await kv.list({ prefix: keys.earlies(turn.id), limit: limits.earlyReceiptsMax })).length
    if (known === undefined && count >= limits.earlyReceiptsMax) return
    turn.batch.put(key, earlyCodec, { state })
  }

  /** What is known of a text that is told to us now. */
  async take(turn: Turn, id: MessageId): Promise<EarlyState | undefined> {
    const key = keys.early(turn.id, id)
    const known = await readRecord(this.#context.kv, earlyCodec, key)
    if (known !== undefined) turn.batch.delete(key)
    return known?.state
  }

  /** The contact is being removed. */
  async drop(turn: Turn): Promise<void> {
    const rows = await this.#context.kv.list({
      prefix: keys.earlies(turn.id), limit: limits.earlyReceiptsMax,
    })
    for (const { key } of rows) turn.batch.delete(key)
  }
}
