/** What a device learns of its node's doors, and what it keeps (protocol/client/home-ways.ts). */
import * as assert from 'uvu/assert'
import { OpenIMError } from '../../../crypto/errors.ts'
import { silentClientLog } from '../../../protocol/client/context.ts'
import { HomeWays } from '../../../protocol/client/home-ways.ts'
import type { Frame } from '../../../protocol/frame/frame.ts'
import { limits } from '../../../protocol/limits.ts'
import { suite } from '../../helpers/harness.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'

const test = suite('protocol/client/home-ways')
const clock = new VirtualClock()
const tcp = 'tcp://192.0.2.7:4484'
const udp = 'udp://192.0.2.7:4484'

interface Scene {
  readonly ways: HomeWays
  /** Each time it was written. */
  readonly stored: (readonly string[])[]
  /** Tried, in order, by a dial in which nobody answers. */
  dialled(): Promise<string[]>
  tell(addresses: string[]): Promise<void>
  /** Frames that went on to the client. */
  readonly passed: string[]
}

function scene(addresses: readonly string[], options: { learns?: boolean, failing?: boolean } = {}): Scene {
  const stored: (readonly string[])[] = []
  const tried: string[] = []
  const passed: string[] = []
  const store = async (known: readonly string[]): Promise<void> => {
    if (options.failing === true) throw new OpenIMError('STORE_IO', 'the disk is gone')
    stored.push(known)
  }
  const ways = new HomeWays({ clock, log: silentClientLog }, {
    addresses,
    ways: (known) => known.map((name) => {
      if (name.startsWith('gopher')) throw new OpenIMError('DOOR_ADDRESS', name)
      return { name, dialer: {
        async dial() {
          tried.push(name)
          throw new OpenIMError('LINK_UNREACHABLE', name)
        },
      } }
    }),
    ...options.learns === false ? {} : { store },
  })
  const listener = ways.listener({
    frame: (frame) => { passed.push(frame.type) },
    reset: () => {},
    state: () => {},
  })
  return {
    ways, stored, passed,
    async dialled() {
      tried.length = 0
      await ways.dial(new AbortController().signal).catch(() => {})
      return [...tried]
    },
    tell: async (told) => { await listener.frame({ type: 'doors', addresses: told }) },
  }
}

test('tries and keeps a door that the node tells of, and forgets none', async () => {
  const { ways, stored, dialled, tell } = scene(['wss://home.example:443'])
  await tell([tcp, udp])
  assert.equal(ways.addresses, ['wss://home.example:443', tcp, udp])
  assert.equal(stored, [ways.addresses])
  assert.equal(await dialled(), ways.addresses)
})

test('writes nothing when there is nothing new, and takes up no address twice', async () => {
  const { ways, stored, tell } = scene([tcp, udp])
  await tell([udp, tcp])
  assert.equal(stored, [])
  await tell([udp, 'ws://192.0.2.7:4482', 'ws://192.0.2.7:4482'])
  assert.equal(ways.addresses, [tcp, 'ws://192.0.2.7:4482', udp])
})

test('leaves out what it cannot dial', async () => {
  const { ways, tell } = scene([tcp])
  await tell(['gopher://192.0.2.7:70', udp])
  assert.equal(ways.addresses, [tcp, udp])
})

test('keeps so many at most, the way in use and the newest among them', async () => {
  const { ways, tell } = scene([tcp])
  for (let port = 1; port <= 40; port++) await tell([`udp://192.0.2.7:${port}`])
  assert.is(ways.addresses.length, limits.homeAddressesMax)
  assert.equal(ways.addresses.slice(0, 2), [tcp, 'udp://192.0.2.7:40'])
})

test('goes on with what it learned when the disk fails', async () => {
  const { dialled, tell } = scene([tcp], { failing: true })
  await tell([udp])
  assert.equal(await dialled(), [tcp, udp])
})

test('learns nothing where the app named the addresses, and passes every other frame on', async () => {
  const { ways, passed, tell } = scene([tcp], { learns: false })
  await tell([udp])
  assert.equal(ways.addresses, [tcp])
  const client = ways.listener({ frame: (frame) => { passed.push(frame.type) }, reset() {}, state() {} })
  const other: Frame = { type: 'refusal', request: 1, code: 'X', detail: '' }
  await client.frame(other)
  assert.equal(passed, ['refusal'])
})

test.run()
