/**
 * Older history on a device that was linked later: pages from the primary, the newest messages
 * first, put at numbers below everything this device saw itself. A message's place follows from
 * its place in the row, so a page that comes twice, or late, does no harm.
 */
import type { Result } from '../../crypto/errors.ts'
import { routes } from '../frame/receipt.ts'
import { limits } from '../limits.ts'
import { checkFile, noteOf } from '../message/file.ts'
import type { HistoryPageBody, HistoryPageEntry } from '../message/history-page.ts'
import type { Context } from './context.ts'
import { offerFile } from './file-records.ts'
import type { History } from './history.ts'
import { keys } from './keys.ts'
import { contactId, messageCodec, readRecord } from './records.ts'
import type { ContactId, MessageRecord } from './records.ts'
import type { Turn, Turns } from './turns.ts'

export interface SyncProgress {
  readonly have: number
  readonly want: number
}

export class HistoryIntake {
  readonly #context: Context
  readonly #history: History
  readonly #turns: Turns
  #progress: SyncProgress | undefined
  #isOver = false

  constructor(context: Context, parts: { history: History, turns: Turns }) {
    this.#context = context
    this.#history = parts.history
    this.#turns = parts.turns
  }

  /** How far it came since this start; `undefined` when nothing is under way. */
  get progress(): SyncProgress | undefined {
    return this.#progress
  }

  /** In a turn of the self contact. */
  async take(turn: Turn, page: HistoryPageBody): Promise<Result<undefined>> {
    const { offset, left, entries } = page
    const places = new Map<ContactId, { cursor: number, entry: HistoryPageEntry }[]>()
    for (const [i, entry] of entries.entries()) {
      const cursor = limits.historySyncMax - offset - i
      if (cursor < 1) return { ok: false, code: 'MESSAGE_CONTENT', detail: 'more history than was asked for' }
      const id = contactId(entry.contact)
      places.set(id, [...places.get(id) ?? [], { cursor, entry }])
    }
    // Our own conversation has no history, and its turn is under way.
    places.delete(this.#context.own.self)
    await Promise.all([...places].map(([id, list]) => this.#turns.run(id, async (inner) => {
      for (const { cursor, entry } of list) await this.#put(inner, cursor, entry)
    })))
    const have = offset + entries.length
    turn.batch.then(() => {
      // Pages may come in any order; what is told last is the end.
      this.#isOver ||= left === 0
      const known = this.#progress?.have ?? 0
      this.#progress = this.#isOver ? undefined : { have: Math.max(known, have), want: have + left }
    })
    return { ok: true, value: undefined }
  }

  async #put(turn: Turn, cursor: number, entry: HistoryPageEntry): Promise<void> {
    const { kv } = this.#context
    const { isOutgoing, id, text, file, sentAtMs, receivedAtMs, afterGap, state } = entry
    const arrived = keys.arrived(turn.id, id)
    const known = isOutgoing ? await readRecord(kv, messageCodec, keys.message(id)) : await kv.get(arrived)
    // A file that cannot be fetched any more has nothing to show.
    const isNothing = text === '' && (file === undefined || !checkFile(file).ok)
    if (known !== undefined || isNothing) return
    if (file !== undefined) {
      offerFile(turn.batch, id, {
        contact: turn.id, isOutgoing, body: { type: 'file', ...file }, atMs: receivedAtMs,
      })
    }
    this.#history.putAt(turn.batch, cursor, {
      contact: turn.id, isOutgoing, id, text, sentAtMs, receivedAtMs, afterGap,
      file: file === undefined ? undefined : noteOf(file),
    })
    if (!isOutgoing) {
      turn.batch.mark(arrived)
      return
    }
    const message: MessageRecord = {
      contact: turn.id, cursor, sequence: 0, state, have: 0, want: 0, route: routes.none, level: 0, sentAtMs,
      storedAtMs: 0, deliveredAtMs: 0, readAtMs: 0, code: '',
    }
    turn.batch.put(keys.message(id), messageCodec, message)
  }
}
