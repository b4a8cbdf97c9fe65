/**
 * The archive against a naive twin: an array that is filtered. Queries are generated; both must give
 * the same page. Then what the twin cannot show: clocks that go back, expiry, damage.
 */
import * as assert from 'uvu/assert'
import { ArchiveExpiry } from '../../../../bridges/xmpp/archive/expiry.ts'
import { Archive } from '../../../../bridges/xmpp/archive/archive.ts'
import type { ArchiveFilter, ArchivePage, ArchivePaging } from '../../../../bridges/xmpp/archive/archive.ts'
import { Jid } from '../../../../bridges/xmpp/jid.ts'
import { el } from '../../../../bridges/xmpp/xml/element.ts'
import { ns } from '../../../../bridges/xmpp/xml/names.ts'
import { utf8 } from '../../../../crypto/bytes.ts'
import { memoryKv } from '../../../../protocol/memory-kv.ts'
import { suite } from '../../../helpers/harness.ts'
import { randomChoice, randomInteger, seededRandom } from '../../../helpers/seeded-random.ts'
import { VirtualClock } from '../../../helpers/virtual-clock.ts'

const test = suite('bridges/xmpp/archive/archive')

const me = Jid.parse('me@a.test')!
/** As their servers write them, and prepared. */
const peers = ['bob@b.test/phone', 'bob@b.test/desk', 'carol@c.test', 'Dora@B.TEST/Mixed Case']
  .map((text) => ({ text, jid: Jid.parse(text)! }))

interface Kept {
  readonly id: string
  readonly peer: Jid
  readonly body: string
}

function open(): { kv: ReturnType<typeof memoryKv>, clock: VirtualClock, archive: Archive } {
  const clock = new VirtualClock()
  const kv = memoryKv(clock)
  return { kv, clock, archive: new Archive({ kv, clock }) }
}

type Ground = ReturnType<typeof open>

async function keep(
  { kv, archive }: Pick<Ground, 'kv' | 'archive'>, owner: string,
  { peer, isOutward, body }: { peer: typeof peers[number], isOutward: boolean, body: string },
): Promise<Kept> {
  const id = archive.nextId(owner)
  const ends = isOutward ? { from: `${me.bare}/here`, to: peer.text } : { from: peer.text, to: me.bare }
  const message = el(ns.client, 'message', { ...ends, type: 'chat' }, el(ns.client, 'body', {}, body))
  await kv.write(archive.operations(owner, { id, peer: peer.jid, message }))
  return { id, peer: peer.jid, body }
}

const atOf = (id: string): number => Number.parseInt(id.slice(0, 12), 16)

/** What the archive is to answer, in the plainest words. */
function twin(all: readonly Kept[], filter: ArchiveFilter, paging: ArchivePaging): Shown {
  const { startMs = -Infinity, endMs = Infinity, ids, beforeId, afterId } = filter
  const wanted = all.filter(({ id, peer }) =>
    atOf(id) >= startMs && atOf(id) <= endMs
    && (ids === undefined || ids.includes(id))
    && (beforeId === undefined || id < beforeId) && (afterId === undefined || id > afterId)
    && (filter.with === undefined || (filter.with.isBare ? peer.toBare() : peer).equals(filter.with)))
  const { before, after, max } = paging
  if (before !== undefined) {
    const left = before === '' ? wanted : wanted.filter(({ id }) => id < before)
    return shown(max === 0 ? [] : left.slice(-max), left.length <= max)
  }
  const left = after === undefined ? wanted : wanted.filter(({ id }) => id > after)
  return shown(left.slice(0, max), left.length <= max)
}

interface Shown {
  readonly page: readonly string[]
  readonly isComplete: boolean
}

function shown(kept: readonly Kept[], isComplete: boolean): Shown {
  return { page: kept.map(({ id, body }) => `${id} ${body}`), isComplete }
}

function shownPage({ entries, isComplete }: ArchivePage): Shown {
  return { page: entries.map(({ id, message }) => `${id} ${message.childText('body')}`), isComplete }
}

