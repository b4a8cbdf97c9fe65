/** The node's end against devices that the test plays. */
import * as assert from 'uvu/assert'
import { hex } from '../../../crypto/bytes.ts'
import { errorCode } from '../../../crypto/errors.ts'
import type { Result } from '../../../crypto/errors.ts'
import { loopbackPair } from '../../../node/connectors/loopback-connector.ts'
import { encodeFrame } from '../../../protocol/frame/frame.ts'
import type { Frame } from '../../../protocol/frame/frame.ts'
import { limits } from '../../../protocol/limits.ts'
import type { MessageLink } from '../../../protocol/ports.ts'
import { decodeControl, encodeControl } from '../../../protocol/session/control-frames.ts'
import type { ControlFrame, HelloFrame, WelcomeFrame } from '../../../protocol/session/control-frames.ts'
import { SessionHost } from '../../../protocol/session/session-host.ts'
import type { HostedSession, SessionHostListener } from '../../../protocol/session/types.ts'
import { bytesOf } from '../../helpers/actors.ts'
import { suite } from '../../helpers/harness.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'

const hello: HelloFrame = {
  type: 'hello', version: 1, session: undefined, received: 0, windowBytes: limits.sessionWindowBytes,
}
const frame: Frame = { type: 'refusal', request: 1, code: 'TEST', detail: '' }

class Device {
  readonly frames: ControlFrame[] = []
  readonly link: MessageLink
  closed: string | undefined

  constructor(play: Play, name = 'anna') {
    const [device, node] = loopbackPair(play.clock)
    this.link = device
    device.listen({
      message: (message) => {
        const decoded = decodeControl(message)
        assert.ok(decoded.ok)
        this.frames.push(decoded.value)
      },
      drain: () => {},
      closed: (code) => { this.closed = code },
    })
    play.host.accept({ link: node, deviceKey: bytesOf(name), remote: 'test' })
  }

  say(...frames: ControlFrame[]): this {
    for (const one of frames) this.link.send(encodeControl(one))
    return this
  }

  get welcome(): WelcomeFrame {
    return this.frames[0] as WelcomeFrame
  }
}

class Play {
  readonly clock = new VirtualClock()
  readonly events: string[] = []
  readonly sessions: HostedSession<string>[] = []
  authorise: SessionHostListener<string>['authorise'] = () => ({ ok: true, value: 'anna' })
  answer: (session: HostedSession<string>) => void | Promise<void> = () => {}
  readonly host = new SessionHost<string>({ clock: this.clock, random: seededRandom('host') }, {
    authorise: (key) => this.authorise(key),
    opened: (session) => {
      this.sessions.push(session)
      this.events.push(`opened ${session.who}`)
    },
    frame: (session, one) => {
      this.events.push(`frame ${one.type}`)
      return this.answer(session)
    },
    drain: () => this.events.push('drain'),
    linked: (_session, online) => this.events.push(online ? 'up' : 'down'),
    ended: (_session, code, cause) => {
      this.events.push(`ended ${code}${cause === undefined ? '' : ` ${(cause as Error).message}`}`)
    },
  })
}

const test = suite('protocol/session/session-host')
let play: Play
test.before.each(() => { play = new Play() })
test.after.each(async () => {
  await play.host.stop()
  await play.clock.settle()
  assert.is(play.clock.pending, 0, 'timers left')
})

test('waits for a slow look-up of the device; its hello waits too', async () => {
  const { promise, resolve } = Promise.withResolvers<Result<string>>()
  play.authorise = () => promise
  const device = new Device(play).say(hello)
  await play.clock.advance(1_000)
  assert.equal(device.frames, [])
  resolve({ ok: true, value: 'bert' })
  await play.clock.settle()
  assert.equal(play.events, ['opened bert', 'up'])
  assert.equal({ ...device.welcome, session: 0 }, {
    type: 'welcome', session: 0, resumed: false, received: 0, windowBytes: limits.sessionWindowBytes,
  })
})

test('refuses with the code of the look-up, and with SESSION_FAILED when the look-up breaks', async () => {
  play.authorise = () => ({ ok: false, code: 'DEVICE_UNKNOWN', detail: 'never heard of it' })
  const unknown = new Device(play).say(hello)
  await play.clock.settle()
  assert.equal(unknown.frames, [{ type: 'error', code: 'DEVICE_UNKNOWN', detail: 'never heard of it' }])
  assert.is(unknown.closed, 'LINK_CLOSED')
  play.authorise = () => Promise.reject(new Error('no disk'))
  const unlucky = new Device(play).say(hello)
  await play.clock.settle()
  assert.is((unlucky.frames[0] as { code: string }).code, 'SESSION_FAILED')
  assert.equal(play.events, [])
})

test('closes a link that brings no hello', async () => {
  const device = new Device(play)
  await play.clock.advance(limits.handshakeMs)
  assert.is((device.frames[0] as { code: string }).code, 'SESSION_TIMEOUT')
  assert.is(device.closed, 'LINK_CLOSED')
})

