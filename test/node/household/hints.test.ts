/** Hints: only members are heard, each hint once a call, and too many become `everything`. */
import * as assert from 'uvu/assert'
import { encode } from '../../../protocol/codec/struct.ts'
import { limits } from '../../../protocol/limits.ts'
import { services } from '../../../protocol/service/codes.ts'
import { hintKinds, hintsRequestCodec } from '../../../protocol/service/household.ts'
import type { HouseholdHint } from '../../../protocol/service/household.ts'
import { Hints } from '../../../node/household/hints.ts'
import type { StoreHints } from '../../../node/ports.ts'
import { suite } from '../../helpers/harness.ts'
import { RoomNetwork } from '../../helpers/room-network.ts'
import type { Peer } from '../../helpers/room-network.ts'

const test = suite('node/household/hints')

class Scene {
  readonly net: RoomNetwork
  readonly members: Peer[]
  readonly stranger: Peer
  readonly hints: Hints[]
  /** By member: what came in each call. */
  readonly heard: HouseholdHint[][][]

  private constructor(net: RoomNetwork, peers: Peer[], store: StoreHints | undefined) {
    this.net = net
    this.stranger = peers.pop()!
    this.members = peers
    this.heard = peers.map(() => [])
    this.hints = peers.map((peer, i) => {
      const others = peers.filter((other) => other !== peer).map(({ nodeId }) => nodeId)
      return new Hints({ overlay: peer.overlay, store }, {
        members: () => others,
        isMember: async (nodeId) => others.includes(nodeId),
        heard: (hints) => this.heard[i]!.push([...hints]),
      })
    })
    for (const hints of this.hints) hints.start()
  }

  static async open(seed: string, store?: StoreHints): Promise<Scene> {
    const net = new RoomNetwork(seed)
    const peers = [await net.peer(), await net.peer(), await net.peer(), await net.peer()]
    for (const peer of peers.slice(1)) await peer.meet(peers[0]!)
    return new Scene(net, peers, store)
  }

  async end(): Promise<void> {
    for (const hints of this.hints) hints.stop()
    await this.net.end()
  }
}

const mail = (subject: string): HouseholdHint => ({ kind: hintKinds.mail, subject })

test('what is said in one turn reaches every member in one call, each thing once', async () => {
  const scene = await Scene.open('once')
  for (let i = 0; i < 100; i++) scene.hints[0]!.tell(mail(`box ${i % 3}`))
  await scene.net.clock.advance(1_000)
  const expected = [mail('box 0'), mail('box 1'), mail('box 2')]
  assert.equal(scene.heard, [[], [expected], [expected]])
  await scene.end()
})

test('what is said while a call is under way waits for its end', async () => {
  const scene = await Scene.open('waits')
  scene.hints[0]!.tell(mail('first'))
  await scene.net.clock.advance(1)
  for (let i = 0; i < 5; i++) {
    scene.hints[0]!.tell(mail(`${i}`))
    await scene.net.clock.advance(1)
  }
  await scene.net.clock.advance(1_000)
  assert.equal(scene.heard[1]!.map((hints) => hints.length), [1, 5])
  await scene.end()
})

test('more than fits into a call becomes everything', async () => {
  const scene = await Scene.open('much')
  for (let i = 0; i <= limits.householdHintsMax; i++) scene.hints[0]!.tell(mail(`${i}`))
  await scene.net.clock.advance(1_000)
  assert.equal(scene.heard[1], [[{ kind: hintKinds.everything, subject: '' }]])
  await scene.end()
})

test('a stranger is not heard, and rubbish of a member neither', async () => {
  const scene = await Scene.open('stranger')
  const [first, second] = scene.members
  const body = encode(hintsRequestCodec, { hints: [mail('box')] })
  const answer = await scene.stranger.call(first!, services.householdHint, body)
  assert.equal(answer.ok ? 'heard' : answer.code, 'HOUSEHOLD_STRANGER')
  const rubbish = await second!.call(first!, services.householdHint, body.subarray(1))
  assert.not(rubbish.ok)
  assert.equal(scene.heard[0], [])
  await scene.end()
})

test('goes over the channel of the database, too, and nobody hears itself there', async () => {
  const listeners = new Set<(message: Uint8Array) => void>()
  const sizes: number[] = []
  const scene = await Scene.open('channel', {
    publish(message) {
      sizes.push(message.length)
      for (const listener of listeners) listener(message)
    },
    listen(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  })
  scene.net.network.partition(scene.members.map(({ nodeId }) => [nodeId]))
  scene.hints[0]!.tell(mail('box'))
  await scene.net.clock.advance(1)
  assert.equal(scene.heard, [[], [[mail('box')]], [[mail('box')]]])
  for (let i = 0; i < limits.householdHintsMax; i++) scene.hints[0]!.tell(mail(`a long name, number ${i}`))
  await scene.net.clock.advance(1)
  assert.equal(scene.heard[1]!.at(-1), [{ kind: hintKinds.everything, subject: '' }])
  assert.ok(Math.max(...sizes) <= 4_096)
  for (const listener of listeners) listener(new Uint8Array(64).fill(1))
  await scene.net.clock.advance(10_000)
  await scene.end()
  assert.is(listeners.size, 0)
})

test.run()
