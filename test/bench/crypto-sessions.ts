/**
 * Sessions of two devices against libsignal's (crypto-libsignal.ts): messages there and read, and
 * handshakes.
 *
 * Both sides persist as a client must: after every message written and every message read the
 * session's serialized record goes into a map, and the live one stays in memory. Both run in one
 * process, in interleaved rounds; 300 bytes of text. Rates are by seconds of processor time, all
 * threads of the process together: both sides compute on one, and who else uses the machine
 * then disturbs less.
 */
import { crypto } from '../../crypto/index.ts'
import { systemRandom as random } from '../../crypto/random.ts'
import { SecureSession } from '../../crypto/secure-session.ts'
import { ad, establish, read, TestDevice, value } from '../crypto/support/devices.ts'
import { compare, interleaved } from './bench.ts'
import type { BenchRow } from './bench.ts'
import { LibsignalDevice } from './crypto-libsignal.ts'

const rounds = 7
const roundMs = 400
/** Between two looks at the clock. */
const turnsAtOnce = 8
const handshakesPerRound = 100
const textBytes = 300
const plaintext = random.bytes(textBytes) as Uint8Array<ArrayBuffer>
const persisted = 'libsignal, both persisted'

/** Messages of one side before the other answers, and what their ratio shall be. */
const turns = [
  { messages: 1, floor: 1, target: 1.3 },
  { messages: 10, floor: 3, target: 4 },
  { messages: 100, floor: 5, target: 8 },
] as const

/** Before our first figure: the provider loads libsodium after some use. */
export async function messageRows(say: (line: string) => void): Promise<BenchRow[]> {
  const ours = ourPair()
  const theirs = await theirPair()
  const rows: BenchRow[] = []
  for (const { messages, floor, target } of turns) {
    say(`messages, ${messages} a turn …`)
    const measured = await interleaved({
      rounds,
      sides: {
        ours: () => perSecondOf(messages, () => ours(messages)),
        theirs: () => perSecondOf(messages, () => theirs(messages)),
      },
    })
    rows.push({
      figure: `messages written and read, ${messages} a turn`,
      unit: '1/cpu s', better: 'higher', floor, target,
      ...compare(measured, 'ours', { against: 'theirs', name: persisted }),
    })
  }
  return rows
}

/** A function that carries so many messages one way, and the other way the next time. */
function ourPair(): (messages: number) => void {
  let [writer, reader] = establish(new TestDevice(random), new TestDevice(random))
  const stored = new Map<SecureSession, Uint8Array>()
  return (messages) => {
    for (let i = 0; i < messages; i++) {
      const message = writer.encrypt({ plaintext, ad, random })
      stored.set(writer, writer.serialize())
      value(reader.decrypt({ message, ad }))
      stored.set(reader, reader.serialize())
    }
    [writer, reader] = [reader, writer]
  }
}

async function theirPair(): Promise<(messages: number) => Promise<void>> {
  let [writer, reader] = [new LibsignalDevice('alice'), new LibsignalDevice('bob')]
  await writer.begin(reader, await reader.bundle(1))
  await reader.decrypt(writer, await writer.encrypt(reader, plaintext))
  await writer.decrypt(reader, await reader.encrypt(writer, plaintext))
  return async (messages) => {
    for (let i = 0; i < messages; i++) await reader.decrypt(writer, await writer.encrypt(reader, plaintext))
    ;[writer, reader] = [reader, writer]
  }
}

async function perSecondOf(messages: number, turn: () => Promise<void> | void): Promise<number> {
  const start = processorMs()
  let count = 0
  let now = start
  while (now - start < roundMs) {
    for (let i = 0; i < turnsAtOnce; i++) {
      const done = turn()
      if (done !== undefined) await done
    }
    count += turnsAtOnce * messages
    now = processorMs()
  }
  return (count * 1_000) / (now - start)
}

function processorMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

/** One handshake, whose first half was not measured when the second is. */
interface Handshake {
  begin(): Promise<void> | void
  answer(): Promise<void> | void
}

