/**
 * The new device's side over a session with the node that may break (protocol/linking/join.ts), with
 * the node's lobby in between and the other device's machine behind it.
 */
import * as assert from 'uvu/assert'
import { errorCode, OpenIMError } from '../../../crypto/errors.ts'
import { loopbackPair } from '../../../node/connectors/loopback-connector.ts'
import { silentLog } from '../../../node/ports.ts'
import { LinkLobby } from '../../../node/router/link-lobby.ts'
import { limits } from '../../../protocol/limits.ts'
import { joinAccount } from '../../../protocol/linking/join.ts'
import { linkKeys } from '../../../protocol/linking/link-code.ts'
import { LinkHost } from '../../../protocol/linking/link-side.ts'
import type { LinkEvent } from '../../../protocol/linking/link-side.ts'
import type { MessageLink } from '../../../protocol/ports.ts'
import { suite } from '../../helpers/harness.ts'
import { seededRandom } from '../../helpers/seeded-random.ts'
import { VirtualClock } from '../../helpers/virtual-clock.ts'

const test = suite('protocol/linking/join')
const linkPackage = new Uint8Array(5_000).fill(7)

/** One code, both devices and the node between them. */
class Play {
  readonly clock: VirtualClock
  readonly events: string[] = []
  readonly code: { doorKey: Uint8Array, token: Uint8Array, hints: string[] }
  lobby: LinkLobby
  isReachable = true
  /** The person at the new device says yes; the other one has. */
  agree: () => void = () => {}
  stored: Uint8Array | undefined
  #link: MessageLink | undefined
  #host: LinkHost | undefined
  readonly #name: string

  /** @param shared another account of the same node */
  constructor(name: string, shared?: Play) {
    this.#name = name
    this.clock = shared?.clock ?? new VirtualClock()
    this.lobby = shared?.lobby ?? this.newLobby()
    const random = seededRandom(`code ${name}`)
    this.code = { doorKey: random.bytes(32), token: random.bytes(16), hints: [] }
  }

  newLobby(): LinkLobby {
    return new LinkLobby({ clock: this.clock, random: seededRandom('lobby'), log: silentLog })
  }

  open(): void {
    const { guestKeys, proofKey } = linkKeys(this.code)
    const rootKey = seededRandom('root').bytes(32)
    const identity = { rootKey, name: 'alice', doors: ['tcp://192.0.2.7:4482'] }
    const host = new LinkHost({ proofKey, identity, random: seededRandom(`host ${this.#name}`) })
    this.#host = host
    this.lobby.open(this.#name, guestKeys.publicKey, (frame) => {
      if (frame.type === 'linkMessage') this.#do(host.receive(frame.bytes))
      else if (frame.type === 'linkClosed') this.#do(host.cancel(frame.code))
    })
  }

  #say(bytes: Uint8Array): void {
    this.lobby.fromDevice(this.#name, { type: 'linkMessage', bytes })
  }

  #do(events: readonly LinkEvent[]): void {
    const host = this.#host!
    for (const event of events) {
      if (event.type === 'send') this.#say(event.bytes)
      else if (event.type === 'compare') this.#do(host.confirm(true))
      else if (event.type === 'certify') this.#do(host.packaged(linkPackage))
      else this.events.push(event.type === 'failed' ? `host ${event.code}` : `host ${event.type}`)
    }
  }

  /** Settles with `linked` or the code of what went wrong. */
  async join(): Promise<string> {
    const { clock, code } = this
    const { guestKeys } = linkKeys(code)
    const dial = async (): Promise<MessageLink> => {
      if (!this.isReachable) throw new OpenIMError('LINK_UNREACHABLE', 'no way')
      const [device, node] = loopbackPair(clock)
      this.#link = device
      this.lobby.accept({ link: node, deviceKey: guestKeys.publicKey, remote: 'test' })
      return device
    }
    const joining = joinAccount({ clock, random: seededRandom(`new ${this.#name}`) }, {
      code,
      name: 'laptop',
      dialer: { dial },
      compare: () => new Promise<boolean>((resolve) => { this.agree = () => resolve(true) }),
      store: async (account) => { this.stored = account.package },
    })
    return await joining.then(() => 'linked', (error: unknown) => errorCode(error) ?? 'thrown')
  }

  /** The transport breaks; both ends may come back. */
  cut(): void {
    this.#link?.close('LINK_LOST')
  }
}

async function ended(play: Play, joining: Promise<string>): Promise<string> {
  let outcome: string | undefined
  void joining.then((value) => { outcome = value })
  for (let i = 0; outcome === undefined && i < 2_000; i++) await play.clock.advance(500)
  return outcome ?? 'still under way'
}

test('links over a session that breaks and resumes while people compare', async () => {
  const play = new Play('resume')
  play.open()
  const joining = play.join()
  await play.clock.advance(1_000)
  play.cut()
  play.agree()
  assert.is(await ended(play, joining), 'linked')
  assert.equal(play.stored, linkPackage)
  await play.clock.advance(1_000)
  assert.equal(play.events, ['host linked'])
  await play.lobby.stop()
})

test('a node that restarts in the middle has forgotten the guest: nothing is stored', async () => {
  const play = new Play('restart')
  play.open()
  const joining = play.join()
  await play.clock.advance(1_000)
  const stopping = play.lobby.stop()
  play.lobby = play.newLobby()
  await play.clock.advance(1_000)
  await stopping
  play.agree()
  assert.match(await ended(play, joining), /^(LINK_LEFT|LINK_CODE_OVER|SESSION_STOPPED)$/)
  assert.is(play.stored, undefined)
  assert.equal(play.events, ['host SESSION_STOPPED'])
  await play.lobby.stop()
})

test('gives up on an address that leads nowhere, and on a code whose time is over', async () => {
  const lost = new Play('lost')
  lost.open()
  lost.isReachable = false
  const beganMs = lost.clock.now()
  assert.is(await ended(lost, lost.join()), 'LINK_UNREACHABLE')
  assert.ok(lost.clock.now() - beganMs <= limits.linkReachMs + 2_000)
  await lost.lobby.stop()

  const late = new Play('late')
  late.open()
  await late.clock.advance(limits.linkTtlMs + 1)
  // In the node the router takes such a connection to be an unknown device; the lobby says it itself.
  assert.is(await ended(late, late.join()), 'LINK_CODE_OVER')
  assert.equal(late.events, ['host LINK_CODE_OVER'])
  await late.lobby.stop()
})

test('a code runs out while nobody answers', async () => {
  const play = new Play('idle')
  play.open()
  const joining = play.join()
  assert.is(await ended(play, joining), 'LINK_CODE_OVER')
  play.agree()
  assert.is(play.stored, undefined)
  await play.lobby.stop()
})

test('two codes of two accounts at one node do not meet', async () => {
  const one = new Play('one')
  const two = new Play('two', one)
  one.open()
  two.open()
  const joining = [one.join(), two.join()]
  await one.clock.advance(1_000)
  two.agree()
  assert.is(await ended(two, joining[1]!), 'linked')
  assert.is(one.stored, undefined)
  one.agree()
  assert.is(await ended(one, joining[0]!), 'linked')
  assert.equal([one.events, two.events], [['host linked'], ['host linked']])
  await one.lobby.stop()
})

test.run()
