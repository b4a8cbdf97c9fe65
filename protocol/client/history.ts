/**
 * The account's history: every text in the order people see it, numbered through all
 * conversations. A cursor is given out at the moment of the write, so a reader who continues
 * after the last cursor it saw misses nothing. A device that was linked later keeps the numbers
 * below its own first one free for what was before (history-intake.ts).
 */
import { OpenIMError } from '../../crypto/errors.ts'
import { utf8 } from '../../crypto/bytes.ts'
import { decode } from '../codec/struct.ts'
import { limits } from '../limits.ts'
import type { KvStore } from '../ports.ts'
import { safeFileName } from '../file-name.ts'
import type { FileNote } from '../message/file.ts'
import type { HistoryEntry, HistoryFile, MessageStatus } from './api.ts'
import { Batch } from './batch.ts'
import { keys, lastNumber } from './keys.ts'
import { historyCodec, numberCodec, readRecord } from './records.ts'
import type { ContactId, HistoryRecord } from './records.ts'

export interface HistoryQuery {
  readonly after?: number
  readonly limit?: number
  readonly contact?: ContactId
  readonly direction?: 'in' | 'out'
  readonly reverse?: boolean
}

const directionByte = { in: 0, out: 1 } as const
const page = 256

export class History {
  readonly #kv: KvStore
  #next = 1

  constructor(kv: KvStore) {
    this.#kv = kv
  }

  async load(): Promise<void> {
    const [last] = await this.#kv.list({ prefix: keys.histories, limit: 1, reverse: true })
    const base = (await readRecord(this.#kv, numberCodec, keys.meta('history')))?.value ?? 0
    this.#next = Math.max(base, last === undefined ? 0 : lastNumber(last.key)) + 1
  }

  /** Into the batch; `numbered` hears the cursor right before the write. */
  append(batch: Batch, record: HistoryRecord, numbered: (cursor: number) => void): void {
    batch.late(() => {
      const cursor = this.#next++
      this.putAt(batch, cursor, record)
      numbered(cursor)
    })
  }

  /** At a number that was kept free. */
  putAt(batch: Batch, cursor: number, record: HistoryRecord): void {
    batch.put(keys.history(cursor), historyCodec, record)
    batch.putBytes(
      keys.talk(record.contact, cursor),
      new Uint8Array([record.isOutgoing ? directionByte.out : directionByte.in]),
    )
  }

  record(cursor: number): Promise<HistoryRecord | undefined> {
    return readRecord(this.#kv, historyCodec, keys.history(cursor))
  }

  /** Cursors and records, oldest first after `after` (newest first before it when `reverse`). */
  async list(query: HistoryQuery): Promise<{ cursor: number, record: HistoryRecord }[]> {
    const limit = Math.min(query.limit ?? limits.historyPageMax, limits.historyPageMax)
    const found: { cursor: number, record: HistoryRecord }[] = []
    let after = query.after
    while (found.length < limit) {
      const { entries, last } = await this.#page({ ...query, ...after === undefined ? {} : { after } })
      for (const entry of entries) {
        const direction = entry.record.isOutgoing ? 'out' : 'in'
        if (direction === (query.direction ?? direction) && found.length < limit) found.push(entry)
      }
      if (last === undefined) break
      after = last
    }
    return found
  }

  /** One page of the store; `last` is where the next begins, undefined at the end. */
  async #page(
    query: HistoryQuery,
  ): Promise<{ entries: { cursor: number, record: HistoryRecord }[], last: number | undefined }> {
    const { contact, after, reverse = false } = query
    const key = contact === undefined ? keys.history : (cursor: number): string => keys.talk(contact, cursor)
    const rows = await this.#kv.list({
      prefix: contact === undefined ? keys.histories : keys.talks(contact),
      limit: page,
      reverse,
      ...after === undefined ? {} : { after: key(after) },
    })
    const last = rows.length < page ? undefined : lastNumber(rows.at(-1)!.key)
    if (contact === undefined) {
      return {
        last,
        entries: rows.map(
          (row) => ({ cursor: lastNumber(row.key), record: decode(historyCodec, row.value) }),
        ),
      }
    }
    const { direction } = query
    const wanted = rows.filter(({ value }) =>
      direction === undefined || value[0] === directionByte[direction])
    const records = await Promise.all(wanted.map((row) => this.record(lastNumber(row.key))))
    const entries = wanted.flatMap((row, i) => {
      const record = records[i]
      return record === undefined ? [] : [{ cursor: lastNumber(row.key), record }]
    })
    return { entries, last }
  }

  async cursor(name: string): Promise<number> {
    return (await readRecord(this.#kv, numberCodec, keys.cursor(checkedCursorName(name))))?.value ?? 0
  }

  async setCursor(name: string, position: number): Promise<void> {
    if (!Number.isSafeInteger(position) || position < 0) {
      throw new OpenIMError(
        'CURSOR_POSITION',
        `a reading position is a whole number from 0, got ${position}`,
      )
    }
    const batch = new Batch()
    batch.put(keys.cursor(checkedCursorName(name)), numberCodec, { value: position })
    await batch.commit(this.#kv)
  }
}

function checkedCursorName(name: string): string {
  const length = utf8(name).length
  if (length === 0 || length > limits.cursorNameBytesMax) {
    throw new OpenIMError(
      'CURSOR_NAME',
      `a cursor's name has 1 to ${limits.cursorNameBytesMax} bytes, got ${length}`,
    )
  }
  return name
}

export function historyFace(
  entry: { cursor: number, record: HistoryRecord },
  contact: string,
  status?: MessageStatus,
): HistoryEntry {
  const { cursor, record } = entry
  const { file } = record
  return {
    cursor,
    id: record.id,
    contact,
    direction: record.isOutgoing ? 'out' : 'in',
    text: record.text,
    sentAtMs: record.sentAtMs,
    receivedAtMs: record.receivedAtMs,
    ...record.afterGap ? { afterGap: true } : {},
    ...record.unreadable === undefined ? {} : { unreadable: record.unreadable },
    ...file === undefined ? {} : { file: shownFile(file, record) },
    ...status === undefined ? {} : { status },
  }
}

/** As it was when the message was shown; its record knows what became of it. */
function shownFile({ name, mediaType, length }: FileNote, record: HistoryRecord): HistoryFile {
  return { name: safeFileName(name), mediaType, size: length, state: record.isOutgoing ? 'sent' : 'offered' }
}