/**
 * Starting a session from a bundle and writing its first message, with ever new devices; reading
 * such messages of ever new devices. Devices and prekeys are made outside what is measured, and so
 * is the check of a device's signing key, which a client does when it takes in a device list.
 */
export async function handshakeRows(say: (line: string) => void): Promise<BenchRow[]> {
  say('handshakes …')
  const [ourDevice, theirDevice] = [new TestDevice(random), new LibsignalDevice('always there')]
  const begun = await interleaved({
    rounds,
    sides: {
      ours: () => handshakesPerSecond('begin', async () => ourHandshake(ourDevice, newDevice())),
      theirs: () => handshakesPerSecond('begin', () => theirHandshake(theirDevice, newLibsignalDevice())),
    },
  })
  const answered = await interleaved({
    rounds,
    sides: {
      ours: () => handshakesPerSecond('answer', async () => ourHandshake(newDevice(), ourDevice)),
      theirs: () => handshakesPerSecond('answer', () => theirHandshake(newLibsignalDevice(), theirDevice)),
    },
  })
  const row = { unit: '1/cpu s', better: 'higher', floor: 0.7, target: 1 } as const
  const other = { against: 'theirs', name: persisted } as const
  return [
    { figure: 'handshakes begun, with a first message', ...row, ...compare(begun, 'ours', other) },
    { figure: 'handshakes answered, with a first message', ...row, ...compare(answered, 'ours', other) },
  ]
}

async function handshakesPerSecond(
  half: 'begin' | 'answer', make: () => Promise<Handshake>,
): Promise<number> {
  const handshakes: Handshake[] = []
  for (let i = 0; i < handshakesPerRound; i++) {
    const handshake = await make()
    if (half === 'answer') await handshake.begin()
    handshakes.push(handshake)
  }
  const start = processorMs()
  for (const handshake of handshakes) {
    const done = handshake[half]()
    if (done !== undefined) await done
  }
  return (handshakesPerRound * 1_000) / (processorMs() - start)
}

function newDevice(): TestDevice {
  const device = new TestDevice(random)
  crypto.isVerifyKey(device.identity.signingKey)
  return device
}

let names = 0
function newLibsignalDevice(): LibsignalDevice {
  return new LibsignalDevice(`device ${names++}`)
}

function ourHandshake(alice: TestDevice, bob: TestDevice): Handshake {
  const bundle = bob.bundle()
  const stored = new Map<string, Uint8Array>()
  let message: Uint8Array
  return {
    begin() {
      const session = alice.initiate(bundle)
      message = session.encrypt({ plaintext, ad, random })
      stored.set('alice', session.serialize())
    },
    answer() {
      const { session } = value(bob.respond(message))
      stored.set('bob', session.serialize())
    },
  }
}

async function theirHandshake(alice: LibsignalDevice, bob: LibsignalDevice): Promise<Handshake> {
  const bundle = await bob.bundle(++names)
  let message: Awaited<ReturnType<LibsignalDevice['encrypt']>>
  return {
    async begin() {
      await alice.begin(bob, bundle)
      message = await alice.encrypt(bob, plaintext)
    },
    async answer() {
      await bob.decrypt(alice, message)
    },
  }
}

/** Bytes that a text of 300 bytes becomes, without envelope; a row a case. */
export function sizeRows(): BenchRow[] {
  const [alice, bob] = [new TestDevice(random), new TestDevice(random)]
  const first = alice.initiate(bob.bundle()).encrypt({ plaintext, ad, random }).length
  const lengths: number[] = []
  let [writer, reader] = establish(alice, bob)
  for (let i = 0; i < 64; i++) {
    const message = alice.encrypt(writer, 'x')
    read(reader, message)
    lengths.push(message.length - 1 + textBytes)
    ;[writer, reader] = [reader, writer]
  }
  const row = { unit: 'bytes', better: 'lower' } as const
  return [
    { figure: 'first message of a session', value: first, ...row },
    { figure: 'later message', value: Math.min(...lengths), ...row },
    { figure: 'later message, mean with KEM steps', value: mean(lengths), ...row },
  ]
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, one) => sum + one, 0) / values.length
}
