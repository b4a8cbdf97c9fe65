/** What only the UDP door has: two families on one port, forged floods, sockets that are replaced. */
import * as assert from 'uvu/assert'
import { spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import type { Socket } from 'node:dgram'
import { hex } from '../../../crypto/bytes.ts'
import { errorCode } from '../../../crypto/errors.ts'
import { systemRandom } from '../../../crypto/random.ts'
import { UDPConnector } from '../../../node/connectors/udp-connector.ts'
import { UDPDialer } from '../../../node/connectors/udp-dialer.ts'
import { silentLog } from '../../../node/ports.ts'
import type { AcceptedLink } from '../../../node/ports.ts'
import { limits } from '../../../protocol/limits.ts'
import type { MessageLink } from '../../../protocol/ports.ts'
import { systemClock } from '../../../protocol/system-clock.ts'
import { deviceKeys } from '../../compliance/connector-world.ts'
import { suite } from '../../helpers/harness.ts'

const test = suite('node/connectors/udp-connector', { timeoutMs: 120_000 })
const doorKey = deviceKeys('door')
const own = deviceKeys('anna')
const system = { clock: systemClock, random: systemRandom, log: silentLog }

let doors: UDPConnector[] = []
let links: MessageLink[] = []
test.before.each(() => {
  doors = []
  links = []
})
test.after.each(async () => {
  for (const link of links) link.close('TEST_DONE')
  await Promise.all(doors.map((door) => door.stop()))
})

type Accept = (accepted: AcceptedLink) => void

async function open(host: string, port = 0, accept: Accept = () => {}): Promise<number> {
  const door = new UDPConnector({ ...system, doorKey }, { host, port })
  doors.push(door)
  await door.start(accept)
  return Number(door.address()!.split(':').at(-1))
}

async function dial(host: string, port: number): Promise<MessageLink> {
  const dialer = new UDPDialer(system, { host, port, doorKey: doorKey.publicKey, own })
  const link = await dialer.dial(new AbortController().signal)
  links.push(link)
  return link
}

/** Answers every message with itself. */
function echo({ link }: AcceptedLink): void {
  link.listen({ message: (message) => link.send(message), drain() {}, closed() {} })
}

/** Asks again and again, and counts the answers. */
function askFor(link: MessageLink): { answers: number, slowestMs: number, closed: string | undefined } {
  const seen: ReturnType<typeof askFor> = { answers: 0, slowestMs: 0, closed: undefined }
  let askedMs = systemClock.monotonicMs()
  link.listen({
    message: (message) => {
      seen.answers++
      seen.slowestMs = Math.max(seen.slowestMs, systemClock.monotonicMs() - askedMs)
      askedMs = systemClock.monotonicMs()
      link.send(message)
    },
    drain() {},
    closed: (code) => { seen.closed = code },
  })
  link.send(new Uint8Array(100))
  return seen
}

function until(done: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (done()) resolve()
      else setImmediate(look)
    }
    look()
  })
}

test('says which port is taken, and that an address is not ours', async () => {
  const port = await open('127.0.0.1')
  assert.is(await open('127.0.0.1', port).then(() => '', errorCode), 'CONNECTOR_ADDRESS_IN_USE')
  assert.is(await open('192.0.2.1').then(() => '', errorCode), 'CONNECTOR_LISTEN')
  assert.is(await open('nowhere.invalid').then(() => '', errorCode), 'CONNECTOR_LISTEN')
})

test('`::` is both families on one port', async () => {
  const accepted: AcceptedLink[] = []
  const port = await open('::', 0, (link) => {
    accepted.push(link)
    echo(link)
  })
  for (const host of ['127.0.0.1', '::1', 'localhost']) {
    const seen = askFor(await dial(host, port))
    await until(() => seen.answers > 3)
  }
  assert.is(accepted.length, 3)
  assert.match(accepted[0]!.remote, /^127\.0\.0\.1:\d+$/)
  assert.match(accepted[1]!.remote, /^::1:\d+$/)
})

test('a dial gives up when asked to, and leaves nothing open', async () => {
  const mute = createSocket('udp4')
  await new Promise<void>((resolve) => { mute.bind(0, '127.0.0.1', resolve) })
  const abort = new AbortController()
  const place = { host: '127.0.0.1', port: mute.address().port, doorKey: doorKey.publicKey, own }
  const dialled = new UDPDialer(system, place).dial(abort.signal).then(() => '', errorCode)
  await new Promise((resolve) => { mute.once('message', resolve) })
  abort.abort()
  assert.is(await dialled, 'LINK_UNREACHABLE')
  mute.close()
})

