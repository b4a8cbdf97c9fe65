/**
 * A process with a store of its own on a shared Redis, for races (redis-fixture.ts). Says `ready`,
 * takes one task a line on stdin and answers each with one line of JSON.
 *
 *   node redis-child.ts SOCKET
 */
import { createInterface } from 'node:readline'
import { systemRandom } from '../../../crypto/random.ts'
import { silentLog } from '../../../node/ports.ts'
import { openRedisStore } from '../../../node/storage/redis-store.ts'
import { systemClock } from '../../../protocol/system-clock.ts'
import { itemOf, proof } from '../../compliance/store-subject.ts'
import type { ChildTask } from './redis-fixture.ts'

const { mailbox } = await openRedisStore({
  address: { host: process.argv[2]! }, clock: systemClock, random: systemRandom, log: silentLog,
})

async function answer(task: ChildTask): Promise<unknown> {
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
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line) as ChildTask))}\n`)
}
