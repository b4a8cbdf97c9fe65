/** The device's end against a dialer and a node's end that the test plays. */
import * as assert from 'uvu/assert'
import { errorCode, OpenIMError } from '../../../crypto/errors.ts'
import { loopbackPair } from '../../../node/connectors/loopback-connector.ts'
import { encodeFrame } from '../../../protocol/frame/frame.ts'
import type { Frame } from '../../../protocol/frame/frame.ts'
import { limits } from '../../../protocol/limits.ts'
import type { MessageLink } from '../../../protocol/ports.ts'
import { decodeControl, encodeControl } from '../../../protocol/session/control-frames.ts'
import type { ControlFrame, HelloFrame, WelcomeFrame } from '../../../protocol/session/control-frames.ts'
import { DeviceSession } from '../../../protocol/session/device-session.ts'
import { suite } from '../../helpers/harness.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'

const hello: HelloFrame = {
  type: 'hello', version: 1, session: undefined, received: 0, windowBytes: limits.sessionWindowBytes,
}
const welcome: WelcomeFrame = {
  type: 'welcome',
  session: new Uint8Array(16).fill(1),
  resumed: false,
  received: 0,
  windowBytes: limits.sessionWindowBytes,
}
const frame: Frame = { type: 'refusal', request: 1, code: 'TEST', detail: '' }

/** The node's end of each link that was dialled. */
class NodeEnd {
  readonly frames: ControlFrame[] = []
  closed: string | undefined
  readonly #link: MessageLink

  constructor(link: MessageLink) {
    this.#link = link
    link.listen({
      message: (message) => {
        const decoded = decodeControl(message)
        assert.ok(decoded.ok)
        this.frames.push(decoded.value)
      },
      drain: () => {},
      closed: (code) => { this.closed = code },
    })
  }

  say(...frames: ControlFrame[]): void {
    for (const one of frames) this.#link.send(encodeControl(one))
  }

  close(): void {
    this.#link.close('TEST_CLOSED')
  }
}

class Play {
  readonly clock = new VirtualClock()
  readonly nodes: NodeEnd[] = []
  readonly dialledAtMs: number[] = []
  readonly events: string[] = []
  readonly frames: Frame[] = []
  reachable = true
  answer: () => void | Promise<void> = () => {}
  readonly session = new DeviceSession({
    clock: this.clock,
    random: seededRandom('device'),
    dialer: {
      dial: async () => {
        this.dialledAtMs.push(this.clock.monotonicMs())
        if (!this.reachable) throw new OpenIMError('LINK_UNREACHABLE', 'no way there')
        const [device, node] = loopbackPair(this.clock)
        this.nodes.push(new NodeEnd(node))
        return device
      },
    },
  }, {
    frame: (one) => {
      this.frames.push(one)
      return this.answer()
    },
    state: (online, code, cause) => {
      const why = cause === undefined ? '' : ` ${(cause as Error).message}`
      this.events.push(online ? 'online' : `offline ${code}${why}`)
    },
    reset: () => this.events.push('reset'),
  })

  get node(): NodeEnd {
    return this.nodes.at(-1)!
  }

  async online(): Promise<void> {
    this.session.start()
    await this.clock.settle()
    this.node.say(welcome)
    await this.clock.settle()
  }
}

const test = suite('protocol/session/device-session')
let play: Play
test.before.each(() => { play = new Play() })
test.after.each(async () => {
  await play.session.stop()
  assert.is(play.clock.pending, 0, 'timers left')
})

test('does nothing until it is started, and a second start is the same start', async () => {
  await play.clock.advance(60_000)
  assert.equal(play.dialledAtMs, [])
  play.session.start()
  play.session.start()
  await play.clock.settle()
  assert.is(play.nodes.length, 1)
})

test('says hello without a session first, and with it after a cut', async () => {
  await play.online()
  assert.equal(play.node.frames, [hello])
  play.node.say({ type: 'data', number: 1, payload: encodeFrame(frame) })
  await play.clock.settle()
  play.node.close()
  await play.clock.advance(limits.reconnectMinMs)
  assert.equal(play.node.frames, [
    { ...hello, session: welcome.session, received: 1 },
  ])
})

test('waits longer after each failure: at least half of a doubling ceiling, at most all of it', async () => {
  play.reachable = false
  play.session.start()
  await play.clock.advance(10 * 60_000)
  const pauses = play.dialledAtMs.slice(1).map((atMs, i) => atMs - play.dialledAtMs[i]!)
  for (const [i, pause] of pauses.entries()) {
    const ceiling = Math.min(limits.reconnectMaxMs, limits.reconnectMinMs * 2 ** (i + 1))
    assert.ok(pause >= ceiling / 2 && pause <= ceiling, `pause ${i}: ${pause} ms, ceiling ${ceiling} ms`)
  }
  assert.ok(new Set(pauses.slice(-10)).size > 5, 'pauses are jittered')
  assert.equal(play.events.slice(0, 2), ['offline LINK_UNREACHABLE', 'offline LINK_UNREACHABLE'])
})