test('a link lives on when its way changes in the middle', async () => {
  const port = await open('127.0.0.1', 0, echo)
  const router = new ForgetfulRouter(port)
  const routerPort = await router.start()
  const seen = askFor(await dial('127.0.0.1', routerPort))
  for (let change = 1; change <= 5; change++) {
    const before = seen.answers
    await until(() => seen.answers > before + 100)
    router.forget()
  }
  const before = seen.answers
  await until(() => seen.answers > before + 100)
  assert.is(doors[0]!.metrics()['migrations'], 5)
  assert.is(seen.closed, undefined)
  links[0]!.close('TEST_DONE')
  await until(() => seen.closed !== undefined)
  await router.stop()
})

test('100,000 forged initiations from 250 addresses: a device goes on, memory stays small', async () => {
  const port = await open('127.0.0.1', 0, echo)
  const seen = askFor(await dial('127.0.0.1', port))
  await until(() => seen.answers > 1_000)
  const before = { answers: seen.answers, rssBytes: process.memoryUsage().rss }
  seen.slowestMs = 0
  const script = new URL('../../helpers/udp-flood.ts', import.meta.url).pathname
  const flood = spawn(process.execPath, [script, String(port), '100000', hex(doorKey.publicKey)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let told = ''
  flood.stdout.on('data', (chunk) => { told += chunk })
  let mostPending = 0
  const watch = setInterval(() => {
    mostPending = Math.max(mostPending, doors[0]!.metrics()['pending']!)
  }, 5)
  await new Promise((resolve) => { flood.on('close', resolve) })
  clearInterval(watch)
  const { sent, answered, worstRatio, bytesOut, bytesIn } = JSON.parse(told) as Record<string, number>
  const grownBytes = process.memoryUsage().rss - before.rssBytes
  const metrics = doors[0]!.metrics()
  const arrived = Math.round((metrics['unprovenBytesIn']! / 1_200))
  process.stdout.write([
    `\n  ${arrived} of ${sent} forged arrived`,
    `${answered} answers, ${bytesIn} bytes for ${bytesOut}, worst address ${worstRatio!.toFixed(4)}`,
    `most handshakes ${mostPending}`,
    `memory +${Math.round(grownBytes / 2 ** 20)} MiB`,
    `the device got ${seen.answers - before.answers} answers, slowest ${Math.round(seen.slowestMs)} ms\n`,
  ].join('; '))
  assert.ok(worstRatio! <= 1)
  assert.ok(metrics['unprovenBytesOut']! <= metrics['unprovenBytesIn']!)
  assert.ok(mostPending <= limits.udpCookieHandshakes, `${mostPending}`)
  assert.ok(grownBytes < 64 * 2 ** 20, `${grownBytes}`)
  assert.ok(seen.answers - before.answers > 100)
  assert.is(seen.closed, undefined)
  // And somebody new still gets in.
  const fresh = askFor(await dial('127.0.0.1', port))
  await until(() => fresh.answers > 3)
})

/** A home router: passes datagrams on from a port of its own, and forgets that port when told to. */
class ForgetfulRouter {
  readonly #nodePort: number
  readonly #inside = createSocket('udp4')
  #outside: Socket | undefined
  #devicePort = 0

  constructor(nodePort: number) {
    this.#nodePort = nodePort
    this.#inside.on('message', (message, from) => {
      this.#devicePort = from.port
      this.#outside ??= this.#newOutside()
      this.#outside.send(message, this.#nodePort, '127.0.0.1')
    })
  }

  async start(): Promise<number> {
    await new Promise<void>((resolve) => { this.#inside.bind(0, '127.0.0.1', resolve) })
    return this.#inside.address().port
  }

  forget(): void {
    this.#outside?.close()
    this.#outside = undefined
  }

  async stop(): Promise<void> {
    this.forget()
    await new Promise<void>((resolve) => { this.#inside.close(() => resolve()) })
  }

  #newOutside(): Socket {
    const socket = createSocket('udp4')
    socket.on('message', (message) => this.#inside.send(message, this.#devicePort, '127.0.0.1'))
    return socket
  }
}

test.run()
