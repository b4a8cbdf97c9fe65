/**
 * What damage takes without leaving a hole that anybody would fall into: the outbox record of a
 * text (salvage.ts). The text stands in the history and nothing says what became of it, so it is
 * told to have failed, and the person can send it again. If it arrives after all, by what the node
 * has of it, the contact's receipt still says so.
 */
import { routes } from '../frame/receipt.ts'
import { limits } from '../limits.ts'
import { Batch } from './batch.ts'
import type { Context } from './context.ts'
import type { History } from './history.ts'
import { keys } from './keys.ts'
import type { Outbox } from './outbox.ts'
import { messageCodec, readRecord, states } from './records.ts'
import { damagedPrefix } from './salvage.ts'

/** Looks only when a record of the outbox was set aside. After history and outbox are loaded. */
export async function tellLostStates(
  context: Context,
  { history, outbox }: { history: History, outbox: Outbox },
): Promise<void> {
  const { kv, clock, log } = context
  const [mark] = await kv.list({ prefix: damagedPrefix + keys.outboxes, limit: 1 })
  if (mark === undefined) return
  const oldestMs = clock.now() - limits.envelopeTtlMs
  let after: number | undefined
  for (;;) {
    const query = { direction: 'out', reverse: true } as const
    const page = await history.list(after === undefined ? query : { ...query, after })
    const batch = new Batch()
    for (const { cursor, record: { id, contact, sentAtMs } } of page) {
      const known = outbox.message(id) ?? await readRecord(kv, messageCodec, keys.message(id))
      if (known !== undefined || sentAtMs < oldestMs) continue
      batch.put(keys.message(id), messageCodec, {
        contact, cursor, sequence: 0, state: states.failed, have: 0, want: 0, route: routes.none, level: 0,
        sentAtMs, storedAtMs: 0, deliveredAtMs: 0, readAtMs: 0, code: 'STORE_SEAL',
      })
      log.warn({ code: 'STORE_SEAL' }, 'what became of a text is not known any more')
    }
    if (!batch.isEmpty) await batch.commit(kv)
    const last = page.at(-1)
    if (last === undefined || last.record.sentAtMs < oldestMs) return
    after = last.cursor
  }
}
