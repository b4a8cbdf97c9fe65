/** What only the TCP door has: strangers. (test/compliance/connector.test.ts has the rest.) */
import * as assert from 'uvu/assert'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { errorCode } from '../../../crypto/errors.ts'
import { silentLog } from '../../../node/ports.ts'
import type { AcceptedLink } from '../../../node/ports.ts'
import { LoopbackConnector } from '../../../node/connectors/loopback-connector.ts'
import { TCPConnector } from '../../../node/connectors/tcp-connector.ts'
import { TCPDialer } from '../../../node/connectors/tcp-dialer.ts'
import type { Frame } from '../../../protocol/frame/frame.ts'
import { limits } from '../../../protocol/limits.ts'
import type { Dialer } from '../../../protocol/session/types.ts'
import { CuttingProxy } from '../../helpers/cutting-proxy.ts'
import { suite } from '../../helpers/harness.ts'
import { randomInteger, seededRandom } from '../../helpers/seeded-random.ts'
import { shakyDialer } from '../../helpers/shaky-dialer.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'
import {
  deviceKeys, drive, largeFrame, numberedFrame, TestDevice, TestHost, turns,
} from '../../compliance/connector-world.ts'

const doorKey = deviceKeys('door')
const own = deviceKeys('anna')

const test = suite('node/connectors/tcp-connector', { timeoutMs: 120_000 })
let clock: VirtualClock
let connector: TCPConnector
let accepted: AcceptedLink[]
let port: number
let sockets: Stranger[]

test.before.each(async () => {
  clock = new VirtualClock()
  accepted = []
  sockets = []
  connector = door(0)
  await connector.start((link) => accepted.push(link))
  port = Number(connector.address()!.split(':').at(-1))
})
test.after.each(async () => {
  for (const { socket } of sockets) socket.destroy()
  await connector.stop()
})

function door(onPort: number, host = '127.0.0.1'): TCPConnector {
  return new TCPConnector(
    { clock, random: seededRandom('door'), log: silentLog, doorKey },
    { host, port: onPort },
  )
}

function dialer(options: { port?: number, doorKey?: Uint8Array } = {}): TCPDialer {
  return new TCPDialer({ clock, random: seededRandom('device') }, {
    host: '127.0.0.1', port, doorKey: doorKey.publicKey, own, ...options,
  })
}

/** A socket of somebody who does not speak our language. */
class Stranger {
  readonly socket: Socket
  connected = false
  closed = false
  received = 0

  constructor(localAddress = '127.0.0.1') {
    sockets.push(this)
    this.socket = connect({ host: '127.0.0.1', port, localAddress })
      .on('connect', () => { this.connected = true })
      .on('data', (chunk: Uint8Array) => { this.received += chunk.length })
      .on('error', () => {})
      .on('close', () => { this.closed = true })
  }
}

test('says which port is taken when it cannot have it', async () => {
  const second = door(port)
  const error = await second.start(() => {}).then(() => undefined, (cause: unknown) => cause as Error)
  assert.is(errorCode(error), 'CONNECTOR_ADDRESS_IN_USE')
  assert.match(error!.message, `127.0.0.1:${port} is in use`)
  assert.is(second.address(), undefined)
  await second.stop()
})

test('says that it cannot listen on an address that is not ours', async () => {
  const elsewhere = door(0, '192.0.2.1')
  assert.is(await elsewhere.start(() => {}).then(() => '', errorCode), 'CONNECTOR_LISTEN')
})

test('a device that knows another door key is turned away', async () => {
  const wrong = dialer({ doorKey: deviceKeys('another door').publicKey })
  assert.is(await wrong.dial(new AbortController().signal).then(() => '', errorCode), 'CHANNEL_REFUSED')
  assert.equal(accepted, [])
})

test('a dialer finds nobody on a port where nobody listens', async () => {
  await connector.stop()
  assert.is(await dialer().dial(new AbortController().signal).then(() => '', errorCode), 'LINK_UNREACHABLE')
})

test('closes a connection that brings garbage, without an answer', async () => {
  const random = seededRandom('garbage')
  for (const bytes of [
    new TextEncoder().encode('GET / HTTP/1.1\r\n\r\n'),
    new Uint8Array([0xff, 0xff]),
    Buffer.concat([new Uint8Array([0, 96]), random.bytes(96)]),
  ]) {
    const stranger = new Stranger()
    stranger.socket.write(bytes)
    await turns(() => stranger.closed)
    assert.is(stranger.received, 0)
  }
  assert.equal(accepted, [])
})

