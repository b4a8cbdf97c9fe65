/**
 * What this device has to tell its siblings, in order and durable: written down in the very batch
 * of the change it tells of, sealed later in a turn of the self contact, and kept until each of
 * them has confirmed it. So a crash forgets nothing, and a sibling that was away, or whose session
 * had to be begun anew, gets it again.
 *
 * ```text
 *   add ──► waiting for { A, B } ──seal──► outbox ──receipt of A──► { B } ──receipt of B──► gone
 *              ▲                              │
 *              └─ fresh session, or taken without a receipt ─┘
 * ```
 */
import { bool, decode, encode, optional, struct, u64, u8, vector } from '../codec/struct.ts'
import { boxIdCodec, deviceIdCodec, messageIdCodec } from '../ids.ts'
import type { BoxId, DeviceId, MessageId } from '../ids.ts'
import { kvEntries } from '../kv.ts'
import { limits } from '../limits.ts'
import { encodePayload } from '../message/payload.ts'
import type { SiblingBody } from '../message/payload.ts'
import type { Batch } from './batch.ts'
import type { Context } from './context.ts'
import { keys, lastNumber } from './keys.ts'
import { newMessageId } from './sealing.ts'

export interface CopyRecord {
  readonly messageId: MessageId
  readonly madeAtMs: number
  /** Not before: a sibling may say it first. */
  readonly notBeforeMs: number
  /** When it was last sealed for somebody; 0 before. */
  readonly sealedAtMs: number
  /** How often it was sealed anew because it was taken without a receipt. */
  readonly repeats: number
  /** The inbox that it goes through; absent: the one in use when it is sealed. */
  readonly box: BoxId | undefined
  readonly waiting: { readonly device: DeviceId, readonly isSealed: boolean }[]
}

export const copyCodec = struct<CopyRecord>({
  messageId: messageIdCodec,
  madeAtMs: u64,
  notBeforeMs: u64,
  sealedAtMs: u64,
  repeats: u8,
  box: optional(boxIdCodec),
  waiting: vector(
    struct<CopyRecord['waiting'][number]>({ device: deviceIdCodec, isSealed: bool }),
    limits.devicesMax,
  ),
})

const patienceGrowth = 8

export interface CopyOptions {
  /** Other than all siblings. */
  readonly devices?: readonly DeviceId[]
  /** For what several devices may tell; told once from here. */
  readonly messageId?: MessageId
  readonly delayMs?: number
  /** Another inbox than the one in use: the receivers may not know that one yet. */
  readonly box?: BoxId
}

export interface DueCopy {
  readonly number: number
  readonly record: CopyRecord
  readonly devices: readonly DeviceId[]
}

export class Copies {
  readonly #context: Context
  /** In the order of their numbers. */
  readonly #records = new Map<number, CopyRecord>()
  readonly #byMessage = new Map<MessageId, number>()
  readonly #onNews: () => void
  #next = 1

  /** @param onNews there is something to seal, durably */
  constructor(context: Context, onNews: () => void) {
    this.#context = context
    this.#onNews = onNews
  }

