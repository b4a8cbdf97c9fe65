/** The Router over real sessions on the loopback: who may log in, what may be sent, what comes back. */
import * as assert from 'uvu/assert'
import { OpenIMError } from '../../../crypto/errors.ts'
import type { Frame } from '../../../protocol/frame/frame.ts'
import { receiptStates, routes } from '../../../protocol/frame/receipt.ts'
import type { ReceiptFrame } from '../../../protocol/frame/receipt.ts'
import type { BoxId, EnvelopeId } from '../../../protocol/ids.ts'
import { limits } from '../../../protocol/limits.ts'
import { DeviceSession } from '../../../protocol/session/device-session.ts'
import { LoopbackConnector } from '../../../node/connectors/loopback-connector.ts'
import { Accounts } from '../../../node/router/accounts.ts'
import { frameHandlers } from '../../../node/router/handlers/index.ts'
import type { LocationPort, MessengerPort } from '../../../node/router/handler.ts'
import { refusalDetail } from '../../../node/router/refusal-detail.ts'
import { Router } from '../../../node/router/router.ts'
import { suite } from '../../helpers/harness.ts'
import { RoomNetwork } from '../../helpers/room-network.ts'
import type { Peer } from '../../helpers/room-network.ts'

const test = suite('node/router')
const address = 'oim1owner'
const box = 'aa'.repeat(32) as BoxId

/** The device's end of a session. */
class Device {
  readonly frames: Frame[] = []
  readonly codes: string[] = []
  readonly session: DeviceSession
  /** True: frames that arrive are not consumed. */
  stuck = false
  resets = 0
  readonly key: Uint8Array

  constructor(scene: Scene, key: Uint8Array) {
    this.key = key
    this.session = new DeviceSession({ dialer: scene.loopback.dialer(key), ...scene.net }, {
      frame: async (frame) => {
        this.frames.push(frame)
        if (this.stuck) await new Promise(() => {})
      },
      state: (_online, code) => { if (code !== undefined) this.codes.push(code) },
      reset: () => { this.resets++ },
    })
    this.session.start()
  }
}

class Scene {
  readonly net: RoomNetwork
  readonly peer: Peer
  readonly loopback: LoopbackConnector
  readonly accounts: Accounts
  readonly router: Router
  readonly calls: string[] = []
  readonly attached = new Set<string>()
  readonly devices: Device[] = []
  feed: ((frame: Frame) => Promise<void>) | undefined
  messenger: MessengerPort = {
    submit: async () => { this.calls.push('submit') },
    withdraw: async () => { this.calls.push('withdraw') },
    acknowledge: async () => { this.calls.push('acknowledge') },
    inbox: async () => ({ box, replicas: [] }),
    fileBox: async () => ({ box, replicas: [], pieces: 0, proofs: [] }),
    filePut: async () => ({ box, replicas: [], pieces: 0, proofs: [] }),
    fileFetch: async () => ({ ok: false, code: 'INBOX_GONE' }),
    onDeviceRemoved: async () => { this.calls.push('removed') },
    shelfHolders: async () => [],
    shelfPut: async () => ({ shelfKey: new Uint8Array(32), holders: [] }),
    shelfTake: async () => undefined,
    attach: (device) => {
      this.attached.add(device.id)
      this.feed = (frame) => device.send(frame)
      return () => { this.attached.delete(device.id) }
    },
  }
  locations: LocationPort = { publish: async () => 300, locate: async () => [] }

  constructor(net: RoomNetwork, peer: Peer) {
    this.net = net
    this.peer = peer
    this.loopback = new LoopbackConnector(net)
    this.accounts = new Accounts(peer.parts)
    const scene = this
    this.router = new Router({
      ...peer.parts,
      accounts: this.accounts,
      get messenger() { return scene.messenger },
      get locations() { return scene.locations },
    })
  }

  static async open(seed: string): Promise<Scene> {
    const net = new RoomNetwork(seed)
    const scene = new Scene(net, await net.peer())
    await scene.accounts.start()
    await scene.loopback.start((link) => scene.router.accept(link))
    return scene
  }

