/** The two ends of a linking, and who may stand between them (protocol/linking/link-side.ts). */
import * as assert from 'uvu/assert'
import { OpenIMError } from '../../../crypto/errors.ts'
import type { ShortCode } from '../../../crypto/short-auth.ts'
import { LinkHost, LinkJoiner } from '../../../protocol/linking/link-side.ts'
import type { LinkEvent } from '../../../protocol/linking/link-side.ts'
import { suite } from '../../helpers/harness.ts'
import { randomInteger, seededRandom } from '../../helpers/seeded-random.ts'

const test = suite('protocol/linking/link-side')
const proofKey = seededRandom('proof').bytes(32)
const identity = { rootKey: seededRandom('root').bytes(32), name: 'alice', doors: ['tcp://192.0.2.7:4482'] }
const request = new Uint8Array([1, 2, 3])
const linkPackage = new Uint8Array(7_000).fill(9)

/** Two ends and what they ask of their people. */
class Play {
  readonly host: LinkHost
  readonly joiner: LinkJoiner
  readonly asked: { host?: ShortCode, joiner?: ShortCode } = {}
  readonly events: string[] = []
  stored: Uint8Array | undefined
  /** What the node does with a message on its way. */
  change: (bytes: Uint8Array, to: 'host' | 'joiner') => Uint8Array | undefined = (bytes) => bytes

  constructor(options: { hostKey?: Uint8Array, joinerKey?: Uint8Array, seed?: string } = {}) {
    const { hostKey = proofKey, joinerKey = proofKey, seed = '' } = options
    this.host = new LinkHost({ proofKey: hostKey, identity, random: seededRandom(`host ${seed}`) })
    const random = seededRandom(`joiner ${seed}`)
    this.joiner = new LinkJoiner({ proofKey: joinerKey, name: 'phone', random })
  }

  do(side: 'host' | 'joiner', events: readonly LinkEvent[]): void {
    for (const event of events) {
      const other = side === 'host' ? 'joiner' : 'host'
      if (event.type === 'send') {
        const bytes = this.change(event.bytes, other)
        if (bytes !== undefined) this.do(other, this[other].receive(bytes))
      } else if (event.type === 'compare') {
        this.asked[side] = event.code
        this.events.push(`${side} compares with ${event.name}`)
      } else if (event.type === 'certify') {
        assert.equal(event.request, request)
        this.events.push('certified')
        this.do('host', this.host.packaged(linkPackage))
      } else if (event.type === 'request') {
        assert.equal(event.account, identity)
        this.do('joiner', this.joiner.requested(request))
      } else if (event.type === 'store') {
        this.stored = event.package
        this.do('joiner', this.joiner.stored())
      } else {
        this.events.push(`${side} ${event.type === 'failed' ? event.code : event.type}`)
      }
    }
  }

  begin(): void {
    this.do('joiner', this.joiner.begin())
  }

  confirm(side: 'host' | 'joiner', isSame = true): void {
    this.do(side, this[side].confirm(isSame))
  }
}

test('both show the same code, and the account is there once both people said so', () => {
  for (const order of [['host', 'joiner'], ['joiner', 'host']] as const) {
    const play = new Play()
    play.begin()
    assert.equal(play.events, ['host compares with phone', 'joiner compares with alice'])
    assert.equal(play.asked.host, play.asked.joiner)
    play.confirm(order[0])
    assert.is(play.stored, undefined)
    play.confirm(order[1])
    assert.equal(play.stored, linkPackage)
    assert.equal(play.events.slice(2).sort(), ['certified', 'host linked', 'joiner linked'])
    assert.ok(play.host.over && play.joiner.over)
  }
})

test('a person who sees another code ends it on both sides, and nothing was handed out', () => {
  for (const side of ['host', 'joiner'] as const) {
    const play = new Play()
    play.begin()
    play.confirm(side, false)
    assert.equal(play.events.slice(2).sort(), ['host LINK_DIFFERENT', 'joiner LINK_DIFFERENT'])
    play.confirm('host')
    play.confirm('joiner')
    assert.is(play.stored, undefined)
  }
})

test('who does not know the link code gets nothing, whichever side it plays', () => {
  const wrong = seededRandom('guess').bytes(32)
  const asJoiner = new Play({ joinerKey: wrong })
  asJoiner.begin()
  assert.equal(asJoiner.events.sort(), ['host LINK_PROOF', 'joiner LINK_PROOF'])
  const asHost = new Play({ hostKey: wrong })
  asHost.begin()
  assert.ok(asHost.events.includes('host LINK_PROOF'))
  assert.equal(asHost.asked, {})
})

test('who has photographed the code and stands between makes the two codes differ', () => {
  // The attacker is a host towards the new device and a joiner towards the old one.
  const outer = new Play({ seed: 'outer' })
  const inner = new Play({ seed: 'inner' })
  outer.begin()
  inner.begin()
  // The new device is outer's joiner, the old one inner's host.
  assert.not.equal(outer.asked.joiner, inner.asked.host)
})

test('a flipped bit anywhere ends it; nobody is asked to compare what does not belong together', () => {
  for (let message = 0; message < 12; message++) {
    const play = new Play()
    let count = 0
    play.change = (bytes) => {
      if (count++ !== message) return bytes
      const changed = bytes.slice()
      changed[randomInteger(seededRandom(`flip ${message}`), changed.length)]! ^= 1
      return changed
    }
    play.begin()
    play.confirm('host')
    play.confirm('joiner')
    if (count <= message) break
    const isNoticed = play.events.some((event) => event.includes('LINK_CHANNEL'))
    assert.ok(isNoticed, `message ${message}: ${play.events}`)
  }
})

test('messages out of order, twice or of the other side end it', () => {
  const play = new Play()
  const seen: Uint8Array[] = []
  play.change = (bytes, to) => {
    if (to === 'host') seen.push(bytes)
    return bytes
  }
  play.begin()
  play.do('host', play.host.receive(seen[0]!))
  assert.ok(play.events.includes('host LINK_CHANNEL'))
})

test('when the device cannot be listed or the account not stored, both are told why', () => {
  const play = new Play()
  play.begin()
  play.confirm('joiner')
  const events = play.host.confirm(true)
  assert.equal(events.map(({ type }) => type), ['certify'])
  play.do('host', play.host.packaged(new OpenIMError('ACCOUNT_DEVICES', 'too many')))
  assert.equal(play.events.slice(2).sort(), ['host ACCOUNT_DEVICES', 'joiner ACCOUNT_DEVICES'])
})

test('random bytes never crash either side', () => {
  const random = seededRandom('garbage')
  for (let round = 0; round < 200; round++) {
    const play = new Play({ seed: String(round % 20) })
    if (round % 2 === 0) play.begin()
    const bytes = random.bytes(randomInteger(random, 200))
    play.host.receive(bytes)
    play.joiner.receive(bytes)
  }
})

test.run()
