/**
 * One session over all doors of one node: a device whose every link breaks comes back over another
 * transport, in mid-conversation, and nothing is lost, doubled or out of order.
 */
import * as assert from 'uvu/assert'
import type { Frame } from '../../protocol/frame/frame.ts'
import type { Dialer } from '../../protocol/session/types.ts'
import { suite } from '../helpers/harness.ts'
import { randomInteger, seededRandom } from '../helpers/seeded-random.ts'
import { shakyDialer } from '../helpers/shaky-dialer.ts'
import { Door, drive, largeFrame, numberedFrame } from './connector-world.ts'
import { datagramDoors, socketDoors } from './socket-doors.ts'

const transports = [...socketDoors, ...datagramDoors]

const test = suite('compliance/connector/hop', { timeoutMs: 120_000 })
let doors: Door[]
test.before.each(async () => {
  doors = []
  for (const transport of transports) {
    const door = new Door(transport, doors[0]?.clock)
    doors.push(door)
    await door.open()
  }
})
test.after.each(async () => {
  for (const door of doors) await door.close()
})

for (const seed of [1, 2, 3]) {
  test(`5,000 frames both ways while the device changes transport at every cut, seed ${seed}`, async () => {
    const [first, ...others] = doors
    const { clock } = first!
    const random = seededRandom(`hop ${seed}`)
    const host = first!.host()
    for (const door of others) door.leadTo(host)
    const used: string[] = []
    let turn = 0
    const hopping: Dialer = {
      async dial(signal) {
        const link = await doors[turn++ % doors.length]!.dialer().dial(signal)
        used.push(link.transport)
        return link
      },
    }
    const bytesUntilLoss = (): number => 1_000 + randomInteger(random, 150_000)
    const shaky = shakyDialer(hopping, { clock, bytesUntilLoss })
    const device = first!.device(shaky, seed)
    device.session.start()
    await drive(clock, () => host.sessions.length > 0)
    const count = 5_000
    const pump = async (send: (frame: Frame) => Promise<void>): Promise<void> => {
      for (let i = 1; i <= count; i++) {
        await send(i % 500 === 0 ? largeFrame(i, 60_000) : numberedFrame(i, i % 400))
      }
    }
    const pumps = Promise.all([
      pump((frame) => device.session.send(frame)),
      pump((frame) => host.session.send(frame)),
    ])
    await drive(clock, () => host.received.length >= count && device.received.length >= count)
    await pumps
    const expected = Array.from({ length: count }, (_, i) => i + 1)
    assert.equal(host.received, expected)
    assert.equal(device.received, expected)
    assert.is(host.sessions.length, 1)
    assert.is(device.events.filter((event) => event === 'reset').length, 1)
    assert.ok(used.length > doors.length, `${used.length} links`)
    assert.equal(new Set(used), new Set(transports.map(({ transport }) => transport)))
  })
}

test.run()
