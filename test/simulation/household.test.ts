/**
 * A household of three processes on one database, and everything that may happen to it while
 * twenty devices write to each other: processes crash and come back, one sleeps past its leases,
 * hints get lost. In the end everybody has what was written to them, once and in order.
 */
import * as assert from 'uvu/assert'
import { suite } from '../helpers/harness.ts'
import { randomInteger } from '../helpers/seeded-random.ts'
import { House, HouseDevice } from './household-world.ts'
import { World } from './world.ts'

const test = suite('simulation/household', { timeoutMs: 120_000 })
const minute = 60_000

interface Line {
  readonly from: HouseDevice
  readonly to: HouseDevice
  readonly sent: string[]
}

async function startedHouse(seed: string, hintLossRate = 0): Promise<House> {
  const world = new World({ seed })
  for (let i = 0; i < 6; i++) world.add({ name: `n${i}`, account: false })
  for (const node of world.nodes) await world.run(node.start())
  const house = new House(world, { processes: 3, hintLossRate })
  for (const process of house.processes) await world.run(process.start())
  await world.clock.advance(20_000)
  return house
}

async function acquainted(house: House, pairs: number): Promise<Line[]> {
  const { world } = house
  const lines: Line[] = []
  for (let i = 0; i < pairs; i++) {
    const [a, b] = [new HouseDevice(house, `a${i}`), new HouseDevice(house, `b${i}`)]
    for (const device of [a, b]) await world.run(device.on())
    const { uri } = await world.run(a.client.invite(), 2 * minute)
    await world.run(b.client.add(uri, { name: a.name }), 2 * minute)
    await world.eventually(async () => {
      const known = [...await a.client.contacts(), ...await b.client.contacts()]
      return known.length === 2 && known.every(({ state }) => state === 'active') || undefined
    }, { withinMs: 10 * minute, what: `${a.name} and ${b.name} know each other` })
    lines.push({ from: a, to: b, sent: [] }, { from: b, to: a, sent: [] })
  }
  return lines
}

async function write(line: Line): Promise<void> {
  const [contact] = await line.from.client.contacts()
  const text = `${line.from.name} number ${line.sent.length}`
  line.sent.push(text)
  await line.from.client.send(contact!.name, text)
}

/** Everything arrived, once and in order. */
async function settled(house: House, lines: readonly Line[], withinMs: number): Promise<void> {
  await house.world.eventually(async () => {
    for (const { to, sent } of lines) if ((await to.received()).length < sent.length) return undefined
    return true
  }, { withinMs, what: 'all arrived', everyMs: 2_000 })
  for (const { to, sent } of lines) assert.equal(await to.received(), sent)
}

for (const seed of ['a', 'b']) {
  test(`nothing is lost, doubled or out of order, whatever processes and hints do (${seed})`, async () => {
    const house = await startedHouse(`household ${seed}`, 0.3)
    const { world } = house
    const { random, clock } = world
    const lines = await acquainted(house, 10)
    const events: { atMs: number, run: () => void | Promise<void> }[] = []
    const hecticMs = 5 * minute
    for (const line of lines) {
      for (let i = 0; i < 8; i++) {
        events.push({ atMs: randomInteger(random, hecticMs), run: () => write(line) })
      }
    }
    // Every 20 seconds one is killed, and back 10 seconds later; once in four it only sleeps.
    for (let i = 0; i < hecticMs / 20_000; i++) {
      const process = house.processes[randomInteger(random, 3)]!
      const sleeps = i % 4 === 3
      events.push({ atMs: i * 20_000, run: () => { if (sleeps) process.sleep(); else process.crash() } })
      events.push({ atMs: i * 20_000 + 17_000, run: async () => {
        process.wake()
        if (!process.isRunning) await world.run(process.start())
      } })
    }
    events.sort((x, y) => x.atMs - y.atMs)
    const startMs = clock.monotonicMs()
    for (const event of events) {
      await clock.runUntil(Math.max(clock.monotonicMs(), startMs + event.atMs))
      await event.run()
    }
    await settled(house, lines, 30 * minute)
    await clock.advance(2 * minute)
    for (const { to, sent } of lines) assert.equal(await to.received(), sent, 'and nothing comes later')
    for (const { from } of lines) await world.run(from.client.stop())
    await house.end()
  })
}