  /** A device in session. */
  async device(): Promise<Device> {
    const key = this.net.random.bytes(32)
    await this.accounts.register(address, key)
    const device = this.stranger(key)
    await this.net.eventually('in session', () => device.session.online)
    return device
  }

  /** One that may not be known. */
  stranger(key = this.net.random.bytes(32)): Device {
    const device = new Device(this, key)
    this.devices.push(device)
    return device
  }

  async send(device: Device, frame: Frame): Promise<void> {
    await this.net.run(device.session.send(frame))
    await this.net.clock.advance(20)
  }

  async end(): Promise<void> {
    for (const device of this.devices) await this.net.run(device.session.stop())
    await this.loopback.stop()
    await this.net.run(this.router.stop())
    await this.net.end()
  }
}

function receipt(n: number, change: Partial<ReceiptFrame> = {}): ReceiptFrame {
  return {
    type: 'receipt', envelopeId: n.toString(16).padStart(64, '0') as EnvelopeId,
    state: receiptStates.accepted, have: 0, want: 1, route: routes.none, level: 0, proofs: [], code: '',
    ...change,
  }
}

const locate: Frame = { type: 'locate', request: 7, hint: '', blindedKeys: [] }

test('lets in devices of its accounts, and nobody else', async () => {
  const scene = await Scene.open('login')
  const device = await scene.device()
  const stranger = scene.stranger()
  await scene.net.eventually('refused', () => stranger.codes.length > 0)
  assert.ok(stranger.codes.includes('DEVICE_UNKNOWN'), stranger.codes.join())
  assert.not(stranger.session.online)
  assert.ok(device.session.online)
  assert.is(scene.router.sessionCount, 1)
  assert.is(scene.attached.size, 1)
  await scene.end()
})

test('accounts and their devices are known after a restart, up to the limit', async () => {
  const scene = await Scene.open('accounts')
  const keys = Array.from({ length: limits.devicesMax }, () => scene.net.random.bytes(32))
  for (const key of [...keys, keys[0]!]) await scene.accounts.register(address, key)
  const code = await scene.accounts.register(address, scene.net.random.bytes(32))
    .then(() => 'taken', (error: OpenIMError) => error.code)
  assert.is(code, 'ACCOUNT_DEVICES')
  const again = new Accounts(scene.peer.parts)
  await again.start()
  assert.is(again.devicesOf(address).length, limits.devicesMax)
  assert.ok(keys.every((key) => again.authorise(key).ok))
  assert.equal(again.devicesOf('oim1nobody'), [])
  await scene.end()
})

test('lets the primary alone say which devices there are, and throws others out at once', async () => {
  const scene = await Scene.open('devices')
  const [primary, second] = [await scene.device(), await scene.device()]
  const third = scene.net.random.bytes(32)
  await scene.send(second, { type: 'devices', request: 1, linkKeys: [third] })
  assert.equal(second.frames.map((frame) => frame.type === 'refusal' && frame.code), ['DEVICE_NOT_PRIMARY'])
  assert.is(scene.accounts.devicesOf(address).length, 2, 'nothing changed')

  await scene.send(primary, { type: 'devices', request: 2, linkKeys: [third] })
  assert.equal(primary.frames, [{ type: 'devicesSet', request: 2 }])
  assert.equal(scene.calls, ['removed'], 'mail does not wait for it any more')
  await scene.net.eventually('thrown out', () => !second.session.online)
  await scene.net.eventually('and not let in again', () =>
    second.codes.filter((code) => code === 'DEVICE_REVOKED').length > 1)
  const newcomer = scene.stranger(third)
  await scene.net.eventually('in session', () => newcomer.session.online)

  const again = new Accounts(scene.peer.parts)
  await again.start()
  assert.is(again.devicesOf(address).length, 2)
  const refused = again.authorise(second.key)
  assert.is(refused.ok ? 'let in' : refused.code, 'DEVICE_REVOKED')
  await scene.end()
})

