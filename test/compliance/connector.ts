/**
 * What every `Connector` owes its users, alone and with real sessions on top: one suite for all
 * transports. connector-world.ts has its people and its time.
 */
import * as assert from 'uvu/assert'
import { setImmediate } from 'node:timers/promises'
import { errorCode } from '../../crypto/errors.ts'
import type { Frame } from '../../protocol/frame/frame.ts'
import { limits } from '../../protocol/limits.ts'
import { encodeControl, encodeData } from '../../protocol/session/control-frames.ts'
import type { HelloFrame } from '../../protocol/session/control-frames.ts'
import { suite } from '../helpers/harness.ts'
import { randomInteger, seededRandom } from '../helpers/seeded-random.ts'
import { keepAliveDeadMs, shakyDialer } from '../helpers/shaky-dialer.ts'
import { deviceKeys, Door, drive, largeFrame, numberedFrame, Recorder, turns } from './connector-world.ts'
import type { ConnectorCase } from './connector-world.ts'

const hello: HelloFrame = {
  type: 'hello', version: 1, session: undefined, received: 0, windowBytes: limits.sessionWindowBytes,
}

export function connectorSuite(transport: ConnectorCase): void {
  linkSuite(transport)
  sessionSuite(transport)
  endingSuite(transport)
}