function someQuery(random: ReturnType<typeof seededRandom>, all: readonly Kept[]): {
  filter: ArchiveFilter, paging: ArchivePaging,
} {
  const isChosen = (oneOf: number): boolean => randomInteger(random, oneOf) === 0
  const id = (): string => randomChoice(random, all).id
  const around = (): number => atOf(id()) + randomInteger(random, 3) - 1
  const far = [-1, 0, Date.parse('9999-12-31T23:59:59Z')]
  const time = (): number => isChosen(8) ? randomChoice(random, far) : around()
  const peer = (): Jid => {
    const { jid } = randomChoice(random, peers)
    return isChosen(2) ? jid.toBare() : jid
  }
  const filter: ArchiveFilter = {
    ...isChosen(3) ? { startMs: time() } : {},
    ...isChosen(3) ? { endMs: time() } : {},
    ...isChosen(2) ? { with: isChosen(9) ? Jid.parse('nobody@b.test')! : peer() } : {},
    ...isChosen(5) ? { ids: Array.from({ length: randomInteger(random, 6) }, id) } : {},
    ...isChosen(6) ? { beforeId: id() } : {},
    ...isChosen(6) ? { afterId: id() } : {},
  }
  const max = isChosen(12) ? 0 : 1 + randomInteger(random, 40)
  const direction = randomInteger(random, 4)
  if (direction === 0) return { filter, paging: { max } }
  if (direction === 1) return { filter, paging: { max, after: id() } }
  return { filter, paging: { max, before: direction === 2 ? '' : id() } }
}

test('answers three thousand generated queries as a filtered array does', async () => {
  const random = seededRandom('archive')
  const ground = open()
  const all: Kept[] = []
  // More than one scan of the store holds, with many a millisecond and pauses between.
  for (let i = 0; i < 500; i++) {
    if (randomInteger(random, 3) === 0) await ground.clock.advance(randomInteger(random, 5_000))
    const isOutward = randomInteger(random, 2) === 0
    all.push(await keep(ground, 'me', { peer: randomChoice(random, peers), isOutward, body: `text ${i}` }))
    await keep(ground, 'mem', { peer: peers[0]!, isOutward, body: 'of another owner' })
  }
  for (let i = 0; i < 3_000; i++) {
    const { filter, paging } = someQuery(random, all)
    const page = shownPage(await ground.archive.query('me', filter, paging))
    const { with: jid, ...rest } = filter
    const asked = JSON.stringify({ with: jid?.toString(), ...rest, ...paging })
    assert.equal(page, twin(all, filter, paging), asked)
  }
})

test('pages forward and backward through everything, each message once', async () => {
  const random = seededRandom('pages')
  const ground = open()
  const all: Kept[] = []
  for (let i = 0; i < 450; i++) {
    all.push(await keep(ground, 'me', { peer: randomChoice(random, peers), isOutward: true, body: `${i}` }))
  }
  for (const isBackward of [false, true]) {
    const bodies: (string | undefined)[] = []
    let paging: ArchivePaging = isBackward ? { max: 37, before: '' } : { max: 37 }
    for (let isComplete = false; !isComplete;) {
      const page = await ground.archive.query('me', {}, paging)
      const texts = page.entries.map(({ message }) => message.childText('body'))
      if (isBackward) bodies.unshift(...texts)
      else bodies.push(...texts)
      isComplete = page.isComplete
      const edge = isBackward ? { before: page.entries[0]!.id } : { after: page.entries.at(-1)!.id }
      paging = { max: 37, ...edge }
    }
    assert.equal(bodies, all.map(({ body }) => body))
  }
})

test('gives ids that only grow, also when the clock goes back and in a burst', async () => {
  const { clock, archive } = open()
  const ids: string[] = []
  for (let i = 0; i < 70_000; i++) ids.push(archive.nextId('me'))
  clock.jumpWall(-3_600_000)
  for (let i = 0; i < 100; i++) ids.push(archive.nextId('me'))
  clock.jumpWall(7_200_000)
  ids.push(archive.nextId('me'))
  assert.ok(ids.every((id, i) => i === 0 || id > ids[i - 1]!))
})

