/**
 * Kill −9 during group commit, again and again on one store: what a process was told is
 * durable must be there in the next, with no index row without its body and no usage that drifts.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import * as assert from 'uvu/assert'
import type { EnvelopeId } from '../../../protocol/ids.ts'
import { boxNamed, itemOf } from '../../compliance/store-subject.ts'
import { randomInteger, seededRandom } from '../../helpers/seeded-random.ts'
import { openPlace } from './kill-place.ts'
import type { KillPlace } from './kill-place.ts'
import { inDirectory, readBox } from './level-fixture.ts'

const box = boxNamed('inbox')

const redisHealth = { durable: true, full: false }

interface Promised {
  /** Numbers of mail said to be stored, and of mail said to be acknowledged. */
  readonly put: Set<number>
  readonly acknowledged: Set<number>
  readonly set: Map<string, number>
}

export interface CampaignOptions {
  readonly rounds: number
  readonly seed: string
  /** With each kill the power fails, too. */
  readonly power?: Power
}

export interface Power {
  /** Of the writer. */
  readonly env: Readonly<Record<string, string>>
  /** Everything that is there now is on disk. */
  settle(): Promise<void>
  /** What was not synced since is gone. */
  cut(): Promise<void>
}

export interface CampaignResult {
  readonly put: number
  readonly acknowledged: number
}

/** On an embedded store of its own. */
export async function killCampaign(rounds: number, seed: string): Promise<CampaignResult> {
  return await inDirectory((directory) => killCampaignAt({ kind: 'level', directory }, { rounds, seed }))
}

/** Kills the writer `rounds` times at different moments. @throws when anything promised is lost */
export async function killCampaignAt(
  place: KillPlace,
  { rounds, seed, power }: CampaignOptions,
): Promise<CampaignResult> {
  const promised: Promised = { put: new Set(), acknowledged: new Set(), set: new Map() }
  const random = seededRandom(seed)
  for (let round = 0; round < rounds; round++) {
    // Numbers said and not said before a kill never meet those of the next round.
    const lines = 200 + randomInteger(random, 3_000)
    await power?.settle()
    await writeUntilKilled({ place, first: round * 1_000_000, lines, env: power?.env ?? {} }, promised)
    await power?.cut()
    await check(place, promised)
  }
  return { put: promised.put.size, acknowledged: promised.acknowledged.size }
}

async function writeUntilKilled(
  { place, first, lines, env }: { place: KillPlace, first: number, lines: number, env: object },
  promised: Promised,
): Promise<void> {
  const script = new URL('./kill-writer.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [script, JSON.stringify(place), String(first)], {
    stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...env },
  })
  const exited = once(child, 'exit')
  try {
    let said = 0
    // What it said before it died is read to the end.
    for await (const line of createInterface({ input: child.stdout })) {
      const [what, a, b] = line.split(' ')
      if (what === 'put') promised.put.add(Number(a))
      else if (what === 'ack') promised.acknowledged.add(Number(a))
      else if (what === 'set') promised.set.set(a!, Number(b))
      if (++said === lines) child.kill('SIGKILL')
    }
    assert.ok(said >= lines, `the writer ended after ${said} of ${lines} lines`)
  } finally {
    child.kill('SIGKILL')
    await exited
  }
}

async function check(place: KillPlace, promised: Promised): Promise<void> {
  const store = await openPlace(place)
  try {
    const held = await readBox(store, box)
    assert.equal(store.health(), place.kind === 'level'
      ? { corrupt: 0, logBytesLost: 0, full: false }
      : { corrupt: 0, away: false, undurable: [], ...place.kind === 'Redis' ? redisHealth : {} })
    assert.is((await store.mailbox.usage()).items, held.size)
    for (const number of promised.put) {
      const id = idOf(number)
      if (held.has(id)) assert.is(promised.acknowledged.has(number), false, `${number} came back`)
      else assert.ok(await store.mailbox.tombstone(box, id), `${number} is lost`)
    }
    for (const number of promised.acknowledged) assert.ok(await store.mailbox.tombstone(box, idOf(number)))
    for (const [writer, number] of promised.set) {
      const { value } = (await store.kv.get(`writer/${writer}`))!
      // Numbers of one writer grow: the record may be newer than what was said, never older.
      assert.ok(Number(Buffer.from(value).toString()) >= number)
    }
  } finally {
    await store.close()
  }
}

function idOf(number: number): EnvelopeId {
  return itemOf({ box, number, expiresAtMs: Infinity, bytes: 100 + (number % 50) * 40 }).id
}
