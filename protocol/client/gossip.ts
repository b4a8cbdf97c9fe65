/**
 * Contacts tell each other heads of device lists, in band: the sender's own, and the receiver's as
 * the sender has it. Never anybody else's: that would tell who knows whom. So every pair of
 * contacts is a witness for each other's account, and whoever shows two people two lists of one
 * account (with its root key, or by holding a new list back) must cut off every message between
 * everybody concerned, or be noticed.
 *
 * | what a contact says                        | what it means and does                             |
 * |--------------------------------------------|----------------------------------------------------|
 * | own head newer than we know                | fetched, at most every `deviceListFetchMs`         |
 * | same number, another hash                  | fork: `changed`, the other list is fetched         |
 * | older, by a device that had a newer one    | rollback: a note, DEVICE_LIST_ROLLBACK             |
 * | older, by a device that never had it       | it was away; our head of its list tells it         |
 * | our head as we have it                     | they need not be sent our list                     |
 * | an older head of ours                      | they are sent our list with the next message       |
 * | our number, another hash                   | somebody shows another list of *our* account       |
 * | a newer number of ours than we made        | the same; on a linked device only after a day, as  |
 * |                                            | the primary's word may still be on its way         |
 *
 * What is remembered: per contact, the newest number that each of its devices has shown, and when;
 * per account, the alarms about it, until the person acknowledges them. Messages come late and out
 * of order: one that was sent before what we know says nothing about going back.
 */
import { equalBytes } from '../../crypto/bytes.ts'
import type { VerifiedDeviceList } from '../account.ts'
import { decode, encode, fixed, struct, text, u64, vector } from '../codec/struct.ts'
import { deviceIdCodec } from '../ids.ts'
import type { DeviceId } from '../ids.ts'
import { kvEntries } from '../kv.ts'
import { limits } from '../limits.ts'
import type { ListHead, ListHeads } from '../message/receipts.ts'
import type { AccountAlarm } from './api.ts'
import { Batch } from './batch.ts'
import type { ContactBook } from './contact-book.ts'
import type { Context } from './context.ts'
import { keys, lastPart } from './keys.ts'
import { readRecord } from './records.ts'
import type { ContactId } from './records.ts'
import { devicesOf } from './sealing.ts'
import { alarmed, noted } from './trust.ts'
import type { Turn } from './turns.ts'

/** The newest list that one of a contact's devices has shown to know. */
interface Shown {
  readonly device: DeviceId
  readonly number: number
  /** By that device's clock, of the message that showed it first. */
  readonly sentAtMs: number
}

interface OwnAlarm {
  readonly code: string
  readonly atMs: number
  /** Of the other list. */
  readonly number: number
  readonly hash: Uint8Array
}

const shownCodec = vector(
  struct<Shown>({ device: deviceIdCodec, number: u64, sentAtMs: u64 }),
  limits.devicesMax,
)
const alarmCodec = struct<OwnAlarm>({
  code: text(limits.refusalCodeBytesMax), atMs: u64, number: u64, hash: fixed(32),
})

const awaitedMax = 64

/** What to say to this contact; nothing between devices of one account, or to somebody unknown. */
export function headsFor(context: Context, turn: Turn): ListHeads | undefined {
  const list = turn.contact === undefined || isSelf(context, turn) ? undefined : devicesOf(turn.contact)
  return list && { sender: headOf(context.own.list), receiver: headOf(list) }
}

function headOf({ list, hash }: VerifiedDeviceList): ListHead {
  return { number: list.number, hash }
}

function isSelf({ own }: Context, turn: Turn): boolean {
  return turn.id === own.self
}

/** Where a head came from. */
export interface Said {
  readonly device: DeviceId
  readonly sentAtMs: number
}

export interface GossipParts {
  readonly book: ContactBook
  /** A list is to be fetched. */
  readonly onNeed: (turn: Turn) => void
}

export class Gossip {
  readonly #context: Context
  readonly #parts: GossipParts
  /** By the contact who has the other list. */
  readonly #alarms = new Map<ContactId, OwnAlarm>()
  /** When the newest word about our list was sent. */
  readonly #heardAtMs = new Map<ContactId, number>()
  /** Newer heads of our own list than this linked device knows, and since when. */
  readonly #awaited = new Map<number, number>()

  constructor(context: Context, parts: GossipParts) {
    this.#context = context
    this.#parts = parts
  }