  async load(): Promise<void> {
    for await (const entry of kvEntries(this.#context.kv, keys.copies)) {
      const number = lastNumber(entry.key)
      this.#keep(number, decode(copyCodec, entry.value))
      this.#next = number + 1
    }
  }

  get size(): number {
    return this.#records.size
  }

  /** How many wait for this device. */
  countFor(device: DeviceId): number {
    let count = 0
    for (const { waiting } of this.#records.values()) {
      if (waiting.some((one) => one.device === device)) count++
    }
    return count
  }

  /**
   * Into the batch of any turn. Nothing happens while there is nobody to tell.
   */
  add(
    batch: Batch,
    body: SiblingBody,
    options: CopyOptions = {},
  ): void {
    const { own, clock } = this.#context
    const devices = options.devices ?? own.siblings
    const messageId = options.messageId ?? newMessageId(this.#context)
    if (devices.length === 0 || this.#byMessage.has(messageId)) return
    const nowMs = clock.now()
    const record: CopyRecord = {
      messageId,
      madeAtMs: nowMs,
      notBeforeMs: nowMs + (options.delayMs ?? 0),
      sealedAtMs: 0,
      repeats: 0,
      box: options.box,
      waiting: devices.map((device) => ({ device, isSealed: false })),
    }
    const payload = encodePayload({ messageId, sentAtMs: nowMs, sequence: 0, body })
    batch.late(() => {
      const number = this.#next++
      batch.putBytes(keys.copy(number), encode(copyCodec, record))
      batch.putBytes(keys.copied(number), payload)
      batch.then(() => {
        this.#keep(number, record)
        this.#onNews()
      })
    })
  }

  /** Those to be sealed now for devices among `reachable`, the oldest first. */
  due(input: {
    reachable: ReadonlySet<DeviceId>
    isUnderWay: (id: MessageId) => boolean
    limit: number
  }): DueCopy[] {
    const nowMs = this.#context.clock.now()
    const due: DueCopy[] = []
    for (const [number, record] of this.#records) {
      if (due.length === input.limit) break
      if (record.notBeforeMs > nowMs) continue
      const isRepeat = record.sealedAtMs > 0 && nowMs >= repeatDueMs(record)
        && !input.isUnderWay(record.messageId)
      const devices = record.waiting
        .filter(({ device, isSealed }) => input.reachable.has(device) && (!isSealed || isRepeat))
        .map(({ device }) => device)
      if (devices.length > 0) due.push({ number, record, devices })
    }
    return due
  }

  /** How long until one of them falls due that is not yet; `undefined` when none will by itself. */
  nextDueMs(isUnderWay: (id: MessageId) => boolean): number | undefined {
    const nowMs = this.#context.clock.now()
    let next: number | undefined
    for (const record of this.#records.values()) {
      const dueMs = record.sealedAtMs === 0
        ? record.notBeforeMs
        : isUnderWay(record.messageId) ? Infinity : repeatDueMs(record)
      if (dueMs > nowMs && dueMs < Infinity) next = Math.min(next ?? dueMs, dueMs)
    }
    return next === undefined ? undefined : next - nowMs
  }

  /** Payload of a copy as it is sealed. */
  async payload(number: number): Promise<Uint8Array | undefined> {
    return (await this.#context.kv.get(keys.copied(number)))?.value
  }

  /** In a turn of the self contact, as everything below. */
  sealed(batch: Batch, { number, record, devices }: DueCopy): void {
    const isRepeat = record.waiting.some(({ device, isSealed }) => isSealed && devices.includes(device))
    this.#change(batch, number, {
      ...record,
      sealedAtMs: this.#context.clock.now(),
      repeats: Math.min(255, record.repeats + (isRepeat ? 1 : 0)),
      waiting: record.waiting.map((one) => (devices.includes(one.device) ? { ...one, isSealed: true } : one)),
    })
  }

  /** That device has these. Gives the ids that nobody waits for any more. */
  confirm(batch: Batch, device: DeviceId, ids: readonly MessageId[]): MessageId[] {
    const done: MessageId[] = []
    for (const id of ids) {
      const number = this.#byMessage.get(id)
      const record = number === undefined ? undefined : this.#records.get(number)
      if (number === undefined || record === undefined) continue
      const waiting = record.waiting.filter((one) => one.device !== device)
      if (waiting.length === 0) done.push(id)
      this.#change(batch, number, { ...record, waiting })
    }
    return done
  }

  /** A fresh session with that device: what it did not confirm goes to it once more. */
  renew(batch: Batch, device: DeviceId): void {
    for (const [number, record] of [...this.#records]) {
      if (!record.waiting.some((one) => one.device === device && one.isSealed)) continue
      const waiting = record.waiting
        .map((one) => (one.device === device ? { device, isSealed: false } : one))
      this.#change(batch, number, { ...record, waiting })
    }
  }

  /** Nobody waits for these devices any more, nor for what no node keeps any longer. */
  prune(batch: Batch, listed: readonly DeviceId[]): void {
    const oldestMs = this.#context.clock.now() - limits.envelopeTtlMs
    let left = this.#records.size
    for (const [number, record] of [...this.#records]) {
      const isOver = record.madeAtMs < oldestMs || left > limits.copiesMax
      const waiting = isOver ? [] : record.waiting.filter(({ device }) => listed.includes(device))
      if (waiting.length === 0) left--
      if (waiting.length < record.waiting.length) this.#change(batch, number, { ...record, waiting })
    }
  }

  #change(batch: Batch, number: number, record: CopyRecord): void {
    const before = this.#records.get(number)
    if (before === undefined) return
    if (record.waiting.length === 0) {
      batch.delete(keys.copy(number))
      batch.delete(keys.copied(number))
      this.#drop(number, before)
    } else {
      batch.put(keys.copy(number), copyCodec, record)
      this.#records.set(number, record)
    }
    batch.otherwise(() => this.#keep(number, before))
  }

  #keep(number: number, record: CopyRecord): void {
    this.#records.set(number, record)
    this.#byMessage.set(record.messageId, number)
  }

  #drop(number: number, { messageId }: CopyRecord): void {
    this.#records.delete(number)
    if (this.#byMessage.get(messageId) === number) this.#byMessage.delete(messageId)
  }
}

/** Taken by every device, yet one of them did not say that it could read it. */
function repeatDueMs({ sealedAtMs, repeats }: CopyRecord): number {
  if (repeats >= limits.repeatsMax) return Infinity
  return sealedAtMs + limits.receiptPatienceMs * patienceGrowth ** repeats
}
