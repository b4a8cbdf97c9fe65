/**
 * A disk that takes 5 or 50 ms for each sync, under every database that has one: nothing is said
 * to be stored before a sync, writers share syncs, nobody waits for more than a few of them, and
 * what waits in memory is bounded. Ratios to what one put alone takes and to the same on a quick
 * disk, and counts of syncs: the machine may be as busy as it likes.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import * as assert from 'uvu/assert'
import { limits } from '../../../protocol/limits.ts'
import type { DatabaseProcess } from '../../helpers/database-process.ts'
import { suite } from '../../helpers/harness.ts'
import type { Suite } from '../../helpers/harness.ts'
import { shimMissing, SyncShim } from '../../helpers/sync-shim.ts'
import type { KillPlace } from './kill-place.ts'
import { inDirectory } from './level-fixture.ts'
import { sharedKinds } from './shared-kinds.ts'

export type SlowTask =
  | { readonly writers: number, readonly puts: number }
  | { readonly flood: number }

type Asker = <T>(task: SlowTask) => Promise<T>

const aloneCount = 12
const writers = 64
const eachCount = 6

/** A store in a process of its own: for an embedded one, that process has the slow disk. */
async function withWriter(
  place: KillPlace,
  env: Readonly<Record<string, string>>,
  work: (ask: Asker) => Promise<void>,
): Promise<void> {
  const script = new URL('./slow-writer.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [script, JSON.stringify(place)], {
    stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, ...env },
  })
  const ended = once(child, 'exit')
  try {
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    assert.is((await lines.next()).value, 'ready')
    await work(async (task) => {
      child.stdin.write(`${JSON.stringify(task)}\n`)
      return JSON.parse((await lines.next()).value as string)
    })
  } finally {
    child.kill('SIGKILL')
    await ended
  }
}

const at = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))]!

async function holdsAt(delayMs: number, shim: SyncShim, ask: Asker): Promise<void> {
  const quick = await ask<number[]>({ writers, puts: writers * eachCount })
  await shim.delay(delayMs)
  const start = await shim.syncs()
  const alone = await ask<number[]>({ writers: 1, puts: aloneCount })
  const between = await shim.syncs()
  const together = await ask<number[]>({ writers, puts: writers * eachCount })
  const end = await shim.syncs()
  await shim.delay(0)
  const name = `${delayMs} ms`
  assert.ok(between - start >= aloneCount, `${name}: ${between - start} syncs for ${aloneCount} puts alone`)
  assert.ok(at(alone, 0) >= delayMs, `${name}: a put took ${at(alone, 0)} ms`)
  // A server may need several for one commit, and some for itself.
  const [one, many] = [aloneCount / (between - start), (writers * eachCount) / (end - between)]
  assert.ok(many > 4 * one, `${name}: ${many} puts for each sync, and ${one} alone`)
  // Behind the group that is being written, in the next; some meet what the server syncs for itself.
  // On top comes what they take of the processors.
  for (const [share, syncs] of [[0.5, 8], [0.99, 40]] as const) {
    const bound = syncs * at(alone, 0.5) + 3 * at(quick, share)
    assert.ok(at(together, share) < bound, `${name}: ${at(together, share)} ms, not below ${bound} ms`)
  }
}

type Run = (work: (shim: SyncShim, ask: Asker) => Promise<void>) => Promise<void>

function slowTests(test: Suite, run: Run): void {
  test('answers after a sync, shares syncs, keeps nobody waiting for many: at 5 and at 50 ms', () =>
    run(async (shim, ask) => {
      for (const delayMs of [5, 50]) await holdsAt(delayMs, shim, ask)
    }))

  test('keeps no more in memory than it may while each sync takes 50 ms, and tells the others', () =>
    run(async (shim, ask) => {
      await shim.delay(50)
      const held = Math.floor(limits.commitQueueBytesMax / limits.envelopeBytesMax)
      const answers = await ask<string[]>({ flood: held * 2 })
      const taken = answers.filter((answer) => answer === 'settled').length
      assert.equal(new Set(answers), new Set(['settled', 'STORE_BUSY']))
      // Those that are being written wait no more.
      assert.ok(taken >= held * 0.9 && taken < held * 1.5, `${taken} taken, ${held} fit`)
      await shim.delay(0)
      assert.is((await ask<number[]>({ writers: 1, puts: 1 })).length, 1, 'and goes on')
    }))
}

for (const kind of [undefined, ...sharedKinds]) {
  const test = suite(`node/storage/slow-sync: ${kind?.name ?? 'level'}`, { timeoutMs: 120_000 })
  const missing = shimMissing ?? (kind?.isHere === false ? `${kind.name} is not installed` : undefined)
  if (missing !== undefined) {
    test.skip(missing, { allowInCI: true })('bears a slow disk', () => {})
    test.run()
    continue
  }
  let shim: SyncShim
  let server: DatabaseProcess | undefined
  test.before(async () => {
    shim = await SyncShim.open()
    server = await kind?.start({ env: shim.env })
  })
  test.after(async () => {
    await shim.delay(0)
    await server?.remove()
    await shim.remove()
  })
  slowTests(test, async (work) => {
    if (kind !== undefined) return await withWriter(kind.place(server!), {}, (ask) => work(shim, ask))
    await inDirectory((directory) =>
      withWriter({ kind: 'level', directory }, shim.env, (ask) => work(shim, ask)))
  })
  test.run()
}
