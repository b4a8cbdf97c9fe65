/**
 * A process whose disk, or whose database's disk, is slow (slow-sync.test.ts). Says `ready`; takes
 * one task a line on stdin and answers each with one line of JSON:
 *
 * ```text
 *   {"writers": W, "puts": N}   W at a time put N messages together; how long each took
 *   {"flood": N}                N of the largest messages at once: what became of them
 * ```
 *
 *   node slow-writer.ts PLACE     PLACE as JSON (kill-place.ts)
 */
import { createInterface } from 'node:readline'
import { limits } from '../../../protocol/limits.ts'
import { systemClock } from '../../../protocol/system-clock.ts'
import { boxNamed, itemOf, rejection } from '../../compliance/store-subject.ts'
import { openPlace } from './kill-place.ts'
import type { KillPlace } from './kill-place.ts'
import type { SlowTask } from './slow-sync.test.ts'

const box = boxNamed('inbox')
const store = await openPlace(JSON.parse(process.argv[2]!) as KillPlace)
await store.mailbox.setBox(box, { itemsMax: Infinity, bytesMax: Infinity, expiresAtMs: Infinity })
// The next process on this database has others.
let next = process.pid * 2_000

async function write(writers: number, puts: number): Promise<number[]> {
  const tookMs: number[] = []
  let left = puts
  const writer = async (): Promise<void> => {
    while (left-- > 0) {
      const item = itemOf({ box, number: next++, expiresAtMs: Infinity, bytes: 1_024 })
      const beforeMs = systemClock.monotonicMs()
      const [result] = await store.mailbox.put([item])
      if (result !== 'stored') throw new Error(`a put was ${result}`)
      tookMs.push(systemClock.monotonicMs() - beforeMs)
    }
  }
  await Promise.all(Array.from({ length: writers }, writer))
  return tookMs
}

async function flood(count: number): Promise<string[]> {
  const largest = () =>
    itemOf({ box, number: next++, expiresAtMs: Infinity, bytes: limits.envelopeBytesMax })
  return await Promise.all(Array.from({ length: count }, () => rejection(store.mailbox.put([largest()]))))
}

process.stdout.write('ready\n')
for await (const line of createInterface({ input: process.stdin })) {
  const task = JSON.parse(line) as SlowTask
  const answer = 'flood' in task ? await flood(task.flood) : await write(task.writers, task.puts)
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
await store.close()
process.exit()
