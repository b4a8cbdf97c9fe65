/**
 * UDP links over bad networks in virtual time, both directions busy: whatever the network does, all
 * messages come once and in order, in bounded memory, and get on. Goodput of each network is printed.
 */
import * as assert from 'uvu/assert'
import { limits } from '../../protocol/limits.ts'
import type { MessageLink } from '../../protocol/ports.ts'
import { suite } from '../helpers/harness.ts'
import { randomInteger, seededRandom } from '../helpers/seeded-random.ts'
import type { PathOptions } from '../helpers/udp-world.ts'
import { UdpWorld } from '../helpers/udp-world.ts'

const test = suite('simulation/udp', { timeoutMs: 120_000 })

/** Sends numbered messages of many sizes, checks those of the other side. */
class Talker {
  readonly link: MessageLink
  readonly #sizes: readonly number[]
  #sent = 0
  received = 0
  bytes = 0
  inOrder = true
  mostBuffered = 0
  closed: string | undefined

  constructor(link: MessageLink, sizes: readonly number[]) {
    this.link = link
    this.#sizes = sizes
    link.listen({
      message: (message) => {
        const number = new DataView(message.buffer, message.byteOffset).getUint32(0)
        this.inOrder &&= number === this.received++
        this.bytes += message.length
      },
      drain: () => this.pump(),
      closed: (code) => { this.closed = code },
    })
  }

  pump(): void {
    while (this.#sent < this.#sizes.length && this.link.bufferedBytes < limits.deviceLinkHighBytes) {
      const message = new Uint8Array(this.#sizes[this.#sent]!)
      new DataView(message.buffer).setUint32(0, this.#sent++)
      this.link.send(message)
      this.mostBuffered = Math.max(this.mostBuffered, this.link.bufferedBytes)
    }
  }
}

interface Network {
  readonly name: string
  readonly path: PathOptions
  readonly messages: number
  /** A new address every so often. */
  readonly moveEveryMs?: number
  /** Slower than this each way is a livelock or near one. */
  readonly kilobitsPerSecondMin: number
}

const networks: readonly Network[] = [
  { name: 'a clean path of 40 ms', path: { delayMs: 20 }, messages: 300, kilobitsPerSecondMin: 5_000 },
  { name: '1 % lost', path: { delayMs: 20, lossRate: 0.01 }, messages: 300, kilobitsPerSecondMin: 1_000 },
  { name: '5 % lost', path: { delayMs: 20, lossRate: 0.05 }, messages: 300, kilobitsPerSecondMin: 500 },
  { name: '20 % lost', path: { delayMs: 20, lossRate: 0.2 }, messages: 100, kilobitsPerSecondMin: 80 },
  {
    name: 'reordered and doubled',
    path: { delayMs: 10, jitterMs: 30, duplicateRate: 0.2 }, messages: 300, kilobitsPerSecondMin: 500,
  },
  { name: '200 ms away', path: { delayMs: 100, lossRate: 0.01 }, messages: 200, kilobitsPerSecondMin: 150 },
  {
    name: 'a long fat path that seldom loses',
    path: { delayMs: 100, lossRate: 0.0005, bytesPerMs: 2_500, queueBytes: 250_000 },
    messages: 2_000,
    kilobitsPerSecondMin: 5_000,
  },
  {
    name: '8 Mbit/s behind a queue of 30 kB',
    path: { delayMs: 15, bytesPerMs: 1_000, queueBytes: 30_000 }, messages: 400, kilobitsPerSecondMin: 4_500,
  },
  {
    name: 'a phone on the move: a new address every 5 s, 2 % lost',
    path: { delayMs: 40, jitterMs: 10, lossRate: 0.02, bytesPerMs: 500 },
    messages: 1_000, moveEveryMs: 5_000, kilobitsPerSecondMin: 250,
  },
  {
    name: 'all of it at once',
    path: {
      delayMs: 100, jitterMs: 40, lossRate: 0.1, duplicateRate: 0.05, bytesPerMs: 250, queueBytes: 40_000,
    },
    messages: 100, moveEveryMs: 5_000, kilobitsPerSecondMin: 20,
  },
]

for (const { name, path, messages, moveEveryMs, kilobitsPerSecondMin } of networks) {
  for (const seed of [1, 2]) {
    test(`${name}: all messages both ways, once and in order, seed ${seed}`, async () => {
      const world = new UdpWorld(`${name} ${seed}`, path)
      const { clock } = world
      const { device, atDevice, atNode } = await world.link()
      const random = seededRandom(`sizes ${seed}`)
      const sizes = Array.from({ length: messages }, () => 4 + randomInteger(random, 10_000))
      const talkers = [new Talker(atDevice, sizes), new Talker(atNode, sizes)]
      for (const talker of talkers) talker.pump()
      const startMs = clock.monotonicMs()
      const limitMs = (talkers.length * sizes.reduce((a, b) => a + b) * 8) / kilobitsPerSecondMin
      let moves = 0
      while (talkers.some(({ received }) => received < messages)) {
        await clock.advance(50)
        const passedMs = clock.monotonicMs() - startMs
        assert.ok(passedMs < limitMs, `${talkers.map(({ received }) => received)} after ${passedMs} ms`)
        if (moveEveryMs !== undefined && passedMs > (moves + 1) * moveEveryMs) {
          device.address = `198.51.100.${++moves % 250}:${2_000 + moves}`
        }
      }
      const ms = clock.monotonicMs() - startMs
      assert.ok(talkers.every(({ inOrder }) => inOrder))
      assert.ok(talkers.every(({ mostBuffered }) => mostBuffered < limits.deviceLinkHighBytes + 10_004))
      const { counters } = world.door.door
      assert.ok(counters.migrations >= Math.min(moves, 2), `${counters.migrations} moves`)
      assert.ok(counters.unprovenBytesOut <= counters.unprovenBytesIn)
      const kilobits = talkers.map(({ bytes }) => Math.round((bytes * 8) / ms))
      process.stdout.write(`  ${name}, seed ${seed}: ${kilobits.join(' and ')} kbit/s, `
        + `${counters.lost + device.device.counters.lost} packets lost, ${counters.migrations} moves\n`)
      atDevice.close('TEST_DONE')
      await clock.advance(30_000)
      assert.equal(talkers.map(({ closed }) => closed), ['TEST_DONE', 'LINK_CLOSED'])
      assert.is(world.door.door.open, 0)
      assert.is(clock.pending, 0)
    })
  }
}

test('many devices on one door do not mix', async () => {
  const world = new UdpWorld('many', { delayMs: 20, jitterMs: 10, lossRate: 0.05 })
  const count = 50
  const seen = new Map<string, number[]>()
  const links: MessageLink[] = []
  for (let i = 0; i < count; i++) {
    const { atDevice, atNode } = await world.link(`192.0.2.${i}:5000`)
    const name = `device ${i}`
    seen.set(name, [])
    atNode.listen({ message: (message) => seen.get(name)!.push(message[0]!), drain() {}, closed() {} })
    atDevice.listen({ message() {}, drain() {}, closed() {} })
    links.push(atDevice)
  }
  const rounds = 20
  for (let round = 0; round < rounds; round++) {
    for (const [i, link] of links.entries()) link.send(new Uint8Array(700).fill(i))
  }
  await world.clock.advance(10_000)
  for (let i = 0; i < count; i++) {
    assert.equal(seen.get(`device ${i}`), Array.from({ length: rounds }, () => i))
  }
  assert.is(world.door.door.open, count)
})

test.run()