test('the hosted account runs in one process, and moves on when that one dies, sleeps or stops', async () => {
  const house = await startedHouse('household seat')
  const { world } = house
  const { clock } = world
  const hosts = (): typeof house.processes =>
    house.awake.filter(({ seat }) => seat.isHere && seat.client !== undefined)
  const host = (what: string) => world.eventually(() => hosts()[0], { withinMs: minute, what, everyMs: 100 })
  const first = await host('a host')
  const friend = new HouseDevice(house, 'friend')
  await world.run(friend.on())
  const { uri } = await world.run(first.seat.client.invite())
  await world.run(friend.client.add(uri, { name: 'house' }))
  await world.eventually(async () => (await friend.client.contacts())[0]?.state === 'active' || undefined,
    { withinMs: minute, what: 'contacts' })
  const other = house.processes.find((process) => process !== first)!
  assert.throws(() => other.seat.client, (error: Error) => error.message.includes(first.nodeId))

  const moves: number[] = []
  const texts: string[] = []
  const ways = { crash: 'crashed', sleep: 'slept', stop: 'stopped' } as const
  for (const way of ['crash', 'sleep', 'stop'] as const) {
    const before = hosts()[0]!
    const begunMs = clock.monotonicMs()
    if (way === 'stop') await world.run(before.stop())
    else before[way]()
    texts.push(`while it ${ways[way]}`)
    await world.run(friend.client.send('house', texts.at(-1)!))
    const after = await host(`another one after it ${ways[way]}`)
    assert.is.not(after, before)
    moves.push(clock.monotonicMs() - begunMs)
    await world.eventually(async () => {
      const got = (await after.seat.client.history({ limit: 100, direction: 'in' })).map(({ text }) => text)
      return got.length >= texts.length ? assert.equal(got, texts) ?? true : undefined
    }, { withinMs: 5 * minute, what: 'all that was written' })
    before.wake()
    if (!before.isRunning) await world.run(before.start())
    await clock.advance(10_000)
    assert.equal(hosts(), [after], 'one that comes back leaves it where it is')
  }
  assert.ok(moves[0]! <= 12_000 && moves[1]! <= 12_000 && moves[2]! <= 3_000, `${moves.join(', ')} ms`)
  await world.run(friend.client.stop())
  await house.end()
})

test('what a process had still to send when it died goes out from another one', async () => {
  const world = new World({ seed: 'household adoption' })
  for (let i = 0; i < 6; i++) world.add({ name: `n${i}`, account: false })
  const friend = world.add({ name: 'friend', account: true })
  for (const node of world.nodes) await world.run(node.start())
  const house = new House(world, { processes: 2 })
  for (const process of house.processes) await world.run(process.start())
  await world.clock.advance(20_000)
  const device = new HouseDevice(house, 'device')
  await world.run(device.on())
  const { uri } = await world.run(friend.client.invite())
  await world.run(device.client.add(uri, { name: 'friend' }))
  await world.eventually(async () => (await device.client.contacts())[0]?.state === 'active' || undefined,
    { withinMs: 5 * minute, what: 'contacts' })
  const taking = device.at!
  const inside = house.processes.map(({ nodeId }) => nodeId)
  world.network.partition([inside, world.nodes.map(({ nodeId }) => nodeId)])
  for (let i = 0; i < 5; i++) await world.run(device.client.send('friend', `number ${i}`))
  await world.clock.advance(2_000)
  assert.ok(taking.core.messenger.outboxSize >= 5, 'handed over')
  // The phone is off, the process dead: nobody else remembers.
  await world.run(device.client.stop())
  taking.crash()
  world.network.heal()
  const texts = async (): Promise<string[]> =>
    (await friend.client.history({ limit: 100, direction: 'in' })).map(({ text }) => text)
  await world.eventually(async () => (await texts()).length >= 5 || undefined,
    { withinMs: 5 * minute, what: 'all arrived' })
  assert.equal(await texts(), ['number 0', 'number 1', 'number 2', 'number 3', 'number 4'])
  await house.end()
})

test('a message crosses from one process to another within milliseconds', async () => {
  const house = await startedHouse('household near')
  const { world } = house
  const lines = await acquainted(house, 4)
  const took: number[] = []
  for (const line of lines) {
    if (line.from.at === line.to.at) continue
    const begunMs = world.clock.monotonicMs()
    await write(line)
    await world.eventually(async () => (await line.to.received()).length >= line.sent.length || undefined,
      { withinMs: minute, what: 'arrived', everyMs: 5 })
    took.push(world.clock.monotonicMs() - begunMs)
  }
  assert.ok(took.length > 0, 'some are at different processes')
  assert.ok(Math.max(...took) < 500, `${took.join(', ')} ms`)
  for (const { from } of lines) await world.run(from.client.stop())
  await house.end()
})

test.run()
