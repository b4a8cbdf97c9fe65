/** The numbered session alone, over a link whose other end is this test. */
import * as assert from 'uvu/assert'
import { errorCode } from '../../../crypto/errors.ts'
import { limits } from '../../../protocol/limits.ts'
import type { MessageLink } from '../../../protocol/ports.ts'
import {
  decodeControl, encodeControl, encodeData, payloadBytesMax,
} from '../../../protocol/session/control-frames.ts'
import type { ControlFrame } from '../../../protocol/session/control-frames.ts'
import { NumberedSession } from '../../../protocol/session/numbered-session.ts'
import { suite } from '../../helpers/harness.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'

/** A link whose far end is a list of what was sent. */
class RecordedLink implements MessageLink {
  readonly transport = 'recorded'
  readonly sent: ControlFrame[] = []
  bufferedBytes = 0
  closedWith: string | undefined

  send(message: Uint8Array): void {
    const frame = decodeControl(message)
    assert.ok(frame.ok)
    this.sent.push(frame.value)
  }

  numbers(): number[] {
    return this.sent.flatMap((frame) => (frame.type === 'data' ? [frame.number] : []))
  }

  pause(): void {}
  resume(): void {}
  listen(): void {}
  close(code: string): void {
    this.closedWith = code
  }
}

class End {
  readonly clock = new VirtualClock()
  readonly payloads: number[] = []
  readonly events: string[] = []
  readonly session: NumberedSession
  /** What the application answers to each payload. */
  answer: () => void | Promise<void> = () => {}

  constructor() {
    this.session = new NumberedSession(this.clock, {
      payload: (payload) => {
        this.payloads.push(payload[0]!)
        return this.answer()
      },
      drain: () => this.events.push('drain'),
      linkFailed: (code) => this.events.push(`linkFailed ${code}`),
      ended: (code) => this.events.push(`ended ${code}`),
    })
  }

  attach(peer: { received?: number, windowBytes?: number } = {}): RecordedLink {
    const link = new RecordedLink()
    this.session.attach(link, { received: 0, windowBytes: limits.sessionWindowBytes, ...peer })
    return link
  }

  receive(frame: ControlFrame): void {
    this.session.receive(encodeControl(frame))
  }

  receiveData(...numbers: number[]): void {
    for (const number of numbers) this.session.receive(encodeData(number, new Uint8Array([number])))
  }
}

const test = suite('protocol/session/numbered-session')
const largest = new Uint8Array(payloadBytesMax)

test('numbers payloads from 1 and sends them while the window has room', async () => {
  const end = new End()
  const link = end.attach()
  await end.session.send(new Uint8Array([7]))
  await end.session.send(new Uint8Array([8]))
  assert.equal(link.sent, [
    { type: 'data', number: 1, payload: new Uint8Array([7]) },
    { type: 'data', number: 2, payload: new Uint8Array([8]) },
  ])
})

test('makes senders wait when the window is full and goes on with each acknowledgement', async () => {
  const end = new End()
  const link = end.attach()
  const taken: number[] = []
  for (let i = 1; i <= 6; i++) void end.session.send(largest).then(() => taken.push(i))
  await end.clock.settle()
  assert.equal(taken, [1, 2, 3])
  assert.not.ok(end.session.writable)
  end.receive({ type: 'ack', number: 2 })
  await end.clock.settle()
  assert.equal(taken, [1, 2, 3, 4, 5])
  assert.equal(link.numbers(), [1, 2, 3, 4, 5])
  assert.equal(end.events, [])
  end.receive({ type: 'ack', number: 5 })
  assert.equal(end.events, ['drain'])
  assert.equal(end.session.bufferedBytes, payloadBytesMax + limits.sessionFrameOverheadBytes)
})

test('counts an overhead for each frame, so that tiny frames are bounded too', async () => {
  const end = new End()
  end.attach({ windowBytes: largest.length + 1_000 })
  let taken = 0
  for (let i = 0; i < limits.resendFramesMax + 10; i++) {
    void end.session.send(new Uint8Array(0)).then(() => taken++)
  }
  await end.clock.settle()
  assert.is(taken, limits.resendFramesMax)
})

