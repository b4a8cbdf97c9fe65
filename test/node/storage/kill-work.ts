/**
 * What is written while something is killed: mail and records from many writers at once, with a word
 * for each promise that the store made. kill-writer.ts does it in a process that is killed itself,
 * kill-campaign.ts beside a server that is.
 */
import type { MailboxItem, Store } from '../../../node/ports.ts'
import { boxNamed, itemOf, proof } from '../../compliance/store-subject.ts'

export const box = boxNamed('inbox')
export const writers = 32

/** What the store said is durable. */
export interface Promised {
  /** Numbers of mail said to be stored, and of mail said to be acknowledged. */
  readonly put: Set<number>
  readonly acknowledged: Set<number>
  /** By writer: its record holds at least this number. */
  readonly set: Map<number, number>
}

export interface KillWork {
  readonly store: Store
  /** Of mail, each once. */
  nextNumber(): number
  put(number: number): void
  acknowledged(number: number): void
  set(writer: number, number: number): void
  isOver(): boolean
  /** Calls, and again where nobody knows what became of it. */
  insist<T>(call: (isAgain: boolean) => Promise<T>): Promise<T>
}

export function mailNumbered(number: number): MailboxItem {
  return itemOf({ box, number, expiresAtMs: Infinity, bytes: 100 + (number % 50) * 40 })
}

/** Until it is over, with all writers at once. */
export async function work(on: KillWork): Promise<void> {
  await on.store.mailbox.setBox(box, { itemsMax: Infinity, bytesMax: Infinity, expiresAtMs: Infinity })
  await Promise.all(Array.from({ length: writers }, (_, writer) => write(writer, on)))
}

async function write(writer: number, on: KillWork): Promise<void> {
  const { mailbox, kv } = on.store
  for (let turn = 1; !on.isOver(); turn++) {
    const number = on.nextNumber()
    const item = mailNumbered(number)
    await on.insist(async (isAgain) => {
      const [result] = await mailbox.put([item])
      // Only one that was refused without a word of its fate may be there already.
      if (result === 'stored' || (isAgain && result === 'duplicate')) return
      throw new Error(`${number} was ${result}`)
    })
    on.put(number)
    const value = Buffer.from(String(number))
    await on.insist(() => kv.write([{ type: 'put', key: `writer/${writer}`, value }]))
    on.set(writer, number)
    if (turn % 3 !== 0) continue
    await on.insist(() => mailbox.acknowledge(box, [item.id], { expiresAtMs: Infinity, proof }))
    on.acknowledged(number)
  }
}
