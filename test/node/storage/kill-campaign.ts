/**
 * Kill −9 during group commit, of our process or of the database server, again and again on one
 * store: what somebody was told is durable must be there afterwards, with no index row without its
 * body, nothing doubled, and no usage that drifts.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import * as assert from 'uvu/assert'
import { errorCode } from '../../../crypto/errors.ts'
import { eventually } from '../../helpers/cli-node.ts'
import type { DatabaseProcess } from '../../helpers/database-process.ts'
import { randomInteger, seededRandom } from '../../helpers/seeded-random.ts'
import { openPlace } from './kill-place.ts'
import type { KillPlace } from './kill-place.ts'
import { box, mailNumbered, work } from './kill-work.ts'
import type { Promised } from './kill-work.ts'
import { inDirectory, readBox } from './level-fixture.ts'

const redisHealth = { durable: true, full: false }

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

/** Kills the writing process `rounds` times at different moments. @throws when anything promised is lost */
export async function killCampaignAt(
  place: KillPlace,
  { rounds, seed, power }: CampaignOptions,
): Promise<CampaignResult> {
  const promised = nothingYet()
  const random = seededRandom(seed)
  for (let round = 0; round < rounds; round++) {
    // Numbers said and not said before a kill never meet those of the next round.
    const lines = 200 + randomInteger(random, 3_000)
    await power?.settle()
    await writeUntilKilled({ place, first: round * 1_000_000, lines, env: power?.env ?? {} }, promised)
    await power?.cut()
    await check(place, promised)
  }
  return countsOf(promised)
}

/**
 * Kills the server `rounds` times at different moments under writers of this process, which try
 * again what it did not answer. @throws when anything promised is lost, or anything is there twice
 */
export async function killServerCampaign(
  server: DatabaseProcess,
  place: KillPlace,
  { rounds, seed }: { rounds: number, seed: string },
): Promise<CampaignResult> {
  const promised = nothingYet()
  const random = seededRandom(seed)
  const store = await openPlace(place)
  let next = 0
  let isOver = false
  let killAt = Infinity
  let reached = (): void => {}
  const working = work({
    store,
    nextNumber: () => next++,
    put(number) {
      promised.put.add(number)
      if (promised.put.size >= killAt) reached()
    },
    acknowledged: (number) => { promised.acknowledged.add(number) },
    set: (writer, number) => { promised.set.set(writer, number) },
    isOver: () => isOver,
    insist: untilAnswered,
  })
  const putMore = (count: number): Promise<void> => new Promise((resolve) => {
    killAt = promised.put.size + count
    reached = resolve
  })
  try {
    for (let round = 0; round < rounds; round++) {
      await Promise.race([putMore(100 + randomInteger(random, 500)), working])
      await server.kill()
      await server.start()
    }
    await Promise.race([putMore(100), working])
    isOver = true
    await working
  } finally {
    isOver = true
    await store.close()
  }
  assert.is(await check(place, promised), promised.put.size - promised.acknowledged.size)
  return countsOf(promised)
}

async function untilAnswered<T>(call: (isAgain: boolean) => Promise<T>): Promise<T> {
  let isAgain = false
  const { value } = await eventually(async () => {
    try {
      return { value: await call(isAgain) }
    } catch (error) {
      if (errorCode(error) !== 'STORE_AWAY') throw error
      isAgain = true
      return undefined
    }
  }, { everyMs: 20, withinMs: 60_000, what: 'the database is back' })
  return value
}

function nothingYet(): Promised {
  return { put: new Set(), acknowledged: new Set(), set: new Map() }
}

function countsOf({ put, acknowledged }: Promised): CampaignResult {
  return { put: put.size, acknowledged: acknowledged.size }
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
      else if (what === 'set') promised.set.set(Number(a), Number(b))
      if (++said === lines) child.kill('SIGKILL')
    }
    assert.ok(said >= lines, `the writer ended after ${said} of ${lines} lines`)
  } finally {
    child.kill('SIGKILL')
    await exited
  }
}

/** How much mail is there. */
async function check(place: KillPlace, promised: Promised): Promise<number> {
  const store = await openPlace(place)
  try {
    const held = await readBox(store, box)
    assert.equal(store.health(), place.kind === 'level'
      ? { corrupt: 0, logBytesLost: 0, full: false }
      : { corrupt: 0, away: false, undurable: [], ...place.kind === 'Redis' ? redisHealth : {} })
    assert.is((await store.mailbox.usage()).items, held.size)
    for (const number of promised.put) {
      const { id } = mailNumbered(number)
      if (held.has(id)) assert.is(promised.acknowledged.has(number), false, `${number} came back`)
      else assert.ok(await store.mailbox.tombstone(box, id), `${number} is lost`)
    }
    for (const number of promised.acknowledged) {
      assert.ok(await store.mailbox.tombstone(box, mailNumbered(number).id))
    }
    for (const [writer, number] of promised.set) {
      const { value } = (await store.kv.get(`writer/${writer}`))!
      // Numbers of one writer grow: the record may be newer than what was said, never older.
      assert.ok(Number(Buffer.from(value).toString()) >= number)
    }
    return held.size
  } finally {
    await store.close()
  }
}