test('gives ids above those of an earlier life, whatever the clock says', async () => {
  const ground = open()
  await keep(ground, 'me', { peer: peers[0]!, isOutward: true, body: 'before' })
  const [before] = (await ground.archive.query('me', {}, { max: 1 })).entries
  ground.clock.jumpWall(-3_600_000)
  const again = new Archive(ground)
  await again.load('me')
  assert.ok(again.nextId('me') > before!.id)
})

test('expires the old within its budget, with what leads to them', async () => {
  const ground = open()
  const { kv, clock, archive } = ground
  for (let i = 0; i < 30; i++) {
    await keep(ground, 'me', { peer: peers[i % peers.length]!, isOutward: i % 2 === 0, body: `${i}` })
    await clock.advance(1_000)
  }
  const beforeMs = clock.now() - 10_000
  assert.is(await archive.expire('me', { beforeMs, budget: 12 }), 12)
  assert.is(await archive.expire('me', { beforeMs, budget: 12 }), 8)
  assert.is(await archive.expire('me', { beforeMs, budget: 12 }), 0)
  const left = await archive.query('me', {}, { max: 100 })
  assert.equal(left.entries.map(({ message }) => message.childText('body')),
    Array.from({ length: 10 }, (_, i) => `${20 + i}`))
  assert.is((await kv.list({ prefix: 'mam-with/', limit: 100 })).length, 10)
})

test('expiry goes through all archives, and spares what still waits for a device', async () => {
  const ground = open()
  const { kv, clock, archive } = ground
  const waiting = await keep(ground, 'me', { peer: peers[0]!, isOutward: false, body: 'waits' })
  for (const owner of ['me', 'room', 'you']) {
    await keep(ground, owner, { peer: peers[0]!, isOutward: false, body: 'old' })
  }
  await kv.write([{ type: 'put', key: `offline/me/${waiting.id}`, value: new Uint8Array(0) }])
  await clock.advance(3 * 86_400_000)
  await keep(ground, 'you', { peer: peers[0]!, isOutward: false, body: 'new' })
  const random = seededRandom('expiry')
  const onError = (error: unknown): void => { throw error }
  const expiry = new ArchiveExpiry({ archive, kv, clock, random, onError }, { days: 2 })
  assert.is(await expiry.run(), 3)
  const left = await Promise.all(['me', 'room', 'you'].map((owner) => archive.query(owner, {}, { max: 100 })))
  assert.equal(left.map(({ entries }) => entries.map(({ message }) => message.childText('body'))),
    [['waits'], [], ['new']])
  await kv.write([{ type: 'delete', key: `offline/me/${waiting.id}` }])
  assert.is(await expiry.run(), 1)
})

test('tells its ends, and of none that it is empty', async () => {
  const ground = open()
  assert.is(await ground.archive.ends('me'), undefined)
  const first = await keep(ground, 'me', { peer: peers[0]!, isOutward: true, body: 'a' })
  const last = await keep(ground, 'me', { peer: peers[1]!, isOutward: false, body: 'b' })
  const ends = await ground.archive.ends('me')
  assert.equal([ends?.first.id, ends?.last.id], [first.id, last.id])
  assert.ok(await ground.archive.has('me', first.id))
  assert.not(await ground.archive.has('another', first.id))
  assert.not(await ground.archive.has('me', `../me/${first.id}`))
})

test('passes over a damaged record', async () => {
  const ground = open()
  const kept = await keep(ground, 'me', { peer: peers[0]!, isOutward: true, body: 'a' })
  await keep(ground, 'me', { peer: peers[0]!, isOutward: true, body: 'b' })
  await ground.kv.write([{ type: 'put', key: `mam/me/${kept.id}`, value: utf8('<message><body>') }])
  const { entries, isComplete } = await ground.archive.query('me', {}, { max: 10 })
  assert.equal(entries.map(({ message }) => message.childText('body')), ['b'])
  assert.ok(isComplete)
})

test.run()
