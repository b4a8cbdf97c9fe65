/**
 * What the suites of the `Store` port share: a subject under test, mail to put into it, and the
 * shortest ways to ask about it.
 */
import * as assert from 'uvu/assert'
import { hex, utf8 } from '../../crypto/bytes.ts'
import { errorCode } from '../../crypto/errors.ts'
import { envelopeId } from '../../protocol/envelope.ts'
import type { BoxId, EnvelopeId } from '../../protocol/ids.ts'
import type { BoxLimits, MailboxItem, Store } from '../../node/ports.ts'
import type { VirtualClock } from '../helpers/virtual-clock.ts'

export interface StoreSubject {
  readonly store: Store
  /** The same data in a new store; the old one is closed. */
  reopen(): Promise<StoreSubject>
  /** Closes and removes all of it. */
  remove(): Promise<void>
}

export interface StoreFactory {
  /** Once, before the first and after the last. */
  start?(): Promise<void>
  stop?(): Promise<void>
  open(clock: VirtualClock): Promise<StoreSubject>
}

/** The subject of the test that is running. */
export interface StoreTestState {
  clock: VirtualClock
  subject: StoreSubject
}

export const hourMs = 3_600_000
export const proof = utf8('signed by the owner')
export const wide: BoxLimits = { itemsMax: 1_000, bytesMax: 1_000_000, expiresAtMs: Infinity }

/** A box of its own for each name. */
export function boxNamed(name: string): BoxId {
  return hex(utf8(name.padEnd(32, '.')).subarray(0, 32)) as BoxId
}

/** Something whose id is right; the number makes it unique. */
export function itemOf(
  options: { box: BoxId, number: number, expiresAtMs: number, bytes?: number },
): MailboxItem {
  const { box, number, expiresAtMs, bytes = 200 } = options
  const body = new Uint8Array(bytes).fill(number)
  new DataView(body.buffer).setUint32(0, number)
  return { box, id: envelopeId(body), expiresAtMs, body }
}

/** All of a box, in one page. */
export async function idsIn(store: Store, box: BoxId): Promise<EnvelopeId[]> {
  const page = { after: 0, itemsMax: 10_000, bytesMax: 100_000_000 }
  const { entries, more } = await store.mailbox.list(box, page)
  assert.is(more, false)
  return entries.map(({ id }) => id)
}

/** The code of what it rejects with, or `settled`. */
export async function rejection(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
  } catch (error) {
    return errorCode(error) ?? String(error)
  }
  return 'settled'
}
