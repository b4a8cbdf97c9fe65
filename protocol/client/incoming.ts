/**
 * What a bot reads: every incoming message once, in order, also those that came while it was off. A
 * durable cursor (`ClientApi.cursor`) moves behind a message when the loop comes back for the next
 * one; a bot that dies in the middle of a message gets that one again.
 */
import type { ClientApi, HistoryEntry } from './api.ts'

export interface IncomingOptions {
  /** Of the cursor: two readers with names of their own both get everything. */
  readonly name: string
  /** Ends the loop, after the message under way. */
  readonly signal?: AbortSignal
}

const pageSize = 100

/** Begins with the first message after the cursor, and goes on with what comes. @throws STORE_* */
export async function* incoming(
  client: Pick<ClientApi, 'cursor' | 'history' | 'on' | 'setCursor'>,
  { name, signal }: IncomingOptions,
): AsyncGenerator<HistoryEntry, void, undefined> {
  let news = Promise.withResolvers<void>()
  const wake = (): void => news.resolve()
  const unsubscribe = client.on((event) => { if (event.type === 'message') wake() })
  signal?.addEventListener('abort', wake)
  try {
    let after = await client.cursor(name)
    while (signal?.aborted !== true) {
      // Before looking, so that what comes while we look is looked for again.
      news = Promise.withResolvers<void>()
      const page = await client.history({ after, limit: pageSize, direction: 'in' })
      for (const entry of page) {
        if (signal?.aborted) return
        yield entry
        after = entry.cursor
        await client.setCursor(name, after)
      }
      if (page.length === 0 && !signal?.aborted) await news.promise
    }
  } finally {
    unsubscribe()
    signal?.removeEventListener('abort', wake)
  }
}
