/**
 * One of two processes that race in sql-races.test.ts: opens the store, says `ready`, waits for a
 * line, puts mail of some numbers into two boxes all at once, and says what became of each as JSON.
 *
 *   node race-writer.ts PLACE FIRST COUNT     PLACE as JSON (kill-place.ts)
 */
import { once } from 'node:events'
import { boxNamed, itemOf } from '../../compliance/store-subject.ts'
import { openPlace } from './kill-place.ts'
import type { KillPlace } from './kill-place.ts'

const [place, first, count] = process.argv.slice(2)
const store = await openPlace(JSON.parse(place!) as KillPlace)
process.stdout.write('ready\n')
await once(process.stdin, 'data')

const numbers = Array.from({ length: Number(count) }, (_, i) => i)
const putAll = async (box: string, from: number): Promise<string[]> =>
  (await Promise.all(numbers.map((number) => store.mailbox.put([
    itemOf({ box: boxNamed(box), number: from + number, expiresAtMs: Infinity }),
  ])))).flat()
const [own, shared] = await Promise.all([putAll('own', Number(first)), putAll('shared', 0)])
process.stdout.write(`${JSON.stringify({ own, shared })}\n`)
await store.close()
process.exit()
