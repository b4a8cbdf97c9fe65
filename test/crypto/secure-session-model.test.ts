/**
 * Ten thousand random steps of two devices over a bad network, against a model: each message is
 * read exactly once, with its own text, or was lost; a repetition is a duplicate; nothing else
 * ever happens. Messages are reordered, lost and doubled; devices restart from what is stored,
 * crash before storing, and start new sessions, sometimes both at once.
 */
import * as assert from 'uvu/assert'
import { utf8Decode } from '../../crypto/bytes.ts'
import { peekInitial, SecureSession } from '../../crypto/secure-session.ts'
import type { Random } from '../../crypto/random.ts'
import { suite } from '../helpers/harness.ts'
import { randomInteger, seededRandom } from '../helpers/seeded-random.ts'
import { ad, TestDevice } from './support/devices.ts'

const test = suite('crypto/secure-session model', { timeoutMs: 120_000 })

interface Packet {
  readonly text: string
  readonly message: Uint8Array
  delivered: boolean
  /** Times that it was passed over in favour of a later one. */
  passedOver: number
}

/** One device with its session as stored, and what is on its way to it. */
interface End {
  readonly device: TestDevice
  session: SecureSession | undefined
  durable: Uint8Array | undefined
  readonly inbound: Packet[]
  /** Some that were delivered, to come again. */
  readonly old: Packet[]
}

const steps = 10_000
/** A message is overtaken by fewer others than this, so that its chain is still known. */
const windowPackets = 12

class World {
  readonly #random: Random
  readonly #ends: readonly [End, End]
  readonly counts = { sent: 0, read: 0, lost: 0, doubled: 0, crashes: 0, resets: 0 }

  constructor(random: Random) {
    this.#random = random
    const end = (): End =>
      ({ device: new TestDevice(random), session: undefined, durable: undefined, inbound: [], old: [] })
    this.#ends = [end(), end()]
  }

  step(): void {
    const [from, to] = this.#chance(50) ? this.#ends : [this.#ends[1], this.#ends[0]]
    const kind = randomInteger(this.#random, 1_000)
    // Bursts in one direction, so that the ends often answer several messages at once.
    if (kind < 480) for (let i = randomInteger(this.#random, 4); i >= 0; i--) this.#send(from, to)
    else if (kind < 940) for (let i = randomInteger(this.#random, 6); i >= 0; i--) this.#deliver(to)
    else if (kind < 960) this.#deliverAgain(to)
    else if (kind < 975) this.#lose(to)
    else if (kind < 997) this.#restart(from)
    else this.#reset(from, to)
  }

  /** Everything that is still under way arrives. */
  drain(): void {
    for (const end of this.#ends) while (end.inbound.length > 0) this.#deliver(end)
  }

  #send(from: End, to: End): void {
    from.session ??= from.device.initiate(to.device.bundle(this.#chance(50) ? 'oneTime' : 'lastResort'))
    const text = `${this.counts.sent++}`
    const message = from.device.encrypt(from.session, text)
    this.#store(from)
    to.inbound.push({ text, message, delivered: false, passedOver: 0 })
  }

  #deliver(to: End): void {
    const window = to.inbound.slice(0, windowPackets)
    if (window.length === 0) return
    const overdue = window.findIndex((packet) => packet.passedOver >= windowPackets)
    const at = overdue >= 0 ? overdue : randomInteger(this.#random, window.length)
    const packet = to.inbound.splice(at, 1)[0]!
    for (const earlier of window.slice(0, at)) earlier.passedOver++
    assert.is(this.#receive(to, packet.message), packet.text)
    if (this.#chance(5)) {
      // The batch was not stored; the node delivers it again after the restart.
      this.#crash(to)
      assert.is(this.#receive(to, packet.message), packet.text)
    }
    this.#store(to)
    packet.delivered = true
    this.counts.read++
    if (to.old.push(packet) > 20) to.old.splice(randomInteger(this.#random, 20), 1)
  }

  #deliverAgain(to: End): void {
    const packet = to.old[randomInteger(this.#random, Math.max(1, to.old.length))]
    if (packet === undefined) return
    const before = to.session!.serialize()
    // Its chain may have been pushed out since; then it is garbage to us. Never a second reading.
    const code = this.#receive(to, packet.message)
    assert.ok(code === 'SESSION_DUPLICATE' || code === 'SESSION_UNDECRYPTABLE', code)
    assert.equal(to.session!.serialize(), before)
    this.counts.doubled++
  }

  #lose(to: End): void {
    if (to.inbound.length === 0) return
    to.inbound.splice(randomInteger(this.#random, to.inbound.length), 1)
    this.counts.lost++
  }

  #restart(end: End): void {
    if (end.durable === undefined) return
    end.session = SecureSession.deserialize(end.durable)
    this.counts.crashes++
  }

  #crash(end: End): void {
    end.session = end.durable && SecureSession.deserialize(end.durable)
    this.counts.crashes++
  }

  #reset(from: End, to: End): void {
    from.session = from.device.initiate(to.device.bundle(), from.session)
    this.#store(from)
    this.counts.resets++
    this.#send(from, to)
  }

  /** The text, or the code of the refusal. One-time prekeys are deleted only with the stored session. */
  #receive(to: End, message: Uint8Array): string {
    const { session } = to
    if (peekInitial(message) === undefined) {
      const opened = session!.decrypt({ message, ad })
      return opened.ok ? utf8Decode(opened.value) : opened.code
    }
    const { own, prekeys } = to.device
    const existing = session && { existing: session }
    const responded = SecureSession.respond({ own, message, ad, prekeys, ...existing })
    if (!responded.ok) return responded.code
    to.session = responded.value.session
    return utf8Decode(responded.value.plaintext)
  }

  #store(end: End): void {
    end.durable = end.session!.serialize()
  }

  #chance(percent: number): boolean {
    return randomInteger(this.#random, 100) < percent
  }
}

for (const seed of ['model 1', 'model 2']) {
  test(`reads every message once through ${steps / 2} steps (${seed})`, () => {
    const world = new World(seededRandom(seed))
    for (let i = 0; i < steps / 2; i++) world.step()
    world.drain()
    const { sent, read, lost, doubled, crashes, resets } = world.counts
    assert.is(read, sent - lost)
    const enough = read > 3_000 && lost > 20 && doubled > 50 && crashes > 50 && resets > 5
    assert.ok(enough, JSON.stringify(world.counts))
  })
}

test.run()