test('takes no device of another account for one of ours', async () => {
  const scene = await Scene.open('taken')
  const [ours, theirs] = [scene.net.random.bytes(32), scene.net.random.bytes(32)]
  await scene.accounts.register(address, ours)
  await scene.accounts.register('oim1neighbour', theirs)
  const known = scene.accounts.authorise(ours)
  assert.ok(known.ok)
  const code = await scene.accounts.setDevices(known.value, [theirs])
    .then(() => 'taken', (error: OpenIMError) => error.code)
  assert.is(code, 'DEVICE_TAKEN')
  assert.is(scene.accounts.devicesOf(address).length, 1)
  await scene.end()
})

test('hands each frame to its handler and the answer back', async () => {
  const scene = await Scene.open('answers')
  const device = await scene.device()
  await scene.send(device, locate)
  await scene.send(device, { type: 'publish', request: 8, records: [] })
  await scene.send(device, { type: 'shelfTake', request: 9, shelfKey: new Uint8Array(32), holders: [] })
  await scene.send(device, { type: 'acknowledge', box, envelopeIds: [] })
  await scene.send(device, { type: 'withdraw', envelopeIds: [] })
  assert.equal(device.frames, [
    { type: 'located', request: 7, records: [] },
    { type: 'published', request: 8, holders: 255 },
    { type: 'shelfTaken', request: 9, taken: undefined },
  ])
  assert.equal(scene.calls, ['acknowledge', 'withdraw'])
  await scene.end()
})

test('a frame that only a node sends ends the session, and the next one is as good as new', async () => {
  const scene = await Scene.open('unexpected')
  const device = await scene.device()
  for (const frame of [receipt(1), { type: 'deliver', envelopes: [] }] satisfies Frame[]) {
    const { resets } = device
    await device.session.send(frame).catch(() => {})
    await scene.net.eventually('a new session', () => device.resets > resets && device.session.online)
    assert.ok(device.codes.includes('FRAME_UNEXPECTED'))
  }
  await scene.send(device, locate)
  assert.is(device.frames.at(-1)?.type, 'located')
  assert.is(scene.router.sessionCount, 1)
  await scene.end()
})

test('a handler that fails refuses the request with its code, and the session goes on', async () => {
  const scene = await Scene.open('refusal')
  const device = await scene.device()
  const long = 'é'.repeat(2_000)
  const failures: [unknown, string, string][] = [
    [new OpenIMError('INBOX_TAKEN', 'another account has it'), 'INBOX_TAKEN', 'another account has it'],
    [new Error('boom'), 'REQUEST_FAILED', 'boom'],
    ['just text', 'REQUEST_FAILED', 'just text'],
    [new OpenIMError('STORE_FULL', long), 'STORE_FULL', '?'.repeat(limits.refusalDetailBytesMax)],
  ]
  for (const [failure, code, detail] of failures) {
    scene.locations = { publish: async () => 0, locate: async () => { throw failure } }
    await scene.send(device, locate)
    assert.equal(device.frames.at(-1), { type: 'refusal', request: 7, code, detail })
  }
  const submitting = async (): Promise<void> => { throw new OpenIMError('STORE_FULL', long) }
  scene.messenger = { ...scene.messenger, submit: submitting }
  const submit: Frame = {
    type: 'submit', envelope: new Uint8Array(9), homes: [], replicas: [], purpose: 1, level: 0,
  }
  await scene.send(device, submit)
  const refusal = device.frames.at(-1)
  assert.ok(refusal?.type === 'refusal' && refusal.request === 0 && refusal.code === 'STORE_FULL')
  assert.is(device.resets, 1)
  await scene.end()
})

test('a request that waits holds up no other, until sixty-four wait', async () => {
  const scene = await Scene.open('bounded')
  const device = await scene.device()
  let waiting = 0
  const held: (() => void)[] = []
  scene.locations = {
    publish: async () => 0,
    locate: async () => {
      waiting++
      await new Promise<void>((resolve) => held.push(resolve))
      return []
    },
  }
  for (let i = 0; i < 10; i++) await scene.send(device, { ...locate, request: i } as Frame)
  await scene.send(device, { type: 'publish', request: 99, records: [] })
  assert.is(device.frames.at(-1)?.type, 'published')
  const more = Array.from({ length: 100 }, (_, i) => device.session.send({ ...locate, request: i } as Frame))
  await scene.net.clock.advance(1_000)
  assert.is(waiting, 64)
  for (const resolve of held.splice(0, 10)) resolve()
  await scene.net.clock.advance(100)
  assert.is(waiting, 74)
  await scene.net.run(Promise.all(more))
  await scene.end()
})

