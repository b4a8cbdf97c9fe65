/** Shelves: one-time prekeys are handed out once, whatever is repeated, raced, replayed or crashes. */
import * as assert from 'uvu/assert'
import { crypto } from '../../../crypto/index.ts'
import { hex } from '../../../crypto/bytes.ts'
import type { SigningKeyPair } from '../../../crypto/provider.ts'
import { decode, encode } from '../../../protocol/codec/struct.ts'
import { expiryHour } from '../../../protocol/envelope.ts'
import { limits } from '../../../protocol/limits.ts'
import { services } from '../../../protocol/service/codes.ts'
import {
  shelfPutReplyCodec, shelfResults, shelfTakeReplyCodec, shelfTakeRequestCodec, signShelf,
} from '../../../protocol/service/shelf.ts'
import type { ShelfContent, ShelfTaken } from '../../../protocol/service/shelf.ts'
import { ShelfService } from '../../../node/messenger/shelf-service.ts'
import { suite } from '../../helpers/harness.ts'
import { RoomNetwork } from '../../helpers/room-network.ts'
import type { Peer } from '../../helpers/room-network.ts'

const test = suite('node/messenger/shelf-service')
const hourMs = 3_600_000
const { kept, noRoom, stale, invalid, notOffered } = shelfResults

class Scene {
  readonly net: RoomNetwork
  readonly holder: Peer
  readonly home: Peer
  readonly stranger: Peer
  readonly keys: SigningKeyPair
  readonly own = new Set<string>()
  readonly taken: number[] = []
  shelves: ShelfService

  private constructor(net: RoomNetwork, peers: { holder: Peer, home: Peer, stranger: Peer }, lends: boolean) {
    this.net = net
    this.holder = peers.holder
    this.home = peers.home
    this.stranger = peers.stranger
    this.keys = crypto.signingKeyPair(net.random.bytes(32))
    this.shelves = this.#make(this.holder, lends)
  }

  static async open(seed: string, options: { lends?: boolean, syncDelayMs?: number } = {}): Promise<Scene> {
    const net = new RoomNetwork(seed)
    const { lends = true, ...store } = options
    const peers = { holder: await net.peer(store), home: await net.peer(), stranger: await net.peer() }
    return new Scene(net, peers, lends)
  }

  #make(on: Peer, lends: boolean): ShelfService {
    return new ShelfService({ ...this.holder.parts, overlay: on.overlay }, {
      lends,
      isOwn: (key) => this.own.has(key),
      onTaken: (_key, left) => { this.taken.push(left) },
    })
  }

  /** The store after a crash or a close, under a new service; puts reach it through `shelves.put`. */
  async restart(): Promise<void> {
    this.holder.store = this.holder.store.reopen()
    const other = await this.net.peer()
    this.shelves = this.#make(other, true)
    await this.net.run(this.shelves.start())
  }

  content(change: Partial<ShelfContent> = {}, oneTime = 8): ShelfContent {
    return {
      shelfKey: this.keys.publicKey,
      holder: this.holder.nodeId,
      home: this.home.nodeId,
      sequence: 1,
      expiryHour: expiryHour(this.net.clock.now() + 20 * 24 * hourMs),
      static: new Uint8Array(4_096).fill(1),
      oneTime: Array.from({ length: oneTime }, (_, i) => new Uint8Array(64).fill(i + 1)),
      ...change,
    }
  }

  async put(bytes: Uint8Array, from = this.home): Promise<number> {
    const answer = await from.call(this.holder, services.shelfPut, bytes)
    if (!answer.ok) throw new Error(answer.code)
    return decode(shelfPutReplyCodec, answer.value).result
  }

  async take(shelfKey = this.keys.publicKey): Promise<ShelfTaken | undefined> {
    const body = encode(shelfTakeRequestCodec, { shelfKey })
    const answer = await this.stranger.call(this.holder, services.shelfTake, body)
    if (!answer.ok) throw new Error(answer.code)
    return decode(shelfTakeReplyCodec, answer.value).taken
  }
}

test('hands out each one-time blob once, in order, then the static one alone', async () => {
  const scene = await Scene.open('order')
  assert.is(await scene.put(signShelf(scene.content({}, 3), scene.keys)), kept)
  const taken = [await scene.take(), await scene.take(), await scene.take(), await scene.take()]
  assert.equal(taken.map((one) => one?.oneTime?.[0]), [1, 2, 3, undefined])
  assert.equal(taken.map((one) => one?.left), [2, 1, 0, 0])
  assert.ok(taken.every((one) => one?.static.length === 4_096))
  assert.equal(scene.taken, [2, 1, 0])
  await scene.net.end()
})

test('knows nothing of a shelf that nobody put', async () => {
  const scene = await Scene.open('unknown')
  assert.is(await scene.take(), undefined)
  await scene.net.end()
})

test('many who take at the same moment get different ones', async () => {
  const scene = await Scene.open('at once', { syncDelayMs: 5 })
  await scene.put(signShelf(scene.content(), scene.keys))
  const takes = Array.from({ length: 20 }, () => scene.shelves.take(scene.keys.publicKey))
  const all = await scene.net.run(Promise.all(takes))
  const oneTime = all.flatMap((taken) => taken?.oneTime === undefined ? [] : [taken.oneTime[0]])
  assert.equal(oneTime.toSorted(), [1, 2, 3, 4, 5, 6, 7, 8])
  await scene.net.end()
})