test('closes a connection that does not finish its handshake in time', async () => {
  const silent = new Stranger()
  const dripping = new Stranger()
  dripping.socket.write(new Uint8Array([0, 96, 1, 2, 3]))
  await turns(() => silent.connected && dripping.connected)
  // The door's timers start when it sees the connection; give it the chance.
  const probe = await dialer().dial(new AbortController().signal)
  await clock.advance(limits.handshakeMs)
  await turns(() => silent.closed && dripping.closed)
  probe.close('TEST_DONE')
})

test('a dialer gives up on a port that never answers', async () => {
  let received = 0
  const mute = createServer((socket) => {
    socket.on('data', (chunk) => { received += chunk.length }).on('error', () => {})
  })
  await new Promise<void>((resolve) => { mute.listen(0, '127.0.0.1', resolve) })
  const dialled = dialer({ port: (mute.address() as AddressInfo).port }).dial(new AbortController().signal)
  const code = dialled.then(() => '', errorCode)
  await turns(() => received === 98)
  await clock.advance(limits.handshakeMs)
  assert.is(await code, 'CHANNEL_TIMEOUT')
  await new Promise((resolve) => { mute.close(resolve) })
})

test('one address cannot take all the room for handshakes', async () => {
  const crowd = Array.from({ length: limits.handshakesPerAddressMax + 5 }, () => new Stranger())
  await turns(() => crowd.filter((stranger) => stranger.closed).length === 5)
  assert.is(await dialer().dial(new AbortController().signal).then(() => '', errorCode), 'CHANNEL_REFUSED')
  const neighbour = new Stranger('127.0.0.2')
  await turns(() => neighbour.connected)
  await clock.advance(limits.handshakeMs)
  await turns(() => crowd.every((stranger) => stranger.closed))
  const link = await dialer().dial(new AbortController().signal)
  link.close('TEST_DONE')
})

test('a stop closes connections in the middle of their handshake', async () => {
  const stranger = new Stranger()
  await turns(() => stranger.connected)
  await connector.stop()
  await turns(() => stranger.closed)
})

test('10,000 frames both ways through cuts at random bytes of the stream', async () => {
  await connector.stop()
  const host = new TestHost(clock)
  connector = door(0)
  await connector.start((link) => host.host.accept(link))
  port = Number(connector.address()!.split(':').at(-1))
  const random = seededRandom('cuts')
  const proxy = new CuttingProxy({ host: '127.0.0.1', port }, () => randomInteger(random, 300_000))
  const proxyPort = await proxy.start()
  const device = new TestDevice(clock, dialer({ port: proxyPort }))
  device.session.start()
  await drive(clock, () => host.sessions.length > 0)
  const count = 10_000
  const pump = async (send: (frame: Frame) => Promise<void>): Promise<void> => {
    for (let i = 1; i <= count; i++) {
      await send(i % 500 === 0 ? largeFrame(i, 60_000) : numberedFrame(i, i % 300))
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
  assert.ok(proxy.cuts >= 10, `${proxy.cuts} cuts`)
  assert.is(host.sessions.length, 1)
  await stopAll(device.session.stop(), host.host.stop())
  await proxy.stop()
})

test('a session goes on over the other transport', async () => {
  await connector.stop()
  const host = new TestHost(clock)
  connector = door(0)
  const loopback = new LoopbackConnector({ clock })
  await connector.start((link) => host.host.accept(link))
  await loopback.start((link) => host.host.accept(link))
  port = Number(connector.address()!.split(':').at(-1))
  const ways = [dialer(), loopback.dialer(own.publicKey)]
  let dials = 0
  const inTurn: Dialer = { dial: (signal) => ways[dials++ % 2]!.dial(signal) }
  const shaky = shakyDialer(inTurn, { clock, bytesUntilLoss: () => 20_000 })
  const device = new TestDevice(clock, shaky)
  host.answer = (session, frame) => session.send(frame)
  device.session.start()
  for (let i = 1; i <= 500; i++) await device.session.send(numberedFrame(i, 200))
  await drive(clock, () => device.received.length >= 500)
  const expected = Array.from({ length: 500 }, (_, i) => i + 1)
  assert.equal(host.received, expected)
  assert.equal(device.received, expected)
  assert.ok(dials > 4)
  assert.is(device.events.filter((event) => event === 'reset').length, 1)
  await stopAll(device.session.stop(), host.host.stop(), loopback.stop())
})

async function stopAll(...stops: Promise<void>[]): Promise<void> {
  let stopped = false
  void Promise.all(stops).then(() => { stopped = true })
  await drive(clock, () => stopped)
}

test.run()