function linkSuite(transport: ConnectorCase): void {
  const test = suite(`compliance/connector/${transport.name}/links`)
  let door: Door
  test.before.each(async () => {
    door = new Door(transport)
    await door.open()
  })
  test.after.each(() => door.close())

  test('hands over a link with the key that the device proved', async () => {
    const own = deviceKeys('bert')
    const link = await door.dialer('bert').dial(new AbortController().signal)
    link.send(new Uint8Array([1]))
    await turns(() => door.accepted.length > 0)
    assert.equal(door.accepted[0]!.deviceKey, own.publicKey)
    assert.is(door.accepted[0]!.link.transport, transport.transport)
    assert.is(link.transport, transport.transport)
  })

  test('brings messages of every size both ways, whole and in order', async () => {
    const { device, node, atDevice, atNode } = await door.links()
    const random = seededRandom(transport.name)
    const sizes = [1, 2, 100, 65_518, 65_519, 65_520, limits.frameBytesMax, 7, 200_000, 1]
    const messages = sizes.map((size) => random.bytes(size))
    for (const message of messages) {
      device.send(message)
      node.send(message)
    }
    await turns(() => atNode.messages.length === sizes.length && atDevice.messages.length === sizes.length)
    assert.ok(messages.every((message, i) => Buffer.compare(message, atNode.messages[i]!) === 0))
    assert.ok(messages.every((message, i) => Buffer.compare(message, atDevice.messages[i]!) === 0))
  })

  test('never calls back from within a call of the sender', async () => {
    const { device, atNode } = await door.links()
    device.send(new Uint8Array([1]))
    assert.is(atNode.messages.length, 0)
    await turns(() => atNode.messages.length === 1)
  })

  test('keeps messages until somebody listens', async () => {
    const device = await door.dialer().dial(new AbortController().signal)
    for (let i = 0; i < 10; i++) device.send(new Uint8Array([i]))
    await turns(() => door.accepted.length > 0)
    for (let i = 0; i < 20; i++) await setImmediate()
    const recorder = new Recorder(door.accepted[0]!.link)
    await turns(() => recorder.messages.length === 10)
    assert.equal(recorder.messages.map((message) => message[0]), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  })

  test('holds a paused reader\'s sender back and says when it has drained', async () => {
    if (transport.readsAlways === true) return
    const { device, node, atDevice, atNode } = await door.links()
    for (const [sender, receiver, atSender, atReceiver] of [
      [device, node, atDevice, atNode],
      [node, device, atNode, atDevice],
    ] as const) {
      receiver.pause()
      const message = new Uint8Array(limits.frameBytesMax)
      let sent = 0
      // As a well-behaved sender: above the high-water mark it waits.
      for (let idle = 0; idle < 50; idle++) {
        while (sender.bufferedBytes < limits.deviceLinkHighBytes) {
          sender.send(message)
          sent++
          idle = 0
        }
        await setImmediate()
      }
      assert.ok(sender.bufferedBytes >= limits.deviceLinkHighBytes)
      const drains = atSender.drains
      receiver.resume()
      await turns(() => atReceiver.messages.length === sent)
      await turns(() => atSender.drains > drains)
      assert.ok(sender.bufferedBytes <= limits.deviceLinkLowBytes)
    }
  })

  test('says drained when the transport takes at once what was above the mark', async () => {
    const { device, atDevice, atNode } = await door.links()
    for (let round = 1; round <= 3; round++) {
      for (let i = 0; i < 6; i++) device.send(new Uint8Array(60_000))
      await drive(door.clock, () => atDevice.drains === round)
    }
    await turns(() => atNode.messages.length === 18)
  })

  test('brings what was queued before an orderly close, then says closed once on both ends', async () => {
    const { device, node, atDevice, atNode } = await door.links()
    node.send(new Uint8Array([1]))
    for (let i = 0; i < 20; i++) device.send(new Uint8Array(50_000))
    device.close('TEST_DONE')
    device.close('TEST_AGAIN')
    device.send(new Uint8Array([1]))
    await turns(() => atNode.closed !== undefined && atDevice.closed !== undefined)
    assert.is(atNode.messages.length, 20)
    assert.is(atNode.closed, 'LINK_CLOSED')
    assert.is(atDevice.closed, 'TEST_DONE')
    assert.is(atDevice.messages.length, 0)
  })

  test('ends links when it stops, and refuses to dial then', async () => {
    const { atDevice } = await door.links()
    await door.connector.stop()
    await door.connector.stop()
    await turns(() => atDevice.closed !== undefined)
    const code = await door.dialer().dial(new AbortController().signal).then(() => 'dialled', errorCode)
    assert.is(code, 'LINK_UNREACHABLE')
  })

  test('a device that knows another node key gets no link', async () => {
    if (transport.transport === 'loopback') return
    const wrong = door.dialer('anna', deviceKeys('another door').publicKey)
    let code: string | undefined
    const dialled = wrong.dial(new AbortController().signal).then(() => 'dialled', errorCode)
    void dialled.then((what) => { code = what })
    // Over UDP nobody says no: the dialer's patience ends.
    await drive(door.clock, () => code !== undefined, { stepMs: 100 })
    assert.match(code ?? '', /^CHANNEL_(REFUSED|HANDSHAKE|TIMEOUT)$/)
    assert.is(door.accepted.length, 0)
  })

  test('gives up a dial when its signal aborts', async () => {
    const code = await door.dialer().dial(AbortSignal.abort()).then(() => 'dialled', errorCode)
    assert.is(code, 'LINK_UNREACHABLE')
  })

  test.run()
}

function sessionSuite(transport: ConnectorCase): void {
  const test = suite(`compliance/connector/${transport.name}/sessions`, { timeoutMs: 120_000 })
  let door: Door
  test.before.each(async () => {
    door = new Door(transport)
    await door.open()
  })
  test.after.each(() => door.close())

  test('begins a session and carries frames both ways', async () => {
    const host = door.host()
    const device = door.device()
    host.answer = (session, frame) => session.send(frame)
    device.session.start()
    for (let i = 1; i <= 100; i++) await device.session.send(numberedFrame(i))
    await drive(door.clock, () => device.received.length === 100)
    assert.equal(device.events, ['reset', 'online'])
    assert.equal(host.events, ['opened', 'up'])
    assert.equal(device.received, Array.from({ length: 100 }, (_, i) => i + 1))
  })

  test('a device that is revoked while online is told so and does not get in again', async () => {
    const host = door.host()
    const device = door.device()
    device.session.start()
    await drive(door.clock, () => host.events.includes('up'))
    host.allowed = () => ({ ok: false, code: 'DEVICE_REVOKED' })
    host.session.end('DEVICE_REVOKED', 'removed from the account')
    await drive(door.clock, () => device.events.filter((event) => event.includes('REVOKED')).length >= 2)
    assert.is(host.events.filter((event) => event === 'opened').length, 1)
    assert.not.ok(device.session.online)
  })

  test('tells an unknown device why it is refused; it asks again only after a while', async () => {
    const host = door.host()
    let asked = 0
    host.allowed = () => {
      asked++
      return { ok: false, code: 'DEVICE_UNKNOWN' }
    }
    const device = door.device()
    device.session.start()
    await drive(door.clock, () => device.events.length > 0)
    assert.equal(device.events, ['offline DEVICE_UNKNOWN'])
    await door.clock.advance(limits.reconnectMaxMs / 2 - 1_000)
    assert.is(asked, 1)
    await drive(door.clock, () => asked === 2, { stepMs: 500 })
    assert.equal(host.events, [])
  })

  test('a slow device holds its sender back: memory stays within the window', async () => {
    const host = door.host()
    const device = door.device()
    const { promise, resolve } = Promise.withResolvers<void>()
    device.answer = () => promise
    device.session.start()
    await drive(door.clock, () => host.events.includes('up'))
    const count = 100
    let taken = 0
    const sending = (async () => {
      for (; taken < count; taken++) await host.session.send(largeFrame(taken, 60_000))
    })()
    await drive(door.clock, () => device.received.length === 1)
    await door.clock.advance(1_000)
    for (let i = 0; i < 100; i++) await setImmediate()
    assert.ok(taken < limits.sessionWindowBytes / 60_000, `${taken} frames taken`)
    assert.ok(host.session.bufferedBytes <= limits.sessionWindowBytes + 61_000)
    assert.not.ok(host.session.writable)
    assert.is(device.received.length, 1)
    resolve()
    await drive(door.clock, () => device.received.length === count)
    await sending
    await drive(door.clock, () => host.session.bufferedBytes === 0)
    assert.ok(host.session.writable)
    assert.ok(host.events.includes('drain'))
  })

  test('a slow node holds the device back', async () => {
    const host = door.host()
    const device = door.device()
    const { promise, resolve } = Promise.withResolvers<void>()
    host.answer = () => promise
    device.session.start()
    const count = 100
    let taken = 0
    const sending = (async () => {
      for (; taken < count; taken++) await device.session.send(largeFrame(taken, 60_000))
    })()
    await drive(door.clock, () => host.received.length === 1)
    await door.clock.advance(1_000)
    for (let i = 0; i < 100; i++) await setImmediate()
    assert.ok(taken < limits.sessionWindowBytes / 60_000, `${taken} frames taken`)
    resolve()
    await drive(door.clock, () => host.received.length === count)
    await sending
  })

  test('a slow reader is not taken for a dead one', async () => {
    const host = door.host()
    const device = door.device()
    host.answer = () => new Promise(() => {})
    device.session.start()
    await device.session.send(numberedFrame(1))
    await drive(door.clock, () => host.received.length === 1)
    await drive(door.clock, () => door.clock.monotonicMs() > 2 * keepAliveDeadMs, { stepMs: 200 })
    assert.equal(device.events, ['reset', 'online'])
  })

  test('resumes after a cut with nothing lost, doubled or reordered', async () => {
    const host = door.host()
    const shaky = shakyDialer(door.dialer(), { clock: door.clock, bytesUntilLoss: () => 20_000 })
    const device = door.device(shaky)
    device.session.start()
    for (let i = 1; i <= 300; i++) await device.session.send(numberedFrame(i, 300))
    await drive(door.clock, () => host.received.length >= 300)
    assert.ok(shaky.cuts > 0)
    assert.equal(host.received, Array.from({ length: 300 }, (_, i) => i + 1))
    assert.is(device.events.filter((event) => event === 'reset').length, 1)
    assert.is(host.events.filter((event) => event === 'opened').length, 1)
  })

  for (const seed of [1, 2, 3]) {
    test(`10,000 frames both ways over links that break at random bytes, seed ${seed}`, async () => {
      const count = 10_000
      const random = seededRandom(`${transport.name} ${seed}`)
      const host = door.host()
      const shaky = shakyDialer(door.dialer(), {
        clock: door.clock,
        bytesUntilLoss: () => 1_000 + randomInteger(random, 400_000),
      })
      const device = door.device(shaky, seed)
      device.session.start()
      await drive(door.clock, () => host.sessions.length > 0)
      const pump = async (send: (frame: Frame) => Promise<void>): Promise<void> => {
        for (let i = 1; i <= count; i++) {
          await send(i % 500 === 0 ? largeFrame(i, 60_000) : numberedFrame(i, i % 400))
        }
      }
      const pumps = Promise.all([
        pump((frame) => device.session.send(frame)),
        pump((frame) => host.session.send(frame)),
      ])
      await drive(door.clock, () => host.received.length >= count && device.received.length >= count)
      await pumps
      const expected = Array.from({ length: count }, (_, i) => i + 1)
      assert.equal(host.received, expected)
      assert.equal(device.received, expected)
      assert.ok(shaky.cuts >= 10, `${shaky.cuts} cuts`)
      assert.is(host.sessions.length, 1)
    })
  }

  test.run()
}

function endingSuite(transport: ConnectorCase): void {
  const test = suite(`compliance/connector/${transport.name}/endings`)
  let door: Door
  test.before.each(async () => {
    door = new Door(transport)
    await door.open()
  })
  test.after.each(() => door.close())

  test('a new login of the same device takes over, and the old one stays away', async () => {
    const host = door.host()
    const first = door.device()
    const second = door.device()
    first.session.start()
    await drive(door.clock, () => host.events.includes('up'))
    second.session.start()
    await drive(door.clock, () => second.events.includes('online') && first.events.length === 3)
    assert.equal(first.events, ['reset', 'online', 'offline SESSION_REPLACED'])
    assert.equal(host.events, ['opened', 'up', 'ended SESSION_REPLACED', 'opened', 'up'])
    await door.clock.advance(10 * limits.reconnectMaxMs)
    assert.is(first.events.length, 3)
    assert.is(await first.session.send(numberedFrame(1)).then(() => '', errorCode), 'SESSION_ENDED')
  })

  test('the keep-alive finds a link that went silent, and the session goes on over another', async () => {
    const host = door.host()
    let silent = true
    const dialer = door.dialer()
    const dead = shakyDialer(dialer, { clock: door.clock, bytesUntilLoss: () => 400, closes: false })
    const device = door.device({ dial: (signal) => (silent ? dead : dialer).dial(signal) })
    device.session.start()
    await drive(door.clock, () => device.events.includes('online'))
    for (let i = 1; i <= 20; i++) await device.session.send(numberedFrame(i, 100))
    silent = false
    const startMs = door.clock.monotonicMs()
    await drive(door.clock, () => host.received.length === 20, { stepMs: 100 })
    assert.ok(door.clock.monotonicMs() - startMs <= keepAliveDeadMs + limits.linkLingerMs + 1_000)
    assert.equal(device.events, ['reset', 'online', 'offline LINK_DEAD', 'online'])
    assert.equal(host.received, Array.from({ length: 20 }, (_, i) => i + 1))
  })

  test('a session whose device stays away ends; when it comes back it begins anew', async () => {
    const host = door.host()
    let away = false
    const dialer = door.dialer()
    const shaky = shakyDialer(dialer, { clock: door.clock, bytesUntilLoss: () => 400 })
    const device = door.device({
      dial: (signal) => (away ? Promise.reject(new Error('no network')) : shaky.dial(signal)),
    })
    device.session.start()
    await drive(door.clock, () => device.events.includes('online'))
    away = true
    for (let i = 1; i <= 10; i++) await device.session.send(numberedFrame(i, 100))
    await drive(door.clock, () => host.events.includes('down'))
    await drive(door.clock, () => host.events.includes('ended SESSION_EXPIRED'), { stepMs: 1_000 })
    away = false
    await drive(door.clock, () => device.events.at(-1) === 'online', { stepMs: 100 })
    assert.is(device.events.filter((event) => event === 'reset').length, 2)
    assert.equal([...host.host.sessions()].length, 1)
  })

  test('a node that restarted knows no session: the device hears reset, what waited is refused', async () => {
    const before = door.host('before')
    before.answer = () => new Promise(() => {})
    const shaky = shakyDialer(door.dialer(), { clock: door.clock, bytesUntilLoss: () => 500_000 })
    const device = door.device(shaky)
    device.session.start()
    await drive(door.clock, () => device.events.includes('online'))
    // From now on links reach another host, which knows nothing of the first one's sessions.
    const after = door.host('after')
    const outcomes: (string | undefined)[] = []
    for (let i = 0; i < 20; i++) {
      const outcome = device.session.send(largeFrame(i, 60_000)).then(() => 'taken', errorCode)
      void outcome.then((what) => outcomes.push(what))
    }
    await drive(door.clock, () => device.events.length === 5 && outcomes.length === 20)
    assert.equal(device.events, ['reset', 'online', 'offline LINK_LOST', 'reset', 'online'])
    assert.equal(outcomes.filter((outcome) => outcome === 'taken').length, 17)
    assert.equal(new Set(outcomes), new Set(['taken', 'SESSION_ENDED']))
    await device.session.send(numberedFrame(99))
    await drive(door.clock, () => after.received.length > 0)
    assert.equal(after.received, [99])
  })

  test('a session that the node ends begins anew', async () => {
    const host = door.host()
    const device = door.device()
    device.session.start()
    await drive(door.clock, () => device.session.online)
    host.session.end('SESSION_TEST', 'the test wants it')
    await drive(door.clock, () => device.events.length === 5)
    assert.equal(device.events, ['reset', 'online', 'offline SESSION_TEST', 'reset', 'online'])
    assert.is(await host.sessions[0]!.send(numberedFrame(1)).then(() => '', errorCode), 'SESSION_ENDED')
  })

  test('stop says bye: what was taken arrives first and the node forgets the session', async () => {
    const host = door.host()
    const device = door.device()
    device.session.start()
    for (let i = 1; i <= 50; i++) await device.session.send(numberedFrame(i, 400))
    await drive(door.clock, () => device.events.includes('online'))
    let stopped = false
    void device.session.stop().then(() => { stopped = true })
    await drive(door.clock, () => stopped && host.events.length === 3)
    assert.equal(host.received, Array.from({ length: 50 }, (_, i) => i + 1))
    assert.equal(host.events, ['opened', 'up', 'ended SESSION_BYE'])
    assert.equal(device.events, ['reset', 'online', 'offline SESSION_BYE'])
    assert.equal([...host.host.sessions()], [])
  })

  test('can be started again after a stop', async () => {
    const host = door.host()
    const device = door.device()
    device.session.start()
    await drive(door.clock, () => device.session.online)
    let stopped = false
    void device.session.stop().then(() => { stopped = true })
    await drive(door.clock, () => stopped)
    device.session.start()
    await device.session.send(numberedFrame(1))
    await drive(door.clock, () => host.received.length === 1)
    assert.is(device.events.filter((event) => event === 'reset').length, 2)
  })

  test('a host that stops says so, and the devices keep trying', async () => {
    const host = door.host()
    const device = door.device()
    device.session.start()
    await drive(door.clock, () => device.session.online)
    let stopped = false
    void host.host.stop().then(() => { stopped = true })
    await drive(door.clock, () => stopped && !device.session.online)
    assert.equal(host.events, ['opened', 'up', 'ended SESSION_STOPPED'])
    const again = door.host('again')
    await drive(door.clock, () => again.events.includes('up'))
  })

  for (const [what, message, code] of [
    ['an unknown frame', encodeData(1, new Uint8Array([200, 1, 2])), 'SESSION_FRAME_INVALID'],
    ['an empty frame', encodeData(1, new Uint8Array(0)), 'SESSION_FRAME_INVALID'],
    ['garbage', new Uint8Array([77]), 'SESSION_FRAME_INVALID'],
    ['a gap', encodeData(2, new Uint8Array(0)), 'SESSION_GAP'],
    ['a second hello', encodeControl(hello), 'SESSION_UNEXPECTED'],
  ] as const) {
    test(`ends the session of a device that sends ${what}, with a code`, async () => {
      const host = door.host()
      const link = await door.dialer().dial(new AbortController().signal)
      const recorder = new Recorder(link)
      link.send(encodeControl(hello))
      link.send(message)
      await turns(() => recorder.closed !== undefined)
      assert.equal(host.events, ['opened', 'up', `ended ${code}`])
      assert.ok(Buffer.from(recorder.messages.at(-1)!).includes(code))
    })
  }

  for (const [what, message] of [
    ['anything else than a hello first', encodeControl({ type: 'ping' })],
    ['a hello without room for a frame', encodeControl({ ...hello, windowBytes: 1_000 })],
  ] as const) {
    test(`refuses a device that sends ${what}`, async () => {
      const host = door.host()
      const link = await door.dialer().dial(new AbortController().signal)
      const recorder = new Recorder(link)
      link.send(message)
      await turns(() => recorder.closed !== undefined)
      assert.ok(Buffer.from(recorder.messages[0]!).includes('SESSION_UNEXPECTED'))
      assert.equal(host.events, [])
    })
  }

  test.run()
}
