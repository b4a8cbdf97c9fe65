/**
 * The victim of kill-campaign.ts: writes mail and records as fast as it can with many writers at
 * once, and says on stdout what it was told is durable, one line each:
 *
 * ```text
 *   put <number>     mail of that number is stored
 *   ack <number>     it is acknowledged
 *   set <writer> <value>   the writer's record holds at least this value
 * ```
 *
 * `writeSync` because a line that waits in a buffer dies with the process.
 *
 *   node kill-writer.ts PLACE FIRST_NUMBER     PLACE as JSON (kill-place.ts)
 */
import { writeSync } from 'node:fs'
import { errorCode } from '../../../crypto/errors.ts'
import { boxNamed, itemOf, proof } from '../../compliance/store-subject.ts'
import { openPlace } from './kill-place.ts'
import type { KillPlace } from './kill-place.ts'

const box = boxNamed('inbox')
const writers = 32
const [place, first] = process.argv.slice(2)

const store = await openPlace(JSON.parse(place!) as KillPlace)
await store.mailbox.setBox(box, { itemsMax: Infinity, bytesMax: Infinity, expiresAtMs: Infinity })
let next = Number(first)

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

async function write(writer: number): Promise<never> {
  for (let value = 1; ; value++) {
    const number = next++
    const item = itemOf({ box, number, expiresAtMs: Infinity, bytes: 100 + (number % 50) * 40 })
    const [result] = await store.mailbox.put([item])
    if (result !== 'stored') throw new Error(`${number} was ${result}`)
    say(`put ${number}`)
    await store.kv.write([{ type: 'put', key: `writer/${writer}`, value: Buffer.from(String(number)) }])
    say(`set ${writer} ${number}`)
    if (value % 3 !== 0) continue
    await store.mailbox.acknowledge(box, [item.id], { expiresAtMs: Infinity, proof })
    say(`ack ${number}`)
  }
}

await Promise.all(Array.from({ length: writers }, (_, writer) => write(writer)))
