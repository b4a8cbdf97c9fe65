/**
 * The victim of kill-campaign.ts: writes as fast as it can (kill-work.ts) and says on stdout what
 * it was told is durable, one line each:
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
import { openPlace } from './kill-place.ts'
import type { KillPlace } from './kill-place.ts'
import { work } from './kill-work.ts'

const [place, first] = process.argv.slice(2)
const store = await openPlace(JSON.parse(place!) as KillPlace)
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

await work({
  store,
  nextNumber: () => next++,
  put: (number) => say(`put ${number}`),
  acknowledged: (number) => say(`ack ${number}`),
  set: (writer, number) => say(`set ${writer} ${number}`),
  isOver: () => false,
  insist: (call) => call(false),
})