test('a crash may lose a one-time blob and never gives it to two people', async () => {
  for (const crashAfterMs of [1, 4, 6, 11]) {
    const scene = await Scene.open(`crash ${crashAfterMs}`, { syncDelayMs: 5 })
    await scene.put(signShelf(scene.content(), scene.keys))
    const given: number[] = []
    const take = async (): Promise<void> => {
      for (;;) {
        const taken = await scene.shelves.take(scene.keys.publicKey)
        if (taken?.oneTime === undefined) return
        given.push(taken.oneTime[0]!)
      }
    }
    const taking = Promise.all([take(), take()]).catch(() => {})
    await scene.net.clock.advance(crashAfterMs)
    scene.holder.store.crash()
    await scene.net.run(taking)
    await scene.restart()
    await scene.net.run(take())
    assert.is(new Set(given).size, given.length, given.join())
    await scene.net.end()
  }
})

test('the same put again brings nothing back that was handed out', async () => {
  const scene = await Scene.open('repeat')
  const put = signShelf(scene.content(), scene.keys)
  await scene.put(put)
  const first = await scene.take()
  assert.is(await scene.put(put), kept, 'a repeat after a lost answer is fine')
  const second = await scene.take()
  assert.is.not(first?.oneTime?.[0], second?.oneTime?.[0])
  assert.is(second?.left, 6)
  const other = signShelf(scene.content({ static: new Uint8Array(4_096).fill(2) }), scene.keys)
  assert.is(await scene.put(other), stale, 'other content needs a higher sequence')
  await scene.net.end()
})

test('an older put is stale, a newer one replaces the whole shelf', async () => {
  const scene = await Scene.open('sequence')
  assert.is(await scene.put(signShelf(scene.content({ sequence: 5 }), scene.keys)), kept)
  assert.is(await scene.put(signShelf(scene.content({ sequence: 4 }), scene.keys)), stale)
  await scene.take()
  const fresh = scene.content({ sequence: 6, static: new Uint8Array(4_096).fill(9) }, 2)
  assert.is(await scene.put(signShelf(fresh, scene.keys)), kept)
  const taken = await scene.take()
  assert.equal([taken?.static[0], taken?.left], [9, 1])
  await scene.net.end()
})

test('refuses a put for another holder, of another home, forged, over or endless', async () => {
  const scene = await Scene.open('refused')
  const now = scene.net.clock.now()
  const other = crypto.signingKeyPair(scene.net.random.bytes(32))
  const wrong: Uint8Array[] = [
    signShelf(scene.content({ holder: scene.stranger.nodeId }), scene.keys),
    signShelf(scene.content({ home: scene.stranger.nodeId }), scene.keys),
    signShelf(scene.content({ expiryHour: expiryHour(now - 2 * hourMs) }), scene.keys),
    signShelf(scene.content({ expiryHour: expiryHour(now + limits.leaseTtlMs + 3 * hourMs) }), scene.keys),
    signShelf(scene.content(), other),
    new Uint8Array(20),
  ]
  for (const put of wrong) assert.is(await scene.put(put), invalid)
  assert.is(await scene.put(signShelf(scene.content(), scene.keys), scene.stranger), invalid)
  assert.is(await scene.take(), undefined)
  await scene.net.end()
})

test('a node that lends nothing holds only its own devices\' shelves', async () => {
  const scene = await Scene.open('not offered', { lends: false })
  assert.is(await scene.put(signShelf(scene.content(), scene.keys)), notOffered)
  scene.own.add(hex(scene.keys.publicKey))
  const own = signShelf(scene.content({ home: scene.holder.nodeId }), scene.keys)
  assert.is(await scene.net.run(scene.shelves.put(scene.holder.nodeId, own)), kept)
  await scene.net.end()
})

test('one home cannot take all shelves', async () => {
  const scene = await Scene.open('cap')
  const small = { static: new Uint8Array(1), oneTime: [] }
  for (let i = 0; i < limits.shelvesPerHomeMax; i++) {
    const keys = crypto.signingKeyPair(scene.net.random.bytes(32))
    const put = signShelf(scene.content({ ...small, shelfKey: keys.publicKey }), keys)
    assert.is(await scene.net.run(scene.shelves.put(scene.home.nodeId, put)), kept)
  }
  assert.is(await scene.put(signShelf(scene.content(), scene.keys)), noRoom)
  const elsewhere = signShelf(scene.content({ home: scene.stranger.nodeId }), scene.keys)
  assert.is(await scene.put(elsewhere, scene.stranger), kept)
  await scene.net.end()
})

test('gives thirty one-time blobs an hour, also across an upkeep, and more in the next', async () => {
  const scene = await Scene.open('hourly')
  await scene.put(signShelf(scene.content({}, 64), scene.keys))
  const take = async (count: number): Promise<number> => {
    let got = 0
    for (let i = 0; i < count; i++) if ((await scene.take())?.oneTime !== undefined) got++
    return got
  }
  assert.is(await take(20), 20)
  await scene.net.run(scene.shelves.upkeep())
  assert.is(await take(20), 10)
  assert.is((await scene.take())?.left, 34, 'what is left stays')
  await scene.net.clock.advance(hourMs)
  await scene.net.run(scene.shelves.upkeep())
  assert.is(await take(5), 5)
  await scene.net.end()
})

test('survives a restart, and ends with its time', async () => {
  const scene = await Scene.open('restart')
  await scene.put(signShelf(scene.content(), scene.keys))
  await scene.take()
  await scene.net.run(scene.holder.store.close())
  await scene.restart()
  assert.is((await scene.net.run(scene.shelves.take(scene.keys.publicKey)))?.left, 6)
  await scene.net.clock.advance(21 * 24 * hourMs)
  await scene.net.run(scene.shelves.upkeep())
  assert.is(await scene.net.run(scene.shelves.take(scene.keys.publicKey)), undefined)
  assert.equal(await scene.net.run(scene.holder.kv.list({ prefix: 'shelf/' })), [])
  await scene.net.end()
})

test.run()