test('receipts of one tick are told as one, the latest', async () => {
  const scene = await Scene.open('coalesced')
  const device = await scene.device()
  const [id] = scene.attached
  scene.router.receipt(id!, receipt(1))
  scene.router.receipt(id!, receipt(2))
  scene.router.receipt(id!, receipt(1, { state: receiptStates.stored, have: 1 }))
  scene.router.receipt('another device', receipt(3))
  await scene.net.clock.advance(20)
  const told = device.frames.flatMap((frame) =>
    frame.type === 'receipt' ? [[frame.envelopeId.at(-1), frame.state]] : [])
  assert.equal(told, [['1', receiptStates.stored], ['2', receiptStates.accepted]])
  await scene.end()
})

test('a device that does not keep up costs one receipt an envelope, not one a change', async () => {
  const scene = await Scene.open('slow')
  const device = await scene.device()
  device.stuck = true
  const [id] = scene.attached
  const proofs = [new Uint8Array(8_000)]
  for (let round = 0; round < 40; round++) {
    for (let n = 0; n < 100; n++) scene.router.receipt(id!, receipt(n, { proofs, have: round }))
    await scene.net.clock.advance(10)
  }
  assert.is(scene.router.sessionCount, 1, 'its session has not overflowed')
  assert.not(device.codes.includes('SESSION_QUEUE_FULL'))
  device.stuck = false
  await scene.end()
})

test('a device whose session overflows starts anew, and is fed again', async () => {
  const scene = await Scene.open('overflow')
  const device = await scene.device()
  device.stuck = true
  const places = { account: address, box, replicas: [] }
  for (let i = 0; i < 30_000 && device.codes.length === 0; i++) {
    scene.router.places(places)
    if (i % 1_000 === 0) await scene.net.clock.advance(10)
  }
  device.stuck = false
  await scene.net.eventually('a new session', () => device.codes.includes('SESSION_QUEUE_FULL'))
  await scene.net.eventually('online', () => device.session.online && device.resets > 1)
  assert.is(scene.attached.size, 1)
  await scene.end()
})

test('mail that overflows a session ends it too: nothing is lost silently', async () => {
  const scene = await Scene.open('feed overflow')
  const device = await scene.device()
  device.stuck = true
  const send = scene.feed!
  const deliver: Frame = { type: 'deliver', envelopes: [new Uint8Array(60_000)] }
  const codes: string[] = []
  for (let i = 0; i < 200; i++) {
    void send(deliver).catch((error: OpenIMError) => codes.push(error.code))
  }
  await scene.net.clock.advance(10)
  assert.ok(codes.includes('SESSION_QUEUE_FULL'))
  assert.ok(device.codes.includes('SESSION_QUEUE_FULL'))
  await scene.end()
})

test('after a stop no session is left, and a late login is refused', async () => {
  const scene = await Scene.open('stop')
  const device = await scene.device()
  await scene.net.run(scene.router.stop())
  assert.is(scene.router.sessionCount, 0)
  assert.is(scene.attached.size, 0)
  await scene.net.clock.advance(5_000)
  assert.not(device.session.online)
  await scene.end()
})

test('every frame of a device has a handler, and none of a node\'s', () => {
  assert.equal(Object.keys(frameHandlers).sort(), [
    'acknowledge', 'devices', 'fileBox', 'fileFetch', 'filePut', 'inbox', 'linkClosed', 'linkMessage',
    'linkOpen', 'locate', 'publish', 'shelfHolders', 'shelfPut', 'shelfTake', 'submit', 'withdraw',
  ])
  assert.ok(refusalDetail('x'.repeat(9_999)).length <= limits.refusalDetailBytesMax)
})

test.run()
