/** Which of two links to one peer stays, replayed step by step in virtual time. */
import * as assert from 'uvu/assert'
import { suite } from '../../helpers/harness.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'
import { nodeIdFromKey } from '../../../protocol/ids.ts'
import type { NodeId } from '../../../protocol/ids.ts'
import { limits } from '../../../protocol/limits.ts'
import { services } from '../../../protocol/service/codes.ts'
import { PeerLink } from '../../../node/overlay/peer-link.ts'
import { PeerLinks } from '../../../node/overlay/peer-links.ts'
import { PeerBuckets } from '../../../node/overlay/peer-buckets.ts'
import { silentLog } from '../../../node/ports.ts'
import { freeRates, MemoryPipe } from './link-pair.ts'

const test = suite('node/overlay/peer-links')

interface End {
  readonly id: NodeId
  readonly links: PeerLinks
  readonly events: boolean[]
  /** What each link ended with, in order. */
  readonly downs: string[]
}

interface Wire {
  readonly small: PeerLink
  readonly large: PeerLink
  /** Both directions stop, as when a cable is pulled. */
  cut(): void
  /** The network of one end is told that the other is gone. */
  reset(): void
}

let clock: VirtualClock
let small: End
let large: End

test.before.each(() => {
  clock = new VirtualClock()
  const ids = [1, 2].map((i) => nodeIdFromKey(new Uint8Array(32).fill(i)))
  const [low, high] = ids.toSorted() as [NodeId, NodeId]
  small = newEnd(low)
  large = newEnd(high)
})

test.after.each(async () => {
  for (const end of [small, large]) for (const link of end.links.all()) link.close()
  await clock.settle()
})

function newEnd(id: NodeId): End {
  const events: boolean[] = []
  const links = new PeerLinks(id, { peer: (_nodeId, connected) => events.push(connected) })
  return { id, links, events, downs: [] }
}

/** A link opened by one of the two; each end hears of it when the other's hello arrives. */
function connect(opener: 'small' | 'large'): Wire {
  const pipes = { small: new MemoryPipe(), large: new MemoryPipe() }
  const make = (end: End, remote: End, pipe: MemoryPipe, local: boolean): PeerLink => {
    const buckets = new PeerBuckets(clock, freeRates).of(remote.id)
    const echo = async (_from: NodeId, body: Uint8Array) => ({ ok: true as const, value: body })
    const components = { clock, log: silentLog, services: new Map([[services.echo, echo]]), buckets }
    const link: PeerLink = new PeerLink(components, pipe, {
      remote: remote.id,
      opener: local ? 'local' : 'remote',
      events: {
        up: (up) => end.links.add(up),
        down: (down, code) => {
          end.links.remove(down)
          end.downs.push(code)
        },
      },
    })
    pipe.onDrained(() => link.drained())
    return link
  }
  const smallLink = make(small, large, pipes.small, opener === 'small')
  const largeLink = make(large, small, pipes.large, opener === 'large')
  pipes.small.deliver = (bytes) => largeLink.receive(bytes)
  pipes.large.deliver = (bytes) => smallLink.receive(bytes)
  pipes.small.onClosed = () => largeLink.fail('LINK_RESET')
  pipes.large.onClosed = () => smallLink.fail('LINK_RESET')
  return {
    small: smallLink,
    large: largeLink,
    cut() {
      pipes.small.freeze()
      pipes.large.freeze()
      pipes.small.onClosed = pipes.large.onClosed = () => {}
    },
    reset: () => largeLink.fail('LINK_RESET'),
  }
}

const call = (from: PeerLink) => from.call(services.echo, new Uint8Array(3), { timeoutMs: 1_000 })
const works = async (from: PeerLink): Promise<boolean> =>
  (await clock.until(call(from), { withinMs: 2_000 })).ok

test('keeps the link that the smaller id opened when both dial at once', async () => {
  const first = connect('small')
  const second = connect('large')
  await clock.advance(10)
  assert.is(small.links.get(large.id), first.small)
  assert.is(large.links.get(small.id), first.large)
  assert.equal([...small.links.all()].length, 1)
  assert.equal([...large.links.all()].length, 1)
  assert.is(second.small.state, 'closed')
  assert.equal([small.downs, large.downs], [['LINK_DUPLICATE'], ['LINK_DUPLICATE']])
  assert.equal([small.events, large.events], [[true], [true]])
})

test('keeps the same one whichever came first', async () => {
  const second = connect('large')
  await clock.settle()
  const first = connect('small')
  await clock.advance(10)
  assert.is(small.links.get(large.id), first.small)
  assert.is(large.links.get(small.id), first.large)
  assert.is(second.large.state, 'closed')
})

test('loses no call when it changes over', async () => {
  const second = connect('large')
  await clock.settle()
  const calls = Array.from({ length: 50 }, () => call(second.small))
  connect('small')
  for (const each of calls) assert.ok((await clock.until(each, { withinMs: 2_000 })).ok)
})

test('lets a newer link live when the one that should stay is dead', async () => {
  const old = connect('small')
  await clock.settle()
  old.cut()
  // The larger one came back from a power cut: it knows of no link and opens one.
  old.reset()
  const fresh = connect('large')
  await clock.advance(1)
  assert.is(small.links.get(large.id), fresh.small)
  assert.ok(await works(fresh.small))
  await clock.advance(limits.linkProbeMs + 50)
  assert.is(old.small.state, 'closed')
  assert.is(small.links.get(large.id), fresh.small)
  assert.is(large.links.get(small.id), fresh.large)
  assert.equal(small.events, [true])
  assert.ok(await works(fresh.large))
})

test('replaces a link by a newer one of the same opener', async () => {
  const old = connect('large')
  await clock.settle()
  old.cut()
  old.reset()
  const fresh = connect('large')
  await clock.advance(1)
  assert.is(old.small.state, 'closed')
  assert.is(small.links.get(large.id), fresh.small)
  assert.equal(small.downs, ['LINK_REPLACED'])
})

test('tells that a peer is gone only when its last link is', async () => {
  const first = connect('small')
  await clock.settle()
  first.small.close()
  await clock.settle()
  assert.equal([small.events, large.events], [[true, false], [true, false]])
  assert.is(small.links.get(large.id), undefined)
})

test.run()
