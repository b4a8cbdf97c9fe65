/** A process that dies between any two writes while a device is linked and first words are said. */
import * as assert from 'uvu/assert'
import { World } from '../../helpers/client-actors.ts'
import type { Person } from '../../helpers/client-actors.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('protocol/client/devices-crash', { timeoutMs: 110_000 })

async function seen(person: Person): Promise<string[]> {
  const entries = await person.client.history({ limit: 1_000 })
  return entries
    .filter(({ unreadable }) => unreadable === undefined)
    .map(({ direction, text }) => `${direction} ${text}`)
}

function sorted(texts: readonly string[]): string[] {
  return [...texts].sort()
}

test('loses and doubles nothing by a crash between any two writes of linking and first words', async () => {
  for (let at = 1; at < 40; at++) {
    const world = new World(`link write ${at}`)
    const [alice, bob] = await world.pair()
    const phone = await world.device(alice, 'phone')
    const victim = at % 2 === 0 ? alice : phone
    let writes = 0
    victim.beforeWrite = () => {
      if (++writes === Math.ceil(at / 2)) queueMicrotask(() => victim.crash())
    }
    await world.clock.advance(400)
    void bob.client.send('Alice', 'to all of you').catch(() => {})
    await world.clock.advance(800)
    for (const device of [alice, phone]) {
      const name = (await device.client.contacts().catch(() => []))[0]?.name
      if (!device.isAlive || name === undefined) continue
      void device.client.send(name, `from ${device.name}`).catch(() => {})
    }
    await world.clock.advance(800)
    victim.beforeWrite = () => {}
    if (!victim.isAlive) await world.run(victim.recover())
    await world.until(async () => {
      const [a, b, c] = await Promise.all([alice, phone, bob].map(seen))
      const mirrored = c!.map((line) =>
        (line.startsWith('in') ? `out${line.slice(2)}` : `in${line.slice(3)}`))
      return sorted(a!).join() === sorted(b!).join() && sorted(a!).join() === sorted(mirrored).join()
        && a!.includes('in to all of you')
    }, { withinMs: 400_000, stepMs: 1_000 })
    const shown = await seen(phone)
    assert.is(new Set(shown).size, shown.length, 'nothing twice')
    await world.end()
  }
})

test.run()
