/** Where new devices knock (node/router/link-lobby.ts). */
import * as assert from 'uvu/assert'
import { errorCode } from '../../../crypto/errors.ts'
import { loopbackPair } from '../../../node/connectors/loopback-connector.ts'
import { silentLog } from '../../../node/ports.ts'
import { LinkLobby } from '../../../node/router/link-lobby.ts'
import type { Frame } from '../../../protocol/frame/frame.ts'
import { limits } from '../../../protocol/limits.ts'
import { DeviceSession } from '../../../protocol/session/device-session.ts'
import { suite } from '../../helpers/harness.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'

const test = suite('node/router/link-lobby')
const guestKey = new Uint8Array(32).fill(7)

let clock: VirtualClock
let lobby: LinkLobby
let told: Frame[]
let guests: DeviceSession[]
test.before.each(() => {
  clock = new VirtualClock()
  lobby = new LinkLobby({ clock, random: seededRandom('lobby'), log: silentLog })
  told = []
  guests = []
})
test.after.each(async () => {
  const stops = Promise.all([lobby.stop(), ...guests.map((guest) => guest.stop())])
  let stopped = false
  void stops.then(() => { stopped = true })
  while (!stopped) await clock.advance(50)
})

interface Guest {
  readonly session: DeviceSession
  readonly frames: Frame[]
  readonly states: string[]
}

function knock(key = guestKey): Guest {
  const guest: { frames: Frame[], states: string[] } = { frames: [], states: [] }
  const session = new DeviceSession({
    clock,
    random: seededRandom('guest'),
    dialer: {
      dial: async () => {
        const [device, node] = loopbackPair(clock)
        lobby.accept({ link: node, deviceKey: key, remote: 'test' })
        return device
      },
    },
  }, {
    frame: (frame) => { guest.frames.push(frame) },
    state: (online, code) => guest.states.push(online ? 'online' : `offline ${code}`),
    reset: () => {},
  })
  guests.push(session)
  session.start()
  return { session, ...guest }
}

function open(device = 'home'): void {
  lobby.open(device, guestKey, (frame) => told.push(frame))
}

const hello = (length = 3): Frame => ({ type: 'linkMessage', bytes: new Uint8Array(length) })

test('passes messages between a device and its guest, and reads none', async () => {
  open()
  assert.ok(lobby.expects(guestKey))
  const guest = knock()
  await guest.session.send(hello(100))
  await clock.advance(100)
  assert.equal(told, [hello(100)])
  lobby.fromDevice('home', hello(200))
  await clock.advance(100)
  assert.equal(guest.frames, [hello(200)])
})

test('nobody is expected before, or after it is closed or its time is over', async () => {
  assert.not.ok(lobby.expects(guestKey))
  open()
  lobby.close('home', 'LINK_CANCELLED')
  assert.not.ok(lobby.expects(guestKey))
  open()
  const guest = knock()
  await clock.advance(limits.linkTtlMs + 1_000)
  assert.not.ok(lobby.expects(guestKey))
  assert.equal(guest.frames.at(-1), { type: 'linkClosed', code: 'LINK_CODE_OVER' })
  assert.ok(guest.states.includes('offline LINK_CODE_OVER'))
  const late = knock()
  await clock.advance(100)
  assert.equal(late.states, ['offline LINK_CODE_OVER'])
})

test('a guest that sends anything else is out, and so is one that says too much', async () => {
  open()
  const rude = knock()
  await rude.session.send({ type: 'withdraw', envelopeIds: [] })
  await clock.advance(100)
  assert.equal(told, [{ type: 'linkClosed', code: 'FRAME_UNEXPECTED' }])
  told = []
  open()
  const talker = knock()
  for (let i = 0; i < limits.linkMessagesMax + 5; i++) void talker.session.send(hello()).catch(() => {})
  await clock.advance(500)
  assert.is(told.filter(({ type }) => type === 'linkMessage').length, limits.linkMessagesMax)
  assert.equal(told.at(-1), { type: 'linkClosed', code: 'LINK_TOO_MUCH' })
})

test('a second guest with the key takes the place of the first; the device hears of it', async () => {
  open()
  const first = knock()
  await clock.advance(100)
  knock()
  await clock.advance(200)
  assert.ok(first.states.includes('offline SESSION_REPLACED'))
  assert.equal(told, [{ type: 'linkClosed', code: 'SESSION_REPLACED' }])
})

test('one place for each device, and a bounded number of them', () => {
  open()
  lobby.open('home', new Uint8Array(32).fill(8), () => {})
  assert.not.ok(lobby.expects(guestKey))
  assert.equal(told, [{ type: 'linkClosed', code: 'LINK_REPLACED' }])
  assert.throws(
    () => lobby.open('other', new Uint8Array(32).fill(8), () => {}),
    (error: unknown) => errorCode(error) === 'LINK_BUSY',
  )
  for (let i = 0; i < limits.linkPlacesMax - 1; i++) {
    lobby.open(`device ${i}`, seededRandom(`key ${i}`).bytes(32), () => {})
  }
  assert.throws(() => open('one more'), (error: unknown) => errorCode(error) === 'LINK_BUSY')
})

test.run()
