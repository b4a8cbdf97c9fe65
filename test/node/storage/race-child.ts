/**
 * A process with a store of its own on a shared database, for races (race-process.ts). Says `ready`,
 * takes one task a line on stdin and answers each with one line of JSON.
 *
 *   node race-child.ts PLACE     as JSON (kill-place.ts)
 */
import { createInterface } from 'node:readline'
import { itemOf, proof } from '../../compliance/store-subject.ts'
import { openPlace } from './kill-place.ts'
import type { KillPlace } from './kill-place.ts'
import type { RaceTask } from './race-process.ts'

const { mailbox } = await openPlace(JSON.parse(process.argv[2]!) as KillPlace)

async function answer(task: RaceTask): Promise<unknown> {
  const { box, numbers } = task
  const expiresAtMs = task.expiresAtMs ?? Infinity
  const items = numbers.map((number) => itemOf({ box, number, expiresAtMs }))
  if (task.do === 'put') return (await Promise.all(items.map((item) => mailbox.put([item])))).flat()
  if (task.do === 'expire') return await mailbox.expire(expiresAtMs, 10_000)
  const kept = { expiresAtMs: Infinity, proof }
  const found = await Promise.all(items.map(({ id }) => mailbox.acknowledge(box, [id], kept)))
  return found.reduce((sum, one) => sum + one, 0)
}

process.stdout.write('ready\n')
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line) as RaceTask))}\n`)
}
