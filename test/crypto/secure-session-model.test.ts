/**
 * Some thousand messages of the session model (support/session-world.ts), a few seconds' worth.
 * secure-session-soak.test.ts runs more of them, `npm run campaign -- sessions` a million.
 */
import * as assert from 'uvu/assert'
import { suite } from '../helpers/harness.ts'
import { importOnNoble } from './support/backends.ts'
import { nativeKit } from './support/session-device.ts'
import type { Kit } from './support/session-device.ts'
import { worlds } from './support/session-soak.ts'
import { SessionWorld } from './support/session-world.ts'
import type { SessionCounts } from './support/session-world.ts'

const test = suite('crypto/secure-session model', { timeoutMs: 120_000 })

type SessionModule = typeof import('../../crypto/secure-session.ts')
const nobleKit: Kit = {
  crypto: (await importOnNoble<typeof import('../../crypto/index.ts')>('index.ts')).crypto,
  prekeys: await importOnNoble<Kit['prekeys']>('handshake/prekeys.ts'),
  session: (await importOnNoble<SessionModule>('secure-session.ts')).SecureSession,
}

function play(world: SessionWorld, messages: number): SessionCounts {
  world.run(messages)
  world.finish()
  return world.counts
}

for (const kind of worlds) {
  const { parties, restores } = kind
  const faults = restores ? 'crashes, loss and older disks' : 'crashes and loss'
  test(`${parties} parties of two devices read each message once or report it, through ${faults}`, () => {
    const world = new SessionWorld({ ...kind, seed: `model of ${parties}, ${restores}` })
    const counts = play(world, 3_000)
    const { sent, read, lost, duplicates, crashes, handshakes } = counts
    const told = JSON.stringify(counts)
    assert.ok(lost > 0 && duplicates > 100 && crashes > 20 && handshakes > 10, told)
    assert.ok(restores === (counts.restores > 0) && restores === (counts.repairs > 0), told)
    if (!restores) assert.is(read + lost, sent, told)
  })
}

test('devices on different backends understand each other', () => {
  const counts = play(new SessionWorld({
    seed: 'both backends', parties: 2, restores: true, kits: [nativeKit, nobleKit, nobleKit, nativeKit],
  }), 600)
  assert.ok(counts.read > 300, JSON.stringify(counts))
})

test('one seed gives one run', () => {
  const options = { seed: 'again', parties: 2, restores: true }
  const run = (): string => JSON.stringify(play(new SessionWorld(options), 500))
  assert.is(run(), run())
})

test.run()
