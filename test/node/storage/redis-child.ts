/**
 * A process with a store of its own on a shared Redis, for races and kills (redis-fixture.ts). Says
 * `ready`, takes one task a line on stdin and answers each with one line of JSON; the task `write`
 * never ends: it writes as fast as it can and says `put NUMBER` and `ack NUMBER` for what it was
 * told is durable. `writeSync` because a line that waits in a buffer dies with the process.
 *
 *   node redis-child.ts SOCKET
 */
import { writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { systemRandom } from '../../../crypto/random.ts'
import { errorCode } from '../../../crypto/errors.ts'
import { silentLog } from '../../../node/ports.ts'
import { openRedisStore } from '../../../node/storage/redis-store.ts'
import { systemClock } from '../../../protocol/system-clock.ts'
import { itemOf, proof } from '../../compliance/store-subject.ts'
import type { ChildTask } from './redis-fixture.ts'

const writers = 32

const { mailbox } = await openRedisStore({
  address: { host: process.argv[2]! }, clock: systemClock, random: systemRandom, log: silentLog,
})

function say(line: string): void {
  for (let rest = Buffer.from(`${line}\n`); rest.length > 0;) {
    try {
      rest = rest.subarray(writeSync(1, rest))
    } catch (error) {
      // The reader is behind.
      if (errorCode(error) !== 'EAGAIN') throw error
    }
  }
}

async function answer(task: ChildTask): Promise<unknown> {
  const { box, numbers } = task
  const expiresAtMs = task.expiresAtMs ?? Infinity
  const items = numbers.map((number) => itemOf({ box, number, expiresAtMs }))
  if (task.do === 'put') return (await Promise.all(items.map((item) => mailbox.put([item])))).flat()
  if (task.do === 'expire') return await mailbox.expire(expiresAtMs, 10_000)
  if (task.do === 'acknowledge') {
    const kept = { expiresAtMs: Infinity, proof }
    const found = await Promise.all(items.map(({ id }) => mailbox.acknowledge(box, [id], kept)))
    return found.reduce((sum, one) => sum + one, 0)
  }
  let next = numbers[0]!
  return await Promise.all(Array.from({ length: writers }, async () => {
    for (;;) {
      const number = next++
      const item = itemOf({ box, number, expiresAtMs })
      const [result] = await mailbox.put([item])
      if (result !== 'stored') throw new Error(`${number} was ${result}`)
      say(`put ${number}`)
      if (number % 3 !== 0) continue
      await mailbox.acknowledge(box, [item.id], { expiresAtMs: Infinity, proof })
      say(`ack ${number}`)
    }
  }))
}

say('ready')
for await (const line of createInterface({ input: process.stdin })) {
  say(JSON.stringify(await answer(JSON.parse(line) as ChildTask)))
}