test('describes a session to its callers', async () => {
  const device = new Device(play).say(hello)
  await play.clock.settle()
  const session = play.sessions[0]!
  assert.is(session.id, hex(device.welcome.session))
  assert.equal(session.deviceKey, bytesOf('anna'))
  assert.equal([session.online, session.transport, session.remote, session.writable, session.bufferedBytes],
    [true, 'loopback', 'test', true, 0])
  assert.equal([...play.host.sessions()], [session])
})

test('resumes only the session it has, for the device that began it, where the numbers fit', async () => {
  const first = new Device(play).say(hello)
  await play.clock.settle()
  await play.sessions[0]!.send(frame)
  const resume: HelloFrame = { ...hello, session: first.welcome.session }
  first.link.close('TEST_CUT')
  await play.clock.settle()
  assert.equal(play.events, ['opened anna', 'up', 'down'])

  const stranger = new Device(play, 'mallory').say(resume)
  await play.clock.settle()
  assert.not.ok(stranger.welcome.resumed)
  stranger.say({ type: 'bye', code: 'SESSION_BYE' })
  await play.clock.settle()

  const back = new Device(play).say(resume)
  await play.clock.settle()
  assert.ok(back.welcome.resumed)
  assert.equal(back.frames[1], { type: 'data', number: 1, payload: encodeFrame(frame) })

  const ahead = new Device(play).say({ ...resume, received: 2 })
  await play.clock.settle()
  assert.not.ok(ahead.welcome.resumed)
  assert.is((back.frames.at(-1) as { code: string }).code, 'SESSION_REPLACED')
})

test('a resume over a second link closes the first without a word', async () => {
  const first = new Device(play).say(hello)
  await play.clock.settle()
  const second = new Device(play).say({ ...hello, session: first.welcome.session })
  await play.clock.settle()
  assert.ok(second.welcome.resumed)
  assert.is(first.closed, 'LINK_CLOSED')
  assert.equal(play.events, ['opened anna', 'up', 'down', 'up'])
  assert.equal(first.frames.length, 1)
})

test('keeps a session without a link for a while, with what was sent meanwhile', async () => {
  const first = new Device(play).say(hello)
  await play.clock.settle()
  first.link.close('TEST_CUT')
  await play.clock.advance(limits.sessionResumeMs - 1)
  await play.sessions[0]!.send(frame)
  const back = new Device(play).say({ ...hello, session: first.welcome.session })
  await play.clock.settle()
  assert.is(back.frames[1]!.type, 'data')
  back.link.close('TEST_CUT')
  await play.clock.advance(limits.sessionResumeMs)
  assert.equal(play.events, ['opened anna', 'up', 'down', 'up', 'down', 'ended SESSION_EXPIRED'])
  assert.equal([...play.host.sessions()], [])
  assert.is(await play.sessions[0]!.send(frame).then(() => '', errorCode), 'SESSION_ENDED')
})

test('a frame handler that throws ends that session alone, and the cause is told', async () => {
  const anna = new Device(play).say(hello)
  const bert = new Device(play, 'bert').say(hello)
  await play.clock.settle()
  play.answer = () => { throw new Error('a bug in the router') }
  anna.say({ type: 'data', number: 1, payload: encodeFrame(frame) })
  await play.clock.settle()
  assert.is((anna.frames.at(-1) as { code: string }).code, 'SESSION_FAILED')
  assert.equal(play.events.at(-1), 'ended SESSION_FAILED a bug in the router')
  assert.is(bert.closed, undefined)
})

test('ends a session with the code and sentence of the caller', async () => {
  const device = new Device(play).say(hello)
  await play.clock.settle()
  play.sessions[0]!.end('DEVICE_REVOKED', 'this device was removed')
  await play.clock.settle()
  const said = { type: 'error', code: 'DEVICE_REVOKED', detail: 'this device was removed' }
  assert.equal(device.frames.at(-1), said)
  assert.is(device.closed, 'LINK_CLOSED')
  assert.equal(play.events, ['opened anna', 'up', 'ended DEVICE_REVOKED'])
})

test('takes no links once it stopped, also when their look-up was under way', async () => {
  const { promise, resolve } = Promise.withResolvers<Result<string>>()
  play.authorise = () => promise
  const early = new Device(play).say(hello)
  await play.clock.settle()
  await play.host.stop()
  resolve({ ok: true, value: 'anna' })
  play.authorise = () => ({ ok: true, value: 'anna' })
  const late = new Device(play).say(hello)
  await play.clock.settle()
  for (const device of [early, late]) {
    assert.is((device.frames[0] as { code: string }).code, 'SESSION_STOPPED')
    assert.is(device.closed, 'LINK_CLOSED')
  }
  assert.equal(play.events, [])
})

test.run()