test('tries again soon after a link that worked, ever later after links that did not', async () => {
  await play.online()
  play.node.say({ type: 'data', number: 1, payload: encodeFrame(frame) })
  await play.clock.settle()
  play.node.close()
  await play.clock.advance(limits.reconnectMinMs)
  assert.is(play.nodes.length, 2)
  for (let i = 1; i <= 4; i++) {
    play.node.close()
    await play.clock.advance(limits.reconnectMinMs * 2 ** i)
    assert.is(play.nodes.length, 2 + i)
  }
  play.node.close()
  await play.clock.advance(limits.reconnectMinMs * 8)
  assert.is(play.nodes.length, 6)
})

test('gives up on a node that does not answer the hello', async () => {
  play.session.start()
  await play.clock.advance(limits.handshakeMs)
  assert.equal(play.events, ['offline SESSION_TIMEOUT'])
  assert.is(play.node.closed, 'LINK_CLOSED')
})

for (const [what, answer] of [
  ['resumes a session that was never begun', { ...welcome, resumed: true }],
  ['has no room for a frame', { ...welcome, windowBytes: 1_000 }],
  ['received frames of a new session', { ...welcome, received: 3 }],
  ['is no welcome', { type: 'pong' }],
] as const) {
  test(`refuses a welcome that ${what}`, async () => {
    play.session.start()
    await play.clock.settle()
    play.node.say(answer)
    await play.clock.settle()
    assert.equal(play.events, ['offline SESSION_UNEXPECTED'])
    assert.is((play.node.frames[1] as { code: string }).code, 'SESSION_UNEXPECTED')
  })
}

test('refuses a resume that claims frames it never sent', async () => {
  await play.online()
  play.node.close()
  await play.clock.advance(limits.reconnectMinMs * 2)
  play.node.say({ ...welcome, resumed: true, received: 1 })
  await play.clock.settle()
  assert.equal(play.events.slice(2), ['offline LINK_CLOSED', 'offline SESSION_UNEXPECTED'])
})

for (const [code, pauseMs] of [
  ['DEVICE_UNKNOWN', limits.reconnectMaxMs / 2],
  ['SESSION_STOPPED', limits.reconnectMinMs],
] as const) {
  test(`asks again ${pauseMs} ms or more after a refusal with ${code}`, async () => {
    play.session.start()
    await play.clock.settle()
    play.node.say({ type: 'error', code, detail: '' })
    await play.clock.advance(limits.reconnectMaxMs)
    assert.equal(play.events[0], `offline ${code}`)
    assert.ok(play.dialledAtMs[1]! >= pauseMs && play.dialledAtMs[1]! <= 2 * pauseMs)
  })
}

test('sends made before the first session wait for it', async () => {
  const sent = play.session.send(frame)
  let taken = false
  void sent.then(() => { taken = true })
  await play.clock.advance(1_000)
  assert.not.ok(taken)
  await play.online()
  assert.ok(taken)
  assert.equal(play.node.frames.at(-1), { type: 'data', number: 1, payload: encodeFrame(frame) })
})

test('an invalid frame from the node ends the session with a code, and a new one begins', async () => {
  await play.online()
  play.node.say({ type: 'data', number: 1, payload: new Uint8Array([250]) })
  await play.clock.settle()
  assert.equal(play.events, ['reset', 'online', 'offline SESSION_FRAME_INVALID'])
  assert.is((play.node.frames.at(-1) as { code: string }).code, 'SESSION_FRAME_INVALID')
  await play.clock.advance(limits.reconnectMinMs * 2)
  assert.equal(play.node.frames[0], hello)
})

test('a handler that throws ends the session, and the cause is told', async () => {
  await play.online()
  play.answer = () => Promise.reject(new Error('a bug in the app'))
  play.node.say({ type: 'data', number: 1, payload: encodeFrame(frame) })
  await play.clock.settle()
  assert.equal(play.events, ['reset', 'online', 'offline SESSION_FAILED a bug in the app'])
})

test('after SESSION_REPLACED it stays away and refuses sends, until it is started again', async () => {
  await play.online()
  play.node.say({ type: 'error', code: 'SESSION_REPLACED', detail: '' })
  await play.clock.advance(60 * 60_000)
  assert.is(play.nodes.length, 1)
  assert.is(await play.session.send(frame).then(() => '', errorCode), 'SESSION_ENDED')
  await play.online()
  assert.is(play.nodes.length, 2)
  assert.is(play.events.at(-1), 'online')
})

test('a stop while dialling, greeting or pausing ends it at once', async () => {
  play.session.start()
  await play.session.stop()
  assert.equal(play.events, [])

  play.session.start()
  await play.clock.settle()
  await play.session.stop()
  assert.equal(play.events, ['offline SESSION_BYE'])

  play.reachable = false
  play.session.start()
  await play.clock.settle()
  await play.session.stop()
  const dials = play.dialledAtMs.length
  await play.clock.advance(60_000)
  assert.is(play.dialledAtMs.length, dials)
})

test.run()