  async load(): Promise<void> {
    for await (const { key, value } of kvEntries(this.#context.kv, keys.alarms)) {
      this.#alarms.set(lastPart(key) as ContactId, decode(alarmCodec, value))
    }
  }

  /** Alarms about our own account. */
  get alarms(): AccountAlarm[] {
    return [...this.#alarms].map(([id, { code, atMs, number }]) =>
      ({ code, atMs, contact: this.#parts.book.nameOf(id), number }))
  }

  /** The person has seen them. One that is shown again by a contact comes back. */
  async acknowledge(): Promise<void> {
    const batch = new Batch()
    for (const id of this.#alarms.keys()) {
      batch.delete(keys.alarm(id))
      batch.then(() => this.#alarms.delete(id))
    }
    await batch.commit(this.#context.kv)
  }

  /** What a device of the contact said. In a turn of the contact; changes only that. */
  async take(turn: Turn, said: Said, heads: ListHeads): Promise<void> {
    if (isSelf(this.#context, turn)) return
    await this.theirHead(turn, said, heads.sender)
    if (said.sentAtMs < (this.#heardAtMs.get(turn.id) ?? 0)) return
    this.#heardAtMs.set(turn.id, said.sentAtMs)
    this.#ownHead(turn, heads.receiver)
  }

  /** Of the contact's own list. */
  async theirHead(turn: Turn, { device, sentAtMs }: Said, head: ListHead): Promise<void> {
    const { contact } = turn
    const known = contact === undefined ? undefined : devicesOf(contact)
    if (contact === undefined || known === undefined) return
    const { number } = known.list
    if (head.number === number && !equalBytes(head.hash, known.hash)) {
      // Their list is fetched: the person may want to accept it.
      turn.contact = { ...alarmed(contact, { code: 'DEVICE_LIST_FORK' }), isListDue: true }
      this.#parts.onNeed(turn)
    } else if (head.number > number) {
      turn.contact = { ...contact, isListDue: true }
      this.#parts.onNeed(turn)
    }
    const shown = await this.#shown(turn)
    const before = shown.find((one) => one.device === device)
    if (before !== undefined && (before.number === head.number || sentAtMs <= before.sentAtMs)) return
    if (before !== undefined && head.number < before.number) {
      const numbers = { before: before.number, now: head.number }
      this.#context.log.warn(numbers, 'a contact\'s device went back to an older list')
      turn.contact = noted(turn.contact!, 'DEVICE_LIST_ROLLBACK')
    }
    const others = shown.filter((one) => one.device !== device)
    const kept = [...others, { device, number: head.number, sentAtMs }].slice(-limits.devicesMax)
    turn.batch.putBytes(keys.heads(turn.id), encode(shownCodec, kept))
  }

  /** Of our list, as the contact has it. */
  #ownHead(turn: Turn, head: ListHead): void {
    const { own } = this.#context
    const { list, hash } = own.list
    if (head.number === list.number && equalBytes(head.hash, hash)) {
      this.#told(turn, head.number)
    } else if (head.number === list.number) {
      this.#alarm(turn, head)
    } else if (head.number > list.number) {
      if (own.isPrimary || this.#isOverdue(head)) this.#alarm(turn, head)
    } else if (head.number === list.number - 1 && !equalBytes(head.hash, list.previous)) {
      this.#alarm(turn, head)
    } else {
      // They went back, or never got it: it goes along with what they are sent next.
      this.#told(turn, head.number)
    }
  }

  #told(turn: Turn, number: number): void {
    if (turn.contact === undefined || turn.contact.toldListNumber === number) return
    turn.contact = { ...turn.contact, toldListNumber: number }
  }

  #isOverdue(head: ListHead): boolean {
    const nowMs = this.#context.clock.now()
    const sinceMs = this.#awaited.get(head.number) ?? nowMs
    if (this.#awaited.size >= awaitedMax) this.#awaited.clear()
    this.#awaited.set(head.number, sinceMs)
    return nowMs - sinceMs >= limits.ownListPatienceMs
  }

  #alarm(turn: Turn, head: ListHead): void {
    const known = this.#alarms.get(turn.id)
    if (known?.number === head.number && equalBytes(known.hash, head.hash)) return
    const code = 'OWN_DEVICE_LIST_FORK'
    const { clock, log, emit } = this.#context
    const atMs = clock.now()
    // Out of the decoder's buffer.
    const alarm: OwnAlarm = { code, atMs, number: head.number, hash: head.hash.slice() }
    turn.batch.put(keys.alarm(turn.id), alarmCodec, alarm)
    const contact = this.#parts.book.nameOf(turn.id)
    turn.batch.then(() => {
      this.#alarms.set(turn.id, alarm)
      log.warn({ number: head.number }, 'somebody shows a device list of this account that is not ours')
      emit({ type: 'alarm', alarm: { code, atMs, contact, number: head.number } })
    })
  }

  async #shown(turn: Turn): Promise<Shown[]> {
    return await readRecord(this.#context.kv, shownCodec, keys.heads(turn.id)) ?? []
  }
}