test('refuses sends that nobody awaits once too many wait', async () => {
  const end = new End()
  const codes: (string | undefined)[] = []
  for (let i = 0; i <= limits.sessionQueueFramesMax; i++) {
    void end.session.send(new Uint8Array(1)).catch((error: unknown) => codes.push(errorCode(error)))
  }
  await end.clock.settle()
  assert.equal(codes, ['SESSION_QUEUE_FULL'])
})

test('refuses a payload that fits in no message', async () => {
  const end = new End()
  end.attach()
  const code = await end.session.send(new Uint8Array(payloadBytesMax + 1)).then(() => '', errorCode)
  assert.is(code, 'SESSION_FRAME_SIZE')
})

test('stops feeding a link above its high-water mark and goes on when it drained', async () => {
  const end = new End()
  const link = end.attach()
  link.bufferedBytes = limits.deviceLinkHighBytes
  await end.session.send(new Uint8Array([1]))
  assert.equal(link.numbers(), [])
  link.bufferedBytes = 0
  end.session.linkDrained()
  assert.equal(link.numbers(), [1])
})

test('acknowledges in groups: after a delay, or at once when much was consumed', async () => {
  const end = new End()
  const link = end.attach()
  end.receiveData(1, 2, 3)
  assert.equal(link.sent, [])
  await end.clock.advance(limits.sessionAckMs)
  assert.equal(link.sent, [{ type: 'ack', number: 3 }])
  end.session.receive(encodeData(4, largest))
  assert.equal(link.sent.at(-1), { type: 'ack', number: 4 })
  await end.clock.advance(limits.sessionAckMs)
  assert.is(link.sent.length, 2)
})

test('acknowledges what was consumed, not what was received', async () => {
  const end = new End()
  const link = end.attach()
  const { promise, resolve } = Promise.withResolvers<void>()
  end.answer = () => promise
  end.receiveData(1, 2, 3)
  await end.clock.advance(limits.sessionAckMs)
  assert.equal(end.payloads, [1])
  assert.equal(link.sent, [])
  resolve()
  await end.clock.advance(limits.sessionAckMs)
  assert.equal(end.payloads, [1, 2, 3])
  assert.equal(link.sent, [{ type: 'ack', number: 3 }])
})

test('sends again after a resume what the peer has not received, in order', async () => {
  const end = new End()
  end.attach()
  for (let i = 1; i <= 5; i++) await end.session.send(new Uint8Array([i]))
  end.receive({ type: 'ack', number: 1 })
  end.session.detach()
  await end.session.send(new Uint8Array([6]))
  assert.ok(end.session.canResume(3))
  const link = end.attach({ received: 3 })
  assert.equal(link.numbers(), [4, 5, 6])
})

test('cannot resume with a peer that lost frames or has frames never sent', async () => {
  const end = new End()
  end.attach()
  for (let i = 1; i <= 3; i++) await end.session.send(new Uint8Array([i]))
  end.receive({ type: 'ack', number: 2 })
  assert.equal([1, 2, 3, 4].map((received) => end.session.canResume(received)), [false, true, true, false])
})

test('repeats the last acknowledgement on a new link, in case the old one took it along', async () => {
  const end = new End()
  end.attach()
  end.receiveData(1, 2)
  end.session.detach()
  assert.equal(end.attach().sent, [{ type: 'ack', number: 2 }])
})

test('drops doubles and refuses a gap', () => {
  const end = new End()
  const link = end.attach()
  end.receiveData(1, 2, 1, 2, 3)
  assert.equal(end.payloads, [1, 2, 3])
  end.receiveData(5)
  assert.equal(end.events, ['ended SESSION_GAP'])
  assert.is((link.sent.at(-1) as { code: string }).code, 'SESSION_GAP')
})

test('refuses a peer that overruns the window', () => {
  const end = new End()
  end.attach()
  end.answer = () => new Promise(() => {})
  for (let number = 1; number <= 5; number++) end.session.receive(encodeData(number, largest))
  assert.equal(end.events, ['ended SESSION_WINDOW'])
})

test('refuses acknowledgements of frames never sent, and ones that go back', async () => {
  const ahead = new End()
  ahead.attach()
  ahead.receive({ type: 'ack', number: 1 })
  assert.equal(ahead.events, ['ended SESSION_ACK'])
  const back = new End()
  back.attach()
  await back.session.send(new Uint8Array(1))
  back.receive({ type: 'ack', number: 1 })
  back.receive({ type: 'ack', number: 0 })
  assert.equal(back.events, ['ended SESSION_ACK'])
})

test('refuses garbage, and greetings out of place', () => {
  const garbage = new End()
  garbage.attach()
  garbage.session.receive(new Uint8Array([99]))
  assert.equal(garbage.events, ['ended SESSION_FRAME_INVALID'])
  const late = new End()
  late.attach()
  const windowBytes = limits.sessionWindowBytes
  late.receive({ type: 'hello', version: 1, session: undefined, received: 0, windowBytes })
  assert.equal(late.events, ['ended SESSION_UNEXPECTED'])
})

test('takes a bye only after everything before it is consumed', async () => {
  const end = new End()
  end.attach()
  const { promise, resolve } = Promise.withResolvers<void>()
  end.answer = () => promise
  end.receiveData(1, 2)
  end.receive({ type: 'bye', code: 'SESSION_BYE' })
  end.session.detach()
  assert.equal(end.events, [])
  resolve()
  await end.clock.settle()
  assert.equal(end.payloads, [1, 2])
  assert.equal(end.events, ['ended SESSION_BYE'])
})

test('lets the whole window leave before its own bye and refuses what waits', async () => {
  const end = new End()
  const link = end.attach()
  link.bufferedBytes = limits.deviceLinkHighBytes
  const outcomes: (string | undefined)[] = []
  for (let i = 1; i <= 4; i++) {
    const outcome = end.session.send(largest).then(() => 'taken', errorCode)
    void outcome.then((what) => outcomes.push(what))
  }
  end.session.bye('SESSION_BYE')
  await end.clock.settle()
  assert.equal(link.sent.map((frame) => frame.type), ['data', 'data', 'data', 'bye'])
  assert.equal(outcomes, ['taken', 'taken', 'taken', 'SESSION_ENDED'])
})

test('ends with SESSION_FAILED when the application throws or rejects, and says so to the peer', async () => {
  for (const answer of [() => { throw new Error('a bug') }, () => Promise.reject(new Error('a bug'))]) {
    const end = new End()
    const link = end.attach()
    end.answer = answer
    end.receiveData(1, 2)
    await end.clock.settle()
    assert.equal(end.payloads, [1])
    assert.equal(end.events, ['ended SESSION_FAILED'])
    assert.is((link.sent.at(-1) as { code: string }).code, 'SESSION_FAILED')
  }
})

test('asks a silent peer, and gives the link up when it stays silent', async () => {
  const end = new End()
  const link = end.attach()
  await end.clock.advance(limits.keepAliveMs)
  assert.equal(link.sent, [{ type: 'ping' }])
  end.receive({ type: 'pong' })
  await end.clock.advance(limits.pongMs + limits.keepAliveMs)
  assert.equal(end.events, [])
  assert.equal(link.sent, [{ type: 'ping' }, { type: 'ping' }])
  await end.clock.advance(limits.pongMs)
  assert.equal(end.events, ['linkFailed LINK_DEAD'])
})

test('answers a ping', () => {
  const end = new End()
  const link = end.attach()
  end.receive({ type: 'ping' })
  assert.equal(link.sent, [{ type: 'pong' }])
})

test('leaves no timer behind', async () => {
  const end = new End()
  end.attach()
  end.receiveData(1)
  end.session.discard('SESSION_EXPIRED')
  assert.is(end.clock.pending, 0)
})

test.run()
